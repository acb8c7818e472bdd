//! A queue's way to its disk: one task that writes what is ready, and reads back what was written long ago.
//!
//! A sync begins as soon as something waits and none is running; what comes meanwhile shares the next. Blocks are ready
//! when they are durable. When the disk does not take them they are ready from memory, within the memory's bound, and
//! the disk is tried again each second; nothing is lost that is not lost with the process.
//!
//! At most [`READY`] blocks are known one by one, fewer where memory is short. What is written beyond them is only
//! counted, and read back when the sink has come so far: a backlog of any size, of this process or the last, costs no
//! memory.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};

use super::Lease;
use super::disk::files::Directory;
use super::disk::{Anchor, Commit, Committed, CutEntry, Ended, Limits, Recovered, Refill, Store, ToStore};
use super::lane::{Place, Slot};
use super::lease::DAMAGED;
use super::queue::{Queue, QueueConfig, WhenFull};
use super::state::{OnDisk, Pending, State};
use crate::encode::Count;
use crate::ledger::Ledger;
use crate::record::{Outcome, Tickets};
use crate::seldom::Seldom;
use crate::watchdog;

mod health;

pub use health::DiskState;

/// Blocks that are known one by one: some 300 bytes each, so 5 MiB.
const READY: usize = 16 << 10;

/// A block that is known may cost the 300th part of this, so all of them a third of the queue's share of the memory.
const BOUND_PER_READY: u64 = 1 << 10;

/// Blocks that are read back in one turn: who waits for the next sync waits for no more.
const REFILL: usize = 256;

/// Bytes of blocks that are written and synced together, at most.
const TOGETHER: u64 = 8 << 20;

/// Bytes of blocks that wait for the disk, at most, while it works: sources are not read beyond. They are what a crash
/// takes of records that nobody waits for an ack of, so on a machine that is short of CPU this bounds the time.
pub(super) const UNWRITTEN: u64 = 4 << 20;

/// Between two tries of a disk that fails.
const PAUSE: Duration = Duration::from_secs(1);

/// The disk side of a queue.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) limits: Limits,
    /// None while it is being written with, and after the end.
    store: Mutex<Option<Box<Store>>>,
    /// Something to write or to read back.
    pub(super) work: Notify,
    /// Told whenever a sync has ended.
    synced: watch::Sender<()>,
    found: Recovered,
    /// Of a full spool the log hears seldom.
    full: Seldom,
}

/// What one turn did.
struct Turn {
    committed: Committed,
    refill: io::Result<Refill>,
    used: u64,
    segments: usize,
    cold: bool,
}

impl Queue {
    /// A queue with a disk, and all that waits there. Blocks for as long as it takes to look at it.
    pub fn open(
        sink: usize,
        config: QueueConfig,
        ledger: Arc<Ledger>,
        directory: Arc<dyn Directory>,
        limits: Limits,
        anchor: Anchor,
        synced: watch::Sender<()>,
    ) -> io::Result<Arc<Self>> {
        let (mut store, mut found) = Store::open(directory, limits, anchor)?;
        let slots = |blocks: Vec<_>| blocks.into_iter().map(Slot::from).collect::<Vec<Slot>>();
        let cuts = std::mem::take(&mut found.cuts);
        let unfinished: Vec<_> = cuts.into_iter().map(|(cut, blocks)| (cut, slots(blocks))).collect();
        let held: usize = unfinished.iter().map(|(_, slots)| slots.len()).sum();
        {
            let mut books = ledger.books();
            let book = &mut books.sinks[sink];
            let mut all = found.waiting;
            all += found.lost;
            book.accepted += all;
            book.recovered += all;
            book.queued += found.waiting;
            if found.lost != Count::default() {
                *book.dropped.entry(DAMAGED).or_default() += found.lost;
            }
        }
        let disk = OnDisk {
            unfinished,
            cold: found.blocks.saturating_sub(held as u64),
            used: store.bytes(),
            segments: store.segments(),
            ..OnDisk::default()
        };
        let state = State { next_sequence: store.next_sequence(), disk: Some(disk), ..State::default() };
        let refill = store.refill(ready(config.bound).min(REFILL));
        let cold = store.is_cold();
        let keeper = Keeper {
            limits,
            store: Mutex::new(Some(Box::new(store))),
            work: Notify::new(),
            synced,
            found,
            full: Seldom::default(),
        };
        let queue = Arc::new(Self::with(sink, config, ledger, state, Some(keeper)));
        // What cannot be read now is tried again by the keeper.
        queue.refilled(&mut queue.state(), refill.unwrap_or_default(), cold);
        Ok(queue)
    }

    /// Writes and reads back until [`Queue::close`]; without a disk it comes back at once. One task.
    pub async fn keep(self: Arc<Self>) {
        let Some(keeper) = &self.keeper else { return };
        loop {
            let commit = self.gather();
            let Some((commit, most)) = commit else {
                if self.state().disk.as_ref().is_some_and(|disk| disk.closing) {
                    break;
                }
                keeper.work.notified().await;
                continue;
            };
            let store = keeper.store().take();
            let Some(mut store) = store else { return };
            let work = move || {
                let committed = store.commit(commit);
                let refill = if most > 0 { store.refill(most) } else { Ok(Refill::default()) };
                let (used, segments, cold) = (store.bytes(), store.segments(), store.is_cold());
                (store, Turn { committed, refill, used, segments, cold })
            };
            let work = watchdog::watch(tokio::task::spawn_blocking(work), |so_far| self.stalls(so_far));
            let Ok((store, turn)) = work.await else {
                tracing::error!("a spool's writer ended in a defect; this queue goes on in memory");
                return self.lose_disk();
            };
            *keeper.store() = Some(store);
            if !self.turned(turn) {
                let closing = self.state().disk.as_ref().is_some_and(|disk| disk.closing);
                if closing {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        let store = keeper.store().take();
        if let Some(mut store) = store {
            // Only tidier: what was to be durable is.
            let _ = tokio::task::spawn_blocking(move || store.close()).await;
        }
    }

    /// Lets [`Queue::keep`] write what is left and end.
    pub fn close(&self) {
        if let (Some(disk), Some(keeper)) = (&mut self.state().disk, &self.keeper) {
            disk.closing = true;
            keeper.work.notify_one();
        }
    }

    /// Whether blocks are made durable before they are taken.
    pub fn is_on_disk(&self) -> bool {
        self.keeper.is_some()
    }

    /// Whether a block that is sealed now would be written at once.
    pub fn is_idle(&self) -> bool {
        let state = self.state();
        state.pending.is_empty() && state.disk.as_ref().is_some_and(|disk| !disk.busy)
    }

    /// Comes back when all that has a place now is durable; at once in memory, and while the disk takes nothing.
    pub async fn durable(&self) {
        let Some(keeper) = &self.keeper else { return };
        let mut synced = keeper.synced.subscribe();
        let until = self.state().next_sequence;
        loop {
            {
                let state = self.state();
                let waits = state.pending.front().is_some_and(|pending| pending.sequence < until);
                let takes = state.disk.as_ref().is_some_and(OnDisk::takes);
                if !(waits && takes) {
                    return;
                }
            }
            if synced.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether there is more on disk than is ready to be taken.
    pub fn is_behind(&self) -> bool {
        self.state().disk.as_ref().is_some_and(|disk| disk.cold > 0)
    }

    /// What was found at the start.
    pub fn recovered(&self) -> Option<&Recovered> {
        self.keeper.as_ref().map(|keeper| &keeper.found)
    }

    /// Makes durable that the blocks of a lease are the object of this key; only then may it be begun. False if the
    /// disk does not take it, or the blocks are not there: then the object is not repeated after a crash, but its
    /// records may be sent again under another key.
    pub async fn cut(&self, key: &str, lease: &Lease) -> bool {
        let (tell, told) = oneshot::channel();
        if let (Some(disk), Some(keeper)) = (&mut self.state().disk, &self.keeper)
            && lease.is_on_disk()
        {
            disk.cuts.push((key.to_owned(), lease.sequences(), tell));
            keeper.work.notify_one();
        } else {
            return false;
        }
        told.await.unwrap_or(false)
    }

    /// Notes the multipart upload of a cut, so that the next start can abort it.
    pub fn note_upload(&self, first: u64, id: &str) {
        if let (Some(disk), Some(keeper)) = (&mut self.state().disk, &self.keeper) {
            disk.uploads.push((first, id.to_owned()));
            keeper.work.notify_one();
        }
    }

    /// Objects of the last process that were cut and not finished, each once.
    pub fn unfinished(self: &Arc<Self>) -> Vec<(CutEntry, Lease)> {
        let mut state = self.state();
        let unfinished = state.disk.as_mut().map(|disk| std::mem::take(&mut disk.unfinished)).unwrap_or_default();
        unfinished.into_iter().map(|(cut, slots)| (cut, self.lease(&mut state, slots))).collect()
    }

    /// Blocks on disk came to their end.
    pub(super) fn end(&self, ended: Vec<Ended>) {
        if let (Some(disk), Some(keeper), false) = (&mut self.state().disk, &self.keeper, ended.is_empty()) {
            disk.ended.extend(ended);
            keeper.work.notify_one();
        }
    }

    /// What is to be written now, and how many blocks should be read back; none if there is nothing to do.
    fn gather(&self) -> Option<(Commit, usize)> {
        let ready = ready(self.config().bound);
        let mut guard = self.state();
        let state = &mut *guard;
        let disk = state.disk.as_mut()?;
        let mut commit = Commit {
            // Read back in sequence: once one is cold, all behind it are.
            cold: disk.cold > 0 || state.ready >= ready,
            ended: std::mem::take(&mut disk.ended),
            uploads: std::mem::take(&mut disk.uploads),
            ..Commit::default()
        };
        let mut told = Vec::new();
        for (key, blocks, tell) in disk.cuts.drain(..) {
            commit.cuts.push((key, blocks));
            told.push(tell);
        }
        let mut bytes = 0;
        if !disk.full || disk.closing || !commit.ended.is_empty() {
            let room = if commit.cold { usize::MAX } else { ready - state.ready };
            for Pending { sequence, meta, data } in state.pending.iter().take(room) {
                let Some(data) = data.as_ref().filter(|_| bytes < TOGETHER) else { break };
                bytes += data.len() as u64;
                let mut meta = meta.clone();
                meta.tickets = Tickets::none();
                commit.blocks.push(ToStore { sequence: *sequence, meta, data: data.clone() });
            }
        }
        let most = if disk.cold > 0 && state.ready < ready / 2 { (ready - state.ready).min(REFILL) } else { 0 };
        let nothing = commit.blocks.is_empty() && commit.cuts.is_empty();
        commit.probe = disk.failure.is_some();
        commit.beyond = disk.closing;
        if nothing && commit.ended.is_empty() && commit.uploads.is_empty() && most == 0 && !commit.probe {
            return None;
        }
        disk.writing = commit.blocks.len();
        disk.busy = true;
        disk.telling = told;
        Some((commit, most))
    }

    /// Takes in what a turn did; false if the disk failed.
    fn turned(&self, turn: Turn) -> bool {
        let Turn { committed, refill, used, segments, cold } = turn;
        let (mut settled, mut dropped): (Vec<Tickets>, Vec<Tickets>) = Default::default();
        let failed = {
            let mut guard = self.state();
            let state = &mut *guard;
            let mut freed = 0;
            let Some(disk) = &mut state.disk else { return false };
            (disk.used, disk.segments, disk.busy, disk.writing) = (used, segments, false, 0);
            if disk.stalled.take().is_some() {
                tracing::info!("the spool's disk has come back; nothing to do");
            }
            self.tell_full(disk, committed.full);
            disk.full = committed.full;
            disk.syncs += u64::from(!committed.locations.is_empty());
            for tell in disk.telling.drain(..) {
                let _ = tell.send(committed.journal_error.is_none());
            }
            let mut ready = Vec::new();
            for location in committed.locations {
                let Some(Pending { sequence, mut meta, data }) = state.pending.pop_front() else { break };
                freed += data.map_or(0, |data| data.len() as u64);
                settled.push(meta.tickets.take_durable());
                if !committed.cold {
                    ready.push(Slot { sequence, meta, place: Place::Disk(location) });
                    continue;
                }
                disk.cold += 1;
                if !meta.tickets.is_empty() {
                    disk.cold_tickets.insert(sequence, meta.tickets);
                }
            }
            state.used -= freed;
            state.unwritten -= freed;
            let error = committed.error.or(committed.journal_error);
            let (error, refill) = match refill {
                Ok(refill) => (error, refill),
                Err(read) => (error.or(Some(read)), Refill::default()),
            };
            let failure = error.as_ref().map(ToString::to_string);
            self.tell_health(disk, failure.as_deref());
            disk.failure = failure;
            let failed = disk.failure.is_some();
            let from_memory = failed && disk.cold == 0;
            ready.into_iter().for_each(|slot| state.make_ready(slot));
            if from_memory {
                // From memory, then, and all that is filled; what comes later tries the disk again.
                state.advance();
            }
            self.refilled(state, refill, cold);
            if state.disk.as_ref().is_some_and(|disk| disk.full) && self.config().when_full == WhenFull::DropOldest {
                dropped = self.make_room(state);
            }
            failed
        };
        for tickets in settled {
            tickets.settle(Outcome::Delivered);
        }
        dropped.into_iter().for_each(|tickets| tickets.settle(Outcome::Dropped));
        if let Some(keeper) = &self.keeper {
            keeper.tell_synced();
        }
        // Also without room: whoever waits because a disk that works had not caught up goes by the memory's bound now.
        self.freed.notify_waiters();
        self.changed.notify_one();
        !failed
    }

    /// Blocks that were read back become ready.
    fn refilled(&self, state: &mut State, refill: Refill, cold: bool) {
        let Some(disk) = &mut state.disk else { return };
        disk.cold = match cold {
            true => disk.cold.saturating_sub(refill.blocks.len() as u64 + refill.lost_blocks),
            false => 0,
        };
        let mut slots: Vec<Slot> = refill.blocks.into_iter().map(Slot::from).collect();
        for slot in &mut slots {
            if let Some(tickets) = disk.cold_tickets.remove(&slot.sequence) {
                slot.meta.tickets = tickets;
            }
        }
        slots.into_iter().for_each(|slot| state.make_ready(slot));
        if refill.lost != Count::default() {
            let mut books = self.ledger().books();
            let book = &mut books.sinks[self.sink()];
            book.queued -= refill.lost;
            *book.dropped.entry(DAMAGED).or_default() += refill.lost;
            drop(books);
            tracing::error!(
                records = refill.lost.records,
                "a segment of the spool is damaged; what could not be read is counted, the file is set aside"
            );
        }
    }

    /// The quota is reached and the oldest are to go: drops as many ready blocks as a segment may hold, for room comes
    /// back by whole segments.
    fn make_room(&self, state: &mut State) -> Vec<Tickets> {
        let Some(keeper) = &self.keeper else { return Vec::new() };
        let (mut dropped, mut bytes, mut count) = (Vec::new(), 0, Count::default());
        let mut ended = Vec::new();
        while bytes < keeper.limits.segment {
            let Some(slot) = state.pop_oldest(true) else { break };
            bytes += slot.len();
            count += slot.meta.count;
            if let Place::Disk(location) = &slot.place {
                ended.push(Ended { segment: location.segment(), sequence: slot.sequence, count: slot.meta.count });
            }
            dropped.push(slot.meta.tickets);
        }
        if let Some(disk) = &mut state.disk {
            disk.ended.extend(ended);
        }
        let mut books = self.ledger().books();
        let book = &mut books.sinks[self.sink()];
        book.queued -= count;
        if count != Count::default() {
            *book.dropped.entry("queue_full").or_default() += count;
        }
        dropped
    }

    /// The writer is gone: the queue goes on as one in memory. What is on disk waits for the next start.
    fn lose_disk(&self) {
        let mut state = self.state();
        // With it go those who wait for a cut: they are told that there is none.
        state.disk = None;
        state.advance();
        drop(state);
        if let Some(keeper) = &self.keeper {
            keeper.tell_synced();
        }
        self.freed.notify_waiters();
        self.changed.notify_one();
    }
}

/// How many blocks are known one by one, by the queue's share of the memory.
pub(super) fn ready(bound: u64) -> usize {
    usize::try_from(bound / BOUND_PER_READY).unwrap_or(READY).clamp(READY / 64, READY)
}

impl Keeper {
    /// Wakes whoever waits for something to be durable.
    pub(super) fn tell_synced(&self) {
        self.synced.send_replace(());
    }

    fn store(&self) -> std::sync::MutexGuard<'_, Option<Box<Store>>> {
        self.store.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests;
