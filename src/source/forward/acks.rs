//! Acks of one connection: promised in the order of the frames, settled in any order, written in order, beside the
//! reading.
//!
//! What is held is bounded. A reader that finds the bound reached waits; if that is because the peer does not read its
//! acks, it waits for a while only and the connection ends.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::stats::ForwardStats;
use crate::record::{Outcome, msgpack};

/// What the promised acks of a connection may take: some seven hundred real tokens, more than any sender leaves
/// unacked. A thousand connections take 64 MiB at the very worst.
const BACKLOG: usize = 64 << 10;

/// What a promise takes beside its token.
const SLOT: usize = 64;

/// How long a peer may leave its acks unread, once its socket takes no more or so many wait. Senders that ask for acks read them at once.
const UNREAD: Duration = Duration::from_secs(30);

/// Acks that are encoded together for one write.
const WRITE: usize = 16 << 10;

#[derive(Debug)]
struct Slot {
    token: Box<[u8]>,
    outcome: Option<Outcome>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of `slots[0]`.
    first: u64,
    slots: VecDeque<Slot>,
    /// What `slots` take.
    held: usize,
    /// The peer cannot be written to: nothing is promised any more.
    gone: bool,
}

/// The acks of one connection.
#[derive(Debug, Default)]
pub(super) struct Acks {
    state: Mutex<State>,
    /// The front may be written.
    settled: Notify,
    /// Something was written.
    freed: Notify,
}

/// The peer does not read its acks.
#[derive(Debug)]
pub(super) struct Unread;

impl Acks {
    /// Promises an ack; returns its number.
    pub(super) fn promise(&self, token: Box<[u8]>) -> u64 {
        let mut state = self.state();
        if state.gone {
            return u64::MAX;
        }
        state.held += SLOT + token.len();
        state.slots.push_back(Slot { token, outcome: None });
        state.first + state.slots.len() as u64 - 1
    }

    /// Keeps or breaks a promise; the first word counts.
    pub(super) fn settle(&self, number: u64, outcome: Outcome) {
        let mut state = self.state();
        let Some(index) = number.checked_sub(state.first) else { return };
        if let Some(slot) = usize::try_from(index).ok().and_then(|index| state.slots.get_mut(index)) {
            slot.outcome.get_or_insert(outcome);
        }
        if index == 0 {
            self.settled.notify_one();
        }
    }

    /// Forgets every promise: the peer is gone, and repeats what was not acked.
    pub(super) fn give_up(&self, stats: &ForwardStats) {
        let mut state = self.state();
        stats.acks_withheld.add(state.slots.len() as u64);
        *state = State { first: state.first + state.slots.len() as u64, gone: true, ..State::default() };
        drop(state);
        self.freed.notify_one();
    }

    /// Comes back when another promise may be made. Cancel safe.
    pub(super) async fn room(&self) -> Result<(), Unread> {
        loop {
            if self.state().held < BACKLOG {
                return Ok(());
            }
            let waited = timeout(UNREAD, self.freed.notified()).await;
            // A front that is not settled waits for the sinks, not for the peer.
            let ready = self.state().slots.front().is_some_and(|slot| slot.outcome.is_some());
            if waited.is_err() && ready {
                return Err(Unread);
            }
        }
    }

    /// Whether every promise has been kept or broken.
    pub(super) fn is_empty(&self) -> bool {
        self.state().slots.is_empty()
    }

    /// Writes acks as they are settled; comes back when writing fails, or with `until_empty` when none is left.
    pub(super) async fn write<W: AsyncWrite + Unpin>(
        &self,
        out: &mut AckWriter<W>,
        stats: &ForwardStats,
        until_empty: bool,
    ) -> io::Result<()> {
        loop {
            out.flush().await?;
            if self.encode(&mut out.pending, stats) > 0 {
                self.freed.notify_one();
            } else if until_empty && self.is_empty() {
                return Ok(());
            } else {
                self.settled.notified().await;
            }
        }
    }

    /// Writes what is settled now and waits for no more.
    pub(super) async fn write_settled<W: AsyncWrite + Unpin>(
        &self,
        out: &mut AckWriter<W>,
        stats: &ForwardStats,
    ) -> io::Result<()> {
        loop {
            out.flush().await?;
            if self.encode(&mut out.pending, stats) == 0 {
                return Ok(());
            }
        }
    }

    /// Takes settled promises off the front; returns how many.
    fn encode(&self, out: &mut Vec<u8>, stats: &ForwardStats) -> usize {
        let mut state = self.state();
        let mut taken = 0;
        while out.len() < WRITE && state.slots.front().is_some_and(|slot| slot.outcome.is_some()) {
            let Some(slot) = state.slots.pop_front() else { break };
            state.first += 1;
            state.held -= SLOT + slot.token.len();
            taken += 1;
            if slot.outcome.is_some_and(Outcome::is_settled) {
                msgpack::write::map(out, 1);
                msgpack::write::str(out, b"ack");
                out.extend_from_slice(&slot.token);
                stats.acks.add(1);
            } else {
                stats.acks_withheld.add(1);
            }
        }
        taken
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The writing half of a connection, with the bytes that are under way: a write that was cancelled is gone on with.
#[derive(Debug)]
pub(super) struct AckWriter<W> {
    writer: W,
    pending: Vec<u8>,
    /// How much of `pending` has been written.
    written: usize,
}

impl<W: AsyncWrite + Unpin> AckWriter<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, pending: Vec::new(), written: 0 }
    }

    /// Says goodbye: with TLS a word of its own, without it the end of the stream.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.writer.shutdown().await
    }

    /// Writes what is pending; a peer that takes nothing of it for [`UNREAD`] is taken for gone.
    async fn flush(&mut self) -> io::Result<()> {
        while self.written < self.pending.len() {
            match timeout(UNREAD, self.writer.write(&self.pending[self.written..])).await?? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => self.written += n,
            }
        }
        self.pending.clear();
        self.written = 0;
        timeout(UNREAD, self.writer.flush()).await?
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_whose_socket_takes_no_acks_is_left_after_a_while() {
        let (ours, _peer) = tokio::io::duplex(1);
        let acks = Acks::default();
        let number = acks.promise(Box::from(&b"\xa5chunk"[..]));
        acks.settle(number, Outcome::Delivered);
        let begun = Instant::now();
        let written = acks.write(&mut AckWriter::new(ours), &ForwardStats::default(), false).await;
        assert_eq!(written.expect_err("nobody reads").kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), UNREAD);
    }
}
