//! A socket that is read less often while its peer sends one small write after the other.
//!
//! Docker's driver writes each line by itself, and each write wakes whoever waits for it: at 25,000 lines a second that
//! is most of what a line costs. So when small writes come faster than a wake-up is worth, the socket is taken out of
//! the runtime's watch and looked at after [`PAUSE`]; what has come by then is read at once. A peer that pauses, sends
//! much or is answered (acks) has the socket watched again, and nothing of it waits.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep};

/// How long writes gather; up to twice as long by the runtime's timer. A unix socket holds some 160 small ones, and then
/// its peer waits.
const PAUSE: Duration = Duration::from_millis(1);

/// So many reads are looked at together.
const READS: u32 = 32;

/// When they came within this time, pauses are worth it: two or more a [`PAUSE`].
const BUSY: Duration = Duration::from_millis(16);

/// Reads of more than this on average gather enough by themselves.
const SMALL: usize = 2 << 10;

/// Most that is read after a pause. Whoever has sent more may have filled the socket, and must not wait again soon.
const MUCH: usize = 32 << 10;

/// The least room for what a pause has gathered; what is not written to yet has to be cleared.
const ROOM: usize = 4 << 10;

/// How long a socket that was full is watched.
const RESPITE: Duration = Duration::from_millis(100);

/// What can be watched by the runtime, and taken out of its watch.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Sized {
    /// The same socket, unwatched; reads and writes of it return at once.
    type Apart: Read + Write + Unpin;
    fn apart(self) -> io::Result<Self::Apart>;
    fn watched(apart: Self::Apart) -> io::Result<Self>;
    fn shutdown(apart: &Self::Apart) -> io::Result<()>;
}

impl Socket for UnixStream {
    type Apart = StdUnixStream;
    fn apart(self) -> io::Result<Self::Apart> {
        self.into_std()
    }
    fn watched(apart: Self::Apart) -> io::Result<Self> {
        Self::from_std(apart)
    }
    fn shutdown(apart: &Self::Apart) -> io::Result<()> {
        apart.shutdown(Shutdown::Write)
    }
}

impl Socket for TcpStream {
    type Apart = std::net::TcpStream;
    fn apart(self) -> io::Result<Self::Apart> {
        self.into_std()
    }
    fn watched(apart: Self::Apart) -> io::Result<Self> {
        Self::from_std(apart)
    }
    fn shutdown(apart: &Self::Apart) -> io::Result<()> {
        apart.shutdown(Shutdown::Write)
    }
}

/// Where the socket is.
enum State<S: Socket> {
    Watched(S),
    Apart(S::Apart),
    /// Lost on the way from one to the other.
    Gone,
}

/// The socket, with what is known of its peer's writes.
pub(super) struct Gather<S: Socket> {
    state: State<S>,
    /// The pause that goes on; there once the first has begun.
    pause: Option<Pin<Box<Sleep>>>,
    paused: bool,
    /// The reads that are looked at together: since when, how many, and their bytes.
    since: Option<Instant>,
    reads: u32,
    bytes: usize,
    /// What the next read after a pause may bring.
    room: usize,
    /// Whether the read before brought all that it may.
    full: bool,
    /// Until when the socket stays watched.
    respite: Option<Instant>,
}

impl<S: Socket> Gather<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            state: State::Watched(stream),
            pause: None,
            paused: false,
            since: None,
            reads: 0,
            bytes: 0,
            room: MUCH / 2,
            full: false,
            respite: None,
        }
    }

    /// Notes a read of a watched socket; takes it out of the watch when it is worth that.
    fn note(&mut self, n: usize) {
        let since = *self.since.get_or_insert_with(Instant::now);
        self.reads += 1;
        self.bytes += n;
        if n == 0 || self.bytes > SMALL * READS as usize {
            self.look_anew();
        } else if self.reads == READS {
            let now = Instant::now();
            if now - since > BUSY || self.respite.is_some_and(|until| now < until) {
                return self.look_anew();
            }
            if let State::Watched(stream) = std::mem::replace(&mut self.state, State::Gone) {
                // Without it the next read fails; this one has its bytes.
                self.state = stream.apart().map_or(State::Gone, State::Apart);
            }
            self.begin_pause();
        }
    }

    /// Notes a read after a pause.
    fn note_gathered(&mut self, n: usize, full: bool) {
        let was_full = std::mem::replace(&mut self.full, full);
        self.room = if full { MUCH } else { (2 * n).clamp(ROOM, MUCH) };
        if full && was_full {
            self.respite = Some(Instant::now() + RESPITE);
            self.watch();
        } else if !full && !was_full && n * (READS as usize) < 2 * self.bytes {
            // The pause has brought no more than a read without one.
            self.watch();
        } else if !full {
            self.begin_pause();
        }
    }

    fn look_anew(&mut self) {
        (self.since, self.reads, self.bytes) = (None, 0, 0);
    }

    fn begin_pause(&mut self) {
        match &mut self.pause {
            Some(pause) => pause.as_mut().reset(Instant::now() + PAUSE),
            None => self.pause = Some(Box::pin(sleep(PAUSE))),
        }
        self.paused = true;
    }

    /// Has the socket watched again. When the system has no room for it, the next read fails.
    fn watch(&mut self) {
        self.look_anew();
        (self.paused, self.full) = (false, false);
        if let State::Apart(apart) = std::mem::replace(&mut self.state, State::Gone) {
            self.state = S::watched(apart).map_or(State::Gone, State::Watched);
        }
    }
}

fn gone() -> io::Error {
    ErrorKind::NotConnected.into()
}

impl<S: Socket> AsyncRead for Gather<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.paused {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(context));
            }
            this.paused = false;
        }
        if let State::Apart(apart) = &mut this.state {
            let room = buf.initialize_unfilled_to(buf.remaining().min(this.room));
            match apart.read(room) {
                Ok(n) => {
                    let full = n == room.len();
                    buf.advance(n);
                    this.note_gathered(n, full);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => this.watch(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let State::Watched(stream) = &mut this.state else { return Poll::Ready(Err(gone())) };
        let before = buf.filled().len();
        ready!(Pin::new(stream).poll_read(context, buf))?;
        this.note(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket> AsyncWrite for Gather<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // A peer that is answered may wait for the answer.
        this.look_anew();
        if matches!(this.state, State::Apart(_)) {
            this.watch();
        }
        match &mut this.state {
            State::Watched(stream) => Pin::new(stream).poll_write(context, bytes),
            _ => Poll::Ready(Err(gone())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().state {
            State::Watched(stream) => Pin::new(stream).poll_flush(context),
            // A socket has nothing to flush.
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().state {
            State::Watched(stream) => Pin::new(stream).poll_shutdown(context),
            State::Apart(apart) => Poll::Ready(S::shutdown(apart)),
            State::Gone => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::advance;

    use super::*;

    const LINE: &[u8] = b"one line\n";

    fn pair() -> (Gather<UnixStream>, UnixStream) {
        let (ours, peer) = UnixStream::pair().expect("a pair of sockets");
        (Gather::new(ours), peer)
    }

    async fn read(gather: &mut Gather<UnixStream>) -> usize {
        gather.read(&mut [0; 4096]).await.expect("the socket is open")
    }

    /// So many lines, each read before the next is written.
    async fn one_by_one(gather: &mut Gather<UnixStream>, peer: &mut UnixStream, lines: u32) {
        for _ in 0..lines {
            peer.write_all(LINE).await.expect("written");
            assert_eq!(read(gather).await, LINE.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn small_writes_in_a_row_are_read_together() {
        let (mut gather, mut peer) = pair();
        one_by_one(&mut gather, &mut peer, READS).await;
        let start = Instant::now();
        for round in 1..=3 {
            for _ in 0..5 {
                peer.write_all(LINE).await.expect("written");
            }
            assert_eq!(read(&mut gather).await, 5 * LINE.len());
            assert_eq!(start.elapsed(), PAUSE * round);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_slows_down_is_read_at_once_again() {
        let (mut gather, mut peer) = pair();
        for quiet in [false, true] {
            one_by_one(&mut gather, &mut peer, READS).await;
            if quiet {
                let nothing = tokio::time::timeout(10 * PAUSE, gather.read(&mut [0; 64])).await;
                nothing.expect_err("there is nothing to read");
            } else {
                one_by_one(&mut gather, &mut peer, 1).await;
            }
            let start = Instant::now();
            one_by_one(&mut gather, &mut peer, READS - 1).await;
            assert_eq!(start.elapsed(), Duration::ZERO);
            gather.look_anew();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_slowly_or_in_large_writes_is_never_held() {
        let (mut gather, mut peer) = pair();
        let start = Instant::now();
        for _ in 0..3 * READS {
            one_by_one(&mut gather, &mut peer, 1).await;
            advance(PAUSE).await;
        }
        assert_eq!(start.elapsed(), PAUSE * 3 * READS);
        for _ in 0..3 * READS {
            peer.write_all(&[0; MUCH]).await.expect("written");
            gather.read_exact(&mut [0; MUCH]).await.expect("read");
        }
        assert_eq!(start.elapsed(), PAUSE * 3 * READS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_answered_never_waits() {
        let (mut gather, mut peer) = pair();
        let start = Instant::now();
        for _ in 0..3 * READS {
            one_by_one(&mut gather, &mut peer, 1).await;
            gather.write_all(b"ack").await.expect("written");
            peer.read_exact(&mut [0; 3]).await.expect("the answer");
        }
        // Nor does it when the first answer comes late.
        one_by_one(&mut gather, &mut peer, READS).await;
        gather.write_all(b"ack").await.expect("written");
        peer.read_exact(&mut [0; 3]).await.expect("the answer");
        one_by_one(&mut gather, &mut peer, READS - 1).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn ends_are_seen_from_both_sides() {
        let (mut gather, mut peer) = pair();
        one_by_one(&mut gather, &mut peer, READS).await;
        peer.write_all(LINE).await.expect("written");
        gather.shutdown().await.expect("shut down");
        assert_eq!(peer.read(&mut [0; 64]).await.expect("the end"), 0);
        drop(peer);
        assert_eq!(read(&mut gather).await, LINE.len());
        assert_eq!(read(&mut gather).await, 0);
        assert_eq!(read(&mut gather).await, 0);
    }

    /// Its peer waits to write on.
    #[tokio::test(start_paused = true)]
    async fn a_full_socket_is_read_without_a_pause_and_has_a_respite() {
        let (mut gather, mut peer) = pair();
        one_by_one(&mut gather, &mut peer, READS).await;
        let (start, mut buf) = (Instant::now(), vec![0; 4 * MUCH]);
        peer.write_all(&[0; 3 * MUCH]).await.expect("written");
        assert_eq!(gather.read(&mut buf).await.expect("read"), MUCH / 2);
        assert_eq!(gather.read(&mut buf).await.expect("read"), MUCH);
        assert_eq!(gather.read(&mut buf).await.expect("read"), 3 * MUCH / 2);
        one_by_one(&mut gather, &mut peer, 3 * READS).await;
        assert_eq!(start.elapsed(), PAUSE);
        advance(RESPITE).await;
        one_by_one(&mut gather, &mut peer, 2 * READS).await;
        assert!(start.elapsed() > PAUSE + RESPITE, "small writes gather again");
    }
}
