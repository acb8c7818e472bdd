//! The severity of a record as an ordered value.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Record;

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

/// Where levels are looked for (`level:` in the config).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
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

impl LevelRules {
    /// The record's level; none when nothing tells it.
    pub fn level(&self, record: &Record<'_>) -> Option<Level> {
        let _ = record;
        todo!()
    }
}
