//! Tickets: how a sender that asked for an ack learns what became of its chunk.
//!
//! A ticket is cloned into every block that holds a copy of one of the chunk's records. The last clone to be dropped
//! reports the worst outcome that any of them was marked with, exactly once, to whoever made the ticket. Every
//! interleaving of that is tried in `tests/ticket.rs`.

use super::sync::{Arc, AtomicU8, Mutex, Ordering};

/// What became of a chunk, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// Every copy was accepted by its sink.
    Delivered = 0,
    /// A copy was dropped by policy or rejected for good; repeating it would not help, so it counts as settled.
    Dropped = 1,
    /// A copy was given up undelivered: the sender must repeat the chunk.
    Lost = 2,
}

impl Outcome {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Delivered,
            1 => Self::Dropped,
            _ => Self::Lost,
        }
    }

    /// Whether the sender may forget the chunk.
    pub fn is_settled(self) -> bool {
        self != Self::Lost
    }
}

type Report = Box<dyn FnOnce(Outcome) + Send>;

struct Inner {
    worst: AtomicU8,
    /// Settled when its copies are durable, delivered or not.
    durable: bool,
    report: Mutex<Option<Report>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let report = self.report.get_mut().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(report) = report {
            // The count of the `Arc` orders every mark before the last drop.
            report(Outcome::from_u8(self.worst.load(Ordering::Relaxed)));
        }
    }
}

/// One claim on the outcome of a chunk.
#[derive(Clone)]
pub struct Ticket(Arc<Inner>);

impl Ticket {
    /// A ticket that calls `report` when its last clone is dropped.
    pub fn new(report: impl FnOnce(Outcome) + Send + 'static) -> Self {
        Self::make(report, false)
    }

    /// The same for a sender that waits only until its records are durable: a queue on disk lets go of it then.
    pub fn durable(report: impl FnOnce(Outcome) + Send + 'static) -> Self {
        Self::make(report, true)
    }

    fn make(report: impl FnOnce(Outcome) + Send + 'static, durable: bool) -> Self {
        Self(Arc::new(Inner {
            worst: AtomicU8::new(Outcome::Delivered as u8),
            durable,
            report: Mutex::new(Some(Box::new(report))),
        }))
    }

    /// Remembers `outcome` if it is worse than what is known.
    pub fn mark(&self, outcome: Outcome) {
        self.0.worst.fetch_max(outcome as u8, Ordering::Relaxed);
    }

    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ticket({:?})", Outcome::from_u8(self.0.worst.load(Ordering::Relaxed)))
    }
}

/// The tickets of the records in a batch or block; empty (and free of allocation) when nobody waits.
#[derive(Clone, Debug, Default)]
pub struct Tickets(Vec<Ticket>);

impl Tickets {
    /// Nobody waits.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds what `other` holds and this does not; chunks come in order, so comparing with the last few is enough.
    pub fn join(&mut self, other: &Self) {
        for ticket in &other.0 {
            if !self.0.iter().rev().take(8).any(|mine| mine.same(ticket)) {
                self.0.push(ticket.clone());
            }
        }
    }

    /// Whether a sender waits until its records are durable.
    pub fn await_durability(&self) -> bool {
        self.0.iter().any(|ticket| ticket.0.durable)
    }

    /// Takes out those that wait only until their records are durable.
    pub fn take_durable(&mut self) -> Self {
        let (durable, rest) = std::mem::take(&mut self.0).into_iter().partition(|ticket| ticket.0.durable);
        self.0 = rest;
        Self(durable)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Marks all and lets them go.
    pub fn settle(self, outcome: Outcome) {
        for ticket in &self.0 {
            ticket.mark(outcome);
        }
    }
}

impl From<Ticket> for Tickets {
    fn from(ticket: Ticket) -> Self {
        Self(vec![ticket])
    }
}
