//! From a record to the partition that its sink's templates name.
//!
//! Dates are those of the record's time in UTC while it lies within 24 h before and 1 h after its receipt, else those of
//! its receipt: a clock that is wrong does not open partitions of another year. A value that is missing, empty, null or
//! no scalar is `unknown`. Beyond [`MAX_VALUES`] distinct values of a field in an hour (of receipt) further ones are
//! `_other`; beyond [`MAX_NAMES`] names in use all are. What values may hold is [`super::names`]'s affair.
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
