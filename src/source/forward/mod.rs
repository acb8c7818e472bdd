//! The Fluent Forward source: sockets, frames, acks.
//!
//! [`Listeners::bind`] opens the sockets, in milliseconds and before anything else; [`fn@serve`] accepts and runs one
//! task a connection until it is told to end. A connection passes the door ([`Tls`], [`handshake`]), reads into one buffer ([`frame`] measures and slices it),
//! hands batches to the intake, waits for room, and reads on: not reading is the back-pressure, and no connection is
//! ever closed to slow its sender down. What a connection holds beyond a small buffer it takes from the [`Budget`] of
//! the source. Acks are written beside the reading.
//!
//! This is the one place besides `pipeline` that spawns: a task a connection, all owned by the future of [`fn@serve`].

mod accept;
mod acks;
mod address;
mod budget;
mod config;
mod connection;
mod door;
mod entries;
pub mod frame;
mod gather;
pub mod handshake;
mod inflate;
mod lanes;
mod listen;
mod malformed;
mod outline;
mod serve;
mod setup;
mod stats;
mod time;
mod tls;

pub use address::{Address, AddressError};
pub use budget::Budget;
pub use config::*;
pub use entries::Tally;
pub use listen::{BindError, Listeners};
pub use malformed::Malformed;
pub use serve::{Resources, serve};
pub use setup::Setup;
pub use stats::{Counter, ForwardStats};
pub use tls::{Tls, TlsError};

/// Longest tag: the longest real ones are paths of at most 4,096 bytes. Every output line of a record repeats the tag,
/// so that a frame of tiny records under a huge tag would grow a million times.
pub const MAX_TAG: usize = 4096;

/// How a TLS connection begins: content type and major version of its first record.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 3];

/// Longest chunk token with its header; real ones have 24 to 64 bytes.
pub const MAX_CHUNK: usize = 1024;
