//! From the plan to the parts of a pipeline: sockets bound, queues, workers and sinks made, nothing running yet.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
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
use crate::config::plan::{Plan, SinkKind, SinkPlan, SourceKind, SpoolPlan};
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
use crate::source::forward::{Budget, ForwardStats, Listeners};
use crate::source::join::Joiner;
use crate::spool::Queue;
use crate::spool::disk::{Anchor, Home, HomeError, Limits, Recovered};

/// Open blocks of a sink in a worker: a partition more closes the least recently used one.
const OPEN_PARTITIONS: usize = 64;

/// With a disk, a block is sealed so long after its first record: what a crash can take of records that nobody waits
/// for an ack of. Small frames are joined again when their object is sent.
const DURABLE_DELAY: Duration = Duration::from_secs(1);

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
    /// The spool's directory cannot be used.
    #[error(transparent)]
    Spool(#[from] HomeError),
    /// The spool's files cannot be read.
    #[error("spool: cannot read what waits for sink {name} in {path}: {error}")]
    Queue {
        /// The sink.
        name: String,
        /// The spool's directory.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
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
    /// The spool's directory, for as long as it is used.
    pub(super) home: Option<Home>,
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
        let synced = watch::Sender::new(());
        let (home, queues) = open_queues(&plan, &ledger, clock, &synced).await?;
        metrics.register(BooksCollector { ledger: Arc::clone(&ledger), queues: queues.clone(), clock });
        metrics.register(ProcessCollector { clock });
        let place = place(&plan, &queues, clock, &metrics);
        let mut sources = Vec::new();
        let common = Common {
            plan: &plan,
            queues: &queues,
            ledger: &ledger,
            clock,
            metrics: &metrics,
            place,
            pool: Arc::default(),
            synced,
        };
        for (at, listeners) in listeners.into_iter().enumerate() {
            let intake = common.worker(at);
            let budget = Arc::new(Budget::new(read_limit(&plan)));
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
        Ok(Self { plan, clock, ledger, queues, sources, contexts, phase, admin, state, home })
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

/// The queues of all sinks, with what waits in them on disk.
async fn open_queues(
    plan: &Plan,
    ledger: &Arc<Ledger>,
    clock: Clock,
    synced: &watch::Sender<()>,
) -> Result<(Option<Home>, Vec<Arc<Queue>>), BuildError> {
    let sinks = plan.sinks.iter().enumerate();
    let SpoolPlan::Disk { path, quota } = &plan.spool else {
        return Ok((None, sinks.map(|(at, sink)| Queue::new(at, sink.queue, Arc::clone(ledger))).collect()));
    };
    let home = Home::open(path)?;
    let mut queues = Vec::new();
    for (at, sink) in sinks {
        let directory = home.folder(&sink.name, sink.kind.type_name())?;
        let (config, ledger, limits, synced) = (sink.queue, Arc::clone(ledger), Limits::of(*quota), synced.clone());
        let anchor = Anchor { moment: clock.now(), unix: clock.unix() };
        let open = move || Queue::open(at, config, ledger, directory, limits, anchor, synced);
        let opened = tokio::task::spawn_blocking(open).await.map_err(std::io::Error::other).flatten();
        let queue = opened.map_err(|error| BuildError::Queue { name: sink.name.clone(), path: path.clone(), error })?;
        queue.recovered().into_iter().for_each(|found| tell_recovered(&sink.name, found));
        queues.push(queue);
    }
    let names: Vec<_> = plan.sinks.iter().map(|sink| (sink.name.as_str(), sink.kind.type_name())).collect();
    for folder in home.left_behind(&names) {
        tracing::warn!(
            folder = %folder.display(),
            "records wait here for a sink that is not in the config; they stay. Bring the sink back to have them \
             sent, or look at them with `logweir spool`"
        );
    }
    Ok((Some(home), queues))
}

/// Says what a start has found in a queue on disk.
fn tell_recovered(sink: &str, found: &Recovered) {
    if found.blocks > 0 {
        tracing::info!(sink, records = found.waiting.records, "goes on with what the last process left in the spool");
    }
    if found.torn > 0 {
        tracing::info!(sink, bytes = found.torn, "cut off the torn end of the spool; it was never confirmed to anyone");
    }
    if found.damaged > 0 {
        tracing::error!(sink, bytes = found.damaged, "a part of the spool is damaged; its file will be set aside");
    }
    if found.missing.0 > 0 {
        let (segments, records) = (found.missing.0, found.missing.1.records);
        tracing::error!(sink, segments, records, "files of the spool are missing, with records that were to be sent");
    }
}

/// Whether a sink needs what was left out of this build.
fn lacks_aws(kind: &SinkKind) -> bool {
    cfg!(not(feature = "aws")) && matches!(kind, SinkKind::S3(_) | SinkKind::CloudWatchLogs(_))
}

/// What the workers have in common.
struct Common<'a> {
    plan: &'a Plan,
    queues: &'a [Arc<Queue>],
    ledger: &'a Arc<Ledger>,
    clock: Clock,
    metrics: &'a Metrics,
    /// Where dead letters go.
    place: Option<Arc<Place>>,
    pool: Arc<Pool>,
    synced: watch::Sender<()>,
}

impl Common<'_> {
    fn worker(&self, at: usize) -> SourceIntake {
        let (plan, metrics) = (self.plan, self.metrics);
        let source = &plan.sources[at];
        let SourceKind::Forward(forward) = &source.kind;
        let router =
            Router::compile(&plan.routes, plan.levels.clone()).expect("the plan has compiled these routes before");
        let outlets = plan.sinks.iter().zip(self.queues).map(|(sink, queue)| {
            let (partitioner, encoder) = names_and_encoder(plan, sink);
            let (config, pool) = (outlet_config(plan, sink), Arc::clone(&self.pool));
            Outlet::new(config, Arc::clone(queue), metrics.sink(&sink.name), partitioner, encoder, pool)
        });
        let undecodable = self.place.as_ref().map(|place| {
            let letters = DeadLetters::new(&source.name, place);
            Arc::new(Undecodable::new(source.name.as_str().into(), letters, metrics.clone(), self.clock))
        });
        let parts = WorkerParts {
            source: at,
            name: source.name.as_str().into(),
            joiner: forward.join.enabled.then(|| Joiner::new(&forward.join)),
            metrics: metrics.clone(),
            router,
            outlets: outlets.collect(),
            diverts: plan.sinks.iter().map(|sink| sink.divert).collect(),
            open_limit: open_limit(plan),
            undecodable,
            synced: self.synced.subscribe(),
        };
        SourceIntake::new(parts, Arc::clone(self.ledger), self.clock)
    }
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
    let seal_after = match plan.spool {
        SpoolPlan::Memory => seal_after,
        SpoolPlan::Disk { .. } => seal_after.min(DURABLE_DELAY),
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

/// What open blocks of a source may hold; one block must fit in any case.
fn open_limit(plan: &Plan) -> usize {
    part(plan.memory.open, plan).max(BLOCK_SIZE)
}

/// What frames of a source that are being read may hold. Each source has a part of its own: one whose sinks are full
/// does not stop the reading of another.
fn read_limit(plan: &Plan) -> usize {
    part(plan.memory.reading, plan)
}

/// An even share of the sources.
fn part(all: u64, plan: &Plan) -> usize {
    usize::try_from(all / plan.sources.len().max(1) as u64).unwrap_or(usize::MAX)
}

/// The shortest `ack_wait` of the sources: blocks of several sources meet in one object.
fn ack_wait(plan: &Plan) -> Duration {
    let waits = plan.sources.iter().map(|source| match &source.kind {
        SourceKind::Forward(config) => config.ack_wait.0,
    });
    waits.min().unwrap_or(Duration::MAX)
}
