//! A way from a source to one of its workers: under a lock, with a timer, and with the waiting for room.
//!
//! The connections of a worker call [`SourceIntake::take`] one after the other under its lock: no task is
//! crossed on a record's way from the socket to its block, and whoever reads too fast is the one who waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, watch};

use super::outlet::Told;
use super::undecodable::Undecodable;
use super::worker::{Gate, Rules, Worker, WorkerParts};
use crate::clock::Clock;
use crate::encode::Count;
use crate::ledger::Ledger;
use crate::record::{EcsMetadata, RecordBatch};
use crate::source::forward::JoinConfig;
use crate::source::{Excerpt, Intake};

/// A way into the pipeline; clones share one worker.
#[derive(Clone, Debug)]
pub(super) struct SourceIntake(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    worker: Mutex<Worker>,
    clock: Clock,
    /// Of the rules in force.
    gates: watch::Sender<Arc<[Gate]>>,
    /// Nothing comes any more.
    finished: AtomicBool,
    undecodable: Option<Arc<Undecodable>>,
    /// The worker's `due` has come nearer.
    nearer: Notify,
    /// A sender waits until a record in an open block is durable.
    awaited: AtomicBool,
    /// Told whenever a queue has written to its disk.
    synced: watch::Receiver<()>,
}

impl SourceIntake {
    /// A worker and the way to it. `synced` is told whenever a queue has written to its disk.
    pub(super) fn new(parts: WorkerParts, synced: watch::Receiver<()>, ledger: Arc<Ledger>, clock: Clock) -> Self {
        let undecodable = parts.undecodable.clone();
        let worker = Worker::new(parts, ledger);
        Self(Arc::new(Shared {
            gates: watch::Sender::new(Arc::clone(&worker.gates)),
            worker: Mutex::new(worker),
            clock,
            finished: AtomicBool::new(false),
            undecodable,
            nearer: Notify::new(),
            awaited: AtomicBool::new(false),
            synced,
        }))
    }

    /// Goes by other rules from the next record on, as [`Worker::change`] says.
    pub(super) fn change(&self, rules: Rules, kept: &[Option<usize>], join: Option<&JoinConfig>) {
        let mut worker = self.worker();
        worker.change(rules, kept, join, self.0.clock.now());
        // Who waits for a queue that this source no longer fills, waits no more.
        self.0.gates.send_replace(Arc::clone(&worker.gates));
        self.note_awaited(&worker);
        self.0.nearer.notify_one();
    }

    /// Whether both are ways to one worker.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether [`SourceIntake::finish`] was called.
    pub(super) fn is_finished(&self) -> bool {
        self.0.finished.load(Ordering::Acquire)
    }

    /// Task metadata is on its way: records that come before it are counted.
    pub(super) fn expect_metadata(&self) {
        self.worker().wants_metadata = true;
    }

    /// Task metadata has arrived: every record from now on carries it.
    pub(super) fn set_metadata(&self, ecs: Arc<EcsMetadata>) {
        self.worker().ecs = Some(ecs);
    }

    /// Seals blocks and lets partial lines go when their time has come. Runs until it is dropped.
    pub(super) async fn tick(&self) {
        let mut synced = self.0.synced.clone();
        loop {
            let due = self.worker().due;
            let time = async {
                match due {
                    Some(due) => tokio::time::sleep_until(self.0.clock.instant(due)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = time => self.worker().on_time(self.0.clock.now()),
                () = self.0.nearer.notified() => {}
                Ok(()) = synced.changed() => {
                    if self.0.awaited.load(Ordering::Acquire) {
                        let mut worker = self.worker();
                        worker.synced(self.0.clock.now());
                        self.note_awaited(&worker);
                    }
                }
            }
        }
    }

    /// Tells the timer whether the end of a sync is of interest.
    fn note_awaited(&self, worker: &Worker) {
        self.0.awaited.store(worker.is_awaited(), Ordering::Release);
    }

    /// Nothing will come any more: lets partial lines go and seals every block.
    pub(super) fn finish(&self) {
        self.worker().finish(self.0.clock.now());
        self.0.finished.store(true, Ordering::Release);
    }

    /// Has the worker take a batch, and its timer look at what is due anew.
    fn take_from(&self, batch: RecordBatch, sender: Told) {
        debug_assert!(batch.is_sound());
        let now = self.0.clock.now();
        let mut worker = self.worker();
        let before = worker.due;
        worker.take(batch, now, sender);
        self.note_awaited(&worker);
        if worker.is_overlooked() {
            // The sync ended before the timer was told to look for its end.
            worker.dispatch(now, sender);
            self.note_awaited(&worker);
        }
        if worker.due != before && worker.due.is_some() {
            self.0.nearer.notify_one();
        }
    }

    fn worker(&self) -> MutexGuard<'_, Worker> {
        self.0.worker.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Intake for SourceIntake {
    fn take(&self, batch: RecordBatch) {
        self.take_from(batch, Told::Later);
    }

    fn take_promptly(&self, batch: RecordBatch) {
        self.take_from(batch, Told::AtOnce);
    }

    async fn room(&self) {
        if self.0.gates.borrow().iter().all(Gate::is_open) {
            return;
        }
        let mut changes = self.0.gates.subscribe();
        loop {
            let gates = Arc::clone(&changes.borrow_and_update());
            let open = async {
                for gate in gates.iter().filter(|gate| gate.reached.load(Ordering::Relaxed)) {
                    gate.queue.room().await;
                }
            };
            tokio::select! {
                () = open => return,
                Ok(()) = changes.changed() => {}
            }
        }
    }

    fn refuse(&self, reason: &'static str, records: u64, bytes: u64) {
        self.worker().refuse(reason, Count { records, bytes });
    }

    fn undecodable(&self, reason: &'static str, peer: &str, excerpt: &Excerpt) {
        if let Some(undecodable) = &self.0.undecodable {
            undecodable.leave(reason, peer, excerpt);
        }
    }
}
