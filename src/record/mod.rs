//! A record as it came: raw msgpack in a shared buffer, and the ways to look into it without building a tree.
//!
//! Synchronous functions over bytes: no async, no AWS, no clock.

mod batch;
pub mod json;
pub(crate) mod keys;
pub mod level;
pub mod msgpack;
pub mod name;
pub mod path;
mod tag;
#[cfg(test)]
pub(crate) mod testing;
mod ticket;
pub(crate) mod wide;

/// What a ticket is made of; `tests/ticket.rs` puts loom's in its place.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU8, Ordering};
    pub(super) use std::sync::{Arc, Mutex};
}

pub use batch::{EcsMetadata, Record, RecordBatch, RecordSpan, UnixNanos};
pub use tag::Tag;
pub use ticket::{Outcome, Ticket, Tickets};
