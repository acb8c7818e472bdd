//! What is sent: log lines whose entropy is like that of real services, from a seed.
//!
//! A template repeated compresses far better than logs do, and so flatters whoever compresses it. Here
//!
//! - words come from a vocabulary of about 500 words by Zipf's law (a word's frequency is the inverse of its rank), and
//!   messages from 160 templates drawn the same way, as in a real service, where a few lines make most of the log;
//! - users, clients, paths, loggers, threads and user agents come from pools by the same law; ids of traces, amounts and
//!   durations are random (durations by a long-tailed law);
//! - timestamps go on by random steps, and the length of lines varies.
//!
//! | payload | service | a line |
//! | --- | --- | --- |
//! | `web` | a web service: access lines and messages of the application | JSON, about 410 bytes |
//! | `web600` | the same with user agent, referrer and labels | JSON, about 600 bytes |
//! | `nginx` | a proxy: combined access log, errors of upstreams | text, about 200 bytes |
//! | `jvm` | a JVM service: messages, and one line in 20 with a stack trace | text and traces, 120 bytes to 5 KB |
//! | `trace` | the same, stack traces alone | JSON, about 4 KB |
//! | `parts` | lines that Docker cuts into parts of 16 KiB | JSON, about 40 KB in three parts |

mod jvm;
mod nginx;
mod web;
mod words;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use words::Words;

/// The kind of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Payload {
    /// JSON of a web service, about 410 bytes
    Web,
    /// The same with more fields, about 600 bytes
    Web600,
    /// Text of a proxy, about 200 bytes
    Nginx,
    /// Text of a JVM service with some stack traces
    Jvm,
    /// JSON with a stack trace, about 4 KB
    Trace,
    /// JSON of about 40 KB, in parts of 16 KiB as Docker cuts it
    Parts,
}

impl Payload {
    /// The condition of the route that alerts match.
    pub(crate) fn alert_condition(self) -> &'static str {
        match self {
            Self::Nginx => r#"log.contains("[error]")"#,
            _ => "level >= WARN",
        }
    }

    /// How often a record's mark stands in its line: the long ones carry it at both ends, so that a part that is
    /// missing or of another line is seen.
    pub(crate) fn marks_in_line(self) -> usize {
        if self == Self::Parts { 2 } else { 1 }
    }
}

/// Writes lines.
pub(crate) struct Writer {
    payload: Payload,
    words: Words,
    traces: jvm::Traces,
}

impl Writer {
    /// The same seed gives the same lines.
    pub(crate) fn new(payload: Payload, seed: u64) -> Self {
        let mut words = Words::new(seed);
        let traces = jvm::Traces::new(&mut words);
        Self { payload, words, traces }
    }

    /// Whether the next record is an alert, of which there are `share` in 1.
    pub(crate) fn is_alert(&mut self, share: f64) -> bool {
        self.words.rng.f64() < share
    }

    /// Writes the next line with its mark.
    pub(crate) fn line(&mut self, out: &mut String, alert: bool, mark: &str) {
        self.words.tick();
        match self.payload {
            Payload::Web => web::line(&mut self.words, out, alert, mark, false),
            Payload::Web600 => web::line(&mut self.words, out, alert, mark, true),
            Payload::Parts => web::long_line(&mut self.words, out, alert, mark),
            Payload::Nginx => nginx::line(&mut self.words, out, alert, mark),
            Payload::Jvm => jvm::line(&mut self.words, &self.traces, out, alert, mark),
            Payload::Trace => jvm::trace_line(&mut self.words, &self.traces, out, alert, mark),
        }
    }
}
