//! A queue on disk: segments of blocks and a journal of what became of them.
//!
//! Synchronous and single-handed: [`Store`] is the one writer, called from a blocking thread by the queue that owns it;
//! reading needs no more than a [`Location`]. `files` are the operations of the file system, `frame` how a block is
//! written, `segment` a file of them and the walk over it, `journal` the entries, `ranges` sets of sequences, `recover`
//! what opening makes of all this; of the store, `append` writes blocks and `cold` reads them back. `home` is the
//! spool's directory with its lock. `look` and `repair` are for people.

mod append;
mod cold;
pub mod files;
pub mod frame;
pub mod home;
pub mod journal;
pub mod look;
mod ranges;
mod recover;
mod repair;
pub mod segment;
#[cfg(test)]
pub(in crate::spool) mod sim;
mod store;
#[cfg(test)]
mod tests;

pub use cold::Refill;
pub use home::{Home, HomeError};
pub use ranges::Ranges;
pub use recover::Recovered;
pub use repair::repair;
pub use segment::Location;
pub use store::{Anchor, Commit, Committed, CutEntry, Ended, Limits, Store, Stored, ToStore};
