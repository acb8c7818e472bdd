//! One measurement: what is sent, how, and what the router is to do with it.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::payload::Payload;

/// How fast records come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rate {
    /// As fast as the router reads.
    Saturated,
    /// So many bytes of log text a second, on a schedule that does not wait for the router.
    Bytes(f64),
    /// So many records a second, likewise.
    Records(f64),
    /// One small chunk a connection, then nothing.
    Idle,
}

/// How records are framed and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Framing {
    /// Message mode, a write for each record, as Docker's driver does
    Message,
    /// Message mode in writes of 16 KiB
    Pieces,
    /// PackedForward chunks
    Packed,
    /// CompressedPackedForward, the same chunks with gzip
    Gzip,
}

/// Where records wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spool {
    /// In memory
    Memory,
    /// In a directory of the temporary directory (`TMPDIR`)
    Disk,
}

/// Compression of objects or of request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Compression {
    /// zstd level 1; objects only
    Zstd,
    /// gzip level 1
    Gzip,
    /// None
    None,
}

/// What stands under `log` in objects when its text is JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogJson {
    /// The text, escaped
    Raw,
    /// The JSON itself
    Nest,
    /// Its keys at the top of the line
    Lift,
}

/// Which of a record's fields the sinks write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fields {
    /// All that Docker sends
    All,
    /// `log` alone, beside time and tag
    Log,
}

/// When chunks are acked, if the sender asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ack {
    /// No acks are asked for
    None,
    /// From memory
    Received,
    /// Synced to the disk; needs `--spool disk`
    Durable,
    /// Accepted by every sink
    Delivered,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) rate: Rate,
    /// What is due within so long is sent together at its end; at zero each write has its own time, evenly spaced, which
    /// is the hardest for the router.
    pub(crate) tick: Duration,
    pub(crate) framing: Framing,
    pub(crate) payload: Payload,
    /// Percentage of records that go to CloudWatch Logs. At 100 nothing goes to S3; else everything does.
    pub(crate) to_cloudwatch: f64,
    /// Every record is routed to nothing (`to: []`).
    pub(crate) to_nothing: bool,
    pub(crate) spool: Spool,
    pub(crate) objects: Compression,
    pub(crate) bodies: Compression,
    pub(crate) log_json: LogJson,
    pub(crate) fields: Fields,
    /// Routes before the last, none of which matches.
    pub(crate) rules: usize,
    pub(crate) ack: Ack,
    /// Bytes after which a chunk ends; a connection sends one, then the next connection the next.
    pub(crate) chunk: usize,
    pub(crate) connections: usize,
    /// Containers: tags, and so partitions and log streams.
    pub(crate) containers: usize,
    /// Worker threads of the router; as many as there are cores without it.
    pub(crate) threads: Option<usize>,
    /// The router's `memory:` in MiB.
    pub(crate) memory_mib: u64,
    /// Bytes of bodies a second that the sinks take, while records are sent.
    pub(crate) throttle: Option<f64>,
    /// Log text in bytes after which the sender ends.
    pub(crate) volume: Option<u64>,
    /// Time after which the sender ends.
    pub(crate) time: Option<Duration>,
}

impl Scenario {
    /// The split of the goals' table: packed chunks at full speed, 15 % to CloudWatch Logs, all to S3.
    pub(crate) fn split(name: &str, volume: u64) -> Self {
        Self {
            name: name.into(),
            rate: Rate::Saturated,
            tick: Duration::ZERO,
            framing: Framing::Packed,
            payload: Payload::Web,
            to_cloudwatch: 15.0,
            to_nothing: false,
            spool: Spool::Memory,
            objects: Compression::Zstd,
            bodies: Compression::Gzip,
            log_json: LogJson::Nest,
            fields: Fields::All,
            rules: 0,
            ack: Ack::None,
            chunk: 64 << 10,
            connections: 4,
            containers: 1,
            threads: None,
            memory_mib: 64,
            throttle: None,
            volume: Some(volume),
            time: None,
        }
    }

    /// The same at a rate, for so long.
    pub(crate) fn paced(self, rate: Rate, time: Duration) -> Self {
        Self { rate, volume: None, time: Some(time), ..self }
    }

    /// When something is sent that is due so long after the start.
    pub(crate) fn due(&self, after: Duration) -> Duration {
        let tick = self.tick.as_nanos().max(1);
        Duration::from_nanos((after.as_nanos().div_ceil(tick) * tick) as u64)
    }

    /// Whether records go to S3.
    pub(crate) fn has_archive(&self) -> bool {
        !self.to_nothing && self.to_cloudwatch < 100.0
    }

    /// Whether records go to CloudWatch Logs.
    pub(crate) fn has_alerts(&self) -> bool {
        !self.to_nothing && self.to_cloudwatch > 0.0
    }

    /// Threads of the sender.
    pub(crate) fn lanes(&self) -> usize {
        self.connections.min(4)
    }

    /// What is wrong with the combination, in words.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.connections == 0 && self.rate != Rate::Idle {
            return Some("without connections there is nothing but `--rate idle`");
        }
        if self.threads == Some(0) {
            return Some("`--threads` begins at 1");
        }
        if self.ack != Ack::None && matches!(self.framing, Framing::Message | Framing::Pieces) {
            return Some("message mode has no acks; choose `--framing packed` or `gzip`");
        }
        if self.ack == Ack::Durable && self.spool == Spool::Memory {
            return Some("`--ack durable` needs `--spool disk`");
        }
        if self.bodies == Compression::Zstd {
            return Some("CloudWatch Logs takes `--bodies gzip` or `none`");
        }
        if self.framing == Framing::Gzip && self.volume.is_none() && !matches!(self.rate, Rate::Bytes(_)) {
            return Some("`--framing gzip` is compressed beforehand and needs `--volume` or a rate in bytes");
        }
        None
    }
}
