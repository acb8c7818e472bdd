//! What a sink has taken from its queue: blocks under way, settled exactly once.

use std::sync::Arc;

use super::Queue;
use crate::encode::{Block, Count};
use crate::record::{Outcome, Tickets};

/// Blocks that a sink is delivering. Their bytes count against the queue until [`Lease::into_receipt`] or the drop.
#[derive(Debug)]
pub struct Lease {
    blocks: Vec<Block>,
    /// What their bytes count for in the queue.
    held: u64,
    receipt: Receipt,
}

impl Lease {
    pub(super) fn new(queue: Arc<Queue>, flight: u64, blocks: Vec<Block>) -> Self {
        debug_assert!(!blocks.is_empty());
        let (mut count, mut tickets, mut held) = (Count::default(), Tickets::none(), 0);
        for block in &blocks {
            count += block.meta.count;
            tickets.join(&block.meta.tickets);
            held += block.data.len() as u64;
        }
        let receipt = Receipt(Some(Claim { queue, flights: vec![flight], count, tickets }));
        Self { blocks, held, receipt }
    }

    /// The blocks, in sequence.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Bytes of the blocks as stored.
    pub fn bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.data.len() as u64).sum()
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
        self.blocks.clear();
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
    tickets: Tickets,
}

impl Receipt {
    /// What it stands for.
    pub fn count(&self) -> Count {
        self.0.as_ref().map(|claim| claim.count).unwrap_or_default()
    }

    /// Takes over the claim of `other`, of the same queue.
    pub fn join(&mut self, mut other: Self) {
        match (&mut self.0, other.0.take()) {
            (Some(mine), Some(theirs)) => {
                mine.count += theirs.count;
                mine.tickets.join(&theirs.tickets);
                mine.flights.extend(theirs.flights);
            }
            (mine, theirs) => *mine = mine.take().or(theirs),
        }
    }

    /// The target confirmed the records but for these, which it rejected for good.
    pub fn settled(mut self, rejected: &[(&'static str, Count)]) {
        let outcome = if rejected.is_empty() { Outcome::Delivered } else { Outcome::Dropped };
        self.end(rejected, outcome);
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

    fn end(&mut self, rejected: &[(&'static str, Count)], outcome: Outcome) {
        let Some(claim) = self.0.take() else { return };
        {
            let mut books = claim.queue.ledger().books();
            let book = &mut books.sinks[claim.queue.sink()];
            let mut good = claim.count;
            book.in_flight -= good;
            for &(reason, count) in rejected {
                good -= count;
                *book.dropped.entry(reason).or_default() += count;
            }
            book.delivered += good;
        }
        claim.tickets.settle(outcome);
        for flight in claim.flights {
            claim.queue.landed(flight);
        }
    }
}

impl Drop for Receipt {
    /// A claim that nobody settled: the sink's task ended with it. Counted, and the sender has to repeat the chunk.
    fn drop(&mut self) {
        let count = self.count();
        self.end(&[("abandoned", count)], Outcome::Lost);
    }
}
