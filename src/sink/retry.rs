//! Repeats an attempt until it is done, refused for good, or too old; with growing, jittered pauses.
//!
//! One [`Retry`] belongs to one sink, whose requests all share it: so the log hears of a sink's trouble once when it
//! begins, then once a minute, and once when it is over, however many requests wait. A throttled sink slows only
//! itself. In a drain pauses are cut short: what is left of the time is better used trying.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::common::RetryConfig;
use super::object::Attempt;
use super::{Phase, SinkContext};
use crate::metrics::SinkMetrics;
use crate::seldom::{self, Seldom};

/// The longest pause in a drain: the process has some 25 s left.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that a target can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Why something was not delivered; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GivenUp {
    /// The target refuses it for good: a reason for the ledger.
    #[error("{1}")]
    Rejected(&'static str, String),
    /// It failed for as long as the sink tries.
    #[error("given up after {seconds} s of trying: {text}")]
    Deadline {
        /// How long it was tried.
        seconds: u64,
        /// The last failure.
        text: String,
    },
    /// It failed, and another task has the sink's queue: that one may do better.
    #[error("handed over to other settings")]
    HandedOver,
}

impl GivenUp {
    /// What the ledger counts it under.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Rejected(reason, _) => reason,
            Self::Deadline { .. } => "retry_deadline",
            Self::HandedOver => "abandoned",
        }
    }
}

/// The repeating of one sink.
#[derive(Debug)]
pub struct Retry {
    sink: Arc<str>,
    policy: RetryConfig,
    metrics: SinkMetrics,
    phase: watch::Receiver<Phase>,
    trouble: Mutex<Trouble>,
    losses: Seldom,
}

/// What the log knows of the sink.
#[derive(Debug, Default)]
struct Trouble {
    /// When the trouble that the log was told of began.
    since: Option<Instant>,
    /// Failures since then.
    failures: u64,
    last_line: Option<Instant>,
}

impl Retry {
    /// For the sink with this context.
    pub fn new(context: &SinkContext, policy: RetryConfig) -> Self {
        Self {
            sink: Arc::clone(&context.name),
            policy,
            metrics: context.metrics.clone(),
            phase: context.phase.clone(),
            trouble: Mutex::default(),
            losses: Seldom::default(),
        }
    }

    /// Attempts until one is done. `api` names the request in log and metrics. Cancel safe if the attempt is.
    pub async fn until_done<T, F, A>(&self, api: &'static str, attempt: F) -> Result<T, GivenUp>
    where
        F: FnMut() -> A,
        A: Future<Output = Attempt<T>>,
    {
        self.repeat(api, attempt, false).await
    }

    /// The same for what can be begun anew: once the queue is handed over, the next failure is the last
    /// ([`GivenUp::HandedOver`]).
    pub async fn until_handed_over<T, F, A>(&self, api: &'static str, attempt: F) -> Result<T, GivenUp>
    where
        F: FnMut() -> A,
        A: Future<Output = Attempt<T>>,
    {
        self.repeat(api, attempt, true).await
    }

    async fn repeat<T, F, A>(&self, api: &'static str, mut attempt: F, gives_way: bool) -> Result<T, GivenUp>
    where
        F: FnMut() -> A,
        A: Future<Output = Attempt<T>>,
    {
        let start = Instant::now();
        let mut backoff = self.policy.initial.0;
        loop {
            let (wish, text) = match attempt().await {
                Attempt::Done(value) => {
                    self.worked(api);
                    return Ok(value);
                }
                Attempt::Rejected(reason, text) => return Err(GivenUp::Rejected(reason, text)),
                Attempt::Retry(wish, text) => (wish, text),
            };
            self.failed(api, &text);
            let (tried, deadline) = (start.elapsed(), self.policy.deadline.0);
            if tried >= deadline {
                return Err(GivenUp::Deadline { seconds: tried.as_secs(), text });
            }
            self.metrics.retry(api);
            let pause = jittered(backoff).max(wish.unwrap_or_default().min(MAX_RETRY_AFTER));
            // The last attempt comes at the deadline, not a pause after it.
            let pause = self.pause(pause.min(deadline - tried));
            if gives_way {
                tokio::select! {
                    () = self.handed_over() => return Err(GivenUp::HandedOver),
                    () = pause => {}
                }
            } else {
                pause.await;
            }
            backoff = backoff.saturating_mul(2).min(self.policy.max.0);
        }
    }

    /// Says that records were given up, at most once a minute.
    pub fn lost(&self, records: u64, given_up: &GivenUp) {
        if let Some(silent) = self.losses.line() {
            let reason = given_up.reason();
            tracing::error!(sink = %self.sink, reason, records, silent, "records dropped: {given_up}");
        }
    }

    /// Comes back when another task has the queue.
    async fn handed_over(&self) {
        let mut phase = self.phase.clone();
        if phase.wait_for(|phase| *phase == Phase::HandedOver).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Sleeps; in a drain for no longer than [`DRAIN_PAUSE`].
    async fn pause(&self, pause: Duration) {
        let mut phase = self.phase.clone();
        let drain = async {
            // An error means that the pipeline is gone: no reason to hurry.
            if phase.wait_for(|phase| *phase == Phase::Draining).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(pause.min(DRAIN_PAUSE)).await;
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = drain => {}
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn failed(&self, api: &'static str, text: &str) {
        let now = Instant::now();
        let mut trouble = self.trouble();
        trouble.failures += 1;
        if trouble.last_line.is_some_and(|at| now - at < seldom::EVERY) {
            return;
        }
        trouble.last_line = Some(now);
        let failures = trouble.failures;
        match trouble.since {
            None => {
                trouble.since = Some(now);
                tracing::warn!(sink = %self.sink, api, "failed, will be repeated: {text}");
            }
            Some(since) => {
                let seconds = (now - since).as_secs();
                tracing::error!(sink = %self.sink, api, failures, "failing for {seconds} s: {text}");
            }
        }
    }

    fn worked(&self, api: &'static str) {
        let mut trouble = self.trouble();
        let failures = std::mem::take(&mut trouble.failures);
        if let Some(since) = trouble.since.take() {
            let seconds = since.elapsed().as_secs();
            tracing::info!(sink = %self.sink, api, failures, "works again after {seconds} s; nothing to do");
        }
    }
}

/// Between half and the whole of a pause, so that many senders do not come back at the same moment.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::clock::Clock;
    use crate::config::value::Span;
    use crate::ledger::Ledger;
    use crate::spool::{Queue, QueueConfig, WhenFull};

    fn policy() -> RetryConfig {
        RetryConfig { deadline: Span::secs(100), initial: Span::secs(1), max: Span::secs(8), ..RetryConfig::default() }
    }

    fn retry() -> (Retry, watch::Sender<Phase>) {
        let (sender, phase) = watch::channel(Phase::Running);
        let ledger = Arc::new(Ledger::new([], [], ["sink"]));
        let config = QueueConfig { bound: 1 << 20, when_full: WhenFull::Block };
        let context = SinkContext {
            name: "sink".into(),
            queue: Queue::new(0, config, ledger),
            metrics: SinkMetrics::detached("sink"),
            clock: Clock::start(),
            writer: "w".into(),
            phase,
            ack_wait: Duration::from_secs(10),
            dead_letters: None,
        };
        (Retry::new(&context, policy()), sender)
    }

    /// Runs attempts that fail so often with this wish; the pauses between them.
    async fn pauses(retry: &Retry, failures: usize, wish: Option<Duration>) -> (Result<(), GivenUp>, Vec<Duration>) {
        let times = Cell::new(Vec::new());
        let result = retry
            .until_done("Test", || {
                let mut seen = times.take();
                seen.push(Instant::now());
                let done = seen.len() > failures;
                times.set(seen);
                async move { if done { Attempt::Done(()) } else { Attempt::Retry(wish, "down".into()) } }
            })
            .await;
        (result, times.take().windows(2).map(|pair| pair[1] - pair[0]).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_be_begun_anew_gives_way_at_its_next_failure_and_the_rest_goes_on() {
        let (retry, phase) = retry();
        let fail = || async { Attempt::<()>::Retry(None, "down".into()) };
        let given_way = tokio::join!(retry.until_handed_over("Test", fail), async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            phase.send_replace(Phase::HandedOver);
        });
        assert_eq!(given_way.0, Err(GivenUp::HandedOver));
        assert_eq!(retry.until_handed_over("Test", || async { Attempt::Done(1) }).await, Ok(1), "it may still succeed");
        assert!(matches!(retry.until_done("Test", fail).await, Err(GivenUp::Deadline { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest_with_jitter() {
        let (retry, _phase) = retry();
        let (result, pauses) = pauses(&retry, 6, None).await;
        assert_eq!(result, Ok(()));
        for (pause, longest) in pauses.iter().zip([1, 2, 4, 8, 8, 8]) {
            let longest = Duration::from_secs(longest);
            let slack = Duration::from_millis(2);
            assert!((longest / 2..=longest + slack).contains(pause), "{pause:?} of {longest:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_of_the_target_is_honoured_within_bounds() {
        let (retry, _phase) = retry();
        let (_, pauses) = pauses(&retry, 1, Some(Duration::from_secs(20))).await;
        assert_eq!(pauses[0].as_secs(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_at_the_deadline_and_not_before() {
        let (retry, _phase) = retry();
        let start = Instant::now();
        let (result, _) = pauses(&retry, usize::MAX, Some(Duration::from_secs(60))).await;
        let given_up = result.expect_err("it never worked");
        assert_eq!(given_up.reason(), "retry_deadline");
        assert!(given_up.to_string() == "given up after 100 s of trying: down", "{given_up}");
        assert_eq!(start.elapsed().as_secs(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_rejected_is_not_repeated() {
        let (retry, _phase) = retry();
        let calls = Cell::new(0);
        let result: Result<(), _> = retry
            .until_done("Test", || {
                calls.set(calls.get() + 1);
                async { Attempt::Rejected("too_large", "no".into()) }
            })
            .await;
        assert_eq!((result.map_err(|e| e.reason()), calls.get()), (Err("too_large"), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_wakes_a_long_pause() {
        let (retry, phase) = retry();
        let start = Instant::now();
        let (result, ()) = tokio::join!(pauses(&retry, 1, Some(Duration::from_secs(90))), async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            phase.send_replace(Phase::Draining);
        });
        assert_eq!((result.0, start.elapsed().as_secs()), (Ok(()), 6));
    }
}
