//! Runs a pipeline until it is told to stop, then drains it in the direction of the data: sources first, then the
//! workers' open blocks, then the sinks, all within the drain's timeout.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::build::Pipeline;
use super::parts::Common;
use super::sinks::{Ended, Sinks};
use super::sources::{Intakes, Sources};
use super::{audit, metadata, report};
use crate::admin::{self, AdminState};
use crate::config::Problems;
use crate::config::plan::Plan;
use crate::encode::Count;
use crate::ledger::Books;
use crate::sink::Phase;
use crate::spool::Queue;

/// How much of the drain's timeout the sources may use to read what senders still write.
pub(super) const SOURCES_SHARE: f64 = 0.4;

/// How a drain ended.
#[derive(Clone, Debug)]
pub struct Drained {
    /// The books at the end.
    pub books: Books,
    /// What stays on disk for the next start, by sink.
    pub kept: Vec<Count>,
    /// Records that sinks dropped in the drain, all together.
    pub dropped: u64,
    /// A task had ended before it was told to; the log says which.
    pub failed: bool,
}

impl Drained {
    /// Whether all that was accepted before the drain was delivered, or is on disk.
    pub fn is_clean(&self) -> bool {
        let waiting: u64 = self.books.sinks.iter().map(|book| book.waiting().records).sum();
        let kept: u64 = self.kept.iter().map(|count| count.records).sum();
        self.dropped == 0 && waiting == kept && !self.failed
    }
}

/// A running pipeline.
pub(super) struct Running {
    /// What it goes by.
    pub(super) plan: Plan,
    pub(super) common: Common,
    pub(super) sources: Sources,
    pub(super) sinks: Sinks,
    /// The admin server, the metadata fetch and the audit: ended without ceremony.
    helpers: JoinSet<()>,
    pub(super) state: Arc<AdminState>,
}

impl Pipeline {
    /// Runs until `stop` comes back, then drains.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Drained {
        self.run_with(stop, mpsc::channel(1).1).await
    }

    /// The same; each plan that comes over `plans` takes the place of the one before it, if it can.
    pub async fn run_with(
        self,
        stop: impl Future<Output = ()>,
        mut plans: mpsc::Receiver<Result<Plan, Problems>>,
    ) -> Drained {
        let mut running = self.spawn().await;
        let mut stop = std::pin::pin!(stop);
        let failed = loop {
            tokio::select! {
                () = &mut stop => break false,
                Some(plan) = plans.recv() => running.reload(plan).await,
                Some(ended) = running.sinks.tasks.join_next() => match ended {
                    Ok(Ended { name, phase: Phase::Draining, .. }) => {
                        tracing::info!("sink {name}, which has left the config, has delivered all that it had");
                    }
                    Ok(Ended { phase: Phase::HandedOver, .. }) => {}
                    ended => break fail("a sink", ended.map(drop)),
                },
                Some(ended) = running.sources.tasks.join_next() => match ended {
                    Ok(true) => running.sources.forget(),
                    ended => break fail("a source", ended.map(drop)),
                },
                Some(ended) = running.sinks.keepers.join_next() => break fail("a spool's writer", ended),
                Some(ended) = running.sources.timers.join_next() => match ended {
                    Err(error) if error.is_cancelled() => {}
                    ended => break fail("a timer", ended),
                }
            }
        };
        // Whoever has more plans is to know that they are not taken any more.
        drop(plans);
        let before = report::dropped(&running.common.ledger.snapshot());
        let (books, kept) = running.drain().await;
        report::print(&books, &kept);
        Drained { dropped: report::dropped(&books) - before, books, kept, failed }
    }

    async fn spawn(self) -> Running {
        let Self { plan, common, ready, queues, mut sinks, mut sources, admin, state } = self;
        let mut helpers = JoinSet::new();
        if let Some(listener) = admin {
            helpers.spawn(admin::serve(listener, Arc::clone(&state)));
        }
        helpers.spawn(audit::audit(Arc::clone(&common.ledger)));
        sinks.run(&plan);
        if let Some(endpoint) = metadata::endpoint(plan.metadata) {
            learn_metadata(&mut helpers, endpoint, &sources.intakes, &state).await;
        }
        sources.run(ready, || common.rules(&plan, &queues), plan.drain).await;
        state.ready.store(true, Ordering::Release);
        Running { plan, common, sources, sinks, helpers, state }
    }
}

impl Running {
    /// The books at the end, and by sink what stays on disk.
    async fn drain(mut self) -> (Books, Vec<Count>) {
        let plan = self.plan.drain;
        tracing::info!("draining for at most {:?}", plan.timeout);
        self.state.ready.store(false, Ordering::Release);
        let start = Instant::now();
        let deadline = start + plan.timeout;

        self.sources.drain(plan, start, deadline).await;
        // Only now can no block come any more.
        self.sinks.drain();
        let queues: Vec<Arc<Queue>> = self.sinks.queues().cloned().collect();
        if timeout_at(deadline, self.sinks.delivered()).await.is_err() {
            tracing::warn!("the drain's timeout is over, and its sinks have not delivered everything");
        }
        self.sinks.tasks.shutdown().await;
        queues.iter().for_each(|queue| queue.close());
        let written = async { while self.sinks.keepers.join_next().await.is_some() {} };
        if timeout(plan.quiet, written).await.is_err() {
            tracing::warn!("the spool's disk did not take what was left in time");
        }
        let dropped: u64 = queues.iter().map(|queue| queue.abandon("drain_timeout").records).sum();
        if dropped > 0 {
            tracing::error!(records = dropped, "what waited in memory is dropped");
        }
        // A sink that was ended has let its requests go, but the runtime drops them in its own time; until then their
        // records are counted as waiting and their senders do not know.
        let landed = async {
            for queue in &queues {
                while !queue.is_landed() {
                    queue.changed().await;
                }
            }
        };
        let _ = timeout(plan.quiet, landed).await;
        self.sources.end(plan.quiet).await;
        self.helpers.shutdown().await;
        let books = self.common.ledger.snapshot();
        let on_disk = |at: usize| queues.iter().any(|queue| queue.sink() == at && queue.is_on_disk());
        let kept = books.sinks.iter().enumerate().map(|(at, book)| match on_disk(at) {
            true => book.waiting(),
            false => Count::default(),
        });
        let kept = kept.collect();
        (books, kept)
    }
}

/// Waits for the task metadata, but not long: the sockets are bound, so what senders write meanwhile waits in the
/// kernel; afterwards records go without, until it arrives.
async fn learn_metadata(helpers: &mut JoinSet<()>, endpoint: String, intakes: &Intakes, state: &Arc<AdminState>) {
    intakes.expect_metadata();
    let (known, wait) = tokio::sync::oneshot::channel();
    let (intakes, state) = (intakes.clone(), Arc::clone(state));
    helpers.spawn(async move {
        let ecs = metadata::fetch(&endpoint).await;
        intakes.set_metadata(&ecs);
        let _ = state.ecs.set(ecs);
        let _ = known.send(());
    });
    if timeout(metadata::PATIENCE, wait).await.is_err() {
        tracing::warn!("reading begins without task metadata; it is added as soon as it arrives");
    }
}

/// Says that a task ended on its own; it should not.
fn fail(what: &str, ended: Result<(), JoinError>) -> bool {
    match ended {
        Ok(()) => tracing::error!("{what} ended by itself; draining"),
        Err(error) => tracing::error!("{what} ended: {error}; draining. This is a bug of logweir, please report it"),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    #[test]
    fn a_drain_that_leaves_records_waiting_is_not_clean() {
        let ledger = Ledger::new(["forward"], ["rest"], ["archive"]);
        let one = Count { records: 1, bytes: 9 };
        let drained = |kept| Drained { books: ledger.snapshot(), kept: vec![kept], dropped: 0, failed: false };
        assert!(drained(Count::default()).is_clean());
        ledger.books().sinks[0].queued += one;
        assert!(!drained(Count::default()).is_clean());
        assert!(drained(one).is_clean(), "it is on disk");
    }
}
