//! The listening sockets of a source: whose turn it is to be accepted, within what the door has room for.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::{Instant, sleep_until};

use super::door::{Door, Entry, Stream};
use super::listen::SocketFile;

/// A peer that answers no probe for two minutes is gone. Load balancers drop idle connections after 350 s (NLB); the
/// probes keep them open as well.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// The listening sockets; dropping them removes the files of unix sockets.
#[derive(Default)]
pub(super) struct Sockets {
    pub(super) unix: Vec<(UnixListener, Arc<SocketFile>)>,
    pub(super) tcp: Vec<TcpListener>,
    pub(super) tls: Vec<TcpListener>,
    /// Whose turn it is to be asked first, so that a busy socket does not starve the others.
    turn: usize,
    /// When to accept again after an error.
    pub(super) pause: Option<Instant>,
    /// Whether connections wait for a permit, and this was said.
    full: bool,
}

impl Sockets {
    /// The next connection, once there is a permit for it, and a place if it has something to prove. Cancel safe: what
    /// was not accepted goes on waiting.
    pub(super) async fn accept(&mut self, door: &Door) -> io::Result<(Stream, Entry)> {
        if let Some(pause) = self.pause {
            sleep_until(pause).await;
            self.pause = None;
        }
        if door.permits.available_permits() == 0 && !std::mem::replace(&mut self.full, true) {
            tracing::warn!("all `limits.connections` are in use; further peers wait for one to close");
        }
        // Not kept: it would be missing to a stranger that has proven itself meanwhile.
        drop(door.permits.acquire().await.map_err(io::Error::other)?);
        self.full = false;
        let any_guarded = door.guards(!self.tls.is_empty());
        let mut place = if any_guarded { door.strangers.place() } else { None };
        let stream = loop {
            let full = any_guarded && place.is_none();
            tokio::select! {
                stream = poll_fn(|context| self.poll_accept(context, |tls| !full || !door.guards(tls))) => break stream?,
                free = door.strangers.wait_for_place(), if full => place = Some(free?),
            }
        };
        if let Stream::Tcp(stream) | Stream::Tls(stream) = &stream {
            tune(stream);
        }
        let entry = match place {
            Some(place) if door.guards(matches!(stream, Stream::Tls(_))) => Entry::Stranger(place),
            _ => Entry::Free(Arc::clone(&door.permits).try_acquire_owned().ok()),
        };
        Ok((stream, entry))
    }

    /// Accepts at the sockets, with and without TLS, that are `open`.
    fn poll_accept(&mut self, context: &mut Context<'_>, open: impl Fn(bool) -> bool) -> Poll<io::Result<Stream>> {
        let (unix, tcp) = (self.unix.len(), self.tcp.len());
        let all = unix + tcp + self.tls.len();
        for _ in 0..all {
            let turn = self.turn % all;
            self.turn = turn + 1;
            let polled = if !open(turn >= unix + tcp) {
                Poll::Pending
            } else if turn < unix {
                self.unix[turn].0.poll_accept(context).map_ok(|(stream, _)| Stream::Unix(stream))
            } else if turn < unix + tcp {
                self.tcp[turn - unix].poll_accept(context).map_ok(|(stream, _)| Stream::Tcp(stream))
            } else {
                self.tls[turn - unix - tcp].poll_accept(context).map_ok(|(stream, _)| Stream::Tls(stream))
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
