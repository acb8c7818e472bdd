//! One sink as a worker sees it: records are encoded the moment they are routed, into the open block of their
//! partition, and blocks are sealed when they are full, old, awaited or too many.
//!
//! Synchronous; sealed blocks are handed on by [`Outlet::dispatch`] after the batch has been entered in the ledger.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::pool::Pool;
use crate::encode::{BLOCK_SIZE, Compression, Count, Encoder, Moment, Notes, OpenBlock, Partitioner};
use crate::metrics::SinkMetrics;
use crate::record::{Record, Tickets};
use crate::spool::{Queue, Reserved};

/// A new block begins with this much and doubles as it grows, so that many quiet partitions stay cheap.
const FIRST_CAPACITY: usize = 4 << 10;

/// Blocks that come at longer intervals are compressed where they were written: the bytes are in that core's cache, and no
/// other thread has to be woken. Meanwhile the worker's connections wait, a tenth of the time or so.
const SELDOM: Duration = Duration::from_millis(4);

/// A block up to this size takes no longer to compress than another thread takes to wake.
const LITTLE: usize = 16 << 10;

/// A larger one, a record of megabytes, would keep the worker's connections waiting.
const LARGE: usize = 2 * BLOCK_SIZE;

/// How the blocks of one sink are kept and sealed.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutletConfig {
    /// A block is sealed so long after its first record, full or not.
    pub seal_after: Duration,
    /// The same when a sender waits until one of its records is delivered.
    pub seal_awaited_after: Duration,
    /// Open blocks; when one more partition comes, the least recently used is sealed.
    pub open_blocks: usize,
    /// How blocks are compressed.
    pub compression: Compression,
}

/// One sink's encoder and open blocks inside a worker.
#[derive(Debug)]
pub(super) struct Outlet {
    config: OutletConfig,
    queue: Arc<Queue>,
    metrics: SinkMetrics,
    partitioner: Partitioner,
    encoder: Encoder,
    /// Most recently used first.
    open: VecDeque<OpenBlock>,
    /// Capacity of all open blocks.
    open_bytes: usize,
    /// Whether a sender waits until a record in an open block is durable.
    awaited: bool,
    /// Sealed, not yet dispatched.
    sealed: Vec<OpenBlock>,
    /// When a block that is to be compressed was handed on last.
    handed_on: Option<Moment>,
    pool: Arc<Pool>,
    notes: Notes,
    names: NameTally,
}

/// Replacements in names since they were last reported.
#[derive(Debug, Default)]
struct NameTally {
    missing: u64,
    replaced: u64,
    overflowed: u64,
    time_of_receipt: u64,
}

/// When the sender of a batch is told that it has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// As soon as it is.
    AtOnce,
    /// When its blocks are safe, or never.
    Later,
}

/// What became of a record that was given to an outlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It stands in a block that must be sealed at this moment at the latest.
    Until(Moment),
    /// Its bytes are no record after all; it is dropped as `malformed`.
    Malformed,
}

impl Outlet {
    /// An outlet without open blocks.
    pub(super) fn new(
        config: OutletConfig,
        queue: Arc<Queue>,
        metrics: SinkMetrics,
        partitioner: Partitioner,
        encoder: Encoder,
        pool: Arc<Pool>,
    ) -> Self {
        Self {
            config,
            queue,
            metrics,
            partitioner,
            encoder,
            open: VecDeque::new(),
            open_bytes: 0,
            awaited: false,
            sealed: Vec::new(),
            handed_on: None,
            pool,
            notes: Notes::default(),
            names: NameTally::default(),
        }
    }

    /// How its blocks are kept and sealed.
    pub(super) fn config(&self) -> OutletConfig {
        self.config
    }

    /// Goes on with other times; its open blocks stay.
    pub(super) fn set_config(&mut self, config: OutletConfig) {
        self.config = config;
    }

    /// The sink's queue.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Encodes one record into the open block of its partition.
    pub(super) fn append(&mut self, record: &Record<'_>, tickets: &Tickets, now: Moment) -> Appended {
        let (partition, names) = self.partitioner.partition(record);
        self.names.missing += u64::from(names.missing);
        self.names.replaced += u64::from(names.replaced);
        self.names.overflowed += u64::from(names.overflowed);
        self.names.time_of_receipt += u64::from(names.time_of_receipt);
        let found = self
            .open
            .iter()
            .position(|block| Arc::ptr_eq(&block.meta.partition, partition) || block.meta.partition == *partition);
        match found {
            Some(0) => {}
            Some(at) => {
                // Most recently used first, so that the next record of this partition is found at once.
                if let Some(block) = self.open.remove(at) {
                    self.open.push_front(block);
                }
            }
            None => {
                let plain = self.pool.buffer().unwrap_or_else(|| Vec::with_capacity(FIRST_CAPACITY));
                self.open_bytes += plain.capacity();
                self.open.push_front(OpenBlock::new(Arc::clone(partition), now, plain));
            }
        }
        let block = self.open.front_mut().expect("a block was found or pushed to the front");
        let before = block.plain.capacity();
        let notes = self.encoder.encode(record, &mut block.plain);
        self.open_bytes += block.plain.capacity() - before;
        self.notes += notes;
        if notes.malformed > 0 {
            if block.meta.count.records == 0
                && let Some(empty) = self.open.pop_front()
            {
                self.open_bytes -= empty.plain.capacity();
            }
            return Appended::Malformed;
        }
        block.note(record.time, record.map.len() as u64, tickets);
        self.awaited |= !tickets.is_empty() && tickets.await_durability();
        let full = block.plain.len() >= BLOCK_SIZE;
        let until = self.due(&self.open[0]);
        if full {
            self.seal(0);
        } else if self.open.len() > self.config.open_blocks {
            self.seal(self.open.len() - 1);
            self.metrics.event("partition_closed_early", 1);
        }
        Appended::Until(until)
    }

    /// Seals what is old enough and tells when the next block will be.
    pub(super) fn seal_due(&mut self, now: Moment) -> Option<Moment> {
        let mut next = None;
        for at in (0..self.open.len()).rev() {
            let due = self.due(&self.open[at]);
            if due <= now {
                self.seal(at);
            } else {
                next = Some(next.map_or(due, |other: Moment| other.min(due)));
            }
        }
        next
    }

    /// Seals what a sender waits for to be durable, unless a sync is under way: then it shares the next.
    pub(super) fn seal_awaited(&mut self) {
        if self.queue.is_idle() {
            self.seal_awaited_now();
        }
    }

    /// The same whatever is under way.
    pub(super) fn seal_awaited_now(&mut self) {
        if !self.awaited {
            return;
        }
        for at in (0..self.open.len()).rev() {
            if self.open[at].meta.tickets.await_durability() {
                self.seal(at);
            }
        }
        self.awaited = false;
    }

    /// Whether the end of a sync is of interest.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// Whether what is awaited could be sealed now.
    pub(super) fn is_overlooked(&self) -> bool {
        self.awaited && self.queue.is_idle()
    }

    /// Seals everything.
    pub(super) fn seal_all(&mut self) {
        while !self.open.is_empty() {
            self.seal(0);
        }
    }

    /// Memory that open blocks hold.
    pub(super) fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Seals the block that holds the most bytes.
    pub(super) fn seal_largest(&mut self) {
        let largest = self.open.iter().enumerate().max_by_key(|(_, block)| block.plain.len());
        if let Some((at, _)) = largest {
            self.seal(at);
        }
    }

    /// When a block is sealed, full or not.
    fn due(&self, block: &OpenBlock) -> Moment {
        let awaited = !block.meta.tickets.is_empty();
        let wait = if awaited { self.config.seal_awaited_after } else { Duration::MAX };
        block.meta.opened + wait.min(self.config.seal_after)
    }

    fn seal(&mut self, at: usize) {
        if let Some(block) = self.open.remove(at) {
            self.open_bytes -= block.plain.capacity();
            self.sealed.push(block);
        }
    }

    /// Hands the sealed blocks to the queue, where they take their places in this order whenever they are compressed: here
    /// if they are little, or come seldom and no sender waits for that; else on a blocking thread. Must be called within a
    /// tokio runtime, after the records' `open` counts are in the ledger.
    pub(super) fn dispatch(&mut self, now: Moment, sender: Told) {
        self.report();
        for block in self.sealed.drain(..) {
            let (meta, plain) = block.seal();
            let Some(reserved) = Reserved::of(&self.queue, meta) else {
                self.pool.give_back(plain);
                continue;
            };
            if self.config.compression == Compression::None {
                self.metrics.block(plain.len() as u64);
                // A copy of just its length: a buffer of 4 KiB for a line of 300 bytes would be held while the block
                // waits, and the queue counts only the line.
                reserved.fill(Bytes::copy_from_slice(&plain));
                self.pool.give_back(plain);
                continue;
            }
            let (len, compression) = (plain.len(), self.config.compression);
            let (pool, metrics) = (Arc::clone(&self.pool), self.metrics.clone());
            let job = move || {
                // A full queue may have dropped it: then the jobs behind, whose bytes count, must not wait for it.
                if reserved.is_wanted() {
                    let data = compression.compress(&plain);
                    metrics.block(data.len() as u64);
                    reserved.fill(data);
                }
                pool.give_back(plain);
            };
            let before = self.handed_on.replace(now);
            let seldom = before.is_none_or(|before| now.saturating_sub(before) >= SELDOM);
            let is_free = seldom && len <= LARGE && sender == Told::Later;
            let here = compression.is_quick() && (len <= LITTLE || is_free);
            if here { job() } else { self.pool.run(job) }
        }
    }

    /// Counts what the encoder and the names noticed.
    fn report(&mut self) {
        let notes = std::mem::take(&mut self.notes);
        let names = std::mem::take(&mut self.names);
        for (kind, n) in notes.kinds() {
            self.metrics.event(kind, n);
        }
        self.metrics.event("name_missing", names.missing);
        self.metrics.event("name_replaced", names.replaced);
        self.metrics.event("name_overflowed", names.overflowed);
        self.metrics.event("name_by_time_of_receipt", names.time_of_receipt);
    }
}

/// An empty count; a name for readers of the worker.
pub(super) const NONE: Count = Count { records: 0, bytes: 0 };
