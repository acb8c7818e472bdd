//! `RecordBatch`: one buffer of msgpack as it came off the socket, and where its records lie in it.
//!
//! Nothing is parsed into a tree and nothing is copied: a record is an offset and a length. Whoever makes a batch has
//! measured each record (it is one whole msgpack map); whoever reads it may rely on that but never panics if it is not.

use std::sync::Arc;

use bytes::Bytes;

use super::json::Memo;
use super::{Tag, Tickets};

/// Nanoseconds since 1970-01-01T00:00:00Z.
pub type UnixNanos = i64;

/// Where one record lies in its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordSpan {
    /// The time that the sender gave the record.
    pub time: UnixNanos,
    /// Offset of the record's map in [`RecordBatch::data`].
    pub start: u32,
    /// Length of the map in bytes.
    pub len: u32,
}

/// Records of one tag that arrived together.
///
/// Invariants: at least one record; spans are increasing, disjoint and inside `data`.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    /// The tag that all records carry.
    pub tag: Tag,
    /// The bytes as received; may hold frame headers between the records.
    pub data: Bytes,
    /// The records in their order.
    pub records: Vec<RecordSpan>,
    /// When the bytes were read.
    pub received: UnixNanos,
    /// Who waits for these records to be delivered.
    pub tickets: Tickets,
}

impl RecordBatch {
    /// The raw msgpack map of one record.
    pub fn map(&self, span: RecordSpan) -> &[u8] {
        &self.data[span.start as usize..][..span.len as usize]
    }

    /// Checks the invariants; for tests and debug assertions.
    pub fn is_sound(&self) -> bool {
        let mut end = 0u64;
        !self.records.is_empty()
            && self.records.iter().all(|span| {
                let start = u64::from(span.start);
                let ok = span.len > 0 && start >= end;
                end = start + u64::from(span.len);
                ok && end <= self.data.len() as u64
            })
    }
}

/// What the ECS agent knows of the task: fields of every record when `metadata: ecs` is on; a record's own keys win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EcsMetadata {
    /// Name of the cluster (`ecs_cluster`).
    pub cluster: String,
    /// ARN of the task (`ecs_task_arn`).
    pub task_arn: String,
    /// `family:revision` (`ecs_task_definition`).
    pub task_definition: String,
}

impl EcsMetadata {
    /// The fields under the names that FireLens gives them.
    pub fn fields(&self) -> [(&'static str, &str); 3] {
        [
            ("ecs_cluster", &self.cluster),
            ("ecs_task_arn", &self.task_arn),
            ("ecs_task_definition", &self.task_definition),
        ]
    }
}

/// One record with all that rules, templates and encoders may ask of it.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Its tag.
    pub tag: &'a Tag,
    /// The source's name in the config.
    pub source: &'a str,
    /// The time that the sender gave it.
    pub time: UnixNanos,
    /// When it was read from the socket.
    pub received: UnixNanos,
    /// The raw msgpack map.
    pub map: &'a [u8],
    /// Task metadata, once known.
    pub ecs: Option<&'a Arc<EcsMetadata>>,
    /// What is known of the JSON in `map`; of another map nothing, so a record of one has a memo of its own.
    pub json: Memo,
}
