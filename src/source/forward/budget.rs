//! Bytes that the connections of a source may hold beyond the small buffer that each has for itself.
//!
//! A connection holds them in a [`Lease`] and waits where there are none left: it does not read meanwhile, and that
//! is the back-pressure. Waiters are served in the order in which they came. Connections that each hold a part of a
//! frame and wait for room for the rest would wait for each other for ever; so one connection at a time may overdraw
//! until its frame is done. What is taken is at most the limit and what one frame needs.
//!
//! Plain counters; what is allocated for the bytes is the holder's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{Notify, Semaphore};

/// What a connection's buffer may have without asking, at most: a record of Docker's 16 KiB with its keys fits, so that
/// such senders never wait for frames of others. A thousand connections that stop inside a frame take 32 MiB.
const BASE: usize = 32 << 10;

/// What it has in any case.
const LEAST_BASE: usize = 16 << 10;

/// So many connections have together, without asking, what all have by asking.
const CROWD: usize = 256;

/// The bytes that the connections of a source share.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    /// What a connection has without asking.
    base: usize,
    taken: AtomicUsize,
    /// The most that was ever taken.
    peak: AtomicUsize,
    /// Leases that wait, the first of them included.
    waiting: AtomicUsize,
    /// Held by the waiter whose turn it is; the semaphore is fair.
    turn: Semaphore,
    /// Whether a lease overdraws.
    overdrawn: AtomicBool,
    /// Something was given back; heard by the waiter whose turn it is.
    freed: Notify,
}

impl Budget {
    /// With so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            base: (limit / CROWD).clamp(LEAST_BASE, BASE),
            taken: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            turn: Semaphore::new(1),
            overdrawn: AtomicBool::new(false),
            freed: Notify::new(),
        }
    }

    /// What the buffer of a connection may have that is not counted here.
    pub fn base(&self) -> usize {
        self.base
    }

    /// Bytes that are taken now.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// The most bytes that were ever taken.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Acquire)
    }

    /// Connections that wait for bytes.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Takes `n` bytes if no more than `limit` are taken then.
    fn take_below(&self, n: usize, limit: usize) -> bool {
        let fits = |taken: usize| taken.checked_add(n).filter(|sum| *sum <= limit);
        let before = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        before.inspect(|before| self.note(before + n)).is_ok()
    }

    fn note(&self, taken: usize) {
        self.peak.fetch_max(taken, Ordering::AcqRel);
    }

    fn give(&self, n: usize) {
        self.taken.fetch_sub(n, Ordering::AcqRel);
        self.freed.notify_one();
    }
}

/// What one connection holds of a budget; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    budget: Arc<Budget>,
    bytes: usize,
    overdraws: bool,
}

impl Lease {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, bytes: 0, overdraws: false }
    }

    /// Whether this is the one that may overdraw.
    pub(super) fn overdraws(&self) -> bool {
        self.overdraws
    }

    /// Whether bytes are to be given back that merely make the work quicker.
    pub(super) fn is_tight(&self) -> bool {
        self.overdraws || self.budget.waiting() > 0
    }

    /// Grows to `bytes` for the sake of speed: only from the first half of the budget, and only when nobody waits.
    /// The other half is for frames that cannot be read without it.
    pub(super) fn try_grow(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let grown = more == 0 || (!self.is_tight() && self.budget.take_below(more, self.budget.limit / 2));
        if grown {
            self.bytes += more;
        }
        grown
    }

    /// Grows to `bytes` without waiting, if they are there and nobody waits for them.
    pub(super) fn grow_now(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if self.overdraws {
            self.budget.note(self.budget.taken.fetch_add(more, Ordering::AcqRel) + more);
        } else if more > 0 && (self.budget.waiting() > 0 || !self.budget.take_below(more, self.budget.limit)) {
            return false;
        }
        self.bytes += more;
        true
    }

    /// Grows to `bytes`, and waits until that is possible. Cancel safe: nothing is taken before it comes back.
    pub(super) async fn grow(&mut self, bytes: usize) {
        if self.grow_now(bytes) {
            return;
        }
        let budget = Arc::clone(&self.budget);
        let _waiter = Waiter::of(&budget);
        let _turn = budget.turn.acquire().await.expect("the semaphore is never closed");
        let more = bytes - self.bytes;
        loop {
            if budget.take_below(more, budget.limit) {
                break;
            }
            if budget.overdrawn.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                budget.note(budget.taken.fetch_add(more, Ordering::AcqRel) + more);
                self.overdraws = true;
                break;
            }
            // A word that came since the look above is kept for the next to ask.
            budget.freed.notified().await;
        }
        self.bytes += more;
    }

    /// Gives back what is held beyond `bytes`.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        if less > 0 {
            self.bytes -= less;
            self.budget.give(less);
        }
    }

    /// Lets another lease overdraw: the frame that it was for is done.
    pub(super) fn end_overdraft(&mut self) {
        if std::mem::take(&mut self.overdraws) {
            self.budget.overdrawn.store(false, Ordering::Release);
            self.budget.freed.notify_one();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shrink(0);
        self.end_overdraft();
    }
}

/// Counts a lease that waits, for as long as it does.
struct Waiter<'a>(&'a Budget);

impl<'a> Waiter<'a> {
    fn of(budget: &'a Budget) -> Self {
        budget.waiting.fetch_add(1, Ordering::AcqRel);
        Self(budget)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use super::*;

    /// Whether the future is ready.
    fn ready(future: Pin<&mut impl Future<Output = ()>>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn grows(lease: &mut Lease, bytes: usize) -> bool {
        ready(std::pin::pin!(lease.grow(bytes)))
    }

    fn leases<const N: usize>(limit: usize) -> (Arc<Budget>, [Lease; N]) {
        let budget = Arc::new(Budget::new(limit));
        let leases = std::array::from_fn(|_| Lease::new(Arc::clone(&budget)));
        (budget, leases)
    }

    #[test]
    fn one_lease_may_overdraw_and_the_next_when_it_is_done() {
        let (budget, [mut a, mut b, mut c]) = leases(100);
        assert!(grows(&mut a, 100));
        assert!(grows(&mut b, 500), "more than the whole budget");
        assert!(b.overdraws());
        assert!(!grows(&mut c, 10));
        assert_eq!((budget.taken(), budget.waiting()), (600, 0));
        b.end_overdraft();
        assert!(grows(&mut c, 10));
        drop((a, b, c));
        assert_eq!((budget.taken(), budget.peak()), (0, 610));
    }

    #[test]
    fn a_waiter_goes_on_when_bytes_are_given_back_though_another_overdraws() {
        let (_, [mut a, mut b, mut c]) = leases(100);
        assert!(grows(&mut a, 100));
        assert!(grows(&mut b, 10));
        let mut waits = Box::pin(c.grow(50));
        assert!(!ready(waits.as_mut()));
        a.shrink(20);
        assert!(ready(waits.as_mut()));
        drop(waits);
        assert!(b.overdraws() && !c.overdraws());
    }

    #[test]
    fn nobody_overtakes_a_waiter_and_one_that_gives_up_is_forgotten() {
        let (budget, [mut a, mut b, mut c, mut d]) = leases(100);
        assert!(grows(&mut a, 90));
        assert!(grows(&mut b, 20));
        let mut waits = Box::pin(c.grow(50));
        assert!(!ready(waits.as_mut()));
        b.shrink(0);
        assert!(!d.grow_now(5) && !d.try_grow(5), "there are ten, and somebody waits");
        drop(waits);
        assert_eq!(budget.waiting(), 0);
        assert!(d.grow_now(5));
    }

    #[test]
    fn speed_gets_no_more_than_half() {
        let (_, [mut a, mut b]) = leases(100);
        assert!(a.try_grow(50));
        assert!(!b.try_grow(1));
        assert!(b.grow_now(50));
    }
}
