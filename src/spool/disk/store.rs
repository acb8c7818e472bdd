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

use super::cold::Cold;
use super::files::Directory;
use super::journal::{EndedPart, Entry, Journal};
use super::ranges::Ranges;
use super::segment::{self, DAMAGED, Location, SegmentFile};
use crate::encode::{BlockMeta, Count, Moment};
use crate::record::UnixNanos;

/// Bytes that a disk must take to count as working again.
const PROBE: usize = 64 << 10;

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
    pub(super) fn unix(&self, moment: Moment) -> UnixNanos {
        let nanos = |moment: Duration| i64::try_from(moment.as_nanos()).unwrap_or(i64::MAX);
        self.unix.saturating_add(nanos(moment)).saturating_sub(nanos(self.moment))
    }

    pub(super) fn moment(&self, unix: UnixNanos) -> Moment {
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

    pub(super) fn sealed(&self) -> Entry {
        let Content { first, last, blocks, count, len } = self.content;
        Entry::Sealed { segment: self.file.number, first, last, blocks, count, len }
    }
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

    pub(super) fn note(&mut self, entry: &Entry) {
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
}
