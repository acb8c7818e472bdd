//! What the bench sends: JSON log lines of about 400 bytes as Docker's driver or Fluent Bit would frame them, from a
//! fixed seed. Ids, paths, durations and messages vary, so that it does not compress like one line repeated.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use logweir::record::msgpack::write;

/// Records in a load; it is sent again and again.
const RECORDS: u64 = 50_000;

/// How records are framed and written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A Message-mode frame and a write for each record, as Docker's driver does.
    Lines,
    /// Message mode, written in pieces of 16 KiB.
    Chunks,
    /// PackedForward chunks of about 64 KiB.
    Packed,
    /// The same, asking for acks.
    Acked,
    /// Chunks of about 4 KiB, asking for acks.
    SmallAcked,
}

impl Shape {
    /// A write has at least so many bytes.
    fn write_size(self) -> usize {
        match self {
            Self::Lines => 1,
            Self::Chunks => 16 << 10,
            Self::Packed | Self::Acked => 64 << 10,
            Self::SmallAcked => 4 << 10,
        }
    }

    /// Whether each chunk asks for an ack.
    fn is_acked(self) -> bool {
        matches!(self, Self::Acked | Self::SmallAcked)
    }
}

/// Frames ready to be sent.
pub(crate) struct Load {
    shape: Shape,
    /// One write each.
    pub(crate) frames: Vec<Vec<u8>>,
    /// Records in each of the frames.
    counts: Vec<u64>,
    /// Records in all frames.
    pub(crate) records: u64,
    /// Bytes of log text in all frames.
    pub(crate) text_bytes: u64,
}

impl Load {
    /// Builds the frames.
    pub(crate) fn generate(shape: Shape) -> Self {
        let mut rng = fastrand::Rng::with_seed(7);
        let (mut frames, mut counts, mut open) = (Vec::new(), Vec::new(), Vec::new());
        let (mut text_bytes, mut in_open) = (0, 0);
        for n in 0..RECORDS {
            let line = line(&mut rng, n);
            text_bytes += line.len() as u64;
            let record = record(&line);
            in_open += 1;
            match shape {
                Shape::Lines => open = message(&record),
                Shape::Chunks => open.extend(message(&record)),
                Shape::Packed | Shape::Acked | Shape::SmallAcked => open.extend(entry(&record)),
            }
            if open.len() >= shape.write_size() {
                frames.push(close(shape, std::mem::take(&mut open), frames.len()));
                counts.push(std::mem::take(&mut in_open));
            }
        }
        if !open.is_empty() {
            frames.push(close(shape, open, frames.len()));
            counts.push(in_open);
        }
        Self { shape, frames, counts, records: RECORDS, text_bytes }
    }

    /// Records in the first `frames` frames, sent over and over.
    pub(crate) fn records_in(&self, frames: u64) -> u64 {
        self.counts.iter().cycle().zip(0..frames).map(|(count, _)| count).sum()
    }

    /// Writes every frame so often, and comes back when all acks that were asked for are there.
    pub(crate) fn send(&self, socket: &mut UnixStream, rounds: u64) {
        let acks = if self.shape.is_acked() { self.frames.len() as u64 * rounds } else { 0 };
        let mut reader = socket.try_clone().expect("a socket can be cloned");
        let reading = std::thread::spawn(move || {
            let mut answers = (&mut reader).take(acks * ack(0).len() as u64);
            std::io::copy(&mut answers, &mut std::io::sink()).expect("the router acks")
        });
        for frame in (0..rounds).flat_map(|_| &self.frames) {
            socket.write_all(frame).expect("the router reads");
        }
        let read = reading.join().expect("the reader does not panic");
        assert_eq!(read, acks * ack(0).len() as u64, "every chunk is acked");
    }

    /// Sends frames on a schedule and measures each ack from its frame's due time, in microseconds.
    pub(crate) fn ack_latencies(&self, socket: &mut UnixStream, every: Duration, time: Duration) -> Histogram<u64> {
        let mut reader = socket.try_clone().expect("a socket can be cloned");
        // Whole rounds: frames differ in their number of records.
        let round = self.frames.len() as u32;
        let total = ((time.as_secs_f64() / every.as_secs_f64()) as u32).div_ceil(round) * round;
        let ack_len = ack(0).len();
        let start = Instant::now();
        let acks = std::thread::spawn(move || {
            let mut latencies = Histogram::new(3).expect("three digits are legal");
            let mut answer = vec![0; ack_len];
            for n in 0..total {
                reader.read_exact(&mut answer).expect("the router acks");
                let late = start.elapsed().saturating_sub(every * n);
                latencies.record(late.as_micros() as u64).expect("an auto-resizing histogram takes all");
            }
            latencies
        });
        for n in 0..total {
            let due = every * n;
            if let Some(wait) = due.checked_sub(start.elapsed()) {
                std::thread::sleep(wait);
            }
            let frame = &self.frames[n as usize % self.frames.len()];
            socket.write_all(frame).expect("the router reads");
        }
        acks.join().expect("the reader does not panic")
    }
}

/// A JSON line as a web service writes it.
fn line(rng: &mut fastrand::Rng, n: u64) -> String {
    const PATHS: [&str; 6] =
        ["/api/v1/orders", "/api/v1/orders/items", "/healthz", "/api/v2/customers", "/static/app.js", "/api/v1/search"];
    const WORDS: [&str; 8] = ["accepted", "queued", "cached", "retried", "expired", "loaded", "merged", "skipped"];
    let level = match rng.u8(..100) {
        0..85 => "INFO",
        85..95 => "WARN",
        _ => "ERROR",
    };
    let (path, a, b) =
        (rng.choice(PATHS).unwrap_or("/"), rng.choice(WORDS).unwrap_or(""), rng.choice(WORDS).unwrap_or(""));
    format!(
        r#"{{"time":"2026-11-23T10:{:02}:{:02}.{:06}Z","level":"{level}","logger":"com.example.http.Access","thread":"worker-{}","trace_id":"{:032x}","method":"GET","path":"{path}/{}","status":{},"duration_ms":{}.{:03},"bytes":{},"client":"10.{}.{}.{}","message":"request {a} then {b}","sequence":{n}}}"#,
        rng.u8(..60),
        rng.u8(..60),
        rng.u32(..1_000_000),
        rng.u8(..16),
        rng.u128(..),
        rng.u32(..100_000),
        rng.choice([200, 200, 200, 204, 301, 404, 500]).unwrap_or(200),
        rng.u16(..900),
        rng.u16(..1000),
        rng.u32(..65_536),
        rng.u8(..),
        rng.u8(..),
        rng.u8(..),
    )
}

/// The map that Docker's driver sends.
fn record(line: &str) -> Vec<u8> {
    let mut map = Vec::new();
    write::map(&mut map, 4);
    for (key, value) in [
        ("container_id", "5f0c2b8d1e6a4f7c9b3d2e1f0a8c7b6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b"),
        ("container_name", "/ecs-web-42-app-d0c1b2a3f4e5d6c7b801"),
        ("source", "stdout"),
        ("log", line),
    ] {
        write::str(&mut map, key.as_bytes());
        write::str(&mut map, value.as_bytes());
    }
    map
}

const TAG: &[u8] = b"app-firelens-0123456789abcdef0123456789abcdef";

fn event_time(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd7, 0x00]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    out.extend_from_slice(&(now.as_secs() as u32).to_be_bytes());
    out.extend_from_slice(&now.subsec_nanos().to_be_bytes());
}

fn message(record: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write::array(&mut frame, 4);
    write::str(&mut frame, TAG);
    event_time(&mut frame);
    frame.extend_from_slice(record);
    write::map(&mut frame, 0);
    frame
}

fn entry(record: &[u8]) -> Vec<u8> {
    let mut entry = Vec::new();
    write::array(&mut entry, 2);
    event_time(&mut entry);
    entry.extend_from_slice(record);
    entry
}

/// The token of chunk `n`: as long for each, so that acks can be counted by bytes.
fn token(n: usize) -> String {
    format!("{n:016x}")
}

fn ack(n: usize) -> Vec<u8> {
    let mut ack = Vec::new();
    write::map(&mut ack, 1);
    write::str(&mut ack, b"ack");
    write::str(&mut ack, token(n).as_bytes());
    ack
}

fn close(shape: Shape, body: Vec<u8>, n: usize) -> Vec<u8> {
    if matches!(shape, Shape::Lines | Shape::Chunks) {
        return body;
    }
    let mut frame = Vec::new();
    write::array(&mut frame, 3);
    write::str(&mut frame, TAG);
    write::str(&mut frame, &body);
    if shape.is_acked() {
        write::map(&mut frame, 1);
        write::str(&mut frame, b"chunk");
        write::str(&mut frame, token(n).as_bytes());
    } else {
        write::map(&mut frame, 0);
    }
    frame
}
