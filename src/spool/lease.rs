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
    pub(super) fn new(queue: Arc<Queue>, blocks: Vec<Block>) -> Self {
        debug_assert!(!blocks.is_empty());
        let (mut count, mut tickets, mut held) = (Count::default(), Tickets::none(), 0);
        for block in &blocks {
            count += block.meta.count;
            tickets.join(&block.meta.tickets);
            held += block.data.len() as u64;
        }
        Self { blocks, held, receipt: Receipt { queue, count, tickets } }
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
        // Only the bytes end here; the records' claim moves on.
        let queue = Arc::clone(&self.receipt.queue);
        std::mem::replace(&mut self.receipt, Receipt { queue, count: Count::default(), tickets: Tickets::none() })
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
        if held > 0 {
            self.receipt.queue.free(held);
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
pub struct Receipt {
    queue: Arc<Queue>,
    count: Count,
    tickets: Tickets,
}

impl Receipt {
    /// What it stands for.
    pub fn count(&self) -> Count {
        self.count
    }

    /// Takes over the claim of `other`, of the same queue.
    pub fn join(&mut self, mut other: Self) {
        self.count += std::mem::take(&mut other.count);
        self.tickets.join(&std::mem::take(&mut other.tickets));
    }

    /// The target confirmed some of the records but rejected others.
    pub fn settled(mut self, rejected: &[(&'static str, Count)]) {
        let mut good = std::mem::take(&mut self.count);
        let mut books = self.queue.ledger().books();
        let book = &mut books.sinks[self.queue.sink()];
        book.in_flight -= good;
        for &(reason, count) in rejected {
            good -= count;
            *book.dropped.entry(reason).or_default() += count;
        }
        book.delivered += good;
        drop(books);
        let outcome = if rejected.is_empty() { Outcome::Delivered } else { Outcome::Dropped };
        std::mem::take(&mut self.tickets).settle(outcome);
    }

    /// The target confirmed all records.
    pub fn delivered(self) {
        self.settled(&[]);
    }

    /// The records are given up for this reason.
    pub fn dropped(self, reason: &'static str) {
        let count = self.count;
        self.settled(&[(reason, count)]);
    }
}

impl Drop for Receipt {
    /// A claim that nobody settled: the sink's task ended with it. Counted, and the sender has to repeat the chunk.
    fn drop(&mut self) {
        let count = std::mem::take(&mut self.count);
        if count == Count::default() {
            return;
        }
        let mut books = self.queue.ledger().books();
        let book = &mut books.sinks[self.queue.sink()];
        book.in_flight -= count;
        *book.dropped.entry("abandoned").or_default() += count;
        drop(books);
        std::mem::take(&mut self.tickets).settle(Outcome::Lost);
    }
}
