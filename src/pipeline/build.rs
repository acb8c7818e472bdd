//! From the plan to the parts of a pipeline: sockets bound, queues, workers and sinks made, nothing running yet.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::outlet::{BLOCK_SIZE, Outlet, OutletConfig, Pool};
use super::undecodable::Undecodable;
use super::worker::{SourceIntake, WorkerParts};
use crate::admin::AdminState;
use crate::clock::Clock;
use crate::config::plan::{Plan, SinkKind, SinkPlan, SourceKind};
use crate::encode::entries::EntryEncoder;
use crate::encode::ndjson::NdjsonEncoder;
use crate::encode::{Compression, Encoder, Partitioner, Template};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::metrics::books::BooksCollector;
use crate::metrics::forward::ForwardCollector;
use crate::metrics::process::ProcessCollector;
use crate::route::Router;
use crate::sink::dead_letters::Place;
use crate::sink::{DeadLetters, Phase, SinkContext};
use crate::source::forward::{Budget, ForwardConfig, ForwardStats, Listeners};
use crate::source::join::Joiner;
use crate::spool::Queue;

/// Open blocks of a sink in a worker: a partition more closes the least recently used one.
const OPEN_PARTITIONS: usize = 64;

/// The part of the memory that frames in flight may hold.
const READ_SHARE: u64 = 8;

/// stdout is read by people: lines appear so soon after they came.
const STDOUT_DELAY: Duration = Duration::from_millis(200);

/// Why a pipeline cannot be built though its plan is good.
#[derive(Debug, Error)]
pub enum BuildError {
    /// A source's address cannot be bound.
    #[error("source {name}: {error}")]
    Source {
        /// The source.
        name: String,
        /// What the system said.
        error: anyhow::Error,
    },
    /// A sink that this build lacks.
    #[error(
        "sink {name}: this build of logweir has no AWS sinks; build it with the feature `aws`, which is on by default"
    )]
    NoAws {
        /// The sink.
        name: String,
    },
    /// The admin address cannot be bound.
    #[error("admin: cannot listen on {address}: {error}; choose another with `admin: {{listen: …}}`")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
}

/// A pipeline that is ready to run; its sockets already listen.
pub struct Pipeline {
    pub(super) plan: Plan,
    pub(super) clock: Clock,
    pub(super) ledger: Arc<Ledger>,
    pub(super) queues: Vec<Arc<Queue>>,
    pub(super) sources: Vec<BuiltSource>,
    pub(super) contexts: Vec<SinkContext>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) admin: Option<TcpListener>,
    pub(super) state: Arc<AdminState>,
}

/// A source with its sockets and its way into the pipeline.
pub(super) struct BuiltSource {
    pub(super) name: Arc<str>,
    pub(super) listeners: Listeners,
    pub(super) intake: SourceIntake,
    pub(super) stats: Arc<ForwardStats>,
    pub(super) budget: Arc<Budget>,
}

impl BuiltSource {
    fn addresses(&self) -> Vec<String> {
        self.listeners.addresses().iter().map(ToString::to_string).collect()
    }
}

impl Pipeline {
    /// Binds the sockets and makes everything that runs behind them.
    pub async fn build(plan: Plan) -> Result<Self, BuildError> {
        if let Some(sink) = plan.sinks.iter().find(|sink| lacks_aws(&sink.kind)) {
            return Err(BuildError::NoAws { name: sink.name.clone() });
        }
        let clock = Clock::start();
        let mut listeners = Vec::new();
        for source in &plan.sources {
            let SourceKind::Forward(config) = &source.kind;
            let bound = Listeners::bind(config);
            listeners.push(bound.map_err(|e| BuildError::Source { name: source.name.clone(), error: e.into() })?);
        }
        let admin = match &plan.admin {
            Some(admin) => {
                let bound = TcpListener::bind(admin.listen).await;
                Some(bound.map_err(|error| BuildError::Admin { address: admin.listen, error })?)
            }
            None => None,
        };
        let ledger = Arc::new(Ledger::new(
            plan.sources.iter().map(|source| source.name.as_str()),
            plan.routes.iter().map(|route| route.name.as_str()),
            plan.sinks.iter().map(|sink| sink.name.as_str()),
        ));
        let metrics = Metrics::new();
        let queues: Vec<_> =
            plan.sinks.iter().enumerate().map(|(at, sink)| Queue::new(at, sink.queue, Arc::clone(&ledger))).collect();
        metrics.register(BooksCollector { ledger: Arc::clone(&ledger), queues: queues.clone(), clock });
        metrics.register(ProcessCollector { clock });
        let place = place(&plan, &queues, clock, &metrics);
        let common =
            Common { queues: &queues, ledger: &ledger, metrics: &metrics, place, clock, pool: Pool::default() };
        let mut sources = Vec::new();
        for (at, listeners) in listeners.into_iter().enumerate() {
            let intake = worker(&plan, at, &common);
            let SourceKind::Forward(config) = &plan.sources[at].kind;
            let budget = Arc::new(Budget::new(read_limit(&plan, config)));
            let (name, stats) = (plan.sources[at].name.as_str().into(), Arc::default());
            sources.push(BuiltSource { name, listeners, intake, stats, budget });
        }
        let stats = sources.iter().map(|source| (Arc::clone(&source.name), Arc::clone(&source.stats)));
        metrics.register(ForwardCollector { sources: stats.collect() });
        let (phase, watched) = watch::channel(Phase::Running);
        let writer: Arc<str> = writer_id().into();
        let is_place = |at: usize| plan.dead_letters.as_ref().is_some_and(|letters| letters.sink == at);
        let contexts = plan.sinks.iter().enumerate().zip(&queues).map(|((at, sink), queue)| SinkContext {
            name: sink.name.as_str().into(),
            queue: Arc::clone(queue),
            metrics: metrics.sink(&sink.name),
            clock,
            writer: Arc::clone(&writer),
            phase: watched.clone(),
            ack_wait: ack_wait(&plan),
            dead_letters: common
                .place
                .as_ref()
                .filter(|_| !is_place(at))
                .map(|place| DeadLetters::new(&sink.name, place)),
        });
        let contexts = contexts.collect();
        let state = Arc::new(AdminState {
            ledger: Arc::clone(&ledger),
            queues: queues.clone(),
            metrics,
            clock,
            fingerprint: plan.fingerprint.clone(),
            delivering_after: plan.admin.map_or(Duration::MAX, |admin| admin.delivering_after),
            ecs: OnceLock::new(),
            ready: AtomicBool::new(false),
        });
        Ok(Self { plan, clock, ledger, queues, sources, contexts, phase, admin, state })
    }

    /// The address that the admin endpoints answer at.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where each source listens.
    pub fn listening(&self) -> Vec<(Arc<str>, Vec<String>)> {
        self.sources.iter().map(|source| (Arc::clone(&source.name), source.addresses())).collect()
    }

    /// The books, to be read while it runs.
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }
}

/// Tells this process from all others: part of every object's key, so two that are alike would overwrite each other's
/// objects. From the system's random numbers (the standard library keys its hashers with them); `fastrand` knows only
/// the time since boot, which is much the same in every task that has just been started.
fn writer_id() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// Whether a sink needs what was left out of this build.
fn lacks_aws(kind: &SinkKind) -> bool {
    cfg!(not(feature = "aws")) && matches!(kind, SinkKind::S3(_) | SinkKind::CloudWatchLogs(_))
}

/// What all workers share.
struct Common<'a> {
    queues: &'a [Arc<Queue>],
    ledger: &'a Arc<Ledger>,
    metrics: &'a Metrics,
    /// Where dead letters go.
    place: Option<Arc<Place>>,
    clock: Clock,
    pool: Pool,
}

fn worker(plan: &Plan, at: usize, common: &Common<'_>) -> SourceIntake {
    let Common { queues, ledger, metrics, place, clock, pool } = common;
    let source = &plan.sources[at];
    let SourceKind::Forward(forward) = &source.kind;
    let router = Router::compile(&plan.routes, plan.levels.clone()).expect("the plan has compiled these routes before");
    let outlets = plan.sinks.iter().zip(*queues).map(|(sink, queue)| {
        let (partitioner, encoder) = names_and_encoder(plan, sink);
        let config = outlet_config(plan, sink);
        Outlet::new(config, Arc::clone(queue), metrics.sink(&sink.name), partitioner, encoder, Arc::clone(pool))
    });
    let undecodable = place.as_ref().map(|place| {
        let letters = DeadLetters::new(&source.name, place);
        Arc::new(Undecodable::new(source.name.as_str().into(), letters, (*metrics).clone(), *clock))
    });
    let parts = WorkerParts {
        source: at,
        name: source.name.as_str().into(),
        joiner: forward.join.enabled.then(|| Joiner::new(&forward.join)),
        metrics: (*metrics).clone(),
        router,
        outlets: outlets.collect(),
        diverts: plan.sinks.iter().map(|sink| sink.divert).collect(),
        open_limit: open_limit(plan),
        undecodable,
    };
    SourceIntake::new(parts, Arc::clone(ledger), *clock)
}

/// Where dead letters go.
fn place(plan: &Plan, queues: &[Arc<Queue>], clock: Clock, metrics: &Metrics) -> Option<Arc<Place>> {
    let letters = plan.dead_letters.as_ref()?;
    let sink = &plan.sinks[letters.sink];
    let compression = sink.kind.archive().expect("the plan has checked that this sink makes objects");
    let prefix = Template::parse(&letters.prefix).expect("the plan has parsed this template before");
    Some(Place::new(&sink.name, Arc::clone(&queues[letters.sink]), compression, prefix, metrics, clock))
}

fn outlet_config(plan: &Plan, sink: &SinkPlan) -> OutletConfig {
    let (seal_after, compression) = match &sink.kind {
        SinkKind::S3(config) => (config.object.age.0, config.compression),
        SinkKind::File(config) => (config.object.age.0, config.compression),
        SinkKind::CloudWatchLogs(config) => (config.batch.age.0, Compression::None),
        SinkKind::Stdout(_) => (STDOUT_DELAY, Compression::None),
    };
    OutletConfig { seal_after, seal_awaited_after: ack_wait(plan), open_blocks: OPEN_PARTITIONS, compression }
}

fn names_and_encoder(plan: &Plan, sink: &SinkPlan) -> (Partitioner, Encoder) {
    let levels = plan.levels.clone();
    let template = |text: &str| Template::parse(text).expect("the plan has parsed this template before");
    match &sink.kind {
        SinkKind::S3(c) => {
            (Partitioner::prefix(template(&c.prefix), levels), Encoder::Ndjson(NdjsonEncoder::new(c.log_json)))
        }
        SinkKind::File(c) => {
            (Partitioner::prefix(template(&c.prefix), levels), Encoder::Ndjson(NdjsonEncoder::new(c.log_json)))
        }
        SinkKind::CloudWatchLogs(c) => (
            Partitioner::stream(template(&c.log_group), template(&c.log_stream), levels),
            Encoder::Entries(EntryEncoder::new(c.message).with_oversize(c.oversize)),
        ),
        SinkKind::Stdout(c) => (Partitioner::whole(), Encoder::Ndjson(NdjsonEncoder::new(c.log_json))),
    }
}

/// Open blocks may hold an eighth of the memory, shared by the sources; one block must fit in any case.
fn open_limit(plan: &Plan) -> usize {
    let share = plan.memory.total / 8 / plan.sources.len().max(1) as u64;
    usize::try_from(share).unwrap_or(usize::MAX).max(BLOCK_SIZE)
}

/// Frames in flight may hold an eighth of the memory, as the open blocks: what is left of the half that is not the
/// queues' is for the join, the sinks' requests and the connections' own small buffers. Shared by the sources, each of
/// which has its own part: one whose sinks are full does not stop the reading of another. Two of its largest frames
/// must fit in any case, so that one slow peer does not hold all of it.
fn read_limit(plan: &Plan, config: &ForwardConfig) -> usize {
    let share = plan.memory.total / READ_SHARE / plan.sources.len().max(1) as u64;
    usize::try_from(share.max(config.limits.frame.0.saturating_mul(2))).unwrap_or(usize::MAX)
}

/// The shortest `ack_wait` of the sources: blocks of several sources meet in one object.
fn ack_wait(plan: &Plan) -> Duration {
    let waits = plan.sources.iter().map(|source| match &source.kind {
        SourceKind::Forward(config) => config.ack_wait.0,
    });
    waits.min().unwrap_or(Duration::MAX)
}
