//! Room in a connection's buffer: how much for the next read, and what of it is taken from the budget and given back.

use bytes::BytesMut;
use tokio::io::AsyncRead;

use super::{QUIET, READ_MIN, Reading};
use crate::source::Intake;

/// When so much of a frame has come, it gets a buffer as large as a frame may be, which is paid for and filled step by
/// step: the kernel gives memory as it is written to. So nothing is copied and held twice on the way.
const WIDE: usize = 128 << 10;

/// The largest buffer of that kind; where frames may be longer, it is doubled.
const WIDEST: usize = 16 << 20;

/// Less room than this is not worth a read.
const LEAST: usize = 4 << 10;

impl<R: AsyncRead + Unpin, I: Intake> Reading<'_, R, I> {
    /// Makes room for the next read: what the frame lacks, but never more than was already sent; a header is believed
    /// no further than that. Returns how much was aimed at. Waits for the budget only if the frame cannot be read on
    /// otherwise; a read that would merely be larger goes without. Cancel safe.
    pub(super) async fn make_room(&mut self) -> usize {
        let len = self.buf.len();
        let size = if self.lease.is_tight() { self.size.min(READ_MIN) } else { self.size };
        let wanted = usize::try_from(self.frames.wanted(&self.buf)).unwrap_or(usize::MAX);
        let spare = wanted.min(len).max(size);
        if len + spare <= self.filled_to() && self.buf.try_reclaim(spare) {
            return spare;
        }
        // Twice as much each time, since not every mode tells its length; what no frame can need is left out.
        let bound = usize::try_from(self.shared.frame_bound).unwrap_or(usize::MAX).saturating_add(READ_MIN);
        let target = (len + spare).max(bound.min(2 * len));
        let target = target.next_multiple_of(if target < READ_MIN { QUIET } else { READ_MIN });
        let base = self.shared.budget.base();
        let due = |alloc: usize| alloc.saturating_sub(base);
        let held = self.alloc.max(base);
        // Where it has to move, both are held for a moment.
        let more = due(target) + if self.is_within(target) { 0 } else { len };
        if target <= held || self.lease.try_grow(more) {
            self.widen(target);
        } else if len + LEAST <= self.filled_to() && self.buf.try_reclaim(LEAST) {
            // It has room enough to go on.
        } else if len + LEAST <= held {
            self.renew(held);
        } else {
            self.lend(more).await;
            self.widen(target);
        }
        spare
    }

    /// How many bytes the buffer may have.
    pub(super) fn filled_to(&self) -> usize {
        if self.wide { self.alloc } else { usize::MAX }
    }

    /// Whether the buffer can have so many bytes without moving.
    fn is_within(&self, bytes: usize) -> bool {
        self.wide && self.buf.capacity() >= bytes
    }

    /// Lets the buffer have `alloc` bytes, for which the lease has enough.
    fn widen(&mut self, alloc: usize) {
        if self.is_within(alloc) {
            self.alloc = alloc;
            return;
        }
        let bound = usize::try_from(self.shared.frame_bound).unwrap_or(usize::MAX).saturating_add(READ_MIN);
        let widest = bound.min(WIDEST);
        let wide = self.buf.len() >= WIDE && alloc < widest;
        self.move_to(alloc, if wide { widest } else { alloc });
        self.wide = wide;
    }

    /// Takes bytes from the budget, and waits until they are there.
    async fn lend(&mut self, bytes: usize) {
        if self.lease.grow_now(bytes) {
            return;
        }
        self.begin_wait();
        self.lease.grow(bytes).await;
        self.end_wait();
    }

    /// Grants the inflating so many bytes, if it has not had them yet.
    pub(super) async fn lend_inflating(&mut self, bytes: usize) {
        let bytes = self.inflating.max(bytes);
        self.lend(self.alloc.saturating_sub(self.shared.budget.base()) + bytes).await;
        self.inflating = bytes;
    }

    /// Moves what is in the buffer into one of `alloc` bytes, for which the lease has enough.
    pub(super) fn renew(&mut self, alloc: usize) {
        self.move_to(alloc, alloc);
        self.wide = false;
    }

    fn move_to(&mut self, alloc: usize, capacity: usize) {
        let mut buf = BytesMut::with_capacity(capacity);
        buf.extend_from_slice(&self.buf);
        self.buf = buf;
        self.alloc = alloc;
        self.lease.shrink(self.alloc.saturating_sub(self.shared.budget.base()) + self.inflating);
    }

    /// Gives back what the frames in the buffer no longer need; when others wait, what is held for speed too.
    pub(super) fn give_back(&mut self) {
        let base = self.shared.budget.base();
        self.inflating = 0;
        self.lease.shrink(self.alloc.saturating_sub(base));
        // With a deadline, the frame that the bytes are for is not whole yet.
        if self.deadline.is_none() {
            if self.lease.is_tight() && self.alloc > base && self.buf.len() + LEAST <= base {
                self.renew(base);
            }
            self.lease.end_overdraft();
        }
    }
}
