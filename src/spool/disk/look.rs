//! A queue's folder as it lies there, for people: nothing in it is changed. What waits is told as
//! [`Store::open`](super::Store::open) would tell it.

use std::io::Result;
use std::sync::Arc;

use super::files::{Directory, File};
use super::frame::{Header, MAGIC};
use super::journal;
use super::recover::Known;
use super::segment::{self, DAMAGED, Found, Survey, Walk, survey};
use super::store::{Content, CutEntry};

/// What becomes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits.
    Waits,
    /// It waits in the object that begins with this block.
    Cut(u64),
    /// It is delivered or given up.
    Ended,
    /// A later segment has it as well: its first writing was not confirmed.
    Again,
}

/// A queue's folder.
#[derive(Debug)]
pub struct Look {
    directory: Arc<dyn Directory>,
    known: Known,
    segments: Vec<Segment>,
    /// Length of the journal, and how much of it are whole entries.
    pub journal: (u64, u64),
    /// Whether more whole entries follow the first that is not whole: then it was not torn, but damaged.
    pub journal_is_damaged: bool,
    /// Segments that were set aside because something in them is damaged.
    pub set_aside: Vec<String>,
    /// Files that are none of a spool's.
    pub foreign: Vec<String>,
}

/// A segment.
#[derive(Debug)]
pub struct Segment {
    /// Its number.
    pub number: u64,
    /// What the journal says of it, if it was closed.
    sealed: Option<Content>,
    file: Arc<dyn File>,
    /// Length of the file.
    pub len: u64,
    /// From here on blocks are in later segments.
    behind: u64,
}

impl Segment {
    /// The name of its file.
    pub fn name(&self) -> String {
        segment::name(self.number)
    }

    /// Whether the journal says what is in it: then all of it was confirmed.
    pub fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    /// How many blocks and up to which length the journal says that there are.
    pub fn promised(&self) -> Option<(u64, u64)> {
        self.sealed.map(|content| (content.blocks, content.len))
    }

    /// Whether it begins as a segment does.
    pub fn has_magic(&self) -> Result<bool> {
        Ok(self.file.read_at(0, MAGIC.len())? == MAGIC)
    }

    /// Where what belongs to it ends.
    fn end(&self) -> u64 {
        self.sealed.map_or(self.len, |content| content.len.min(self.len))
    }
}

impl Look {
    /// Looks at a folder.
    pub fn at(directory: Arc<dyn Directory>) -> Result<Self> {
        let bytes = journal::read(&*directory)?;
        let (entries, whole) = journal::replay(&bytes);
        let known = Known::of(entries);
        let mut numbers = Vec::new();
        let (mut set_aside, mut foreign) = (Vec::new(), Vec::new());
        for name in directory.names()? {
            match segment::number_of(&name) {
                Some(number) => numbers.push(number),
                None if name.ends_with(DAMAGED) => set_aside.push(name),
                None if name == journal::NAME || name == journal::NEW => {}
                None => foreign.push(name),
            }
        }
        numbers.sort_unstable();
        set_aside.sort();
        foreign.sort();
        let mut segments = Vec::with_capacity(numbers.len());
        let mut behind = u64::MAX;
        for number in numbers.into_iter().rev() {
            let file = directory.open(&segment::name(number))?;
            let len = file.len()?;
            let sealed = known.sealed.get(&number).copied();
            let segment = Segment { number, sealed, file, len, behind };
            let first = match sealed {
                Some(content) => (content.blocks > 0).then_some(content.first),
                None => first_block(&segment)?,
            };
            behind = first.map_or(behind, |first| behind.min(first));
            segments.push(segment);
        }
        segments.reverse();
        let torn = &bytes[whole..];
        let journal_is_damaged = (1..torn.len()).any(|at| journal::replay(&torn[at..]).1 > 0);
        let journal = (bytes.len() as u64, whole as u64);
        Ok(Self { directory, known, segments, journal, journal_is_damaged, set_aside, foreign })
    }

    /// Its segments, oldest first.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Objects that were cut and are not finished.
    pub fn cuts(&self) -> impl Iterator<Item = &CutEntry> + '_ {
        self.known.cuts.values()
    }

    /// Segments that the journal says are there, that are not, and in which something waited: number and blocks.
    pub fn missing(&self) -> Vec<(u64, u64)> {
        let there = |number: u64| self.segments.iter().any(|segment| segment.number == number);
        let waiting = |(&number, content): (&u64, &Content)| {
            let ended = self.known.ended.get(&number).map_or(0, |(blocks, _)| blocks.len());
            (number, content.blocks.saturating_sub(ended))
        };
        let sealed = self.known.sealed.iter().map(waiting);
        let mut missing: Vec<_> = sealed.filter(|(number, blocks)| *blocks > 0 && !there(*number)).collect();
        missing.sort_unstable();
        missing
    }

    /// The headers of a segment and what becomes of each block. Data is not read.
    pub fn walk(&self, segment: &Segment, each: &mut dyn FnMut(&Header, Fate)) -> Result<()> {
        let mut walk = Walk::new(Arc::clone(&segment.file), 0, segment.end());
        while let Some(found) = walk.next_block()? {
            each(&found.header, self.fate(segment, found.header.sequence));
        }
        Ok(())
    }

    /// All of a segment; blocks come without data when that is not what was written.
    pub fn read(
        &self,
        segment: &Segment,
        each: &mut dyn FnMut(Found, Fate, Option<Vec<u8>>) -> Result<()>,
    ) -> Result<Survey> {
        survey(&segment.file, segment.end(), &mut |found, data| {
            let fate = self.fate(segment, found.header.sequence);
            each(found, fate, data)
        })
    }

    /// The folder.
    pub(super) fn directory(&self) -> &Arc<dyn Directory> {
        &self.directory
    }

    fn fate(&self, segment: &Segment, sequence: u64) -> Fate {
        if sequence >= segment.behind {
            return Fate::Again;
        }
        if self.known.ended.get(&segment.number).is_some_and(|(blocks, _)| blocks.contains(sequence)) {
            return Fate::Ended;
        }
        let cut = self.known.cuts.iter().find(|(_, cut)| cut.blocks.contains(sequence));
        cut.map_or(Fate::Waits, |(first, _)| Fate::Cut(*first))
    }
}

/// The first block of a segment that has a whole one, as recovery sees it.
fn first_block(segment: &Segment) -> Result<Option<u64>> {
    let mut first = None;
    let mut whole = false;
    if segment.has_magic()? {
        survey(&segment.file, segment.end(), &mut |found, data| {
            first.get_or_insert(found.header.sequence);
            whole |= data.is_some();
            Ok(())
        })?;
    }
    Ok(first.filter(|_| whole))
}
