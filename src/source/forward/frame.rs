//! Frames to batches: the bytes of one connection in, records, chunks to ack and the first malformed byte out.
//!
//! Message-mode frames of one tag that were read together become one batch; a batch ends when the tag changes, when a
//! frame asks for an ack, or where the bytes end. A Forward or Packed frame is a run of batches of its own. Nothing is
//! copied: a batch shares the buffer that the bytes were read into.
//!
//! Synchronous; reading, acks and back-pressure are the connection's.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::entries::{self, MAX_BYTES, MAX_RECORDS, Tally};
use super::inflate::{Step, Windows};
use super::malformed::Malformed;
use super::outline::{Mode, Options, Outline, tag_text};
use super::time;
use crate::record::msgpack::{self, Kind, Reader};
use crate::record::{RecordBatch, RecordSpan, Tag, Tickets, UnixNanos};
use crate::source::Excerpt;

/// Bounds clamp here, so that offsets fit 32 bits: 1 GiB.
const MAX_BOUND: u64 = 1 << 30;

/// What a connection's bytes hold next.
#[derive(Debug)]
pub enum Found {
    /// The records up to [`Found::End`] are to be acked with this token, a whole msgpack value as it came.
    Chunk(Box<[u8]>),
    /// Records, without tickets.
    Records(RecordBatch),
    /// Inflating the frame takes so many bytes in all, beside the buffer; they are allocated with the next call.
    Grow(usize),
    /// The last records of the chunk have been found.
    End,
}

/// A frame whose entries are being read.
#[derive(Debug)]
struct Open {
    body: Body,
    /// Whether the frame asked for an ack.
    asks: bool,
}

#[derive(Debug)]
enum Body {
    /// Entries from `pos` to `end` in `data`.
    Plain { data: Bytes, pos: usize, end: usize },
    /// Compressed entries, and the frame as it came.
    Windows(Box<Windows>, Bytes),
}

impl Open {
    /// What was not read of it; the whole frame if it is compressed.
    fn excerpt(&self) -> Excerpt {
        match &self.body {
            Body::Plain { data, pos, end } => Excerpt::of(&data[*pos..*end]),
            Body::Windows(_, frame) => Excerpt::of(frame),
        }
    }
}

/// The decoder of one connection.
#[derive(Debug)]
pub struct Frames {
    frame_bound: u64,
    inflated_bound: u64,
    outline: Outline,
    /// Where the frame being measured begins in the buffer; the open batch lies before it.
    pos: usize,
    /// The open batch of Message-mode frames; its tag is the cached one.
    records: Vec<RecordSpan>,
    /// Room that the next batch begins with: what the last one needed.
    hint: usize,
    /// The last tag: its msgpack bytes and itself.
    tag: Option<(Box<[u8]>, Tag)>,
    open: Option<Open>,
    queue: VecDeque<Found>,
    failed: Option<Malformed>,
    /// Of the frame that failed, where its bytes are no more in the buffer.
    unread: Option<Excerpt>,
    tally: Tally,
}

impl Frames {
    /// With the bounds of a frame and of what it may inflate to.
    pub fn new(frame_bound: u64, inflated_bound: u64) -> Self {
        Self {
            frame_bound: frame_bound.min(MAX_BOUND),
            inflated_bound,
            outline: Outline::default(),
            pos: 0,
            records: Vec::new(),
            hint: 0,
            tag: None,
            open: None,
            queue: VecDeque::new(),
            failed: None,
            unread: None,
            tally: Tally::default(),
        }
    }

    /// What comes next in `buf`, which holds what was read and not found yet; none when more must be read. After an
    /// error only the error comes.
    pub fn next(&mut self, buf: &mut BytesMut, received: UnixNanos) -> Result<Option<Found>, Malformed> {
        loop {
            if let Some(found) = self.queue.pop_front() {
                return Ok(Some(found));
            }
            if let Some(failed) = &self.failed {
                return Err(failed.clone());
            }
            let step = if self.open.is_some() { self.entries(received) } else { self.frames(buf, received) };
            match step {
                Ok(true) => {}
                Ok(false) => {
                    self.close(buf, received);
                    if self.queue.is_empty() {
                        return Ok(None);
                    }
                }
                Err(failed) => {
                    self.close(buf, received);
                    self.unread = self.open.take().map(|open| open.excerpt());
                    self.failed = Some(failed);
                }
            }
        }
    }

    /// Whether `buf` ends in the middle of a frame.
    pub fn is_partial(&self, buf: &BytesMut) -> bool {
        buf.len() > self.pos
    }

    /// Bytes that the frame in `buf` surely still lacks.
    pub fn wanted(&self, buf: &BytesMut) -> u64 {
        self.outline.wanted(&buf[self.pos..])
    }

    /// After an error, the beginning of the bytes that led to it; `buf` as [`Frames::next`] left it.
    pub fn unread(&self, buf: &BytesMut) -> Excerpt {
        self.unread.clone().unwrap_or_else(|| Excerpt::of(buf))
    }

    /// What was counted since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Reads frames until something is found (true) or the bytes end (false).
    fn frames(&mut self, buf: &mut BytesMut, received: UnixNanos) -> Result<bool, Malformed> {
        loop {
            let frame = &buf[self.pos..];
            if self.outline.is_fresh() {
                match frame.first() {
                    None => return Ok(false),
                    Some(&marker) if Kind::of(marker) == Kind::Nil => {
                        self.tally.heartbeats += 1;
                        self.pos += 1;
                        continue;
                    }
                    Some(_) => {}
                }
            }
            if !self.outline.step(frame, self.frame_bound)? {
                return Ok(false);
            }
            let outline = std::mem::take(&mut self.outline);
            self.tally.frames += 1;
            self.frame(buf, &outline, received)?;
            if self.open.is_some() || !self.queue.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Takes over one whole frame.
    fn frame(&mut self, buf: &mut BytesMut, outline: &Outline, received: UnixNanos) -> Result<(), Malformed> {
        let frame = &buf[self.pos..];
        let mode = outline.mode(frame);
        let raw_tag = outline.raw_tag(frame);
        let new_tag = match &self.tag {
            Some((raw, _)) if **raw == *raw_tag => None,
            _ => Some((raw_tag.into(), Tag::from_bytes(tag_text(raw_tag)?))),
        };
        let options = outline.option(frame, mode).map_or_else(|| Ok(Options::default()), Options::read)?;
        let chunk: Option<Box<[u8]>> = options.chunk.map(Into::into);
        let asks = chunk.is_some();
        if options.signal != 0 {
            self.tally.not_logs(&frame[..outline.len()]);
            self.pos += outline.len();
            // Refused for good: without an ack the sender would repeat it for ever.
            self.queue.extend(chunk.map(Found::Chunk));
            self.queue.extend(asks.then_some(Found::End));
            return Ok(());
        }
        let compressed: Option<Box<[u8]>> = options.compressed.map(Into::into);
        if new_tag.is_some() || mode != Mode::Message || self.records.len() >= MAX_RECORDS {
            self.close(buf, received);
        }
        if new_tag.is_some() {
            self.tag = new_tag;
        }
        if let Some(chunk) = chunk {
            self.queue.push_back(Found::Chunk(chunk));
        }
        if mode != Mode::Message {
            let data = buf.split_to(outline.len()).freeze();
            return self.open(data, outline.second(), compressed.as_deref(), asks);
        }
        self.message(&buf[self.pos..], outline, received)?;
        self.pos += outline.len();
        if asks {
            self.close(buf, received);
            self.queue.push_back(Found::End);
        }
        Ok(())
    }

    fn message(&mut self, frame: &[u8], outline: &Outline, received: UnixNanos) -> Result<(), Malformed> {
        let time = time::read(&mut Reader::at(frame, outline.second().0))?;
        let (start, end) = outline.record();
        let is_map = Reader::at(frame, start).peek() == Some(Kind::Map);
        let at = (self.pos + start, self.pos + end);
        if let Some(record) = self.tally.record(time, is_map, at, &frame[start..end], received) {
            if self.records.is_empty() {
                self.records.reserve(self.hint);
            }
            self.records.push(record);
        }
        Ok(())
    }

    /// Leaves a frame of entries to [`Frames::entries`].
    fn open(
        &mut self,
        data: Bytes,
        (start, end): (usize, usize),
        compressed: Option<&[u8]>,
        asks: bool,
    ) -> Result<(), Malformed> {
        let mut reader = Reader::at(&data[..end], start);
        let body = match reader.read()?.text() {
            // A payload is the tail of its element.
            Some(payload) => {
                let pos = end - payload.len();
                let entry_bound = self.frame_bound as usize;
                match Windows::open(data.slice(pos..end), compressed, self.inflated_bound, entry_bound)? {
                    Some(windows) => Body::Windows(Box::new(windows), data),
                    None => Body::Plain { data, pos, end },
                }
            }
            None => {
                let pos = reader.pos();
                Body::Plain { data, pos, end }
            }
        };
        self.open = Some(Open { body, asks });
        Ok(())
    }

    /// Finds the next batch of the open frame, or its end.
    fn entries(&mut self, received: UnixNanos) -> Result<bool, Malformed> {
        let Some(open) = &mut self.open else { return Ok(false) };
        let mut records = std::mem::take(&mut self.records);
        let data = match &mut open.body {
            Body::Plain { pos, end, .. } if pos == end => None,
            Body::Plain { data, pos, end } => {
                records.reserve(self.hint);
                *pos = plain(&data[..*end], *pos, &mut records, received, &mut self.tally)?;
                (!records.is_empty()).then(|| data.clone())
            }
            Body::Windows(windows, _) => match windows.next(&mut records, received, &mut self.tally)? {
                Step::Records(data) => Some(data),
                Step::Grow(bytes) => {
                    self.queue.push_back(Found::Grow(bytes));
                    self.records = records;
                    return Ok(true);
                }
                Step::End => None,
            },
        };
        match data {
            Some(data) => self.found(records, data, received),
            None => {
                let asked = open.asks;
                self.open = None;
                self.queue.extend(asked.then_some(Found::End));
            }
        }
        Ok(true)
    }

    /// Ends the open batch before the frame being measured, and lets go of bytes that are no part of one.
    fn close(&mut self, buf: &mut BytesMut, received: UnixNanos) {
        let pos = std::mem::take(&mut self.pos);
        if self.records.is_empty() {
            buf.advance(pos);
            return;
        }
        let records = std::mem::take(&mut self.records);
        let data = buf.split_to(pos).freeze();
        self.found(records, data, received);
    }

    /// Queues records of the cached tag.
    fn found(&mut self, records: Vec<RecordSpan>, data: Bytes, received: UnixNanos) {
        let Some((_, tag)) = &self.tag else { return };
        // A quarter more than last time: reads of one connection are alike.
        self.hint = (records.len() + records.len() / 4).min(MAX_RECORDS);
        let batch = RecordBatch { tag: tag.clone(), data, records, received, tickets: Tickets::none() };
        self.queue.push_back(Found::Records(batch));
    }
}

/// Reads whole entries from `pos`; returns where the last one ends.
fn plain(
    data: &[u8],
    pos: usize,
    records: &mut Vec<RecordSpan>,
    received: UnixNanos,
    tally: &mut Tally,
) -> Result<usize, Malformed> {
    let mut reader = Reader::at(data, pos);
    while !reader.is_empty() && records.len() < MAX_RECORDS && reader.pos() - pos < MAX_BYTES {
        match entries::next(&mut reader, received, tally) {
            Ok(record) => records.extend(record),
            // The records before it are given away first; the next call meets it again.
            Err(_) if !records.is_empty() => break,
            Err(msgpack::Error::Incomplete) => return Err(Malformed::CutEntries),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(reader.pos())
}

#[cfg(test)]
mod tests;
