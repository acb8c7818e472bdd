//! Which config runs, and what became of the attempts to reload it.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::record::UnixNanos;

/// Set by the pipeline, shown in `/status`.
#[derive(Debug)]
pub struct Reloads {
    clock: Clock,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    fingerprint: String,
    delivering_after: Duration,
    succeeded: u64,
    failed: u64,
    last_success: Option<UnixNanos>,
    /// With why, on one line.
    last_failure: Option<(UnixNanos, String)>,
}

impl Reloads {
    /// The config that the process began with.
    pub fn new(clock: Clock, fingerprint: String, delivering_after: Duration) -> Self {
        let (last_success, last_failure) = (None, None);
        let now = Now { fingerprint, delivering_after, succeeded: 0, failed: 0, last_success, last_failure };
        Self { clock, now: Mutex::new(now) }
    }

    /// Another config runs.
    pub fn succeeded(&self, fingerprint: String, delivering_after: Duration) {
        let time = self.clock.unix();
        let mut now = self.lock();
        (now.fingerprint, now.delivering_after) = (fingerprint, delivering_after);
        now.succeeded += 1;
        now.last_success = Some(time);
    }

    /// A config was refused; the one before it goes on.
    pub fn failed(&self, why: &str) {
        let time = self.clock.unix();
        let mut now = self.lock();
        now.failed += 1;
        now.last_failure = Some((time, why.lines().next().unwrap_or_default().to_owned()));
    }

    /// Of the running config.
    pub fn fingerprint(&self) -> String {
        self.lock().fingerprint.clone()
    }

    /// `/delivering` fails when the oldest undelivered record is older than this.
    pub fn delivering_after(&self) -> Duration {
        self.lock().delivering_after
    }

    /// For `/status`; times in seconds since 1970.
    pub(super) fn json(&self) -> Value {
        let now = self.lock();
        let seconds = |time: UnixNanos| time as f64 / 1e9;
        json!({
            "succeeded": now.succeeded,
            "failed": now.failed,
            "last_success": now.last_success.map(|time| json!({"time": seconds(time)})),
            "last_failure": now.last_failure.as_ref().map(|(time, why)| json!({"time": seconds(*time), "why": why})),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
