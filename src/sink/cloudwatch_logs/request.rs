//! Which entries of some blocks make which PutLogEvents request, by all the rules of CloudWatch Logs; and the body of
//! such a request. Pure functions: the time of day is an argument, nothing is sent.
//!
//! Every entry ends in exactly one request or is refused with a reason. Requests are in order of time, and what has
//! the same time keeps the order that it came in. An event is remembered by where it lies in its block, so that the
//! answer's indexes lead back to the records, and so that a request can be split without its bytes being kept twice.
//! A record whose message was split has several events and is counted once: as lost, if any of them is.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use crate::encode::Count;
use crate::encode::entries::entries;

/// What AWS adds for each event.
pub const EVENT_OVERHEAD: u64 = 26;
/// Older events are refused.
pub const MAX_AGE_MILLIS: i64 = 14 * 24 * 3_600_000;
/// Events further ahead are refused.
pub const MAX_AHEAD_MILLIS: i64 = 2 * 3_600_000;

/// What one request may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes as AWS counts them: the messages in UTF-8 and [`EVENT_OVERHEAD`] each.
    pub bytes: u64,
    /// Events.
    pub events: usize,
    /// The last event is less than this later than the first.
    pub span_millis: i64,
}

/// The limits of PutLogEvents.
pub const LIMITS: Limits = Limits { bytes: 1_048_576, events: 10_000, span_millis: 24 * 3_600_000 };

/// Records that are given up, by their place among all records of the blocks: each once, for the first reason that one
/// of its events gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejects(BTreeMap<u32, Reject>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reject {
    reason: &'static str,
    source_len: u32,
}

/// A record that is given up, with what it would have said in CloudWatch Logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered<'a> {
    /// Why.
    pub reason: &'static str,
    /// Its time.
    pub millis: i64,
    /// msgpack bytes that it came in as.
    pub source_len: u32,
    /// Its message as the inside of a JSON string: one piece, or several that go on from one another.
    pub escaped: Vec<&'a [u8]>,
}

impl Rejects {
    fn add(&mut self, reason: &'static str, events: &[Event]) {
        for event in events {
            self.0.entry(event.record).or_insert(Reject { reason, source_len: event.source_len });
        }
    }

    /// Takes over what is given up elsewhere; what is here already keeps its reason.
    pub fn join(&mut self, other: Self) {
        for (record, reject) in other.0 {
            self.0.entry(record).or_insert(reject);
        }
    }

    /// Whether nothing is given up.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts by reason, as a receipt takes them.
    pub fn counts(&self) -> Vec<(&'static str, Count)> {
        let mut counts: Vec<(&'static str, Count)> = Vec::new();
        for reject in self.0.values() {
            let one = Count { records: 1, bytes: reject.source_len.into() };
            match counts.iter_mut().find(|(reason, _)| *reason == reject.reason) {
                Some((_, sum)) => *sum += one,
                None => counts.push((reject.reason, one)),
            }
        }
        counts
    }

    /// The records themselves, whole; `blocks` are those that the plan was made of.
    pub fn undelivered<'a>(&self, blocks: &'a [Bytes]) -> Vec<Undelivered<'a>> {
        let (mut next, mut found) = (0_u32, Vec::new());
        for entry in blocks.iter().flat_map(|block| entries(block)) {
            next += u32::from(!entry.is_further_piece());
            let Some(&Reject { reason, source_len }) = self.0.get(&next.saturating_sub(1)) else { continue };
            match found.last_mut() {
                Some(Undelivered { escaped, .. }) if entry.is_further_piece() => escaped.push(entry.escaped),
                _ => found.push(Undelivered { reason, millis: entry.millis, source_len, escaped: vec![entry.escaped] }),
            }
        }
        found
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
    /// Of its record, whichever piece it is.
    source_len: u32,
    /// Which record it is of: its place among all records of the blocks.
    record: u32,
    /// Whether an event before it is of the same record.
    further: bool,
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
pub fn plan(blocks: &[Bytes], now_millis: i64, limits: Limits) -> Plan {
    let mut rejects = Rejects::default();
    let mut events = Vec::new();
    let (mut records, mut source_len) = (0_u32, 0);
    for (index, block) in blocks.iter().enumerate() {
        for entry in entries(block) {
            let further = entry.is_further_piece();
            if !further {
                (records, source_len) = (records + 1, entry.source_len);
            }
            // The entry borrows from the block, so the difference is its place there.
            let start = entry.escaped.as_ptr() as usize - block.as_ptr() as usize;
            let event = Event {
                millis: entry.millis,
                block: index as u32,
                start: start as u32,
                end: (start + entry.escaped.len()) as u32,
                message_len: entry.message_len,
                source_len,
                record: records.saturating_sub(1),
                further,
            };
            match refusal(&event, now_millis, limits) {
                Some(reason) => rejects.add(reason, &[event]),
                None => events.push(event),
            }
        }
    }
    // Usually sorted already; the sort is stable and then one pass.
    events.sort_by_key(|event| event.millis);
    Plan { batches: cut(&events, limits), rejects }
}

/// Why AWS would not take an event, in any request.
fn refusal(event: &Event, now_millis: i64, limits: Limits) -> Option<&'static str> {
    if event.size() > limits.bytes {
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
fn cut(events: &[Event], limits: Limits) -> Vec<Batch> {
    let mut batches = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, event) in events.iter().enumerate() {
        let first = events.get(from).map_or(event.millis, |first| first.millis);
        let full = bytes + event.size() > limits.bytes
            || at - from >= limits.events
            || event.millis.saturating_sub(first) >= limits.span_millis;
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

/// The records that begin here.
fn count(events: &[Event]) -> Count {
    let begun = events.iter().filter(|event| !event.further);
    begun.fold(Count::default(), |mut sum, event| {
        sum += Count { records: 1, bytes: event.source_len.into() };
        sum
    })
}

impl Batch {
    /// The records that begin in it.
    pub fn count(&self) -> Count {
        count(&self.events)
    }

    /// All of it, given up.
    pub fn rejected(&self, reason: &'static str) -> Rejects {
        let mut rejects = Rejects::default();
        rejects.add(reason, &self.events);
        rejects
    }

    /// What AWS counts for it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Room that its body needs, a little more than its length.
    pub fn body_len(&self, group: &str, stream: &str) -> usize {
        /// What stands around an event's message, with the longest timestamp.
        const AROUND: usize = r#",{"timestamp":-9223372036854775808,"message":""}"#.len();
        let events = self.events.iter().map(|event| (event.end - event.start) as usize + AROUND);
        // Names have no characters that JSON escapes.
        events.sum::<usize>() + group.len() + stream.len() + 64
    }

    /// Its first and second half; `None` when it is one event.
    pub fn split(&self) -> Option<(Self, Self)> {
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
        let of = |range: Range<usize>| self.events.get(range).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::encode::Message;
    use crate::encode::entries::{EntryEncoder, MAX_MESSAGE};
    use crate::record::{Record, Tag};

    const NOW: i64 = 1_800_000_000_000;

    /// Blocks of these messages at these times after [`NOW`].
    fn blocks(content: &[Vec<(i64, String)>]) -> Vec<Bytes> {
        let mut encoder = EntryEncoder::new(Message::Log);
        let tag = Tag::from_bytes(b"t");
        let block = |events: &Vec<(i64, String)>| {
            let mut out = Vec::new();
            for (offset, text) in events {
                let mut map = Vec::new();
                let value = rmpv::Value::Map(vec![("log".into(), text.as_str().into())]);
                rmpv::encode::write_value(&mut map, &value).expect("a Vec takes it");
                let time = (NOW + offset) * 1_000_000;
                let record = Record {
                    map: &map,
                    time,
                    received: time,
                    tag: &tag,
                    ecs: None,
                    source: "s",
                    json: Default::default(),
                };
                assert_eq!(encoder.encode(&record, &mut out).malformed, 0);
            }
            out.into()
        };
        content.iter().map(block).collect()
    }

    /// Time and message of the events in a body, as another JSON library reads it.
    fn parsed(batch: &Batch, blocks: &[Bytes]) -> Vec<(i64, String)> {
        let mut body = Vec::new();
        batch.write_body("g\"", "s", blocks, &mut body);
        let body: Value = serde_json::from_slice(&body).expect("it is JSON");
        assert_eq!((&body["logGroupName"], &body["logStreamName"]), (&"g\"".into(), &"s".into()));
        let event = |event: &Value| {
            let message = event["message"].as_str().expect("a string").to_owned();
            (event["timestamp"].as_i64().expect("a number"), message)
        };
        body["logEvents"].as_array().expect("a list").iter().map(event).collect()
    }

    fn check(batch: &Batch, events: &[(i64, String)], limits: Limits) {
        let size: u64 = events.iter().map(|(_, text)| text.len() as u64 + EVENT_OVERHEAD).sum();
        assert_eq!((batch.bytes(), batch.count().records), (size, events.len() as u64));
        assert!(size <= limits.bytes && (1..=limits.events).contains(&events.len()));
        assert!(events.is_sorted_by_key(|(millis, _)| *millis));
        let span = events.last().map_or(0, |event| event.0) - events.first().map_or(0, |event| event.0);
        assert!(span < limits.span_millis);
        assert!(events.iter().all(|(_, text)| !text.is_empty()));
    }

    const DAY: i64 = 24 * 3_600_000;

    fn time() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => -2_000..2_000i64,
            2 => -13 * DAY..0i64,
            1 => Just(0i64),
            1 => -20 * DAY..-14 * DAY,
            1 => MAX_AHEAD_MILLIS - 2..MAX_AHEAD_MILLIS + 2,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_request_holds_all_rules_and_every_entry_is_in_exactly_one(
            content in prop::collection::vec(prop::collection::vec((time(), "[a\"\\\\\n\u{1}é😀]{0,60}"), 1..20), 1..5),
            bytes in 100u64..1000,
            events in 1usize..8,
            span_millis in prop_oneof![Just(DAY), 1i64..1000],
        ) {
            let limits = Limits { bytes, events, span_millis };
            let blocks = blocks(&content);
            let plan = plan(&blocks, NOW, limits);
            // The encoder sends a blank for an empty message.
            let text = |text: &String| if text.is_empty() { " ".to_owned() } else { text.clone() };
            let mut good: Vec<_> = content.iter().flatten().map(|(at, log)| (NOW + at, text(log))).collect();
            good.retain(|(at, log)| {
                log.len() as u64 + EVENT_OVERHEAD <= bytes && (NOW - 14 * DAY..=NOW + MAX_AHEAD_MILLIS).contains(at)
            });
            good.sort_by_key(|(at, _)| *at);
            let sent: Vec<_> = plan.batches.iter().map(|batch| parsed(batch, &blocks)).collect();
            for (batch, events) in plan.batches.iter().zip(&sent) {
                check(batch, events, limits);
            }
            prop_assert_eq!(sent.concat(), good);
            let mut total = Count::default();
            plan.rejects.counts().iter().for_each(|(_, count)| total += *count);
            plan.batches.iter().for_each(|batch| total += batch.count());
            let bytes = blocks.iter().flat_map(|block| entries(block)).map(|entry| u64::from(entry.source_len)).sum();
            prop_assert_eq!(total, Count { records: content.concat().len() as u64, bytes });
        }

        #[test]
        fn an_answer_never_rejects_more_than_there_is(
            len in 1usize..20,
            old in prop::option::of(any::<i32>()),
            expired in prop::option::of(-1i32..25),
            new in prop::option::of(-1i32..25),
        ) {
            let blocks = blocks(&[vec![(0, "x".into()); len]]);
            let batch = &plan(&blocks, NOW, LIMITS).batches[0];
            let info = RejectedInfo { too_old_end: old, expired_end: expired, too_new_start: new };
            let rejected: u64 = batch.rejects(info).counts().iter().map(|(_, count)| count.records).sum();
            prop_assert!(rejected <= len as u64);
        }
    }

    #[test]
    fn a_request_is_cut_at_awss_own_limits() {
        let lens = |content: &[(i64, String)]| -> Vec<u64> {
            let blocks = blocks(&[content.to_vec()]);
            plan(&blocks, NOW, LIMITS).batches.iter().map(|batch| batch.count().records).collect()
        };
        assert_eq!(lens(&vec![(0, "x".into()); 10_001]), [10_000, 1]);
        // 1,048,576 bytes are 1,024 events of 1,024 bytes with their 26 bytes each.
        let full = vec![(0, "x".repeat(1024 - 26)); 1024];
        assert_eq!(lens(&full), [1024]);
        assert_eq!(lens(&[full, vec![(0, "x".into())]].concat()), [1024, 1]);
        assert_eq!(lens(&[(-DAY, "a".into()), (-1, "b".into()), (0, "c".into())]), [2, 1]);
    }

    #[test]
    fn what_aws_would_refuse_is_told_by_reason() {
        let blocks = blocks(&[vec![
            (-14 * DAY - 1, "old".into()),
            (-14 * DAY, "just".into()),
            (MAX_AHEAD_MILLIS + 1, "new".into()),
            (MAX_AHEAD_MILLIS, "just".into()),
        ]]);
        let plan = plan(&blocks, NOW, LIMITS);
        let reasons: Vec<_> = plan.rejects.counts().iter().map(|(reason, count)| (*reason, count.records)).collect();
        assert_eq!(reasons, [("too_old", 1), ("too_new", 1)]);
        assert_eq!(plan.batches.len(), 2, "14 days do not fit into one request");
    }

    #[test]
    fn indexes_of_an_answer_lead_to_the_right_records() {
        let texts = ["1", "22", "333", "4444", "55555"];
        let blocks = blocks(&[texts.map(|text| (0, text.to_owned())).to_vec()]);
        let batch = &plan(&blocks, NOW, LIMITS).batches[0];
        let sizes: Vec<_> = entries(&blocks[0]).map(|entry| u64::from(entry.source_len)).collect();
        let info = RejectedInfo { too_old_end: Some(1), expired_end: Some(3), too_new_start: Some(4) };
        let count = |range: Range<usize>| Count { records: range.len() as u64, bytes: sizes[range].iter().sum() };
        let expected = [("too_old", count(0..1)), ("expired", count(1..3)), ("too_new", count(4..5))];
        assert_eq!(batch.rejects(info).counts(), expected);
        assert_eq!(batch.rejects(RejectedInfo::default()).counts(), []);
    }

    #[test]
    fn a_request_is_split_until_one_event_is_left() {
        let blocks = blocks(&[["a", "b", "c"].map(|text| (0, text.to_owned())).to_vec()]);
        let batch = plan(&blocks, NOW, LIMITS).batches.remove(0);
        let (left, right) = batch.split().expect("three events");
        assert_eq!(parsed(&left, &blocks), [(NOW, "a".into())]);
        assert_eq!(parsed(&right, &blocks), [(NOW, "b".into()), (NOW, "c".into())]);
        assert_eq!((left.bytes(), right.bytes()), (27, 54));
        assert!(left.split().is_none());
    }

    #[test]
    fn a_record_of_several_events_is_counted_once_and_given_up_whole() {
        let long = "あ".repeat(MAX_MESSAGE);
        let blocks = blocks(&[vec![(0, "a".into())], vec![(0, long.clone()), (0, "b".into())]]);
        let mut plan = plan(&blocks, NOW, LIMITS);
        assert_eq!(plan.batches.iter().map(|batch| batch.count().records).sum::<u64>(), 3);
        assert_eq!(plan.batches.len(), 5, "`a`, three full pieces, the fourth with `b`");
        // The second piece is refused, then the third: one record, the first reason.
        let mut rejects = plan.batches[2].rejected("retry_deadline");
        rejects.join(plan.batches.remove(3).rejects(RejectedInfo { too_old_end: Some(1), ..RejectedInfo::default() }));
        let undelivered = rejects.undelivered(&blocks);
        assert_eq!(undelivered.len(), 1);
        assert_eq!((undelivered[0].reason, undelivered[0].millis), ("retry_deadline", NOW));
        assert_eq!(undelivered[0].escaped.concat(), long.as_bytes());
        let bytes = undelivered[0].source_len.into();
        assert_eq!(rejects.counts(), [("retry_deadline", Count { records: 1, bytes })]);
    }
}
