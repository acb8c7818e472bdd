//! From records to bytes: lines or CloudWatch entries in blocks, the partition that a record's names choose, and
//! compression. Synchronous functions over bytes: no async, no AWS, no clock.

mod block;
mod compress;
pub mod entries;
mod escape;
mod fields;
mod json;
pub mod letter;
mod members;
mod names;
pub mod ndjson;
mod pairs;
pub mod partition;
pub mod template;
pub mod timestamp;

pub use block::{BLOCK_SIZE, BlockMeta, Count, Moment, OpenBlock, Partition, checksum};
pub use compress::{Compression, decompress};
pub use entries::{Message, Oversize};
pub use fields::Fields;
pub use names::Target;
pub use ndjson::LogJson;
pub use partition::Partitioner;
pub use template::Template;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::record::Record;

/// How records become bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Ndjson,
}

/// What an encoder noticed beside what it wrote; counted by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Strings in which bytes that are no UTF-8 became U+FFFD.
    pub invalid_utf8: u64,
    /// Keys that stood twice (or collided with the envelope) and were dropped or renamed.
    pub duplicate_keys: u64,
    /// NaN and infinite numbers, which JSON lacks: they became null.
    pub not_finite: u64,
    /// Records that are no whole msgpack map within its bounds: nothing was written, so there is nothing to count as
    /// encoded.
    pub malformed: u64,
    /// Messages cut to what CloudWatch Logs takes.
    pub truncated: u64,
    /// Messages that became several events, each as long as CloudWatch Logs takes.
    pub split: u64,
}

impl Notes {
    /// Each count under the name that metrics give it.
    pub fn kinds(self) -> [(&'static str, u64); 6] {
        let Self { invalid_utf8, duplicate_keys, not_finite, malformed, truncated, split } = self;
        [
            ("invalid_utf8", invalid_utf8),
            ("duplicate_keys", duplicate_keys),
            ("not_finite", not_finite),
            ("malformed", malformed),
            ("truncated", truncated),
            ("split", split),
        ]
    }
}

impl std::ops::AddAssign for Notes {
    fn add_assign(&mut self, other: Self) {
        self.invalid_utf8 += other.invalid_utf8;
        self.duplicate_keys += other.duplicate_keys;
        self.not_finite += other.not_finite;
        self.malformed += other.malformed;
        self.truncated += other.truncated;
        self.split += other.split;
    }
}

/// The encoder of one sink.
#[derive(Debug)]
pub enum Encoder {
    /// One JSON object a line.
    Ndjson(ndjson::NdjsonEncoder),
    /// Entries of CloudWatch Logs.
    Entries(entries::EntryEncoder),
}

impl Encoder {
    /// Appends one record to `out`. What is appended is always whole and valid.
    pub fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Notes {
        match self {
            Self::Ndjson(encoder) => encoder.encode(record, out),
            Self::Entries(encoder) => encoder.encode(record, out),
        }
    }
}

#[cfg(test)]
mod reference;
