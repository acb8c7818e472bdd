//! A `forward` source as written in the config.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::switch;
use crate::config::value::{Secret, Size, Span};

/// Fluent Forward: Docker's fluentd driver, Fluent Bit, Fluentd, fluent-logger packages.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ForwardConfig {
    /// Addresses to listen on: `unix:///path`, `tcp://host:port`, and `tls://host:port` for TCP with the certificate
    /// of `tls`. A tcp address answers UDP heartbeats too.
    pub listen: Vec<String>,
    /// When a chunk is acked: `received` (routed and in the queues), `durable` (its records are synced to the disk
    /// spool) or `delivered` (accepted by every sink). Default `durable` with a disk spool, else `received`.
    pub ack: Option<AckMode>,
    /// With `ack: delivered`, the longest that a waiting chunk's object stays open for more records.
    #[serde(default = "default_ack_wait")]
    pub ack_wait: Span,
    /// Join the parts into which Docker cuts long lines; `false` leaves them as they come.
    #[serde(default, deserialize_with = "switch::map_or_false")]
    #[schemars(schema_with = "switch::map_or_false_schema::<JoinConfig>")]
    pub join: JoinConfig,
    /// Certificate of the `tls://` addresses.
    pub tls: Option<TlsConfig>,
    /// What every peer of this source has to prove before it may send; without it whoever connects may.
    pub auth: Option<AuthConfig>,
    /// Bounds on what a peer can make this source do.
    #[serde(default)]
    pub limits: ForwardLimits,
}

/// When a chunk is acked.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum AckMode {
    /// Routed and in the queues; a crash loses what is in memory.
    #[default]
    Received,
    /// Synced to the disk spool; what is acked outlives a crash.
    Durable,
    /// Accepted by every sink that the rules chose.
    Delivered,
}

/// Join of Docker's 16 KiB parts.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct JoinConfig {
    /// Off leaves the parts as they come.
    pub enabled: bool,
    /// A joined line ends here; what follows begins another record.
    pub max_line: Size,
    /// All parts that wait for their last one; beyond it the oldest are let go.
    pub buffer: Size,
    /// A line whose last part never comes is let go after this.
    pub timeout: Span,
}

impl Default for JoinConfig {
    fn default() -> Self {
        Self { enabled: true, max_line: Size::mib(1), buffer: Size::mib(4), timeout: Span::secs(2) }
    }
}

impl switch::Switch for JoinConfig {
    fn off() -> Self {
        Self { enabled: false, ..Self::default() }
    }
}

/// Files of a TLS server, in PEM. They are read again when they change.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate, followed by those between it and its root.
    pub cert: PathBuf,
    /// The certificate's private key (PKCS#8, PKCS#1 or SEC1), without a password.
    pub key: PathBuf,
    /// With it every peer has to show a certificate that one of these authorities signed.
    pub client_ca: Option<PathBuf>,
    /// How often is looked whether the files have changed.
    #[serde(default = "default_reload")]
    pub reload: Span,
}

/// The handshake of the Forward protocol: `shared_key` in Fluent Bit, `<security>` in Fluentd.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// The key that both sides prove to know.
    pub shared_key: Secret,
    /// What this side calls itself (default: the host's name). Fluentd refuses a peer with its own name.
    pub self_hostname: Option<String>,
    /// With users a peer has to be one of them, too.
    #[serde(default)]
    pub users: Vec<UserConfig>,
}

/// A user of the handshake.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Bounds of a forward source.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardLimits {
    /// Longest frame; a longer one ends its connection.
    pub frame: Size,
    /// Most bytes that a compressed frame may inflate to.
    pub inflated: Size,
    /// Open connections of this source.
    pub connections: u32,
    /// Time to finish a frame once it has begun. A connection that is quiet between frames is never closed.
    pub frame_time: Span,
    /// Time to finish the handshakes of TLS and `auth`; a second, when many peers are at it.
    pub handshake_time: Span,
}

impl Default for ForwardLimits {
    fn default() -> Self {
        Self {
            frame: Size::mib(8),
            inflated: Size::mib(64),
            connections: 1024,
            frame_time: Span::secs(30),
            handshake_time: Span::secs(10),
        }
    }
}

fn default_ack_wait() -> Span {
    Span::secs(10)
}

fn default_reload() -> Span {
    Span::secs(10)
}
