//! The clock: monotonic moments and the time of day, in one place so that tests can pause it.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::encode::Moment;
use crate::record::UnixNanos;

/// Counts from the moment that the process made it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Begins to count.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Time since the start.
    pub fn now(&self) -> Moment {
        self.start.elapsed()
    }

    /// The instant to sleep until.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.start + moment
    }

    /// The time of day.
    #[expect(clippy::disallowed_methods, reason = "the one place that the time of day comes from")]
    pub fn unix(&self) -> UnixNanos {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixNanos::try_from(since.as_nanos()).unwrap_or(UnixNanos::MAX)
    }
}
