//! The one writer of a queue's directory.
//!
//! Order of operations, so that a crash between any two leaves a spool that opens: blocks and the names of their
//! segments are synced before anyone is told that they are durable; a cut is synced before its object is begun; the
//! journal is synced before a segment is removed, and removals before the journal forgets them.
//!
//! After an error nothing that was not synced counts as written: the segment is closed where its last sync left it,
//! and the blocks, which their queue still holds, go into the next one.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::files::Directory;
use super::frame::{Header, MAGIC};
use super::journal::{EndedPart, Entry, Journal};
use super::ranges::Ranges;
use super::segment::{self, DAMAGED, Location, SegmentFile, Walk};
use crate::encode::{Block, BlockMeta, Count, Moment};
use crate::record::{Tickets, UnixNanos};

/// Bytes that a disk must take to count as working again.
const PROBE: usize = 64 << 10;

/// A segment that could not be read so often in a row is given up.
const READ_TRIES: u32 = 3;

/// Sizes of a queue on disk.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A segment gets no further block from this size on.
    pub segment: u64,
    /// Bytes of all segments.
    pub quota: u64,
}

impl Limits {
    /// Segments of 4 to 16 MiB: large enough to be few, small enough that one slow block does not pin much. A small
    /// quota has smaller ones, since room comes back by whole segments.
    pub fn of(quota: u64) -> Self {
        Self { segment: (quota / 16).min(16 << 20).max((quota / 8).min(4 << 20)), quota }
    }
}

/// One moment on both clocks: blocks carry the time of day, since a monotonic moment ends with the process.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    /// Monotonic.
    pub moment: Moment,
    /// The time of day.
    pub unix: UnixNanos,
}

impl Anchor {
    fn unix(&self, moment: Moment) -> UnixNanos {
        let nanos = |moment: Duration| i64::try_from(moment.as_nanos()).unwrap_or(i64::MAX);
        self.unix.saturating_add(nanos(moment)).saturating_sub(nanos(self.moment))
    }

    fn moment(&self, unix: UnixNanos) -> Moment {
        let ago = Duration::from_nanos(u64::try_from(self.unix.saturating_sub(unix)).unwrap_or(0));
        self.moment.saturating_sub(ago)
    }
}

/// A block to be written.
#[derive(Clone, Debug)]
pub struct ToStore {
    /// Larger than all before.
    pub sequence: u64,
    /// What it holds; the tickets are not written.
    pub meta: BlockMeta,
    /// Its bytes.
    pub data: Bytes,
}

/// A block that is on disk.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its sequence.
    pub sequence: u64,
    /// What it holds, without tickets.
    pub meta: BlockMeta,
    /// Where its bytes are.
    pub location: Location,
}

/// Blocks that are the object of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutEntry {
    /// Of the object.
    pub key: String,
    /// Its blocks.
    pub blocks: Ranges,
    /// The multipart upload that was begun for it, if any.
    pub upload: Option<String>,
}

/// A block that came to its end.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its segment.
    pub segment: u64,
    /// Its sequence.
    pub sequence: u64,
    /// Its records.
    pub count: Count,
}

/// What is to be written together.
#[derive(Debug, Default)]
pub struct Commit {
    /// In sequence.
    pub blocks: Vec<ToStore>,
    /// Whether these blocks are only wanted by a later [`Store::refill`].
    pub cold: bool,
    /// Objects that are about to be begun: key and blocks.
    pub cuts: Vec<(String, Ranges)>,
    /// Multipart uploads that were begun, by the first block of their cut.
    pub uploads: Vec<(u64, String)>,
    /// Blocks that came to their end.
    pub ended: Vec<Ended>,
    /// The last commit failed: find out whether the disk works, whatever else there is to write.
    pub probe: bool,
    /// The process ends: what is in memory goes to disk beyond the quota rather than nowhere.
    pub beyond: bool,
}

/// What a commit did.
#[derive(Debug, Default)]
pub struct Committed {
    /// Where the blocks are that are durable: the first so many of those given. None after an error; fewer than were
    /// given when the quota is reached.
    pub locations: Vec<Location>,
    /// Whether these blocks come back only by a later [`Store::refill`].
    pub cold: bool,
    /// The quota leaves no room for the next block.
    pub full: bool,
    /// Why no block was written.
    pub error: Option<Error>,
    /// Why the cuts are not durable.
    pub journal_error: Option<Error>,
}

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

/// What is in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) blocks: u64,
    pub(super) count: Count,
    /// Bytes that belong to it; what lies behind does not.
    pub(super) len: u64,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Arc<SegmentFile>,
    pub(super) content: Content,
    pub(super) ended: Ranges,
    pub(super) ended_count: Count,
    /// Blocks of objects that were cut before the start and wait; they are not read back with the others.
    pub(super) held: (u64, Count),
}

impl Segment {
    pub(super) fn new(file: Arc<SegmentFile>, content: Content) -> Self {
        Self { file, content, ended: Ranges::default(), ended_count: Count::default(), held: Default::default() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.len() >= self.content.blocks
    }

    /// Blocks and records in it that have not come to their end.
    pub(super) fn waiting(&self) -> (u64, Count) {
        (self.content.blocks.saturating_sub(self.ended.len()), self.content.count.less(self.ended_count))
    }

    fn sealed(&self) -> Entry {
        let Content { first, last, blocks, count, len } = self.content;
        Entry::Sealed { segment: self.file.number, first, last, blocks, count, len }
    }
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

/// The one writer of a queue's directory.
#[derive(Debug)]
pub struct Store {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) limits: Limits,
    pub(super) anchor: Anchor,
    /// By number; sequences increase with it.
    pub(super) segments: BTreeMap<u64, Segment>,
    pub(super) next_segment: u64,
    /// None until one could be begun; all that it must say is known here.
    pub(super) journal: Option<Journal>,
    /// By their first block.
    pub(super) cuts: BTreeMap<u64, CutEntry>,
    /// Blocks of objects that were cut before the start.
    pub(super) held: Ranges,
    pub(super) next_sequence: u64,
    /// The segment that is appended to.
    pub(super) current: Option<u64>,
    pub(super) cold: Option<Cold>,
    /// Whether a new segment's name waits for a sync of the directory.
    pub(super) names_dirty: bool,
    /// How often in a row reading back has failed.
    pub(super) read_failures: u32,
}

impl Store {
    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.content.len).sum()
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The sizes it keeps to.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The first sequence that no block has had.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Whether blocks are on disk that were not given back by [`Store::commit`] or [`Store::refill`].
    pub fn is_cold(&self) -> bool {
        self.cold.is_some()
    }

    /// Writes what is given and makes it durable.
    pub fn commit(&mut self, commit: Commit) -> Committed {
        // First what came to its end: it makes room.
        self.end(&commit.ended);
        if commit.blocks.first().is_some_and(|block| !self.has_room(self.header(block).encode().len(), block)) {
            self.seal_current_if_over();
        }
        let cutting = !commit.cuts.is_empty();
        for (key, blocks) in commit.cuts {
            if let Some(first) = blocks.first() {
                let cut = CutEntry { key, blocks, upload: None };
                self.note(&Entry::Cut { key: cut.key.clone(), blocks: cut.blocks.clone() });
                self.cuts.insert(first, cut);
            }
        }
        for (first, id) in commit.uploads {
            if let Some(cut) = self.cuts.get_mut(&first) {
                cut.upload = Some(id.clone());
                self.note(&Entry::Upload { first, id });
            }
        }
        let journaled = match commit.probe {
            true => self.probe().and_then(|()| self.write_journal(true)),
            false => self.write_journal(cutting),
        };
        let journal_error = journaled.err();
        let cold = commit.cold || self.cold.is_some();
        let (locations, full, error) = match self.append(&commit.blocks, cold, commit.beyond) {
            Ok((locations, full)) => (locations, full, None),
            Err(error) => (Vec::new(), false, Some(error)),
        };
        Committed { locations, cold, full, error, journal_error }
    }

    /// Whether a file can be made, written and synced.
    fn probe(&self) -> Result<()> {
        const NAME: &str = "probe";
        let _ = self.directory.remove(NAME);
        let file = self.directory.create(NAME)?;
        let written = file.write_at(0, &[&[0; PROBE]]).and_then(|()| file.sync());
        self.directory.remove(NAME).and(written)
    }

    /// The process ends: leaves as little behind as can be.
    pub fn close(&mut self) -> Result<()> {
        self.close_current()?;
        self.write_journal(true)
    }

    fn note(&mut self, entry: &Entry) {
        if let Some(journal) = &mut self.journal {
            journal.add(entry);
        }
    }

    fn write_journal(&mut self, cutting: bool) -> Result<()> {
        let over = |store: &Self| {
            let over = store.segments.iter().filter(|(number, segment)| store.leaves(**number, segment));
            over.map(|(number, _)| *number).collect::<Vec<_>>()
        };
        let over = over(self);
        self.journal.take_if(|journal| journal.is_broken());
        match &mut self.journal {
            Some(journal) if cutting || !over.is_empty() => journal.sync()?,
            Some(journal) => journal.write()?,
            None => self.rewrite_journal()?,
        }
        for number in over {
            self.remove(number)?;
        }
        if self.journal.as_ref().is_some_and(Journal::has_grown)
            && let Err(error) = self.rewrite_journal()
        {
            // The old one stands, or is begun anew by the next commit; either says all that was said so far.
            tracing::debug!("the spool's journal cannot be written anew: {error}");
        }
        Ok(())
    }

    /// Whether nothing of a segment is needed any more.
    fn leaves(&self, number: u64, segment: &Segment) -> bool {
        segment.is_over() && self.current != Some(number)
    }

    /// Removes a segment, or sets it aside when something in it could not be read.
    fn remove(&mut self, number: u64) -> Result<()> {
        let name = segment::name(number);
        let damaged = self.segments.get(&number).is_some_and(|segment| segment.file.is_damaged());
        let gone = match damaged {
            true => self.directory.rename(&name, &format!("{name}{DAMAGED}")),
            false => self.directory.remove(&name),
        };
        match gone {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.segments.remove(&number);
        Ok(())
    }

    /// Begins the journal anew with what still matters.
    pub(super) fn rewrite_journal(&mut self) -> Result<()> {
        let mut entries = vec![Entry::Next { sequence: self.next_sequence }];
        for (&segment, state) in &self.segments {
            if self.current != Some(segment) {
                entries.push(state.sealed());
            }
            if !state.ended.is_empty() {
                let part = EndedPart { segment, count: state.ended_count, blocks: state.ended.clone() };
                entries.push(Entry::Ended { parts: vec![part] });
            }
        }
        for (&first, cut) in &self.cuts {
            entries.push(Entry::Cut { key: cut.key.clone(), blocks: cut.blocks.clone() });
            entries.extend(cut.upload.clone().map(|id| Entry::Upload { first, id }));
        }
        let journal = Journal::prepare(&*self.directory, &entries)?;
        // From here on the old one may be gone, whatever the answer says: nothing is added to it any more.
        self.journal = None;
        Journal::install(&*self.directory)?;
        self.journal = Some(journal);
        Ok(())
    }

    /// Notes that blocks need not be sent any more.
    fn end(&mut self, ended: &[Ended]) {
        let mut by_segment: BTreeMap<u64, (Ranges, Count)> = BTreeMap::new();
        for end in ended {
            let Some(segment) = self.segments.get_mut(&end.segment) else { continue };
            if segment.ended.insert(end.sequence) {
                segment.ended_count += end.count;
                if self.held.contains(end.sequence) {
                    segment.held.0 = segment.held.0.saturating_sub(1);
                    segment.held.1 = segment.held.1.less(end.count);
                }
                let (blocks, count) = by_segment.entry(end.segment).or_default();
                blocks.insert(end.sequence);
                *count += end.count;
            }
            self.cuts.remove(&end.sequence);
        }
        if !by_segment.is_empty() {
            let part = |(segment, (blocks, count))| EndedPart { segment, count, blocks };
            self.note(&Entry::Ended { parts: by_segment.into_iter().map(part).collect() });
        }
    }

    /// Blocks into the current segment or into further ones, then one sync. After an error it is as if none of this had
    /// been tried.
    fn append(&mut self, blocks: &[ToStore], cold: bool, beyond: bool) -> Result<(Vec<Location>, bool)> {
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
    fn has_room(&self, header: usize, block: &ToStore) -> bool {
        let (used, begins) = (self.bytes(), MAGIC.len() as u64);
        used <= begins || used + begins + header as u64 + block.data.len() as u64 <= self.limits.quota
    }

    /// The current segment leaves when nothing in it is needed: beside it there may be no room for a block.
    fn seal_current_if_over(&mut self) {
        let current = self.current.and_then(|number| self.segments.get(&number));
        if let Some(segment) = current.filter(|segment| segment.is_over()) {
            let sealed = segment.sealed();
            self.note(&sealed);
            self.current = None;
        }
    }

    fn header(&self, block: &ToStore) -> Header {
        let meta = &block.meta;
        Header {
            sequence: block.sequence,
            len: u32::try_from(block.data.len()).expect("a block is far below 4 GiB"),
            checksum: Block::checksum(&block.data),
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
    fn close_current(&mut self) -> Result<()> {
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
