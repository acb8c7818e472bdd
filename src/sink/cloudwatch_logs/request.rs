//! Which entries of some blocks make which PutLogEvents request, by all the rules of CloudWatch Logs; and the body of
//! such a request. Pure functions: the time of day is an argument, nothing is sent.
//!
//! Every entry ends in exactly one request or is refused with a reason. Requests are in order of time, and what has
//! the same time keeps the order that it came in. An event is remembered by where it lies in its block, so that the
//! answer's indexes lead back to the records, and so that a request can be split without its bytes being kept twice.

use std::ops::Range;

use bytes::Bytes;

use crate::encode::Count;
use crate::encode::entries::entries;

/// Bytes of one request, as AWS counts them: the messages in UTF-8 and [`EVENT_OVERHEAD`] each.
pub const MAX_BYTES: u64 = 1_048_576;
/// What AWS adds for each event.
pub const EVENT_OVERHEAD: u64 = 26;
/// Events of one request.
pub const MAX_EVENTS: usize = 10_000;
/// The events of one request lie within 24 hours.
pub const MAX_SPAN_MILLIS: i64 = 24 * 3_600_000;
/// Older events are refused.
pub const MAX_AGE_MILLIS: i64 = 14 * 24 * 3_600_000;
/// Events further ahead are refused.
pub const MAX_AHEAD_MILLIS: i64 = 2 * 3_600_000;

/// Counts by reason; a reason stands once, and only with records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejects(Vec<(&'static str, Count)>);

impl Rejects {
    /// Counts `count` under `reason`.
    pub fn add(&mut self, reason: &'static str, count: Count) {
        if count.records == 0 {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => *sum += count,
            None => self.0.push((reason, count)),
        }
    }

    /// All of them, as a receipt takes them.
    pub fn as_slice(&self) -> &[(&'static str, Count)] {
        &self.0
    }
}

/// One event: where its message lies and what is counted for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    millis: i64,
    block: u32,
    /// Range of the escaped message in its block.
    start: u32,
    end: u32,
    message_len: u32,
    source_len: u32,
}

impl Event {
    /// What AWS counts.
    fn size(&self) -> u64 {
        u64::from(self.message_len) + EVENT_OVERHEAD
    }
}

/// The events of one request. Invariants: not empty, sorted by time, within all limits.
#[derive(Clone, Debug)]
pub struct Batch {
    events: Vec<Event>,
    bytes: u64,
}

/// The requests that some blocks make, and what can be in none of them.
#[derive(Debug, Default)]
pub struct Plan {
    /// In order of time.
    pub batches: Vec<Batch>,
    /// What AWS would refuse.
    pub rejects: Rejects,
}

/// What AWS accepted of a request but did not keep: indexes into its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RejectedInfo {
    /// Events before this one are too old.
    pub too_old_end: Option<i32>,
    /// Events before this one are older than the group's retention.
    pub expired_end: Option<i32>,
    /// This event and all after it are too new.
    pub too_new_start: Option<i32>,
}

/// Makes requests of the entries of these blocks.
pub fn plan(blocks: &[Bytes], now_millis: i64) -> Plan {
    let mut rejects = Rejects::default();
    let mut events = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        for entry in entries(block) {
            // The entry borrows from the block, so the difference is its place there.
            let start = entry.escaped.as_ptr() as usize - block.as_ptr() as usize;
            let event = Event {
                millis: entry.millis,
                block: index as u32,
                start: start as u32,
                end: (start + entry.escaped.len()) as u32,
                message_len: entry.message_len,
                source_len: entry.source_len,
            };
            match refusal(&event, now_millis) {
                Some(reason) => rejects.add(reason, count(&[event])),
                None => events.push(event),
            }
        }
    }
    // Usually sorted already; the sort is stable and then one pass.
    events.sort_by_key(|event| event.millis);
    Plan { batches: cut(&events), rejects }
}

/// Why AWS would not take an event, in any request.
fn refusal(event: &Event, now_millis: i64) -> Option<&'static str> {
    if event.size() > MAX_BYTES {
        Some("too_large")
    } else if event.message_len == 0 {
        Some("empty")
    } else if event.millis < now_millis.saturating_sub(MAX_AGE_MILLIS) {
        Some("too_old")
    } else if event.millis > now_millis.saturating_add(MAX_AHEAD_MILLIS) {
        Some("too_new")
    } else {
        None
    }
}

/// Cuts sorted events where the next one would break a rule.
fn cut(events: &[Event]) -> Vec<Batch> {
    let mut batches = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, event) in events.iter().enumerate() {
        let first = events.get(from).map_or(event.millis, |first| first.millis);
        let full = bytes + event.size() > MAX_BYTES
            || at - from >= MAX_EVENTS
            || event.millis.saturating_sub(first) >= MAX_SPAN_MILLIS;
        if full && at > from {
            batches.push(Batch { events: events[from..at].to_vec(), bytes });
            (from, bytes) = (at, 0);
        }
        bytes += event.size();
    }
    if from < events.len() {
        batches.push(Batch { events: events[from..].to_vec(), bytes });
    }
    batches
}

fn count(events: &[Event]) -> Count {
    Count { records: events.len() as u64, bytes: events.iter().map(|event| u64::from(event.source_len)).sum() }
}

impl Batch {
    /// Its records.
    pub fn count(&self) -> Count {
        count(&self.events)
    }

    /// What AWS counts for it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its first and second half; `None` when it is one event.
    pub fn split(self) -> Option<(Self, Self)> {
        if self.events.len() < 2 {
            return None;
        }
        let (left, right) = self.events.split_at(self.events.len() / 2);
        let part = |events: &[Event]| Self { events: events.to_vec(), bytes: events.iter().map(Event::size).sum() };
        Some((part(left), part(right)))
    }

    /// What AWS did not keep of it, by reason. Indexes outside of it, and ranges that overlap, count once.
    pub fn rejects(&self, info: RejectedInfo) -> Rejects {
        let len = self.events.len();
        let index = |at: i32| usize::try_from(at).unwrap_or(0).min(len);
        let too_old = index(info.too_old_end.unwrap_or(0));
        let expired = index(info.expired_end.unwrap_or(0)).max(too_old);
        let too_new = info.too_new_start.map_or(len, index).max(expired);
        let mut rejects = Rejects::default();
        let of = |range: Range<usize>| self.events.get(range).map(count).unwrap_or_default();
        rejects.add("too_old", of(0..too_old));
        rejects.add("expired", of(too_old..expired));
        rejects.add("too_new", of(too_new..len));
        rejects
    }

    /// Writes the body of the request; `blocks` are those that the plan was made of.
    pub fn write_body(&self, group: &str, stream: &str, blocks: &[Bytes], out: &mut Vec<u8>) {
        let head = |out: &mut Vec<u8>, key: &[u8], name: &str| {
            out.extend_from_slice(key);
            serde_json::to_writer(out, name).expect("a string is JSON and a Vec takes it");
        };
        head(out, b"{\"logGroupName\":", group);
        head(out, b",\"logStreamName\":", stream);
        out.extend_from_slice(b",\"logEvents\":[");
        let mut digits = itoa::Buffer::new();
        for (at, event) in self.events.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"{\"timestamp\":" } else { b",{\"timestamp\":" });
            out.extend_from_slice(digits.format(event.millis).as_bytes());
            out.extend_from_slice(b",\"message\":\"");
            out.extend_from_slice(event.escaped(blocks));
            out.extend_from_slice(b"\"}");
        }
        out.extend_from_slice(b"]}");
    }
}

impl Event {
    fn escaped<'a>(&self, blocks: &'a [Bytes]) -> &'a [u8] {
        let block = blocks.get(self.block as usize);
        block.and_then(|block| block.get(self.start as usize..self.end as usize)).unwrap_or_default()
    }
}
