//! From the plan to the parts of a pipeline: sockets bound, queues opened, nothing running yet.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::parts::{Common, lanes};
use super::sinks::Sinks;
use super::sources::{self, Ready, Sources};
use crate::admin::{AdminState, Reloads};
use crate::clock::Clock;
use crate::config::plan::{Plan, SinkKind, SourceKind, SourcePlan};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::metrics::books::BooksCollector;
use crate::metrics::forward::{ForwardCollector, ForwardSources};
use crate::metrics::process::ProcessCollector;
use crate::source::Intake;
use crate::spool::disk::HomeError;
use crate::spool::{Queue, Queues};

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
    /// A sink whose queue holds what was encoded for another type.
    #[error(
        "sink {name}: it was of type {before} and still holds {waiting} records, which only that type can deliver; give \
         the new sink another name, or try again when they are delivered"
    )]
    OtherType {
        /// The sink.
        name: String,
        /// Its type until now.
        before: &'static str,
        /// Records that wait.
        waiting: u64,
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
    pub(super) common: Common,
    pub(super) ready: Vec<Ready>,
    pub(super) queues: Vec<Arc<Queue>>,
    pub(super) sinks: Sinks,
    pub(super) sources: Sources,
    pub(super) admin: Option<TcpListener>,
    pub(super) state: Arc<AdminState>,
}

impl Pipeline {
    /// Binds the sockets and makes everything that runs behind them.
    pub async fn build(plan: Plan) -> Result<Self, BuildError> {
        refuse_without_aws(&plan)?;
        let clock = Clock::start();
        let ready = sources::bind(&plan, &[])?;
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
        let (metrics, queues, counters) = (Metrics::new(), Queues::default(), ForwardSources::default());
        metrics.register(BooksCollector { ledger: Arc::clone(&ledger), queues: queues.clone(), clock });
        metrics.register(ProcessCollector { clock });
        metrics.register(ForwardCollector(counters.clone()));
        let state = Arc::new(AdminState {
            ledger: Arc::clone(&ledger),
            queues: queues.clone(),
            metrics: metrics.clone(),
            clock,
            reloads: Reloads::new(clock, plan.fingerprint.clone(), delivering_after(&plan)),
            ecs: OnceLock::new(),
            ready: AtomicBool::new(false),
        });
        let (pool, letters, synced) = (Arc::default(), Arc::default(), watch::Sender::new(()));
        let lanes = lanes(&plan);
        let common = Common { lanes, ledger, clock, metrics, pool, letters, synced };
        let mut sinks = Sinks::new(common.clone(), writer_id(), &plan.spool, queues)?;
        let queues = sinks.open(&plan).await?;
        common.place_letters(&plan, &queues);
        for folder in sinks.left_behind(&plan) {
            tracing::warn!(
                folder = %folder.display(),
                "records wait here for a sink that is not in the config; they stay. Bring the sink back to have them \
                 sent, or look at them with `logweir spool`"
            );
        }
        let sources = Sources::new(common.clone(), counters);
        Ok(Self { plan, common, ready, queues, sinks, sources, admin, state })
    }

    /// A way for records of a source into the queues beside its sockets, with rules, books and open blocks of its own;
    /// its callers are benches, which have neither peers nor tasks. Must be used within a tokio runtime.
    pub fn intake(&self, source: usize) -> impl Intake + use<> {
        let SourcePlan { name, kind: SourceKind::Forward(config), .. } = &self.plan.sources[source];
        self.common.worker(&name.as_str().into(), config, self.common.rules(&self.plan, &self.queues), None)
    }

    /// The address that the admin endpoints answer at.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where each source listens.
    pub fn listening(&self) -> Vec<(Arc<str>, Vec<String>)> {
        self.ready.iter().map(|ready| (Arc::clone(ready.name()), ready.addresses())).collect()
    }

    /// The books, to be read while it runs.
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.common.ledger)
    }
}

/// Age at which `/delivering` fails.
pub(super) fn delivering_after(plan: &Plan) -> Duration {
    plan.admin.map_or(Duration::MAX, |admin| admin.delivering_after)
}

/// Tells this process from all others: part of every object's key, so two that are alike would overwrite each other's
/// objects. From the system's random numbers (the standard library keys its hashers with them); `fastrand` knows only
/// the time since boot, which is much the same in every task that has just been started.
fn writer_id() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// Refuses a plan that needs what was left out of this build.
pub(super) fn refuse_without_aws(plan: &Plan) -> Result<(), BuildError> {
    let lacks =
        |kind: &SinkKind| cfg!(not(feature = "aws")) && matches!(kind, SinkKind::S3(_) | SinkKind::CloudWatchLogs(_));
    match plan.sinks.iter().find(|sink| lacks(&sink.kind)) {
        Some(sink) => Err(BuildError::NoAws { name: sink.name.clone() }),
        None => Ok(()),
    }
}
