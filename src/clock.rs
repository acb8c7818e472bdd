//! The clock: monotonic moments and the time of day, in one place so that tests can pause it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::encode::Moment;
use crate::record::UnixNanos;

/// The start of a process as its clock counts it: what was routed before, by a process that is gone, has its moment
/// too.
const START: Duration = Duration::from_secs(400 * 24 * 3600);

/// Counts from the moment that the process made it, beginning with [`START`].
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Begins to count.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The moment that it is.
    pub fn now(&self) -> Moment {
        START + self.start.elapsed()
    }

    /// Time since the process started.
    pub fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    /// The instant to sleep until.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.start + moment.saturating_sub(START)
    }

    /// The time of day.
    #[expect(clippy::disallowed_methods, reason = "the one place that the time of day comes from")]
    pub fn unix(&self) -> UnixNanos {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixNanos::try_from(since.as_nanos()).unwrap_or(UnixNanos::MAX)
    }
}
