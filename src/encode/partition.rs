//! From a record to the partition that its sink's templates name.
//!
//! Dates are those of the record's time in UTC while it lies within 24 h before and 1 h after its receipt, else those of
//! its receipt: a clock that is wrong does not open partitions of another year. A value that is missing, empty, null or
//! no scalar is `unknown`. Beyond [`MAX_VALUES`] distinct values of a field in an hour (of receipt) further ones are
//! `_other`; beyond [`MAX_NAMES`] names in use all are. What values may hold is `encode::names`'s affair.
//!
//! Cheap for runs of records that go to one place: their values are compared with the last record's before anything is
//! hashed or rendered. Records of the same names get the same `Arc` while the names are used at least once an hour.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashSet, HashTable};

use super::names::{MAX_VALUE, Target};
use super::template::{DatePart, Segment};
use super::timestamp::{Parts, SECOND, decimals};
use super::{Partition, Template};
use crate::record::level::LevelRules;
use crate::record::name::{Found, Name};
use crate::record::{Record, UnixNanos};

/// Distinct values of one field an hour.
pub const MAX_VALUES: usize = 1_000;
/// Names in use: bounds the table when several fields of many values are combined.
pub const MAX_NAMES: usize = 10_000;

const MISSING: &str = "unknown";
const OTHER: &str = "_other";

const HOUR: i64 = 3_600 * SECOND;
const MAX_AGE: i64 = 24 * HOUR;
const MAX_AHEAD: i64 = HOUR;

/// What was replaced while a name was rendered; counted by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameNotes {
    /// A value was missing and became `unknown`.
    pub missing: bool,
    /// A value held characters that its target forbids, or was too long.
    pub replaced: bool,
    /// Too many distinct names this hour: the value became `_other`.
    pub overflowed: bool,
    /// The record's time was too far from now, so the time of receipt chose the name.
    pub time_of_receipt: bool,
}

/// Renders the names of one sink.
#[derive(Debug)]
pub struct Partitioner {
    names: Names,
    fields: Vec<Field>,
    levels: LevelRules,
    /// Nanoseconds within which the dates of the names stay the same; none without dates.
    bucket: Option<i64>,
    /// The hour of receipt that distinct values are counted in.
    hour: i64,
    known: Known,
    last: Option<Last>,
    /// The values of the record at hand, and what stands for each.
    values: Values,
    choices: Vec<Choice>,
}

/// What is rendered.
#[derive(Debug)]
enum Names {
    Prefix(Vec<Piece>),
    Stream(Vec<Piece>, Vec<Piece>),
    Whole,
}

/// A segment of a template, its field looked up once for all that name it.
#[derive(Debug)]
enum Piece {
    Text(String),
    Field(usize),
    Date(DatePart),
}

/// A field that names use.
#[derive(Debug)]
struct Field {
    name: Name,
    /// Hashes of the values of this hour.
    seen: HashSet<u64>,
}

/// The values of one record: bytes one after the other, each cut to [`MAX_VALUE`]; a missing one is empty.
#[derive(Debug, Default, PartialEq, Eq)]
struct Values {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    cut: bool,
}

/// What stands for a field in a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Value,
    Missing,
    Other,
}

/// The last record's place.
#[derive(Debug)]
struct Last {
    values: Values,
    bucket: i64,
    partition: Arc<Partition>,
    notes: NameNotes,
}

/// The partitions in use.
#[derive(Debug, Default)]
struct Known {
    table: HashTable<(Arc<Partition>, i64)>,
    hasher: DefaultHashBuilder,
    /// The name at hand; the group's and the stream's.
    rendered: [String; 2],
}

impl Partitioner {
    /// For objects: one template, a key prefix or directory.
    pub fn prefix(template: Template, levels: LevelRules) -> Self {
        Self::new([Some(template), None], levels)
    }

    /// For CloudWatch Logs: group and stream.
    pub fn stream(group: Template, stream: Template, levels: LevelRules) -> Self {
        Self::new([Some(group), Some(stream)], levels)
    }

    /// For a sink without names.
    pub fn whole() -> Self {
        Self::new([None, None], LevelRules::default())
    }

    fn new(templates: [Option<Template>; 2], levels: LevelRules) -> Self {
        let bucket = templates.iter().flatten().filter_map(Template::finest).max().map(|finest| match finest {
            DatePart::Minute => 60 * SECOND,
            DatePart::Hour => HOUR,
            DatePart::Day | DatePart::Month | DatePart::Year => 24 * HOUR,
        });
        let mut fields = Vec::new();
        let names = match templates.map(|template| template.map(|template| pieces(&template, &mut fields))) {
            [Some(group), Some(stream)] => Names::Stream(group, stream),
            [Some(prefix), None] => Names::Prefix(prefix),
            _ => Names::Whole,
        };
        let (known, values, choices) = (Known::default(), Values::default(), Vec::new());
        Self { names, fields, levels, bucket, hour: i64::MIN, known, last: None, values, choices }
    }

    /// The partition of a record. Records of the same names get the same `Arc`.
    pub fn partition(&mut self, record: &Record<'_>) -> (&Arc<Partition>, NameNotes) {
        let hour = record.received.div_euclid(HOUR);
        // Receipts of several sources may cross at the full hour; that alone does not turn it back.
        if hour > self.hour || hour < self.hour.saturating_sub(1) {
            self.turn(hour);
        }
        let (time, time_of_receipt) = self.time(record);
        let bucket = time.div_euclid(self.bucket.unwrap_or(i64::MAX));
        self.values.clear();
        for field in &self.fields {
            self.values.push(field.name.resolve(record, &self.levels));
        }
        let same = self.last.as_ref().is_some_and(|last| last.bucket == bucket && last.values == self.values);
        if !same {
            let (partition, notes) = self.look_up(time);
            let mut values = self.last.take().map(|last| last.values).unwrap_or_default();
            std::mem::swap(&mut values, &mut self.values);
            self.last = Some(Last { values, bucket, partition, notes });
        }
        let last = self.last.as_ref().expect("set just now if it was not");
        (&last.partition, NameNotes { time_of_receipt, ..last.notes })
    }

    /// The time that chooses the dates, and whether it is the receipt's.
    fn time(&self, record: &Record<'_>) -> (UnixNanos, bool) {
        let near = record.received.saturating_sub(MAX_AGE)..=record.received.saturating_add(MAX_AHEAD);
        match self.bucket {
            None => (0, false),
            Some(_) if near.contains(&record.time) => (record.time, false),
            Some(_) => (record.received, true),
        }
    }

    /// Begins an hour: values are counted anew, and names that the last hour did not use are forgotten.
    #[cold]
    fn turn(&mut self, hour: i64) {
        self.known.table.retain(|(_, used)| (hour.saturating_sub(1)..=hour).contains(used));
        self.fields.iter_mut().for_each(|field| field.seen.clear());
        self.last = None;
        self.hour = hour;
    }

    /// Renders the names of the values at hand and finds or makes their partition.
    fn look_up(&mut self, time: UnixNanos) -> (Arc<Partition>, NameNotes) {
        let mut notes = NameNotes { replaced: self.values.cut, ..NameNotes::default() };
        self.choices.clear();
        for (i, field) in self.fields.iter_mut().enumerate() {
            self.choices.push(match self.values.get(i) {
                b"" => Choice::Missing,
                value if field.admits(self.known.hasher.hash_one(value)) => Choice::Value,
                _ => Choice::Other,
            });
        }
        notes.missing = self.choices.contains(&Choice::Missing);
        notes.overflowed = self.choices.contains(&Choice::Other);
        let parts = Parts::of(time);
        notes.replaced |= self.known.render(&self.names, &self.values, &self.choices, &parts);
        if let Some(partition) = self.known.find(self.hour) {
            return (partition, notes);
        }
        if self.known.table.len() >= MAX_NAMES && !self.choices.is_empty() {
            notes.overflowed = true;
            self.choices.fill(Choice::Other);
            self.known.render(&self.names, &self.values, &self.choices, &parts);
            if let Some(partition) = self.known.find(self.hour) {
                return (partition, notes);
            }
        }
        (self.known.add(&self.names, self.hour), notes)
    }
}

impl Field {
    /// Whether a value may be used: it is known this hour, or there is room for one more.
    fn admits(&mut self, hash: u64) -> bool {
        self.seen.contains(&hash) || (self.seen.len() < MAX_VALUES && self.seen.insert(hash))
    }
}

fn pieces(template: &Template, fields: &mut Vec<Field>) -> Vec<Piece> {
    let piece = |segment: &Segment| match segment {
        Segment::Text { text, .. } => Piece::Text(text.clone()),
        Segment::Date(part) => Piece::Date(*part),
        Segment::Field(name) => {
            let index = fields.iter().position(|field| field.name == *name).unwrap_or_else(|| {
                fields.push(Field { name: name.clone(), seen: HashSet::new() });
                fields.len() - 1
            });
            Piece::Field(index)
        }
    };
    template.segments().iter().map(piece).collect()
}

impl Values {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.cut = false;
    }

    fn push(&mut self, value: Option<Found<'_>>) {
        match value {
            Some(Found::Str(text)) => {
                let kept = super::entries::cut(&text, MAX_VALUE);
                self.cut |= kept.len() < text.len();
                self.bytes.extend_from_slice(kept);
            }
            Some(Found::Bool(value)) => self.bytes.extend_from_slice(if value { b"true" } else { b"false" }),
            Some(Found::Int(value)) => self.bytes.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Some(Found::UInt(value)) => self.bytes.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Some(Found::Float(value)) => self.bytes.extend_from_slice(zmij::Buffer::new().format(value).as_bytes()),
            Some(Found::Nil | Found::Array | Found::Map | Found::Other) | None => {}
        }
        self.ends.push(self.bytes.len());
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }
}

impl Known {
    /// Renders the names into `rendered`; returns whether something was replaced.
    fn render(&mut self, names: &Names, values: &Values, choices: &[Choice], parts: &Parts) -> bool {
        let [first, second] = &mut self.rendered;
        first.clear();
        second.clear();
        match names {
            Names::Prefix(prefix) => render(prefix, Target::Prefix, values, choices, parts, first),
            Names::Stream(group, stream) => {
                let replaced = render(group, Target::LogGroup, values, choices, parts, first);
                render(stream, Target::LogStream, values, choices, parts, second) | replaced
            }
            Names::Whole => false,
        }
    }

    fn hash(&self) -> u64 {
        self.hasher.hash_one(&self.rendered)
    }

    /// The partition of the rendered names, if it is known; it is in use in this hour.
    fn find(&mut self, hour: i64) -> Option<Arc<Partition>> {
        let hash = self.hash();
        let [first, second] = &self.rendered;
        let entry = self.table.find_mut(hash, |(partition, _)| names_of(partition) == [first, second])?;
        entry.1 = hour;
        Some(Arc::clone(&entry.0))
    }

    fn add(&mut self, names: &Names, hour: i64) -> Arc<Partition> {
        let [first, second] = self.rendered.each_ref().map(|name| Box::from(name.as_str()));
        let partition = Arc::new(match names {
            Names::Prefix(_) => Partition::Prefix(first),
            Names::Stream(..) => Partition::Stream { group: first, stream: second },
            Names::Whole => Partition::Whole,
        });
        let (hash, hasher) = (self.hash(), &self.hasher);
        let rehash = |(partition, _): &(Arc<Partition>, i64)| hasher.hash_one(names_of(partition));
        self.table.insert_unique(hash, (Arc::clone(&partition), hour), rehash);
        partition
    }
}

fn names_of(partition: &Partition) -> [&str; 2] {
    match partition {
        Partition::Prefix(prefix) => [prefix, ""],
        Partition::Stream { group, stream } => [group, stream],
        Partition::Whole => ["", ""],
    }
}

fn render(
    pieces: &[Piece],
    target: Target,
    values: &Values,
    choices: &[Choice],
    parts: &Parts,
    name: &mut String,
) -> bool {
    let mut replaced = false;
    for piece in pieces {
        match piece {
            Piece::Text(text) => name.push_str(text),
            Piece::Field(index) => match choices[*index] {
                Choice::Value => replaced |= target.value(values.get(*index), name),
                Choice::Missing => name.push_str(MISSING),
                Choice::Other => name.push_str(OTHER),
            },
            Piece::Date(part) => {
                let (number, digits) = part.of(parts);
                let mut text = [b'0'; 4];
                decimals(&mut text[..digits], number);
                name.extend(text[..digits].iter().map(|digit| char::from(*digit)));
            }
        }
    }
    target.finish(name) | replaced
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::record::Tag;
    use crate::record::msgpack::write;

    /// 2026-11-22T10:59:30Z.
    const NOW: UnixNanos = 1_795_345_170 * SECOND;

    fn prefix(template: &str) -> Partitioner {
        Partitioner::prefix(Template::parse(template).unwrap(), LevelRules::default())
    }

    fn stream(group: &str, stream: &str) -> Partitioner {
        let [group, stream] = [group, stream].map(|text| Template::parse(text).unwrap());
        Partitioner::stream(group, stream, LevelRules::default())
    }

    fn map_of(key: &str, value: &[u8]) -> Vec<u8> {
        let mut map = Vec::new();
        write::map(&mut map, 1);
        write::str(&mut map, key.as_bytes());
        write::str(&mut map, value);
        map
    }

    fn place(partitioner: &mut Partitioner, value: &[u8], time: UnixNanos, received: UnixNanos) -> (String, NameNotes) {
        let (tag, map) = (Tag::from("app-firelens-0123"), map_of("v", value));
        let record =
            Record { tag: &tag, source: "forward", time, received, map: &map, ecs: None, json: Default::default() };
        let (partition, notes) = partitioner.partition(&record);
        let name = match &**partition {
            Partition::Prefix(prefix) => prefix.to_string(),
            Partition::Stream { group, stream } => format!("{group} {stream}"),
            Partition::Whole => "whole".into(),
        };
        (name, notes)
    }

    #[test]
    fn renders_dates_of_the_records_time_while_it_is_near() {
        let mut names = prefix("logs/service={container}/dt=%Y-%m-%d/hour=%H/%M/");
        let at = |hour: &str| format!("logs/service=app/dt=2026-11-{hour}/");
        let mut near = |time: i64| {
            let (name, notes) = place(&mut names, b"", time, NOW);
            (name, notes.time_of_receipt)
        };
        assert_eq!(near(NOW), (at("22/hour=10/59"), false));
        assert_eq!(near(NOW - MAX_AGE), (at("21/hour=10/59"), false));
        assert_eq!(near(NOW - MAX_AGE - 1), (at("22/hour=10/59"), true));
        assert_eq!(near(NOW + MAX_AHEAD), (at("22/hour=11/59"), false));
        assert_eq!(near(NOW + MAX_AHEAD + 1), (at("22/hour=10/59"), true));
        assert_eq!(near(NOW + 30 * SECOND), (at("22/hour=11/00"), false));
        assert_eq!((near(i64::MIN).1, near(i64::MAX).1), (true, true));
        assert!(!place(&mut prefix("{container}"), b"", 0, NOW).1.time_of_receipt, "a name without dates");
    }

    #[test]
    fn values_are_data_and_missing_ones_unknown() {
        let mut names = stream("/ecs/{container}", "{v}/{task_id}");
        assert_eq!(place(&mut names, b"a", NOW, NOW), ("/ecs/app a/0123".into(), NameNotes::default()));
        let replaced = NameNotes { replaced: true, ..NameNotes::default() };
        assert_eq!(place(&mut names, b"../a:b", NOW, NOW), ("/ecs/app ___a_b/0123".into(), replaced));
        assert_eq!(place(&mut names, b"\xff", NOW, NOW), ("/ecs/app _/0123".into(), replaced));
        let missing = NameNotes { missing: true, ..NameNotes::default() };
        assert_eq!(place(&mut names, b"", NOW, NOW), ("/ecs/app unknown/0123".into(), missing));
        assert_eq!(place(&mut prefix("{nothing}/"), b"", NOW, NOW), ("unknown/".into(), missing));
        let (name, notes) = place(&mut prefix("{v}/"), "ü".repeat(500).as_bytes(), NOW, NOW);
        assert_eq!((name, notes), (format!("{}/", "ü".repeat(100)), replaced));
        assert_eq!(place(&mut Partitioner::whole(), b"x", NOW, NOW), ("whole".into(), NameNotes::default()));
    }

    #[test]
    fn records_of_the_same_names_share_their_partition() {
        let mut names = prefix("{v}/%H/");
        let (tag, a, b) = (Tag::from("app"), map_of("v", b"a"), map_of("v", b"b"));
        let mut arc = |map: &[u8], received: UnixNanos| {
            let record =
                Record { tag: &tag, source: "forward", time: NOW, received, map, ecs: None, json: Default::default() };
            Arc::clone(names.partition(&record).0)
        };
        let first = arc(&a, NOW);
        assert!(!Arc::ptr_eq(&first, &arc(&b, NOW)));
        assert!(Arc::ptr_eq(&first, &arc(&a, NOW)));
        // Across the full hour too, while it stays in use; forgotten when an hour passes without it.
        assert!(Arc::ptr_eq(&first, &arc(&a, NOW + HOUR)));
        arc(&b, NOW + 2 * HOUR);
        arc(&b, NOW + 3 * HOUR);
        assert!(!Arc::ptr_eq(&first, &arc(&a, NOW + 3 * HOUR)));
    }

    #[test]
    fn too_many_values_an_hour_become_other() {
        let mut names = stream("{container}", "{v}");
        let mut other = |value: usize, received: UnixNanos| {
            let (name, notes) = place(&mut names, value.to_string().as_bytes(), received, received);
            assert_eq!(notes.overflowed, name == "app _other");
            assert!(notes.overflowed || name == format!("app {value}"));
            notes.overflowed
        };
        assert!((0..MAX_VALUES).all(|value| !other(value, NOW)));
        assert!(other(MAX_VALUES, NOW) && other(MAX_VALUES + 1, NOW));
        assert!(!other(7, NOW), "known values stay");
        assert!(!other(MAX_VALUES, NOW + HOUR), "an hour later there is room");
    }

    #[test]
    fn names_in_use_are_bounded() {
        let mut names = prefix("{v}/{record.w}/");
        let tag = Tag::from("app");
        let mut seen = BTreeSet::new();
        for i in 0..MAX_NAMES + 500 {
            let mut map = Vec::new();
            write::map(&mut map, 2);
            for (key, value) in [("v", i / 500), ("w", i % 500)] {
                write::str(&mut map, key.as_bytes());
                write::uint(&mut map, value as u64);
            }
            let record = Record {
                tag: &tag,
                source: "forward",
                time: NOW,
                received: NOW,
                map: &map,
                ecs: None,
                json: Default::default(),
            };
            let (partition, notes) = names.partition(&record);
            assert_eq!(notes.overflowed, i >= MAX_NAMES);
            seen.insert(Partition::clone(partition));
        }
        assert_eq!(seen.len(), MAX_NAMES + 1);
        assert!(seen.contains(&Partition::Prefix("_other/_other/".into())));
    }

    fn any_value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(prop::sample::select(b"./\\:*a\0\x7f\xc3\xbc\xff".to_vec()), 0..12),
            "(?s).{0,20}".prop_map(String::into_bytes),
            (0..700_usize, prop::sample::select(vec!["x", "é", "あ", ".", "/"])).prop_map(|(n, c)| c.repeat(n).into()),
        ]
    }

    proptest! {
        #[test]
        fn no_value_makes_a_name_that_its_target_refuses(
            values in prop::collection::vec(any_value(), 1..8),
            text in prop::sample::select(vec![
                "{v}", "{v}.{v}", "/{v}/./{v}/", "..{v}", "aws/{v}", "a/{v}.", "x{v}{v}{v}{v}{v}{v}{v}", "{v}/%Y/{nil}",
            ]),
        ) {
            let (mut prefix, mut stream) = (prefix(text), stream(text, text));
            for value in values {
                let (name, _) = place(&mut prefix, &value, NOW, NOW);
                prop_assert!(name.len() <= 896 && !name.starts_with('/') && !name.contains('\\'));
                prop_assert!(!name.contains("..") && !name.chars().any(char::is_control), "{name:?}");
                prop_assert!(name.split('/').all(|part| part != "." && part.len() <= 255), "{name:?}");

                let (both, _) = place(&mut stream, &value, NOW, NOW);
                let Partition::Stream { group, stream } = &**stream.last.as_ref().map(|l| &l.partition).unwrap() else {
                    return Err(TestCaseError::fail(both));
                };
                let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/#".contains(c);
                prop_assert!(group.chars().all(allowed) && !group.starts_with("aws/"), "{group:?}");
                prop_assert!(!stream.contains([':', '*']) && !stream.chars().any(char::is_control), "{stream:?}");
                for name in [group, stream] {
                    prop_assert!((1..=512).contains(&name.len()) && !name.contains(".."), "{name:?}");
                }
            }
        }

        #[test]
        fn the_memory_of_the_last_record_changes_no_name(
            values in prop::collection::vec((any_value(), -90_000..5_000_i64), 1..20),
        ) {
            let mut used = prefix("{v}/{container}/%d-%H-%M/");
            for (value, seconds) in values {
                let time = NOW + seconds * SECOND;
                let fresh = place(&mut prefix("{v}/{container}/%d-%H-%M/"), &value, time, NOW);
                prop_assert_eq!(place(&mut used, &value, time, NOW), fresh);
            }
        }
    }
}
