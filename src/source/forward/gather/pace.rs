//! How long small writes may gather: until half of what the socket holds is used, and never so long that it is noticed.
//!
//! Pauses are powers of two, and end at their multiples: sockets that gather are looked at together, in one wake-up.

use std::time::Duration;

use crate::clock::Clock;

/// The shortest pause; the runtime's timer knows nothing shorter.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

/// The longest. A line waits up to one and a half of it where pauses begin, and a millisecond by the timer; blocks of
/// lines wait for a second and more.
pub(in super::super) const LONGEST: Duration = Duration::from_millis(8);

/// What the socket holds is so many times what a pause is to bring: a peer that becomes twice as fast does not wait.
const MARGIN: usize = 2;

/// What the kernel holds beside the bytes of a write: its own account, and behind the bytes another, together rounded up
/// as its allocator does.
const ACCOUNT: usize = 256;
const BEHIND: usize = 320;

/// After a longer pause that brought less than its share, so many looks pass before the next try.
const HOLD: u8 = 16;

/// The pace of one socket.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes that a pause is to bring.
    goal: usize,
    pause: Duration,
    /// When it was looked at last, as the clock counts.
    last: Duration,
    /// When that was to be: the timer comes up to a millisecond late.
    due: Duration,
    /// Bytes a second before the pause became longer.
    before: Option<u64>,
    /// Looks until the pause may become longer.
    hold: u8,
}

impl Pace {
    /// For writes of so many bytes each, to a socket that the kernel lets hold so many; `bytes` of them came since
    /// `since`. None when they would fill the socket within the shortest pause.
    pub(super) fn of(write: usize, holds: usize, bytes: usize, since: Duration, now: Duration) -> Option<Self> {
        let goal = capacity(write, holds) / MARGIN;
        let rate = rate(bytes, now.saturating_sub(since));
        let pause = longest(rate, goal)?;
        Some(Self { goal, pause, last: now, due: now, before: Some(rate), hold: 0 })
    }

    /// What fills the socket.
    pub(super) fn capacity(&self) -> usize {
        self.goal * MARGIN
    }

    /// Notes what a look has brought. False when that is too much even for the shortest pause.
    pub(super) fn note(&mut self, bytes: usize, now: Duration) -> bool {
        let rate = rate(bytes, now.saturating_sub(std::mem::replace(&mut self.last, now)));
        let before = self.before.take();
        let longest = longest(rate, self.goal);
        if longest.is_none() && self.pause == SHORTEST {
            return false;
        }
        let longest = longest.unwrap_or(SHORTEST);
        if before.is_some_and(|before| rate < before / 4 * 3) {
            // The peer is slower, or the socket holds less than was thought and the peer waits.
            self.pause = (self.pause / 2).min(longest).max(SHORTEST);
            self.hold = HOLD;
        } else if longest < self.pause {
            self.pause = longest;
        } else if bytes > self.goal / 2 * 3 && self.pause > SHORTEST {
            // Three quarters of the socket: a look that comes later may find it full.
            self.pause /= 2;
            self.hold = HOLD;
        } else if self.hold > 0 {
            self.hold -= 1;
        } else if longest > self.pause {
            self.pause *= 2;
            self.before = Some(rate);
        }
        true
    }

    /// When it is to be looked at next: one pause after it was to be looked at last, or as soon as that has passed.
    pub(super) fn next(&mut self, clock: &Clock) -> tokio::time::Instant {
        let pause = self.pause.as_nanos();
        let next = (self.due + self.pause / 2).max(clock.now()).as_nanos().next_multiple_of(pause);
        self.due = Duration::from_nanos(u64::try_from(next).unwrap_or(u64::MAX));
        clock.instant(self.due)
    }
}

/// Bytes in writes of so many each that fill a socket.
fn capacity(write: usize, holds: usize) -> usize {
    let write = write.max(1);
    holds / ((write + BEHIND).next_power_of_two() + ACCOUNT) * write
}

/// Bytes a second.
fn rate(bytes: usize, time: Duration) -> u64 {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
    (bytes as u64).saturating_mul(1_000_000_000) / nanos
}

/// The longest pause that brings no more than the goal; none if even the shortest does.
fn longest(rate: u64, goal: usize) -> Option<Duration> {
    let mut pause = LONGEST;
    while pause >= SHORTEST {
        if u128::from(rate) * pause.as_nanos() <= goal as u128 * 1_000_000_000 {
            return Some(pause);
        }
        pause /= 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux gives a socket by default, and Docker's lines.
    const HOLDS: usize = 212_992;
    const LINE: usize = 700;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// So many lines have come in each millisecond.
    fn at(lines: usize) -> Option<Pace> {
        Pace::of(LINE, HOLDS, 10 * lines * LINE, ms(0), ms(10))
    }

    #[test]
    fn a_pause_brings_up_to_half_of_what_the_socket_holds() {
        assert_eq!(capacity(LINE, HOLDS) / LINE, 166);
        let pause = |lines| at(lines).map(|pace| pace.pause);
        assert_eq!((pause(1), pause(10)), (Some(ms(8)), Some(ms(8))));
        assert_eq!((pause(11), pause(20)), (Some(ms(4)), Some(ms(4))));
        assert_eq!((pause(21), pause(41), pause(42)), (Some(ms(2)), Some(ms(2)), Some(ms(1))));
        assert_eq!((pause(83), pause(84)), (Some(ms(1)), None));
    }

    #[test]
    fn it_follows_the_peer() {
        let mut pace = at(40).expect("it gathers");
        let mut now = ms(10);
        let mut look = |lines: usize| {
            now += pace.pause;
            let goes_on = pace.note(lines * pace.pause.as_millis() as usize * LINE, now);
            (goes_on, pace.pause)
        };
        assert_eq!(look(40), (true, ms(2)));
        // Faster at once; slower step by step, after some looks.
        assert_eq!(look(80), (true, ms(1)));
        let longer: Vec<_> = (0..60).map(|_| look(10).1).collect();
        assert_eq!((longer[0], longer[59]), (ms(2), ms(8)));
        assert_eq!(look(200), (true, ms(1)));
        assert_eq!(look(200), (false, ms(1)));
    }

    #[test]
    fn a_longer_pause_that_brings_no_more_is_given_up() {
        // It holds a quarter of what was thought: 41 lines.
        let mut pace = at(40).expect("it gathers");
        let (mut now, mut waits) = (ms(10), 0);
        for _ in 0..100 {
            now += pace.pause;
            let lines = 41.min(40 * pace.pause.as_millis() as usize);
            waits += usize::from(lines == 41);
            assert!(pace.note(lines * LINE, now));
        }
        assert!(waits < 12, "the peer waited {waits} times of 100");
    }

    #[tokio::test(start_paused = true)]
    async fn sockets_are_looked_at_together() {
        let clock = Clock::start();
        let (mut slow, mut fast) = (at(10).expect("it gathers"), at(20).expect("it gathers"));
        (slow.due, fast.due) = (ms(0), ms(0));
        for _ in 0..20 {
            // The timer is late, and by more than half a pause when all else waits for something.
            tokio::time::sleep_until(clock.instant(slow.due) + ms(5)).await;
            let (slow, fast) = (slow.next(&clock), fast.next(&clock));
            let since = |next: tokio::time::Instant| (next - clock.instant(Duration::ZERO)).as_nanos();
            assert_eq!((since(slow) % ms(8).as_nanos(), since(fast) % ms(4).as_nanos()), (0, 0));
            assert_eq!(slow - tokio::time::Instant::now(), ms(8) - ms(5));
        }
    }
}
