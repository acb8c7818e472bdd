//! Log lines as frames of the Forward protocol, encoded before the clock starts.
//!
//! A chunk is sent again and again; its marks, times and ack token are filled in each time, so that no two records of a
//! run are the same. What is compressed cannot be filled in, and is encoded for the whole run.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use libdeflater::{CompressionLvl, Compressor};
use logweir::record::msgpack::write;
use memchr::memmem;

use crate::mark;
use crate::payload::{Payload, Writer};
use crate::scenario::{Ack, Framing, Scenario};

/// Where Docker cuts a line.
const PART: usize = 16 << 10;

/// Bytes of a write in `Framing::Pieces`.
const PIECE: usize = 16 << 10;

/// Digits of an ack's token: as many for each, so that answers have one length.
const TOKEN_LEN: usize = 16;

/// What senders compress with.
pub(crate) fn compressor() -> Compressor {
    Compressor::new(CompressionLvl::default())
}

const CONTAINER_ID: &str = "5f0c2b8d1e6a4f7c9b3d2e1f0a8c7b6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b";

/// One write to the socket.
struct Write {
    /// Where it ends in the chunk.
    end: usize,
    /// How many of the chunk's times stand before its end.
    times: usize,
    /// Its log text in bytes, and its records.
    pub(crate) text: u64,
    pub(crate) records: u64,
}

/// Whole records as they go over one connection.
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    writes: Vec<Write>,
    /// Where marks stand, and whose of the chunk's records they are.
    marks: Vec<(usize, u64)>,
    /// Where times stand.
    times: Vec<usize>,
    token: Option<Range<usize>>,
    /// Where the entries stand in a packed frame, and its tag.
    entries: Range<usize>,
    tag: String,
    pub(crate) records: u64,
    pub(crate) alerts: u64,
    /// Bytes of log text.
    pub(crate) text: u64,
}

impl Chunk {
    /// Fills in the marks of the lane's records from `number` on, and the ack's token.
    pub(crate) fn prepare(&mut self, lane: u8, number: u64, token: u64) {
        for &(at, record) in &self.marks {
            mark::fill(&mut self.bytes, at, lane, number + record);
        }
        if let Some(range) = self.token.clone() {
            self.bytes[range].copy_from_slice(format!("{token:016x}").as_bytes());
        }
    }

    /// Puts its entries into one frame, and so one write.
    fn pack(&mut self, tag: &str, acked: bool) {
        let (bytes, header, token) = packed(tag, &self.bytes, false, acked);
        self.entries = header..header + self.bytes.len();
        self.times.iter_mut().for_each(|at| *at += header);
        self.marks.iter_mut().for_each(|(at, _)| *at += header);
        self.writes = vec![Write { end: bytes.len(), times: self.times.len(), text: self.text, records: self.records }];
        (self.tag, self.bytes, self.token) = (tag.into(), bytes, token);
    }

    /// The same with its entries compressed as they are now; nothing but the token can be filled in any more.
    pub(crate) fn compressed(&self, compressor: &mut Compressor) -> Self {
        let entries = self.entries();
        let mut gzip = vec![0; compressor.gzip_compress_bound(entries.len())];
        let len = compressor.gzip_compress(entries, &mut gzip).expect("the bound holds any input");
        let (bytes, header, token) = packed(&self.tag, &gzip[..len], true, self.token.is_some());
        let writes = vec![Write { end: bytes.len(), times: 0, text: self.text, records: self.records }];
        let (marks, times) = (Vec::new(), Vec::new());
        Self { bytes, writes, marks, times, token, tag: String::new(), entries: header..header + len, ..*self }
    }

    /// The entries of a packed frame as they stand in it.
    pub(crate) fn entries(&self) -> &[u8] {
        &self.bytes[self.entries.clone()]
    }

    /// Its writes, one after the other: what they hold in log text and records.
    pub(crate) fn writes(&self) -> impl Iterator<Item = (u64, u64)> + use<> {
        let sizes: Vec<_> = self.writes.iter().map(|write| (write.text, write.records)).collect();
        sizes.into_iter()
    }

    /// The bytes of a write; its records get the time of now.
    pub(crate) fn write(&mut self, n: usize) -> &[u8] {
        let (begin, from) = match n.checked_sub(1).and_then(|before| self.writes.get(before)) {
            Some(before) => (before.end, before.times),
            None => (0, 0),
        };
        let Write { end, times, .. } = self.writes[n];
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        for (step, &at) in (0u32..).zip(&self.times[from..times]) {
            // Records of one write come some 1.7 µs after each other.
            let nanos = (now.subsec_nanos() + step * 1_733).min(999_999_999);
            self.bytes[at..at + 4].copy_from_slice(&(now.as_secs() as u32).to_be_bytes());
            self.bytes[at + 4..at + 8].copy_from_slice(&nanos.to_be_bytes());
        }
        &self.bytes[begin..end]
    }
}

/// Writes chunks of one payload.
pub(crate) struct Encoder<'a> {
    scenario: &'a Scenario,
    writer: Writer,
    run: u16,
    finder: memmem::Finder<'static>,
    line: String,
    chunks: usize,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(scenario: &'a Scenario, run: u16, seed: u64) -> Self {
        let finder = memmem::Finder::new(mark::prefix(run).as_bytes()).into_owned();
        let writer = Writer::new(scenario.payload, seed);
        Self { scenario, writer, run, finder, line: String::new(), chunks: 0 }
    }

    /// The next chunk.
    pub(crate) fn chunk(&mut self) -> Chunk {
        let container = self.chunks % self.scenario.containers;
        self.chunks += 1;
        let tag = tag(container);
        let packed = matches!(self.scenario.framing, Framing::Packed | Framing::Gzip);
        let mut chunk = Chunk {
            bytes: Vec::with_capacity(self.scenario.chunk + (8 << 10)),
            writes: Vec::new(),
            marks: Vec::new(),
            times: Vec::new(),
            token: None,
            entries: 0..0,
            tag: String::new(),
            records: 0,
            alerts: 0,
            text: 0,
        };
        while chunk.bytes.len() < self.scenario.chunk {
            let alert = self.writer.is_alert(self.scenario.to_cloudwatch / 100.0);
            let mark = mark::blank(self.run, alert, container as u8);
            self.line.clear();
            self.writer.line(&mut self.line, alert, &mark);
            let begin = chunk.bytes.len();
            chunk.alerts += u64::from(alert);
            chunk.text += self.line.len() as u64;
            let parts = parts(self.scenario.payload, &self.line);
            let last = parts.len();
            for (n, part) in (1..).zip(parts) {
                write::array(&mut chunk.bytes, if packed { 2 } else { 4 });
                if !packed {
                    write::str(&mut chunk.bytes, tag.as_bytes());
                }
                chunk.bytes.extend_from_slice(&[0xd7, 0x00]);
                chunk.times.push(chunk.bytes.len());
                chunk.bytes.extend_from_slice(&[0; 8]);
                let part_of = (last > 1).then(|| PartOf { line: &mark, n, last: n == last });
                record(&mut chunk.bytes, container, part, part_of);
                if !packed {
                    write::map(&mut chunk.bytes, 0);
                    self.end_write(&mut chunk, part.len(), n == last);
                }
            }
            let marks = mark::positions(&chunk.bytes[begin..], &self.finder).map(|at| (begin + at, chunk.records));
            chunk.marks.extend(marks);
            chunk.records += 1;
        }
        if packed {
            chunk.pack(&tag, self.scenario.ack != Ack::None);
        }
        chunk
    }

    fn end_write(&self, chunk: &mut Chunk, text: usize, whole: bool) {
        let (end, times, records) = (chunk.bytes.len(), chunk.times.len(), u64::from(whole));
        let begin = chunk.writes.len().checked_sub(2).map_or(0, |before| chunk.writes[before].end);
        match chunk.writes.last_mut() {
            Some(open) if self.scenario.framing == Framing::Pieces && open.end - begin < PIECE => {
                *open = Write { end, times, text: open.text + text as u64, records: open.records + records };
            }
            _ => chunk.writes.push(Write { end, times, text: text as u64, records }),
        }
    }
}

/// What tells the parts of a line.
struct PartOf<'a> {
    /// The line's mark.
    line: &'a str,
    /// From 1.
    n: usize,
    last: bool,
}

/// The tag that FireLens gives a container's records.
fn tag(container: usize) -> String {
    format!("app{container}-firelens-0123456789abcdef0123456789abcdef")
}

/// A line as Docker hands it over.
fn parts(payload: Payload, line: &str) -> Vec<&str> {
    if payload != Payload::Parts {
        return vec![line];
    }
    let bytes = line.as_bytes().chunks(PART);
    bytes.map(|part| std::str::from_utf8(part).expect("the payloads are ASCII")).collect()
}

/// The map that Docker's driver sends.
fn record(out: &mut Vec<u8>, container: usize, log: &str, part: Option<PartOf<'_>>) {
    write::map(out, if part.is_some() { 8 } else { 4 });
    let name = format!("/ecs-web-42-app{container}-d0c1b2a3f4e5d6c7b801");
    for (key, value) in
        [("container_id", CONTAINER_ID), ("container_name", name.as_str()), ("source", "stdout"), ("log", log)]
    {
        write::str(out, key.as_bytes());
        write::str(out, value.as_bytes());
    }
    let Some(part) = part else { return };
    for (key, value) in [
        ("partial_message", "true".to_owned()),
        ("partial_id", format!("{:0>64}", part.line)),
        ("partial_ordinal", part.n.to_string()),
        ("partial_last", part.last.to_string()),
    ] {
        write::str(out, key.as_bytes());
        write::str(out, value.as_bytes());
    }
}

/// Entries in a PackedForward frame: its bytes, where the entries begin, and where the ack's token stands.
fn packed(tag: &str, entries: &[u8], gzip: bool, acked: bool) -> (Vec<u8>, usize, Option<Range<usize>>) {
    let mut bytes = Vec::with_capacity(entries.len() + 128);
    write::array(&mut bytes, 3);
    write::str(&mut bytes, tag.as_bytes());
    write::str_header(&mut bytes, entries.len());
    let header = bytes.len();
    bytes.extend_from_slice(entries);
    write::map(&mut bytes, u32::from(acked) + u32::from(gzip));
    if gzip {
        write::str(&mut bytes, b"compressed");
        write::str(&mut bytes, b"gzip");
    }
    if acked {
        write::str(&mut bytes, b"chunk");
        write::str(&mut bytes, &[b'0'; TOKEN_LEN]);
    }
    let token = acked.then(|| bytes.len() - TOKEN_LEN..bytes.len());
    (bytes, header, token)
}

/// What answers a chunk: `{"ack": token}`.
pub(crate) const ACK_LEN: usize = 1 + 4 + 1 + TOKEN_LEN;

/// The token in an answer.
pub(crate) fn acked(answer: &[u8; ACK_LEN]) -> Option<u64> {
    let token = answer.strip_prefix(b"\x81\xa3ack\xb0")?;
    u64::from_str_radix(std::str::from_utf8(token).ok()?, 16).ok()
}
