//! The config as it runs: every name resolved, every default filled in, everything checked. Who holds a [`Plan`] need
//! not check again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use super::file::{LogFormat, LogLevel, LogSection, Metadata, SinkKind, SourceKind};
use crate::encode::entries::EntryEncoder;
use crate::encode::ndjson::NdjsonEncoder;
use crate::encode::{Compression, Encoder, Partitioner, Template};
use crate::record::UnixNanos;
use crate::record::level::LevelRules;
use crate::route::RouteSpec;
use crate::sink::common::FullPolicy;
use crate::source::forward::Address;
use crate::spool::{QueueConfig, WhenFull};

/// What runs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order of the file; at least one.
    pub sources: Vec<SourcePlan>,
    /// In the order of the file; the last one has no condition.
    pub routes: Vec<RouteSpec>,
    /// In the order of the file; a route's sinks are indexes into this.
    pub sinks: Vec<SinkPlan>,
    /// Where dead letters go; without it they are dropped and counted.
    pub dead_letters: Option<DeadLettersPlan>,
    /// Where levels are looked for.
    pub levels: LevelRules,
    /// Where records wait.
    pub spool: SpoolPlan,
    /// Memory of the process and its parts.
    pub memory: MemoryPlan,
    /// The admin server; none when it is off.
    pub admin: Option<AdminPlan>,
    /// The drain.
    pub drain: DrainPlan,
    /// Where task metadata comes from.
    pub metadata: Metadata,
    /// logweir's own log.
    pub log: LogSection,
    /// The config's own tests.
    pub tests: Vec<TestPlan>,
    /// CRC-64 of the resolved config, in hex: equal for configs that run alike.
    pub fingerprint: String,
    /// What is allowed, but probably not meant.
    pub warnings: Vec<String>,
}

/// A source that runs.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// Name in the config.
    pub name: String,
    /// Type and settings.
    pub kind: SourceKind,
    /// Where it listens, parsed; each address once in the whole plan.
    pub listen: Vec<Address>,
}

/// A sink that runs.
#[derive(Clone, Debug)]
pub struct SinkPlan {
    /// Name in the config.
    pub name: String,
    /// Type and settings.
    pub kind: SinkKind,
    /// Bound and policy of its queue.
    pub queue: QueueConfig,
    /// The sink that takes the records when the queue is full.
    pub divert: Option<usize>,
}

/// Where dead letters go.
#[derive(Clone, Debug)]
pub struct DeadLettersPlan {
    /// The sink, of type `s3` or `file`.
    pub sink: usize,
    /// Template of their prefix, without fields.
    pub prefix: String,
}

impl SinkKind {
    /// What happens when its queue is full: what was asked for, else what suits the type. Objects are the archive, so
    /// their sinks hold the sources back; a live view drops its oldest.
    pub fn when_full(&self) -> WhenFull {
        let usual = match self {
            Self::S3(_) | Self::File(_) => WhenFull::Block,
            Self::CloudWatchLogs(_) | Self::Stdout(_) => WhenFull::DropOldest,
        };
        self.full_policy().map_or(usual, FullPolicy::when_full)
    }

    /// What the config says happens when its queue is full.
    pub fn full_policy(&self) -> Option<&FullPolicy> {
        match self {
            Self::S3(config) => config.when_full.as_ref(),
            Self::File(config) => config.when_full.as_ref(),
            Self::CloudWatchLogs(config) => config.when_full.as_ref(),
            Self::Stdout(config) => config.when_full.as_ref(),
        }
    }

    /// Renders the names that its records go under.
    pub fn partitioner(&self, levels: &LevelRules) -> Partitioner {
        let template = |text: &str| Template::parse(text).expect("the plan has parsed this template before");
        match self {
            Self::S3(config) => Partitioner::prefix(template(&config.prefix), levels.clone()),
            Self::File(config) => Partitioner::prefix(template(&config.prefix), levels.clone()),
            Self::CloudWatchLogs(config) => {
                Partitioner::stream(template(&config.log_group), template(&config.log_stream), levels.clone())
            }
            Self::Stdout(_) => Partitioner::whole(),
        }
    }

    /// Writes its records.
    pub fn encoder(&self) -> Encoder {
        let lines = |log_json, fields| Encoder::Ndjson(NdjsonEncoder::new(log_json).with_fields(fields));
        match self {
            Self::S3(config) => lines(config.log_json, &config.fields),
            Self::File(config) => lines(config.log_json, &config.fields),
            Self::CloudWatchLogs(config) => {
                let entries = EntryEncoder::new(config.message).with_oversize(config.oversize);
                Encoder::Entries(entries.with_fields(&config.fields))
            }
            Self::Stdout(config) => lines(config.log_json, &config.fields),
        }
    }

    /// How it compresses its objects, if it makes any: then it can take what other sinks cannot.
    pub fn archive(&self) -> Option<Compression> {
        match self {
            Self::S3(config) => Some(config.compression),
            Self::File(config) => Some(config.compression),
            Self::CloudWatchLogs(_) | Self::Stdout(_) => None,
        }
    }
}

/// Where records wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolPlan {
    /// In memory.
    Memory,
    /// On disk.
    Disk {
        /// The directory.
        path: PathBuf,
        /// Bytes of each sink.
        quota: u64,
    },
}

/// Memory of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The whole process, in bytes.
    pub total: u64,
    /// All queues together, in bytes.
    pub queues: u64,
    /// Frames that are being read, of all sources together, in bytes.
    pub reading: u64,
    /// Blocks that still grow, of all sources together, in bytes.
    pub open: u64,
    /// Why `total` is what it is.
    pub origin: MemoryOrigin,
}

/// Where a memory bound comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryOrigin {
    /// `memory` in the config.
    Config,
    /// A share of the cgroup's limit, in bytes.
    Cgroup(u64),
    /// Neither was there.
    Default,
}

/// The admin server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminPlan {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Age of the oldest undelivered record at which `/delivering` fails.
    pub delivering_after: Duration,
}

/// The drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainPlan {
    /// Longest drain.
    pub timeout: Duration,
    /// A connection that was quiet for so long is done.
    pub quiet: Duration,
}

/// One of the config's own tests.
#[derive(Clone, Debug)]
pub struct TestPlan {
    /// What it says.
    pub name: String,
    /// Tag of the record.
    pub tag: String,
    /// The record.
    pub record: serde_json::Map<String, serde_json::Value>,
    /// Source that it comes from.
    pub source: String,
    /// Its time; none is now.
    pub time: Option<UnixNanos>,
    /// Routes that must match, in order.
    pub routes: Option<Vec<String>>,
    /// Sinks that must take it, in any order.
    pub to: Option<Vec<String>>,
    /// Names that must be rendered: sink, then a key prefix or `group:stream`.
    pub names: Vec<(String, String)>,
}
