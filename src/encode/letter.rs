//! A dead letter: one line of NDJSON that holds what could not be delivered, byte for byte, with why, when and whence.
//!
//! Its keys, in this order; what is not known is left out:
//! - `time`: when it was given up; `reason`: as the ledger counts it;
//! - `sink`, or `source` for what came in and could not be read; `log_group` and `log_stream`, `prefix`, or `peer`;
//! - `record_time`: the record's own, where it does not stand in the data;
//! - `encoding`: `utf8`, or `base64` if the bytes are no UTF-8; `data`: the bytes;
//! - `data_len`: how many there were, when `data` is only their beginning.

use super::escape;
use super::timestamp::Rfc3339;
use crate::record::UnixNanos;

/// Where the letters of one writer come from.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A sink's log stream.
    Stream {
        /// Log group.
        group: &'a str,
        /// Log stream.
        stream: &'a str,
    },
    /// A sink's prefix.
    Prefix(&'a str),
    /// A source's peer; empty where it is not known.
    Peer(&'a str),
}

/// What could not be delivered.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// Why.
    pub reason: &'static str,
    /// The record's time.
    pub record_time: Option<UnixNanos>,
    /// What the ledger counts for it beside one record.
    pub bytes: u64,
    /// What would have been delivered, or could not be read.
    pub data: Data<'a>,
}

/// The bytes of a letter.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// All of them.
    Whole(&'a [u8]),
    /// The beginning of so many.
    Beginning(&'a [u8], u64),
    /// UTF-8 as the inside of a JSON string, in pieces.
    Escaped(&'a [&'a [u8]]),
}

/// Appends the line of a letter from the sink or source `name`, given up at `time`.
pub fn write(letter: &Letter<'_>, name: &str, origin: Origin<'_>, time: UnixNanos, out: &mut Vec<u8>) {
    let mut times = Rfc3339::default();
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(times.text(time));
    out.push(b'"');
    member("reason", letter.reason, out);
    match origin {
        Origin::Stream { group, stream } => {
            member("sink", name, out);
            member("log_group", group, out);
            member("log_stream", stream, out);
        }
        Origin::Prefix(prefix) => {
            member("sink", name, out);
            member("prefix", prefix, out);
        }
        Origin::Peer(peer) => {
            member("source", name, out);
            if !peer.is_empty() {
                member("peer", peer, out);
            }
        }
    }
    if let Some(time) = letter.record_time {
        out.extend_from_slice(b",\"record_time\":\"");
        out.extend_from_slice(times.text(time));
        out.push(b'"');
    }
    match letter.data {
        Data::Whole(bytes) => data(bytes, out),
        Data::Beginning(bytes, all) => {
            data(bytes, out);
            out.extend_from_slice(b",\"data_len\":");
            out.extend_from_slice(itoa::Buffer::new().format(all).as_bytes());
        }
        Data::Escaped(pieces) => {
            out.extend_from_slice(b",\"encoding\":\"utf8\",\"data\":\"");
            pieces.iter().for_each(|piece| out.extend_from_slice(piece));
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"}\n");
}

fn member(key: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":\"");
    escape::utf8(value.as_bytes(), out);
    out.push(b'"');
}

fn data(bytes: &[u8], out: &mut Vec<u8>) {
    if std::str::from_utf8(bytes).is_ok() {
        out.extend_from_slice(b",\"encoding\":\"utf8\",\"data\":\"");
        escape::utf8(bytes, out);
    } else {
        out.extend_from_slice(b",\"encoding\":\"base64\",\"data\":\"");
        escape::base64(bytes, out);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(data: Data<'_>, record_time: Option<UnixNanos>, origin: Origin<'_>) -> Value {
        let mut out = Vec::new();
        write(&Letter { reason: "too_old", record_time, bytes: 0, data }, "n", origin, 1, &mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&out).expect("a line of JSON")
    }

    #[test]
    fn a_line_says_what_why_when_and_whence() {
        let stream = Origin::Stream { group: "/ecs/\"a", stream: "a/1" };
        assert_eq!(
            line(Data::Escaped(&[b"a\\n", b"\\\"b"]), Some(2_000_000_000), stream),
            json!({"time": "1970-01-01T00:00:00.000000001Z", "reason": "too_old", "sink": "n", "log_group": "/ecs/\"a",
                   "log_stream": "a/1", "record_time": "1970-01-01T00:00:02.000000000Z", "encoding": "utf8",
                   "data": "a\n\"b"})
        );
        assert_eq!(
            line(Data::Whole(b"{\"a\":\"\xc3\xbc\"}"), None, Origin::Prefix("logs/")),
            json!({"time": "1970-01-01T00:00:00.000000001Z", "reason": "too_old", "sink": "n", "prefix": "logs/",
                   "encoding": "utf8", "data": "{\"a\":\"ü\"}"})
        );
        assert_eq!(
            line(Data::Beginning(b"\x93\xff", 70_000), None, Origin::Peer("10.0.0.1:4")),
            json!({"time": "1970-01-01T00:00:00.000000001Z", "reason": "too_old", "source": "n", "peer": "10.0.0.1:4",
                   "encoding": "base64", "data": "k/8=", "data_len": 70_000})
        );
    }
}
