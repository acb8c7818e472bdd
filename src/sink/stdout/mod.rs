//! The `stdout` sink: records as lines.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::encode::{Format, LogJson};
use crate::spool::WhenFull;

/// Records as lines on standard output.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StdoutConfig {
    /// How records become bytes.
    pub format: Format,
    /// What becomes of a JSON object in the text of `log`.
    pub log_json: LogJson,
    /// What happens when the queue is full (default `drop_oldest`).
    pub when_full: Option<WhenFull>,
}
