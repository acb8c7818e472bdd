//! Accepting: connections within their bound, one task each, until the source is told to end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::ForwardConfig;
use super::budget::Budget;
use super::connection::{self, End, Shared, Stage};
use super::listen::{Listeners, SocketFile};
use super::stats::ForwardStats;
use crate::clock::Clock;
use crate::source::{Intake, Phase, Shutdown};

/// Pause after an error of `accept`: out of file descriptors, most often, and the waiting connection would give the
/// same error again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A peer that answers no probe for two minutes is gone. Load balancers drop idle connections after 350 s (NLB); the
/// probes keep them open as well.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// In a drain, how often a quiet time is looked at for signs of life.
const LOOKS: u32 = 4;

/// What a source is given to work with.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Times of receipt.
    pub clock: Clock,
    /// Where it counts.
    pub stats: Arc<ForwardStats>,
    /// What its connections may hold beyond their small buffers.
    pub budget: Arc<Budget>,
}

/// Serves the bound sockets until `shutdown` says that it is enough; `name` is the source's name, for its log. Owns
/// all tasks of its connections: dropping the future ends them at once.
pub async fn serve<I: Intake>(
    listeners: Listeners,
    config: &ForwardConfig,
    name: &str,
    intake: I,
    resources: Resources,
    mut shutdown: Shutdown,
) -> io::Result<()> {
    let Resources { clock, stats, budget } = resources;
    let shared = Arc::new(Shared {
        intake,
        clock,
        ack: config.ack.unwrap_or_default(),
        frame_bound: config.limits.frame.0,
        inflated_bound: config.limits.inflated.0,
        frame_time: config.limits.frame_time.0,
        stats,
        budget,
        activity: Default::default(),
        busy: Default::default(),
    });
    let connections = (config.limits.connections as usize).clamp(1, Semaphore::MAX_PERMITS);
    let mut source = Source {
        name,
        shared,
        permits: Arc::new(Semaphore::new(connections)),
        tasks: JoinSet::new(),
        stage: watch::Sender::new(Stage::Reading),
    };
    let (sockets, udp) = Sockets::open(listeners)?;
    let mut heartbeats = JoinSet::new();
    for socket in udp {
        heartbeats.spawn(answer_heartbeats(socket, Arc::clone(&source.shared.stats)));
    }
    let (reading, over) = mpsc::channel(1);
    source.read(sockets, reading, &mut shutdown).await;
    drop(heartbeats);
    source.stage.send_replace(Stage::AcksOnly);
    source.finish(over, shutdown).await;
    Ok(())
}

struct Source<'a, I> {
    name: &'a str,
    shared: Arc<Shared<I>>,
    permits: Arc<Semaphore>,
    tasks: JoinSet<End>,
    stage: watch::Sender<Stage>,
}

impl<I: Intake> Source<'_, I> {
    fn activity(&self) -> u64 {
        self.shared.activity.load(Ordering::Relaxed)
    }

    /// Accepts until the drain is over. Each connection holds a clone of `reading` while it reads.
    async fn read(&mut self, mut sockets: Sockets, reading: mpsc::Sender<Infallible>, shutdown: &mut Shutdown) {
        let mut drain = Drain::of(shutdown.phase(), self.activity());
        loop {
            if shutdown.phase() == Phase::End {
                return;
            }
            let permits = Arc::clone(&self.permits);
            tokio::select! {
                accepted = sockets.accept(permits) => match accepted {
                    Ok((stream, permit)) => self.accepted(stream, permit, reading.clone()),
                    Err(error) => {
                        self.shared.stats.accept_errors.add(1);
                        tracing::warn!(source = self.name, %error, "cannot accept a connection");
                        sockets.pause = Some(Instant::now() + ACCEPT_PAUSE);
                    }
                },
                Some(ended) = self.tasks.join_next() => self.ended(ended),
                phase = shutdown.changed() => match phase {
                    Phase::End => return,
                    phase => drain = drain.or_else(|| Drain::of(phase, self.activity())),
                },
                () = Drain::look(drain.as_ref()) => {
                    if let Some(drain) = &mut drain && drain.is_over(&self.shared, self.tasks.is_empty()) {
                        return;
                    }
                }
            }
        }
    }

    fn accepted(&mut self, stream: Stream, permit: OwnedSemaphorePermit, reading: mpsc::Sender<Infallible>) {
        self.shared.stats.connections.add(1);
        self.shared.stats.open.add(1);
        self.shared.activity.fetch_add(1, Ordering::Relaxed);
        let (shared, stage) = (Arc::clone(&self.shared), self.stage.subscribe());
        self.tasks.spawn(async move {
            let _permit = permit;
            match stream {
                Stream::Unix(stream) => {
                    let (reader, writer) = stream.into_split();
                    connection::run(reader, writer, &shared, reading, stage).await
                }
                Stream::Tcp(stream) => {
                    let (reader, writer) = stream.into_split();
                    connection::run(reader, writer, &shared, reading, stage).await
                }
            }
        });
    }

    fn ended(&self, ended: Result<End, JoinError>) {
        let stats = &self.shared.stats;
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

    fn is_over<I>(&mut self, shared: &Shared<I>, closed: bool) -> bool {
        let activity = shared.activity.load(Ordering::Relaxed);
        let busy = shared.busy.load(Ordering::Relaxed) > 0;
        self.still = if activity == self.seen && !busy { self.still + 1 } else { 0 };
        self.seen = activity;
        self.plan();
        Instant::now() >= self.deadline || self.still >= LOOKS || (closed && self.still > 0)
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// The listening sockets; dropping them removes the files of unix sockets.
struct Sockets {
    unix: Vec<(UnixListener, SocketFile)>,
    tcp: Vec<TcpListener>,
    /// Whose turn it is to be asked first, so that a busy socket does not starve the others.
    turn: usize,
    /// When to accept again after an error.
    pause: Option<Instant>,
    /// Whether connections wait for a permit, and this was said.
    full: bool,
}

impl Sockets {
    fn open(listeners: Listeners) -> io::Result<(Self, Vec<UdpSocket>)> {
        let mut sockets = Self { unix: Vec::new(), tcp: Vec::new(), turn: 0, pause: None, full: false };
        for (listener, file) in listeners.unix {
            sockets.unix.push((UnixListener::from_std(listener)?, file));
        }
        for listener in listeners.tcp {
            sockets.tcp.push(TcpListener::from_std(listener)?);
        }
        let udp = listeners.udp.into_iter().map(UdpSocket::from_std).collect::<io::Result<_>>()?;
        Ok((sockets, udp))
    }

    /// The next connection, once there is a permit for it. Cancel safe: what was not accepted goes on waiting.
    async fn accept(&mut self, permits: Arc<Semaphore>) -> io::Result<(Stream, OwnedSemaphorePermit)> {
        if let Some(pause) = self.pause {
            sleep_until(pause).await;
            self.pause = None;
        }
        if permits.available_permits() == 0 && !std::mem::replace(&mut self.full, true) {
            tracing::warn!("all `limits.connections` are in use; further peers wait for one to close");
        }
        let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
        self.full = false;
        let stream = poll_fn(|context| self.poll_accept(context)).await?;
        if let Stream::Tcp(stream) = &stream {
            tune(stream);
        }
        Ok((stream, permit))
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let all = self.unix.len() + self.tcp.len();
        for _ in 0..all {
            let turn = self.turn % all;
            self.turn = turn + 1;
            let polled = match self.unix.get(turn) {
                Some((unix, _)) => unix.poll_accept(context).map_ok(|(stream, _)| Stream::Unix(stream)),
                None => self.tcp[turn - self.unix.len()].poll_accept(context).map_ok(|(stream, _)| Stream::Tcp(stream)),
            };
            match polled {
                Poll::Pending => {}
                // The peer was gone before its turn came.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {
                    context.waker().wake_by_ref();
                }
                ready => return ready,
            }
        }
        Poll::Pending
    }
}

/// Acks are small and wanted at once. Peers that vanished without a word are found by keep-alive probes, since a quiet
/// connection is never closed otherwise and would hold its permit for ever. Without either, all works, less well.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE);
    let _ = sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES);
}

/// Answers fluentd's UDP heartbeats: a NUL for a NUL. Anything else stays without an answer.
async fn answer_heartbeats(socket: UdpSocket, stats: Arc<ForwardStats>) {
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
