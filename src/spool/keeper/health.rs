//! How a queue's disk is doing, and what the log hears of it.

use std::time::Duration;

use super::Queue;
use crate::spool::state::OnDisk;

/// How a disk is doing.
#[derive(Clone, Debug, Default)]
pub struct DiskState {
    /// Bytes of the segments, and their bound.
    pub used: u64,
    /// Their bound.
    pub quota: u64,
    /// Segments.
    pub segments: usize,
    /// Syncs since the start.
    pub syncs: u64,
    /// Whether the quota leaves no room.
    pub full: bool,
    /// Why the disk did not take what was written last.
    pub failure: Option<String>,
    /// For how long it has not come back from a write, when that was last told.
    pub stalled: Option<Duration>,
    /// Bytes at the ends of segments that were torn, cut off at the start.
    pub torn: u64,
    /// Bytes of segments that could not be read at the start.
    pub damaged: u64,
}

impl Queue {
    /// How the disk is doing; None in memory.
    pub fn disk(&self) -> Option<DiskState> {
        let keeper = self.keeper.as_ref()?;
        let state = self.state();
        let disk = state.disk.as_ref()?;
        Some(DiskState {
            used: disk.used,
            quota: keeper.limits.quota,
            segments: disk.segments,
            syncs: disk.syncs,
            full: disk.full,
            failure: disk.failure.clone(),
            stalled: disk.stalled,
            torn: keeper.found.torn,
            damaged: keeper.found.damaged,
        })
    }

    /// Says that the spool has no room.
    pub(super) fn tell_full(&self, disk: &OnDisk, full: bool) {
        let seldom = self.keeper.as_ref().map(|keeper| &keeper.full);
        if full && !disk.full && seldom.is_some_and(|seldom| seldom.line().is_some()) {
            tracing::warn!(
                sink = self.name(),
                "the spool of this sink is full; what comes waits in memory, and when that is full too, `when_full` acts"
            );
        }
    }

    /// Says when a disk begins to fail and when it works again.
    pub(super) fn tell_health(&self, disk: &OnDisk, failure: Option<&str>) {
        match (&disk.failure, failure) {
            (None, Some(failure)) => tracing::error!(
                sink = self.name(),
                "the spool's disk fails ({failure}); this queue goes on in memory and tries the disk each second. \
                 What is in memory is lost by a crash; chunks are not acked as durable meanwhile"
            ),
            (Some(_), None) => tracing::info!(sink = self.name(), "the spool's disk works again; nothing to do"),
            _ => {}
        }
    }

    /// The disk hangs: what waits to be durable waits for it, in memory, within the queue's bound.
    pub(super) fn stalls(&self, so_far: Duration) {
        tracing::error!(
            sink = self.name(),
            "the spool's disk has not come back for {} s; what comes waits in memory until it does, and acks with it",
            so_far.as_secs()
        );
        if let Some(disk) = &mut self.state().disk {
            disk.stalled = Some(so_far);
        }
    }

    fn name(&self) -> String {
        self.ledger().books().sinks[self.sink()].name.clone()
    }
}
