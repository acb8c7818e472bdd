//! A `cloudwatch_logs` sink as written in the config.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::switch;
use crate::config::value::Span;
use crate::encode::{Fields, Message, Oversize};
use crate::sink::common::{FullPolicy, RetryConfig};

/// Requests to CloudWatch Logs, built by its limits.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct CloudWatchLogsConfig {
    /// Region; without it what the AWS SDK finds (`AWS_REGION`, profile).
    pub region: Option<String>,
    /// Template of the group's name.
    pub log_group: String,
    /// Template of the stream's name.
    #[serde(default = "default_log_stream")]
    pub log_stream: String,
    /// How missing groups and streams are created; `false` leaves that to others.
    #[serde(default, deserialize_with = "switch::map_or_false")]
    #[schemars(schema_with = "switch::map_or_false_schema::<Create>")]
    pub create: Create,
    /// What an event's message is.
    #[serde(default)]
    pub message: Message,
    /// Which of a record's fields are in it, if it is the record: `{keep: [names]}` or `{drop: [names]}`.
    #[serde(default)]
    pub fields: Fields,
    /// What becomes of a message above 1 MiB, the longest that CloudWatch Logs takes: `split` makes several events of
    /// the same time of it, `truncate` cuts it and marks the cut, `divert` sends it to the dead letters.
    #[serde(default)]
    pub oversize: Oversize,
    /// Compression of the request's body.
    #[serde(default)]
    pub compression: BodyCompression,
    /// When a request leaves.
    #[serde(default)]
    pub batch: BatchConfig,
    /// Requests in flight for one stream; 1 keeps strict order.
    #[serde(default = "default_in_flight")]
    pub in_flight: u32,
    /// Another endpoint than AWS's, as a URL.
    pub endpoint: Option<String>,
    /// ARN of a role to assume.
    pub role_arn: Option<String>,
    /// External id for that role.
    pub external_id: Option<String>,
    /// What happens when the queue is full (default `drop_oldest`).
    pub when_full: Option<FullPolicy>,
    /// How long the sink tries.
    #[serde(default)]
    pub retry: RetryConfig,
}

/// How missing groups and streams are created.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Create {
    /// Off: a missing group or stream is an error of the sink.
    pub enabled: bool,
    /// Retention of new groups in days; one of the values that AWS accepts, none keeps them for ever.
    pub retention_days: Option<i32>,
    /// Class of new groups; it cannot be changed later.
    pub class: LogClass,
    /// KMS key (ARN) of new groups.
    pub kms_key: Option<String>,
    /// Tags of new groups.
    pub tags: BTreeMap<String, String>,
}

impl Default for Create {
    fn default() -> Self {
        Self { enabled: true, retention_days: None, class: LogClass::Standard, kms_key: None, tags: BTreeMap::new() }
    }
}

impl switch::Switch for Create {
    fn off() -> Self {
        Self { enabled: false, ..Self::default() }
    }
}

/// Class of a log group.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LogClass {
    /// All features.
    #[default]
    Standard,
    /// Half the ingestion price, without metric filters, subscriptions, Live Tail and EMF metrics.
    InfrequentAccess,
}

/// Compression of a request's body.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum BodyCompression {
    /// One gzip member.
    #[default]
    Gzip,
    /// As it is.
    None,
}

/// When a request leaves.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// When its oldest entry has waited for so long, if it is not full before.
    pub age: Span,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { age: Span::secs(1) }
    }
}

fn default_log_stream() -> String {
    "{container}/{task_id}".into()
}

fn default_in_flight() -> u32 {
    4
}
