//! Joins the parts into which Docker cuts lines of more than 16 KiB.
//!
//! Docker marks each part with `partial_message`, the line's `partial_id`, its `partial_ordinal` from 1, and
//! `partial_last`. Parts of stdout and stderr interleave, and at the end of a stream the last part may never come
//! (the tail of a file without newline says `partial_last: false`). What is joined is a new record: the keys of the
//! first part without the `partial_*` ones, its time, and the whole line under `log`. A line that is not complete in
//! time, or outgrows a bound, is let go with what there is: nothing that was said is lost.
//!
//! A part without id or ordinal (other runtimes) passes as it is, like every other record, in its place.
//!
//! Synchronous; the caller brings the clock and asks [`Joiner::next_deadline`] when to call [`Joiner::expire`].

mod part;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use memchr::memmem;

use super::forward::JoinConfig;
use crate::encode::Moment;
use crate::record::{Outcome, RecordBatch, RecordSpan, Tag, Tickets, UnixNanos};
use part::{Frame, MARK, Part};

/// What a line takes beside its bytes: its entries in both maps.
const LINE_COST: usize = 320;

/// What a part takes beside its text.
const PART_COST: usize = 40;

/// Joined lines need offsets of 32 bits.
const MAX_LINE: usize = 1 << 30;

/// What a joiner did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinCounts {
    /// Parts that were taken in.
    pub parts: u64,
    /// Lines that came together whole.
    pub joined: u64,
    /// Lines let go since no part came for the configured time.
    pub timeout: u64,
    /// Lines let go since all that wait took too much memory.
    pub buffer: u64,
    /// Pieces of lines that were longer than a line may be.
    pub max_line: u64,
    /// Parts that came twice; the second one is not repeated.
    pub duplicate: u64,
    /// Lines let go at the end.
    pub flushed: u64,
}

impl JoinCounts {
    /// The counts under the names that the metrics give them.
    pub fn kinds(&self) -> [(&'static str, u64); 7] {
        [
            ("join_parts", self.parts),
            ("join_joined", self.joined),
            ("join_timeout", self.timeout),
            ("join_buffer", self.buffer),
            ("join_max_line", self.max_line),
            ("join_duplicate", self.duplicate),
            ("join_flushed", self.flushed),
        ]
    }
}

/// Which line a part belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    tag: Tag,
    container: Box<[u8]>,
    source: Box<[u8]>,
    id: Box<[u8]>,
}

/// Since when a line waits, and a number to tell lines apart that came at the same moment.
type Age = (Moment, u64);

/// A line that is coming together.
#[derive(Debug)]
struct Line {
    age: Age,
    /// The other keys, from the part with the lowest ordinal so far.
    frame: Frame,
    time: UnixNanos,
    received: UnixNanos,
    /// By ordinal, increasing; each at least `next`.
    parts: Vec<(u32, Box<[u8]>)>,
    /// The first ordinal that was not let go before.
    next: u32,
    last: Option<u32>,
    /// Length of the parts' texts.
    len: usize,
    tickets: Tickets,
}

impl Line {
    fn is_whole(&self) -> bool {
        let missing = |last: u32| last.checked_sub(self.next).is_some_and(|more| more as usize + 1 != self.parts.len());
        self.last.is_some_and(|last| !missing(last))
    }

    fn cost(&self) -> usize {
        LINE_COST + self.frame.len() + self.len + PART_COST * self.parts.len()
    }

    /// The record of the parts so far, whose ordinals are then behind it.
    fn take(&mut self, tag: &Tag) -> RecordBatch {
        let map = self.frame.around(self.parts.iter().map(|(_, text)| &**text), self.len);
        self.next = self.parts.last().map_or(self.next, |(ordinal, _)| ordinal.saturating_add(1));
        self.parts.clear();
        self.len = 0;
        RecordBatch {
            tag: tag.clone(),
            records: vec![RecordSpan { time: self.time, start: 0, len: map.len() as u32 }],
            data: Bytes::from(map),
            received: self.received,
            tickets: std::mem::take(&mut self.tickets),
        }
    }
}

/// Holds lines until they are whole.
#[derive(Debug)]
pub struct Joiner {
    enabled: bool,
    max_line: usize,
    buffer: usize,
    timeout: Duration,
    mark: memmem::Finder<'static>,
    lines: HashMap<Key, Line>,
    /// The lines, longest waiting first.
    ages: BTreeMap<Age, Key>,
    /// What `lines` cost.
    used: usize,
    sequence: u64,
    /// Joined records on their way out; empty between calls.
    ready: Vec<RecordBatch>,
    counts: JoinCounts,
}

impl Joiner {
    /// With the bounds of the config.
    pub fn new(config: &JoinConfig) -> Self {
        let mut joiner = Self {
            enabled: false,
            max_line: 0,
            buffer: 0,
            timeout: Duration::ZERO,
            mark: memmem::Finder::new(MARK),
            lines: HashMap::new(),
            ages: BTreeMap::new(),
            used: 0,
            sequence: 0,
            ready: Vec::new(),
            counts: JoinCounts::default(),
        };
        joiner.bound(config);
        joiner
    }

    /// Goes on with other bounds. Lines that wait are let go by them when the next part comes, or when they expire.
    pub fn bound(&mut self, config: &JoinConfig) {
        let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        self.enabled = config.enabled;
        self.max_line = size(config.max_line.0).min(MAX_LINE);
        self.buffer = size(config.buffer.0);
        self.timeout = config.timeout.0;
    }

    /// Takes the parts out of a batch, gives the rest to `out`, and each line that became whole in the place of the
    /// part that completed it.
    pub fn join(&mut self, batch: RecordBatch, now: Moment, out: &mut impl FnMut(RecordBatch)) {
        if !self.enabled || !self.may_hold_parts(&batch) {
            return out(batch);
        }
        let mut kept = Vec::new();
        let give = |kept: &mut Vec<RecordSpan>, out: &mut dyn FnMut(RecordBatch)| {
            if !kept.is_empty() {
                let (tag, data, tickets) = (batch.tag.clone(), batch.data.clone(), batch.tickets.clone());
                out(RecordBatch { tag, data, records: std::mem::take(kept), received: batch.received, tickets });
            }
        };
        for &span in &batch.records {
            let taken = Part::read(batch.map(span)).is_some_and(|part| self.part(&part, span.time, &batch, now));
            if !taken {
                kept.push(span);
            }
            if !self.ready.is_empty() {
                give(&mut kept, out);
                self.ready.drain(..).for_each(&mut *out);
            }
        }
        give(&mut kept, out);
    }

    /// Lets go of lines whose next part has not come in time.
    pub fn expire(&mut self, now: Moment, out: &mut impl FnMut(RecordBatch)) {
        while let Some((&(since, _), _)) = self.ages.first_key_value()
            && since + self.timeout <= now
        {
            self.counts.timeout += u64::from(self.let_go_oldest(out));
        }
    }

    /// Lets go of every line.
    pub fn flush(&mut self, out: &mut impl FnMut(RecordBatch)) {
        while !self.ages.is_empty() {
            self.counts.flushed += u64::from(self.let_go_oldest(out));
        }
    }

    /// When [`Joiner::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.ages.first_key_value().map(|((since, _), _)| *since + self.timeout)
    }

    /// What was done so far.
    pub fn counts(&self) -> JoinCounts {
        self.counts
    }

    /// Bytes of the lines that wait.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Almost every batch has no part in it, and a search for the mark says so at memory speed.
    fn may_hold_parts(&self, batch: &RecordBatch) -> bool {
        let (Some(first), Some(last)) = (batch.records.first(), batch.records.last()) else { return false };
        let bytes = batch.data.get(first.start as usize..last.start as usize + last.len as usize);
        bytes.is_some_and(|bytes| self.mark.find(bytes).is_some())
    }

    /// Takes a part in; false when it is none that can be placed and must pass as it is.
    fn part(&mut self, part: &Part<'_>, time: UnixNanos, batch: &RecordBatch, now: Moment) -> bool {
        let key = Key {
            tag: batch.tag.clone(),
            container: part.container.into(),
            source: part.source.into(),
            id: part.id.into(),
        };
        self.sequence += 1;
        let age = (now, self.sequence);
        let line = match self.lines.get_mut(&key) {
            Some(line) => {
                self.used -= line.cost();
                self.ages.remove(&line.age);
                line
            }
            None => self.lines.entry(key.clone()).or_insert_with(|| Line {
                age,
                frame: part.frame(),
                time,
                received: batch.received,
                parts: Vec::new(),
                next: 1,
                last: None,
                len: 0,
                tickets: Tickets::none(),
            }),
        };
        line.age = age;
        let taken = Self::place(line, part, time, batch, self.max_line, &mut self.ready, &mut self.counts);
        if line.is_whole() {
            // The empty last part of a line whose text was let go before says nothing.
            if line.len > 0 || line.next == 1 {
                self.ready.push(line.take(&key.tag));
                self.counts.joined += 1;
            }
            self.lines.remove(&key);
        } else {
            self.used += line.cost();
            self.ages.insert(age, key);
        }
        self.keep_within_buffer();
        taken
    }

    /// Puts a part where it belongs in its line.
    fn place(
        line: &mut Line,
        part: &Part<'_>,
        time: UnixNanos,
        batch: &RecordBatch,
        max_line: usize,
        ready: &mut Vec<RecordBatch>,
        counts: &mut JoinCounts,
    ) -> bool {
        if part.ordinal < line.next {
            return false;
        }
        let mut at = line.parts.partition_point(|(ordinal, _)| *ordinal < part.ordinal);
        if let Some((ordinal, text)) = line.parts.get(at)
            && *ordinal == part.ordinal
        {
            if **text != *part.log {
                return false;
            }
            // A chunk that its sender repeated.
            line.tickets.join(&batch.tickets);
            counts.duplicate += 1;
            return true;
        }
        if !line.parts.is_empty() && line.len + part.log.len() > max_line {
            ready.push(line.take(&batch.tag));
            counts.max_line += 1;
            if part.ordinal < line.next {
                // It belongs inside of what was just let go.
                return false;
            }
            at = 0;
        }
        if at == 0 && line.next == 1 {
            (line.frame, line.time) = (part.frame(), time);
        }
        line.parts.insert(at, (part.ordinal, part.log.into()));
        line.len += part.log.len();
        line.last = line.last.or(part.last.then_some(part.ordinal));
        line.tickets.join(&batch.tickets);
        counts.parts += 1;
        true
    }

    fn keep_within_buffer(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        while self.used > self.buffer && !self.ages.is_empty() {
            self.counts.buffer += u64::from(self.let_go_oldest(&mut |batch| ready.push(batch)));
        }
        self.ready = ready;
    }

    /// Ends the line that waits longest; false when all of it had been let go before.
    fn let_go_oldest(&mut self, out: &mut impl FnMut(RecordBatch)) -> bool {
        let Some((_, key)) = self.ages.pop_first() else { return false };
        let Some(mut line) = self.lines.remove(&key) else { return false };
        self.used -= line.cost();
        let held = !line.parts.is_empty();
        if held {
            out(line.take(&key.tag));
        }
        held
    }
}

impl Drop for Joiner {
    /// Lines that nobody flushed are lost, and their senders must not be told otherwise.
    fn drop(&mut self) {
        for line in self.lines.values_mut() {
            std::mem::take(&mut line.tickets).settle(Outcome::Lost);
        }
    }
}

#[cfg(test)]
mod tests;
