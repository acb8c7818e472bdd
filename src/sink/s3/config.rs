//! An `s3` sink as written in the config.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::encode::{Compression, Fields, Format, LogJson};
use crate::sink::common::{FullPolicy, ObjectConfig, RetryConfig};

/// Large compressed objects in S3.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// Name of the bucket.
    pub bucket: String,
    /// Region; without it what the AWS SDK finds (`AWS_REGION`, profile).
    pub region: Option<String>,
    /// Template of the keys' prefix: `{field}` and `%Y %m %d %H %M` (UTC).
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
    /// Storage class of new objects, as S3 names it (`STANDARD`, `STANDARD_IA`, `INTELLIGENT_TIERING`, …).
    pub storage_class: Option<String>,
    /// Key of SSE-KMS (id, ARN or alias); without it the bucket's own encryption.
    pub kms_key: Option<String>,
    /// `Content-Type` of the objects.
    #[serde(default = "default_content_type")]
    pub content_type: String,
    /// Another endpoint than AWS's, as a URL.
    pub endpoint: Option<String>,
    /// Put the bucket into the path instead of the host name.
    #[serde(default)]
    pub path_style: bool,
    /// ARN of a role to assume.
    pub role_arn: Option<String>,
    /// External id for that role.
    pub external_id: Option<String>,
    /// What happens when the queue is full (default `block`).
    pub when_full: Option<FullPolicy>,
    /// How long the sink tries.
    #[serde(default)]
    pub retry: RetryConfig,
}

pub(crate) fn default_prefix() -> String {
    "logs/service={container}/dt=%Y-%m-%d/hour=%H/".into()
}

fn default_content_type() -> String {
    "application/x-ndjson".into()
}
