//! Field paths (`kubernetes.labels.app`) and their values in a raw record.
//!
//! A step goes into a map, into an object of JSON, or into a string that holds one whole JSON object. Of two equal
//! keys the last wins, in msgpack as in JSON. Bytes that are no whole msgpack end the walk; what stood before counts.

use std::borrow::Cow;

use super::Record;
use super::json::{self, Raw};
use super::msgpack::{Reader, Value};
use super::name::Found;

/// Most keys in a path: more than records may be nested (`msgpack::MAX_DEPTH`) cannot be found.
const MAX_KEYS: usize = 64;

/// A path of one or more keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// Never empty, at most [`MAX_KEYS`].
    keys: Box<[Box<str>]>,
}

impl Path {
    /// A path of these keys.
    pub fn new(keys: Vec<String>) -> Result<Self, String> {
        match keys.len() {
            1..=MAX_KEYS => Ok(Self { keys: keys.into_iter().map(String::into_boxed_str).collect() }),
            0 => Err("a path is empty; write a field's name".into()),
            n => Err(format!("a path of {n} keys; at most {MAX_KEYS} are accepted")),
        }
    }

    /// The keys in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(AsRef::as_ref)
    }

    /// The first key and the others.
    pub(crate) fn split(&self) -> (&str, &[Box<str>]) {
        self.keys.split_first().map_or(("", &[]), |(first, rest)| (first, rest))
    }

    /// The value in a record; `ecs_*` fields that the record lacks come from the task metadata.
    pub fn resolve<'a>(&self, record: &Record<'a>) -> Option<Found<'a>> {
        let (first, rest) = self.split();
        let root = top_level(record.map).filter(|(key, _)| *key == first.as_bytes()).last();
        match root {
            Some((_, value)) => resolve_in(value, rest),
            None => self.in_metadata(record).map(|text| Found::Str(Cow::Borrowed(text.as_bytes()))),
        }
    }

    /// Whether this is a field that the task metadata may supply.
    pub(crate) fn may_be_metadata(&self) -> bool {
        matches!(self.split(), (first, []) if first.starts_with("ecs_"))
    }

    /// What the task metadata says, for a path that is one of its fields. A field that the endpoint left empty is
    /// missing.
    pub(crate) fn in_metadata<'a>(&self, record: &Record<'a>) -> Option<&'a str> {
        let (first, []) = self.split() else { return None };
        let (_, text) = record.ecs?.fields().into_iter().find(|(name, _)| *name == first)?;
        (!text.is_empty()).then_some(text)
    }
}

/// The members of a record's map with a text for a key: key, and the bytes from the value on.
#[inline]
pub(crate) fn top_level(map: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut reader = Reader::new(map);
    let left = reader.map().unwrap_or(0);
    Pairs { reader, left }
}

/// The pairs of a map, its header read.
struct Pairs<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            self.left -= 1;
            let key = match self.reader.short_str() {
                Some(key) => Some(key),
                None => read_over(&mut self.reader)?.text(),
            };
            let value = self.reader.rest();
            // Most values are strings. One that is cut short is no value.
            if self.reader.short_str().is_none() {
                self.reader.skip().ok()?;
            }
            if let Some(key) = key {
                return Some((key, value));
            }
        }
        None
    }
}

/// Reads a value and steps over its parts; only arrays and maps have to be walked.
#[inline]
fn read_over<'a>(reader: &mut Reader<'a>) -> Option<Value<'a>> {
    let mut ahead = *reader;
    let value = ahead.read().ok()?;
    if matches!(value, Value::Array(_) | Value::Map(_)) {
        reader.skip().ok()?;
    } else {
        *reader = ahead;
    }
    Some(value)
}

/// The value that begins at `bytes`, for rules and names.
pub(crate) fn found(value: Value<'_>) -> Found<'_> {
    match value {
        Value::Nil => Found::Nil,
        Value::Bool(value) => Found::Bool(value),
        Value::Int(value) => Found::Int(value),
        Value::UInt(value) => Found::UInt(value),
        Value::F32(value) => Found::Float(f64::from(value)),
        Value::F64(value) => Found::Float(value),
        Value::Str(text) | Value::Bin(text) => Found::Str(Cow::Borrowed(text)),
        Value::Array(_) => Found::Array,
        Value::Map(_) => Found::Map,
        Value::Ext(..) => Found::Other,
    }
}

/// Goes on from the msgpack value that begins at `bytes`.
pub(crate) fn resolve_in<'a>(bytes: &'a [u8], keys: &[Box<str>]) -> Option<Found<'a>> {
    let mut reader = Reader::new(bytes);
    let mut value = reader.read().ok()?;
    for (n, key) in keys.iter().enumerate() {
        match value {
            Value::Map(left) => {
                let (_, at) = Pairs { reader, left }.filter(|(k, _)| *k == key.as_bytes()).last()?;
                reader = Reader::new(at);
                value = reader.read().ok()?;
            }
            Value::Str(text) | Value::Bin(text) => return resolve_in_text(text, &keys[n..]),
            _ => return None,
        }
    }
    Some(found(value))
}

/// A member of the map that begins at `bytes`, if one does.
pub(crate) fn map_member<'a>(bytes: &'a [u8], key: &[u8]) -> Option<Found<'a>> {
    let (_, value) = top_level(bytes).filter(|(k, _)| *k == key).last()?;
    resolve_in(value, &[])
}

/// Goes on from a string that may hold a JSON object.
fn resolve_in_text<'a>(text: &'a [u8], keys: &[Box<str>]) -> Option<Found<'a>> {
    let (first, rest) = keys.split_first()?;
    resolve_in_json(json::find(text, first.as_bytes())?, rest)
}

/// Goes on from a JSON value. A string in it may hold JSON in its turn; each such step takes a key of the path, so
/// their number is bounded by it.
pub(crate) fn resolve_in_json<'a>(mut value: Raw<'a>, keys: &[Box<str>]) -> Option<Found<'a>> {
    for (n, key) in keys.iter().enumerate() {
        value = match value.string() {
            None => value.get(key.as_bytes())?,
            Some(Cow::Borrowed(text)) => json::find(text, key.as_bytes())?,
            Some(Cow::Owned(text)) => return resolve_in_text(&text, &keys[n..]).map(Found::into_owned),
        };
    }
    Some(value.found())
}

#[cfg(test)]
mod tests;
