//! A JVM service: text as Logback writes it, and exceptions with their stack traces.
//!
//! A trace is a chain of calls that the service goes through often, with an exception of one of its places on top: the
//! same frames come again and again, in other orders and lengths.

use std::fmt::Write;

use super::words::{Words, Zipf, capitalised};

/// Frames of one trace, about so many bytes.
const TRACE: usize = 3600;

const LIBRARIES: [&str; 8] = [
    "org.springframework.web.servlet",
    "org.springframework.aop.framework",
    "org.apache.catalina.core",
    "org.hibernate.engine.internal",
    "com.zaxxer.hikari.pool",
    "io.netty.channel",
    "java.util.concurrent",
    "jdk.internal.reflect",
];

/// What traces are made of.
pub(super) struct Traces {
    exceptions: Vec<String>,
    /// Chains of frames that are always called one after the other.
    chains: Vec<Vec<String>>,
    law: Zipf,
}

impl Traces {
    pub(super) fn new(words: &mut Words) -> Self {
        let exceptions =
            (0..24).map(|_| format!("com.example.{}.{}Exception", words.word().to_owned(), capitalised(words.word())));
        let exceptions = exceptions.collect();
        let chains: Vec<Vec<String>> =
            (0..90).map(|_| (0..words.rng.usize(3..9)).map(|_| frame(words)).collect()).collect();
        Self { exceptions, law: Zipf::new(chains.len()), chains }
    }

    /// Writes a trace of about 4 KB, its lines parted by `newline`.
    fn write(&self, words: &mut Words, out: &mut String, newline: &str) {
        let end = out.len() + words.rng.usize(TRACE * 3 / 4..TRACE * 5 / 4);
        let mut cause = "";
        while out.len() < end {
            let exception = &self.exceptions[words.rng.usize(..self.exceptions.len())];
            let _ = write!(out, "{cause}{exception}: ");
            words.message(out);
            let section = out.len() + words.rng.usize(900..2400);
            while out.len() < section.min(end) {
                for frame in &self.chains[self.law.pick(&mut words.rng)] {
                    let _ = write!(out, "{newline}\tat {frame}");
                }
            }
            let _ = write!(out, "{newline}\t... {} more{newline}", words.rng.u8(3..90));
            cause = "Caused by: ";
        }
    }
}

fn frame(words: &mut Words) -> String {
    let package = match words.rng.u8(..3) {
        0 => format!("com.example.{}", words.word()),
        _ => LIBRARIES[words.rng.usize(..8)].into(),
    };
    let class = capitalised(words.word()) + &capitalised(words.word());
    let method = words.word().to_owned() + &capitalised(words.word());
    format!("{package}.{class}.{method}({class}.java:{})", words.rng.u16(20..900))
}

/// One line of text; one in 20, and some of the alerts, with a trace.
pub(super) fn line(words: &mut Words, traces: &Traces, out: &mut String, alert: bool, mark: &str) {
    let (hour, minute, second, micros) = words.time();
    let level = match (alert, words.rng.bool()) {
        (true, true) => "WARN ",
        (true, false) => "ERROR",
        (false, _) => "INFO ",
    };
    let (thread, logger) = (words.rng.u8(1..33), words.loggers.pick(&mut words.rng));
    let _ = write!(
        out,
        "2026-11-23 {hour:02}:{minute:02}:{second:02}.{:03} {level} [http-nio-8080-exec-{thread}] {logger} - [{mark}] ",
        micros / 1000
    );
    words.message(out);
    if words.rng.u8(..20) == 0 {
        out.push('\n');
        traces.write(words, out, "\n");
    }
}

/// One line as a JSON encoder writes an exception.
pub(super) fn trace_line(words: &mut Words, traces: &Traces, out: &mut String, alert: bool, mark: &str) {
    let (hour, minute, second, micros) = words.time();
    let (level, logger) = (if alert { "ERROR" } else { "INFO" }, words.loggers.pick(&mut words.rng));
    let _ = write!(
        out,
        r#"{{"@timestamp":"2026-11-23T{hour:02}:{minute:02}:{second:02}.{micros:06}Z","level":"{level}","logger_name":"{logger}","request_id":"{mark}","message":""#
    );
    words.message(out);
    out.push_str(r#"","stack_trace":""#);
    let begin = out.len();
    traces.write(words, out, "\\n");
    // The tabs of the frames are `\t` in JSON.
    let escaped = out[begin..].replace('\t', "\\t");
    out.truncate(begin);
    out.push_str(&escaped);
    out.push_str("\"}");
}
