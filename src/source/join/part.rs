//! One part of a line, as Docker's fluentd driver writes it, and the record around the joined line.

use crate::record::msgpack::{Error, Reader, Value, write};

/// The key that every part has; its bytes stand in the record as they are.
pub(super) const MARK: &[u8] = b"partial_message";

/// Longest value that tells lines apart; Docker's ids have 64 bytes. Longer ones would be memory that the bound of the
/// buffer does not see.
const MAX_ID: usize = 256;

/// A part of a line, borrowed from its record.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) container: &'a [u8],
    pub(super) source: &'a [u8],
    pub(super) id: &'a [u8],
    /// From 1.
    pub(super) ordinal: u32,
    pub(super) last: bool,
    pub(super) log: &'a [u8],
    map: &'a [u8],
}

impl<'a> Part<'a> {
    /// Reads a record that is a part; none when it is an ordinary one, or lacks what is needed to place it.
    pub(super) fn read(map: &'a [u8]) -> Option<Self> {
        let mut part = Self { container: b"", source: b"", id: b"", ordinal: 0, last: false, log: b"", map };
        let (mut marked, mut has_log) = (false, false);
        let mut reader = Reader::new(map);
        let Value::Map(pairs) = reader.read().ok()? else { return None };
        for _ in 0..pairs {
            let key = scalar(&mut reader).ok()?.and_then(Value::text);
            let value = scalar(&mut reader).ok()?;
            let (Some(key), Some(value)) = (key, value) else { continue };
            match key {
                b"partial_message" => marked = is_true(value),
                b"partial_last" => part.last = is_true(value),
                b"partial_ordinal" => part.ordinal = number(value)?,
                b"partial_id" => part.id = value.text()?,
                b"container_id" => part.container = value.text()?,
                b"source" => part.source = value.text()?,
                b"log" => {
                    part.log = value.text()?;
                    has_log = true;
                }
                _ => {}
            }
        }
        let short = [part.container, part.source, part.id].iter().all(|id| id.len() <= MAX_ID);
        (marked && has_log && part.ordinal > 0 && !part.id.is_empty() && short).then_some(part)
    }

    /// Its record without the line and without what only a part has.
    pub(super) fn frame(&self) -> Frame {
        let mut frame = Frame::default();
        let mut reader = Reader::new(self.map);
        let Ok(Value::Map(pairs)) = reader.read() else { return frame };
        for _ in 0..pairs {
            // `read` has been over all of it.
            let (Ok(key), Ok(value)) = (reader.skip(), reader.skip()) else { break };
            match Reader::new(key).read().ok().and_then(Value::text) {
                Some(b"log") => frame.log_at = frame.pairs.len(),
                Some(b"partial_message" | b"partial_id" | b"partial_ordinal" | b"partial_last") => {}
                _ => {
                    frame.pairs.extend_from_slice(key);
                    frame.pairs.extend_from_slice(value);
                    frame.count += 1;
                }
            }
        }
        frame
    }
}

/// Steps over a value; none for one that has parts.
fn scalar<'a>(reader: &mut Reader<'a>) -> Result<Option<Value<'a>>, Error> {
    let value = Reader::new(reader.skip()?).read()?;
    Ok(if matches!(value, Value::Array(_) | Value::Map(_)) { None } else { Some(value) })
}

/// Docker writes `"true"`; a label or another sender may write the boolean.
fn is_true(value: Value<'_>) -> bool {
    value == Value::Bool(true) || value.text() == Some(b"true")
}

fn number(value: Value<'_>) -> Option<u32> {
    match value {
        Value::UInt(number) => u32::try_from(number).ok(),
        text => std::str::from_utf8(text.text()?).ok()?.parse().ok(),
    }
}

/// The record around a line: all other pairs, in their order.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pairs: Vec<u8>,
    count: u32,
    /// Where in `pairs` the line stood.
    log_at: usize,
}

impl Frame {
    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// The record with this line, whose parts have `len` bytes together.
    pub(super) fn around<'a>(&self, parts: impl Iterator<Item = &'a [u8]>, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.pairs.len() + len + 16);
        write::map(&mut out, self.count + 1);
        out.extend_from_slice(&self.pairs[..self.log_at]);
        write::str(&mut out, b"log");
        write::str_header(&mut out, len);
        parts.for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(&self.pairs[self.log_at..]);
        out
    }
}
