//! A user's logs as the batches that a source would hand on: files of lines, of JSON records or of Forward frames, told
//! apart by their content, compressed or not.
//!
//! A line becomes the record that Docker's driver would send, in parts of 16 KiB if it is long. A record that logweir
//! wrote (`time`, `tag`) gets its time and tag back, and the text of `log` if that was nested. What has no time of its
//! own came a millisecond after the one before it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use clap::ValueEnum;
use fastrand::Rng;
use serde_json::{Map, Value};

use crate::cli::record_json;
use crate::config::value::{Size, parse_time};
use crate::record::{RecordBatch, RecordSpan, Tag, Tickets, UnixNanos};
use crate::source::forward::frame::{Found, Frames};

/// All files together, inflated: more tells little more.
pub(super) const MOST: Size = Size::mib(64);

/// Docker cuts longer lines.
const PART: usize = 16 << 10;

/// Records of a batch.
const BATCH: usize = 1024;

/// Bytes from the beginning that tell a text from what is none.
const LOOK: usize = 64 << 10;

/// The largest frame, and what a compressed one may inflate to, as sources have it by default.
const FRAME: [u64; 2] = [8 << 20, 64 << 20];

const MILLISECOND: i64 = 1_000_000;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A line is the text that an application wrote, JSON or not.
    Lines,
    /// A line is a record as JSON, its text under `log`.
    Records,
    /// Frames of the Forward protocol, as `logweir record` writes them.
    Forward,
}

impl Form {
    /// How it is spoken of.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Records => "records",
            Self::Forward => "a Forward capture",
        }
    }
}

/// Where records come from that do not say so.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) tag: String,
    /// Bare name, without Docker's slash.
    pub(super) container: String,
    /// The time of the first.
    pub(super) first: UnixNanos,
}

/// A sample that was read.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) batches: Vec<RecordBatch>,
    /// By file: its name and what it holds.
    pub(super) files: Vec<(String, Form)>,
    /// There was more than [`MOST`].
    pub(super) is_cut: bool,
}

/// Reads files, `-` for standard input.
pub(super) fn read(paths: &[PathBuf], form: Option<Form>, origin: &Origin) -> Result<Sample, String> {
    let mut sample = Sample::default();
    let mut left = MOST.0;
    for path in paths {
        let name = path.display().to_string();
        let bytes = load(path, left + 1).map_err(|error| format!("--sample: cannot read {name}: {error}"))?;
        sample.is_cut |= bytes.len() as u64 > left;
        left = left.saturating_sub(bytes.len() as u64);
        let form = form.map_or_else(|| detect(&bytes), Ok).map_err(|error| format!("--sample: {name} {error}"))?;
        let batches = match form {
            Form::Lines => lines(&bytes, origin),
            Form::Records => records(&bytes, origin, sample.is_cut),
            Form::Forward => frames(&bytes, origin, sample.is_cut),
        };
        sample.batches.extend(batches.map_err(|error| format!("--sample: {name}{error}"))?);
        sample.files.push((name, form));
        if sample.is_cut {
            break;
        }
    }
    if sample.batches.is_empty() {
        return Err("--sample: there is no record in it; give some minutes of real logs".into());
    }
    Ok(sample)
}

/// At most so many bytes of a file, inflated.
fn load(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file: Box<dyn io::BufRead> = match path.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(io::BufReader::new(std::fs::File::open(path)?)),
    };
    let mut bytes = Vec::new();
    match file.fill_buf()? {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            zstd::stream::read::Decoder::with_buffer(file)?.take(most).read_to_end(&mut bytes)
        }
        [0x1f, 0x8b, ..] => flate2::bufread::MultiGzDecoder::new(file).take(most).read_to_end(&mut bytes),
        _ => file.take(most).read_to_end(&mut bytes),
    }?;
    Ok(bytes)
}

/// What is said of records behind something else.
const CUT: &str = "begins with a line that is no record with a `log`, while others are; cut it off, or say with --format \
                   whether these are records or lines";

/// What the bytes are, or why they are no log.
fn detect(bytes: &[u8]) -> Result<Form, String> {
    let look = &bytes[..bytes.len().min(LOOK)];
    match look {
        [] => return Err("is empty".into()),
        // An array, which no UTF-8 begins with.
        [0x90..=0x9f, ..] | [0xdc | 0xdd, 0, ..] => return Ok(Form::Forward),
        _ if look.contains(&0) => return Err(
            "is no log: it holds zero bytes; accepted are lines of text, JSON records and Forward captures, as they \
                        are or compressed with gzip or zstd"
                .into(),
        ),
        _ => {}
    }
    let mut lines = look.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let line = lines.next().ok_or("has only blank lines")?;
    if line.trim_ascii_start().starts_with(b"[{") || line.trim_ascii() == b"[" {
        return Err("is a JSON array; accepted are records one a line, as `jq -c '.[]'` writes them".into());
    }
    let is_record =
        |line: &[u8]| serde_json::from_slice::<Map<String, Value>>(line).is_ok_and(|map| map.contains_key("log"));
    match is_record(line) {
        true => Ok(Form::Records),
        // The end of a line that was rotated away, for example: taken for text, each record would be billed as one.
        false if lines.any(is_record) => Err(CUT.into()),
        false => Ok(Form::Lines),
    }
}

/// Records as they are put together: batches of one tag.
struct Batches {
    tag: Tag,
    data: Vec<u8>,
    records: Vec<RecordSpan>,
    done: Vec<RecordBatch>,
    received: UnixNanos,
}

impl Batches {
    fn new(origin: &Origin) -> Self {
        let tag = Tag::from(origin.tag.as_str());
        Self { tag, data: Vec::new(), records: Vec::new(), done: Vec::new(), received: origin.first }
    }

    fn add(&mut self, tag: &str, time: UnixNanos, map: &Map<String, Value>) {
        if self.tag.as_str() != tag || self.records.len() >= BATCH {
            self.close();
            self.tag = Tag::from(tag);
        }
        let start = self.data.len();
        record_json::write_map(map, &mut self.data);
        // A batch is far below 4 GiB: all the sample is.
        let len = (self.data.len() - start) as u32;
        self.records.push(RecordSpan { time, start: start as u32, len });
    }

    fn close(&mut self) {
        if !self.records.is_empty() {
            let (records, data) = (std::mem::take(&mut self.records), Bytes::from(std::mem::take(&mut self.data)));
            let (tag, received) = (self.tag.clone(), self.received);
            self.done.push(RecordBatch { tag, data, records, received, tickets: Tickets::none() });
        }
    }

    fn finish(mut self) -> Vec<RecordBatch> {
        self.close();
        self.done
    }
}

/// Times for what has none: a millisecond apart, with digits as a clock has them.
struct Times(UnixNanos, Rng);

impl Times {
    fn new(origin: &Origin) -> Self {
        // Always the same digits.
        Self(origin.first, Rng::with_seed(0))
    }

    fn next(&mut self) -> UnixNanos {
        self.0 += MILLISECOND;
        self.0 + self.1.i64(0..MILLISECOND)
    }
}

fn text_lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    (1..).zip(lines).filter(|(_, line)| !line.trim_ascii().is_empty())
}

/// Lines as Docker's driver sends them.
fn lines(bytes: &[u8], origin: &Origin) -> Result<Vec<RecordBatch>, String> {
    let (mut batches, mut times) = (Batches::new(origin), Times::new(origin));
    let mut id = Rng::with_seed(1);
    let container_id = format!("{:032x}{:032x}", id.u128(..), id.u128(..));
    let container_name = format!("/ecs-{0}-1-{0}-{1:020x}", origin.container, id.u64(..));
    for (_, line) in text_lines(bytes) {
        let time = times.next();
        let mut record = Map::new();
        record.insert("container_id".into(), container_id.as_str().into());
        record.insert("container_name".into(), container_name.as_str().into());
        record.insert("source".into(), "stdout".into());
        let line = String::from_utf8_lossy(line);
        if line.len() < PART {
            record.insert("log".into(), line.into());
            batches.add(&origin.tag, time, &record);
            continue;
        }
        record.insert("partial_message".into(), "true".into());
        record.insert("partial_id".into(), format!("{:032x}{:032x}", id.u128(..), id.u128(..)).into());
        let mut rest = &*line;
        for ordinal in 1.. {
            let (part, after) = rest.split_at(rest.floor_char_boundary(PART));
            rest = after;
            record.insert("log".into(), part.into());
            record.insert("partial_ordinal".into(), ordinal.to_string().into());
            record.insert("partial_last".into(), if rest.is_empty() { "true" } else { "false" }.into());
            batches.add(&origin.tag, time, &record);
            if rest.is_empty() {
                break;
            }
        }
    }
    Ok(batches.finish())
}

/// Records as JSON; of a file that was cut, the last line is left out.
fn records(bytes: &[u8], origin: &Origin, is_cut: bool) -> Result<Vec<RecordBatch>, String> {
    let (mut batches, mut times) = (Batches::new(origin), Times::new(origin));
    let mut lines = text_lines(bytes).peekable();
    while let Some((number, line)) = lines.next() {
        let mut record: Map<String, Value> = match serde_json::from_slice(line) {
            Ok(record) => record,
            Err(_) if is_cut && lines.peek().is_none() => break,
            Err(error) => {
                return Err(format!(":{number}: no JSON object ({error}); `--format lines` takes each line as a text"));
            }
        };
        let time = record.get("time").and_then(Value::as_str).and_then(|time| parse_time(time).ok());
        let tag = record.get("tag").and_then(Value::as_str).map(str::to_owned);
        match (time, tag) {
            (Some(time), Some(tag)) => {
                record.shift_remove("time");
                record.shift_remove("tag");
                if let Some(log @ Value::Object(_)) = record.get_mut("log") {
                    *log = log.to_string().into();
                }
                batches.add(&tag, time, &record);
            }
            _ => batches.add(&origin.tag, times.next(), &record),
        }
    }
    Ok(batches.finish())
}

/// Frames; of a file that was cut, the last one is left out.
fn frames(bytes: &[u8], origin: &Origin, is_cut: bool) -> Result<Vec<RecordBatch>, String> {
    let (mut frames, mut buf) = (Frames::new(FRAME[0], FRAME[1]), BytesMut::from(bytes));
    let mut batches = Vec::new();
    loop {
        match frames.next(&mut buf, origin.first) {
            Ok(Some(Found::Records(batch))) => batches.push(batch),
            Ok(Some(Found::Chunk(_) | Found::Grow(_) | Found::End)) => {}
            Ok(None) if frames.is_partial(&buf) && !is_cut => {
                return Err(format!(": the last {} bytes are no whole frame; was the recording cut off?", buf.len()));
            }
            Ok(None) => return Ok(batches),
            Err(error) => {
                let at = bytes.len() - buf.len();
                return Err(format!(": no Forward frame at byte {at}: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::msgpack::write;

    fn origin() -> Origin {
        Origin { tag: "app-firelens-0123".into(), container: "app".into(), first: 1_795_343_400_000_000_000 }
    }

    fn parse(bytes: &[u8]) -> Result<(Form, Vec<RecordBatch>), String> {
        let form = detect(bytes)?;
        let batches = match form {
            Form::Lines => lines(bytes, &origin()),
            Form::Records => records(bytes, &origin(), false),
            Form::Forward => frames(bytes, &origin(), false),
        };
        Ok((form, batches?))
    }

    fn maps(batches: &[RecordBatch]) -> Vec<(String, i64, rmpv::Value)> {
        let of = |batch: &RecordBatch| {
            assert!(batch.is_sound());
            let read = |span: &RecordSpan| {
                let value = rmpv::decode::read_value(&mut batch.map(*span)).expect("msgpack");
                (batch.tag.as_str().to_owned(), span.time, value)
            };
            batch.records.iter().map(read).collect::<Vec<_>>()
        };
        batches.iter().flat_map(of).collect()
    }

    #[test]
    fn lines_become_what_dockers_driver_sends() {
        let (form, batches) = parse(b"first\r\n\n{\"level\":\"error\"}\n").expect("lines");
        assert_eq!(form, Form::Lines);
        let found = maps(&batches);
        let logs: Vec<_> = found.iter().map(|(_, _, map)| map["log"].as_str().expect("text").to_owned()).collect();
        assert_eq!(logs, ["first", r#"{"level":"error"}"#]);
        assert!(found.iter().all(|(tag, time, map)| {
            tag == "app-firelens-0123"
                && *time > origin().first
                && map["container_name"].as_str().is_some_and(|name| name.starts_with("/ecs-app-1-app-"))
        }));
    }

    #[test]
    fn records_behind_a_line_that_was_cut_are_not_taken_for_text() {
        let error = parse(b"\"level\":\"info\"}\n{\"log\":\"a\"}\n{\"log\":\"b\"}\n").expect_err("neither");
        assert!(error.contains("begins with a line that is no record"), "{error}");
    }

    #[test]
    fn a_long_line_comes_in_parts() {
        let line = "ü".repeat(20_000);
        let found = maps(&lines(line.as_bytes(), &origin()).expect("lines"));
        let lens: Vec<_> = found.iter().map(|(_, _, map)| map["log"].as_str().expect("text").len()).collect();
        assert_eq!(lens, [16_384, 16_384, 7_232]);
        assert_eq!(found[2].2["partial_last"].as_str(), Some("true"));
    }

    #[test]
    fn records_of_logweir_get_their_time_tag_and_text_back() {
        let line =
            r#"{"time":"2026-11-22T10:30:00.000000001Z","tag":"web-firelens-9","source":"stdout","log":{"a":1}}"#;
        let (form, batches) = parse(line.as_bytes()).expect("records");
        assert_eq!(form, Form::Records);
        let (tag, time, map) = maps(&batches).remove(0);
        assert_eq!((tag.as_str(), time), ("web-firelens-9", 1_795_343_400_000_000_001));
        assert_eq!(map.to_string(), r#"{"source": "stdout", "log": "{\"a\":1}"}"#);
    }

    #[test]
    fn a_capture_is_read_back() {
        let mut capture = Vec::new();
        for second in 1..=2_u8 {
            write::array(&mut capture, 3);
            write::str(&mut capture, b"web");
            write::uint(&mut capture, second.into());
            write::map(&mut capture, 1);
            write::str(&mut capture, b"log");
            write::str(&mut capture, b"x");
        }
        let (form, batches) = parse(&capture).expect("frames");
        assert_eq!((form, maps(&batches).len()), (Form::Forward, 2));
        let cut = parse(&capture[..capture.len() - 1]).expect_err("cut");
        assert!(cut.contains("no whole frame"), "{cut}");
    }

    #[test]
    fn what_is_no_log_is_refused() {
        for (bytes, message) in [
            (&b""[..], "is empty"),
            (b"\n \n", "only blank lines"),
            (b"\x7fELF\x02\0\0", "is no log"),
            (b"{\"log\":\"a\"}\nb\n", ":2: no JSON object"),
            (b"\x93\x01\x02\x03", "no Forward frame at byte 0"),
        ] {
            let error = parse(bytes).expect_err(message);
            assert!(error.contains(message), "{error}");
        }
    }
}
