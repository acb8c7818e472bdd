//! The outer loop around every request: jittered back-off until it is done, refused or out of time.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::common::RetryConfig;
use super::object::Attempt;
use crate::metrics::SinkMetrics;

/// Why a request was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// For the ledger; none when the deadline passed.
    pub reason: Option<&'static str>,
    /// For the log.
    pub message: String,
}

/// Repeats `attempt` until the target has it or will never have it. Cancel safe as far as the attempt is.
pub async fn until_done<T, F: Future<Output = Attempt<T>>>(
    policy: &RetryConfig,
    metrics: &SinkMetrics,
    api: &'static str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, GivenUp> {
    let deadline = Instant::now() + policy.deadline.0;
    let mut pause = policy.initial.0;
    loop {
        let outcome = tokio::time::timeout(policy.attempt_timeout.0, attempt()).await;
        let (after, message) = match outcome {
            Ok(Attempt::Done(done)) => return Ok(done),
            Ok(Attempt::Rejected(reason, message)) => return Err(GivenUp { reason: Some(reason), message }),
            Ok(Attempt::Retry(after, message)) => (after, message),
            Err(_) => (None, format!("no answer within {}", policy.attempt_timeout)),
        };
        // Full jitter over the upper half: many tasks that failed together do not come back together.
        let wait = after.unwrap_or_else(|| pause.mul_f64(0.5 + fastrand::f64() / 2.0));
        pause = (pause * 2).min(policy.max.0).max(Duration::from_millis(1));
        if Instant::now() + wait >= deadline {
            return Err(GivenUp { reason: None, message });
        }
        metrics.retry(api);
        tracing::warn!(api, "{message}; next attempt in {:.1} s", wait.as_secs_f64());
        tokio::time::sleep(wait).await;
    }
}
