//! Entries of CloudWatch Logs: time, lengths and escaped message, one after the other in a block.
//!
//! - `message: record` is the record as the object that [`super::ndjson`] writes by default (JSON in `log` nested, so
//!   that Logs Insights finds its fields), escaped once as a JSON string.
//! - `message: log` is the text of `log` alone, byte for byte if it is UTF-8: embedded metrics (EMF) pass unchanged.
//!   Without a `log`, or if it is no text, the message is the whole record.
//! - CloudWatch Logs refuses empty messages: an empty line becomes one space, so that it stays a blank line.
//! - A message longer than an event may be becomes several entries of the same time, cut between characters, or is cut
//!   and ends in [`CUT_MARK`], or stands whole, for the sink to refuse: [`Oversize`]. Counted.
//! - Times before 1970 become 0, the earliest that CloudWatch Logs takes.

use schemars::JsonSchema;
use serde::Deserialize;

use super::ndjson::{LogJson, NdjsonEncoder};
use super::{Fields, Notes, escape};
use crate::record::Record;
use crate::record::msgpack::{Reader, Value};

/// Longest message in UTF-8 bytes: a request may have 1,048,576 and each event counts 26 beside its message
/// (AWS, PutLogEvents).
pub const MAX_MESSAGE: usize = 1_048_576 - 26;
/// How a message ends that was cut.
pub const CUT_MARK: &str = "…[truncated]";

/// Longest message that stands whole though no event may be so long: it is on its way to the dead letters, and its
/// escaped form must stay far below 4 GiB.
const MAX_WHOLE: usize = 64 << 20;

/// What an event's message is.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The whole record as JSON.
    #[default]
    Record,
    /// The text of `log` alone.
    Log,
}

/// What becomes of a message that is longer than an event may be.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Oversize {
    /// It becomes several events of the same time.
    #[default]
    Split,
    /// It is cut, and ends in a mark.
    Truncate,
    /// It goes to the dead letters.
    Divert,
}

/// Writes the entries of a record: one, or several when an oversize message is split.
#[derive(Debug)]
pub struct EntryEncoder {
    message: Message,
    oversize: Oversize,
    ndjson: NdjsonEncoder,
    /// The message, when it does not stand as such in the record.
    plain: Vec<u8>,
}

/// One entry in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Milliseconds since 1970, never negative.
    pub millis: i64,
    /// UTF-8 bytes of the message before escaping: what AWS counts.
    pub message_len: u32,
    /// msgpack bytes that the record came in as: what the ledger counts. 0 for a further piece of the record before it:
    /// no record has so few.
    pub source_len: u32,
    /// The message as the inside of a JSON string, escaped, without quotes.
    pub escaped: &'a [u8],
}

impl Entry<'_> {
    /// Whether it goes on with the message of the entry before it.
    pub fn is_further_piece(&self) -> bool {
        self.source_len == 0
    }
}

impl EntryEncoder {
    /// An encoder whose messages are the whole record or its `log`; what is too long is split.
    pub fn new(message: Message) -> Self {
        let oversize = Oversize::default();
        Self { message, oversize, ndjson: NdjsonEncoder::new(LogJson::default()), plain: Vec::new() }
    }

    /// The same with another way to treat what is too long.
    pub fn with_oversize(self, oversize: Oversize) -> Self {
        Self { oversize, ..self }
    }

    /// The same for some of a record's fields, where the message is the whole record.
    pub fn with_fields(self, fields: &Fields) -> Self {
        Self { ndjson: self.ndjson.with_fields(fields), ..self }
    }

    /// Appends the entries of a record; nothing if it is malformed. Never an empty message.
    pub fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Notes {
        self.plain.clear();
        let text = match self.message {
            Message::Record => None,
            Message::Log => match log_text(record.map) {
                Ok(text) => text,
                Err(_) => return Notes { malformed: 1, ..Notes::default() },
            },
        };
        let mut notes = Notes::default();
        let message = match text {
            Some(text) if std::str::from_utf8(text).is_ok() => text,
            Some(text) => {
                notes.invalid_utf8 = 1;
                replace_invalid(text, &mut self.plain);
                &self.plain
            }
            None => {
                notes = self.ndjson.object(record, &mut self.plain);
                if notes.malformed > 0 {
                    return notes;
                }
                &self.plain
            }
        };
        let source_len = u32::try_from(record.map.len()).unwrap_or(u32::MAX);
        let whole = match self.oversize {
            Oversize::Divert => MAX_WHOLE,
            Oversize::Split | Oversize::Truncate => MAX_MESSAGE,
        };
        if message.is_empty() {
            append(record, source_len, b" ", "", out);
        } else if message.len() <= whole {
            append(record, source_len, message, "", out);
        } else if self.oversize == Oversize::Split {
            notes.split = 1;
            let (mut rest, mut source_len) = (message, source_len);
            while !rest.is_empty() {
                let piece;
                (piece, rest) = rest.split_at(cut(rest, MAX_MESSAGE).len());
                append(record, source_len, piece, "", out);
                source_len = 0;
            }
        } else {
            notes.truncated = 1;
            append(record, source_len, cut(message, whole - CUT_MARK.len()), CUT_MARK, out);
        }
        notes
    }
}

/// Appends the entry of a message that is UTF-8 and fits.
fn append(record: &Record<'_>, source_len: u32, message: &[u8], mark: &str, out: &mut Vec<u8>) {
    let millis = record.time.div_euclid(1_000_000).max(0);
    let message_len = (message.len() + mark.len()) as u32; // at most MAX_WHOLE
    out.extend_from_slice(&millis.to_le_bytes());
    out.extend_from_slice(&message_len.to_le_bytes());
    out.extend_from_slice(&source_len.to_le_bytes());
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    escape::utf8(message, out);
    out.extend_from_slice(mark.as_bytes());
    let escaped_len = (out.len() - start - 4) as u32; // at most six times MAX_WHOLE
    out[start..start + 4].copy_from_slice(&escaped_len.to_le_bytes());
}

/// The text under the last `log` of a map; none if it has none or its value is no text.
fn log_text(map: &[u8]) -> Result<Option<&[u8]>, crate::record::msgpack::Error> {
    let mut reader = Reader::new(map);
    let mut found = None;
    let Value::Map(len) = reader.read()? else { return Err(crate::record::msgpack::Error::Reserved) };
    for _ in 0..len {
        let key = reader.skip()?;
        let value = reader.skip()?;
        if Reader::new(key).read()?.text() == Some(b"log") {
            found = Reader::new(value).read()?.text();
        }
    }
    Ok(found)
}

fn replace_invalid(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// The longest beginning of text that has at most `max` bytes and ends between characters.
pub(super) fn cut(text: &[u8], max: usize) -> &[u8] {
    if text.len() <= max {
        return text;
    }
    // Continuation bytes are 10xxxxxx, three at most in a character; bytes that are no UTF-8 are cut anywhere.
    let end = (max.saturating_sub(3)..=max).rev().find(|&end| text[end] & 0xc0 != 0x80).unwrap_or(max);
    &text[..end]
}

/// The entries of a block, in their order. Ends at the first that is not whole, which a block of [`EntryEncoder`]'s
/// never has.
pub fn entries(block: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let (millis, after) = rest.split_first_chunk()?;
        let (message_len, after) = after.split_first_chunk()?;
        let (source_len, after) = after.split_first_chunk()?;
        let (escaped_len, after) = after.split_first_chunk()?;
        let (escaped, after) = after.split_at_checked(u32::from_le_bytes(*escaped_len) as usize)?;
        rest = after;
        Some(Entry {
            millis: i64::from_le_bytes(*millis),
            message_len: u32::from_le_bytes(*message_len),
            source_len: u32::from_le_bytes(*source_len),
            escaped,
        })
    })
}
