//! A `forward` source as written in the config, and the addresses that it listens on.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::value::{Size, Span};

/// Fluent Forward: Docker's fluentd driver, Fluent Bit, Fluentd, fluent-logger packages.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardConfig {
    /// Addresses to listen on: `unix:///path` and `tcp://host:port`. A tcp address answers UDP heartbeats too.
    pub listen: Vec<String>,
    /// When a chunk is acked: `received` (routed and in the queues) or `delivered` (accepted by every sink).
    #[serde(default)]
    pub ack: AckMode,
    /// With `ack: delivered`, the longest that a waiting chunk's object stays open for more records.
    #[serde(default = "default_ack_wait")]
    pub ack_wait: Span,
    /// Join the parts into which Docker cuts long lines.
    #[serde(default)]
    pub join: JoinConfig,
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
    /// Accepted by every sink that the rules chose.
    Delivered,
}

/// Join of Docker's 16 KiB parts.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
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

/// Bounds of a forward source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
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
}

impl Default for ForwardLimits {
    fn default() -> Self {
        Self { frame: Size::mib(8), inflated: Size::mib(64), connections: 1024, frame_time: Span::secs(30) }
    }
}

fn default_ack_wait() -> Span {
    Span::secs(10)
}

/// Longest path of a unix socket: `sun_path` holds 108 bytes and a NUL.
const MAX_UNIX_PATH: usize = 107;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A TCP port, and the UDP port of the same number for heartbeats.
    Tcp(SocketAddr),
}

impl FromStr for ListenAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const ACCEPTED: &str = "accepted: unix:///absolute/path or tcp://address:port, for example tcp://0.0.0.0:24224";
        if let Some(path) = text.strip_prefix("unix://") {
            return match path.len() {
                _ if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') => {
                    Err(format!("`{text}` has no absolute path of a socket; {ACCEPTED}"))
                }
                len if len > MAX_UNIX_PATH => {
                    Err(format!("the path in `{text}` has {len} bytes, a unix socket's has at most {MAX_UNIX_PATH}"))
                }
                _ => Ok(Self::Unix(path.into())),
            };
        }
        let Some(address) = text.strip_prefix("tcp://") else {
            return Err(format!("`{text}` is no address; {ACCEPTED}"));
        };
        // A name would need DNS before a port is bound; `localhost` is the one that everybody writes.
        let numeric = match address.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => address.to_owned(),
        };
        numeric.parse().map(Self::Tcp).map_err(|_| format!("`{text}` has no IP address and port; {ACCEPTED}"))
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print_alike() {
        for text in ["unix:///var/run/fluent.sock", "tcp://127.0.0.1:24224", "tcp://[::]:24224"] {
            assert_eq!(text.parse::<ListenAddr>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("tcp://localhost:1".parse(), Ok(ListenAddr::Tcp(([127, 0, 0, 1], 1).into())));
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_is_accepted() {
        let long = format!("unix:///{}", "x".repeat(200));
        for text in [
            "",
            "24224",
            "tcp://:24224",
            "tcp://host:1",
            "tcp://1.2.3.4",
            "udp://1.2.3.4:1",
            "unix://a",
            "unix:///",
            &long,
        ] {
            let error = text.parse::<ListenAddr>().expect_err(text);
            assert!(error.contains("accepted") || error.contains("at most 107"), "{error}");
        }
    }
}
