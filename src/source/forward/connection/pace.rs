//! Lets a trickle gather. Docker's driver writes each line by itself: 25,000 lines a second would wake the process as
//! often, and waking costs more than routing a line. While small reads follow one another closely, the next one waits
//! a millisecond or two, and the kernel holds what comes meanwhile.
//!
//! Only for senders that ask for no acks: whoever waits for one would wait for us. A sender so fast that a socket's buffer
//! fills in that time is read without pause.

use std::time::Duration;

use crate::record::UnixNanos;

/// How long bytes gather; the timer's ticks make it one to two milliseconds.
pub(super) const GATHER: Duration = Duration::from_millis(1);

/// Reads follow closely when they are no further apart, the pause included.
const CLOSELY: UnixNanos = 4_000_000;

/// A read of so much says that the sender is fast: a unix socket holds some 100 KiB of small writes.
const MUCH: usize = 48 << 10;

/// For so long a fast sender is read without pause.
const FAST: UnixNanos = 100_000_000;

/// The rhythm of one connection's reads.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: UnixNanos,
    fast_until: UnixNanos,
    gathers: bool,
}

impl Pace {
    /// Notes a read of so many bytes.
    pub(super) fn note(&mut self, bytes: usize, now: UnixNanos) {
        if bytes >= MUCH {
            self.fast_until = now + FAST;
        }
        self.gathers = now - self.last <= CLOSELY && now >= self.fast_until;
        self.last = now;
    }

    /// Whether the next read should wait.
    pub(super) fn gathers(&self) -> bool {
        self.gathers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: UnixNanos = 1_000_000;

    #[test]
    fn only_small_reads_that_follow_closely_gather() {
        let mut pace = Pace::default();
        let mut at = |ms: UnixNanos, bytes: usize| {
            pace.note(bytes, 1_000_000 * MS + ms * MS);
            pace.gathers()
        };
        assert_eq!([at(0, 600), at(1, 600), at(3, 20_000)], [false, true, true]);
        assert!(!at(100, 600), "after a pause of its own");
        assert!(at(102, 600));
        assert!(!at(104, MUCH), "fast");
        assert!(!at(105, 600), "and fast for a while");
        assert!(at(205, 600) || at(206, 600));
    }
}
