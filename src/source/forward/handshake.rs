//! The handshake of the Forward protocol, before any record: HELO with a nonce from us, PING with the peer's proof that
//! it knows the shared key (and a user's password), PONG with our own proof.
//!
//! It fails closed: what is not proven is refused, and a refusal is final. Digests are compared in constant time.
//! Synchronous, bytes in and bytes out; reading and the time limit are the door's.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA512};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use thiserror::Error;

use super::{AuthConfig, UserConfig};
use crate::config::value::Secret;
use crate::record::msgpack::{self, Reader, Value, write};

/// Longest PING. Real ones have below 500 bytes, names of hosts and users included; Fluent Bit reads at most 1,024.
pub const MAX_PING: usize = 4096;

/// Random bytes of a nonce and of a salt; as hex they are text, which no client's msgpack library takes for UTF-8 that
/// is broken.
const RANDOM: usize = 16;

/// Why a peer is not let in.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// It begins with something else, a frame of records most often.
    #[error("the peer sends without the handshake that `auth` asks for; set the shared key at the peer")]
    NoHandshake,
    /// A TLS handshake.
    #[error("the peer speaks TLS, and this address does not; listen on tls://, or switch TLS off at the peer")]
    Tls,
    /// It is a PING in name only.
    #[error("the peer's PING is malformed")]
    Malformed,
    /// It is longer than any real one.
    #[error("the peer's PING is longer than {MAX_PING} bytes")]
    TooLong,
    /// More came before the peer could know that it is let in.
    #[error("the peer sends on before its PING was answered")]
    Early,
    /// The digest is not that of the shared key.
    #[error("the peer has another shared key")]
    SharedKey,
    /// Nobody of that name has a password with that digest.
    #[error("the peer's user is unknown, or its password is another")]
    User,
}

impl Refusal {
    /// A Prometheus label value.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoHandshake => "no_handshake",
            Self::Tls => "tls_on_plain",
            Self::Malformed => "malformed_ping",
            Self::TooLong => "ping_too_long",
            Self::Early => "early_data",
            Self::SharedKey => "shared_key_mismatch",
            Self::User => "user_mismatch",
        }
    }

    /// The PONG that says no, in the words of Fluentd.
    pub fn pong(self) -> Vec<u8> {
        let why = match self {
            Self::SharedKey => "shared_key mismatch",
            Self::User => "username/password mismatch",
            _ => "invalid ping message",
        };
        pong(false, why, "", "")
    }
}

/// What peers have to prove, and who we are.
#[derive(Clone, Debug)]
pub struct Keys {
    hostname: String,
    shared_key: Secret,
    users: Vec<UserConfig>,
}

impl Keys {
    /// As configured.
    pub fn new(config: &AuthConfig) -> Self {
        let name_of_host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            hostname: config.self_hostname.clone().unwrap_or_else(name_of_host),
            shared_key: config.shared_key.clone(),
            users: config.users.clone(),
        }
    }

    /// A challenge for one peer, with random numbers of its own.
    pub fn challenge(&self) -> Result<Challenge<'_>, Unspecified> {
        let mut random = [[0; RANDOM]; 2];
        for part in &mut random {
            rand::fill(part)?;
        }
        Ok(Challenge { keys: self, nonce: hex(&random[0]), salt: hex(&random[1]) })
    }

    /// What one side shows to prove that it knows the shared key.
    fn proof(&self, salt: &[u8], hostname: &[u8], nonce: &str) -> String {
        sha512([salt, hostname, nonce.as_bytes(), self.shared_key.reveal().as_bytes()])
    }
}

/// One peer's challenge.
#[derive(Debug)]
pub struct Challenge<'a> {
    keys: &'a Keys,
    nonce: String,
    salt: String,
}

impl Challenge<'_> {
    /// The first message, ours.
    pub fn helo(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write::array(&mut out, 2);
        write::str(&mut out, b"HELO");
        write::map(&mut out, 3);
        write::str(&mut out, b"nonce");
        write::str(&mut out, self.nonce.as_bytes());
        // A client that finds a salt sends a user; without users none is asked for.
        write::str(&mut out, b"auth");
        write::str(&mut out, if self.keys.users.is_empty() { b"" } else { self.salt.as_bytes() });
        write::str(&mut out, b"keepalive");
        write::bool(&mut out, true);
        out
    }

    /// Judges all that the peer has sent so far. The PONG is for a peer that is let in; none when more must come.
    pub fn answer(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let mut reader = Reader::new(bytes);
        let ping = match Ping::read(&mut reader) {
            Ok(ping) => ping,
            Err(_) if bytes.starts_with(&super::TLS_HANDSHAKE) => return Err(Refusal::Tls),
            Err(Unread::Msgpack(msgpack::Error::Incomplete)) if bytes.len() < MAX_PING => return Ok(None),
            Err(Unread::Msgpack(msgpack::Error::Incomplete)) => return Err(Refusal::TooLong),
            Err(Unread::Msgpack(_)) => return Err(Refusal::NoHandshake),
            Err(Unread::Refused(refusal)) => return Err(refusal),
        };
        if !reader.is_empty() {
            return Err(Refusal::Early);
        }
        let keys = self.keys;
        if !equal(&keys.proof(ping.salt, ping.hostname, &self.nonce), ping.digest) {
            return Err(Refusal::SharedKey);
        }
        if !keys.users.is_empty() && !self.is_user(&ping) {
            return Err(Refusal::User);
        }
        let proof = keys.proof(ping.salt, keys.hostname.as_bytes(), &self.nonce);
        Ok(Some(pong(true, "", &keys.hostname, &proof)))
    }

    /// Every user is tried, so that the time taken does not tell which names there are.
    fn is_user(&self, ping: &Ping<'_>) -> bool {
        self.keys.users.iter().fold(false, |found, UserConfig { username, password }| {
            let expected = sha512([self.salt.as_bytes(), username.as_bytes(), password.reveal().as_bytes()]);
            let same = equal(&expected, ping.user_digest) & (username.as_bytes() == ping.user);
            found | same
        })
    }
}

/// `["PING", hostname, salt, digest, user, user digest]`
struct Ping<'a> {
    hostname: &'a [u8],
    salt: &'a [u8],
    digest: &'a [u8],
    user: &'a [u8],
    user_digest: &'a [u8],
}

enum Unread {
    Msgpack(msgpack::Error),
    Refused(Refusal),
}

impl<'a> Ping<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Unread> {
        let Value::Array(count) = reader.read().map_err(Unread::Msgpack)? else {
            return Err(Unread::Refused(Refusal::NoHandshake));
        };
        if reader.read().map_err(Unread::Msgpack)?.text() != Some(b"PING") {
            return Err(Unread::Refused(Refusal::NoHandshake));
        }
        if count != 6 {
            return Err(Unread::Refused(Refusal::Malformed));
        }
        let mut text = || match reader.read() {
            Ok(value) => value.text().ok_or(Unread::Refused(Refusal::Malformed)),
            Err(msgpack::Error::Incomplete) => Err(Unread::Msgpack(msgpack::Error::Incomplete)),
            Err(_) => Err(Unread::Refused(Refusal::Malformed)),
        };
        Ok(Self { hostname: text()?, salt: text()?, digest: text()?, user: text()?, user_digest: text()? })
    }
}

fn pong(welcome: bool, why: &str, hostname: &str, proof: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write::array(&mut out, 5);
    write::str(&mut out, b"PONG");
    write::bool(&mut out, welcome);
    for text in [why, hostname, proof] {
        write::str(&mut out, text.as_bytes());
    }
    out
}

fn equal(expected: &str, given: &[u8]) -> bool {
    verify_slices_are_equal(expected.as_bytes(), given).is_ok()
}

/// The digest of the parts one after the other, in lower-case hex.
fn sha512<const N: usize>(parts: [&[u8]; N]) -> String {
    let mut context = Context::new(&SHA512);
    for part in parts {
        context.update(part);
    }
    hex(context.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests;
