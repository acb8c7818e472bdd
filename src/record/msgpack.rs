//! The msgpack reader: the only file that knows marker bytes.
//!
//! [`Reader`] is a bounds-checked cursor that hands out borrowed values and never allocates. A declared length is
//! believed only as far as bytes are there. "Not enough bytes yet" ([`Error::Incomplete`]) is kept apart from bytes
//! that no continuation can make valid. [`Skip`] measures one value without recursion and can go on where it stopped
//! when more bytes arrive.

pub mod write;

use thiserror::Error;

/// Deepest nesting of arrays and maps that is accepted; the deepest real log record seen is below 20.
pub const MAX_DEPTH: usize = 64;

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The value may continue in bytes that have not arrived.
    #[error("the value is cut short")]
    Incomplete,
    /// The marker byte 0xc1, which msgpack never uses.
    #[error("0xc1 is no msgpack marker")]
    Reserved,
    /// Arrays and maps are nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

/// One value; of arrays and maps only the header, their elements follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// nil
    Nil,
    /// A boolean.
    Bool(bool),
    /// A negative integer.
    Int(i64),
    /// A non-negative integer.
    UInt(u64),
    /// A 32-bit float.
    F32(f32),
    /// A 64-bit float.
    F64(f64),
    /// A string; senders do not always keep it UTF-8.
    Str(&'a [u8]),
    /// Binary.
    Bin(&'a [u8]),
    /// Header of an array of so many values.
    Array(u32),
    /// Header of a map of so many pairs.
    Map(u32),
    /// An extension: type and payload.
    Ext(i8, &'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes of a string or binary: senders use both for text.
    pub fn text(self) -> Option<&'a [u8]> {
        match self {
            Self::Str(bytes) | Self::Bin(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// A cursor over msgpack bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    buf: &'a [u8],
    /// Always at most `buf.len()`.
    pos: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `buf`.
    pub fn new(buf: &'a [u8]) -> Self {
        Self { buf, pos: 0 }
    }

    /// Reads from an offset that lies inside `buf`.
    pub fn at(buf: &'a [u8], pos: usize) -> Self {
        debug_assert!(pos <= buf.len());
        Self { buf, pos: pos.min(buf.len()) }
    }

    /// Offset of the next byte.
    pub fn pos(&self) -> usize {
        self.pos
    }

    /// Whether all bytes have been read.
    pub fn is_empty(&self) -> bool {
        self.pos == self.buf.len()
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        &self.buf[self.pos..]
    }

    /// Reads one value (of arrays and maps the header). On an error the cursor stays where it was.
    #[inline]
    pub fn read(&mut self) -> Result<Value<'a>, Error> {
        let (&marker, rest) = self.buf[self.pos..].split_first().ok_or(Error::Incomplete)?;
        let (value, used) = decode(marker, rest)?;
        self.pos += 1 + used;
        Ok(value)
    }

    /// The bytes of the next value if it is a string below 64 KiB in a usual width, as [`Reader::read`] would give them; else
    /// the cursor stays. Most of a record is such strings, and this is all that they take.
    #[inline]
    pub fn short_str(&mut self) -> Option<&'a [u8]> {
        let (header, len) = match *self.buf.get(self.pos..)? {
            [marker @ 0xa0..=0xbf, ..] => (1, usize::from(marker & 0x1f)),
            [0xd9, len, ..] => (2, usize::from(len)),
            [0xda, high, low, ..] => (3, usize::from(u16::from_be_bytes([high, low]))),
            _ => return None,
        };
        let start = self.pos + header;
        let text = self.buf.get(start..start + len)?;
        self.pos = start + len;
        Some(text)
    }

    /// The number of pairs if a map comes next, whose first pair is read then; else the cursor stays.
    #[inline]
    pub fn map(&mut self) -> Option<u32> {
        if let Some(marker @ 0x80..=0x8f) = self.buf.get(self.pos) {
            self.pos += 1;
            return Some(u32::from(marker & 0x0f));
        }
        let mut ahead = *self;
        let Ok(Value::Map(pairs)) = ahead.read() else { return None };
        *self = ahead;
        Some(pairs)
    }

    /// Type and payload of the next value if it is an extension of eight bytes in its usual form, as [`Reader::read`] would
    /// give them; else the cursor stays. Nearly every time of a record is one.
    #[inline]
    pub fn short_ext(&mut self) -> Option<(i8, [u8; 8])> {
        match self.buf.get(self.pos..)?.first_chunk()? {
            &[0xd7, kind, a, b, c, d, e, f, g, h] => {
                self.pos += 10;
                Some((kind as i8, [a, b, c, d, e, f, g, h]))
            }
            _ => None,
        }
    }

    /// What the next value is, if its first byte is there.
    #[inline]
    pub fn peek(&self) -> Option<Kind> {
        self.buf.get(self.pos).map(|&marker| Kind::of(marker))
    }

    /// Steps over one whole value, its parts included, and returns its bytes.
    #[inline]
    pub fn skip(&mut self) -> Result<&'a [u8], Error> {
        self.skip_below(0)
    }

    /// As [`Reader::skip`], for a value that already lies so many levels deep. On an error the cursor stays.
    #[inline]
    pub fn skip_below(&mut self, depth: usize) -> Result<&'a [u8], Error> {
        let start = self.pos;
        self.pos = walk(self.buf, start, 1, depth)?;
        Ok(&self.buf[start..self.pos])
    }
}

/// What a value is, as its marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nil
    Nil,
    /// A boolean.
    Bool,
    /// An integer of any width and sign.
    Int,
    /// A float of either width.
    Float,
    /// A string.
    Str,
    /// Binary.
    Bin,
    /// An array.
    Array,
    /// A map.
    Map,
    /// An extension.
    Ext,
    /// No value: the marker byte 0xc1.
    Reserved,
}

impl Kind {
    /// What a value that begins with this byte is.
    #[inline]
    pub fn of(marker: u8) -> Self {
        match marker {
            0x00..=0x7f | 0xcc..=0xd3 | 0xe0..=0xff => Self::Int,
            0x80..=0x8f | 0xde | 0xdf => Self::Map,
            0x90..=0x9f | 0xdc | 0xdd => Self::Array,
            0xa0..=0xbf | 0xd9..=0xdb => Self::Str,
            0xc0 => Self::Nil,
            0xc1 => Self::Reserved,
            0xc2 | 0xc3 => Self::Bool,
            0xc4..=0xc6 => Self::Bin,
            0xc7..=0xc9 | 0xd4..=0xd8 => Self::Ext,
            0xca | 0xcb => Self::Float,
        }
    }

    /// Whether it is text as senders write it: a string, or binary.
    #[inline]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Str | Self::Bin)
    }
}

/// Steps over `left` values that lie `depth` levels deep and returns where they end. The recursion is as deep as the
/// value, so at most [`MAX_DEPTH`]; a flat record, the usual one, needs none of it and no table of levels.
fn walk(buf: &[u8], mut pos: usize, mut left: u64, depth: usize) -> Result<usize, Error> {
    while left > 0 {
        left -= 1;
        let (end, children) = step_over(buf, pos)?;
        pos = end;
        if children > 0 {
            if depth >= MAX_DEPTH {
                return Err(Error::TooDeep);
            }
            pos = walk(buf, pos, children, depth + 1)?;
        }
    }
    Ok(pos)
}

/// Length of each value whose length follows from its marker alone, the marker included; 0 for the others.
const FIXED: [u8; 256] = {
    let mut len = [0u8; 256];
    let mut marker = 0;
    while marker < 256 {
        len[marker] = match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => 1,
            0xa0..=0xbf => 1 + (marker as u8 & 0x1f),
            0xcc | 0xd0 => 2,
            0xcd | 0xd1 | 0xd4 => 3,
            0xd5 => 4,
            0xca | 0xce | 0xd2 => 5,
            0xd6 => 6,
            0xcb | 0xcf | 0xd3 => 9,
            0xd7 => 10,
            0xd8 => 18,
            _ => 0,
        };
        marker += 1;
    }
    len
};

/// Where the value at `pos` ends, and how many values follow as its parts; of arrays and maps only the header counts.
#[inline(always)]
fn step_over(buf: &[u8], pos: usize) -> Result<(usize, u64), Error> {
    let rest = &buf[pos.min(buf.len())..];
    let (&marker, tail) = rest.split_first().ok_or(Error::Incomplete)?;
    let fixed = usize::from(FIXED[usize::from(marker)]);
    if fixed != 0 {
        return if fixed <= rest.len() { Ok((pos + fixed, 0)) } else { Err(Error::Incomplete) };
    }
    let (used, children) = match marker {
        0xc4 | 0xd9 => (2 + len8(tail)?, 0),
        0xc5 | 0xda => (3 + len16(tail)?, 0),
        0xc6 | 0xdb => (5usize.saturating_add(len32(tail)?), 0),
        0x80..=0x8f => (1, 2 * u64::from(marker & 0x0f)),
        0x90..=0x9f => (1, u64::from(marker & 0x0f)),
        0xc7 => (3 + len8(tail)?, 0),
        0xc8 => (4 + len16(tail)?, 0),
        0xc9 => (6usize.saturating_add(len32(tail)?), 0),
        0xdc => (3, len16(tail)? as u64),
        0xdd => (5, len32(tail)? as u64),
        0xde => (3, 2 * len16(tail)? as u64),
        0xdf => (5, 2 * len32(tail)? as u64),
        _ => return Err(Error::Reserved),
    };
    if used <= rest.len() { Ok((pos + used, children)) } else { Err(Error::Incomplete) }
}

#[inline(always)]
fn len8(rest: &[u8]) -> Result<usize, Error> {
    Ok(usize::from(be::<1>(rest)?[0]))
}

#[inline(always)]
fn len16(rest: &[u8]) -> Result<usize, Error> {
    Ok(usize::from(u16::from_be_bytes(be(rest)?)))
}

#[inline(always)]
fn len32(rest: &[u8]) -> Result<usize, Error> {
    Ok(u32::from_be_bytes(be(rest)?) as usize)
}

/// Measures one value across as many reads as its bytes need: every byte is looked at once.
#[derive(Clone, Debug)]
pub struct Skip {
    pos: usize,
    depth: usize,
    /// Values still to come at each open level; the first level used is the value itself, those above it are 0.
    left: [u64; MAX_DEPTH + 1],
}

impl Skip {
    /// Begins at an offset.
    pub fn new(pos: usize) -> Self {
        Self::below(pos, 0)
    }

    /// Begins at the offset of a value that already lies so many levels deep.
    pub fn below(pos: usize, depth: usize) -> Self {
        let depth = depth.min(MAX_DEPTH);
        let mut left = [0; MAX_DEPTH + 1];
        left[depth] = 1;
        Self { pos, depth, left }
    }

    /// How far the bytes have been looked at; less than this never has to be read again.
    pub fn pos(&self) -> usize {
        self.pos
    }

    /// Goes on over `buf`, which begins with the bytes of the last call. Returns the end of the value, or
    /// `Incomplete` when `buf` ends first: call again with more.
    pub fn step(&mut self, buf: &[u8]) -> Result<usize, Error> {
        loop {
            while self.left[self.depth] == 0 {
                if self.depth == 0 {
                    return Ok(self.pos);
                }
                self.depth -= 1;
            }
            let (end, children) = step_over(buf, self.pos)?;
            if children > 0 && self.depth == MAX_DEPTH {
                return Err(Error::TooDeep);
            }
            self.left[self.depth] -= 1;
            self.pos = end;
            if children > 0 {
                self.depth += 1;
                self.left[self.depth] = children;
            }
        }
    }

    /// A lower bound of the value's length in bytes, known before all of it is there: each value to come takes at
    /// least one byte. Lets a bound refuse an impossible header at once.
    pub fn at_least(&self, start: usize) -> u64 {
        let ahead: u64 = self.left[..=self.depth].iter().fold(0, |sum, n| sum.saturating_add(*n));
        (self.pos - start) as u64 + ahead
    }
}

/// The least that the value at the start of `buf` is long, as far as its header says; of arrays and maps only the
/// header counts. Never more than the value's true length, and more than `buf` when the value is cut short.
pub fn least_len(buf: &[u8]) -> u64 {
    let Some((&marker, rest)) = buf.split_first() else { return 1 };
    let declared = |header: u64, len: Result<usize, Error>| header + len.unwrap_or(0) as u64;
    match marker {
        0xc4 | 0xd9 => declared(2, len8(rest)),
        0xc5 | 0xda => declared(3, len16(rest)),
        0xc6 | 0xdb => declared(5, len32(rest)),
        0xc7 => declared(3, len8(rest)),
        0xc8 => declared(4, len16(rest)),
        0xc9 => declared(6, len32(rest)),
        0xdc | 0xde => 3,
        0xdd | 0xdf => 5,
        _ => u64::from(FIXED[usize::from(marker)]).max(1),
    }
}

fn be<const N: usize>(rest: &[u8]) -> Result<[u8; N], Error> {
    rest.first_chunk::<N>().copied().ok_or(Error::Incomplete)
}

fn take(rest: &[u8], header: usize, len: usize) -> Result<(&[u8], usize), Error> {
    let end = header.checked_add(len).ok_or(Error::Incomplete)?;
    let bytes = rest.get(header..end).ok_or(Error::Incomplete)?;
    Ok((bytes, end))
}

fn ext(rest: &[u8], header: usize, len: usize) -> Result<(Value<'_>, usize), Error> {
    let kind = *rest.get(header).ok_or(Error::Incomplete)?;
    let (bytes, used) = take(rest, header + 1, len)?;
    Ok((Value::Ext(kind as i8, bytes), used))
}

fn signed(value: i64) -> Value<'static> {
    u64::try_from(value).map_or(Value::Int(value), Value::UInt)
}

/// Decodes what follows `marker`; returns the value and how many bytes of `rest` it took.
#[inline]
fn decode(marker: u8, rest: &[u8]) -> Result<(Value<'_>, usize), Error> {
    let str_of = |(bytes, used)| (Value::Str(bytes), used);
    let bin_of = |(bytes, used)| (Value::Bin(bytes), used);
    Ok(match marker {
        0x00..=0x7f => (Value::UInt(u64::from(marker)), 0),
        0x80..=0x8f => (Value::Map(u32::from(marker & 0x0f)), 0),
        0x90..=0x9f => (Value::Array(u32::from(marker & 0x0f)), 0),
        0xa0..=0xbf => str_of(take(rest, 0, usize::from(marker & 0x1f))?),
        0xc0 => (Value::Nil, 0),
        0xc1 => return Err(Error::Reserved),
        0xc2 => (Value::Bool(false), 0),
        0xc3 => (Value::Bool(true), 0),
        0xc4 => bin_of(take(rest, 1, usize::from(be::<1>(rest)?[0]))?),
        0xc5 => bin_of(take(rest, 2, usize::from(u16::from_be_bytes(be(rest)?)))?),
        0xc6 => bin_of(take(rest, 4, u32::from_be_bytes(be(rest)?) as usize)?),
        0xc7 => ext(rest, 1, usize::from(be::<1>(rest)?[0]))?,
        0xc8 => ext(rest, 2, usize::from(u16::from_be_bytes(be(rest)?)))?,
        0xc9 => ext(rest, 4, u32::from_be_bytes(be(rest)?) as usize)?,
        0xca => (Value::F32(f32::from_be_bytes(be(rest)?)), 4),
        0xcb => (Value::F64(f64::from_be_bytes(be(rest)?)), 8),
        0xcc => (Value::UInt(u64::from(be::<1>(rest)?[0])), 1),
        0xcd => (Value::UInt(u64::from(u16::from_be_bytes(be(rest)?))), 2),
        0xce => (Value::UInt(u64::from(u32::from_be_bytes(be(rest)?))), 4),
        0xcf => (Value::UInt(u64::from_be_bytes(be(rest)?)), 8),
        0xd0 => (signed(i64::from(i8::from_be_bytes(be(rest)?))), 1),
        0xd1 => (signed(i64::from(i16::from_be_bytes(be(rest)?))), 2),
        0xd2 => (signed(i64::from(i32::from_be_bytes(be(rest)?))), 4),
        0xd3 => (signed(i64::from_be_bytes(be(rest)?)), 8),
        0xd4 => ext(rest, 0, 1)?,
        0xd5 => ext(rest, 0, 2)?,
        0xd6 => ext(rest, 0, 4)?,
        0xd7 => ext(rest, 0, 8)?,
        0xd8 => ext(rest, 0, 16)?,
        0xd9 => str_of(take(rest, 1, usize::from(be::<1>(rest)?[0]))?),
        0xda => str_of(take(rest, 2, usize::from(u16::from_be_bytes(be(rest)?)))?),
        0xdb => str_of(take(rest, 4, u32::from_be_bytes(be(rest)?) as usize)?),
        0xdc => (Value::Array(u32::from(u16::from_be_bytes(be(rest)?))), 2),
        0xdd => (Value::Array(u32::from_be_bytes(be(rest)?)), 4),
        0xde => (Value::Map(u32::from(u16::from_be_bytes(be(rest)?))), 2),
        0xdf => (Value::Map(u32::from_be_bytes(be(rest)?)), 4),
        0xe0..=0xff => (Value::Int(i64::from(marker as i8)), 0),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any value that `rmpv` can write, nested a few levels.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        use rmpv::Value as V;
        let leaf = prop_oneof![
            Just(V::Nil),
            any::<bool>().prop_map(V::from),
            any::<i64>().prop_map(V::from),
            any::<u64>().prop_map(V::from),
            any::<f32>().prop_map(V::from),
            any::<f64>().prop_map(V::from),
            ".{0,40}".prop_map(V::from),
            (0..70_000usize).prop_map(|len| V::Binary(vec![7; len])),
            (any::<i8>(), 0..300usize).prop_map(|(kind, len)| V::Ext(kind, vec![7; len])),
        ];
        let tree = leaf.prop_recursive(4, 60, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(V::Array),
                prop::collection::vec((inner.clone(), inner), 0..20).prop_map(V::Map),
            ]
        });
        tree.prop_map(|value| {
            let mut out = Vec::new();
            rmpv::encode::write_value(&mut out, &value).expect("a Vec takes it");
            out
        })
    }

    fn nested(levels: usize) -> Vec<u8> {
        [vec![0x91; levels], vec![0xc0]].concat()
    }

    #[test]
    fn nesting_is_bounded_wherever_the_value_lies() {
        for depth in [0, 1, 10] {
            let fits = nested(MAX_DEPTH - depth);
            let deeper = nested(MAX_DEPTH - depth + 1);
            assert_eq!(Reader::new(&fits).skip_below(depth), Ok(&fits[..]));
            assert_eq!(Skip::below(0, depth).step(&fits), Ok(fits.len()));
            assert_eq!(Reader::new(&deeper).skip_below(depth), Err(Error::TooDeep));
            assert_eq!(Skip::below(0, depth).step(&deeper), Err(Error::TooDeep));
        }
        assert_eq!(Reader::new(&nested(1_000_000)).skip(), Err(Error::TooDeep));
    }

    #[test]
    fn every_marker_has_one_length_and_kind_for_reader_and_skip() {
        for marker in 0..=0xffu8 {
            let bytes = [&[marker][..], &[0; 40]].concat();
            let (mut read, mut skipped) = (Reader::new(&bytes), Reader::new(&bytes));
            let value = read.read();
            assert_eq!(skipped.skip().err(), value.err(), "{marker:x}");
            let kind = match value {
                Ok(Value::Array(_)) => Kind::Array,
                Ok(Value::Map(_)) => Kind::Map,
                Ok(Value::Nil) => Kind::Nil,
                Ok(Value::Bool(_)) => Kind::Bool,
                Ok(Value::Int(_) | Value::UInt(_)) => Kind::Int,
                Ok(Value::F32(_) | Value::F64(_)) => Kind::Float,
                Ok(Value::Str(_)) => Kind::Str,
                Ok(Value::Bin(_)) => Kind::Bin,
                Ok(Value::Ext(..)) => Kind::Ext,
                Err(error) => {
                    assert_eq!(error, Error::Reserved);
                    Kind::Reserved
                }
            };
            assert_eq!(Kind::of(marker), kind, "{marker:x}");
            if !matches!(kind, Kind::Array | Kind::Map | Kind::Reserved) {
                assert_eq!(read.pos(), skipped.pos(), "{marker:x}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_value_ends_where_a_reference_parser_ends(bytes in value(), rest in any::<[u8; 3]>()) {
            let stream = [&bytes[..], &rest].concat();
            prop_assert_eq!(Reader::new(&stream).skip(), Ok(&bytes[..]));
            let mut left = &stream[..];
            rmpv::decode::read_value_ref(&mut left).expect("it was written by it");
            prop_assert_eq!(left.len(), rest.len());
        }

        #[test]
        fn a_value_in_pieces_is_measured_once_and_promises_no_more_than_its_length(
            bytes in value(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.sort_unstable();
            let mut skip = Skip::new(0);
            for cut in cuts {
                let before = skip.pos();
                prop_assert_eq!(skip.step(&bytes[..cut]), Err(Error::Incomplete));
                prop_assert!(skip.pos() >= before && skip.pos() <= cut);
                let least = skip.at_least(0) + least_len(&bytes[skip.pos()..cut]) - 1;
                prop_assert!(cut as u64 <= least && least <= bytes.len() as u64, "{} {} {}", cut, least, bytes.len());
            }
            prop_assert_eq!(skip.step(&bytes), Ok(bytes.len()));
        }

        #[test]
        fn no_bytes_make_it_panic_and_both_walks_agree(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let walked = Reader::new(&bytes).skip().map(<[u8]>::len);
            prop_assert_eq!(Skip::new(0).step(&bytes), walked);
        }
    }
}
