//! The severity of a record as an ordered value, and where it was found.
//!
//! The first of these that tells a level wins: the record's fields, by the order of [`LevelRules::fields`] and not by
//! their order in the record, then `severity_number`, `PRIORITY`, `syslog_severity`, `log.level`; the same fields at the
//! top of the JSON object in `log` (or of the map that a parser before us made of it); the text of `log`. A field
//! whose value tells no level is as if it were not there. Of two equal keys the last wins.

mod probe;
mod text;
mod value;

use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) use probe::Probe;

use super::Record;
use super::json::Outline;
use super::msgpack::{Reader, Value};
use super::path;

/// Severities in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    /// All, in their order.
    pub const ALL: [Self; 6] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// Its name in capitals, as conditions write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    /// The level that a word of a record stands for, such as `warning`.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        value::word(word.as_bytes())
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where levels are looked for (`level:` in the config).
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LevelRules {
    /// Fields to look at, any case, in this order.
    pub fields: Vec<String>,
    /// Whether to look into the text of `log` (logfmt, klog, a word in capitals).
    pub text: bool,
}

impl Default for LevelRules {
    fn default() -> Self {
        let fields = ["level", "severity", "lvl", "loglevel", "levelname", "log_level"];
        Self { fields: fields.map(String::from).to_vec(), text: true }
    }
}

/// A key that may tell the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LevelKey {
    /// One of [`LevelRules::fields`], by its index.
    Field(u16),
    /// `severity_number` (OpenTelemetry, 1–24).
    SeverityNumber,
    /// `PRIORITY` (journald, 0–7).
    Priority,
    /// `syslog_severity` (0–7).
    SyslogSeverity,
    /// `log.level` (Elastic Common Schema), as one key or as `level` in an object `log`.
    LogLevel,
}

/// Where a level came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelOrigin {
    /// A field of the record.
    Record(LevelKey),
    /// A field at the top of the JSON object in `log`.
    Log(LevelKey),
    /// `level=` in the text of `log`.
    Logfmt,
    /// The letter that begins a line of klog.
    Klog,
    /// The first whole word in capitals that is a level.
    Word,
}

impl LevelRules {
    /// The record's level; none when nothing tells it.
    pub fn level(&self, record: &Record<'_>) -> Option<Level> {
        self.find(record).map(|(level, _)| level)
    }

    /// The record's level and where it came from.
    pub fn find(&self, record: &Record<'_>) -> Option<(Level, LevelOrigin)> {
        let mut probe = Probe::new(self);
        let mut log = None;
        for (key, value) in path::top_level(record.map) {
            if key == b"log" {
                log = Some(value);
            }
            probe.msgpack(self, key, value);
        }
        probe.best().map(|(level, key)| (level, LevelOrigin::Record(key))).or_else(|| self.find_in_log(log?))
    }

    /// The level that the value of `log`, which begins at `bytes`, tells by itself.
    pub(crate) fn find_in_log(&self, bytes: &[u8]) -> Option<(Level, LevelOrigin)> {
        let mut probe = Probe::new(self);
        match Reader::new(bytes).read().ok()? {
            Value::Str(text) | Value::Bin(text) => {
                let mut outline = Outline::default();
                match outline.read(text) {
                    Some(object) => probe.outline(self, object, &outline),
                    None => return self.find_in_text(text),
                }
            }
            Value::Map(_) => path::top_level(bytes).for_each(|(key, value)| probe.msgpack(self, key, value)),
            _ => {}
        }
        probe.best().map(|(level, key)| (level, LevelOrigin::Log(key)))
    }

    /// The level that a text which is no JSON tells.
    pub(crate) fn find_in_text(&self, text: &[u8]) -> Option<(Level, LevelOrigin)> {
        self.text.then(|| text::find(text)).flatten()
    }

    /// An origin in words.
    pub fn describe(&self, origin: LevelOrigin) -> String {
        let key = |key| match key {
            LevelKey::Field(n) => self.fields.get(usize::from(n)).map_or("?", String::as_str),
            LevelKey::SeverityNumber => "severity_number",
            LevelKey::Priority => "PRIORITY",
            LevelKey::SyslogSeverity => "syslog_severity",
            LevelKey::LogLevel => "log.level",
        };
        match origin {
            LevelOrigin::Record(k) => format!("the record's field `{}`", key(k)),
            LevelOrigin::Log(k) => format!("the key `{}` of the JSON in `log`", key(k)),
            LevelOrigin::Logfmt => "`level=` in the text of `log`".into(),
            LevelOrigin::Klog => "the klog header of `log`".into(),
            LevelOrigin::Word => "the first level in capitals in the text of `log`".into(),
        }
    }
}

#[cfg(test)]
mod tests;
