//! The config as written: one plain struct a section, without cross-references resolved. What the doc comments here say
//! is what editors show (`logweir schema`).

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::value::{Size, Span};
use crate::record::level::LevelRules;
use crate::sink::cloudwatch_logs::CloudWatchLogsConfig;
use crate::sink::file::FileConfig;
use crate::sink::s3::S3Config;
use crate::sink::stdout::StdoutConfig;
use crate::source::forward::ForwardConfig;

/// Where the admin server listens: on loopback, since it tells names and counts without a password.
pub const DEFAULT_ADMIN_LISTEN: &str = "127.0.0.1:9600";
/// When `/delivering` begins to fail: twice the default age of an object (5 min), so that a healthy sink never trips it.
pub const DEFAULT_DELIVERING_AFTER: Span = Span::secs(600);
/// Longest drain: ECS kills 30 s after SIGTERM by default; 5 s remain for the ledger and the exit.
pub const DEFAULT_DRAIN_TIMEOUT: Span = Span::secs(25);
/// A connection that was quiet for so long is done: Docker's driver flushes at once, Fluent Bit each second.
pub const DEFAULT_DRAIN_QUIET: Span = Span::secs(1);

/// The whole file. Sections that could not be read are empty here, and in the problems.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// In their order, with their names.
    pub sources: Vec<(String, SourceKind)>,
    /// In their order, with their index in the file.
    pub routes: Vec<(usize, RouteSection)>,
    /// In their order, with their names.
    pub sinks: Vec<(String, SinkKind)>,
    /// Where dead letters go; none drops and counts them.
    pub dead_letters: Option<DeadLettersSection>,
    /// Where records wait; none is memory.
    pub spool: Option<SpoolSection>,
    /// Memory of the whole process.
    pub memory: Option<Size>,
    /// The admin server; none when it is off.
    pub admin: Option<AdminSection>,
    /// The drain.
    pub drain: DrainSection,
    /// Task metadata; none leaves it to the environment.
    pub metadata: Option<Metadata>,
    /// Where levels are looked for.
    pub level: LevelRules,
    /// logweir's own log.
    pub log: LogSection,
    /// In their order, with their index in the file.
    pub tests: Vec<(usize, TestSection)>,
}

/// A spool on disk.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpoolSection {
    /// Directory on a disk that outlives the process; made when missing, used by one process at a time.
    pub path: PathBuf,
    /// Bytes that it may take, divided evenly among the sinks.
    pub size: Size,
}

/// A source by its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// Fluent Forward.
    Forward(ForwardConfig),
}

impl SourceKind {
    /// The types, as `type` names them.
    pub const TYPES: [&'static str; 1] = ["forward"];

    /// Its `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Forward(_) => "forward",
        }
    }
}

/// A sink by its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// Objects in S3.
    S3(S3Config),
    /// Events in CloudWatch Logs.
    CloudWatchLogs(CloudWatchLogsConfig),
    /// Objects in a directory.
    File(FileConfig),
    /// Lines on standard output.
    Stdout(StdoutConfig),
}

impl SinkKind {
    /// The types, as `type` names them.
    pub const TYPES: [&'static str; 4] = ["s3", "cloudwatch_logs", "file", "stdout"];

    /// Its `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3",
            Self::CloudWatchLogs(_) => "cloudwatch_logs",
            Self::File(_) => "file",
            Self::Stdout(_) => "stdout",
        }
    }
}

/// A rule: which records, to which sinks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSection {
    /// Its name in metrics and explanations; without one it is `route-1`, `route-2`, …
    pub name: Option<String>,
    /// Condition in CEL, for example `level >= WARN` or `log.path == "/healthz"`; the last route has none.
    pub when: Option<String>,
    /// Sinks by name; an empty list drops the records on purpose.
    pub to: Vec<String>,
    /// Whether the routes below see the record too.
    #[serde(default, rename = "continue")]
    pub goes_on: bool,
}

/// Where records and bytes go that nothing can be done with: rejected, expired, oversize, undecodable, given up.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLettersSection {
    /// A sink of type `s3` or `file`, by name; its compression and object settings apply.
    pub to: String,
    /// Template of the prefix of their objects: `%Y %m %d %H %M` (UTC) of the moment that they were given up.
    #[serde(default = "default_dead_letters_prefix")]
    pub prefix: String,
}

fn default_dead_letters_prefix() -> String {
    "dead-letters/dt=%Y-%m-%d/".into()
}

/// Health, status and metrics over HTTP.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSection {
    /// Address and port.
    pub listen: String,
    /// `/delivering` answers 503 when the oldest undelivered record is older than this.
    pub delivering_after: Span,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self { listen: DEFAULT_ADMIN_LISTEN.into(), delivering_after: DEFAULT_DELIVERING_AFTER }
    }
}

/// What happens between SIGTERM and the end.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DrainSection {
    /// Longest drain; keep it below the container's stop timeout (ECS: 30 s by default).
    pub timeout: Span,
    /// A connection that was quiet for so long sends nothing more.
    pub quiet: Span,
}

impl Default for DrainSection {
    fn default() -> Self {
        Self { timeout: DEFAULT_DRAIN_TIMEOUT, quiet: DEFAULT_DRAIN_QUIET }
    }
}

/// Where `ecs_cluster`, `ecs_task_arn` and `ecs_task_definition` come from.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Metadata {
    /// The task metadata endpoint of ECS.
    Ecs,
    /// Nowhere.
    None,
}

/// logweir's own log, on standard error.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// Least severity that is printed.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// Severity of logweir's own log.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// Its name, as a filter takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line of logweir's own log looks.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A record and where it must go: `logweir test` runs it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestSection {
    /// What the test says.
    pub name: String,
    /// Tag of the record.
    pub tag: String,
    /// The record, a map.
    pub record: serde_json::Map<String, serde_json::Value>,
    /// Name of the source that it comes from (default: the first).
    pub source: Option<String>,
    /// Time of the record, RFC 3339 (default: now).
    pub time: Option<String>,
    /// Where it must go.
    pub expect: ExpectSection,
}

/// Where a test's record must go; what is left out is not checked.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectSection {
    /// Routes that match, in their order.
    pub routes: Option<Vec<String>>,
    /// Sinks that take it, in any order.
    pub to: Option<Vec<String>>,
    /// Names by sink: a key prefix, or `group:stream`.
    pub names: std::collections::BTreeMap<String, String>,
}
