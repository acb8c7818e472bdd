//! What a sink has taken from its queue: blocks under way, settled exactly once.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Queue;
use super::disk::{Ended, Ranges};
use super::lane::{Place, Slot};
use super::state::sum;
use crate::encode::{BlockMeta, Count};
use crate::record::{Outcome, Tickets};

/// What records count as that were on disk and cannot be read any more.
pub(super) const DAMAGED: &str = "damaged";

/// Blocks that a sink is delivering. Bytes in memory count against the queue until [`Lease::into_receipt`] or the drop.
#[derive(Debug)]
pub struct Lease {
    slots: Vec<Slot>,
    /// What their bytes count for in the queue.
    held: u64,
    receipt: Receipt,
}

/// Bytes of some blocks of a lease; what was read back from disk counts in the queue for as long as this lives.
#[derive(Debug)]
pub struct Loaded {
    data: Vec<Bytes>,
    held: u64,
    queue: Arc<Queue>,
}

impl Loaded {
    /// By block, in sequence; empty where a block could not be read any more.
    pub fn data(&self) -> &[Bytes] {
        &self.data
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.data.clear();
        if self.held > 0 {
            self.queue.free(self.held);
        }
    }
}

impl Lease {
    pub(super) fn new(queue: Arc<Queue>, flight: u64, slots: Vec<Slot>) -> Self {
        debug_assert!(!slots.is_empty());
        let mut claim = Claim {
            queue,
            flights: vec![flight],
            count: sum(slots.iter().map(|slot| &slot.meta)),
            damaged: Count::default(),
            ended: Vec::new(),
            tickets: Tickets::none(),
        };
        for Slot { sequence, meta, place } in &slots {
            claim.tickets.join(&meta.tickets);
            if let Place::Disk(location) = place {
                let (segment, sequence, count) = (location.segment(), *sequence, meta.count);
                claim.ended.push(Ended { segment, sequence, count });
            }
        }
        let held = slots.iter().map(Slot::memory).sum();
        Self { slots, held, receipt: Receipt(Some(claim)) }
    }

    /// What is told of the blocks, in sequence.
    pub fn metas(&self) -> impl ExactSizeIterator<Item = &BlockMeta> {
        self.slots.iter().map(|slot| &slot.meta)
    }

    /// The queue that it was taken from.
    pub fn queue(&self) -> Arc<Queue> {
        match &self.receipt.0 {
            Some(claim) => Arc::clone(&claim.queue),
            None => unreachable!("a lease gives its claim away only at its end"),
        }
    }

    /// How many blocks.
    pub fn blocks(&self) -> usize {
        self.slots.len()
    }

    /// The sequence of the first block.
    pub fn first(&self) -> u64 {
        self.slots.first().map_or(0, |slot| slot.sequence)
    }

    /// Bytes of the blocks as stored.
    pub fn bytes(&self) -> u64 {
        self.slots.iter().map(Slot::len).sum()
    }

    /// Bytes of each block as stored.
    pub fn lens(&self) -> impl ExactSizeIterator<Item = u64> {
        self.slots.iter().map(Slot::len)
    }

    /// Whether the blocks are on disk: they outlive the process until they are settled.
    pub fn is_on_disk(&self) -> bool {
        self.slots.first().is_some_and(Slot::is_on_disk)
    }

    /// The sequences of the blocks.
    pub(super) fn sequences(&self) -> Ranges {
        self.slots.iter().map(|slot| slot.sequence).collect()
    }

    /// The bytes of some blocks, read back from disk if they are there. What cannot be read is counted as `damaged` at
    /// the end, whatever else becomes of the lease.
    pub async fn load(&mut self, range: Range<usize>) -> Loaded {
        let mut places = Vec::with_capacity(range.len());
        places.extend(self.slots[range.clone()].iter().map(|slot| slot.place.clone()));
        let on_disk = places.iter().any(|place| matches!(place, Place::Disk(_)));
        let read = |places: Vec<Place>| {
            let one = |place| match place {
                Place::Memory(data) => Some(data),
                Place::Disk(location) => location.read(),
            };
            places.into_iter().map(one).collect::<Vec<Option<Bytes>>>()
        };
        let read = match on_disk {
            true => {
                let files = places.clone();
                tokio::task::spawn_blocking(move || read(places)).await.unwrap_or_else(|_| {
                    files.iter().for_each(Place::mark_damaged);
                    Vec::new()
                })
            }
            false => read(places),
        };
        let queue = self.queue();
        let mut data = Vec::with_capacity(range.len());
        for (at, found) in range.zip(read.into_iter().chain(std::iter::repeat(None))) {
            data.push(found.unwrap_or_else(|| {
                self.damaged(at);
                Bytes::new()
            }));
        }
        let held = if on_disk { data.iter().map(|data| data.len() as u64).sum() } else { 0 };
        queue.hold(held);
        Loaded { data, held, queue }
    }

    /// Counts a block as damaged, once.
    fn damaged(&mut self, at: usize) {
        let count = std::mem::take(&mut self.slots[at].meta.count);
        if let Some(claim) = &mut self.receipt.0 {
            claim.damaged += count;
        }
    }

    /// Lets the bytes go and keeps the claim on the records.
    pub fn into_receipt(mut self) -> Receipt {
        self.free();
        Receipt(self.receipt.0.take())
    }

    /// The target confirmed all blocks.
    pub fn delivered(self) {
        self.into_receipt().delivered();
    }

    /// The blocks are given up for this reason.
    pub fn dropped(self, reason: &'static str) {
        self.into_receipt().dropped(reason);
    }

    fn free(&mut self) {
        self.slots.clear();
        let held = std::mem::take(&mut self.held);
        if let (Some(claim), true) = (&self.receipt.0, held > 0) {
            claim.queue.free(held);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.free();
    }
}

/// The claim on records whose bytes are out of our hands: sent, and not confirmed yet.
#[derive(Debug)]
pub struct Receipt(Option<Claim>);

#[derive(Debug)]
struct Claim {
    queue: Arc<Queue>,
    flights: Vec<u64>,
    count: Count,
    /// Of `count`, what could not be read.
    damaged: Count,
    /// What the disk is told at the end: the blocks that are there.
    ended: Vec<Ended>,
    tickets: Tickets,
}

impl Receipt {
    /// What it stands for, without what could not be read.
    pub fn count(&self) -> Count {
        self.0.as_ref().map(|claim| claim.count.less(claim.damaged)).unwrap_or_default()
    }

    /// Takes over the claim of `other`, of the same queue.
    pub fn join(&mut self, mut other: Self) {
        match (&mut self.0, other.0.take()) {
            (Some(mine), Some(theirs)) => {
                mine.count += theirs.count;
                mine.damaged += theirs.damaged;
                mine.tickets.join(&theirs.tickets);
                mine.flights.extend(theirs.flights);
                mine.ended.extend(theirs.ended);
            }
            (mine, theirs) => *mine = mine.take().or(theirs),
        }
    }

    /// The target confirmed the records but for these, which it rejected for good.
    pub fn settled(mut self, rejected: &[(&'static str, Count)]) {
        let Some(claim) = self.0.take() else { return };
        let mut given_up = rejected.to_vec();
        if claim.damaged != Count::default() {
            given_up.push((DAMAGED, claim.damaged));
        }
        let outcome = if given_up.is_empty() { Outcome::Delivered } else { Outcome::Dropped };
        {
            let mut books = claim.queue.ledger().books();
            let book = &mut books.sinks[claim.queue.sink()];
            let mut good = claim.count;
            book.in_flight -= good;
            for (reason, count) in given_up {
                good -= count;
                *book.dropped.entry(reason).or_default() += count;
            }
            book.delivered += good;
        }
        claim.queue.end(claim.ended);
        claim.tickets.settle(outcome);
        claim.queue.landed(claim.flights);
    }

    /// The target confirmed all records.
    pub fn delivered(self) {
        self.settled(&[]);
    }

    /// The records are given up for this reason.
    pub fn dropped(self, reason: &'static str) {
        let count = self.count();
        self.settled(&[(reason, count)]);
    }
}

impl Drop for Receipt {
    /// A claim that nobody settled: the sink's task ended with it. What is on disk waits for the next start; the rest
    /// is counted as given up. In either case the sender is not told that it arrived.
    fn drop(&mut self) {
        let Some(claim) = self.0.take() else { return };
        {
            let mut books = claim.queue.ledger().books();
            let book = &mut books.sinks[claim.queue.sink()];
            book.in_flight -= claim.count;
            let mut kept = Count::default();
            claim.ended.iter().for_each(|block| kept += block.count);
            book.queued += kept;
            let lost = claim.count.less(kept);
            if lost != Count::default() {
                *book.dropped.entry("abandoned").or_default() += lost;
            }
        }
        claim.tickets.settle(Outcome::Lost);
        claim.queue.landed(claim.flights);
    }
}
