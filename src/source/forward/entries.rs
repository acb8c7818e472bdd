//! Entries of Forward and PackedForward frames: `[time, record]`, one after the other, to spans in their buffer.

use super::time::{self, EventTime};
use crate::record::msgpack::{Error, Kind, Reader, Value};
use crate::record::{RecordSpan, UnixNanos};
use crate::source::Excerpt;

/// Most records of a batch. Entries can be three bytes small and a span takes sixteen: without a bound, the spans of a
/// frame of such entries would need five times its memory.
pub(super) const MAX_RECORDS: usize = 4096;

/// A batch ends with the record that makes it so long: what it becomes in blocks is counted by nobody until it is done.
pub(super) const MAX_BYTES: usize = 512 << 10;

/// Most excerpts between two takeovers: a frame may hold millions of values that are no records.
const MAX_EXCERPTS: usize = 16;

/// What was met on the way and not made a record, since it was last taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Whole frames.
    pub frames: u64,
    /// Top-level nils.
    pub heartbeats: u64,
    /// Records whose time was unusable: they have the time of receipt.
    pub times_replaced: u64,
    /// Group markers of Fluent Bit.
    pub group_markers: u64,
    /// Records that are no maps, and their bytes.
    pub not_a_map: (u64, u64),
    /// Elements that are no `[time, record]`, and their bytes.
    pub not_an_entry: (u64, u64),
    /// Frames of metrics or traces, and their bytes.
    pub not_logs: (u64, u64),
    /// The first of what was refused, with the reason; all together no longer than one excerpt may be.
    pub excerpts: Vec<(&'static str, Excerpt)>,
}

impl Tally {
    /// Values that stood where records should.
    pub(super) fn refused(&self) -> u64 {
        self.not_an_entry.0 + self.not_a_map.0
    }

    #[cold]
    fn not_a_map(&mut self, bytes: &[u8]) {
        add(&mut self.not_a_map, bytes.len());
        self.keep("not_a_map", bytes);
    }

    #[cold]
    fn not_an_entry(&mut self, bytes: &[u8]) {
        add(&mut self.not_an_entry, bytes.len());
        self.keep("not_an_entry", bytes);
    }

    /// A whole frame of metrics or traces.
    #[cold]
    pub(super) fn not_logs(&mut self, bytes: &[u8]) {
        add(&mut self.not_logs, bytes.len());
        self.keep("not_logs", bytes);
    }

    fn keep(&mut self, reason: &'static str, bytes: &[u8]) {
        let kept: usize = self.excerpts.iter().map(|(_, excerpt)| excerpt.bytes.len()).sum();
        if self.excerpts.len() < MAX_EXCERPTS && kept + bytes.len().min(Excerpt::MAX) <= Excerpt::MAX {
            self.excerpts.push((reason, Excerpt::of(bytes)));
        }
    }

    /// What becomes of a time and a record; `start` and `end` are the record's offsets in its buffer, `bytes`
    /// itself.
    #[inline]
    pub(super) fn record(
        &mut self,
        time: EventTime,
        is_map: bool,
        (start, end): (usize, usize),
        bytes: &[u8],
        received: UnixNanos,
    ) -> Option<RecordSpan> {
        let time = match time {
            EventTime::At(time) => time,
            EventTime::Group => {
                self.group_markers += 1;
                return None;
            }
            EventTime::Unusable => {
                self.times_replaced += 1;
                received
            }
        };
        if !is_map {
            self.not_a_map(bytes);
            return None;
        }
        // Buffers are far below 4 GiB: `Frames` clamps the bounds that make them.
        Some(RecordSpan { time, start: start as u32, len: (end - start) as u32 })
    }
}

fn add((records, bytes): &mut (u64, u64), len: usize) {
    *records += 1;
    *bytes += len as u64;
}

/// Steps over one entry. None where it is no record; on an error `reader` stays before the entry.
#[inline]
pub(super) fn next(
    reader: &mut Reader<'_>,
    received: UnixNanos,
    tally: &mut Tally,
) -> Result<Option<RecordSpan>, Error> {
    let mut ahead = *reader;
    let elements = match ahead.read()? {
        Value::Array(elements) if elements >= 2 => elements,
        _ => {
            let skipped = reader.skip()?;
            tally.not_an_entry(skipped);
            return Ok(None);
        }
    };
    let time = time::read(&mut ahead)?;
    let is_map = ahead.peek() == Some(Kind::Map);
    let at = ahead.pos();
    let record = ahead.skip_below(1)?;
    let end = ahead.pos();
    for _ in 2..elements {
        ahead.skip_below(1)?;
    }
    *reader = ahead;
    Ok(tally.record(time, is_map, (at, end), record, received))
}
