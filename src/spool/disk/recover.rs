//! Opening a queue's directory after whatever happened to it.
//!
//! Always succeeds where the directory can be read: a torn tail is cut off, what is damaged is stepped over and its
//! segment set aside later, and both are told. Only segments that were not closed are walked (one, as a rule); of the
//! others the journal knows what is in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Result;
use std::sync::Arc;

use super::cold::{cold_of, stored};
use super::files::Directory;
use super::frame::MAGIC;
use super::journal::{self, EndedPart, Entry};
use super::ranges::Ranges;
use super::segment::{self, Found, SegmentFile, Walk, survey};
use super::store::{Anchor, Content, CutEntry, Limits, Segment, Store, Stored};
use crate::encode::Count;

/// What a directory held.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Objects that were cut and not finished, with their blocks.
    pub cuts: Vec<(CutEntry, Vec<Stored>)>,
    /// Blocks that wait, those of cuts included.
    pub blocks: u64,
    /// Their records.
    pub waiting: Count,
    /// Bytes at the ends of segments that were written but never confirmed, and are torn.
    pub torn: u64,
    /// Bytes in the middle of segments that are no blocks.
    pub damaged: u64,
    /// Records that were to be sent and cannot be read, as far as their headers or the journal tell of them.
    pub lost: Count,
    /// Segments that the journal knows and that are not there, and the records that waited in them.
    pub missing: (u64, Count),
}

/// What the journal says.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) sealed: HashMap<u64, Content>,
    pub(super) ended: HashMap<u64, (Ranges, Count)>,
    pub(super) cuts: BTreeMap<u64, CutEntry>,
    next: u64,
}

impl Known {
    pub(super) fn of(entries: Vec<Entry>) -> Self {
        let mut known = Self::default();
        for entry in entries {
            match entry {
                Entry::Sealed { segment, first, last, blocks, count, len } => {
                    known.sealed.insert(segment, Content { first, last, blocks, count, len });
                    known.next = known.next.max(last.saturating_add(1));
                }
                Entry::Cut { key, blocks } => {
                    if let Some(first) = blocks.first() {
                        known.cuts.insert(first, CutEntry { key, blocks, upload: None });
                    }
                }
                Entry::Upload { first, id } => {
                    if let Some(cut) = known.cuts.get_mut(&first) {
                        cut.upload = Some(id);
                    }
                }
                Entry::Ended { parts } => parts.into_iter().for_each(|part| known.end(part)),
                Entry::Next { sequence } => known.next = known.next.max(sequence),
            }
        }
        known
    }

    fn end(&mut self, EndedPart { segment, count, blocks }: EndedPart) {
        let (ended, sum) = self.ended.entry(segment).or_default();
        for (first, last) in blocks.runs() {
            ended.insert_run(first, last);
            while let Some((&cut, _)) = self.cuts.range(first..=last).next() {
                self.cuts.remove(&cut);
            }
        }
        *sum += count;
    }
}

impl Store {
    /// Opens a queue's directory, whatever is in it.
    pub fn open(directory: Arc<dyn Directory>, limits: Limits, anchor: Anchor) -> Result<(Self, Recovered)> {
        let mut recovered = Recovered::default();
        let journal = journal::read(&*directory)?;
        let (entries, len) = journal::replay(&journal);
        if len < journal.len() {
            set_aside(&*directory, &journal, len);
        }
        let mut known = Known::of(entries);
        let numbers: BTreeSet<u64> = directory.names()?.iter().filter_map(|name| segment::number_of(name)).collect();
        let mut store = Self {
            limits,
            anchor,
            segments: BTreeMap::new(),
            next_segment: numbers.last().copied().max(known.sealed.keys().max().copied()).map_or(0, |last| last + 1),
            journal: None,
            cuts: BTreeMap::new(),
            held: Ranges::default(),
            next_sequence: known.next,
            current: None,
            cold: None,
            names_dirty: false,
            read_failures: 0,
            directory,
        };
        // A block is written again, into a later segment, when its first writing failed; of that all, some or nothing is
        // there. So the last writing counts: from here on blocks are in the segments that were looked at already.
        let mut behind = u64::MAX;
        for number in numbers.into_iter().rev() {
            let file = SegmentFile::new(number, store.directory.open(&segment::name(number))?);
            let (mut ended, mut ended_count) = known.ended.remove(&number).unwrap_or_default();
            let content = match known.sealed.remove(&number) {
                Some(content) if content.blocks == 0 || (content.last < behind && is_whole(&file, &content)) => content,
                sealed => walk(&file, sealed, behind, &mut ended, &mut ended_count, &mut recovered)?,
            };
            if content.blocks > 0 {
                behind = behind.min(content.first);
                store.next_sequence = store.next_sequence.max(content.last + 1);
            }
            let mut segment = Segment::new(file, content);
            (segment.ended, segment.ended_count) = (ended, ended_count);
            store.segments.insert(number, segment);
        }
        for (number, content) in known.sealed {
            let (ended, ended_count) = known.ended.remove(&number).unwrap_or_default();
            if ended.len() < content.blocks {
                recovered.missing.0 += 1;
                recovered.missing.1.records += content.count.records.saturating_sub(ended_count.records);
                recovered.missing.1.bytes += content.count.bytes.saturating_sub(ended_count.bytes);
                recovered.lost += content.count.less(ended_count);
            }
        }
        store.hold(known.cuts, &mut recovered)?;
        for segment in store.segments.values() {
            let (blocks, count) = segment.waiting();
            recovered.blocks += blocks;
            recovered.waiting += count;
        }
        store.cold = store.segments.iter().find_map(|(&number, segment)| cold_of(number, segment));
        // A disk that is full now may have room later: the old journal stands until then.
        if let Err(error) = store.rewrite_journal() {
            tracing::warn!("the spool's journal cannot be written yet: {error}");
        }
        Ok((store, recovered))
    }

    /// Finds the blocks of objects that were begun.
    fn hold(&mut self, cuts: BTreeMap<u64, CutEntry>, recovered: &mut Recovered) -> Result<()> {
        let mut blocks: BTreeMap<u64, Vec<Stored>> = BTreeMap::new();
        for segment in self.segments.values_mut() {
            let Content { first, last, len, .. } = segment.content;
            let touches = |cut: &CutEntry| cut.blocks.runs().any(|(from, to)| from <= last && to >= first);
            if !cuts.values().any(touches) {
                continue;
            }
            let mut walk = Walk::new(Arc::clone(&segment.file.file), 0, len);
            while let Some(Found { header, data, .. }) = walk.next_block()? {
                let cut = cuts.iter().find(|(_, cut)| cut.blocks.contains(header.sequence));
                if let Some((&cut, _)) = cut
                    && !segment.ended.contains(header.sequence)
                    && self.held.insert(header.sequence)
                {
                    segment.held.0 += 1;
                    segment.held.1 += header.count;
                    blocks.entry(cut).or_default().push(stored(&segment.file, data, header, &self.anchor));
                }
            }
        }
        for (first, cut) in cuts {
            // A cut without blocks is one whose segments are gone: then it was finished.
            if let Some(blocks) = blocks.remove(&first) {
                recovered.cuts.push((cut.clone(), blocks));
                self.cuts.insert(first, cut);
            }
        }
        Ok(())
    }
}

/// Whether the file has what the journal says.
fn is_whole(file: &SegmentFile, content: &Content) -> bool {
    file.file.len().is_ok_and(|len| len >= content.len)
}

/// Keeps a journal that cannot be read to its end for people to look at; without its end, objects may be made again.
fn set_aside(directory: &dyn Directory, journal: &[u8], len: usize) {
    const NAME: &str = "journal.damaged";
    tracing::warn!(
        bytes = journal.len() - len,
        "the end of the spool's journal cannot be read; what it said is forgotten, and some records may be sent again"
    );
    let _ = directory.remove(NAME);
    let kept = directory.create(NAME).and_then(|file| file.write_at(0, &[journal]));
    if let Err(error) = kept {
        tracing::warn!("the damaged journal cannot be kept: {error}");
    }
}

/// Finds out what is in a segment of which the journal does not know.
fn walk(
    file: &Arc<SegmentFile>,
    sealed: Option<Content>,
    behind: u64,
    ended: &mut Ranges,
    ended_count: &mut Count,
    recovered: &mut Recovered,
) -> Result<Content> {
    let len = file.file.len()?.min(sealed.map_or(u64::MAX, |content| content.len));
    let mut content = Content { len: MAGIC.len() as u64, ..Content::default() };
    let magic = file.file.read_at(0, MAGIC.len())?;
    if magic != MAGIC {
        // Torn at its very beginning, or not of this format: then people may want it.
        if magic.len() == MAGIC.len() {
            recovered.damaged += len;
            file.mark_damaged();
        }
        return Ok(content);
    }
    // Only of blocks that are there can it be said that they are over.
    let known = std::mem::take(ended);
    let known_count = std::mem::take(ended_count);
    let survey = survey(&file.file, len, &mut |found, data| {
        let (sequence, count) = (found.header.sequence, found.header.count);
        if data.is_none() && sequence < behind {
            recovered.damaged += u64::from(found.header.len);
            file.mark_damaged();
            if !known.contains(sequence) {
                recovered.lost += count;
            }
        }
        content.add(&found);
        if (data.is_none() || sequence >= behind || known.contains(sequence)) && ended.insert(sequence) {
            *ended_count += count;
        }
        Ok(())
    })?;
    if !survey.gaps.is_empty() {
        recovered.damaged += survey.gaps.iter().map(|(_, len)| len).sum::<u64>();
        file.mark_damaged();
    }
    if let Some(sealed) = sealed.filter(|sealed| sealed.blocks > content.blocks) {
        // The journal knows more than is there; of what came to its end nobody misses anything.
        let (gone, open) = (sealed.count.less(content.count), sealed.count.less(known_count));
        let least = |one: u64, other: u64| one.min(other);
        recovered.lost += Count { records: least(gone.records, open.records), bytes: least(gone.bytes, open.bytes) };
        file.mark_damaged();
    }
    let torn = len.saturating_sub(content.len);
    if torn > 0 {
        recovered.torn += torn;
        // Only tidier: what lies behind the length in the journal is never read.
        let _ = file.file.truncate(content.len);
    }
    // The last process may have written it without a sync, and it is about to count as durable.
    if let Err(error) = file.file.sync() {
        tracing::warn!("what the spool holds in segment {} may not outlive a crash: {error}", file.number);
    }
    Ok(content)
}

impl Content {
    fn add(&mut self, found: &Found) {
        if self.blocks == 0 {
            self.first = found.header.sequence;
        }
        self.blocks += 1;
        self.count += found.header.count;
        self.last = self.last.max(found.header.sequence);
        self.len = found.end();
    }
}
