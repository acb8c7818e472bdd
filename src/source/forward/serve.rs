//! A source at work: one task a connection, until the source is told to end; its setup may change meanwhile.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::split;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::connection::{self, End, Shared, Stage};
use super::door::{Door, Entry, Guest, Stream};
use super::gather::{Gather, LONGEST};
use super::lanes::{Lane, Lanes};
use super::setup::{Active, Lasting, Setup};
use super::stats::ForwardStats;
use super::tls::HangUpIsEnd;
use crate::clock::Clock;
use crate::source::{Intake, Phase, Shutdown};

/// Pause after an error of `accept`: out of file descriptors, most often, and the waiting connection would give the
/// same error again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// In a drain, how often a quiet time is looked at for signs of life.
const LOOKS: u32 = 4;

/// What a source is given to work with.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Times of receipt.
    pub clock: Clock,
    /// Where it counts.
    pub stats: Arc<ForwardStats>,
}

/// Serves the sockets of a setup until `shutdown` says that it is enough; what comes over `changes` takes the place of
/// the setup before it. `name` is the source's name, for its log; each of `intakes`, one or more, is the way to a worker.
/// Owns all tasks of its connections: dropping the
/// future ends them at once.
pub async fn serve<I: Intake>(
    setup: Setup,
    name: &str,
    intakes: Vec<I>,
    resources: Resources,
    mut changes: mpsc::Receiver<Setup>,
    mut shutdown: Shutdown,
) {
    let mut lasting = Lasting::default();
    let active = lasting.begin(setup, name, &resources);
    let lanes = Lanes::new(intakes);
    let mut source = Source {
        name,
        lanes,
        resources,
        lasting,
        active,
        tasks: JoinSet::new(),
        stage: watch::Sender::new(Stage::Reading),
    };
    let (reading, over) = mpsc::channel(1);
    source.read(reading, &mut changes, &mut shutdown).await;
    source.finish(over, shutdown).await;
}

struct Source<'a, I> {
    name: &'a str,
    lanes: Lanes<I>,
    resources: Resources,
    lasting: Lasting,
    active: Active,
    tasks: JoinSet<End>,
    stage: watch::Sender<Stage>,
}

impl<I: Intake> Source<'_, I> {
    fn activity(&self) -> u64 {
        self.active.shared.activity.load(Ordering::Relaxed)
    }

    /// Accepts until the drain is over. Each connection holds a clone of `reading` while it reads.
    async fn read(
        &mut self,
        reading: mpsc::Sender<Infallible>,
        changes: &mut mpsc::Receiver<Setup>,
        shutdown: &mut Shutdown,
    ) {
        let mut drain = Drain::of(shutdown.phase(), self.activity());
        loop {
            if shutdown.phase() == Phase::End {
                return;
            }
            tokio::select! {
                accepted = self.active.sockets.accept(&self.active.door) => match accepted {
                    Ok((stream, entry)) => self.accepted(stream, entry, reading.clone()),
                    Err(error) => {
                        self.resources.stats.accept_errors.add(1);
                        tracing::warn!(source = self.name, %error, "cannot accept a connection");
                        self.active.sockets.pause = Some(Instant::now() + ACCEPT_PAUSE);
                    }
                },
                Some(ended) = self.tasks.join_next() => self.ended(ended),
                Some(setup) = changes.recv() => {
                    self.active = self.lasting.begin(setup, self.name, &self.resources);
                }
                phase = shutdown.changed() => match phase {
                    Phase::End => return,
                    phase => drain = drain.or_else(|| Drain::of(phase, self.activity())),
                },
                () = Drain::look(drain.as_ref()) => {
                    if let Some(drain) = &mut drain && drain.is_over(&self.active.shared, self.tasks.is_empty()) {
                        return;
                    }
                }
            }
        }
    }

    fn accepted(&mut self, stream: Stream, entry: Entry, reading: mpsc::Sender<Infallible>) {
        self.resources.stats.connections.add(1);
        self.resources.stats.open.add(1);
        self.active.shared.activity.fetch_add(1, Ordering::Relaxed);
        let (peer, lane) = (stream.peer(), self.lanes.least_used());
        let (shared, door) = (Arc::clone(&self.active.shared), Arc::clone(&self.active.door));
        self.tasks.spawn(converse(stream, entry, peer, (shared, door), lane, reading, self.stage.subscribe()));
    }

    fn ended(&self, ended: Result<End, JoinError>) {
        let stats = &self.resources.stats;
        stats.open.sub(1);
        let (reason, why) = match &ended {
            Ok(end) => match end.reason() {
                Some(reason) => (reason, end.to_string()),
                // Senders without keep-alive and fluentd's heartbeats come and go all the time.
                None => return tracing::debug!(source = self.name, "connection {end}"),
            },
            Err(error) => ("panic", error.to_string()),
        };
        // A storm of the same mistake is told at its 1st, 2nd, 4th, 8th time, and counted in the metrics.
        let times = stats.end(reason);
        if reason != "io" && times.is_power_of_two() {
            tracing::warn!(source = self.name, reason, times, "connection ended: {why}");
        } else {
            tracing::debug!(source = self.name, reason, times, "connection ended: {why}");
        }
    }

    /// Waits for the acks that were promised, until the phase says that no more will come.
    async fn finish(mut self, mut reading: mpsc::Receiver<Infallible>, mut shutdown: Shutdown) {
        self.active.close();
        self.stage.send_replace(Stage::AcksOnly);
        // Until a connection has left its reading behind, it may hand over more.
        while reading.recv().await.is_some() {}
        shutdown.reading_is_over();
        loop {
            let end = shutdown.phase() == Phase::End;
            if end {
                self.stage.send_replace(Stage::Closing);
            }
            tokio::select! {
                ended = self.tasks.join_next() => match ended {
                    Some(ended) => self.ended(ended),
                    None => return,
                },
                phase = shutdown.changed(), if !end => {
                    if phase == Phase::End {
                        self.stage.send_replace(Stage::Closing);
                    }
                }
            }
        }
    }
}

/// A connection from its door to its end.
async fn converse<I: Intake>(
    stream: Stream,
    entry: Entry,
    peer: String,
    (shared, door): (Arc<Shared>, Arc<Door>),
    lane: Lane<I>,
    reading: mpsc::Sender<Infallible>,
    mut stage: watch::Receiver<Stage>,
) -> End {
    let admitted = tokio::select! {
        admitted = door.admit(stream, entry) => admitted,
        _ = stage.wait_for(|stage| *stage != Stage::Reading) => Err(End::Drained),
    };
    let (guest, _permit) = match admitted {
        Ok(admitted) => admitted,
        Err(end) => return end,
    };
    shared.activity.fetch_add(1, Ordering::Relaxed);
    match guest {
        Guest::Unix(stream) => {
            let (reader, writer) = split(Gather::new(stream, shared.clock));
            connection::run(reader, writer, &shared, &*lane, &peer, reading, stage).await
        }
        Guest::Tcp(stream) => {
            let (reader, writer) = split(Gather::new(stream, shared.clock));
            connection::run(reader, writer, &shared, &*lane, &peer, reading, stage).await
        }
        Guest::Tls(stream) => {
            let (reader, writer) = split(*stream);
            connection::run(HangUpIsEnd(reader), writer, &shared, &*lane, &peer, reading, stage).await
        }
    }
}

/// A drain that goes on: quiet when nothing came between [`LOOKS`] looks in a row, and nobody waits for room.
#[derive(Debug)]
struct Drain {
    quiet: Duration,
    deadline: Instant,
    next_look: Instant,
    /// What the activity was at the last look, and for how many looks it has been that.
    seen: u64,
    still: u32,
}

impl Drain {
    fn of(phase: Phase, activity: u64) -> Option<Self> {
        let Phase::Drain { quiet, deadline } = phase else { return None };
        // Within the pauses of a socket that is gathered nothing is heard of it.
        let quiet = quiet.max(LONGEST * LOOKS);
        let mut drain = Self { quiet, deadline, next_look: Instant::now(), seen: activity, still: 0 };
        drain.plan();
        Some(drain)
    }

    fn plan(&mut self) {
        self.next_look = (Instant::now() + self.quiet / LOOKS).min(self.deadline);
    }

    /// Comes back when it is time to look; never while there is no drain. Cancel safe.
    async fn look(drain: Option<&Self>) {
        match drain {
            Some(drain) => sleep_until(drain.next_look).await,
            None => std::future::pending().await,
        }
    }

    fn is_over(&mut self, shared: &Shared, closed: bool) -> bool {
        let activity = shared.activity.load(Ordering::Relaxed);
        let busy = shared.busy.load(Ordering::Relaxed) > 0;
        self.still = if activity == self.seen && !busy { self.still + 1 } else { 0 };
        self.seen = activity;
        self.plan();
        Instant::now() >= self.deadline || self.still >= LOOKS || (closed && self.still > 0)
    }
}

/// Answers fluentd's UDP heartbeats: a NUL for a NUL. Anything else stays without an answer.
pub(super) async fn answer_heartbeats(socket: UdpSocket, stats: Arc<ForwardStats>) {
    let mut datagram = [0; 2];
    loop {
        match socket.recv_from(&mut datagram).await {
            Ok((1, peer)) if datagram[0] == 0 => {
                stats.heartbeats.add(1);
                // A heartbeat may get lost; the peer sends the next one.
                let _ = socket.send_to(&[0], peer).await;
            }
            Ok(_) => {}
            // An answer that came back as unreachable; it says nothing about the next heartbeat.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;
    use crate::record::RecordBatch;
    use crate::source::forward::AckMode;
    use crate::source::forward::budget::Budget;
    use crate::source::forward::door::Strangers;

    /// So much a connection's task may take, beside what its intake waits with: a thousand of them take 2 MiB.
    const TASK: usize = 2200;

    #[derive(Clone, Debug)]
    struct Nobody;

    impl Intake for Nobody {
        fn take(&self, _: RecordBatch) {}

        async fn room(&self) {}

        fn refuse(&self, _: &'static str, _: u64, _: u64) {}
    }

    #[tokio::test]
    async fn the_task_of_a_connection_is_small() {
        let (stream, _peer) = UnixStream::pair().expect("a pair of sockets");
        let shared = Shared {
            clock: Clock::start(),
            ack: AckMode::Received,
            frame_bound: 1 << 20,
            inflated_bound: 1 << 20,
            frame_time: Duration::from_secs(30),
            stats: Arc::default(),
            budget: Arc::new(Budget::new(1 << 20)),
            activity: Arc::default(),
            busy: Arc::default(),
        };
        let door = Door {
            tls: None,
            keys: None,
            time: Duration::from_secs(10),
            permits: Arc::new(tokio::sync::Semaphore::new(1)),
            strangers: Arc::new(Strangers::new()),
        };
        let (reading, stage) = (mpsc::channel(1).0, watch::channel(Stage::Reading).1);
        let lane = Lanes::new(vec![Nobody]).least_used();
        let (stream, entry, both) = (Stream::Unix(stream), Entry::Free(None), (Arc::new(shared), Arc::new(door)));
        let task = converse(stream, entry, "unix".into(), both, lane, reading, stage);
        assert!(size_of_val(&task) <= TASK, "{}", size_of_val(&task));
    }
}
