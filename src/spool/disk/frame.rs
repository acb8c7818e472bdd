//! A block in a segment: a header with a checksum of its own, so that a walk over a segment need not read the data,
//! then the data.
//!
//! ```text
//! frame  = header length (u32 LE) | CRC-32C of the header (u32 LE) | header | data
//! header = msgpack [sequence, data length, CRC-32C of the data, records, source bytes, plain length,
//!                   earliest time, latest time, time of routing, partition]      times in ns since 1970
//! partition = ["prefix", text] | ["stream", group, stream] | ["whole"]
//! ```

use std::sync::Arc;

use crate::encode::{Count, Partition, checksum};
use crate::record::UnixNanos;
use crate::record::msgpack::{Reader, Value, write};

/// How a segment begins.
pub const MAGIC: &[u8; 8] = b"LWSPOOL1";

/// Length and checksum before a header.
pub const PREAMBLE: usize = 8;

/// Names are bounded by their targets (1 KiB for S3, 512 for CloudWatch Logs); a longer header is none.
pub const MAX_HEADER: usize = 16 << 10;

/// A block is 256 KiB and one record more, and a record is not longer than a frame may inflate to.
pub const MAX_DATA: u64 = 1 << 30;

/// At a million blocks a second it lasts for 500 years; what is more is damage.
pub const MAX_SEQUENCE: u64 = 1 << 54;

/// No sum over a spool comes near what 64 bits hold.
pub const MAX_AMOUNT: u64 = 1 << 40;

/// What a segment tells of a block beside its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Increasing within the queue.
    pub sequence: u64,
    /// Length of the data.
    pub len: u32,
    /// CRC-32C of the data.
    pub checksum: u32,
    /// Its records.
    pub count: Count,
    /// Length before compression.
    pub plain_len: u64,
    /// Earliest and latest time of its records.
    pub times: (UnixNanos, UnixNanos),
    /// When its first record was routed.
    pub opened: UnixNanos,
    /// Where it goes.
    pub partition: Arc<Partition>,
}

impl Header {
    /// The header with what stands before it; the data follows.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; PREAMBLE];
        write::array(&mut out, 10);
        let Count { records, bytes } = self.count;
        let numbers = [self.sequence, u64::from(self.len), u64::from(self.checksum), records, bytes, self.plain_len];
        numbers.iter().for_each(|number| write::uint(&mut out, *number));
        // Times before 1970 are numbers as well: the bits are kept.
        let times = [self.times.0, self.times.1, self.opened];
        times.iter().for_each(|time| write::uint(&mut out, time.cast_unsigned()));
        let (kind, names): (&[u8], &[&str]) = match &*self.partition {
            Partition::Prefix(prefix) => (b"prefix", &[prefix]),
            Partition::Stream { group, stream } => (b"stream", &[group, stream]),
            Partition::Whole => (b"whole", &[]),
        };
        write::array(&mut out, 1 + names.len() as u32);
        write::str(&mut out, kind);
        names.iter().for_each(|name| write::str(&mut out, name.as_bytes()));
        let (len, checksum) = ((out.len() - PREAMBLE) as u32, checksum(&out[PREAMBLE..]));
        out[..4].copy_from_slice(&len.to_le_bytes());
        out[4..PREAMBLE].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// The header at the front of these bytes and how many it takes, preamble included. None if there is none.
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let len = header_len(bytes)?;
        let body = bytes.get(PREAMBLE..PREAMBLE + len)?;
        let expected = u32::from_le_bytes(bytes.get(4..PREAMBLE)?.try_into().ok()?);
        if checksum(body) != expected {
            return None;
        }
        let mut reader = Reader::new(body);
        let number = |reader: &mut Reader<'_>| match reader.read() {
            Ok(Value::UInt(number)) => Some(number),
            _ => None,
        };
        let amount = |reader: &mut Reader<'_>| number(reader).filter(|number| *number <= MAX_AMOUNT);
        if reader.read() != Ok(Value::Array(10)) {
            return None;
        }
        let header = Self {
            sequence: number(&mut reader).filter(|sequence| *sequence < MAX_SEQUENCE)?,
            len: u32::try_from(number(&mut reader)?).ok().filter(|len| u64::from(*len) <= MAX_DATA)?,
            checksum: u32::try_from(number(&mut reader)?).ok()?,
            count: Count { records: amount(&mut reader)?, bytes: amount(&mut reader)? },
            plain_len: amount(&mut reader)?,
            times: (number(&mut reader)?.cast_signed(), number(&mut reader)?.cast_signed()),
            opened: number(&mut reader)?.cast_signed(),
            partition: Arc::new(partition(&mut reader)?),
        };
        (reader.is_empty() && header.count.records > 0).then_some((header, PREAMBLE + len))
    }
}

/// How long the header is that begins here, if that can be.
pub fn header_len(bytes: &[u8]) -> Option<usize> {
    let len = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    (1..=MAX_HEADER).contains(&len).then_some(len)
}

fn partition(reader: &mut Reader<'_>) -> Option<Partition> {
    let Ok(Value::Array(parts)) = reader.read() else { return None };
    let mut text = || match reader.read() {
        Ok(Value::Str(text)) => std::str::from_utf8(text).ok().map(Box::<str>::from),
        _ => None,
    };
    match (&*text()?, parts) {
        ("prefix", 2) => Some(Partition::Prefix(text()?)),
        ("stream", 3) => Some(Partition::Stream { group: text()?, stream: text()? }),
        ("whole", 1) => Some(Partition::Whole),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_as_it_was_and_not_with_a_bit_changed() {
        let stream = Partition::Stream { group: "/ecs/a".into(), stream: "a/1".into() };
        for partition in [Partition::Prefix("logs/ä/".into()), stream, Partition::Whole] {
            let header = Header {
                sequence: 7,
                len: 300,
                checksum: 0xfeed_beef,
                count: Count { records: 3, bytes: 900 },
                plain_len: 1200,
                times: (-5, i64::MAX),
                opened: 1_790_000_000_000_000_000,
                partition: Arc::new(partition),
            };
            let bytes = header.encode();
            assert_eq!(Header::decode(&bytes), Some((header, bytes.len())));
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut wrong = bytes.clone();
                    wrong[at] ^= 1 << bit;
                    assert_eq!(Header::decode(&wrong), None, "bit {bit} of byte {at}");
                }
                assert_eq!(Header::decode(&bytes[..at]), None);
            }
        }
    }
}
