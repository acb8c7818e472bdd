//! A segment: blocks one after the other in a file that is only appended to; and the walk over its headers.
//!
//! A walk steps over what is damaged: to the next header that is whole, if there is one. What lies behind the last is a
//! torn tail.

use std::io::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::files::File;
use super::frame::{Header, MAGIC, MAX_HEADER, MAX_SEQUENCE, PREAMBLE, header_len};
use crate::encode::checksum;

/// How the name of a segment ends.
const SUFFIX: &str = ".seg";

/// How the name of a damaged segment ends once nothing in it is needed.
pub const DAMAGED: &str = ".damaged";

/// Bytes that a walk reads at a time.
const WINDOW: usize = 8 << 10;

/// The name of the segment with this number: names sort as their blocks came.
pub fn name(number: u64) -> String {
    format!("{number:012}{SUFFIX}")
}

/// The number of the segment of this name, if it is one.
pub fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number = digits.parse().ok().filter(|number| *number < MAX_SEQUENCE)?;
    (self::name(number) == name).then_some(number)
}

/// The file of a segment, open for as long as a block of it may be read.
#[derive(Debug)]
pub struct SegmentFile {
    pub(super) number: u64,
    pub(super) file: Arc<dyn File>,
    /// Something in it could not be read: it is set aside for people to look at, not removed.
    damaged: AtomicBool,
}

impl SegmentFile {
    pub(super) fn new(number: u64, file: Arc<dyn File>) -> Arc<Self> {
        Arc::new(Self { number, file, damaged: AtomicBool::new(false) })
    }

    pub(super) fn mark_damaged(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }
}

/// Where the data of a block lies.
#[derive(Clone, Debug)]
pub struct Location {
    pub(super) file: Arc<SegmentFile>,
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) checksum: u32,
}

impl Location {
    /// The number of its segment.
    pub fn segment(&self) -> u64 {
        self.file.number
    }

    /// Something in its file could not be read.
    pub fn mark_damaged(&self) {
        self.file.mark_damaged();
    }

    /// Bytes of the data.
    pub fn len(&self) -> u64 {
        u64::from(self.len)
    }

    /// Whether that is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The data, if it is what was written.
    pub fn read(&self) -> Option<Bytes> {
        let read = || self.file.file.read_at(self.offset, self.len as usize);
        // A disk that stumbles once is asked again.
        let data = read().or_else(|_| read()).or_else(|_| read());
        let data = data.ok().filter(|data| checksum(data) == self.checksum && data.len() == self.len as usize);
        if data.is_none() {
            self.file.mark_damaged();
        }
        data.map(Bytes::from)
    }
}

/// A block that a walk has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where its frame begins.
    pub at: u64,
    /// What is told of it.
    pub header: Header,
    /// Where its data begins.
    pub data: u64,
}

impl Found {
    /// Where the next frame begins.
    pub fn end(&self) -> u64 {
        self.data + u64::from(self.header.len)
    }
}

/// A walk over the headers of a segment.
#[derive(Debug)]
pub struct Walk {
    file: Arc<dyn File>,
    /// Nothing behind this is looked at.
    len: u64,
    /// Where the next frame should begin.
    at: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl Walk {
    /// From this offset on; 0 is the start of the file.
    pub fn new(file: Arc<dyn File>, from: u64, len: u64) -> Self {
        let at = from.max(MAGIC.len() as u64);
        Self { file, len, at, window: Vec::new(), window_at: 0 }
    }

    /// Where the next frame should begin: the end of the last one that was found.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next block whose header is whole and whose data does not reach beyond the end.
    pub fn next_block(&mut self) -> Result<Option<Found>> {
        let mut at = self.at;
        while at + (PREAMBLE as u64) < self.len {
            if let Some(found) = self.header(at)? {
                self.at = found.end();
                return Ok(Some(found));
            }
            at += 1;
        }
        Ok(None)
    }

    fn header(&mut self, at: u64) -> Result<Option<Found>> {
        let Some(len) = header_len(self.bytes(at, PREAMBLE)?) else { return Ok(None) };
        let Some((header, used)) = Header::decode(self.bytes(at, PREAMBLE + len)?) else { return Ok(None) };
        let found = Found { at, data: at + used as u64, header };
        Ok((found.end() <= self.len).then_some(found))
    }

    /// Bytes from `at` on, fewer at the end.
    fn bytes(&mut self, at: u64, len: usize) -> Result<&[u8]> {
        debug_assert!(len <= PREAMBLE + MAX_HEADER);
        let held = self.window_at..self.window_at + self.window.len() as u64;
        let end = (at + len as u64).min(self.len);
        if !(held.contains(&at) && held.end >= end) {
            let wanted = usize::try_from(self.len.saturating_sub(at)).unwrap_or(WINDOW).min(WINDOW);
            self.window = self.file.read_at(at, wanted)?;
            self.window_at = at;
        }
        let from = (at - self.window_at) as usize;
        Ok(&self.window[from.min(self.window.len())..(from + len).min(self.window.len())])
    }
}

/// What [`survey`] comes to.
#[derive(Debug, Default)]
pub struct Survey {
    /// Where the last whole block ends. What lies behind is torn, if the segment was still written to.
    pub end: u64,
    /// What is no block, between blocks: where and how long.
    pub gaps: Vec<(u64, u64)>,
    /// Blocks behind the last whole one, whose data is not what was written.
    pub tail: Vec<Found>,
}

/// Reads all of a segment. Gives each block in order, with its data or without when that is not what was written;
/// those behind the last whole one are told apart in the result.
pub fn survey(
    file: &Arc<dyn File>,
    len: u64,
    each: &mut dyn FnMut(Found, Option<Vec<u8>>) -> Result<()>,
) -> Result<Survey> {
    let mut survey = Survey { end: MAGIC.len() as u64, ..Survey::default() };
    let mut gaps = Vec::new();
    let mut walk = Walk::new(Arc::clone(file), 0, len);
    let mut end = walk.at();
    while let Some(found) = walk.next_block()? {
        if found.at > end {
            gaps.push((end, found.at - end));
        }
        end = found.end();
        let data = file.read_at(found.data, found.header.len as usize)?;
        if data.len() != found.header.len as usize || checksum(&data) != found.header.checksum {
            survey.tail.push(found);
            continue;
        }
        survey.gaps.append(&mut gaps);
        survey.end = end;
        for damaged in survey.tail.drain(..) {
            each(damaged, None)?;
        }
        each(found, Some(data))?;
    }
    Ok(survey)
}
