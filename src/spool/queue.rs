//! The queue of one sink: sealed blocks by partition, in sequence, bounded in bytes.
//!
//! A block takes its place when it is sealed ([`Queue::reserve`]) and gets its bytes when it is compressed
//! ([`Queue::fill`]), so that compression on several threads never changes the order. In memory it is ready then; with
//! a disk it is ready when it is durable there, and its bytes are let go (`keeper`). What waits, is in flight or is
//! held by a multipart upload stays counted until its end; the bytes count until they are let go.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Notify;

use super::Lease;
use super::keeper::{Keeper, UNWRITTEN};
use super::lane::{LaneState, Slot};
use super::state::{OnDisk, Pending, State, sum};
use crate::encode::{BlockMeta, Count, Moment, Partition};
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
    /// Bytes of blocks in memory, waiting or in flight; one oversize block is let in when the queue is empty.
    pub bound: u64,
    /// What happens at the bound.
    pub when_full: WhenFull,
}

/// The queue of one sink.
#[derive(Debug)]
pub struct Queue {
    sink: usize,
    config: Mutex<QueueConfig>,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    /// What a sink's task has begun and left to the next, each with the key of its object.
    given_back: Mutex<Vec<(String, Lease)>>,
    /// Something to look at for the sink: a block became ready, or one under way came to its end.
    pub(super) changed: Notify,
    /// Bytes were let go.
    pub(super) freed: Notify,
    /// The way to the disk, if there is one.
    pub(super) keeper: Option<Keeper>,
}

impl Queue {
    /// An empty queue in memory for the sink with this index in the ledger.
    pub fn new(sink: usize, config: QueueConfig, ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self::with(sink, config, ledger, State::default(), None))
    }

    pub(super) fn with(
        sink: usize,
        config: QueueConfig,
        ledger: Arc<Ledger>,
        state: State,
        keeper: Option<Keeper>,
    ) -> Self {
        let (state, config) = (Mutex::new(state), Mutex::new(config));
        Self {
            sink,
            config,
            ledger,
            state,
            given_back: Mutex::default(),
            changed: Notify::new(),
            freed: Notify::new(),
            keeper,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How it is bounded now.
    pub fn config(&self) -> QueueConfig {
        *self.config.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Bounds it anew. What waits stays, though it be more than the new bound.
    pub fn set_config(&self, config: QueueConfig) {
        *self.config.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = config;
        self.freed.notify_waiters();
        self.look();
    }

    /// Has the sink's task look at the queue.
    pub fn look(&self) {
        self.changed.notify_one();
    }

    /// Gives a sealed block its place and sequence; its records move from `open` to `queued`. At the bound, the policy
    /// drops the oldest blocks, or this one: then there is no sequence.
    pub fn reserve(&self, meta: BlockMeta) -> Option<u64> {
        let mut dropped = Vec::new();
        let QueueConfig { bound, when_full } = self.config();
        let sequence = {
            let mut state = self.state();
            let len = meta.plain_len;
            let full = |state: &State| state.used > 0 && state.used + len > bound;
            let mut books = self.ledger.books();
            let book = &mut books.sinks[self.sink];
            book.open -= meta.count;
            if when_full == WhenFull::DropNewest && full(&state) {
                *book.dropped.entry("queue_full").or_default() += meta.count;
                dropped.push(meta);
                None
            } else {
                while when_full == WhenFull::DropOldest && full(&state) {
                    let ready = state.pop_oldest(false).map(|slot| slot.meta);
                    let oldest = ready.or_else(|| state.pop_pending().map(|pending| pending.meta));
                    let Some(oldest) = oldest else { break };
                    book.queued -= oldest.count;
                    *book.dropped.entry("queue_full").or_default() += oldest.count;
                    dropped.push(oldest);
                }
                book.queued += meta.count;
                let sequence = state.next_sequence;
                state.next_sequence += 1;
                state.used += len;
                state.unwritten += len;
                state.pending.push_back(Pending { sequence, meta, data: None });
                Some(sequence)
            }
        };
        if !dropped.is_empty() {
            // What stood behind a block without bytes may be ready now.
            self.moved_on();
        }
        for meta in dropped {
            meta.tickets.settle(Outcome::Dropped);
        }
        sequence
    }

    /// Gives a reserved block its bytes. A block that was dropped meanwhile is let go.
    pub fn fill(&self, sequence: u64, data: Bytes) {
        let freed = {
            let mut state = self.state();
            let Some(at) = state.find(sequence) else { return };
            let pending = &mut state.pending[at];
            let (before, after) = (pending.len(), data.len() as u64);
            pending.data = Some(data);
            state.used = state.used - before + after;
            state.unwritten = state.unwritten - before + after;
            after < before
        };
        self.moved_on();
        if freed {
            self.freed.notify_waiters();
        }
    }

    /// Gives up a reserved block that will never get its bytes, so that those behind go on; its sender has to repeat it.
    /// One that has them is left alone.
    pub fn forfeit(&self, sequence: u64, reason: &'static str) {
        let pending = {
            let mut state = self.state();
            let at = state.find(sequence).filter(|at| state.pending[*at].data.is_none());
            let Some(pending) = at.and_then(|at| state.pending.remove(at)) else { return };
            state.used -= pending.len();
            state.unwritten -= pending.len();
            let mut books = self.ledger.books();
            let book = &mut books.sinks[self.sink];
            book.queued -= pending.meta.count;
            *book.dropped.entry(reason).or_default() += pending.meta.count;
            pending
        };
        pending.meta.tickets.settle(Outcome::Lost);
        self.moved_on();
        if let Some(keeper) = &self.keeper {
            keeper.tell_synced();
        }
        self.freed.notify_waiters();
    }

    /// The front of what is pending may have changed.
    fn moved_on(&self) {
        let mut state = self.state();
        match &self.keeper {
            Some(keeper) if state.disk.is_some() => keeper.work.notify_one(),
            _ => {
                state.advance();
                self.changed.notify_one();
            }
        }
    }

    /// Whether a reserved block still waits for its bytes; not when it was dropped meanwhile.
    pub fn awaits(&self, sequence: u64) -> bool {
        self.state().find(sequence).is_some()
    }

    /// Takes the leading ready blocks of a partition: at least one if there is one, then as many as stay within
    /// `max_bytes`; either all from memory or all from disk. Their records move from `queued` to `in_flight`.
    pub fn take(self: &Arc<Self>, partition: &Arc<Partition>, max_bytes: u64) -> Option<Lease> {
        let mut state = self.state();
        let slots = state.pop_front(partition, max_bytes);
        (!slots.is_empty()).then(|| self.lease(&mut state, slots))
    }

    /// Blocks go under way.
    pub(super) fn lease(self: &Arc<Self>, state: &mut State, slots: Vec<Slot>) -> Lease {
        let count = sum(slots.iter().map(|slot| &slot.meta));
        let flight = state.depart(&slots);
        {
            let mut books = self.ledger.books();
            let book = &mut books.sinks[self.sink];
            book.queued -= count;
            book.in_flight += count;
        }
        if let Some(keeper) = &self.keeper {
            keeper.work.notify_one();
        }
        Lease::new(Arc::clone(self), flight, slots)
    }

    /// Leaves what was taken to the task that has the queue now; the object that it was to be keeps its key.
    pub fn give_back(&self, key: String, lease: Lease) {
        self.given_back.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((key, lease));
        self.look();
    }

    /// Takes what was given back; it is in flight as before.
    pub fn take_given_back(&self) -> Vec<(String, Lease)> {
        std::mem::take(&mut self.given_back.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// The partitions that have ready blocks, in no particular order.
    pub fn lanes(&self) -> Vec<LaneState> {
        let state = self.state();
        state.lanes.iter().filter_map(|(partition, lane)| lane.state(partition)).collect()
    }

    /// One partition, if it has ready blocks.
    pub fn lane(&self, partition: &Arc<Partition>) -> Option<LaneState> {
        self.state().lanes.get(partition).and_then(|lane| lane.state(partition))
    }

    /// Whether blocks are being compressed or written that are not ready yet.
    pub fn is_filling(&self) -> bool {
        !self.state().pending.is_empty()
    }

    /// Comes back when something changed since the last call. Cancel safe; for one waiter.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether the queue is at or over its bound.
    pub fn is_full(&self) -> bool {
        self.state().used >= self.config().bound
    }

    /// Whether its sources have to wait: the queue is at or over its bound and blocks then, or a disk that works has
    /// not yet written what it was given.
    pub fn is_blocking(&self) -> bool {
        let QueueConfig { bound, when_full } = self.config();
        let state = self.state();
        let full = when_full == WhenFull::Block && state.used >= bound;
        full || (state.unwritten >= UNWRITTEN && state.disk.as_ref().is_some_and(OnDisk::takes))
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

    /// Bytes in memory that wait or are in flight, and the bound.
    pub fn fill_level(&self) -> (u64, u64) {
        (self.state().used, self.config().bound)
    }

    /// Bytes where blocks wait, and the bound: of the disk while it works, else of the memory.
    pub fn pressure(&self) -> (u64, u64) {
        let state = self.state();
        match (&state.disk, &self.keeper) {
            (Some(disk), Some(keeper)) if disk.failure.is_none() => (disk.used, keeper.limits.quota),
            _ => (state.used, self.config().bound),
        }
    }

    /// Whether what waits only for size or age should be closed and sent: three quarters of the bound are used.
    pub fn is_pressed(&self) -> bool {
        let (used, bound) = self.pressure();
        used >= bound / 4 * 3
    }

    /// Whether nothing waits and nothing is in flight.
    pub fn is_empty(&self) -> bool {
        let state = self.state();
        let on_disk = state.disk.as_ref().is_some_and(|disk| disk.cold > 0 || !disk.unfinished.is_empty());
        state.lanes.is_empty() && state.pending.is_empty() && state.flights.is_empty() && !on_disk
    }

    /// Whether nothing is in flight.
    pub fn is_landed(&self) -> bool {
        self.state().flights.is_empty()
    }

    /// When the oldest record that waits or is in flight was routed.
    pub fn oldest(&self) -> Option<Moment> {
        let state = self.state();
        let ready = state.lanes.values().filter_map(|lane| lane.front()).map(|slot| slot.meta.opened);
        let pending = state.pending.front().map(|pending| pending.meta.opened);
        ready.chain(pending).chain(state.flights.values().copied()).min()
    }

    /// Drops all that waits in memory, counted under `reason`, so that a sender repeats it. What is in flight is left
    /// alone, and what is on disk stays there for the next start.
    pub fn abandon(&self, reason: &'static str) -> Count {
        drop(self.take_given_back());
        let dropped: Vec<BlockMeta> = {
            let mut state = self.state();
            let mut dropped = Vec::new();
            let mut freed = 0;
            for lane in state.lanes.values_mut() {
                for slot in lane.take_memory() {
                    freed += slot.memory();
                    dropped.push(slot.meta);
                }
            }
            state.lanes.retain(|_, lane| !lane.is_empty());
            state.ready = state.lanes.values().map(super::lane::Lane::len).sum();
            state.used -= freed;
            while let Some(pending) = state.pop_pending() {
                dropped.push(pending.meta);
            }
            let mut books = self.ledger.books();
            let book = &mut books.sinks[self.sink];
            let sum = sum(&dropped);
            book.queued -= sum;
            if sum != Count::default() {
                *book.dropped.entry(reason).or_default() += sum;
            }
            dropped
        };
        let count = sum(&dropped);
        for meta in dropped {
            meta.tickets.settle(Outcome::Lost);
        }
        self.freed.notify_waiters();
        self.changed.notify_one();
        count
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
    pub(super) fn landed(&self, flights: Vec<u64>) {
        {
            let mut state = self.state();
            for flight in flights {
                state.flights.remove(&flight);
            }
        }
        self.changed.notify_one();
    }

    /// Lets bytes in memory go.
    pub(super) fn free(&self, bytes: u64) {
        self.state().used -= bytes;
        self.freed.notify_waiters();
        self.changed.notify_one();
    }

    /// Counts bytes that were read back into memory.
    pub(super) fn hold(&self, bytes: u64) {
        self.state().used += bytes;
    }
}
