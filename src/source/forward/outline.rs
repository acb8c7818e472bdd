//! The outline of a frame: where its elements begin and where it ends, measured as its bytes arrive.
//!
//! What has been looked at is not looked at again when more bytes come. A frame that cannot fit its bound is refused
//! as soon as its headers say so, before its bytes are waited for.

use super::malformed::Malformed;
use super::{MAX_CHUNK, MAX_TAG, TLS_HANDSHAKE};
use crate::record::msgpack::{self, Kind, Reader, Skip, Value, least_len};

/// Elements whose place is remembered: tag, time or entries, record, option; later ones mean nothing.
const KNOWN: usize = 4;

/// How a frame carries its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// `[tag, time, record, option?]`
    Message,
    /// `[tag, [[time, record], ...], option?]`
    Forward,
    /// `[tag, bytes of entries, option?]`, the bytes perhaps compressed
    Packed,
}

/// What is known of the frame that is being read; offsets count from its first byte.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline {
    /// Elements that its header declares; 0 until the header is there.
    count: u32,
    /// Whole elements so far, at most `count`.
    index: u32,
    /// Where they end.
    pos: usize,
    /// Where the first elements begin, and behind the last of them where it ends.
    at: [usize; KNOWN + 1],
    /// The element that was cut short, and how far it has been looked at.
    partial: Option<Box<Skip>>,
}

impl Outline {
    /// Goes on over `frame`, which begins with the bytes of the last call. True when the frame is whole.
    pub(super) fn step(&mut self, frame: &[u8], bound: u64) -> Result<bool, Malformed> {
        match self.walk(frame) {
            Ok(()) => {
                let len = self.pos as u64;
                if len > bound { Err(Malformed::FrameTooLarge { found: len, bound }) } else { Ok(true) }
            }
            Err(Malformed::Msgpack(msgpack::Error::Incomplete)) => {
                let found = self.at_least(frame);
                if found > bound { Err(Malformed::FrameTooLarge { found, bound }) } else { Ok(false) }
            }
            Err(other) => Err(other),
        }
    }

    fn walk(&mut self, frame: &[u8]) -> Result<(), Malformed> {
        if self.count == 0 {
            self.header(frame)?;
        }
        loop {
            if let Some(at) = self.at.get_mut(self.index as usize) {
                *at = self.pos;
            }
            if self.index == self.count {
                return Ok(());
            }
            if self.index < 2 {
                self.check_kind(frame)?;
            }
            self.pos = self.element(frame)?;
            self.index += 1;
        }
    }

    fn header(&mut self, frame: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(frame);
        match reader.peek().ok_or(msgpack::Error::Incomplete)? {
            Kind::Array => {}
            Kind::Reserved => return Err(msgpack::Error::Reserved.into()),
            _ if frame.starts_with(&TLS_HANDSHAKE) => return Err(Malformed::Tls),
            other => return Err(Malformed::NotAFrame(other)),
        }
        if let Value::Array(count) = reader.read()? {
            if count < 2 {
                return Err(Malformed::Short(count));
            }
            self.count = count;
            self.pos = reader.pos();
        }
        Ok(())
    }

    /// Refuses a tag that is none, and a message without a record, at their first byte.
    fn check_kind(&self, frame: &[u8]) -> Result<(), Malformed> {
        let kind = Reader::at(frame, self.pos).peek().ok_or(msgpack::Error::Incomplete)?;
        match self.index {
            0 if !kind.is_text() => Err(Malformed::Tag(kind)),
            1 if mode_of(kind) == Mode::Message && self.count < 3 => Err(Malformed::Short(self.count)),
            _ => Ok(()),
        }
    }

    /// Measures one element, on from where its bytes ended last time.
    fn element(&mut self, frame: &[u8]) -> Result<usize, Malformed> {
        if let Some(partial) = &mut self.partial {
            let end = partial.step(frame)?;
            self.partial = None;
            return Ok(end);
        }
        let mut reader = Reader::at(frame, self.pos);
        match reader.skip_below(1) {
            Ok(_) => Ok(reader.pos()),
            // Walked once more, by what remembers how far it came.
            Err(msgpack::Error::Incomplete) => {
                let skip = self.partial.insert(Box::new(Skip::below(self.pos, 1)));
                Ok(skip.step(frame)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The least that the frame can be long, by what its headers declare.
    fn at_least(&self, frame: &[u8]) -> u64 {
        // `inside` counts a byte for each value of the element that is to come, the one that was cut short included.
        let (seen, inside) = match &self.partial {
            Some(skip) => (skip.pos(), skip.at_least(self.pos)),
            None => (self.pos, 1),
        };
        let cut = least_len(frame.get(seen..).unwrap_or(&[])) - 1;
        let after = u64::from(self.count.saturating_sub(self.index).saturating_sub(1));
        (self.pos as u64).saturating_add(inside).saturating_add(cut).saturating_add(after)
    }

    /// Whether nothing of the frame has been looked at.
    pub(super) fn is_fresh(&self) -> bool {
        self.count == 0
    }

    /// Bytes that are surely still to come, when `have` are there.
    pub(super) fn wanted(&self, frame: &[u8]) -> u64 {
        self.at_least(frame).saturating_sub(frame.len() as u64)
    }
}

/// A whole frame.
impl Outline {
    /// Its length.
    pub(super) fn len(&self) -> usize {
        self.pos
    }

    /// The tag's bytes with their header.
    pub(super) fn raw_tag<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        &frame[self.at[0]..self.at[1]]
    }

    /// How it carries its records.
    pub(super) fn mode(&self, frame: &[u8]) -> Mode {
        mode_of(Reader::at(frame, self.at[1]).peek().unwrap_or(Kind::Nil))
    }

    /// Where the second element, time or entries, begins and ends.
    pub(super) fn second(&self) -> (usize, usize) {
        (self.at[1], self.at[2])
    }

    /// Where a message's record begins and ends.
    pub(super) fn record(&self) -> (usize, usize) {
        (self.at[2], self.at[3])
    }

    /// The option's bytes, if there is one.
    pub(super) fn option<'a>(&self, frame: &'a [u8], mode: Mode) -> Option<&'a [u8]> {
        let index = if mode == Mode::Message { 3 } else { 2 };
        (index < self.count as usize).then(|| &frame[self.at[index]..self.at[index + 1]])
    }
}

fn mode_of(second: Kind) -> Mode {
    match second {
        Kind::Array => Mode::Forward,
        Kind::Str | Kind::Bin => Mode::Packed,
        _ => Mode::Message,
    }
}

/// What a frame's option asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options<'a> {
    /// The token to ack with, as it came: a whole msgpack value.
    pub(super) chunk: Option<&'a [u8]>,
    /// How packed entries are compressed.
    pub(super) compressed: Option<&'a [u8]>,
    /// Fluent Bit's kind of signal; 0 is logs.
    pub(super) signal: u64,
}

impl<'a> Options<'a> {
    /// Reads an option; what is no map (nil of old Docker versions) asks for nothing.
    pub(super) fn read(raw: &'a [u8]) -> Result<Self, Malformed> {
        let mut options = Self::default();
        // The two that Docker sends a line with.
        if matches!(raw, [0x80] | [0xc0]) {
            return Ok(options);
        }
        let mut reader = Reader::new(raw);
        let Value::Map(pairs) = reader.read()? else { return Ok(options) };
        for _ in 0..pairs {
            let mut key = Reader::new(reader.skip()?);
            let raw = reader.skip()?;
            let value = Reader::new(raw).read()?;
            match key.read()?.text() {
                Some(b"chunk") if value != Value::Nil => {
                    if raw.len() > MAX_CHUNK {
                        return Err(Malformed::ChunkTooLong(raw.len()));
                    }
                    options.chunk = Some(raw);
                }
                Some(b"compressed") => options.compressed = value.text(),
                Some(b"fluent_signal") => {
                    options.signal = match value {
                        Value::UInt(signal) => signal,
                        _ => 0,
                    };
                }
                _ => {}
            }
        }
        Ok(options)
    }
}

/// The tag's text.
pub(super) fn tag_text(raw: &[u8]) -> Result<&[u8], Malformed> {
    let value = Reader::new(raw).read()?;
    let text = value.text().ok_or(Malformed::Tag(Kind::Nil))?;
    if text.len() > MAX_TAG { Err(Malformed::TagTooLong(text.len())) } else { Ok(text) }
}
