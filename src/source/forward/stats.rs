//! What a forward source counts beside the ledger: frames, connections, wire bytes, and why connections ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::Tally;

/// Counters of one source; shared with whoever shows them.
#[derive(Debug, Default)]
pub struct ForwardStats {
    /// Connections accepted.
    pub connections: Counter,
    /// Connections open now.
    pub open: Counter,
    /// Bytes read.
    pub wire_bytes: Counter,
    /// Whole frames.
    pub frames: Counter,
    /// Heartbeats: nil frames and UDP.
    pub heartbeats: Counter,
    /// Acks written.
    pub acks: Counter,
    /// Chunks that were given up: their senders get no ack and repeat them.
    pub acks_withheld: Counter,
    /// Records that got the time of receipt, since their own was unusable.
    pub times_replaced: Counter,
    /// Group markers of Fluent Bit, which are no records.
    pub group_markers: Counter,
    /// Times that a changed certificate was taken over.
    pub tls_reloads: Counter,
    /// Times that a changed certificate could not be used, so that the one before it stayed.
    pub tls_reload_errors: Counter,
    /// Errors of `accept`.
    pub accept_errors: Counter,
    ended: Mutex<BTreeMap<&'static str, u64>>,
}

impl ForwardStats {
    /// Connections that did not end well, by reason: those of [`super::Malformed::reason`] and of
    /// [`super::handshake::Refusal::reason`], `plain_on_tls`, `tls_handshake`, `client_certificate`, `handshake_time`,
    /// and `cut_frame`, `frame_time`, `acks_unread`, `io`.
    pub fn ended(&self) -> BTreeMap<&'static str, u64> {
        self.lock().clone()
    }

    /// Counts one; returns how many there are now.
    pub(super) fn end(&self, reason: &'static str) -> u64 {
        let mut ended = self.lock();
        let count = ended.entry(reason).or_default();
        *count += 1;
        *count
    }

    pub(super) fn add(&self, tally: &Tally) {
        self.frames.add(tally.frames);
        self.heartbeats.add(tally.heartbeats);
        self.times_replaced.add(tally.times_replaced);
        self.group_markers.add(tally.group_markers);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.ended.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A number that several threads move.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, n: u64) {
        if n > 0 {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    pub(super) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }
}
