//! Addresses to listen on, as written in the config.

use std::path::PathBuf;

use thiserror::Error;

/// Longest path of a unix socket that Linux binds (`sun_path` has 108 bytes with its end).
const MAX_UNIX_PATH: usize = 107;

/// Where a forward source listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `unix:///path`
    Unix(PathBuf),
    /// `tcp://host:port`, with the host as `ToSocketAddrs` takes it (an IPv6 address in brackets).
    Tcp(String),
    /// `tls://host:port`: TCP with TLS inside.
    Tls(String),
}

/// Why an address is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "`{address}` is no address to listen on: {why}; write for example unix:///var/run/fluent.sock, \
     tcp://127.0.0.1:24224 or tls://0.0.0.0:24224"
)]
pub struct AddressError {
    address: String,
    why: &'static str,
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let fail = |why| AddressError { address: text.to_owned(), why };
        if let Some(path) = text.strip_prefix("unix://") {
            return match path {
                _ if !path.starts_with('/') => Err(fail("the path of a unix socket is absolute")),
                _ if path.ends_with('/') => Err(fail("the path names a directory")),
                _ if path.len() > MAX_UNIX_PATH => Err(fail("the path of a unix socket has at most 107 bytes")),
                _ if path.contains('\0') => Err(fail("the path holds a NUL")),
                _ => Ok(Self::Unix(path.into())),
            };
        }
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let made = match scheme {
            "tcp" => Self::Tcp,
            "tls" => Self::Tls,
            _ => return Err(fail("it begins with none of unix://, tcp:// and tls://")),
        };
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| fail("the port is missing"))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bracketed {
            Some(ip) if ip.parse::<std::net::Ipv6Addr>().is_err() => {
                return Err(fail("what stands in brackets is no IPv6 address"));
            }
            None if host.contains(':') => return Err(fail("an IPv6 address stands in brackets")),
            None if host.is_empty() => return Err(fail("the host is missing")),
            None if host.contains(['/', '@', ' ']) => return Err(fail("the host is no name")),
            _ => {}
        }
        if port.parse::<u16>().is_err() {
            return Err(fail("the port is no number from 0 to 65535"));
        }
        Ok(made(rest.to_owned()))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host_and_port) => write!(f, "tcp://{host_and_port}"),
            Self::Tls(host_and_port) => write!(f, "tls://{host_and_port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in ["unix:///var/run/fluent.sock", "tcp://127.0.0.1:24224", "tcp://[::1]:0", "tls://localhost:24224"] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn says_why_an_address_is_none() {
        let long = format!("unix:///{}", "x".repeat(107));
        for (text, why) in [
            ("/var/run/fluent.sock", "none of unix://, tcp:// and tls://"),
            ("udp://127.0.0.1:1", "none of unix://, tcp:// and tls://"),
            ("unix://var/run/x", "absolute"),
            ("unix:///var/run/", "directory"),
            (&*long, "107 bytes"),
            ("tcp://127.0.0.1", "port is missing"),
            ("tls://127.0.0.1", "port is missing"),
            ("tcp://:24224", "host is missing"),
            ("tcp://::1:24224", "in brackets"),
            ("tcp://[::g]:1", "no IPv6 address"),
            ("tcp://localhost:65536", "0 to 65535"),
            ("tcp://localhost:http", "0 to 65535"),
        ] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
