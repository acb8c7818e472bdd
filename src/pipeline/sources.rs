//! The sources of a running pipeline, by name: each has its sockets, its workers and its own hand that ends it. One
//! that a reload leaves out accepts nobody any more, reads until its peers are quiet, and goes.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::build::BuildError;
use super::drain::SOURCES_SHARE;
use super::intake::SourceIntake;
use super::parts::{Common, read_limit};
use super::worker::Rules;
use crate::config::plan::{DrainPlan, Plan, SourceKind};
use crate::metrics::forward::ForwardSources;
use crate::record::EcsMetadata;
use crate::source::Control;
use crate::source::forward::{self, Budget, ForwardConfig, Listeners, Resources, Setup};

/// The workers of all sources, those included that have left and still read.
#[derive(Clone, Debug, Default)]
pub(super) struct Intakes(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    intakes: Vec<SourceIntake>,
    /// Task metadata is on its way, or there.
    wants_metadata: bool,
    ecs: Option<Arc<EcsMetadata>>,
}

impl Intakes {
    fn add(&self, intake: &SourceIntake) {
        let mut known = self.lock();
        known.intakes.retain(|intake| !intake.is_finished());
        if known.wants_metadata {
            intake.expect_metadata();
        }
        if let Some(ecs) = &known.ecs {
            intake.set_metadata(Arc::clone(ecs));
        }
        known.intakes.push(intake.clone());
    }

    /// Task metadata is on its way.
    pub(super) fn expect_metadata(&self) {
        let mut known = self.lock();
        known.wants_metadata = true;
        known.intakes.iter().for_each(SourceIntake::expect_metadata);
    }

    /// It is there.
    pub(super) fn set_metadata(&self, ecs: &Arc<EcsMetadata>) {
        let mut known = self.lock();
        known.ecs = Some(Arc::clone(ecs));
        known.intakes.iter().for_each(|intake| intake.set_metadata(Arc::clone(ecs)));
    }

    fn all(&self) -> Vec<SourceIntake> {
        self.lock().intakes.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// All sources.
pub(super) struct Sources {
    common: Common,
    counters: ForwardSources,
    pub(super) intakes: Intakes,
    slots: Vec<Slot>,
    /// One a source; it tells whether it was to end.
    pub(super) tasks: JoinSet<bool>,
    /// The workers' timers.
    pub(super) timers: JoinSet<()>,
    /// Sources that a reload has left out, to their end.
    leaving: JoinSet<()>,
    /// Each of those that still reads holds a receiver.
    reading: watch::Sender<()>,
    /// All is settled, or there is no more time.
    over: watch::Sender<bool>,
}

struct Slot {
    name: Arc<str>,
    config: ForwardConfig,
    /// The sockets once more, to be shared with what comes after.
    listeners: Listeners,
    /// One a worker.
    intakes: Vec<SourceIntake>,
    changes: mpsc::Sender<Setup>,
    control: Control,
    /// The workers'.
    timers: Vec<AbortHandle>,
}

/// A source of a plan, its addresses bound.
pub(super) struct Ready {
    name: Arc<str>,
    config: ForwardConfig,
    listeners: Listeners,
    setup: Setup,
}

impl Ready {
    /// Where it listens.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.listeners.addresses().iter().map(ToString::to_string).collect()
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl Sources {
    pub(super) fn new(common: Common, counters: ForwardSources) -> Self {
        Self {
            common,
            counters,
            intakes: Intakes::default(),
            slots: Vec::new(),
            tasks: JoinSet::new(),
            timers: JoinSet::new(),
            leaving: JoinSet::new(),
            reading: watch::Sender::new(()),
            over: watch::Sender::new(false),
        }
    }

    /// Binds what the plan listens on, all of it or nothing; addresses that are listened on already stay open.
    pub(super) fn bind(&self, plan: &Plan) -> Result<Vec<Ready>, BuildError> {
        let open: Vec<&Listeners> = self.slots.iter().map(|slot| &slot.listeners).collect();
        bind(plan, &open)
    }

    /// Has every worker go by the plan; `rules` makes them, `kept` is as in [`SourceIntake::change`].
    pub(super) fn change_rules(&self, plan: &Plan, rules: impl Fn() -> Rules, kept: &[Option<usize>]) {
        for intake in self.intakes.all() {
            let join = plan.sources.iter().find(|source| self.is_worker_of(&intake, &source.name));
            let join = join.map(|source| match &source.kind {
                SourceKind::Forward(config) => self.common.join(config),
            });
            intake.change(rules(), kept, join.as_ref());
        }
    }

    fn is_worker_of(&self, intake: &SourceIntake, name: &str) -> bool {
        self.slots.iter().any(|slot| *slot.name == *name && slot.intakes.iter().any(|own| own.is(intake)))
    }

    /// Says where sources listen that are new or different.
    pub(super) fn announce(&self, ready: &[Ready]) {
        let as_before =
            |ready: &&Ready| self.slots.iter().any(|slot| slot.name == ready.name && slot.config == ready.config);
        for ready in ready.iter().filter(|ready| !as_before(ready)) {
            tracing::info!("source {} listens on {}", ready.name, ready.addresses().join(", "));
        }
    }

    /// Has the plan's sources read, each by its settings there, and those that are not in it leave.
    pub(super) async fn run(&mut self, ready: Vec<Ready>, rules: impl Fn() -> Rules, drain: DrainPlan) {
        let left = |slot: &mut Slot| !ready.iter().any(|ready| ready.name == slot.name);
        let left: Vec<Slot> = self.slots.extract_if(.., left).collect();
        for slot in left {
            self.leave(slot, drain).await;
        }
        for ready in ready {
            match self.slots.iter_mut().find(|slot| slot.name == ready.name) {
                Some(slot) if slot.config == ready.config => {}
                Some(slot) => {
                    (slot.config, slot.listeners) = (ready.config, ready.listeners);
                    // The source may have ended only if the process does.
                    let _ = slot.changes.send(ready.setup).await;
                }
                None => self.start(ready, &rules),
            }
        }
    }

    fn start(&mut self, ready: Ready, rules: impl Fn() -> Rules) {
        let Ready { name, config, listeners, setup } = ready;
        let (lanes, undecodable) = (self.common.lanes, self.common.undecodable(&name));
        let worker = |_| self.common.worker(&name, &config, rules(), undecodable.clone());
        let intakes: Vec<_> = (0..lanes).map(worker).collect();
        if lanes > 1 {
            tracing::info!("source {name} has {lanes} workers");
        }
        let mut timers = Vec::new();
        for intake in &intakes {
            self.intakes.add(intake);
            let ticking = intake.clone();
            timers.push(self.timers.spawn(async move { ticking.tick().await }));
        }
        let (control, (changes, changed)) = (Control::new(), mpsc::channel(1));
        let resources = Resources { clock: self.common.clock, stats: self.counters.stats(&name) };
        let (shutdown, told, served, named) =
            (control.subscribe(), control.watch(), intakes.clone(), Arc::clone(&name));
        self.tasks.spawn(async move {
            forward::serve(setup, &named, served, resources, changed, shutdown).await;
            told.is_told()
        });
        self.slots.push(Slot { name, config, listeners, intakes, changes, control, timers });
    }

    async fn leave(&mut self, slot: Slot, drain: DrainPlan) {
        let Slot { name, config, intakes, changes, mut control, timers, .. } = slot;
        tracing::info!(
            "source {name} is not in the config any more: it accepts nobody, and ends when its peers are quiet"
        );
        let deaf = Setup::new(Listeners::default(), &config, Arc::new(Budget::new(0)));
        // Nothing is opened, so nothing can fail.
        if let Ok(deaf) = deaf {
            let _ = changes.send(deaf).await;
        }
        control.drain(drain.quiet, Instant::now() + drain.timeout.mul_f64(SOURCES_SHARE));
        let (reading, mut over) = (self.reading.subscribe(), self.over.subscribe());
        self.leaving.spawn(async move {
            control.reading_over().await;
            intakes.iter().for_each(SourceIntake::finish);
            timers.iter().for_each(AbortHandle::abort);
            drop(reading);
            // Whoever would say so is gone: then it is over, too.
            let _ = tokio::select! {
                ended = changes.closed() => Ok(ended),
                over = over.wait_for(|over| *over) => over.map(drop),
            };
            control.end();
        });
    }

    /// Reads what is still coming, and hands all over that is in the workers. What is not read by the deadline is not.
    pub(super) async fn drain(&mut self, plan: DrainPlan, start: Instant, deadline: Instant) {
        for slot in &self.slots {
            slot.control.drain(plan.quiet, start + plan.timeout.mul_f64(SOURCES_SHARE));
        }
        let over = async {
            for slot in &mut self.slots {
                slot.control.reading_over().await;
            }
            self.reading.closed().await;
        };
        if timeout_at(deadline, over).await.is_err() {
            tracing::warn!("a source did not stop reading in time");
        }
        self.intakes.all().iter().for_each(SourceIntake::finish);
    }

    /// No ack will come any more: closes the connections, and gives the last acks this long.
    pub(super) async fn end(&mut self, patience: Duration) {
        self.slots.iter().for_each(|slot| slot.control.end());
        self.over.send_replace(true);
        // The last acks are written in no time or not at all.
        let closed = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(patience, closed).await;
        self.tasks.shutdown().await;
        self.timers.shutdown().await;
        self.leaving.shutdown().await;
    }

    /// Takes note of those that have left.
    pub(super) fn forget(&mut self) {
        while self.leaving.try_join_next().is_some() {}
    }
}

/// Binds all addresses of the plan; those that `open` has are shared.
pub(super) fn bind(plan: &Plan, open: &[&Listeners]) -> Result<Vec<Ready>, BuildError> {
    let ready = plan.sources.iter().map(|source| {
        let SourceKind::Forward(config) = &source.kind;
        let fail = |error| BuildError::Source { name: source.name.clone(), error };
        let listeners = Listeners::bind_beside(config, open).map_err(|error| fail(error.into()))?;
        let kept = listeners.share().map_err(|error| fail(error.into()))?;
        let budget = Arc::new(Budget::new(read_limit(plan)));
        let setup = Setup::new(listeners, config, budget).map_err(|error| fail(error.into()))?;
        Ok(Ready { name: source.name.as_str().into(), config: config.clone(), listeners: kept, setup })
    });
    ready.collect()
}
