//! A web service that logs JSON: access lines, and messages of the application.

use std::fmt::Write;

use super::words::Words;

/// One line; `wide` adds what larger services log with each.
pub(super) fn line(words: &mut Words, out: &mut String, alert: bool, mark: &str, wide: bool) {
    begin(words, out, alert, mark);
    let (trace, span) = (words.rng.u128(..), words.rng.u64(..));
    let _ = write!(
        out,
        r#","service":"shop-api","version":"2.31.4","trace_id":"{trace:032x}","span_id":"{span:016x}","thread":"worker-{}""#,
        words.rng.u8(..24)
    );
    if words.rng.u8(..10) < 6 {
        access(words, out, alert);
    } else {
        application(words, out);
    }
    if wide {
        let agent = words.agents.pick(&mut words.rng);
        let _ = write!(out, r#","user_agent":"{agent}","labels":{{"team":""#);
        out.push_str(words.word());
        let _ = write!(out, r#"","build":"{:07x}""#, 0xa3f_29c1 + u32::from(words.rng.u8(..3)) * 977);
        let _ = write!(out, r#","az":"{}"}}"#, ["1a", "1c", "1d"][words.rng.usize(..3)]);
        let _ = write!(out, r#","referer":"https://www.example.com"#);
        words.path(out);
        out.push('"');
    }
    out.push('}');
}

/// A line with a document in it, about 40 KB: a part of Docker's has 16 KiB.
pub(super) fn long_line(words: &mut Words, out: &mut String, alert: bool, mark: &str) {
    let end = out.len() + words.rng.usize(34 << 10..46 << 10);
    begin(words, out, alert, mark);
    out.push_str(r#","message":"batch of documents","documents":["#);
    while out.len() < end {
        let (id, price) = (words.rng.u32(..), words.rng.u32(100..90_000));
        let _ = write!(out, r#"{{"id":"{id:08x}","user":"u{}","price":{price},"note":""#, words.user());
        words.message(out);
        let _ = write!(out, r#"","took_ms":{}}},"#, words.millis());
    }
    out.pop();
    let _ = write!(out, r#"],"end":"{mark}"}}"#);
}

/// What all lines begin with.
fn begin(words: &mut Words, out: &mut String, alert: bool, mark: &str) {
    let level = match (alert, words.rng.u8(..3)) {
        (true, 0) => "ERROR",
        (true, _) => "WARN",
        (false, 0) if words.rng.u8(..8) == 0 => "DEBUG",
        (false, _) => "INFO",
    };
    let (hour, minute, second, micros) = words.time();
    let logger = words.loggers.pick(&mut words.rng);
    let _ = write!(
        out,
        r#"{{"time":"2026-11-23T{hour:02}:{minute:02}:{second:02}.{micros:06}Z","level":"{level}","logger":"{logger}","request_id":"{mark}""#
    );
}

fn access(words: &mut Words, out: &mut String, alert: bool) {
    let (method, status, took) = (words.method(), words.status(alert), words.millis());
    let _ = write!(out, r#","method":"{method}","path":""#);
    words.path(out);
    let (bytes, micros) = (words.rng.u32(..) >> words.rng.u32(12..24), words.rng.u16(..1000));
    let client = words.clients.pick(&mut words.rng);
    let _ = write!(out, r#"","status":{status},"duration_ms":{took}.{micros:03},"bytes":{bytes},"client":"{client}""#);
    let _ = write!(out, r#","user":"u{}""#, words.user());
}

fn application(words: &mut Words, out: &mut String) {
    let _ = write!(out, r#","message":""#);
    words.message(out);
    out.push('"');
    if words.rng.bool() {
        let _ = write!(out, r#","order":{},"user":"u{}""#, words.rng.u32(40_000_000..90_000_000), words.user());
    }
}
