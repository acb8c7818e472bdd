//! The task of the sink: which stream's blocks leave when.
//!
//! Blocks of a stream leave when they fill a request, when the oldest is `batch.age` old, under memory pressure, and at
//! once in a drain; also where a sender waits for an ack, for requests are quota. Each flight takes about one request's
//! worth; a few fly at the same time for a stream, many for the sink, oldest first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};

use super::body::Target;
use super::config::CloudWatchLogsConfig;
use super::deliver::{Carried, Delivery};
use super::request::LIMITS;
use crate::aws::Access;
use crate::encode::{Moment, Partition};
use crate::sink::SinkContext;
use crate::spool::{LaneState, Lease};

/// Flights of one sink: with 300 ms a request, 64 of them carry 200 MB/s.
const MAX_FLIGHTS: usize = 64;

/// A flight needs its blocks (counted by the queue) and 1 to 2 MiB beside them, so a small queue has fewer.
const QUEUE_PER_FLIGHT: u64 = 4 << 20;

/// Enough to keep a slow target busy even from the smallest queue.
const MIN_FLIGHTS: usize = 2;

/// Of a request's bytes, what a flight aims at: the ratio of the blocks to come is a guess.
const AIM: f64 = 0.98;

/// Runs the sink until it is drained.
pub async fn run(context: SinkContext, config: CloudWatchLogsConfig) {
    let access = Access {
        region: config.region.clone(),
        role_arn: config.role_arn.clone(),
        external_id: config.external_id.clone(),
        attempt_timeout: config.retry.attempt_timeout.0,
        credentials: None,
    };
    run_with(context, config, access).await;
}

/// The same with credentials and timeouts of the caller's choice.
pub async fn run_with(context: SinkContext, config: CloudWatchLogsConfig, access: Access) {
    let delivery = Delivery::new(&context, &config, access);
    let flights = usize::try_from(context.queue.fill_level().1 / QUEUE_PER_FLIGHT).unwrap_or(MAX_FLIGHTS);
    let dispatcher = Dispatcher {
        age: config.batch.age.0,
        per_stream: config.in_flight.max(1) as usize,
        max_flights: flights.clamp(MIN_FLIGHTS, MAX_FLIGHTS),
        context,
        delivery,
        flights: JoinSet::new(),
        streams: HashMap::new(),
        of_task: HashMap::new(),
        ratio: 1.0,
    };
    dispatcher.run().await;
}

struct Dispatcher {
    age: Duration,
    per_stream: usize,
    max_flights: usize,
    context: SinkContext,
    delivery: Arc<Delivery>,
    flights: JoinSet<Carried>,
    /// Streams with flights, and how many.
    streams: HashMap<Arc<Partition>, (Arc<Target>, usize)>,
    of_task: HashMap<Id, Arc<Partition>>,
    /// What AWS counts for a byte of blocks: escapes make it less than one, the 26 bytes an event more.
    ratio: f64,
}

impl Dispatcher {
    async fn run(mut self) {
        let mut phase = self.context.phase.clone();
        loop {
            if self.context.is_handed_over() {
                // What this task was told of last may have been for the other.
                self.context.queue.look();
                while let Some(landed) = self.flights.join_next_with_id().await {
                    self.landed(landed);
                }
                return self.delivery.finish().await;
            }
            let draining = self.context.is_draining();
            let next = self.launch(draining);
            if draining && self.flights.is_empty() && self.context.queue.is_empty() {
                return self.delivery.finish().await;
            }
            let wake = next.map(|moment| self.context.clock.instant(moment));
            tokio::select! {
                () = self.context.queue.changed() => {}
                () = sleep_until(wake) => {}
                Some(landed) = self.flights.join_next_with_id() => self.landed(landed),
                // An error means that the pipeline is gone: the task is ended from outside.
                Ok(()) = phase.changed() => {}
            }
        }
    }

    /// Starts the flights that are due; when the next one will be, if time alone makes it so.
    fn launch(&mut self, draining: bool) -> Option<Moment> {
        let now = self.context.clock.now();
        let all = draining || self.context.queue.is_pressed();
        let mut next = None;
        // A handful that the task before this one had in flight; one more or less at a time does no harm.
        for (_, lease) in self.context.queue.take_given_back() {
            self.send(lease);
        }
        let mut lanes = self.context.queue.lanes();
        lanes.sort_by_key(|lane| lane.opened);
        for lane in lanes {
            // A flight that lands wakes the task again, so a lane that is held back here is not forgotten.
            while self.flights.len() < self.max_flights && self.flying(&lane.partition) < self.per_stream {
                let Some(lane) = self.context.queue.lane(&lane.partition).filter(|lane| lane.ready_blocks > 0) else {
                    break;
                };
                let due = lane.opened.saturating_add(self.age);
                if !(all || due <= now || self.fills(&lane)) {
                    next = Some(next.map_or(due, |next: Moment| next.min(due)));
                    break;
                }
                self.start(&lane.partition);
            }
        }
        next
    }

    fn flying(&self, partition: &Partition) -> usize {
        self.streams.get(partition).map_or(0, |(_, flights)| *flights)
    }

    /// Bytes of blocks that make about one request.
    fn flight_bytes(&self) -> u64 {
        (LIMITS.bytes as f64 * AIM / self.ratio) as u64
    }

    fn fills(&self, lane: &LaneState) -> bool {
        lane.ready_bytes >= self.flight_bytes() || lane.ready_records >= LIMITS.events as u64
    }

    fn start(&mut self, partition: &Arc<Partition>) {
        if let Some(lease) = self.context.queue.take(partition, self.flight_bytes()) {
            self.send(lease);
        }
    }

    /// Lets a flight begin; all blocks of a lease are of one partition.
    fn send(&mut self, lease: Lease) {
        let Some(partition) = lease.metas().next().map(|meta| Arc::clone(&meta.partition)) else { return };
        let Partition::Stream { group, stream } = &*partition else {
            // Its partitioner makes streams only; were it otherwise, the records would be counted, not stuck.
            lease.dropped("rejected");
            return;
        };
        let new = || (Arc::new(Target { group: group.clone(), stream: stream.clone() }), 0);
        let (target, flights) = self.streams.entry(Arc::clone(&partition)).or_insert_with(new);
        *flights += 1;
        let task = self.flights.spawn(Arc::clone(&self.delivery).fly(Arc::clone(target), lease));
        self.of_task.insert(task.id(), partition);
    }

    fn landed(&mut self, landed: Result<(Id, Carried), JoinError>) {
        let (id, carried) = match landed {
            Ok((id, carried)) => (id, carried),
            Err(error) => {
                tracing::error!(sink = %self.context.name, "a delivery ended early, its records are counted as abandoned: {error}");
                (error.id(), Carried::default())
            }
        };
        if let Some(partition) = self.of_task.remove(&id)
            && let Some((_, flights)) = self.streams.get_mut(&partition)
        {
            *flights -= 1;
            if *flights == 0 {
                self.streams.remove(&partition);
            }
        }
        if carried.block_bytes > 0 && carried.request_bytes > 0 {
            let seen = carried.request_bytes as f64 / carried.block_bytes as f64;
            // Bounds so that one odd block does not spoil the next flights.
            self.ratio = (0.8 * self.ratio + 0.2 * seen).clamp(0.25, 2.0);
        }
    }
}

async fn sleep_until(wake: Option<tokio::time::Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
