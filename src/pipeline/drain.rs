//! Runs a pipeline until it is told to stop, then drains it in the direction of the data: sources first, then the
//! workers' open blocks, then the sinks, all within the drain's timeout.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::build::{BuiltSource, Pipeline};
use super::worker::SourceIntake;
use super::{audit, metadata, report};
use crate::admin::{self, AdminState};
use crate::config::plan::{DrainPlan, SinkKind, SourceKind};
use crate::encode::Count;
use crate::ledger::{Books, Ledger, SinkBook};
use crate::sink::{Phase, SinkContext, file, stdout};
use crate::source::Control;
use crate::source::forward::{self, Resources};
use crate::spool::Queue;
use crate::spool::disk::Home;

/// How much of the drain's timeout the sources may use to read what senders still write.
const SOURCES_SHARE: f64 = 0.4;

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

/// The tasks of a running pipeline and what is needed to end them in order.
struct Running {
    sources: JoinSet<()>,
    /// Each tells its index.
    sinks: JoinSet<usize>,
    /// The sink that takes dead letters.
    letters: Option<(usize, SinkContext, SinkKind)>,
    /// The workers' timers: they end with the process only.
    timers: JoinSet<()>,
    /// The queues' ways to their disks: they end when all else has.
    keepers: JoinSet<()>,
    /// The admin server, the metadata fetch and the audit: ended without ceremony.
    helpers: JoinSet<()>,
    control: Control,
    phase: tokio::sync::watch::Sender<Phase>,
    intakes: Vec<SourceIntake>,
    queues: Vec<Arc<Queue>>,
    ledger: Arc<Ledger>,
    state: Arc<AdminState>,
    /// The spool's directory, locked to the end.
    _home: Option<Home>,
}

impl Pipeline {
    /// Runs until `stop` comes back, then drains.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Drained {
        let drain = self.plan.drain;
        let mut running = self.spawn().await;
        let failed = tokio::select! {
            () = stop => false,
            Some(ended) = running.sinks.join_next() => fail("a sink", ended.map(drop)),
            Some(ended) = running.sources.join_next() => fail("a source", ended),
            Some(ended) = running.keepers.join_next() => fail("a spool's writer", ended),
            Some(ended) = running.timers.join_next() => fail("a timer", ended),
        };
        let before = report::dropped(&running.ledger.snapshot());
        let (books, kept) = running.drain(drain).await;
        report::print(&books, &kept);
        Drained { dropped: report::dropped(&books) - before, books, kept, failed }
    }

    async fn spawn(self) -> Running {
        let Self { plan, clock, ledger, queues, sources, contexts, phase, admin, state, home } = self;
        let (mut helpers, mut timers, mut keepers) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        for queue in queues.iter().filter(|queue| queue.is_on_disk()) {
            keepers.spawn(Arc::clone(queue).keep());
        }
        let (mut sinks, mut tasks) = (JoinSet::new(), JoinSet::new());
        if let Some(listener) = admin {
            helpers.spawn(admin::serve(listener, Arc::clone(&state)));
        }
        helpers.spawn(audit::audit(Arc::clone(&ledger)));
        let mut letters = None;
        for (at, (context, sink)) in contexts.into_iter().zip(&plan.sinks).enumerate() {
            if plan.dead_letters.as_ref().is_some_and(|letters| letters.sink == at) {
                letters = Some((at, context.clone(), sink.kind.clone()));
            }
            sinks.spawn(run_sink(at, context, sink.kind.clone()));
        }
        let intakes: Vec<_> = sources.iter().map(|source| source.intake.clone()).collect();
        for intake in intakes.clone() {
            timers.spawn(async move { intake.tick().await });
        }
        if let Some(endpoint) = metadata::endpoint(plan.metadata) {
            learn_metadata(&mut helpers, endpoint, &intakes, &state).await;
        }
        let control = Control::new();
        for (source, planned) in sources.into_iter().zip(plan.sources) {
            let BuiltSource { name, listeners, intake, stats, budget } = source;
            let resources = Resources { clock, stats, budget };
            let SourceKind::Forward(config) = planned.kind;
            let shutdown = control.subscribe();
            tasks.spawn(async move {
                if let Err(error) = forward::serve(listeners, &config, &name, intake, resources, shutdown).await {
                    tracing::error!("source {name} cannot go on: {error}");
                }
            });
        }
        state.ready.store(true, Ordering::Release);
        Running {
            sources: tasks,
            sinks,
            letters,
            timers,
            keepers,
            helpers,
            control,
            phase,
            intakes,
            queues,
            ledger,
            state,
            _home: home,
        }
    }
}

impl Running {
    /// The books at the end, and by sink what stays on disk.
    async fn drain(mut self, plan: DrainPlan) -> (Books, Vec<Count>) {
        tracing::info!("draining for at most {:?}", plan.timeout);
        self.state.ready.store(false, Ordering::Release);
        let start = Instant::now();
        let deadline = start + plan.timeout;

        self.control.drain(plan.quiet, start + plan.timeout.mul_f64(SOURCES_SHARE));
        if timeout_at(deadline, self.control.reading_over()).await.is_err() {
            tracing::warn!("a source did not stop reading in time");
        }
        self.intakes.iter().for_each(SourceIntake::finish);
        // Only now can no block come any more.
        let _ = self.phase.send(Phase::Draining);
        if timeout_at(deadline, self.sinks_end()).await.is_err() {
            tracing::warn!("the drain's timeout is over, and its sinks have not delivered everything");
        }
        self.sinks.shutdown().await;
        self.queues.iter().for_each(|queue| queue.close());
        let written = async { while self.keepers.join_next().await.is_some() {} };
        if timeout(plan.quiet, written).await.is_err() {
            tracing::warn!("the spool's disk did not take what was left in time");
        }
        let dropped: u64 = self.queues.iter().map(|queue| queue.abandon("drain_timeout").records).sum();
        if dropped > 0 {
            tracing::error!(records = dropped, "what waited in memory is dropped");
        }
        // A sink that was ended has let its requests go, but the runtime drops them in its own time; until then their
        // records are counted as waiting and their senders do not know.
        let landed = async {
            for queue in &self.queues {
                while !queue.is_landed() {
                    queue.changed().await;
                }
            }
        };
        let _ = timeout(plan.quiet, landed).await;
        self.control.end();
        // The last acks are written in no time or not at all.
        let closed = async { while self.sources.join_next().await.is_some() {} };
        let _ = timeout(plan.quiet, closed).await;
        self.sources.shutdown().await;
        self.timers.shutdown().await;
        self.helpers.shutdown().await;
        let books = self.ledger.snapshot();
        let kept = |(queue, book): (&Arc<Queue>, &SinkBook)| match queue.is_on_disk() {
            true => book.waiting(),
            false => Count::default(),
        };
        let kept = self.queues.iter().zip(&books.sinks).map(kept).collect();
        (books, kept)
    }
}

impl Running {
    /// Comes back when every sink has delivered what it had, dead letters included.
    async fn sinks_end(&mut self) {
        let mut letters_ended = false;
        while let Some(ended) = self.sinks.join_next().await {
            let Some((at, context, kind)) = &self.letters else { continue };
            letters_ended |= ended.is_ok_and(|ended| ended == *at);
            // Another sink has left dead letters when this one had already delivered all that waited.
            if letters_ended && !context.queue.is_empty() {
                letters_ended = false;
                self.sinks.spawn(run_sink(*at, context.clone(), kind.clone()));
            }
        }
    }
}

/// Waits for the task metadata, but not long: the sockets are bound, so what senders write meanwhile waits in the
/// kernel; afterwards records go without, until it arrives.
async fn learn_metadata(
    helpers: &mut JoinSet<()>,
    endpoint: String,
    intakes: &[SourceIntake],
    state: &Arc<AdminState>,
) {
    intakes.iter().for_each(SourceIntake::expect_metadata);
    let (known, wait) = tokio::sync::oneshot::channel();
    let (intakes, state) = (intakes.to_vec(), Arc::clone(state));
    helpers.spawn(async move {
        let ecs = metadata::fetch(&endpoint).await;
        intakes.iter().for_each(|intake| intake.set_metadata(Arc::clone(&ecs)));
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

/// Runs a sink to its end and tells its index.
async fn run_sink(at: usize, context: SinkContext, kind: SinkKind) -> usize {
    match kind {
        SinkKind::File(config) => file::run(context, config).await,
        SinkKind::Stdout(_) => stdout::run(context).await,
        #[cfg(feature = "aws")]
        SinkKind::S3(config) => crate::sink::s3::run(context, config).await,
        #[cfg(feature = "aws")]
        SinkKind::CloudWatchLogs(config) => crate::sink::cloudwatch_logs::run(context, config).await,
        #[cfg(not(feature = "aws"))]
        SinkKind::S3(_) | SinkKind::CloudWatchLogs(_) => unreachable!("Pipeline::build refuses such a plan"),
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

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
