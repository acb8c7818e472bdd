//! Reading back what was written long ago: blocks that nobody has, oldest first.

use std::io::Result;
use std::sync::Arc;

use super::frame::Header;
use super::segment::{Location, SegmentFile, Walk};
use super::store::{Anchor, Segment, Store, Stored};
use crate::encode::{BlockMeta, Count};
use crate::record::Tickets;

/// A segment that could not be read so often in a row is given up.
const READ_TRIES: u32 = 3;

/// Blocks read back.
#[derive(Debug, Default)]
pub struct Refill {
    /// In sequence.
    pub blocks: Vec<Stored>,
    /// Records of blocks that should have been there.
    pub lost: Count,
    /// How many blocks those were.
    pub lost_blocks: u64,
}

/// Where the blocks begin that nobody has read back.
#[derive(Debug)]
pub(super) struct Cold {
    /// A segment, or where one was.
    pub(super) segment: u64,
    pub(super) offset: u64,
    /// Blocks of this segment that should be found from there on, and their records.
    pub(super) expected: (u64, Count),
}

impl Store {
    /// Reads back up to so many of the blocks that nobody has, oldest first. What cannot be found where it should be is
    /// lost: its segment is set aside.
    pub fn refill(&mut self, most: usize) -> Result<Refill> {
        let mut refill = Refill::default();
        while let Some(cold) = &mut self.cold {
            let number = cold.segment;
            if let Some(segment) = self.segments.get(&number) {
                let mut walk = Walk::new(Arc::clone(&segment.file.file), cold.offset, segment.content.len);
                while refill.blocks.len() < most && cold.expected.0 > 0 {
                    let found = match walk.next_block() {
                        Ok(Some(found)) => found,
                        Ok(None) => break,
                        Err(_) if !refill.blocks.is_empty() => return Ok(refill),
                        // Tried again, but not for ever: then the segment is set aside.
                        Err(_) if self.read_failures >= READ_TRIES => break,
                        Err(error) => {
                            self.read_failures += 1;
                            return Err(error);
                        }
                    };
                    self.read_failures = 0;
                    cold.offset = walk.at();
                    let header = found.header;
                    if segment.ended.contains(header.sequence) || self.held.contains(header.sequence) {
                        continue;
                    }
                    cold.expected.0 = cold.expected.0.saturating_sub(1);
                    cold.expected.1 = cold.expected.1.less(header.count);
                    refill.blocks.push(stored(&segment.file, found.data, header, &self.anchor));
                }
                if refill.blocks.len() >= most && cold.expected.0 > 0 {
                    return Ok(refill);
                }
                if cold.expected.0 > 0 {
                    refill.lost_blocks += cold.expected.0;
                    refill.lost += cold.expected.1;
                    self.write_off(number);
                }
            }
            self.cold = self.cold_behind(number);
            if refill.blocks.len() >= most {
                break;
            }
        }
        Ok(refill)
    }

    /// What a walk could not find is over, so that its segment can leave.
    fn write_off(&mut self, number: u64) {
        self.read_failures = 0;
        let Some((blocks, count)) = self.cold.as_ref().map(|cold| cold.expected) else { return };
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.file.mark_damaged();
            segment.content.blocks = segment.content.blocks.saturating_sub(blocks);
            segment.content.count = segment.content.count.less(count);
        }
    }

    /// The next segment with blocks that nobody has read back.
    pub(super) fn cold_behind(&self, number: u64) -> Option<Cold> {
        self.segments.range(number + 1..).find_map(|(&segment, state)| cold_of(segment, state))
    }
}

/// The whole of a segment as something to be read back; none if there is nothing.
pub(super) fn cold_of(segment: u64, state: &Segment) -> Option<Cold> {
    let (blocks, count) = state.waiting();
    let (blocks, count) = (blocks.saturating_sub(state.held.0), count.less(state.held.1));
    (blocks > 0).then_some(Cold { segment, offset: 0, expected: (blocks, count) })
}

/// A block as its queue knows it.
pub(super) fn stored(file: &Arc<SegmentFile>, offset: u64, header: Header, anchor: &Anchor) -> Stored {
    let Header { sequence, len, checksum, count, plain_len, times, opened, partition } = header;
    let opened = anchor.moment(opened);
    let meta = BlockMeta { partition, count, plain_len, times, opened, tickets: Tickets::none() };
    Stored { sequence, meta, location: Location { file: Arc::clone(file), offset, len, checksum } }
}
