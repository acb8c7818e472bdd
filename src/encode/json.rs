//! msgpack values as JSON. What JSON has no word for follows these rules:
//!
//! - **str** that is no UTF-8: each bad sequence becomes U+FFFD; such strings are counted.
//! - **bin**: its text if it is UTF-8 (many senders write text as bin), else base64 of all its bytes.
//! - **ext**: an EventTime or a msgpack timestamp becomes its RFC 3339 text; any other
//!   `{"type":5,"data":"<base64>"}`.
//! - **floats** in the fewest digits that read back as the same value of their width; NaN and infinite ones become null
//!   and are counted. Integers keep all their digits, up to the ends of u64 and i64.
//! - **keys** that are no str: the text of a bin as above, else the value's JSON as text (`1` is `"1"`, `[1]` is `"[1]"`).
//!   An array or map that is a key inside such a key becomes base64 of its msgpack: each further level of text in text
//!   would double its backslashes.
//! - **equal keys** of one map: the last stands, at its own place; counted. Keys are equal if their texts are.
//!
//! Malformed or too deep bytes end in an error; what was written of them is for the caller to take back.

use super::Notes;
use super::escape;
use super::members::Members;
use super::timestamp::{Rfc3339, SECOND};
use crate::record::UnixNanos;
use crate::record::msgpack::{Error, MAX_DEPTH, Reader, Value};

/// Writes JSON at the end of a buffer. Reused: it does not allocate once warm.
#[derive(Debug, Default)]
pub(super) struct JsonWriter {
    pub(super) members: Members,
    /// What has been noticed since the caller last took it.
    pub(super) notes: Notes,
    /// For times inside values, which need not be near the records' own.
    times: Rfc3339,
    scratch: Vec<u8>,
    /// Whether what is written now becomes the text of a key.
    in_key: bool,
}

impl JsonWriter {
    /// Reads one value and writes it; `depth` is the number of containers that it stands in.
    #[inline]
    pub(super) fn value(&mut self, reader: &mut Reader<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        let value = reader.read()?;
        self.begun(value, reader, depth, out)
    }

    /// Writes a value that has been read; of arrays and maps the elements follow in `reader`.
    pub(super) fn begun(
        &mut self,
        value: Value<'_>,
        reader: &mut Reader<'_>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        match value {
            Value::Str(bytes) => self.str(bytes, out),
            Value::Nil => out.extend_from_slice(b"null"),
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::UInt(n) => out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes()),
            Value::Int(n) => out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes()),
            Value::F32(n) if n.is_finite() => out.extend_from_slice(zmij::Buffer::new().format_finite(n).as_bytes()),
            Value::F64(n) if n.is_finite() => out.extend_from_slice(zmij::Buffer::new().format_finite(n).as_bytes()),
            Value::F32(_) | Value::F64(_) => {
                self.notes.not_finite += 1;
                out.extend_from_slice(b"null");
            }
            Value::Bin(bytes) => self.bin(bytes, out),
            Value::Ext(kind, bytes) => self.ext(kind, bytes, out),
            Value::Array(len) => self.array(len, reader, depth, out)?,
            Value::Map(len) => self.map(len, reader, depth, out)?,
        }
        Ok(())
    }

    /// Reads a map's key and writes it quoted.
    #[inline]
    pub(super) fn key(&mut self, reader: &mut Reader<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        if let Some(bytes) = reader.short_str() {
            self.str(bytes, out);
            return Ok(());
        }
        let mut again = *reader;
        match reader.read()? {
            Value::Str(bytes) => self.str(bytes, out),
            Value::Array(_) | Value::Map(_) if self.in_key => {
                self.base64(again.skip()?, out);
                *reader = again;
            }
            value => self.odd_key(value, reader, depth, out)?,
        }
        Ok(())
    }

    #[cold]
    fn odd_key(
        &mut self,
        value: Value<'_>,
        reader: &mut Reader<'_>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let start = out.len();
        let outer = std::mem::replace(&mut self.in_key, true);
        let written = self.begun(value, reader, depth, out);
        self.in_key = outer;
        written?;
        if out[start..].first() != Some(&b'"') {
            self.scratch.clear();
            self.scratch.extend_from_slice(&out[start..]);
            out.truncate(start);
            out.push(b'"');
            escape::utf8(&self.scratch, out);
            out.push(b'"');
        }
        Ok(())
    }

    #[inline]
    pub(super) fn str(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.push(b'"');
        self.notes.invalid_utf8 += u64::from(escape::text(bytes, out).replaced);
        out.push(b'"');
    }

    fn bin(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if std::str::from_utf8(bytes).is_err() {
            return self.base64(bytes, out);
        }
        out.push(b'"');
        escape::utf8(bytes, out);
        out.push(b'"');
    }

    fn base64(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.push(b'"');
        escape::base64(bytes, out);
        out.push(b'"');
    }

    fn ext(&mut self, kind: i8, bytes: &[u8], out: &mut Vec<u8>) {
        if let Some(time) = ext_time(kind, bytes) {
            out.push(b'"');
            out.extend_from_slice(self.times.text(time));
            out.push(b'"');
            return;
        }
        out.extend_from_slice(b"{\"type\":");
        out.extend_from_slice(itoa::Buffer::new().format(kind).as_bytes());
        out.extend_from_slice(b",\"data\":");
        self.base64(bytes, out);
        out.push(b'}');
    }

    fn array(&mut self, len: u32, reader: &mut Reader<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        if len > 0 && depth >= MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        out.push(b'[');
        for i in 0..len {
            if i > 0 {
                out.push(b',');
            }
            self.value(reader, depth + 1, out)?;
        }
        out.push(b']');
        Ok(())
    }

    fn map(&mut self, len: u32, reader: &mut Reader<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        if len > 0 && depth >= MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        let mut object = self.members.open(out);
        for _ in 0..len {
            let start = out.len();
            self.key(reader, depth + 1, out)?;
            self.notes.duplicate_keys += u64::from(self.members.key(&mut object, start, out));
            self.value(reader, depth + 1, out)?;
            out.push(b',');
        }
        self.notes.duplicate_keys += self.members.close(object, out);
        Ok(())
    }
}

/// The moment that an extension stands for: an EventTime (Forward protocol, type 0) or a timestamp (msgpack, type -1).
fn ext_time(kind: i8, bytes: &[u8]) -> Option<UnixNanos> {
    let u32_at = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes);
    let u64_at = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u64::from_be_bytes);
    let (seconds, nanos) = match (kind, bytes.len()) {
        (0, 8) => (i64::from(u32_at(0)?), u32_at(4)?),
        (-1, 4) => (i64::from(u32_at(0)?), 0),
        // 30 bits of nanoseconds, then 34 of seconds.
        (-1, 8) => (u64_at(0)? as i64 & 0x3_ffff_ffff, (u64_at(0)? >> 34) as u32),
        (-1, 12) => (u64_at(4)? as i64, u32_at(0)?),
        _ => return None,
    };
    if i64::from(nanos) >= SECOND {
        return None;
    }
    seconds.checked_mul(SECOND)?.checked_add(nanos.into())
}
