//! What a connection passes before it counts among `limits.connections`: the handshakes of TLS and of `auth`.
//!
//! Who has not passed is a stranger. Strangers have places of their own, a little memory and little time, so that they
//! cannot keep out those who do pass; when all places are taken, a stranger has a second.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::connection::End;
use super::handshake::{Keys, MAX_PING};
use super::tls::{Tls, is_hang_up};

/// Places for strangers: every container of a host may come at once. What one may make this side hold is a TLS
/// handshake of at most 64 KiB or a PING.
const STRANGERS: usize = 128;

/// Time that a stranger has in any case. A handshake takes two round trips and some milliseconds of work.
const LEAST_TIME: Duration = Duration::from_secs(1);

/// A connection as it was accepted.
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    /// TLS is still to come.
    Tls(TcpStream),
}

impl Stream {
    /// Who is at the other end: an address, or `unix`.
    pub(super) fn peer(&self) -> String {
        match self {
            Self::Unix(_) => "unix".into(),
            Self::Tcp(stream) | Self::Tls(stream) => {
                stream.peer_addr().map_or_else(|_| "gone".into(), |address| address.to_string())
            }
        }
    }
}

/// A connection that may send records.
pub(super) enum Guest {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// By what right a connection was accepted.
pub(super) enum Entry {
    /// It has nothing to prove; without a permit when a stranger was quicker.
    Free(Option<OwnedSemaphorePermit>),
    /// It has a place among the strangers.
    Stranger(OwnedSemaphorePermit),
}

/// The door of a source.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) keys: Option<Keys>,
    /// The longest that a stranger may take.
    pub(super) time: Duration,
    /// `limits.connections`
    pub(super) permits: Arc<Semaphore>,
    pub(super) strangers: Arc<Strangers>,
}

impl Door {
    /// Whether a connection has something to prove before it may send.
    pub(super) fn guards(&self, tls: bool) -> bool {
        tls || self.keys.is_some()
    }

    /// Lets a connection through, and waits for its permit.
    pub(super) async fn admit(&self, stream: Stream, entry: Entry) -> Result<(Guest, OwnedSemaphorePermit), End> {
        let (place, permit) = match entry {
            Entry::Free(permit) => (None, permit),
            Entry::Stranger(place) => (Some(place), None),
        };
        // Boxed: a connection that passes unasked has no need for the room.
        let guest = match stream {
            Stream::Unix(stream) if !self.guards(false) => Guest::Unix(stream),
            Stream::Tcp(stream) if !self.guards(false) => Guest::Tcp(stream),
            stream => {
                Box::pin(async {
                    tokio::select! {
                        guest = self.greet(stream) => guest,
                        () = self.strangers.time_is_up(self.time) => Err(End::HandshakeTime),
                    }
                })
                .await?
            }
        };
        // A place among the strangers is held until there is one among the guests: so many wait for it at the most.
        let permit = match permit {
            Some(permit) => permit,
            None => {
                Arc::clone(&self.permits).acquire_owned().await.map_err(|error| End::Io(io::Error::other(error)))?
            }
        };
        drop(place);
        Ok((guest, permit))
    }

    /// Does the handshakes that are asked for.
    async fn greet(&self, stream: Stream) -> Result<Guest, End> {
        Ok(match stream {
            Stream::Unix(mut stream) => {
                self.authenticate(&mut stream).await?;
                Guest::Unix(stream)
            }
            Stream::Tcp(mut stream) => {
                self.authenticate(&mut stream).await?;
                Guest::Tcp(stream)
            }
            Stream::Tls(stream) => {
                // Without TLS no address of it is bound.
                let tls = self.tls.as_ref().ok_or(End::Closed)?;
                let stream = tls.accept(stream).await.map_err(End::Tls)?.ok_or(End::Closed)?;
                let mut stream = Box::new(stream);
                self.authenticate(&mut stream).await?;
                Guest::Tls(stream)
            }
        })
    }

    /// The handshake of the Forward protocol, if the source asks for it.
    async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> Result<(), End> {
        let Some(keys) = &self.keys else { return Ok(()) };
        let challenge = keys.challenge().map_err(|error| End::Io(io::Error::other(error)))?;
        stream.write_all(&challenge.helo()).await.map_err(gone)?;
        stream.flush().await.map_err(gone)?;
        let (mut bytes, mut len) = ([0; MAX_PING], 0);
        loop {
            match stream.read(&mut bytes[len..]).await {
                Ok(0) if len == 0 => return Err(End::Closed),
                Ok(0) => return Err(End::CutFrame),
                Ok(n) => len += n,
                Err(error) if len == 0 => return Err(gone(error)),
                Err(error) => return Err(End::Io(error)),
            }
            match challenge.answer(&bytes[..len]) {
                Ok(None) => {}
                Ok(Some(pong)) => return write(stream, &pong).await,
                Err(refusal) => {
                    // Whether the peer hears why is its own affair.
                    let _ = write(stream, &refusal.pong()).await;
                    let _ = stream.shutdown().await;
                    return Err(End::Refused(refusal));
                }
            }
        }
    }
}

/// What an error before the peer's first word means: health checks and fluentd's heartbeats leave without one.
fn gone(error: io::Error) -> End {
    if is_hang_up(&error) { End::Closed } else { End::Io(error) }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), End> {
    stream.write_all(bytes).await.map_err(End::Io)?;
    stream.flush().await.map_err(End::Io)
}

/// Places for connections that have proven nothing yet.
#[derive(Debug)]
pub(super) struct Strangers {
    places: Arc<Semaphore>,
    /// All places are taken.
    crowded: watch::Sender<bool>,
}

impl Strangers {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(STRANGERS)), crowded: watch::Sender::new(false) }
    }

    /// A place, if there is one.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        self.set_crowded(place.is_none());
        place
    }

    /// Waits for a place. Cancel safe.
    pub(super) async fn wait_for_place(&self) -> io::Result<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other);
        self.set_crowded(false);
        place
    }

    fn set_crowded(&self, crowded: bool) {
        self.crowded.send_if_modified(|before| std::mem::replace(before, crowded) != crowded);
    }

    /// Comes back when a stranger has to go.
    async fn time_is_up(&self, most: Duration) {
        let crowded = async {
            sleep(LEAST_TIME).await;
            self.crowded.subscribe().wait_for(|crowded| *crowded).await.is_ok()
        };
        // Out of time or one too many: it goes.
        let _ = timeout(most, crowded).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stranger_has_its_time_and_a_second_when_all_places_are_taken() {
        let strangers = Strangers::new();
        let (start, most) = (Instant::now(), Duration::from_secs(10));
        strangers.time_is_up(most).await;
        assert_eq!(start.elapsed(), most);

        let mut places: Vec<_> = std::iter::from_fn(|| strangers.place()).collect();
        assert_eq!(places.len(), STRANGERS);
        let start = Instant::now();
        strangers.time_is_up(most).await;
        assert_eq!(start.elapsed(), LEAST_TIME);

        places.pop();
        let start = Instant::now();
        let _place = strangers.wait_for_place().await.expect("one is free");
        strangers.time_is_up(most).await;
        assert_eq!(start.elapsed(), most, "nobody waits for a place any more");
    }
}
