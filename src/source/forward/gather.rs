//! A socket that is read less often while its peer sends one small write after the other.
//!
//! Docker's driver writes each line by itself, and each write wakes whoever waits for it: at 25,000 lines a second that
//! is most of what a line costs. So when small writes come faster than a wake-up is worth, the socket is taken out of
//! the runtime's watch and looked at after a pause; what has come by then is read at once. How long pauses are is the
//! [`pace`]'s to say: a peer never fills its socket within one, unless it suddenly sends more than twice as much. A peer
//! that pauses or sends much has the socket watched again; one that is answered (acks) never waits.

mod pace;

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt::{socket_recv_buffer_size, socket_send_buffer_size};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep_until};

pub(super) use self::pace::LONGEST;
use self::pace::Pace;
use crate::clock::Clock;

/// So many reads are looked at together.
const READS: u32 = 32;

/// When they came within this time, pauses are worth it: two or more in the longest.
const BUSY: Duration = LONGEST.saturating_mul(READS / 2);

/// Reads of more than this on average gather enough by themselves.
const SMALL: usize = 2 << 10;

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
    /// What the kernel lets it hold of a peer's small writes, its own account of them included.
    fn holds(&self) -> usize;
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
    fn holds(&self) -> usize {
        // The peer's counts, and cannot be asked for; hardly anybody sets another than the system's.
        socket_send_buffer_size(self).unwrap_or(0)
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
    fn holds(&self) -> usize {
        // The window that a peer is offered is half of it.
        socket_recv_buffer_size(self).unwrap_or(0) / 2
    }
}

/// Where the socket is.
enum State<S: Socket> {
    Watched(S),
    Apart(S::Apart),
    /// Lost on the way from one to the other.
    Gone,
}

/// The socket, with what is known of its peer's writes. Times are as the clock counts them.
pub(super) struct Gather<S: Socket> {
    state: State<S>,
    clock: Clock,
    /// The pause that goes on; there once the first has begun.
    pause: Option<Pin<Box<Sleep>>>,
    paused: bool,
    /// There while it is apart.
    pace: Option<Pace>,
    /// The reads that are looked at together: since when, how many, and their bytes.
    since: Option<Duration>,
    reads: u32,
    bytes: usize,
    /// What the next read after a pause may bring.
    room: usize,
    /// What was read since the last pause.
    brought: usize,
    /// Until when the socket stays watched; for ever once the peer was answered.
    respite: Duration,
}

impl<S: Socket> Gather<S> {
    pub(super) fn new(stream: S, clock: Clock) -> Self {
        Self {
            state: State::Watched(stream),
            clock,
            pause: None,
            paused: false,
            pace: None,
            since: None,
            reads: 0,
            bytes: 0,
            room: 0,
            brought: 0,
            respite: Duration::ZERO,
        }
    }

    /// Notes a read of a watched socket; takes it out of the watch when it is worth that.
    fn note(&mut self, n: usize) {
        let since = *self.since.get_or_insert_with(|| self.clock.now());
        self.reads += 1;
        self.bytes += n;
        if n == 0 || self.bytes > SMALL * READS as usize {
            self.look_anew();
        } else if self.reads == READS {
            let now = self.clock.now();
            if now - since > BUSY || now < self.respite {
                return self.look_anew();
            }
            let State::Watched(stream) = &self.state else { return };
            let Some(pace) = Pace::of(self.bytes / READS as usize, stream.holds(), self.bytes, since, now) else {
                return self.look_anew();
            };
            if let State::Watched(stream) = std::mem::replace(&mut self.state, State::Gone) {
                // Without it the next read fails; this one has its bytes.
                self.state = stream.apart().map_or(State::Gone, State::Apart);
            }
            self.room = (pace.capacity() / 2).max(ROOM);
            self.begin_pause(pace);
        }
    }

    /// Notes a read after a pause; `full` if it brought all that it might.
    fn note_gathered(&mut self, n: usize, full: bool) {
        let Some(mut pace) = self.pace.take() else { return self.watch() };
        let most = pace.capacity().max(ROOM);
        self.brought += n;
        if full && self.brought < most {
            // Read on without a pause.
            self.room = most - self.brought;
            self.pace = Some(pace);
            return;
        }
        let brought = std::mem::take(&mut self.brought);
        let now = self.clock.now();
        if full || !pace.note(brought, now) {
            self.respite = self.respite.max(now + RESPITE);
            self.watch();
        } else if brought * (READS as usize) < 2 * self.bytes {
            // The pause has brought no more than a read without one.
            self.watch();
        } else {
            self.room = (2 * brought).clamp(ROOM, most);
            self.begin_pause(pace);
        }
    }

    fn look_anew(&mut self) {
        (self.since, self.reads, self.bytes) = (None, 0, 0);
    }

    fn begin_pause(&mut self, mut pace: Pace) {
        let until = pace.next(&self.clock);
        match &mut self.pause {
            Some(pause) => pause.as_mut().reset(until),
            None => self.pause = Some(Box::pin(sleep_until(until))),
        }
        self.paused = true;
        self.pace = Some(pace);
    }

    /// Has the socket watched again. When the system has no room for it, the next read fails.
    fn watch(&mut self) {
        self.look_anew();
        (self.paused, self.pace, self.brought) = (false, None, 0);
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
        loop {
            if this.paused {
                if let Some(pause) = &mut this.pause {
                    ready!(pause.as_mut().poll(context));
                }
                this.paused = false;
            }
            match &mut this.state {
                State::Watched(stream) => {
                    let before = buf.filled().len();
                    ready!(Pin::new(stream).poll_read(context, buf))?;
                    this.note(buf.filled().len() - before);
                    return Poll::Ready(Ok(()));
                }
                State::Apart(apart) => {
                    let room = buf.initialize_unfilled_to(buf.remaining().min(this.room));
                    match apart.read(room) {
                        Ok(n) => {
                            let full = n == room.len();
                            buf.advance(n);
                            this.note_gathered(n, full);
                            return Poll::Ready(Ok(()));
                        }
                        // What was read before was all; or nothing has come.
                        Err(error) if error.kind() == ErrorKind::WouldBlock => this.note_gathered(0, false),
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                State::Gone => return Poll::Ready(Err(gone())),
            }
        }
    }
}

impl<S: Socket> AsyncWrite for Gather<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // A peer that is answered may wait for the answer.
        this.look_anew();
        this.respite = Duration::MAX;
        if matches!(this.state, State::Apart(_)) {
            this.watch();
            // The reading half of the same task waits for a pause.
            context.waker().wake_by_ref();
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
    use tokio::time::{Instant, advance};

    use super::*;

    const LINE: &[u8] = b"one line\n";

    /// Between lines of a peer that is worth pauses: ten a millisecond.
    const SOON: Duration = Duration::from_micros(100);

    fn pair() -> (Gather<UnixStream>, UnixStream) {
        let (ours, peer) = UnixStream::pair().expect("a pair of sockets");
        (Gather::new(ours, Clock::start()), peer)
    }

    async fn read(gather: &mut Gather<UnixStream>) -> usize {
        gather.read(&mut [0; 4096]).await.expect("the socket is open")
    }

    async fn write(peer: &mut UnixStream, lines: usize) {
        for _ in 0..lines {
            peer.write_all(LINE).await.expect("written");
        }
    }

    /// So many lines, each read at once, and the next written so long after.
    async fn one_by_one(gather: &mut Gather<UnixStream>, peer: &mut UnixStream, lines: u32, every: Duration) {
        for _ in 0..lines {
            write(peer, 1).await;
            let start = Instant::now();
            assert_eq!(read(gather).await, LINE.len());
            assert_eq!(start.elapsed(), Duration::ZERO);
            advance(every).await;
        }
    }

    /// A socket whose peer has just shown that pauses are worth it.
    async fn gathering() -> (Gather<UnixStream>, UnixStream) {
        let (mut gather, mut peer) = pair();
        one_by_one(&mut gather, &mut peer, READS, SOON).await;
        assert!(gather.paused);
        (gather, peer)
    }

    #[tokio::test(start_paused = true)]
    async fn small_writes_in_a_row_are_read_together() {
        let (mut gather, mut peer) = gathering().await;
        write(&mut peer, 60).await;
        assert_eq!(read(&mut gather).await, 60 * LINE.len());
        let start = Instant::now();
        for round in 1..=3 {
            write(&mut peer, 80).await;
            assert_eq!(read(&mut gather).await, 80 * LINE.len());
            assert_eq!(start.elapsed(), LONGEST * round);
        }
        // Three times as much nearly fills the socket; the next pause is shorter.
        write(&mut peer, 240).await;
        assert_eq!(read(&mut gather).await, 240 * LINE.len());
        write(&mut peer, 100).await;
        assert_eq!(read(&mut gather).await, 100 * LINE.len());
        assert_eq!(start.elapsed(), LONGEST * 4 + LONGEST / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_slows_down_is_read_at_once_again() {
        for quiet in [false, true] {
            let (mut gather, mut peer) = gathering().await;
            if quiet {
                let nothing = tokio::time::timeout(10 * LONGEST, gather.read(&mut [0; 64])).await;
                nothing.expect_err("there is nothing to read");
            } else {
                write(&mut peer, 1).await;
                assert_eq!(read(&mut gather).await, LINE.len());
            }
            one_by_one(&mut gather, &mut peer, READS - 1, SOON).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_slowly_or_in_large_writes_is_never_held() {
        let (mut gather, mut peer) = pair();
        one_by_one(&mut gather, &mut peer, 3 * READS, LONGEST).await;
        let start = Instant::now();
        for _ in 0..3 * READS {
            peer.write_all(&[0; 32 << 10]).await.expect("written");
            gather.read_exact(&mut [0; 32 << 10]).await.expect("read");
        }
        // Nor what comes faster than pauses could take.
        for _ in 0..3 * READS {
            one_by_one(&mut gather, &mut peer, 1, Duration::from_micros(5)).await;
        }
        assert!(!gather.paused && start.elapsed() < SOON * READS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_answered_never_waits() {
        let (mut gather, mut peer) = pair();
        for _ in 0..3 * READS {
            one_by_one(&mut gather, &mut peer, 1, SOON).await;
            gather.write_all(b"ack").await.expect("written");
            peer.read_exact(&mut [0; 3]).await.expect("the answer");
        }
        // Nor does it when the first answer comes late; from then on never.
        let (mut gather, mut peer) = gathering().await;
        gather.write_all(b"ack").await.expect("written");
        peer.read_exact(&mut [0; 3]).await.expect("the answer");
        one_by_one(&mut gather, &mut peer, 3 * READS, SOON).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_a_pause_that_the_reading_half_waits_in() {
        let (gather, mut peer) = gathering().await;
        let (mut reader, mut writer) = tokio::io::split(gather);
        let start = Instant::now();
        let mut line = [0; LINE.len()];
        let (read, written) = tokio::join!(reader.read_exact(&mut line), async {
            writer.write_all(b"ack").await?;
            peer.write_all(LINE).await
        });
        assert!(read.is_ok() && written.is_ok());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn ends_are_seen_from_both_sides() {
        let (mut gather, mut peer) = gathering().await;
        write(&mut peer, 1).await;
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
        let (mut gather, mut peer) = gathering().await;
        write(&mut peer, 1).await;
        peer.write_all(&[0; 64 << 10]).await.expect("written");
        let start = Instant::now();
        assert_eq!(read(&mut gather).await, 4 << 10);
        assert!(start.elapsed() < 2 * LONGEST);
        let start = Instant::now();
        while read(&mut gather).await == 4 << 10 {}
        one_by_one(&mut gather, &mut peer, 3 * READS, SOON).await;
        assert_eq!(start.elapsed(), SOON * 3 * READS);
        advance(RESPITE).await;
        one_by_one(&mut gather, &mut peer, 2, SOON).await;
        gather.look_anew();
        one_by_one(&mut gather, &mut peer, READS, SOON).await;
        assert!(gather.paused, "small writes gather again");
    }

    /// A buffer that is smaller than what has come is no full socket.
    #[tokio::test(start_paused = true)]
    async fn a_small_buffer_takes_what_has_come_without_pauses_between() {
        let (mut gather, mut peer) = gathering().await;
        write(&mut peer, 80).await;
        let (mut small, mut times) = ([0; 100], Vec::new());
        for _ in 0..8 {
            assert!(gather.read(&mut small).await.expect("the socket is open") > 0);
            times.push(Instant::now());
        }
        assert_eq!(times[0], times[7]);
        write(&mut peer, 80).await;
        assert_eq!(read(&mut gather).await, 80 * LINE.len());
        assert!(gather.paused && times[7].elapsed() >= LONGEST / 2);
    }
}
