//! What the sinks' sections in the config share.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::value::{Size, Span};

/// When an object is closed.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectConfig {
    /// Bytes as stored, after compression.
    pub size: Size,
    /// Time since the object's first record.
    pub age: Span,
}

impl Default for ObjectConfig {
    fn default() -> Self {
        Self { size: Size::mib(64), age: Span::secs(300) }
    }
}

/// How long a sink tries.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// A request is given up, and its records are counted as dropped, when it has failed for so long.
    pub deadline: Span,
    /// The first pause; each further one doubles, with jitter.
    pub initial: Span,
    /// The longest pause.
    pub max: Span,
    /// The longest that one attempt may take.
    pub attempt_timeout: Span,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            deadline: Span::secs(24 * 3600),
            initial: Span(std::time::Duration::from_millis(250)),
            max: Span::secs(60),
            attempt_timeout: Span::secs(30),
        }
    }
}
