//! What a queue holds, under its lock: blocks that are being filled or written, lanes of ready ones, and what is to be
//! told to the disk.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::disk::{CutEntry, Ended, Ranges};
use super::lane::{Lane, Place, Slot};
use crate::encode::{BlockMeta, Count, Moment, Partition};
use crate::record::Tickets;

/// A block that has its place, and perhaps its bytes; not ready to be taken.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) sequence: u64,
    pub(super) meta: BlockMeta,
    /// None until the block is compressed; until then its plain length is counted.
    pub(super) data: Option<Bytes>,
}

impl Pending {
    pub(super) fn len(&self) -> u64 {
        self.data.as_ref().map_or(self.meta.plain_len, |data| data.len() as u64)
    }
}

/// An object of the last process that was cut and not finished, with its blocks.
pub(super) type Unfinished = (CutEntry, Vec<Slot>);

/// A queue with a disk: what waits to be written there, and what is known of it.
#[derive(Debug, Default)]
pub(super) struct OnDisk {
    pub(super) cuts: Vec<(String, Ranges, oneshot::Sender<bool>)>,
    /// Who waits for the cuts that are being written.
    pub(super) telling: Vec<oneshot::Sender<bool>>,
    pub(super) uploads: Vec<(u64, String)>,
    pub(super) ended: Vec<Ended>,
    pub(super) unfinished: Vec<Unfinished>,
    /// How many pending blocks at the front are being written.
    pub(super) writing: usize,
    /// Whether something is being written.
    pub(super) busy: bool,
    /// For how long the disk has not come back, once that is too long.
    pub(super) stalled: Option<Duration>,
    /// Blocks on disk that no lane knows of; all come behind those in lanes.
    pub(super) cold: u64,
    /// Who waits for one of those.
    pub(super) cold_tickets: BTreeMap<u64, Tickets>,
    /// Bytes of the segments.
    pub(super) used: u64,
    pub(super) segments: usize,
    /// Since the start.
    pub(super) syncs: u64,
    /// The quota left no room for a block.
    pub(super) full: bool,
    /// Why the disk did not take what was written last.
    pub(super) failure: Option<String>,
    /// Write what is left, then end.
    pub(super) closing: bool,
}

impl OnDisk {
    /// Whether the disk took what was written last, and has room.
    pub(super) fn takes(&self) -> bool {
        self.failure.is_none() && !self.full
    }
}

/// What a queue holds.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Bytes in memory: of pending blocks, of lanes and of leases.
    pub(super) used: u64,
    /// Bytes of pending blocks.
    pub(super) unwritten: u64,
    pub(super) next_sequence: u64,
    /// Increasing in sequence; all are behind those in lanes.
    pub(super) pending: VecDeque<Pending>,
    pub(super) lanes: HashMap<Arc<Partition>, Lane>,
    /// Blocks in lanes.
    pub(super) ready: usize,
    pub(super) next_flight: u64,
    /// When the oldest record of each lease or receipt that is not settled was routed.
    pub(super) flights: HashMap<u64, Moment>,
    pub(super) disk: Option<OnDisk>,
}

impl State {
    pub(super) fn find(&self, sequence: u64) -> Option<usize> {
        self.pending.binary_search_by_key(&sequence, |pending| pending.sequence).ok()
    }

    /// Puts a block where it can be taken.
    pub(super) fn make_ready(&mut self, mut slot: Slot) {
        self.ready += 1;
        if let Some((partition, _)) = self.lanes.get_key_value(&slot.meta.partition) {
            // What was read back brings a name of its own for each block.
            slot.meta.partition = Arc::clone(partition);
        }
        self.lanes.entry(Arc::clone(&slot.meta.partition)).or_default().push(slot);
    }

    /// Makes ready what is filled at the front, from memory.
    pub(super) fn advance(&mut self) {
        while self.pending.front().is_some_and(|pending| pending.data.is_some()) {
            if let Some(Pending { sequence, meta, data: Some(data) }) = self.pending.pop_front() {
                self.unwritten -= data.len() as u64;
                self.make_ready(Slot { sequence, meta, place: Place::Memory(data) });
            }
        }
    }

    /// The leading blocks of a partition: at least one if there is one, then as many as stay within `max_bytes` and are
    /// in the same place as the first.
    pub(super) fn pop_front(&mut self, partition: &Arc<Partition>, max_bytes: u64) -> Vec<Slot> {
        let mut slots = Vec::new();
        let Some(lane) = self.lanes.get_mut(partition) else { return slots };
        let on_disk = lane.front().is_some_and(Slot::is_on_disk);
        let mut sum = 0;
        while let Some(front) = lane.front().filter(|front| front.is_on_disk() == on_disk) {
            sum += front.len();
            if !slots.is_empty() && sum > max_bytes {
                break;
            }
            slots.extend(lane.pop());
        }
        if lane.is_empty() {
            self.lanes.remove(partition);
        }
        self.ready -= slots.len();
        slots
    }

    /// Removes the oldest ready block that is in memory, or on disk, and not in flight.
    pub(super) fn pop_oldest(&mut self, on_disk: bool) -> Option<Slot> {
        let oldest = |(_, lane): &(&Arc<Partition>, &Lane)| lane.front().map(|slot| slot.sequence);
        let wanted = |(_, lane): &(&Arc<Partition>, &Lane)| lane.front().is_some_and(|s| s.is_on_disk() == on_disk);
        let partition = Arc::clone(self.lanes.iter().filter(wanted).min_by_key(oldest)?.0);
        let lane = self.lanes.get_mut(&partition)?;
        let slot = lane.pop()?;
        if lane.is_empty() {
            self.lanes.remove(&partition);
        }
        self.ready -= 1;
        self.used -= slot.memory();
        Some(slot)
    }

    /// Removes the oldest pending block that is not being written.
    pub(super) fn pop_pending(&mut self) -> Option<Pending> {
        let writing = self.disk.as_ref().map_or(0, |disk| disk.writing);
        let pending = self.pending.remove(writing)?;
        self.used -= pending.len();
        self.unwritten -= pending.len();
        Some(pending)
    }

    /// Notes that blocks are under way.
    pub(super) fn depart(&mut self, slots: &[Slot]) -> u64 {
        let flight = self.next_flight;
        self.next_flight += 1;
        let oldest = slots.iter().map(|slot| slot.meta.opened).min();
        self.flights.insert(flight, oldest.unwrap_or_default());
        flight
    }
}

/// All records of some blocks.
pub(super) fn sum<'a>(metas: impl IntoIterator<Item = &'a BlockMeta>) -> Count {
    let mut sum = Count::default();
    metas.into_iter().for_each(|meta| sum += meta.count);
    sum
}
