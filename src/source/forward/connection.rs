//! One connection: read, find batches, hand them over, ack, wait for room, read on.

mod room;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::acks::{AckWriter, Acks, Unread};
use super::budget::{Budget, Lease};
use super::frame::{Found, Frames};
use super::handshake::Refusal;
use super::stats::ForwardStats;
use super::{AckMode, Malformed, tls};
use crate::clock::Clock;
use crate::record::{Outcome, Ticket, UnixNanos};
use crate::source::Intake;

/// What buffers of active connections are multiples of, and what they read by when the budget is tight.
const READ_MIN: usize = 8 << 10;

/// Beyond this, larger reads bring nothing; below, a batch is so small that its own cost shows.
const READ_MAX: usize = 256 << 10;

/// A buffer that a frame has grown beyond this is let go as soon as it is empty.
const KEEP_MAX: usize = 1 << 20;

/// A connection that was quiet for so long gets the quiet buffer.
const IDLE: Duration = Duration::from_secs(1);

/// What a connection begins with, and a quiet one waits with: enough for a line or two, and little for a thousand
/// connections.
const QUIET: usize = 1 << 10;

/// Time for acks that are ready, when the connection ends in any case.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// How long a peer that has nothing more to say may wait for its acks. Fluentd gives up after 190 s; without a bound,
/// peers that went away hold their places among `limits.connections` for as long as a sink is down.
const LINGER: Duration = Duration::from_secs(200);

/// How far the source is; told to its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Reading,
    /// Nothing is read any more; promised acks are still written.
    AcksOnly,
    /// What is not settled now will never be.
    Closing,
}

/// What the connections of a source share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) ack: AckMode,
    pub(super) frame_bound: u64,
    pub(super) inflated_bound: u64,
    pub(super) frame_time: Duration,
    pub(super) stats: Arc<ForwardStats>,
    /// What buffers may have beyond a base, and inflating at all.
    pub(super) budget: Arc<Budget>,
    /// Moves with every read: the drain looks whether it stands still.
    pub(super) activity: Arc<AtomicU64>,
    /// Connections that wait for room in the queues, or for bytes of the budget.
    pub(super) busy: Arc<AtomicUsize>,
}

/// Why reading ended.
#[derive(Debug)]
pub(super) enum End {
    /// The peer has nothing more to say.
    Closed,
    /// The source reads no more.
    Drained,
    /// The peer went away in the middle of a frame.
    CutFrame,
    /// A frame was begun and not finished in time.
    FrameTime,
    /// The peer does not read its acks.
    AcksUnread,
    /// The handshakes were not done in time.
    HandshakeTime,
    Tls(tls::Failure),
    Refused(Refusal),
    Malformed(Malformed),
    Io(io::Error),
}

impl End {
    /// A label value for an end that is not the usual one.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Closed | Self::Drained => None,
            Self::CutFrame => Some("cut_frame"),
            Self::FrameTime => Some("frame_time"),
            Self::AcksUnread => Some("acks_unread"),
            Self::HandshakeTime => Some("handshake_time"),
            Self::Tls(failure) => Some(failure.reason()),
            Self::Refused(refusal) => Some(refusal.reason()),
            Self::Malformed(malformed) => Some(malformed.reason()),
            Self::Io(_) => Some("io"),
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the peer"),
            Self::Drained => f.write_str("the source has ended"),
            Self::CutFrame => f.write_str("closed by the peer in the middle of a frame"),
            Self::FrameTime => f.write_str("a frame was begun and not finished within `limits.frame_time`"),
            Self::AcksUnread => f.write_str("the peer does not read its acks"),
            Self::HandshakeTime => {
                f.write_str("the handshake was not done within `limits.handshake_time`, or within a second in a crowd")
            }
            Self::Tls(failure) => failure.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// Whether a write has met its deadline; the kernel's own says a number.
fn is_deadline(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none()
}

/// Runs a connection with `peer` to its end and tells why reading ended. `guard` is dropped when the last batch was
/// handed over.
pub(super) async fn run<I: Intake>(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    shared: &Shared,
    intake: &I,
    peer: &str,
    guard: impl Sized,
    mut stage: watch::Receiver<Stage>,
) -> End {
    let acks = Arc::new(Acks::default());
    let mut writer = AckWriter::new(writer);
    let mut reading = Reading::new(reader, shared, intake, peer, Arc::clone(&acks));
    let writing = async {
        let written = acks.write(&mut writer, &shared.stats, false).await;
        if written.is_err_and(|error| is_deadline(&error)) {
            return End::AcksUnread;
        }
        // Nobody listens any more; what was sent before lies in the socket and is read all the same.
        acks.give_up(&shared.stats);
        std::future::pending().await
    };
    let end = tokio::select! {
        end = reading.run() => end,
        _ = stage.wait_for(|stage| *stage != Stage::Reading) => End::Drained,
        end = writing => end,
    };
    if matches!(end, End::Drained) {
        reading.hand_over();
    }
    drop((reading, guard));
    match &end {
        End::Io(_) | End::AcksUnread => return end,
        // Ends before there is anything to run.
        End::HandshakeTime | End::Tls(_) | End::Refused(_) => {}
        // The peer may still read the acks of what it sent before.
        End::Closed | End::Drained | End::CutFrame => {
            let left = acks.write(&mut writer, &shared.stats, true);
            tokio::select! {
                _ = left => {}
                _ = stage.wait_for(|stage| *stage == Stage::Closing) => {}
                () = sleep(LINGER), if !matches!(end, End::Drained) => {}
            }
        }
        End::FrameTime | End::Malformed(_) => {}
    }
    // Whether the last acks arrive is the sender's to find out; it repeats what was not acked.
    let _ = timeout(LAST_WRITE, async {
        acks.write_settled(&mut writer, &shared.stats).await?;
        writer.close().await
    })
    .await;
    end
}

/// An ack that the records being found are to bring.
enum Claim {
    /// Settled by us when the last record has been taken.
    Received(u64),
    /// Settled by the last copy of the ticket.
    Ticket(Ticket),
}

/// The reading half.
struct Reading<'a, R, I> {
    reader: R,
    shared: &'a Shared,
    intake: &'a I,
    peer: &'a str,
    frames: Frames,
    buf: BytesMut,
    /// When its last bytes came.
    received: UnixNanos,
    /// Bytes to make room for at the next read.
    size: usize,
    /// What `buf` was allocated with, or of a wide one what may be filled.
    alloc: usize,
    /// Whether `buf` has room for the largest frame, more than is paid for.
    wide: bool,
    /// What inflating has been granted.
    inflating: usize,
    /// Pays for `inflating`, and for `alloc` beyond what is free.
    lease: Lease,
    /// When the frame at the end of `buf` must be whole.
    deadline: Option<Instant>,
    acks: Arc<Acks>,
    claim: Option<Claim>,
    /// Found, and not handed over yet.
    held: Option<Found>,
    /// Whether it waits for room, or for the budget.
    waits: bool,
    /// Bytes handed over since other tasks had their turn.
    in_a_row: usize,
}

impl<'a, R: AsyncRead + Unpin, I: Intake> Reading<'a, R, I> {
    fn new(reader: R, shared: &'a Shared, intake: &'a I, peer: &'a str, acks: Arc<Acks>) -> Self {
        Self {
            reader,
            shared,
            intake,
            peer,
            frames: Frames::new(shared.frame_bound, shared.inflated_bound),
            buf: BytesMut::new(),
            received: 0,
            size: QUIET,
            alloc: 0,
            wide: false,
            inflating: 0,
            lease: Lease::new(Arc::clone(&shared.budget)),
            deadline: None,
            acks,
            claim: None,
            held: None,
            waits: false,
            in_a_row: 0,
        }
    }

    async fn run(&mut self) -> End {
        loop {
            match self.read().await {
                Ok(0) if self.frames.is_partial(&self.buf) => return End::CutFrame,
                Ok(0) => return End::Closed,
                Ok(n) => self.note_read(n),
                Err(end) => return end,
            }
            let found = self.take_all().await;
            self.count();
            if let Err(end) = found {
                if let End::Malformed(malformed) = &end {
                    let unread = self.frames.unread(&self.buf);
                    self.intake.undecodable(malformed.reason(), self.peer, &unread);
                }
                return end;
            }
            self.give_back();
            self.room().await;
        }
    }

    fn note_read(&mut self, n: usize) {
        self.received = self.shared.clock.unix();
        self.shared.stats.wire_bytes.add(n as u64);
        self.shared.activity.fetch_add(1, Ordering::Relaxed);
        // The peer has more than was asked for.
        if n >= self.size {
            self.size = (2 * self.size).min(READ_MAX);
        }
    }

    /// Reads once. Waits as long as the peer likes between frames, and at most `limits.frame_time` inside one; time
    /// in which this side did not read is not the peer's.
    async fn read(&mut self) -> Result<usize, End> {
        if !self.frames.is_partial(&self.buf) {
            if self.wide || self.alloc > KEEP_MAX {
                self.renew(0);
            }
            self.make_room().await;
            if self.alloc <= QUIET {
                return self.reader.read_buf(&mut self.buf).await.map_err(End::Io);
            }
            if let Ok(read) = timeout(IDLE, self.reader.read_buf(&mut self.buf)).await {
                return read.map_err(End::Io);
            }
            self.size = QUIET;
            self.renew(QUIET);
            return self.reader.read_buf(&mut self.buf).await.map_err(End::Io);
        }
        let begun = Instant::now();
        let deadline = self.deadline.unwrap_or_else(|| begun + self.shared.frame_time);
        self.deadline = Some(deadline);
        let room = self.make_room().await;
        let deadline = deadline + begun.elapsed();
        self.deadline = Some(deadline);
        // Who overdraws reads nothing of the next frame, so that it has nothing to keep when this one is done.
        let most = if self.lease.overdraws() { room } else { usize::MAX };
        let most = most.min(self.filled_to().saturating_sub(self.buf.len()));
        match timeout_at(deadline, self.reader.read_buf(&mut (&mut self.buf).limit(most))).await {
            Ok(read) => read.map_err(End::Io),
            Err(_) => Err(End::FrameTime),
        }
    }

    /// Hands over everything that is whole in the buffer, each batch when there is room for it. Cancel safe: what was
    /// found stays in `held`.
    async fn take_all(&mut self) -> Result<(), End> {
        while self.find().map_err(End::Malformed)? {
            match &self.held {
                Some(Found::Chunk(_)) => self.acks.room().await.map_err(|Unread| End::AcksUnread)?,
                Some(Found::Records(_)) => self.room().await,
                Some(Found::Grow(bytes)) => {
                    let bytes = *bytes;
                    self.lend_inflating(bytes).await;
                }
                Some(Found::End) | None => {}
            }
            self.take_held();
        }
        Ok(())
    }

    /// The source reads no more: hands over what was read and is whole, room or not, since nobody else has it. A chunk
    /// that its sender wants an ack for is left: it is repeated.
    fn hand_over(&mut self) {
        while self.claim.is_none() && self.find().unwrap_or(false) && !matches!(self.held, Some(Found::Chunk(_))) {
            self.take_held();
        }
        self.count();
    }

    /// Whether there is something to hand over.
    fn find(&mut self) -> Result<bool, Malformed> {
        if self.held.is_none() {
            self.held = self.frames.next(&mut self.buf, self.received)?;
        }
        Ok(self.held.is_some())
    }

    fn take_held(&mut self) {
        match self.held.take() {
            Some(Found::Chunk(token)) => self.claim = Some(self.claim(token)),
            Some(Found::Records(mut batch)) => {
                self.in_a_row += batch.data.len();
                if let Some(Claim::Ticket(ticket)) = &self.claim {
                    batch.tickets = ticket.clone().into();
                }
                match self.claim {
                    Some(Claim::Received(_)) => self.intake.take_promptly(batch),
                    Some(Claim::Ticket(_)) | None => self.intake.take(batch),
                }
            }
            Some(Found::End) => match self.claim.take() {
                Some(Claim::Received(number)) => self.acks.settle(number, Outcome::Delivered),
                // The last copy settles it; here that is already so when no record was taken.
                Some(Claim::Ticket(_)) | None => {}
            },
            Some(Found::Grow(_)) | None => {}
        }
    }

    fn claim(&self, token: Box<[u8]>) -> Claim {
        let number = self.acks.promise(token);
        match self.shared.ack {
            AckMode::Received => Claim::Received(number),
            AckMode::Durable => Claim::Ticket(Ticket::durable(self.settle(number))),
            AckMode::Delivered => Claim::Ticket(Ticket::new(self.settle(number))),
        }
    }

    /// What keeps or breaks a promise.
    fn settle(&self, number: u64) -> impl FnOnce(Outcome) + Send + 'static {
        let acks = Arc::clone(&self.acks);
        move |outcome| acks.settle(number, outcome)
    }

    /// Waits until the queues have room for what comes next; called after the ack of what they have. Asked before
    /// every batch, not only after the own one: many connections would fill the queues far beyond their bound.
    async fn room(&mut self) {
        self.begin_wait();
        self.intake.room().await;
        self.end_wait();
        if self.in_a_row > READ_MAX {
            self.in_a_row = 0;
            tokio::task::yield_now().await;
        }
    }

    /// From here on a drain does not take the connection for a quiet one.
    fn begin_wait(&mut self) {
        if !std::mem::replace(&mut self.waits, true) {
            self.shared.busy.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn end_wait(&mut self) {
        self.waits = false;
        self.shared.busy.fetch_sub(1, Ordering::Relaxed);
    }

    fn count(&mut self) {
        let tally = self.frames.take_tally();
        if tally.frames > 0 {
            self.deadline = None;
        }
        self.shared.stats.add(&tally);
        for (reason, (records, bytes)) in
            [("not_a_map", tally.not_a_map), ("not_an_entry", tally.not_an_entry), ("not_logs", tally.not_logs)]
        {
            if records > 0 {
                self.intake.refuse(reason, records, bytes);
            }
        }
        for (reason, excerpt) in &tally.excerpts {
            self.intake.undecodable(reason, self.peer, excerpt);
        }
    }
}

impl<R, I> Drop for Reading<'_, R, I> {
    /// A frame that was not taken whole is not acked, whatever becomes of the records that were.
    fn drop(&mut self) {
        if self.waits {
            self.shared.busy.fetch_sub(1, Ordering::Relaxed);
        }
        match self.claim.take() {
            Some(Claim::Received(number)) => self.acks.settle(number, Outcome::Lost),
            Some(Claim::Ticket(ticket)) => ticket.mark(Outcome::Lost),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
