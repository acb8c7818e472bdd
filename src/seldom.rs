//! A line of the log that may come often, let through at most once a minute.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Between two lines of the log about the same trouble.
pub const EVERY: Duration = Duration::from_secs(60);

/// Lets a line through at most once a minute.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// Whether a line may be written now, and how many were not since the last.
    pub fn line(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if state.0.is_some_and(|at| now - at < EVERY) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_log_hears_once_a_minute() {
        let seldom = Seldom::default();
        assert_eq!((seldom.line(), seldom.line(), seldom.line()), (Some(0), None, None));
        tokio::time::advance(EVERY).await;
        assert_eq!(seldom.line(), Some(2));
    }
}
