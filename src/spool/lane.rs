//! The blocks of one partition that are ready to be taken, in sequence. Sums are kept, so that a look at a long lane
//! costs nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{Location, Stored};
use crate::encode::{BlockMeta, Moment, Partition};

/// Where the bytes of a block are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Here.
    Memory(Bytes),
    /// Only on disk.
    Disk(Location),
}

impl Place {
    /// Its file is set aside, not removed.
    pub(super) fn mark_damaged(&self) {
        if let Self::Disk(location) = self {
            location.mark_damaged();
        }
    }
}

/// A block that is ready to be taken.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) sequence: u64,
    pub(super) meta: BlockMeta,
    pub(super) place: Place,
}

impl Slot {
    /// Bytes as stored.
    pub(super) fn len(&self) -> u64 {
        match &self.place {
            Place::Memory(data) => data.len() as u64,
            Place::Disk(location) => location.len(),
        }
    }

    /// Bytes that it holds in memory.
    pub(super) fn memory(&self) -> u64 {
        match &self.place {
            Place::Memory(data) => data.len() as u64,
            Place::Disk(_) => 0,
        }
    }

    pub(super) fn is_on_disk(&self) -> bool {
        matches!(self.place, Place::Disk(_))
    }
}

impl From<Stored> for Slot {
    fn from(stored: Stored) -> Self {
        let Stored { sequence, meta, location } = stored;
        Self { sequence, meta, place: Place::Disk(location) }
    }
}

/// What a sink may know of a partition to decide whether to take its blocks.
#[derive(Clone, Debug)]
pub struct LaneState {
    /// Which partition.
    pub partition: Arc<Partition>,
    /// Bytes of the blocks that are ready to be taken.
    pub ready_bytes: u64,
    /// How many those are; at least one.
    pub ready_blocks: usize,
    /// Their records.
    pub ready_records: u64,
    /// When the first record of the oldest block was routed.
    pub opened: Moment,
    /// When the first record of the first block that a sender waits for was routed.
    pub awaited_since: Option<Moment>,
}

/// The ready blocks of one partition.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Increasing in sequence.
    slots: VecDeque<Slot>,
    bytes: u64,
    records: u64,
    /// Sequence and age of those that a sender waits for.
    awaited: VecDeque<(u64, Moment)>,
}

impl Lane {
    pub(super) fn push(&mut self, slot: Slot) {
        debug_assert!(self.slots.back().is_none_or(|last| last.sequence < slot.sequence));
        self.bytes += slot.len();
        self.records += slot.meta.count.records;
        if !slot.meta.tickets.is_empty() {
            self.awaited.push_back((slot.sequence, slot.meta.opened));
        }
        self.slots.push_back(slot);
    }

    pub(super) fn pop(&mut self) -> Option<Slot> {
        let slot = self.slots.pop_front()?;
        self.bytes -= slot.len();
        self.records -= slot.meta.count.records;
        self.awaited.pop_front_if(|(sequence, _)| *sequence == slot.sequence);
        Some(slot)
    }

    pub(super) fn front(&self) -> Option<&Slot> {
        self.slots.front()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes out the blocks that are held in memory.
    pub(super) fn take_memory(&mut self) -> Vec<Slot> {
        let all = std::mem::take(self);
        let (disk, memory): (Vec<Slot>, Vec<Slot>) = all.slots.into_iter().partition(Slot::is_on_disk);
        disk.into_iter().for_each(|slot| self.push(slot));
        memory
    }

    /// None for a lane without blocks, which does not occur in a queue.
    pub(super) fn state(&self, partition: &Arc<Partition>) -> Option<LaneState> {
        Some(LaneState {
            partition: Arc::clone(partition),
            ready_bytes: self.bytes,
            ready_blocks: self.slots.len(),
            ready_records: self.records,
            opened: self.slots.front()?.meta.opened,
            awaited_since: self.awaited.front().map(|(_, opened)| *opened),
        })
    }
}
