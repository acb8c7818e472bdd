//! What a source could not read, on its way to the dead letters: beginnings of it, as many bytes as an allowance permits,
//! so that hostile peers cannot fill the archive. The rest is counted only.

use std::sync::{Arc, Mutex};

use crate::clock::Clock;
use crate::encode::Moment;
use crate::encode::letter::{Data, Letter, Origin};
use crate::metrics::Metrics;
use crate::sink::DeadLetters;
use crate::source::Excerpt;

/// Bytes a second that a source may leave, in the long run: 5 GiB a day at the very most.
const RATE: u64 = 64 << 10;

/// What it may leave at once, after a quiet time: some sixteen full excerpts, or thousands of small ones.
const BURST: u64 = 1 << 20;

/// What a letter takes beside its excerpt.
const LETTER_COST: u64 = 256;

/// The way of one source to the dead letters.
#[derive(Debug)]
pub(super) struct Undecodable {
    source: Arc<str>,
    letters: DeadLetters,
    metrics: Metrics,
    clock: Clock,
    allowance: Mutex<Allowance>,
}

/// Bytes that may be left now.
#[derive(Debug)]
struct Allowance {
    left: u64,
    /// Up to when `left` has grown.
    at: Moment,
}

impl Undecodable {
    /// For the source of this name.
    pub(super) fn new(source: Arc<str>, letters: DeadLetters, metrics: Metrics, clock: Clock) -> Self {
        let allowance = Mutex::new(Allowance { left: BURST, at: clock.now() });
        Self { source, letters, metrics, clock, allowance }
    }

    /// Leaves an excerpt, if there is allowance for it. `peer` is empty where it is not known.
    pub(super) fn leave(&self, reason: &'static str, peer: &str, excerpt: &Excerpt) {
        let permitted = {
            let mut allowance = self.allowance.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            allowance.take(self.clock.now(), excerpt.bytes.len() as u64 + LETTER_COST)
        };
        if !permitted {
            return self.metrics.event(&self.source, "undecodable_not_kept", 1);
        }
        let (bytes, all) = (&*excerpt.bytes, excerpt.len);
        let data = if bytes.len() as u64 == all { Data::Whole(bytes) } else { Data::Beginning(bytes, all) };
        let letter = Letter { reason, record_time: None, bytes: bytes.len() as u64, data };
        self.letters.bury(Origin::Peer(peer), [letter]);
    }
}

impl Allowance {
    fn take(&mut self, now: Moment, bytes: u64) -> bool {
        let grown = now.saturating_sub(self.at).as_millis() * u128::from(RATE) / 1000;
        if grown > 0 {
            self.left = self.left.saturating_add(u64::try_from(grown).unwrap_or(BURST)).min(BURST);
            self.at = now;
        }
        let permitted = self.left >= bytes;
        if permitted {
            self.left -= bytes;
        }
        permitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_storm_leaves_the_burst_and_then_the_rate() {
        let mut allowance = Allowance { left: BURST, at: Moment::ZERO };
        let mut left = 0;
        // A minute of a peer that sends a full excerpt each 10 ms.
        for step in 0..6000 {
            let now = Duration::from_millis(step * 10);
            left += u64::from(allowance.take(now, Excerpt::MAX as u64)) * Excerpt::MAX as u64;
        }
        assert!(left <= BURST + 60 * RATE, "{left}");
        assert!(left >= 59 * RATE, "{left}");
        assert!(allowance.take(Duration::from_secs(3600), BURST) && !allowance.take(Duration::from_secs(3600), 1));
    }
}
