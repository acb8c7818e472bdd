//! Writing blocks: into the current segment or into further ones, then one sync. After an error it is as if none of it
//! had been tried.

use std::io::Result;
use std::sync::Arc;

use super::cold::Cold;
use super::frame::{Header, MAGIC};
use super::segment::{self, Location, SegmentFile};
use super::store::{Content, Segment, Store, ToStore};
use crate::encode::checksum;

impl Store {
    /// Blocks into the current segment or into further ones, then one sync. After an error it is as if none of this had
    /// been tried.
    pub(super) fn append(&mut self, blocks: &[ToStore], cold: bool, beyond: bool) -> Result<(Vec<Location>, bool)> {
        if blocks.is_empty() {
            return Ok((Vec::new(), false));
        }
        let before = (self.current, self.current.and_then(|number| self.segments.get(&number)).map(|s| s.content));
        let (from, next) = (self.next_segment, self.next_sequence);
        let was_cold = self.cold.as_ref().map(|cold| (cold.segment, cold.offset, cold.expected));
        let written = self.write(blocks, cold, beyond).and_then(|written| self.sync().map(|()| written));
        if written.is_err() {
            self.current = None;
            self.next_sequence = next;
            self.cold = was_cold.map(|(segment, offset, expected)| Cold { segment, offset, expected });
            if let (Some(number), Some(content)) = before {
                // What lies behind its last sync may be there or not: it gets nothing more.
                self.roll_back(number, content);
            }
            for number in from..self.next_segment {
                self.roll_back(number, Content::default());
            }
        }
        written
    }

    /// A segment as it was before. What has nothing in it leaves with the next journal.
    fn roll_back(&mut self, number: u64, content: Content) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.content = content;
            let sealed = segment.sealed();
            self.note(&sealed);
        }
    }

    fn write(&mut self, blocks: &[ToStore], cold: bool, beyond: bool) -> Result<(Vec<Location>, bool)> {
        let mut locations = Vec::with_capacity(blocks.len());
        for block in blocks {
            let header = self.header(block);
            let frame = header.encode();
            let len = frame.len() as u64 + u64::from(header.len);
            if !(beyond || self.has_room(frame.len(), block)) {
                return Ok((locations, true));
            }
            let number = self.segment_for(len)?;
            let segment = self.segments.get_mut(&number).expect("it has just been found or made");
            let content = &mut segment.content;
            segment.file.file.write_at(content.len, &[&frame, &block.data])?;
            if cold {
                let count = block.meta.count;
                let new = || Cold { segment: number, offset: content.len, expected: Default::default() };
                let cold = self.cold.get_or_insert_with(new);
                if cold.segment == number {
                    cold.expected.0 += 1;
                    cold.expected.1 += count;
                }
            }
            locations.push(Location {
                file: Arc::clone(&segment.file),
                offset: content.len + frame.len() as u64,
                len: header.len,
                checksum: header.checksum,
            });
            if content.blocks == 0 {
                content.first = block.sequence;
            }
            content.last = block.sequence;
            content.blocks += 1;
            content.count += block.meta.count;
            content.len += len;
            self.next_sequence = self.next_sequence.max(block.sequence + 1);
        }
        Ok((locations, false))
    }

    /// Whether the quota lets a block in, which may begin a segment. One is let in however small the quota is, or nothing
    /// would ever go on.
    pub(super) fn has_room(&self, header: usize, block: &ToStore) -> bool {
        let (used, begins) = (self.bytes(), MAGIC.len() as u64);
        used <= begins || used + begins + header as u64 + block.data.len() as u64 <= self.limits.quota
    }

    /// The current segment leaves when nothing in it is needed: beside it there may be no room for a block.
    pub(super) fn seal_current_if_over(&mut self) {
        let current = self.current.and_then(|number| self.segments.get(&number));
        if let Some(segment) = current.filter(|segment| segment.is_over()) {
            let sealed = segment.sealed();
            self.note(&sealed);
            self.current = None;
        }
    }

    pub(super) fn header(&self, block: &ToStore) -> Header {
        let meta = &block.meta;
        Header {
            sequence: block.sequence,
            len: u32::try_from(block.data.len()).expect("a block is far below 4 GiB"),
            checksum: checksum(&block.data),
            count: meta.count,
            plain_len: meta.plain_len,
            times: meta.times,
            opened: self.anchor.unix(meta.opened),
            partition: Arc::clone(&meta.partition),
        }
    }

    /// The segment that a block of this length goes into.
    fn segment_for(&mut self, len: u64) -> Result<u64> {
        if let Some(number) = self.current {
            let content = self.segments.get(&number).map_or(Content::default(), |segment| segment.content);
            if content.len + len <= self.limits.segment || content.blocks == 0 {
                return Ok(number);
            }
            self.close_current()?;
        }
        let number = self.next_segment;
        let file = self.directory.create(&segment::name(number))?;
        self.next_segment += 1;
        self.names_dirty = true;
        let content = Content { len: MAGIC.len() as u64, ..Content::default() };
        self.segments.insert(number, Segment::new(SegmentFile::new(number, file), content));
        self.segments[&number].file.file.write_at(0, &[MAGIC])?;
        self.current = Some(number);
        Ok(number)
    }

    /// The current segment gets no further block.
    pub(super) fn close_current(&mut self) -> Result<()> {
        let Some(segment) = self.current.and_then(|number| self.segments.get(&number)) else { return Ok(()) };
        segment.file.file.sync()?;
        let sealed = segment.sealed();
        self.note(&sealed);
        self.current = None;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        if let Some(segment) = self.current.and_then(|number| self.segments.get(&number)) {
            segment.file.file.sync()?;
        }
        if self.names_dirty {
            self.directory.sync()?;
            self.names_dirty = false;
        }
        Ok(())
    }
}
