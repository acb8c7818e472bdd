//! A `file` sink as written in the config.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::encode::{Compression, Fields, Format, LogJson};
use crate::sink::common::{FullPolicy, ObjectConfig, RetryConfig};
use crate::sink::s3::default_prefix;

/// The objects of the `s3` sink, on a local disk.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// Directory that the prefixes begin in; it is created when missing.
    pub path: PathBuf,
    /// Template of the directories below it: `{field}` and `%Y %m %d %H %M` (UTC).
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// When an object is closed.
    #[serde(default)]
    pub object: ObjectConfig,
    /// How records become bytes.
    #[serde(default)]
    pub format: Format,
    /// What becomes of a JSON object in the text of `log`.
    #[serde(default)]
    pub log_json: LogJson,
    /// Which of a record's fields are written: `{keep: [names]}` or `{drop: [names]}`.
    #[serde(default)]
    pub fields: Fields,
    /// Compression of the objects.
    #[serde(default)]
    pub compression: Compression,
    /// Compress an object anew as one frame, for readers that stop after the first.
    #[serde(default)]
    pub single_frame: bool,
    /// What happens when the queue is full (default `block`).
    pub when_full: Option<FullPolicy>,
    /// How long the sink tries.
    #[serde(default)]
    pub retry: RetryConfig,
}
