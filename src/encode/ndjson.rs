//! Records as NDJSON lines, straight from msgpack: `{"time":"…","tag":"…",<the record's keys in order>,<ecs_*>}`.
//!
//! A line is always valid JSON with unique keys at its top and exactly one line break, its last byte:
//! - `time` (RFC 3339, nanoseconds) and `tag` are the envelope; a record's own `time` and `tag` become `record_time`
//!   and `record_tag`.
//! - Of equal keys the last stands, at its own place; all are counted. `ecs_*` fields give way to the record's own.
//! - `log_json: nest`: a JSON object in the text of `log` stands as JSON under `log`, byte for byte (its numbers keep
//!   their digits, its inner keys are its own affair), only line breaks between tokens become spaces. What merely looks
//!   like JSON, an array, a number or what is no UTF-8 stays an escaped string.
//! - `log_json: lift`: such an object's keys come to the top, after the record's and before `ecs_*`, and `log` goes.
//!   They follow the same rules: the last of equal keys stands, `time` and `tag` are renamed.
//! - `log_json: raw`: `log` stays the string that it is.
//! - `fields` leaves fields of the record out, as if it had never had them.
//!
//! How single values are written: `encode::json`. A record that is no whole msgpack map within its bounds leaves
//! nothing in the buffer and counts as `malformed`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::Fields;
use super::json::JsonWriter;
use super::members::Object;
use super::pairs::Pairs;
use super::timestamp::Rfc3339;
use super::{Notes, escape};
use crate::record::json::{self, Object as Embedded, Outline};
use crate::record::msgpack::{Error, Reader, Value};
use crate::record::{Record, Tag};

/// What becomes of a JSON object in the text of `log`.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LogJson {
    /// It stands as JSON under `log`.
    #[default]
    Nest,
    /// Its keys come to the top.
    Lift,
    /// It stays the string that it is.
    Raw,
}

/// Writes one JSON object and a newline a record.
#[derive(Debug)]
pub struct NdjsonEncoder {
    log_json: LogJson,
    fields: Fields,
    times: Rfc3339,
    json: JsonWriter,
    pairs: Pairs,
    /// The last tag.
    tag: Option<Tag>,
    /// Its member as it was written.
    tag_written: Vec<u8>,
    /// Of the JSON in `log`.
    outline: Outline,
    unescaped: Vec<u8>,
}

impl NdjsonEncoder {
    /// An encoder that treats JSON in `log` this way.
    pub fn new(log_json: LogJson) -> Self {
        let (times, json, pairs, outline) = Default::default();
        let (fields, tag, tag_written, unescaped) = Default::default();
        Self { log_json, fields, times, json, pairs, tag, tag_written, outline, unescaped }
    }

    /// The same for some of a record's fields.
    pub fn with_fields(self, fields: &Fields) -> Self {
        Self { fields: fields.clone(), ..self }
    }

    /// Appends one line.
    pub fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Notes {
        let notes = self.object(record, out);
        if notes.malformed == 0 {
            out.push(b'\n');
        }
        notes
    }

    /// Appends the object without the newline; nothing if the record is malformed.
    pub(super) fn object(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Notes {
        let start = out.len();
        self.json.notes = Notes::default();
        if self.members(record, out).is_err() {
            out.truncate(start);
            self.json.members.clear();
            return Notes { malformed: 1, ..Notes::default() };
        }
        self.json.notes
    }

    fn members(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut reader = Reader::new(record.map);
        let Value::Map(len) = reader.read()? else { return Err(Error::Reserved) };
        // Most of a line is its record's strings.
        out.reserve(record.map.len() + 128);
        let mut object = self.envelope(record, out);
        let mut lifted = None;
        for _ in 0..len {
            let (pair, start, bad) = (reader.rest(), out.len(), self.json.notes.invalid_utf8);
            let short = Reader::new(pair).short_str();
            if !self.fields.is_all() {
                let key = if short.is_some() { short } else { Reader::new(pair).read()?.text() };
                if !self.fields.has(key) {
                    reader.skip_below(1)?;
                    reader.skip_below(1)?;
                    continue;
                }
            }
            let steady = short.filter(|key| !is_special(key));
            if let Some(key) = steady
                && let Some(known) = self.pairs.find(key, pair)
            {
                out.extend_from_slice(known.written());
                let repeated = self.json.members.note(&mut object, start, known.key_len(), out);
                self.json.notes.duplicate_keys += u64::from(repeated);
                reader = Reader::at(record.map, reader.pos() + known.len());
                continue;
            }
            self.json.key(&mut reader, 1, out)?;
            let is_log = self.log_json != LogJson::Raw && &out[start..] == b"\"log\"";
            self.key(&mut object, start, out);
            if is_log && let Some((earlier, _)) = lifted.take() {
                self.give_way(&mut object, earlier);
            }
            let key_len = out.len() - 1 - start;
            let value = reader.read()?;
            match value.text().filter(|_| is_log).and_then(|text| record.json.parse(text, &mut self.outline)) {
                None => self.json.begun(value, &mut reader, 1, out)?,
                Some(found) if self.log_json == LogJson::Nest => splice(found.text(), found.is_one_line(), out),
                Some(found) => lifted = Some((self.json.members.last(), found)),
            }
            out.push(b',');
            if let (Some(key), Value::Str(_)) = (steady, value)
                && self.json.notes.invalid_utf8 == bad
            {
                let raw = &pair[..pair.len() - reader.rest().len()];
                self.pairs.keep(key, raw, &out[start..], key_len);
            }
        }
        if let Some((log, found)) = lifted {
            self.lift(&mut object, log, found, out);
        }
        if let Some(ecs) = record.ecs {
            for (key, value) in ecs.fields() {
                self.ecs(&mut object, key, value, out);
            }
        }
        self.json.notes.duplicate_keys += self.json.members.close(object, out);
        Ok(())
    }
}

impl NdjsonEncoder {
    /// Opens the object. The envelope's members need not be remembered: whoever has one of its keys is renamed.
    fn envelope(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Object {
        let object = self.json.members.open(out);
        out.extend_from_slice(b"\"time\":\"");
        out.extend_from_slice(self.times.text(record.time));
        if self.tag.as_ref() != Some(record.tag) {
            self.tag = Some(record.tag.clone());
            self.tag_written.clear();
            self.tag_written.extend_from_slice(b"\",\"tag\":\"");
            escape::utf8(record.tag.as_str().as_bytes(), &mut self.tag_written);
            self.tag_written.extend_from_slice(b"\",");
        }
        out.extend_from_slice(&self.tag_written);
        object
    }

    /// Takes the key that has been written from `start` on.
    #[inline]
    fn key(&mut self, object: &mut Object, start: usize, out: &mut Vec<u8>) {
        let renamed: &[u8] = match &out[start..] {
            b"\"time\"" => b"\"record_time\"",
            b"\"tag\"" => b"\"record_tag\"",
            _ => b"",
        };
        if !renamed.is_empty() {
            out.truncate(start);
            out.extend_from_slice(renamed);
            self.json.notes.duplicate_keys += 1;
        }
        self.json.notes.duplicate_keys += u64::from(self.json.members.key(object, start, out));
    }

    /// Puts the keys of an embedded object in the place of the member `log`.
    fn lift(&mut self, object: &mut Object, log: usize, found: Embedded<'_>, out: &mut Vec<u8>) {
        // A wide object may have other members of that name: none is later, or it would have taken the place of `log`.
        self.json.members.remove(object, log);
        self.json.notes.duplicate_keys += self.json.members.remove_all(object, b"\"log\"", out);
        // Whoever validated it may have been a rule, which has an outline of its own.
        let mut outline = std::mem::take(&mut self.outline);
        outline.read(found.text());
        for member in outline.members(found) {
            let start = out.len();
            out.push(b'"');
            if !member.key_escaped {
                out.extend_from_slice(member.key);
            } else {
                // JSON has many escapes for one character; keys are compared in ours.
                self.unescaped.clear();
                json::unescape_into(member.key, &mut self.unescaped);
                escape::utf8(&self.unescaped, out);
            }
            out.push(b'"');
            self.key(object, start, out);
            splice(member.value.text(), found.is_one_line(), out);
            out.push(b',');
        }
        self.outline = outline;
    }

    /// Takes out a member whose key came again, unless that is done.
    fn give_way(&mut self, object: &mut Object, member: usize) {
        if self.json.members.stands(member) {
            self.json.members.remove(object, member);
            self.json.notes.duplicate_keys += 1;
        }
    }

    fn ecs(&mut self, object: &mut Object, key: &str, value: &str, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(b'"');
        out.extend_from_slice(key.as_bytes());
        out.push(b'"');
        let is_written = !value.is_empty() && self.fields.has(Some(key.as_bytes()));
        if !is_written || self.json.members.find(object, &out[start..], out).is_some() {
            out.truncate(start);
            return;
        }
        self.key(object, start, out);
        self.json.str(value.as_bytes(), out);
        out.push(b',');
    }
}

/// Whether a key is not simply written.
fn is_special(key: &[u8]) -> bool {
    matches!(key, b"log" | b"time" | b"tag")
}

/// Appends valid JSON. It has no raw line breaks inside strings, so those that are found stand between tokens.
fn splice(text: &[u8], one_line: bool, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text);
    if !one_line {
        for at in memchr::memchr2_iter(b'\n', b'\r', text) {
            out[start + at] = b' ';
        }
    }
}
