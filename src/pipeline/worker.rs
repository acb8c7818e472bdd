//! A worker: joins, routes and encodes batches of one source, synchronously. The way to it is `intake`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::outlet::{Appended, NONE, Outlet, Told};
use super::undecodable::Undecodable;
use crate::encode::{Count, Moment};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::record::{EcsMetadata, Record, RecordBatch, Tickets};
use crate::route::{Decision, Router};
use crate::source::Excerpt;
use crate::source::forward::JoinConfig;
use crate::source::join::{JoinCounts, Joiner};
use crate::spool::Queue;

/// What a batch changes in the books, entered at its end under one lock.
#[derive(Debug, Default)]
struct Tally {
    received: Count,
    routed: Count,
    discarded: Count,
    routes: Vec<Count>,
    sinks: Vec<Count>,
    malformed: Vec<Count>,
    /// By the full sink.
    diverted: Vec<Count>,
    /// By the sink that took over.
    taken_over: Vec<Count>,
}

impl Tally {
    fn of(routes: usize, sinks: usize) -> Self {
        let by_sink = || vec![NONE; sinks];
        Self {
            routes: vec![NONE; routes],
            sinks: by_sink(),
            malformed: by_sink(),
            diverted: by_sink(),
            taken_over: by_sink(),
            ..Self::default()
        }
    }
}

/// Joins, routes and encodes the batches of one source.
#[derive(Debug)]
pub(super) struct Worker {
    /// Index in the ledger.
    source: usize,
    name: Arc<str>,
    joiner: Option<Joiner>,
    /// What of the joiner's counts is in the metrics.
    told: JoinCounts,
    metrics: Metrics,
    router: Router,
    decision: Decision,
    /// By route: its index in the ledger.
    routes: Vec<usize>,
    /// By sink.
    outlets: Vec<Outlet>,
    /// By sink: which one takes its records when it is full.
    diverts: Vec<Option<usize>>,
    /// By sink: which one takes the records at hand.
    diverting: Vec<Option<usize>>,
    /// The sinks that take over a record; empty between records.
    instead: Vec<usize>,
    /// Bytes that open blocks may hold, all outlets together.
    open_limit: usize,
    pub(super) ecs: Option<Arc<EcsMetadata>>,
    /// Records should carry metadata; those that come before it are counted.
    pub(super) wants_metadata: bool,
    tally: Tally,
    ledger: Arc<Ledger>,
    /// By sink.
    pub(super) gates: Arc<[Gate]>,
    joined: Vec<RecordBatch>,
    undecodable: Option<Arc<Undecodable>>,
    /// When the next block or partial line is due; the timer sleeps until then.
    pub(super) due: Option<Moment>,
}

/// What a source may have to wait for.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) queue: Arc<Queue>,
    /// Whether this worker has ever routed to it.
    pub(super) reached: AtomicBool,
}

/// What a worker goes by; a reload brings others.
#[derive(Debug)]
pub(super) struct Rules {
    /// The conditions.
    pub router: Router,
    /// By route: its index in the ledger.
    pub routes: Vec<usize>,
    /// One a sink, in the plan's order.
    pub outlets: Vec<Outlet>,
    /// By sink: which one takes its records when it is full.
    pub diverts: Vec<Option<usize>>,
    /// Bytes that open blocks may hold.
    pub open_limit: usize,
}

/// What a worker is made of.
#[derive(Debug)]
pub(super) struct WorkerParts {
    /// Index in the ledger.
    pub source: usize,
    /// The source's name in the config.
    pub name: Arc<str>,
    /// Joins Docker's parts, if switched on.
    pub joiner: Option<Joiner>,
    /// For what the joiner counts.
    pub metrics: Metrics,
    /// What it goes by at first.
    pub rules: Rules,
    /// Where to leave what cannot be read.
    pub undecodable: Option<Arc<Undecodable>>,
}

impl Gate {
    pub(super) fn is_open(&self) -> bool {
        !self.reached.load(Ordering::Relaxed) || !self.queue.is_blocking()
    }
}

/// The gates of these outlets; those that were there before know what was reached.
fn gates(outlets: &[Outlet], before: &[Gate]) -> Arc<[Gate]> {
    let gate = |outlet: &Outlet| {
        let queue = Arc::clone(outlet.queue());
        let same = before.iter().find(|gate| Arc::ptr_eq(&gate.queue, &queue));
        let reached = same.is_some_and(|gate| gate.reached.load(Ordering::Relaxed));
        Gate { queue, reached: AtomicBool::new(reached) }
    };
    outlets.iter().map(gate).collect()
}

impl Worker {
    /// A worker that has seen nothing.
    pub(super) fn new(parts: WorkerParts, ledger: Arc<Ledger>) -> Self {
        let WorkerParts { source, name, joiner, metrics, rules, undecodable } = parts;
        let Rules { router, routes, outlets, diverts, open_limit } = rules;
        Self {
            source,
            name,
            joiner,
            told: JoinCounts::default(),
            metrics,
            router,
            decision: Decision::default(),
            diverting: vec![None; outlets.len()],
            instead: Vec::new(),
            tally: Tally::of(routes.len(), outlets.len()),
            gates: gates(&outlets, &[]),
            routes,
            outlets,
            diverts,
            open_limit,
            ecs: None,
            wants_metadata: false,
            ledger,
            joined: Vec::new(),
            undecodable,
            due: None,
        }
    }

    /// Goes by other rules from the next record on. `kept` tells by sink which outlet of the rules before it stays in
    /// its place, with its open blocks; those of the others are sealed and go to their queues. Must be called within a
    /// tokio runtime.
    pub(super) fn change(&mut self, rules: Rules, kept: &[Option<usize>], join: Option<&JoinConfig>, now: Moment) {
        let Rules { router, routes, outlets, diverts, open_limit } = rules;
        let mut before: Vec<Option<Outlet>> = self.outlets.drain(..).map(Some).collect();
        let in_place = |(fresh, kept): (Outlet, &Option<usize>)| match kept.and_then(|at| before[at].take()) {
            Some(mut outlet) => {
                outlet.set_config(fresh.config());
                outlet
            }
            None => fresh,
        };
        self.outlets = outlets.into_iter().zip(kept).map(in_place).collect();
        for mut left in before.into_iter().flatten() {
            left.seal_all();
            left.dispatch(now, Told::Later);
        }
        self.tally = Tally::of(routes.len(), self.outlets.len());
        self.gates = gates(&self.outlets, &self.gates);
        self.diverting = vec![None; diverts.len()];
        (self.router, self.routes, self.diverts, self.open_limit) = (router, routes, diverts, open_limit);
        if let Some(join) = join {
            self.join_by(join, now);
        }
        self.dispatch(now, Told::Later);
        // Times may have become shorter.
        self.due = Some(now);
    }

    /// Joins and routes a batch.
    pub(super) fn take(&mut self, batch: RecordBatch, now: Moment, sender: Told) {
        let mut joined = std::mem::take(&mut self.joined);
        match &mut self.joiner {
            Some(joiner) => {
                joiner.join(batch, now, &mut |batch| joined.push(batch));
                if let Some(due) = joiner.next_deadline() {
                    self.due_by(due);
                }
            }
            None => joined.push(batch),
        }
        self.route_all(joined, now);
        self.dispatch(now, sender);
    }

    /// Nothing will come any more: lets partial lines go and seals every block.
    pub(super) fn finish(&mut self, now: Moment) {
        let mut joined = std::mem::take(&mut self.joined);
        if let Some(joiner) = &mut self.joiner {
            joiner.flush(&mut |batch| joined.push(batch));
        }
        self.route_all(joined, now);
        self.outlets.iter_mut().for_each(Outlet::seal_all);
        self.dispatch(now, Told::Later);
    }

    /// Whether a sender waits until a record in an open block is durable.
    pub(super) fn is_awaited(&self) -> bool {
        self.outlets.iter().any(Outlet::is_awaited)
    }

    /// Whether some of that could be sealed now.
    pub(super) fn is_overlooked(&self) -> bool {
        self.outlets.iter().any(Outlet::is_overlooked)
    }

    /// Counts records that could not be taken.
    pub(super) fn refuse(&self, reason: &'static str, count: Count) {
        let mut books = self.ledger.books();
        let book = &mut books.sources[self.source];
        book.received += count;
        *book.dropped.entry(reason).or_default() += count;
    }

    /// Routes and encodes batches and enters them in the books. Sealed blocks still wait for [`Worker::dispatch`].
    fn route_all(&mut self, mut batches: Vec<RecordBatch>, now: Moment) {
        for batch in batches.drain(..) {
            self.route(&batch, now);
        }
        self.joined = batches;
        self.enter();
    }

    fn route(&mut self, batch: &RecordBatch, now: Moment) {
        if self.wants_metadata && self.ecs.is_none() {
            self.metrics.event(&self.name, "without_metadata", batch.records.len() as u64);
        }
        // Queues are filled when the batch is done, so that once a batch is often enough to ask.
        for ((now, planned), outlet) in self.diverting.iter_mut().zip(&self.diverts).zip(&self.outlets) {
            *now = planned.filter(|_| outlet.queue().is_full());
        }
        let (source, ecs) = (Arc::clone(&self.name), self.ecs.clone());
        for &span in &batch.records {
            let map = batch.map(span);
            let record = Record {
                tag: &batch.tag,
                source: &source,
                time: span.time,
                received: batch.received,
                map,
                ecs: ecs.as_ref(),
                json: Default::default(),
            };
            let one = Count { records: 1, bytes: map.len() as u64 };
            self.router.decide(&record, &mut self.decision);
            self.tally.received += one;
            for &route in &self.decision.routes {
                self.tally.routes[usize::from(route)] += one;
            }
            if self.decision.sinks.is_empty() {
                self.tally.discarded += one;
                continue;
            }
            self.tally.routed += one;
            for at in 0..self.decision.sinks.len() {
                let sink = usize::from(self.decision.sinks[at]);
                self.tally.sinks[sink] += one;
                match self.diverting[sink] {
                    Some(to) => {
                        self.tally.diverted[sink] += one;
                        let has_it = self.decision.sinks.iter().any(|sink| usize::from(*sink) == to);
                        if !has_it && !self.instead.contains(&to) {
                            self.instead.push(to);
                        }
                    }
                    None => self.append(sink, &record, &batch.tickets, now),
                }
            }
            while let Some(to) = self.instead.pop() {
                self.tally.sinks[to] += one;
                self.tally.taken_over[to] += one;
                self.append(to, &record, &batch.tickets, now);
            }
        }
    }

    fn append(&mut self, sink: usize, record: &Record<'_>, tickets: &Tickets, now: Moment) {
        match self.outlets[sink].append(record, tickets, now) {
            Appended::Until(due) => self.due_by(due),
            Appended::Malformed => {
                self.tally.malformed[sink] += Count { records: 1, bytes: record.map.len() as u64 };
                if let Some(undecodable) = &self.undecodable {
                    undecodable.leave("malformed", "", &Excerpt::of(record.map));
                }
            }
        }
    }

    /// Enters the tally in the books.
    fn enter(&mut self) {
        let mut books = self.ledger.books();
        let tally = &mut self.tally;
        let source = &mut books.sources[self.source];
        source.received += std::mem::take(&mut tally.received);
        source.routed += std::mem::take(&mut tally.routed);
        if tally.discarded != NONE {
            *source.dropped.entry("route").or_default() += std::mem::take(&mut tally.discarded);
        }
        for (route, count) in self.routes.iter().zip(&mut tally.routes) {
            books.routes[*route].matched += std::mem::take(count);
        }
        for (sink, gate) in self.gates.iter().enumerate() {
            let book = &mut books.sinks[gate.queue.sink()];
            let (accepted, malformed) =
                (std::mem::take(&mut tally.sinks[sink]), std::mem::take(&mut tally.malformed[sink]));
            book.accepted += accepted;
            book.open += accepted;
            if accepted != NONE {
                gate.reached.store(true, Ordering::Relaxed);
            }
            let (diverted, taken_over) =
                (std::mem::take(&mut tally.diverted[sink]), std::mem::take(&mut tally.taken_over[sink]));
            book.diverted += taken_over;
            if diverted != NONE {
                book.open -= diverted;
                *book.dropped.entry("diverted").or_default() += diverted;
            }
            if malformed != NONE {
                book.open -= malformed;
                *book.dropped.entry("malformed").or_default() += malformed;
            }
        }
    }

    /// A sync has ended. What all workers have that waits for one goes into the next, whoever of them is told first.
    pub(super) fn synced(&mut self, now: Moment) {
        self.outlets.iter_mut().for_each(Outlet::seal_awaited_now);
        self.dispatch(now, Told::Later);
    }

    /// Hands sealed blocks on.
    pub(super) fn dispatch(&mut self, now: Moment, sender: Told) {
        self.tell_joined();
        self.outlets.iter_mut().for_each(Outlet::seal_awaited);
        while self.outlets.iter().map(Outlet::open_bytes).sum::<usize>() > self.open_limit {
            if let Some(outlet) = self.outlets.iter_mut().max_by_key(|outlet| outlet.open_bytes()) {
                outlet.seal_largest();
            }
        }
        self.outlets.iter_mut().for_each(|outlet| outlet.dispatch(now, sender));
    }

    /// Joins by another config.
    fn join_by(&mut self, config: &JoinConfig, now: Moment) {
        match &mut self.joiner {
            Some(joiner) if config.enabled => joiner.bound(config),
            Some(joiner) => {
                let mut joined = std::mem::take(&mut self.joined);
                joiner.flush(&mut |batch| joined.push(batch));
                self.route_all(joined, now);
                self.tell_joined();
                (self.joiner, self.told) = (None, JoinCounts::default());
            }
            None => self.joiner = config.enabled.then(|| Joiner::new(config)),
        }
    }

    /// Brings what the joiner has counted into the metrics.
    fn tell_joined(&mut self) {
        let counts = self.joiner.as_ref().map(Joiner::counts).unwrap_or_default();
        if counts != self.told {
            for ((kind, now), (_, before)) in counts.kinds().into_iter().zip(self.told.kinds()) {
                self.metrics.event(&self.name, kind, now - before);
            }
            self.told = counts;
        }
    }

    pub(super) fn on_time(&mut self, now: Moment) {
        self.due = None;
        let mut joined = std::mem::take(&mut self.joined);
        if let Some(joiner) = &mut self.joiner {
            joiner.expire(now, &mut |batch| joined.push(batch));
            if let Some(due) = joiner.next_deadline() {
                self.due_by(due);
            }
        }
        self.route_all(joined, now);
        for at in 0..self.outlets.len() {
            if let Some(due) = self.outlets[at].seal_due(now) {
                self.due_by(due);
            }
        }
        self.dispatch(now, Told::Later);
    }

    fn due_by(&mut self, due: Moment) {
        if self.due.is_none_or(|known| due < known) {
            self.due = Some(due);
        }
    }
}
