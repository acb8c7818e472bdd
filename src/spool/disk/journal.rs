//! The journal of a queue on disk: what was cut into which object, and what came to its end.
//!
//! ```text
//! entry = payload length (u32 LE) | CRC-32C of the payload (u32 LE) | payload: msgpack [kind, …]
//!   1 sealed  segment, first, last, blocks, records, bytes, length      a segment that gets no further block
//!   2 cut     key, runs                                                 these blocks are the object of this key
//!   3 upload  first, id                                       the cut that begins so has this multipart upload
//!   4 ended   segment, records, bytes, runs, and so on        blocks by segment that need not be sent any more
//!   5 next    sequence                                        no block before this one will be written any more
//! ```
//!
//! Only appended to, and written anew from what still matters when it has grown: under another name, which then takes
//! the journal's place. What follows a torn entry is ignored.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;

use super::files::{Directory, File};
use super::frame::{MAX_AMOUNT, MAX_SEQUENCE};
use super::ranges::Ranges;
use crate::encode::{Count, checksum};
use crate::record::msgpack::{Reader, Value, write};

/// Its name.
pub const NAME: &str = "journal";

/// Its name while it is written anew.
pub const NEW: &str = "journal.new";

/// Written anew when it has grown by this much and to twice what it was; in tests all the time.
const GROWTH: u64 = if cfg!(test) { 1 << 8 } else { 1 << 20 };

/// Room that a journal has for entries to come: on a full disk objects are still cut, sent and noted as delivered, once
/// each, which makes room.
const RESERVE: u64 = GROWTH;

/// Longest entry: a cut of a million blocks that are no neighbours takes 10 MiB.
const MAX_ENTRY: usize = 64 << 20;

/// Most blocks that one entry names.
const MAX_BLOCKS: u64 = 1 << 24;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A segment gets no further block.
    Sealed {
        /// Its number.
        segment: u64,
        /// Sequence of its first block.
        first: u64,
        /// Sequence of its last block.
        last: u64,
        /// How many blocks.
        blocks: u64,
        /// Their records.
        count: Count,
        /// Its length; what lies behind is not part of it.
        len: u64,
    },
    /// These blocks are the object of this key.
    Cut {
        /// Of the object.
        key: String,
        /// Its blocks.
        blocks: Ranges,
    },
    /// A cut has a multipart upload under way.
    Upload {
        /// The cut's first block.
        first: u64,
        /// What the store calls it.
        id: String,
    },
    /// Blocks that are delivered or given up. One entry for all blocks of an object, which may lie in several segments:
    /// it ends as a whole or not at all.
    Ended {
        /// By segment.
        parts: Vec<EndedPart>,
    },
    /// Sequences begin here at the earliest.
    Next {
        /// The next sequence.
        sequence: u64,
    },
}

/// Blocks of one segment that are delivered or given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedPart {
    /// Number of the segment.
    pub segment: u64,
    /// Their records.
    pub count: Count,
    /// Which blocks.
    pub blocks: Ranges,
}

impl Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        let array = |out: &mut Vec<u8>, len: u32, numbers: &[u64]| {
            write::array(out, len);
            numbers.iter().for_each(|number| write::uint(out, *number));
        };
        match self {
            Self::Sealed { segment, first, last, blocks, count, len } => {
                array(out, 8, &[1, *segment, *first, *last, *blocks, count.records, count.bytes, *len]);
            }
            Self::Cut { key, blocks } => {
                array(out, 3, &[2]);
                write::str(out, key.as_bytes());
                encode_runs(out, blocks);
            }
            Self::Upload { first, id } => {
                array(out, 3, &[3, *first]);
                write::str(out, id.as_bytes());
            }
            Self::Ended { parts } => {
                array(out, 1 + 4 * parts.len() as u32, &[4]);
                for EndedPart { segment, count, blocks } in parts {
                    [*segment, count.records, count.bytes].iter().for_each(|number| write::uint(out, *number));
                    encode_runs(out, blocks);
                }
            }
            Self::Next { sequence } => array(out, 2, &[5, *sequence]),
        }
        let (len, checksum) = ((out.len() - start - 8) as u32, checksum(&out[start + 8..]));
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
        out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let Ok(Value::Array(len)) = reader.read() else { return None };
        let kind = number(&mut reader)?;
        let entry = match (kind, len) {
            (1, 8) => Self::Sealed {
                segment: number(&mut reader)?,
                first: number(&mut reader)?,
                last: number(&mut reader)?,
                blocks: amount(&mut reader)?,
                count: Count { records: amount(&mut reader)?, bytes: amount(&mut reader)? },
                len: amount(&mut reader)?,
            },
            (2, 3) => Self::Cut { key: text(&mut reader)?, blocks: decode_runs(&mut reader)? },
            (3, 3) => Self::Upload { first: number(&mut reader)?, id: text(&mut reader)? },
            (4, len) if len % 4 == 1 => {
                let part = |_| {
                    Some(EndedPart {
                        segment: number(&mut reader)?,
                        count: Count { records: amount(&mut reader)?, bytes: amount(&mut reader)? },
                        blocks: decode_runs(&mut reader)?,
                    })
                };
                Self::Ended { parts: (0..len / 4).map(part).collect::<Option<_>>()? }
            }
            (5, 2) => Self::Next { sequence: number(&mut reader)? },
            _ => return None,
        };
        reader.is_empty().then_some(entry)
    }
}

/// Each run as its distance from the one before and its length less one: mostly two bytes.
fn encode_runs(out: &mut Vec<u8>, ranges: &Ranges) {
    write::array(out, 2 * ranges.runs().len() as u32);
    let mut end = 0;
    for (first, last) in ranges.runs() {
        write::uint(out, first - end);
        write::uint(out, last - first);
        end = last;
    }
}

fn decode_runs(reader: &mut Reader<'_>) -> Option<Ranges> {
    let Ok(Value::Array(len)) = reader.read() else { return None };
    let (mut ranges, mut end) = (Ranges::default(), 0u64);
    for _ in 0..len / 2 {
        let first = end.checked_add(number(reader)?)?;
        let last = first.checked_add(number(reader)?)?;
        if !ranges.append(first, last) {
            return None;
        }
        end = last;
    }
    (len.is_multiple_of(2) && ranges.len() <= MAX_BLOCKS).then_some(ranges)
}

/// Blocks, records or bytes: nothing that is counted comes near the bound, and no sum of them beyond 64 bits.
fn amount(reader: &mut Reader<'_>) -> Option<u64> {
    number(reader).filter(|amount| *amount <= MAX_AMOUNT)
}

/// A sequence, a segment, or a distance between sequences.
fn number(reader: &mut Reader<'_>) -> Option<u64> {
    match reader.read() {
        Ok(Value::UInt(number)) if number < MAX_SEQUENCE => Some(number),
        _ => None,
    }
}

fn text(reader: &mut Reader<'_>) -> Option<String> {
    match reader.read() {
        Ok(Value::Str(text)) => String::from_utf8(text.to_vec()).ok(),
        _ => None,
    }
}

/// All whole entries at the front of these bytes, and how many bytes they take.
pub fn replay(bytes: &[u8]) -> (Vec<Entry>, usize) {
    let (mut entries, mut at) = (Vec::new(), 0);
    while let Some(preamble) = bytes.get(at..at + 8) {
        let word = |range: std::ops::Range<usize>| {
            preamble[range].iter().rev().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte))
        };
        let (len, expected) = (word(0..4) as usize, word(4..8));
        let Some(payload) = bytes.get(at + 8..at + 8 + len).filter(|_| (1..=MAX_ENTRY).contains(&len)) else { break };
        if checksum(payload) != expected {
            break;
        }
        let Some(entry) = Entry::decode(payload) else { break };
        entries.push(entry);
        at += 8 + len;
    }
    (entries, at)
}

/// The journal while its queue runs.
#[derive(Debug)]
pub struct Journal {
    file: Arc<dyn File>,
    /// Bytes that are written.
    len: u64,
    /// What it began with.
    base: u64,
    /// Entries that are not written yet; kept when writing fails.
    unwritten: Vec<u8>,
    /// Whether something written waits for a sync.
    dirty: bool,
    broken: bool,
}

impl Journal {
    /// Writes a journal of these entries, durable, beside the one that may be there.
    pub fn prepare(directory: &dyn Directory, entries: &[Entry]) -> Result<Self> {
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| entry.encode(&mut bytes));
        // The old journal is forgotten below. What it says of segments that were removed is needed until their removal
        // is durable.
        directory.sync()?;
        match directory.remove(NEW) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = directory.create(NEW)?;
        file.write_at(0, &[&bytes])?;
        file.reserve(2 * bytes.len() as u64 + RESERVE);
        file.sync()?;
        let len = bytes.len() as u64;
        Ok(Self { file, len, base: len, unwritten: Vec::new(), dirty: false, broken: false })
    }

    /// Puts the prepared journal in the place of the old one. After an error either may be there.
    pub fn install(directory: &dyn Directory) -> Result<()> {
        directory.rename(NEW, NAME)?;
        directory.sync()
    }

    /// Adds an entry, not written yet.
    pub fn add(&mut self, entry: &Entry) {
        entry.encode(&mut self.unwritten);
    }

    /// Writes what was added: safe from the end of the process, not from that of the machine.
    pub fn write(&mut self) -> Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        // At the same place after a failure: a torn entry is overwritten, not followed.
        self.file.write_at(self.len, &[&self.unwritten])?;
        self.len += self.unwritten.len() as u64;
        self.unwritten.clear();
        self.dirty = true;
        Ok(())
    }

    /// Makes durable what was added.
    pub fn sync(&mut self) -> Result<()> {
        self.write()?;
        if self.dirty {
            self.file.sync().inspect_err(|_| self.broken = true)?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Whether a sync has failed: what was written may be lost, and a further sync would succeed without it.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether it should be written anew.
    pub fn has_grown(&self) -> bool {
        self.len > self.base * 2 && self.len - self.base > GROWTH
    }
}

/// Reads a whole journal; empty if there is none.
pub fn read(directory: &dyn Directory) -> Result<Vec<u8>> {
    match directory.open(NAME) {
        Ok(file) => {
            let len = usize::try_from(file.len()?).map_err(Error::other)?;
            file.read_at(0, len)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let count = Count { records: 3, bytes: 900 };
        vec![
            Entry::Sealed { segment: 4, first: 1, last: 9, blocks: 8, count, len: 4096 },
            Entry::Cut { key: "logs/ä/w-1.zst".into(), blocks: [0, 1, 2, 7, 9, 10].into_iter().collect() },
            Entry::Upload { first: 1, id: "upload".into() },
            Entry::Ended {
                parts: vec![
                    EndedPart { segment: 1, count, blocks: [1, 3, 1 << 50].into_iter().collect() },
                    EndedPart { segment: 2, count, blocks: [4].into_iter().collect() },
                ],
            },
            Entry::Next { sequence: 1 << 40 },
        ]
    }

    #[test]
    fn entries_come_back_up_to_the_first_torn_one() {
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for entry in entries() {
            entry.encode(&mut bytes);
            ends.push(bytes.len());
        }
        for cut in 0..=bytes.len() {
            let (found, len) = replay(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!((found, len), (entries()[..whole].to_vec(), ends[whole]), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x10;
            let whole = ends.iter().filter(|end| **end <= at).count() - 1;
            assert_eq!(replay(&wrong).0, entries()[..whole], "byte {at} changed");
        }
    }
}
