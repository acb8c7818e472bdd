//! The queue of one sink: sealed blocks by partition, in sequence, bounded in bytes.
//!
//! A block takes its place when it is sealed ([`Queue::reserve`]) and gets its bytes when it is compressed
//! ([`Queue::fill`]), so that compression on several threads never changes the order. What waits, is in flight or is
//! held by a multipart upload stays counted until its end; the bytes count until they are let go.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Notify;

use super::Lease;
use crate::encode::{Block, BlockMeta, Count, Moment, Partition};
use crate::ledger::Ledger;
use crate::record::Outcome;

/// What happens when a queue has reached its bound.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The sources that route to this sink are not read until there is room.
    Block,
    /// The oldest blocks that are not in flight are dropped, counted as `queue_full`.
    DropOldest,
    /// The new block is dropped, counted as `queue_full`.
    DropNewest,
    /// Records are given to another sink before they come here, by whoever asks [`Queue::is_full`] first: so what has
    /// been accepted is let in.
    #[serde(skip)]
    Divert,
}

/// How a queue is bounded.
#[derive(Clone, Copy, Debug)]
pub struct QueueConfig {
    /// Bytes of blocks that wait or are in flight; one oversize block is let in when the queue is empty.
    pub bound: u64,
    /// What happens at the bound.
    pub when_full: WhenFull,
}

/// What a sink may know of a partition to decide whether to take its blocks.
#[derive(Clone, Debug)]
pub struct LaneState {
    /// Which partition.
    pub partition: Arc<Partition>,
    /// Bytes of the leading blocks that are ready to be taken.
    pub ready_bytes: u64,
    /// How many those are.
    pub ready_blocks: usize,
    /// Their records.
    pub ready_records: u64,
    /// How many more wait for their bytes, or behind one that does.
    pub unready_blocks: usize,
    /// When the first record of the oldest block was routed.
    pub opened: Moment,
    /// When the first record of the first ready block that a sender waits for was routed.
    pub awaited_since: Option<Moment>,
}

/// The queue of one sink.
#[derive(Debug)]
pub struct Queue {
    sink: usize,
    config: QueueConfig,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    /// Something to look at for the sink: a block became ready, or one under way came to its end.
    changed: Notify,
    /// Bytes were let go.
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes of all blocks in lanes and leases.
    used: u64,
    next_sequence: u64,
    lanes: HashMap<Arc<Partition>, Lane>,
    next_flight: u64,
    /// When the oldest record of each lease or receipt that is not settled was routed.
    flights: HashMap<u64, Moment>,
}

/// The blocks of one partition. Sums over the ready ones are kept, so that a look at a long lane costs nothing.
#[derive(Debug, Default)]
struct Lane {
    /// Increasing in sequence.
    slots: VecDeque<Slot>,
    /// How many slots at the front have their bytes.
    ready: usize,
    /// Bytes of those.
    ready_bytes: u64,
    /// Records of those.
    ready_records: u64,
    /// Sequence and age of those that a sender waits for.
    awaited: VecDeque<(u64, Moment)>,
}

#[derive(Debug)]
struct Slot {
    sequence: u64,
    meta: BlockMeta,
    /// None until the block is compressed; until then its plain length is counted.
    block: Option<(Bytes, u32)>,
}

impl Slot {
    fn len(&self) -> u64 {
        self.block.as_ref().map_or(self.meta.plain_len, |(data, _)| data.len() as u64)
    }
}

impl Queue {
    /// An empty queue for the sink with this index in the ledger.
    pub fn new(sink: usize, config: QueueConfig, ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self { sink, config, ledger, state: Mutex::default(), changed: Notify::new(), freed: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Gives a sealed block its place and sequence; its records move from `open` to `queued`. At the bound, the policy
    /// drops the oldest blocks, or this one: then there is no sequence.
    pub fn reserve(&self, meta: BlockMeta) -> Option<u64> {
        let mut dropped = Vec::new();
        let sequence = {
            let mut state = self.state();
            let len = meta.plain_len;
            let full = state.used > 0 && state.used + len > self.config.bound;
            let mut books = self.ledger.books();
            let book = &mut books.sinks[self.sink];
            book.open -= meta.count;
            if full && self.config.when_full == WhenFull::DropNewest {
                *book.dropped.entry("queue_full").or_default() += meta.count;
                dropped.push(meta);
                None
            } else {
                if full && self.config.when_full == WhenFull::DropOldest {
                    while state.used > 0 && state.used + len > self.config.bound {
                        let Some(slot) = state.pop_oldest() else { break };
                        book.queued -= slot.meta.count;
                        *book.dropped.entry("queue_full").or_default() += slot.meta.count;
                        dropped.push(slot.meta);
                    }
                }
                book.queued += meta.count;
                let sequence = state.next_sequence;
                state.next_sequence += 1;
                state.used += len;
                let lane = state.lanes.entry(Arc::clone(&meta.partition)).or_default();
                lane.slots.push_back(Slot { sequence, meta, block: None });
                Some(sequence)
            }
        };
        if !dropped.is_empty() {
            // What stood behind a block without bytes may be ready now.
            self.changed.notify_one();
        }
        for meta in dropped {
            meta.tickets.settle(Outcome::Dropped);
        }
        sequence
    }

    /// Gives a reserved block its bytes. A block that was dropped meanwhile is let go.
    pub fn fill(&self, partition: &Arc<Partition>, sequence: u64, data: Bytes) {
        let checksum = Block::checksum(&data);
        let freed = {
            let mut state = self.state();
            let Some(lane) = state.lanes.get_mut(partition) else { return };
            let Ok(at) = lane.slots.binary_search_by_key(&sequence, |slot| slot.sequence) else { return };
            let before = lane.slots[at].len();
            let after = data.len() as u64;
            lane.slots[at].block = Some((data, checksum));
            lane.advance();
            state.used = state.used - before + after;
            after < before
        };
        self.changed.notify_one();
        if freed {
            self.freed.notify_waiters();
        }
    }

    /// Whether a reserved block still waits for its bytes; not when it was dropped meanwhile.
    pub fn awaits(&self, partition: &Arc<Partition>, sequence: u64) -> bool {
        let state = self.state();
        let lane = state.lanes.get(partition);
        lane.is_some_and(|lane| lane.slots.binary_search_by_key(&sequence, |slot| slot.sequence).is_ok())
    }

    /// Takes the leading ready blocks of a partition: at least one if there is one, then as many as stay within
    /// `max_bytes`. Their records move from `queued` to `in_flight`.
    pub fn take(self: &Arc<Self>, partition: &Arc<Partition>, max_bytes: u64) -> Option<Lease> {
        let mut blocks = Vec::new();
        let mut state = self.state();
        let lane = state.lanes.get_mut(partition)?;
        let mut sum = 0;
        while let Some(Slot { block: Some((data, _)), .. }) = lane.slots.front() {
            let len = data.len() as u64;
            if !blocks.is_empty() && sum + len > max_bytes {
                break;
            }
            sum += len;
            if let Some(Slot { sequence, meta, block: Some((data, checksum)) }) = lane.pop() {
                blocks.push(Block { sequence, meta, data, checksum });
            }
        }
        if lane.slots.is_empty() {
            state.lanes.remove(partition);
        }
        if blocks.is_empty() {
            return None;
        }
        let mut count = Count::default();
        blocks.iter().for_each(|block| count += block.meta.count);
        let flight = state.depart(&blocks);
        let mut books = self.ledger.books();
        let book = &mut books.sinks[self.sink];
        book.queued -= count;
        book.in_flight += count;
        Some(Lease::new(Arc::clone(self), flight, blocks))
    }

    /// The partitions that have blocks, ready or not, in no particular order.
    pub fn lanes(&self) -> Vec<LaneState> {
        let state = self.state();
        state.lanes.iter().filter_map(|(partition, lane)| lane.state(partition)).collect()
    }

    /// One partition, if it has blocks, ready or not.
    pub fn lane(&self, partition: &Arc<Partition>) -> Option<LaneState> {
        self.state().lanes.get(partition).and_then(|lane| lane.state(partition))
    }

    /// Comes back when something changed since the last call. Cancel safe; for one waiter.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether the queue is at or over its bound.
    pub fn is_full(&self) -> bool {
        self.state().used >= self.config.bound
    }

    /// Whether the queue is at or over its bound and lets its sources wait.
    pub fn is_blocking(&self) -> bool {
        self.config.when_full == WhenFull::Block && self.is_full()
    }

    /// Comes back when the queue does not block. Cancel safe.
    pub async fn room(&self) {
        while self.is_blocking() {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if !self.is_blocking() {
                return;
            }
            freed.await;
        }
    }

    /// Bytes that wait or are in flight, and the bound.
    pub fn fill_level(&self) -> (u64, u64) {
        (self.state().used, self.config.bound)
    }

    /// Whether what waits only for size or age should be closed and sent: three quarters of the bound are used.
    pub fn is_pressed(&self) -> bool {
        let (used, bound) = self.fill_level();
        used >= bound / 4 * 3
    }

    /// Whether nothing waits and nothing is in flight.
    pub fn is_empty(&self) -> bool {
        let state = self.state();
        state.lanes.is_empty() && state.flights.is_empty()
    }

    /// When the oldest record that waits or is in flight was routed.
    pub fn oldest(&self) -> Option<Moment> {
        let state = self.state();
        let waiting = state.lanes.values().filter_map(|lane| lane.slots.front()).map(|slot| slot.meta.opened);
        waiting.chain(state.flights.values().copied()).min()
    }

    /// Drops all that waits, counted under `reason`, so that a sender repeats it. What is in flight is left alone.
    pub fn abandon(&self, reason: &'static str) -> Count {
        let mut sum = Count::default();
        let dropped: Vec<Slot> = {
            let mut state = self.state();
            let slots: Vec<Slot> = state.lanes.drain().flat_map(|(_, lane)| lane.slots).collect();
            let mut books = self.ledger.books();
            let book = &mut books.sinks[self.sink];
            for slot in &slots {
                state.used -= slot.len();
                book.queued -= slot.meta.count;
                *book.dropped.entry(reason).or_default() += slot.meta.count;
                sum += slot.meta.count;
            }
            slots
        };
        for slot in dropped {
            slot.meta.tickets.settle(Outcome::Lost);
        }
        self.freed.notify_waiters();
        self.changed.notify_one();
        sum
    }

    /// The sink's index in the ledger.
    pub fn sink(&self) -> usize {
        self.sink
    }

    /// The ledger that this queue enters its movements in.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// A lease or receipt has come to its end.
    pub(super) fn landed(&self, flight: u64) {
        self.state().flights.remove(&flight);
        self.changed.notify_one();
    }

    /// Lets bytes of a lease go.
    pub(super) fn free(&self, bytes: u64) {
        self.state().used -= bytes;
        self.freed.notify_waiters();
        self.changed.notify_one();
    }
}

impl State {
    /// Notes that these blocks are under way.
    fn depart(&mut self, blocks: &[Block]) -> u64 {
        let flight = self.next_flight;
        self.next_flight += 1;
        let oldest = blocks.iter().map(|block| block.meta.opened).min();
        self.flights.insert(flight, oldest.unwrap_or_default());
        flight
    }

    /// Removes the oldest block that waits.
    fn pop_oldest(&mut self) -> Option<Slot> {
        let oldest = |(_, lane): &(&Arc<Partition>, &Lane)| lane.slots.front().map(|slot| slot.sequence);
        let partition = Arc::clone(self.lanes.iter().min_by_key(oldest)?.0);
        let lane = self.lanes.get_mut(&partition)?;
        let slot = lane.pop()?;
        if lane.slots.is_empty() {
            self.lanes.remove(&partition);
        }
        self.used -= slot.len();
        Some(slot)
    }
}

impl Lane {
    /// A slot was filled: counts what is ready at the front now.
    fn advance(&mut self) {
        while let Some(slot) = self.slots.get(self.ready).filter(|slot| slot.block.is_some()) {
            self.ready += 1;
            self.ready_bytes += slot.len();
            self.ready_records += slot.meta.count.records;
            if !slot.meta.tickets.is_empty() {
                self.awaited.push_back((slot.sequence, slot.meta.opened));
            }
        }
    }

    /// Removes the front, ready or not.
    fn pop(&mut self) -> Option<Slot> {
        let slot = self.slots.pop_front()?;
        if self.ready > 0 {
            self.ready -= 1;
            self.ready_bytes -= slot.len();
            self.ready_records -= slot.meta.count.records;
            self.awaited.pop_front_if(|(sequence, _)| *sequence == slot.sequence);
        } else {
            // What stood behind it may have been ready all along.
            self.advance();
        }
        Some(slot)
    }

    /// None for a lane without slots, which does not occur in a queue.
    fn state(&self, partition: &Arc<Partition>) -> Option<LaneState> {
        Some(LaneState {
            partition: Arc::clone(partition),
            ready_bytes: self.ready_bytes,
            ready_blocks: self.ready,
            unready_blocks: self.slots.len() - self.ready,
            ready_records: self.ready_records,
            opened: self.slots.front()?.meta.opened,
            awaited_since: self.awaited.front().map(|(_, opened)| *opened),
        })
    }
}
