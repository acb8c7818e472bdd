//! The msgpack reader: the only file that knows marker bytes.
//!
//! [`Reader`] is a bounds-checked cursor that hands out borrowed values and never allocates. A declared length is
//! believed only as far as bytes are there. "Not enough bytes yet" ([`Error::Incomplete`]) is kept apart from bytes
//! that no continuation can make valid. [`Skip`] measures one value without recursion and can go on where it stopped
//! when more bytes arrive.

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

    /// How many values follow as parts of this one.
    fn children(self) -> u64 {
        match self {
            Self::Array(n) => u64::from(n),
            Self::Map(n) => 2 * u64::from(n),
            _ => 0,
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

    /// Steps over one whole value, its parts included, and returns its bytes.
    #[inline]
    pub fn skip(&mut self) -> Result<&'a [u8], Error> {
        let start = self.pos;
        let mut skip = Skip::new(start);
        let end = skip.step(self.buf)?;
        self.pos = end;
        Ok(&self.buf[start..end])
    }
}

/// Measures one value across as many reads as its bytes need: every byte is looked at once.
#[derive(Clone, Debug)]
pub struct Skip {
    pos: usize,
    depth: usize,
    /// Values still to come at each open level; `left[0]` is the value itself.
    left: [u64; MAX_DEPTH + 1],
}

impl Skip {
    /// Begins at an offset.
    pub fn new(pos: usize) -> Self {
        let mut left = [0; MAX_DEPTH + 1];
        left[0] = 1;
        Self { pos, depth: 0, left }
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
            let mut reader = Reader::at(buf, self.pos);
            let value = reader.read()?;
            let children = value.children();
            if children > 0 && self.depth == MAX_DEPTH {
                return Err(Error::TooDeep);
            }
            self.left[self.depth] -= 1;
            self.pos = reader.pos;
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

/// The length that a string, binary or extension header declares, when the payload is not all there yet.
pub fn declared_len(buf: &[u8]) -> Option<u64> {
    let (&marker, rest) = buf.split_first()?;
    Some(match marker {
        0xc4 | 0xd9 | 0xc7 => u64::from(*rest.first()?),
        0xc5 | 0xda | 0xc8 => u64::from(be::<2>(rest).map(u16::from_be_bytes).ok()?),
        0xc6 | 0xdb | 0xc9 => u64::from(be::<4>(rest).map(u32::from_be_bytes).ok()?),
        _ => return None,
    })
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

/// The writer's few words: for acks, joined records and tests.
pub mod write {
    /// Header of an array.
    pub fn array(out: &mut Vec<u8>, len: u32) {
        header(out, len, 0x90, 0xdc);
    }

    /// Header of a map.
    pub fn map(out: &mut Vec<u8>, len: u32) {
        header(out, len, 0x80, 0xde);
    }

    fn header(out: &mut Vec<u8>, len: u32, fix: u8, wide: u8) {
        match len {
            0..=15 => out.push(fix | len as u8),
            16..=0xffff => {
                out.push(wide);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            _ => {
                out.push(wide + 1);
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
    }

    /// A string; its bytes need not be UTF-8.
    pub fn str(out: &mut Vec<u8>, bytes: &[u8]) {
        match bytes.len() {
            len @ 0..=31 => out.push(0xa0 | len as u8),
            len @ 32..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
            len @ 0x100..=0xffff => {
                out.push(0xda);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.push(0xdb);
                out.extend_from_slice(&(len as u32).to_be_bytes());
            }
        }
        out.extend_from_slice(bytes);
    }

    /// A non-negative integer in its shortest form.
    pub fn uint(out: &mut Vec<u8>, value: u64) {
        match value {
            0..=0x7f => out.push(value as u8),
            0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
            0x100..=0xffff => {
                out.push(0xcd);
                out.extend_from_slice(&(value as u16).to_be_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                out.push(0xce);
                out.extend_from_slice(&(value as u32).to_be_bytes());
            }
            _ => {
                out.push(0xcf);
                out.extend_from_slice(&value.to_be_bytes());
            }
        }
    }
}
