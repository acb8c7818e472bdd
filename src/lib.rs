//! logweir routes logs: Fluent Forward in, rules, CloudWatch Logs and S3 out.
//!
//! # Bird's-eye view
//!
//! ```text
//! peer ─bytes─▶ source ─RecordBatch─▶ route ─records─▶ encode ─Block─▶ spool ─▶ sink: object or request
//!       ▲ ack     │ measure, slice, join   rules on       lines, events,   one queue    S3, CloudWatch Logs,
//!       └─────────┴───── Ticket            raw bytes      compressed       a sink       file, stdout
//! ```
//!
//! # Code map, in the direction of the data (`use` goes the same way, left knows nothing of right)
//!
//! - [`record`]: a batch of raw msgpack records, the msgpack reader, field names, levels, JSON inside strings, tickets.
//! - [`source`]: Fluent Forward sockets, TLS, handshake and frames; the join of Docker's 16 KiB parts.
//! - [`route`]: conditions compiled to a matcher over the raw bytes, and the explanation of a decision.
//! - [`encode`]: records to lines or CloudWatch entries in open blocks, names from templates, compression.
//! - [`ledger`]: the books that count every record from its source to its end.
//! - [`metrics`]: what is measured beside the ledger: requests, latencies, sizes.
//! - [`spool`]: one bounded queue of blocks a sink.
//! - [`sink`]: blocks to objects or requests, which errors retry.
//! - [`aws`]: region, credentials, endpoints and timeouts, once for all AWS sinks.
//! - [`config`]: YAML with positions, each section as written, the plan as it runs.
//! - [`cost`]: prices, and what a month of logs costs.
//! - [`pipeline`]: builds and runs it all; the only module that knows every other. It spawns the long-lived tasks; what
//!   a source, a sink or the admin server spawns (a connection, a request) is owned by its own future.
//! - [`admin`]: health, status and metrics over HTTP.
//! - [`cli`]: one file a subcommand.
//! - [`http`]: one small HTTP GET.
//! - [`seldom`]: lines of the log that may come often.
//! - [`terminal`]: text of records and configs, printed so that it does nothing to a terminal.
//! - [`clock`]: monotonic moments and the time of day.
//! - [`watchdog`]: blocking work that does not come back.
//!
//! # Invariants, each held by a test
//!
//! - A batch and a block have at least one record; a batch's ranges are increasing, disjoint and inside its buffer.
//! - The concatenated blocks of a partition are what the uncompressed lines would give, in sequence.
//! - `record`, `route` and `encode` import neither tokio nor AWS.
//! - A ticket settles exactly once, with the worst outcome of its copies.
//! - Memory in queues stays within the configured bound plus one oversize item.
//! - The ledger adds up at every scrape.
//! - `check` accepts a config if and only if `run` starts with it.
//! - A reload applies the whole new config or nothing of it.

pub mod admin;
#[cfg(feature = "aws")]
pub mod aws;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cost;
pub mod encode;
pub mod http;
pub mod ledger;
pub mod metrics;
pub mod pipeline;
pub mod record;
pub mod route;
pub mod seldom;
pub mod sink;
pub mod source;
pub mod spool;
pub mod terminal;
pub mod watchdog;
