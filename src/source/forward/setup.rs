//! What a source runs with: its sockets, and the settings of the connections that it accepts. A running source can be
//! given another; connections that are open keep the settings that they were accepted with.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use tokio::net::{TcpListener, UdpSocket, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::accept::Sockets;
use super::budget::Budget;
use super::connection::Shared;
use super::door::{Door, Strangers};
use super::handshake::Keys;
use super::listen::{Listeners, Socket};
use super::serve::{Resources, answer_heartbeats};
use super::tls::Tls;
use super::{ForwardConfig, ForwardLimits};

/// Sockets and settings of a source.
pub struct Setup {
    sockets: Sockets,
    udp: Vec<UdpSocket>,
    tls: Option<Arc<Tls>>,
    config: ForwardConfig,
    budget: Arc<Budget>,
}

impl Setup {
    /// Must be called within a tokio runtime. `budget` is what connections may hold beyond their small buffers.
    pub fn new(listeners: Listeners, config: &ForwardConfig, budget: Arc<Budget>) -> io::Result<Self> {
        let (mut sockets, mut udp) = (Sockets::default(), Vec::new());
        for bound in listeners.bound {
            match bound.socket {
                Socket::Unix(listener, file) => sockets.unix.push((UnixListener::from_std(listener)?, file)),
                Socket::Tcp(listener, heartbeats) => {
                    sockets.tcp.push(TcpListener::from_std(listener)?);
                    udp.extend(heartbeats.map(UdpSocket::from_std).transpose()?);
                }
                Socket::Tls(listener) => sockets.tls.push(TcpListener::from_std(listener)?),
            }
        }
        Ok(Self { sockets, udp, tls: listeners.certificate.map(Arc::new), config: config.clone(), budget })
    }
}

/// A setup at work.
pub(super) struct Active {
    pub(super) sockets: Sockets,
    pub(super) shared: Arc<Shared>,
    pub(super) door: Arc<Door>,
    /// Heartbeats and the look after the certificate.
    beside: JoinSet<()>,
}

impl Active {
    /// Accepts nobody any more.
    pub(super) fn close(&mut self) {
        self.sockets = Sockets::default();
        self.beside.abort_all();
    }
}

/// What outlives a setup: counts of all connections of the source.
#[derive(Debug)]
pub(super) struct Lasting {
    activity: Arc<AtomicU64>,
    busy: Arc<AtomicUsize>,
    permits: Arc<Semaphore>,
    strangers: Arc<Strangers>,
    /// Permits that the semaphore has, in use or not, once `paying` are gone.
    connections: usize,
    /// Take permits away as they come back.
    paying: JoinSet<()>,
}

impl Default for Lasting {
    fn default() -> Self {
        Self {
            activity: Arc::default(),
            busy: Arc::default(),
            permits: Arc::new(Semaphore::new(0)),
            strangers: Arc::new(Strangers::new()),
            connections: 0,
            paying: JoinSet::new(),
        }
    }
}

impl Lasting {
    /// Begins with a setup, or goes over to it.
    pub(super) fn begin(&mut self, setup: Setup, name: &str, resources: &Resources) -> Active {
        let Setup { sockets, udp, tls, config, budget } = setup;
        self.allow(&config.limits);
        let shared = Shared {
            clock: resources.clock,
            ack: config.ack.unwrap_or_default(),
            frame_bound: config.limits.frame.0,
            inflated_bound: config.limits.inflated.0,
            frame_time: config.limits.frame_time.0,
            stats: Arc::clone(&resources.stats),
            budget,
            activity: Arc::clone(&self.activity),
            busy: Arc::clone(&self.busy),
        };
        let mut beside = JoinSet::new();
        for socket in udp {
            beside.spawn(answer_heartbeats(socket, Arc::clone(&resources.stats)));
        }
        if let Some(tls) = &tls {
            beside.spawn(Arc::clone(tls).keep_fresh(name.to_owned(), Arc::clone(&resources.stats)));
        }
        let door = Door {
            tls,
            keys: config.auth.as_ref().map(Keys::new),
            time: config.limits.handshake_time.0,
            permits: Arc::clone(&self.permits),
            strangers: Arc::clone(&self.strangers),
        };
        Active { sockets, shared: Arc::new(shared), door: Arc::new(door), beside }
    }

    /// Makes the permits as many as there may be connections; with fewer than before, those in use go when their
    /// connections do.
    fn allow(&mut self, limits: &ForwardLimits) {
        let wanted = (limits.connections as usize).clamp(1, Semaphore::MAX_PERMITS);
        let before = std::mem::replace(&mut self.connections, wanted);
        while self.paying.try_join_next().is_some() {}
        if wanted > before {
            self.permits.add_permits(wanted - before);
        }
        let less = before.saturating_sub(wanted);
        let in_use = less - self.permits.forget_permits(less);
        if let Ok(in_use @ 1..) = u32::try_from(in_use) {
            let permits = Arc::clone(&self.permits);
            self.paying.spawn(async move {
                if let Ok(permits) = permits.acquire_many_owned(in_use).await {
                    permits.forget();
                }
            });
        }
    }
}
