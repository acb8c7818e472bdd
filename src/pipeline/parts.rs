//! From the plan to what the workers go by: rules, names, encoders, and each part's share of the memory.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::intake::SourceIntake;
use super::outlet::{Outlet, OutletConfig};
use super::pool::Pool;
use super::undecodable::Undecodable;
use super::worker::{Rules, WorkerParts};
use crate::clock::Clock;
use crate::config::plan::{Plan, SinkKind, SinkPlan, SourceKind, SpoolPlan};
use crate::encode::{BLOCK_SIZE, Compression, Template};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::route::Router;
use crate::sink::DeadLetters;
use crate::sink::dead_letters::Place;
use crate::source::forward::{ForwardConfig, JoinConfig};
use crate::source::join::Joiner;
use crate::spool::Queue;

/// Open blocks of a sink in a worker: a partition more closes the least recently used one.
const OPEN_PARTITIONS: usize = 64;

/// What another worker must have room for: with less, its blocks are sealed small and compress badly.
const LANE_BLOCKS: usize = 16;

/// With a disk, a block is sealed so long after its first record: what a crash can take of records that nobody waits
/// for an ack of. Small frames are joined again when their object is sent.
const DURABLE_DELAY: Duration = Duration::from_secs(1);

/// stdout is read by people: lines appear so soon after they came.
const STDOUT_DELAY: Duration = Duration::from_millis(200);

/// What all parts of a pipeline have in common, whatever the plan.
#[derive(Clone, Debug)]
pub(super) struct Common {
    /// Workers of each source.
    pub(super) lanes: usize,
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) pool: Arc<Pool>,
    /// Where dead letters go; known as soon as the queues are open, and the same to the end.
    pub(super) letters: Arc<OnceLock<Arc<Place>>>,
    /// Told whenever a queue has written to its disk.
    pub(super) synced: watch::Sender<()>,
}

impl Common {
    /// Where all workers of a source leave what cannot be read.
    pub(super) fn undecodable(&self, source: &Arc<str>) -> Option<Arc<Undecodable>> {
        let letters = DeadLetters::new(source, self.letters.get()?);
        Some(Arc::new(Undecodable::new(Arc::clone(source), letters, self.metrics.clone(), self.clock)))
    }

    /// One of the workers of a source.
    pub(super) fn worker(
        &self,
        name: &Arc<str>,
        config: &ForwardConfig,
        rules: Rules,
        undecodable: Option<Arc<Undecodable>>,
    ) -> SourceIntake {
        let join = self.join(config);
        let parts = WorkerParts {
            source: self.ledger.source(name),
            name: Arc::clone(name),
            joiner: join.enabled.then(|| Joiner::new(&join)),
            metrics: self.metrics.clone(),
            rules,
            undecodable,
        };
        SourceIntake::new(parts, self.synced.subscribe(), Arc::clone(&self.ledger), self.clock)
    }

    /// What one worker of a source joins by: its buffer is a share of the source's, but two lines at least.
    pub(super) fn join(&self, config: &ForwardConfig) -> JoinConfig {
        let mut join = config.join.clone();
        let least = join.buffer.0.min(join.max_line.0.saturating_mul(2));
        join.buffer.0 = (join.buffer.0 / self.lanes as u64).max(least);
        join
    }

    /// The plan's rules for one worker; `queues` are those of its sinks.
    pub(super) fn rules(&self, plan: &Plan, queues: &[Arc<Queue>]) -> Rules {
        let router =
            Router::compile(&plan.routes, plan.levels.clone()).expect("the plan has compiled these routes before");
        let outlets = plan.sinks.iter().zip(queues).map(|(sink, queue)| {
            let (partitioner, encoder) = (sink.kind.partitioner(&plan.levels), sink.kind.encoder());
            let (config, pool) = (outlet_config(plan, sink), Arc::clone(&self.pool));
            Outlet::new(config, Arc::clone(queue), self.metrics.sink(&sink.name), partitioner, encoder, pool)
        });
        Rules {
            router,
            routes: plan.routes.iter().map(|route| self.ledger.route(&route.name)).collect(),
            outlets: outlets.collect(),
            diverts: plan.sinks.iter().map(|sink| sink.divert).collect(),
            open_limit: (open_limit(plan) / self.lanes).max(BLOCK_SIZE),
        }
    }

    /// Has dead letters go where the plan says; `queues` are those of its sinks.
    pub(super) fn place_letters(&self, plan: &Plan, queues: &[Arc<Queue>]) {
        let Some(letters) = &plan.dead_letters else { return };
        let (sink, queue) = (&plan.sinks[letters.sink], Arc::clone(&queues[letters.sink]));
        let compression = sink.kind.archive().expect("the plan has checked that this sink makes objects");
        let prefix = Template::parse(&letters.prefix).expect("the plan has parsed this template before");
        self.letters.get_or_init(|| Place::new(&sink.name, queue, compression, prefix, &self.metrics, self.clock));
    }

    /// The way of a sink to the dead letters; the sink that takes them has none.
    pub(super) fn letters_of(&self, sink: &str, queue: &Arc<Queue>) -> Option<DeadLetters> {
        let place = self.letters.get().filter(|place| !place.is_in(queue))?;
        Some(DeadLetters::new(sink, place))
    }
}

fn outlet_config(plan: &Plan, sink: &SinkPlan) -> OutletConfig {
    let (seal_after, compression) = match &sink.kind {
        SinkKind::S3(config) => (config.object.age.0, config.compression),
        SinkKind::File(config) => (config.object.age.0, config.compression),
        SinkKind::CloudWatchLogs(config) => (config.batch.age.0, Compression::None),
        SinkKind::Stdout(_) => (STDOUT_DELAY, Compression::None),
    };
    let seal_after = match plan.spool {
        SpoolPlan::Memory => seal_after,
        SpoolPlan::Disk { .. } => seal_after.min(DURABLE_DELAY),
    };
    OutletConfig { seal_after, seal_awaited_after: ack_wait(plan), open_blocks: OPEN_PARTITIONS, compression }
}

/// Workers of each source: one a thread of the runtime, as long as each has room for [`LANE_BLOCKS`] open blocks.
pub(super) fn lanes(plan: &Plan) -> usize {
    Handle::current().metrics().num_workers().min(open_limit(plan) / (LANE_BLOCKS * BLOCK_SIZE)).max(1)
}

/// What open blocks of a source may hold.
fn open_limit(plan: &Plan) -> usize {
    part(plan.memory.open, plan)
}

/// What frames of a source that are being read may hold. Each source has a part of its own: one whose sinks are full
/// does not stop the reading of another.
pub(super) fn read_limit(plan: &Plan) -> usize {
    part(plan.memory.reading, plan)
}

/// An even share of the sources.
fn part(all: u64, plan: &Plan) -> usize {
    usize::try_from(all / plan.sources.len().max(1) as u64).unwrap_or(usize::MAX)
}

/// The shortest `ack_wait` of the sources: blocks of several sources meet in one object.
pub(super) fn ack_wait(plan: &Plan) -> Duration {
    let waits = plan.sources.iter().map(|source| match &source.kind {
        SourceKind::Forward(config) => config.ack_wait.0,
    });
    waits.min().unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Host, load};

    /// How many workers a source has on so many threads.
    fn workers(threads: usize, memory: &str) -> usize {
        let config = format!(
            "{{sources: {{forward: {{listen: ['tcp://127.0.0.1:0']}}}}, routes: [{{name: all, to: [out]}}], \
             sinks: {{out: {{type: stdout}}}}, memory: {memory}}}"
        );
        let plan =
            load("test.yaml", &config, &Host { vars: &|_| None, memory_limit: None }).expect("the config is right");
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(threads).build().expect("a runtime");
        runtime.block_on(async { lanes(&plan) })
    }

    #[test]
    fn a_source_has_a_worker_a_thread_when_there_is_memory_for_their_blocks() {
        let eight = ["64MiB", "160MiB", "256MiB", "448MiB"].map(|memory| workers(8, memory));
        assert_eq!(eight, [1, 2, 4, 8], "as README says");
        assert_eq!(workers(4, "512MiB"), 4);
        assert_eq!(workers(1, "512MiB"), 1);
    }
}
