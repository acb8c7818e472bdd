//! The sinks of a running pipeline. A queue belongs to a sink's name and type and lives as long as the process; the
//! task that takes from it is another one whenever the sink's settings change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::build::BuildError;
use super::parts::{Common, ack_wait};
use crate::config::plan::{Plan, SinkKind, SinkPlan, SpoolPlan};
use crate::sink::{Phase, SinkContext, file, stdout};
use crate::spool::disk::{Anchor, Home, Limits, Recovered};
use crate::spool::{Queue, QueueConfig, Queues};

/// How a sink's task ended.
#[derive(Debug)]
pub(super) struct Ended {
    slot: usize,
    pub(super) name: Arc<str>,
    /// What it had been told.
    pub(super) phase: Phase,
}

/// All sinks that the process has had.
pub(super) struct Sinks {
    common: Common,
    /// Part of every object's key.
    writer: Arc<str>,
    slots: Vec<Slot>,
    /// The queues as they are seen from outside.
    queues: Queues,
    pub(super) tasks: JoinSet<Ended>,
    /// The queues' ways to their disks: they end when all else has.
    pub(super) keepers: JoinSet<()>,
    /// The spool's directory, locked to the end.
    home: Option<Home>,
}

/// A name and type with its queue.
struct Slot {
    name: Arc<str>,
    type_name: &'static str,
    queue: Arc<Queue>,
    /// The task that takes from the queue, if any was begun.
    run: Option<Run>,
}

struct Run {
    kind: SinkKind,
    ack_wait: Duration,
    phase: watch::Sender<Phase>,
}

impl Run {
    /// Whether it can go on as it is.
    fn is_as(&self, kind: &SinkKind, ack_wait: Duration) -> bool {
        // What stdout's settings say, the encoder does.
        let same = matches!(kind, SinkKind::Stdout(_)) || (self.kind == *kind && self.ack_wait == ack_wait);
        same && *self.phase.borrow() == Phase::Running
    }
}

impl Slot {
    /// Whether the running plan has it.
    fn is_in_force(&self) -> bool {
        self.run.as_ref().is_some_and(|run| *run.phase.borrow() == Phase::Running)
    }
}

impl Sinks {
    /// None yet; with a disk spool, its directory is taken for this process.
    pub(super) fn new(common: Common, writer: String, plan: &SpoolPlan, queues: Queues) -> Result<Self, BuildError> {
        let home = match plan {
            SpoolPlan::Memory => None,
            SpoolPlan::Disk { path, .. } => Some(Home::open(path)?),
        };
        let (tasks, keepers) = (JoinSet::new(), JoinSet::new());
        Ok(Self { common, writer: writer.into(), slots: Vec::new(), queues, tasks, keepers, home })
    }

    /// The queues of the plan's sinks, in its order; those that are missing are opened, with what waits in them on
    /// disk. Nothing is delivered before [`Sinks::run`].
    pub(super) async fn open(&mut self, plan: &Plan) -> Result<Vec<Arc<Queue>>, BuildError> {
        for sink in &plan.sinks {
            self.refuse_other_type(sink)?;
        }
        let mut queues = Vec::new();
        for sink in &plan.sinks {
            let queue = match self.find(sink) {
                Some(at) => Arc::clone(&self.slots[at].queue),
                None => self.open_queue(sink, &plan.spool).await?,
            };
            queues.push(queue);
        }
        Ok(queues)
    }

    /// A sink in force whose name gets another type: what waits was encoded for the old one, and is to be delivered
    /// before that.
    fn refuse_other_type(&self, sink: &SinkPlan) -> Result<(), BuildError> {
        let is_other =
            |slot: &&Slot| *slot.name == sink.name && slot.type_name != sink.kind.type_name() && slot.is_in_force();
        let Some(slot) = self.slots.iter().find(is_other) else { return Ok(()) };
        match self.common.ledger.books().sinks[slot.queue.sink()].waiting().records {
            0 => Ok(()),
            waiting => Err(BuildError::OtherType { name: sink.name.clone(), before: slot.type_name, waiting }),
        }
    }

    fn find(&self, sink: &SinkPlan) -> Option<usize> {
        self.slots.iter().position(|slot| *slot.name == sink.name && slot.type_name == sink.kind.type_name())
    }

    async fn open_queue(&mut self, sink: &SinkPlan, spool: &SpoolPlan) -> Result<Arc<Queue>, BuildError> {
        let (ledger, clock) = (Arc::clone(&self.common.ledger), self.common.clock);
        let type_name = sink.kind.type_name();
        let queue = match (&self.home, spool) {
            (Some(home), SpoolPlan::Disk { path, quota }) => {
                let directory = home.folder(&sink.name, type_name)?;
                let (config, limits, synced) = (sink.queue, Limits::of(*quota), self.common.synced.clone());
                let anchor = Anchor { moment: clock.now(), unix: clock.unix() };
                let at = ledger.sink(&sink.name);
                let open = move || Queue::open(at, config, ledger, directory, limits, anchor, synced);
                let opened = tokio::task::spawn_blocking(open).await.map_err(std::io::Error::other).flatten();
                let fail = |error| BuildError::Queue { name: sink.name.clone(), path: path.clone(), error };
                opened.map_err(fail)?
            }
            _ => Queue::new(ledger.sink(&sink.name), sink.queue, ledger),
        };
        queue.recovered().into_iter().for_each(|found| tell_recovered(&sink.name, found));
        if queue.is_on_disk() {
            self.keepers.spawn(Arc::clone(&queue).keep());
        }
        self.queues.list(&queue, false);
        let name = sink.name.as_str().into();
        self.slots.push(Slot { name, type_name, queue: Arc::clone(&queue), run: None });
        Ok(queue)
    }

    /// Lets the plan's sinks deliver, and those that are not in it deliver what they have. The plan's queues must be
    /// open, and no worker may go by another plan any more.
    pub(super) fn run(&mut self, plan: &Plan) {
        let wait = ack_wait(plan);
        for at in 0..self.slots.len() {
            let slot = &self.slots[at];
            let same = |sink: &&SinkPlan| *slot.name == sink.name && slot.type_name == sink.kind.type_name();
            match plan.sinks.iter().find(same) {
                Some(sink) if slot.run.as_ref().is_some_and(|run| run.is_as(&sink.kind, wait)) => {}
                Some(sink) => self.start(at, sink.kind.clone(), wait),
                None => self.leave(at),
            }
        }
        self.share(plan);
    }

    /// Begins a task; the one before it finishes what it has taken.
    fn start(&mut self, at: usize, kind: SinkKind, ack_wait: Duration) {
        let slot = &mut self.slots[at];
        if let Some(run) = slot.run.take() {
            let before = run.phase.send_replace(Phase::HandedOver);
            if before == Phase::Running {
                tracing::info!(sink = &*slot.name, "goes on with other settings");
            }
        }
        self.spawn(at, kind, ack_wait, Phase::Running);
    }

    fn spawn(&mut self, at: usize, kind: SinkKind, ack_wait: Duration, phase: Phase) {
        let slot = &mut self.slots[at];
        let (phase, watched) = watch::channel(phase);
        let context = SinkContext {
            name: Arc::clone(&slot.name),
            queue: Arc::clone(&slot.queue),
            metrics: self.common.metrics.sink(&slot.name),
            clock: self.common.clock,
            writer: Arc::clone(&self.writer),
            phase: watched,
            ack_wait,
            dead_letters: self.common.letters_of(&slot.name, &slot.queue),
        };
        self.tasks.spawn(run_to_end(at, context, kind.clone(), phase.clone()));
        self.queues.list(&slot.queue, false);
        slot.run = Some(Run { kind, ack_wait, phase });
    }

    /// Its sink is not in the config: no route leads here any more.
    fn leave(&mut self, at: usize) {
        let slot = &self.slots[at];
        if let Some(run) = slot.run.as_ref().filter(|_| slot.is_in_force()) {
            let waiting = self.common.ledger.books().sinks[slot.queue.sink()].waiting().records;
            let folder = self.home.as_ref().map(|home| home.path_of(&slot.name, slot.type_name).display().to_string());
            tracing::warn!(
                sink = &*slot.name,
                waiting,
                folder,
                "is not in the config any more: it delivers what it has with its old settings; its queue is kept"
            );
            run.phase.send_replace(Phase::Draining);
        }
        // Another type of this name has the account now.
        let has_heir = |other: &Slot| other.name == slot.name && other.is_in_force();
        if !self.slots.iter().any(has_heir) {
            self.queues.list(&slot.queue, true);
        }
    }

    /// Divides the memory among the queues: even shares, those included that have left and still hold something.
    fn share(&self, plan: &Plan) {
        let planned = |slot: &Slot| {
            plan.sinks.iter().find(|sink| *slot.name == sink.name && slot.type_name == sink.kind.type_name())
        };
        let left = self.slots.iter().filter(|slot| planned(slot).is_none() && !slot.queue.is_empty()).count();
        let bound = plan.memory.queues / (plan.sinks.len() + left).max(1) as u64;
        for slot in &self.slots {
            if let Some(sink) = planned(slot) {
                slot.queue.set_config(QueueConfig { bound, ..sink.queue });
            } else {
                slot.queue.set_config(QueueConfig { bound, ..slot.queue.config() });
            }
        }
    }

    /// No block will come any more.
    pub(super) fn drain(&self) {
        let drain = |phase: &mut Phase| match phase {
            Phase::Running => {
                *phase = Phase::Draining;
                true
            }
            Phase::Draining | Phase::HandedOver => false,
        };
        for run in self.slots.iter().filter_map(|slot| slot.run.as_ref()) {
            run.phase.send_if_modified(drain);
        }
    }

    /// Comes back when every sink has delivered what it had, dead letters included; after [`Sinks::drain`].
    pub(super) async fn delivered(&mut self) {
        let letters = self.common.letters.get();
        let letters = letters.and_then(|place| self.slots.iter().position(|slot| place.is_in(&slot.queue)));
        let mut letters_ended = false;
        while let Some(ended) = self.tasks.join_next().await {
            let Some(at) = letters else { continue };
            letters_ended |= ended.is_ok_and(|ended| ended.slot == at && ended.phase == Phase::Draining);
            let Slot { queue, run, .. } = &self.slots[at];
            // Another sink has left dead letters when this one had already delivered all that waited.
            if letters_ended
                && !queue.is_empty()
                && let Some((kind, ack_wait)) = run.as_ref().map(|run| (run.kind.clone(), run.ack_wait))
            {
                letters_ended = false;
                self.spawn(at, kind, ack_wait, Phase::Draining);
            }
        }
    }

    /// All queues, those of sinks that have left included.
    pub(super) fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.slots.iter().map(|slot| &slot.queue)
    }

    /// Folders of the spool that hold records of none of the plan's sinks.
    pub(super) fn left_behind(&self, plan: &Plan) -> Vec<PathBuf> {
        let names: Vec<_> = plan.sinks.iter().map(|sink| (sink.name.as_str(), sink.kind.type_name())).collect();
        self.home.as_ref().map(|home| home.left_behind(&names)).unwrap_or_default()
    }
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

async fn run_to_end(slot: usize, context: SinkContext, kind: SinkKind, phase: watch::Sender<Phase>) -> Ended {
    let name = Arc::clone(&context.name);
    match kind {
        SinkKind::File(config) => file::run(context, config).await,
        SinkKind::Stdout(_) => stdout::run(context).await,
        #[cfg(feature = "aws")]
        SinkKind::S3(config) => crate::sink::s3::run(context, config).await,
        #[cfg(feature = "aws")]
        SinkKind::CloudWatchLogs(config) => crate::sink::cloudwatch_logs::run(context, config).await,
        #[cfg(not(feature = "aws"))]
        SinkKind::S3(_) | SinkKind::CloudWatchLogs(_) => unreachable!("a plan with them is refused"),
    }
    let phase = *phase.borrow();
    Ended { slot, name, phase }
}
