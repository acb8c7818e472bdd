//! Simulated containers: their lines as Docker's fluentd driver writes them, one Message-mode frame a line, a long line
//! in parts of 16 KiB.

use std::fmt::Write;

use crate::record::UnixNanos;
use crate::record::msgpack::write;

/// Docker cuts lines here.
const PART: usize = 16 << 10;

/// A container that writes lines.
#[derive(Debug)]
pub(super) struct Container {
    name: &'static str,
    id: String,
    tag: String,
    speech: Speech,
    /// Lines in a second.
    pub(super) rate: u64,
    rng: fastrand::Rng,
    written: u64,
    line: String,
}

/// How a container's lines look.
#[derive(Clone, Copy, Debug)]
enum Speech {
    /// JSON, one object a request; a load balancer asks for `/healthz`.
    Web,
    /// JSON with numeric levels and, for errors, a stack.
    Api,
    /// Text with the level as a word.
    Worker,
    /// Text, now and then a line of 40 KB.
    Billing,
}

/// The containers of one task. Equal seeds write equal lines.
pub(super) fn containers(seed: u64) -> Vec<Container> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let task = format!("{:032x}", rng.u128(..));
    let kinds = [
        ("web", Speech::Web, 3000),
        ("api", Speech::Api, 1500),
        ("worker", Speech::Worker, 800),
        ("billing", Speech::Billing, 300),
    ];
    kinds
        .into_iter()
        .map(|(name, speech, rate)| Container {
            name,
            id: format!("{:032x}{:032x}", rng.u128(..), rng.u128(..)),
            tag: format!("{name}-firelens-{task}"),
            speech,
            rate,
            rng: rng.fork(),
            written: 0,
            line: String::new(),
        })
        .collect()
}

impl Container {
    /// Its name, as in the tag.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Appends the frames of its next line.
    pub(super) fn speak(&mut self, now: UnixNanos, out: &mut Vec<u8>) {
        self.written += 1;
        self.line.clear();
        let mut line = std::mem::take(&mut self.line);
        // Writing into a String cannot fail.
        let _ = match self.speech {
            Speech::Web => self.web(&mut line),
            Speech::Api => self.api(&mut line),
            Speech::Worker => self.worker(&mut line),
            Speech::Billing => self.billing(&mut line),
        };
        self.frames(line.as_bytes(), now, out);
        self.line = line;
    }

    fn web(&mut self, line: &mut String) -> std::fmt::Result {
        let (n, rng) = (self.written, &mut self.rng);
        if n.is_multiple_of(10) {
            let ms = rng.u8(0..3);
            return write!(line, r#"{{"method":"GET","path":"/healthz","status":200,"ms":{ms}}}"#);
        }
        let (level, status) = match rng.u16(0..1000) {
            0..4 => ("error", 502),
            4..10 => ("warn", 429),
            10..60 => ("info", 404),
            _ => ("info", 200),
        };
        let method = if rng.u8(0..5) == 0 { "POST" } else { "GET" };
        let path = ["/", "/cart", "/search", "/checkout", "/products"][rng.usize(0..5)];
        let (product, ms, bytes, client) = (rng.u32(..9000), rng.u32(1..900), rng.u32(200..90_000), rng.u16(..));
        write!(
            line,
            r#"{{"level":"{level}","method":"{method}","path":"{path}","query":"id={product}","status":{status},"ms":{ms},"bytes":{bytes},"client":"10.0.{}.{}","request":"{:016x}","agent":"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}}"#,
            client >> 8,
            client & 255,
            rng.u64(..),
        )
    }

    fn api(&mut self, line: &mut String) -> std::fmt::Result {
        let (n, rng) = (self.written, &mut self.rng);
        let (user, ms) = (rng.u32(..50_000), rng.u32(1..400));
        match rng.u16(0..1000) {
            0..5 => write!(
                line,
                r#"{{"level":50,"seq":{n},"msg":"payment declined","user":{user},"err":{{"type":"GatewayError","code":"card_declined","stack":"GatewayError: card_declined\n    at charge (/app/pay.js:88:11)\n    at async Order.place (/app/order.js:41:5)"}}}}"#
            ),
            5..15 => write!(line, r#"{{"level":40,"seq":{n},"msg":"slow query","user":{user},"ms":{}}}"#, ms + 1000),
            _ => write!(
                line,
                r#"{{"level":30,"seq":{n},"msg":"order placed","user":{user},"items":{},"total":{}.{:02},"ms":{ms},"trace":"{:032x}"}}"#,
                rng.u8(1..9),
                rng.u16(5..500),
                rng.u8(0..100),
                rng.u128(..),
            ),
        }
    }

    fn worker(&mut self, line: &mut String) -> std::fmt::Result {
        let (n, rng) = (self.written, &mut self.rng);
        match rng.u16(0..1000) {
            0..4 => write!(line, "ERROR job {n} failed after 3 attempts: connection to redis:6379 refused"),
            4..12 => write!(line, "WARN job {n} took {} s, retrying its upload", rng.u8(30..200)),
            _ => {
                let queue = ["mail", "thumbnails", "export"][rng.usize(0..3)];
                let (ms, bytes) = (rng.u16(3..3000), rng.u32(..2_000_000));
                write!(line, "INFO job {n} done queue={queue} ms={ms} bytes={bytes} worker=pool-{}", rng.u8(0..8))
            }
        }
    }

    fn billing(&mut self, line: &mut String) -> std::fmt::Result {
        let (n, rng) = (self.written, &mut self.rng);
        if n.is_multiple_of(250) {
            write!(line, "INFO statement {n} rendered:")?;
            while line.len() < 40_000 {
                write!(line, " [item {:08} amount {}.{:02}]", rng.u32(..90_000_000), rng.u16(1..900), rng.u8(0..100))?;
            }
            return Ok(());
        }
        let (id, rows, ms) = (rng.u64(..), rng.u16(1..400), rng.u16(1..90));
        write!(
            line,
            "INFO com.example.billing.Ledger - posted invoice={id:016x} rows={rows} elapsed={ms}ms thread=main-{}",
            n % 16
        )
    }

    /// A line as one frame, or as several when it is longer than Docker's buffer.
    fn frames(&mut self, line: &[u8], now: UnixNanos, out: &mut Vec<u8>) {
        if line.len() < PART {
            return self.frame(line, now, None, out);
        }
        let id = format!("{:032x}{:032x}", self.rng.u128(..), self.rng.u128(..));
        let parts = line.chunks(PART);
        let last = parts.len();
        for (ordinal, part) in (1..).zip(parts) {
            self.frame(part, now, Some((&id, ordinal, ordinal == last)), out);
        }
    }

    /// `[tag, EventTime, {container_id, container_name, source, log, …}, {}]`.
    fn frame(&self, log: &[u8], now: UnixNanos, part: Option<(&str, usize, bool)>, out: &mut Vec<u8>) {
        write::array(out, 4);
        write::str(out, self.tag.as_bytes());
        write::event_time(out, now);
        write::map(out, if part.is_some() { 8 } else { 4 });
        let container = format!("/ecs-shop-7-{}", self.name);
        let mut field = |key: &str, value: &[u8]| {
            write::str(out, key.as_bytes());
            write::str(out, value);
        };
        field("container_id", self.id.as_bytes());
        field("container_name", container.as_bytes());
        field("source", b"stdout");
        field("log", log);
        if let Some((id, ordinal, last)) = part {
            field("partial_message", b"true");
            field("partial_id", id.as_bytes());
            field("partial_ordinal", ordinal.to_string().as_bytes());
            field("partial_last", if last { b"true" } else { b"false" });
        }
        write::map(out, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames of a container's next `n` lines, read by a reference parser.
    fn frames(container: &mut Container, n: usize) -> Vec<Vec<rmpv::Value>> {
        let mut out = Vec::new();
        (0..n).for_each(|_| container.speak(1_763_901_120_123_456_789, &mut out));
        let (mut rest, mut frames) = (&out[..], Vec::new());
        while !rest.is_empty() {
            let value = rmpv::decode::read_value(&mut rest).expect("whole frames");
            frames.push(value.as_array().expect("a frame is an array").clone());
        }
        frames
    }

    fn field<'a>(frame: &'a [rmpv::Value], key: &str) -> Option<&'a str> {
        frame[2].as_map()?.iter().find(|(name, _)| name.as_str() == Some(key)).and_then(|(_, value)| value.as_str())
    }

    #[test]
    fn every_container_writes_frames_as_docker_does() {
        for mut container in containers(1) {
            for frame in frames(&mut container, 300) {
                assert_eq!(frame.len(), 4);
                assert!(frame[0].as_str().is_some_and(|tag| tag.starts_with(&format!("{}-firelens-", container.name))));
                assert_eq!(frame[1].as_ext().map(|(kind, time)| (kind, time.len())), Some((0, 8)));
                assert!(field(&frame, "log").is_some_and(|log| !log.is_empty() && log.len() <= PART));
            }
        }
    }

    #[test]
    fn the_lines_hold_what_the_rules_look_for() {
        let mut all = containers(1);
        let mut logs = |at: usize| -> Vec<String> {
            frames(&mut all[at], 2000).iter().filter_map(|frame| field(frame, "log").map(str::to_owned)).collect()
        };
        let web = logs(0);
        assert_eq!(web.iter().filter(|log| log.contains("/healthz")).count(), 200);
        assert!(web.iter().any(|log| log.contains(r#""level":"error""#)));
        assert!(web.iter().chain(&logs(1)).all(|log| serde_json::from_str::<serde_json::Value>(log).is_ok()));
        assert!(logs(2).iter().any(|log| log.starts_with("ERROR ")));
    }

    #[test]
    fn a_long_line_comes_in_parts_of_16_kib() {
        let mut billing = containers(1).remove(3);
        let frames = frames(&mut billing, 250);
        let parts: Vec<_> = frames.iter().filter(|frame| field(frame, "partial_id").is_some()).collect();
        let last: Vec<_> = parts.iter().filter_map(|frame| field(frame, "partial_last")).collect();
        assert_eq!(last, ["false", "false", "true"]);
        assert_eq!(field(parts[0], "log").map(str::len), Some(PART));
    }
}
