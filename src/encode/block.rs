//! Blocks: encoded records of one sink and partition, open while they grow, then sealed.

use std::sync::Arc;
use std::time::Duration;

use crate::record::{Tickets, UnixNanos};

/// A block is full at this size before compression: frames of 256 KiB cost ~5 % of ratio against one long frame and
/// nothing in speed, and a lost or torn one is little.
pub const BLOCK_SIZE: usize = 256 << 10;

/// Monotonic time since the process started, given to synchronous code as an argument.
pub type Moment = Duration;

/// Where the records of a block go inside their sink; names are rendered and safe for the target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Partition {
    /// A key prefix of S3 or a directory of the file sink.
    Prefix(Box<str>),
    /// A stream of CloudWatch Logs.
    Stream {
        /// Log group.
        group: Box<str>,
        /// Log stream.
        stream: Box<str>,
    },
    /// The one output of a sink that has no names (stdout).
    Whole,
}

/// What the ledger counts: records and the msgpack bytes that they came in as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Records after the join.
    pub records: u64,
    /// Their msgpack bytes.
    pub bytes: u64,
}

impl Count {
    /// What is left without `other`; nothing where that is more.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self { records: self.records.saturating_sub(other.records), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

impl std::ops::SubAssign for Count {
    fn sub_assign(&mut self, other: Self) {
        self.records -= other.records;
        self.bytes -= other.bytes;
    }
}

/// What is known of a block beside its bytes.
#[derive(Clone, Debug)]
pub struct BlockMeta {
    /// Where it goes.
    pub partition: Arc<Partition>,
    /// Its records.
    pub count: Count,
    /// Length before compression.
    pub plain_len: u64,
    /// Earliest and latest time of its records.
    pub times: (UnixNanos, UnixNanos),
    /// When its first record was routed.
    pub opened: Moment,
    /// Who waits for it.
    pub tickets: Tickets,
}

/// CRC-32C of a block's bytes.
pub fn checksum(data: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, data) as u32
}

/// A block that still grows.
#[derive(Debug)]
pub struct OpenBlock {
    /// Encoded records, not compressed.
    pub plain: Vec<u8>,
    /// What it holds so far; `plain_len` is set when it is sealed.
    pub meta: BlockMeta,
}

impl OpenBlock {
    /// A block for its first record; `plain` is an empty buffer, perhaps from a pool.
    pub fn new(partition: Arc<Partition>, opened: Moment, plain: Vec<u8>) -> Self {
        debug_assert!(plain.is_empty());
        let times = (UnixNanos::MAX, UnixNanos::MIN);
        let meta =
            BlockMeta { partition, count: Count::default(), plain_len: 0, times, opened, tickets: Tickets::none() };
        Self { plain, meta }
    }

    /// Counts a record whose encoded form has just been appended to `plain`.
    pub fn note(&mut self, time: UnixNanos, source_bytes: u64, tickets: &Tickets) {
        self.meta.count += Count { records: 1, bytes: source_bytes };
        self.meta.times = (self.meta.times.0.min(time), self.meta.times.1.max(time));
        self.meta.tickets.join(tickets);
    }

    /// Ends it: what it holds and its plain bytes.
    pub fn seal(mut self) -> (BlockMeta, Vec<u8>) {
        debug_assert!(self.meta.count.records > 0, "a block has at least one record");
        self.meta.plain_len = self.plain.len() as u64;
        (self.meta, self.plain)
    }
}
