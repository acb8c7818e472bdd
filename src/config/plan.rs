//! The config as it runs: every name resolved, every default filled in, everything checked. Who holds a [`Plan`] need
//! not check again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use super::file::{LogFormat, LogLevel, LogSection, Metadata, SinkKind, SourceKind};
use crate::record::UnixNanos;
use crate::record::level::LevelRules;
use crate::route::RouteSpec;
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
}

impl SinkKind {
    /// What happens when its queue is full: what was asked for, else what suits the type. Objects are the archive, so
    /// their sinks hold the sources back; a live view drops its oldest.
    pub fn when_full(&self) -> WhenFull {
        match self {
            Self::S3(config) => config.when_full.unwrap_or(WhenFull::Block),
            Self::File(config) => config.when_full.unwrap_or(WhenFull::Block),
            Self::CloudWatchLogs(config) => config.when_full.unwrap_or(WhenFull::DropOldest),
            Self::Stdout(config) => config.when_full.unwrap_or(WhenFull::DropOldest),
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
