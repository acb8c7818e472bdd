//! The task of a sink of objects: watches its queue, closes objects and keeps their requests under way.
//!
//! Blocks stay in the queue until a request can take them: there they still count for `when_full`, and objects grow
//! while the store is slow. An object in parts is in the hands of one request at a time; objects that were closed
//! before go on beside it. With a queue on disk an object is cut as a whole; what the last process left unfinished is
//! brought to its end first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::task::{Id, JoinError, JoinSet};

use super::cutter::{Candidate, ClosedBy, Cutter, Verdict, is_pressed, own_age};
use super::key::Namer;
use super::upload::{Shared, Upload};
use super::whole::Whole;
use super::{Limits, ObjectStore, REQUESTS};
use crate::encode::{Compression, Moment, Partition};
use crate::sink::SinkContext;
use crate::sink::common::{ObjectConfig, RetryConfig};
use crate::sink::retry::Retry;
use crate::spool::Lease;
use crate::spool::disk::CutEntry;

/// How the objects of a sink are made.
#[derive(Clone, Debug)]
pub struct Objects {
    /// When an object is closed.
    pub object: ObjectConfig,
    /// How keys end, such as `ndjson.zst`.
    pub extension: String,
    /// What the blocks are compressed with.
    pub compression: Compression,
    /// Compress an object anew as one frame. Its parts are one stream then; if one is given up, readers find the frame
    /// cut short after the records that the object has. `object.size` counts the blocks as they lay in the queue.
    pub single_frame: bool,
    /// How long requests are repeated.
    pub retry: RetryConfig,
}

/// Delivers the blocks of the sink's queue as objects. Returns when the process drains and nothing is left, or when
/// the queue is handed over and what was begun is done; dropped before that, what is under way is counted as abandoned.
pub async fn run<S: ObjectStore>(context: SinkContext, objects: Objects, store: S) {
    let limits = Limits::of(context.queue.fill_level().1);
    drive(context, objects, store, limits).await;
}

/// The same with other limits, for tests.
pub(super) async fn drive<S: ObjectStore>(context: SinkContext, objects: Objects, store: S, limits: Limits) {
    let mut phase = context.phase.clone();
    let queue = Arc::clone(&context.queue);
    let clock = context.clock;
    let mut driver = Driver::new(context, objects, store, limits);
    // Whoever would change it is there.
    let mut led = true;
    loop {
        if driver.context.is_handed_over() {
            return driver.finish().await;
        }
        if driver.draining.is_none() && (!led || driver.context.is_draining()) {
            driver.draining = Some(clock.now());
        }
        let due = driver.step(clock.now());
        if driver.draining.is_some() && driver.is_idle() && queue.is_empty() {
            return;
        }
        tokio::select! {
            Some(done) = driver.tasks.join_next_with_id() => driver.finished(done),
            () = queue.changed() => {}
            () = tokio::time::sleep_until(clock.instant(due.unwrap_or_default())), if due.is_some() => {}
            // Whoever would say so is gone: then there is nothing to wait for either.
            changed = phase.changed(), if led => led = changed.is_ok(),
        }
    }
}

/// How many requests a queue of this bound allows: a body is a copy of its blocks, so all bodies together stay within a
/// quarter of it.
fn requests(bound: u64, part: u64) -> usize {
    usize::try_from(bound / 4 / part.max(1)).unwrap_or(REQUESTS).clamp(1, REQUESTS)
}

/// What a request leaves behind: the object, if it goes on.
type Left<S> = Option<Upload<S>>;

struct Driver<S: ObjectStore> {
    context: SinkContext,
    shared: Arc<Shared<S>>,
    cutter: Cutter,
    namer: Namer,
    /// Since when the process drains.
    draining: Option<Moment>,
    /// Requests under way at once, at most.
    requests: usize,
    /// Objects that the last process had begun.
    unfinished: VecDeque<(CutEntry, Lease)>,
    /// Objects that the task before this one had begun.
    given_back: VecDeque<(String, Lease)>,
    /// Objects in parts that no request is under way for.
    growing: HashMap<Arc<Partition>, Upload<S>>,
    /// Partitions whose growing object is in the hands of a request.
    busy: HashMap<Id, Arc<Partition>>,
    tasks: JoinSet<Left<S>>,
}

impl<S: ObjectStore> Driver<S> {
    fn new(context: SinkContext, objects: Objects, store: S, limits: Limits) -> Self {
        let retry = Retry::new(&context, objects.retry.clone());
        // An empty size would never let a block in.
        let size = objects.object.size.0.max(1);
        let age = own_age(objects.object.age.0, &context.writer);
        Self {
            cutter: Cutter { size, age, ack_wait: context.ack_wait, limits, whole: context.queue.is_on_disk() },
            namer: Namer::new(&context.writer, context.queue.sink(), &objects.extension),
            draining: context.is_draining().then(|| context.clock.now()),
            requests: requests(context.queue.fill_level().1, limits.part),
            shared: Arc::new(Shared {
                retry,
                store,
                objects,
                limits,
                metrics: context.metrics.clone(),
                queue: Arc::clone(&context.queue),
                dead_letters: context.dead_letters.clone(),
            }),
            unfinished: context.queue.unfinished().into(),
            given_back: VecDeque::new(),
            growing: HashMap::new(),
            busy: HashMap::new(),
            tasks: JoinSet::new(),
            context,
        }
    }

    fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.growing.is_empty() && self.unfinished.is_empty() && self.given_back.is_empty()
    }

    /// Brings what was begun to its end, and takes nothing more from the queue: that has another task.
    async fn finish(mut self) {
        // What has not begun again is left to the other, and so is what this task was told of last.
        self.given_back.drain(..).for_each(|(key, lease)| self.context.queue.give_back(key, lease));
        self.context.queue.look();
        loop {
            self.go_on();
            while self.tasks.len() < self.requests
                && let Some(partition) = self.growing.keys().next().cloned()
                && let Some(upload) = self.growing.remove(&partition)
            {
                self.tasks.spawn(async move {
                    upload.close(ClosedBy::Reload).await;
                    None
                });
            }
            match self.tasks.join_next_with_id().await {
                Some(done) => self.finished(done),
                None => return,
            }
        }
    }

    /// Begins anew what the last process or the last task left unfinished, as far as requests are free.
    fn go_on(&mut self) {
        if !self.context.is_handed_over() {
            self.given_back.extend(self.context.queue.take_given_back());
        }
        while self.tasks.len() < self.requests
            && let Some((cut, lease)) = self.unfinished.pop_front()
        {
            let whole = Whole::again(Arc::clone(&self.shared), cut.key, cut.upload, lease);
            self.tasks.spawn(whole_task(whole, "restart"));
        }
        while self.tasks.len() < self.requests
            && let Some((key, lease)) = self.given_back.pop_front()
        {
            let whole = Whole::again(Arc::clone(&self.shared), key, None, lease);
            self.tasks.spawn(whole_task(whole, "reload"));
        }
    }

    /// Begins what is due, as far as requests are free. Returns when to look again, unless something changes before.
    fn step(&mut self, now: Moment) -> Option<Moment> {
        self.go_on();
        loop {
            let mut candidates = self.candidates();
            // The oldest first, so that none starves behind a busy partition.
            candidates.sort_by_key(|candidate| candidate.opened);
            let (mut next, mut begun) = (None, false);
            for candidate in &candidates {
                if self.tasks.len() >= self.requests {
                    return None;
                }
                match self.cutter.verdict(candidate, now, self.draining) {
                    Verdict::Wait(due) => next = Some(next.map_or(due, |other: Moment| other.min(due))),
                    verdict => begun |= self.begin(candidate, verdict),
                }
            }
            if !begun && !self.relieve(&candidates) {
                return next;
            }
        }
    }

    /// Under pressure, closes an object that waits only for size or age: the largest, or on a disk the oldest.
    fn relieve(&mut self, candidates: &[Candidate]) -> bool {
        if self.tasks.len() >= self.requests {
            return false;
        }
        let (used, bound) = self.context.queue.pressure();
        // Room on a disk comes back by whole segments, and the oldest objects hold those; and what is not known one by
        // one can only come when what is known has gone.
        if self.cutter.whole && used >= bound / 4 * 3 {
            let Some(oldest) = candidates.iter().min_by_key(|candidate| candidate.opened) else { return false };
            let verdict = self.cutter.close(oldest, ClosedBy::Pressure);
            return self.begin(oldest, verdict);
        }
        let held = |candidate: &&Candidate| candidate.ready + candidate.pending;
        let waiting = candidates.iter().map(|candidate| held(&candidate)).sum();
        if !is_pressed(used, waiting, bound) && !self.context.queue.is_behind() {
            return false;
        }
        let Some(largest) = candidates.iter().max_by_key(held) else { return false };
        let verdict = self.cutter.close(largest, ClosedBy::Pressure);
        self.begin(largest, verdict)
    }

    /// Objects as they would be now, those left out that a request works on.
    fn candidates(&self) -> Vec<Candidate> {
        let waiting = self.context.queue.lanes();
        let unready = self.context.queue.is_filling();
        let mut ready: HashMap<Arc<Partition>, Candidate> = HashMap::with_capacity(waiting.len());
        for lane in waiting {
            let candidate = Candidate {
                partition: Arc::clone(&lane.partition),
                opened: lane.opened,
                awaited: lane.awaited_since,
                ready: lane.ready_bytes,
                unready,
                pending: 0,
                sent: 0,
                parts: 0,
            };
            ready.insert(lane.partition, candidate);
        }
        for partition in self.busy.values() {
            ready.remove(partition);
        }
        for (partition, upload) in &self.growing {
            let lane = ready.remove(partition);
            let candidate = Candidate {
                partition: Arc::clone(partition),
                opened: upload.opened,
                awaited: upload.awaited.into_iter().chain(lane.as_ref().and_then(|lane| lane.awaited)).min(),
                unready,
                ready: lane.map_or(0, |lane| lane.ready),
                pending: upload.pending(),
                sent: upload.sent,
                parts: upload.parts(),
            };
            ready.insert(Arc::clone(partition), candidate);
        }
        ready.into_values().collect()
    }

    /// Takes the blocks and begins the request. False if there was nothing to take.
    fn begin(&mut self, candidate: &Candidate, verdict: Verdict) -> bool {
        let (bytes, close) = match verdict {
            Verdict::Wait(_) => return false,
            Verdict::Part(bytes) => (bytes, None),
            Verdict::Close(bytes, by) => (bytes, Some(by)),
        };
        let partition = &candidate.partition;
        let mut lease = if bytes > 0 { self.context.queue.take(partition, bytes) } else { None };
        if let Some(lease) = lease.take_if(|_| self.cutter.whole) {
            let key = self.namer.key(partition, lease.first());
            let whole = Whole::new(Arc::clone(&self.shared), key, lease);
            self.tasks.spawn(whole_task(whole, close.map_or("", ClosedBy::as_str)));
            return true;
        }
        let upload = match (self.growing.remove(partition), lease) {
            (Some(mut upload), lease) => {
                lease.into_iter().for_each(|lease| upload.add(lease));
                upload
            }
            (None, Some(lease)) => {
                let key = self.namer.key(partition, lease.first());
                Upload::begin(Arc::clone(&self.shared), key, Arc::clone(partition), lease)
            }
            (None, None) => return false,
        };
        match close {
            Some(by) => drop(self.tasks.spawn(async move {
                upload.close(by).await;
                None
            })),
            None => {
                let task = self.tasks.spawn(upload.part());
                self.busy.insert(task.id(), Arc::clone(partition));
            }
        }
        true
    }

    fn finished(&mut self, done: Result<(Id, Left<S>), JoinError>) {
        match done {
            Ok((id, left)) => {
                self.busy.remove(&id);
                if let Some(upload) = left {
                    self.growing.insert(Arc::clone(&upload.partition), upload);
                }
            }
            Err(error) => {
                self.busy.remove(&error.id());
                tracing::error!(
                    sink = &*self.context.name,
                    "a request ended in a defect; its records are counted as abandoned, or wait on disk for the next start: \
                     {error}"
                );
            }
        }
    }
}

/// Sends a whole object; nothing is left of it.
async fn whole_task<S: ObjectStore>(whole: Whole<S>, by: &'static str) -> Left<S> {
    whole.send(by).await;
    None
}
