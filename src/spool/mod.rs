//! One bounded queue of blocks a sink, in memory or on disk behind the same face.
//!
//! `queue` is the face, `state` and `lane` what it holds, `lease` what a sink has taken, `keeper` the task that writes
//! to and reads from a disk, and [`disk`] what lies there; `queues` lists them all.

pub mod disk;
mod keeper;
mod lane;
mod lease;
mod queue;
mod queues;
mod reserved;
mod state;
#[cfg(test)]
mod tests;

pub use keeper::DiskState;
pub use lane::LaneState;
pub use lease::{Lease, Loaded, Receipt};
pub use queue::{Queue, QueueConfig, WhenFull};
pub use queues::{Listed, Queues};
pub use reserved::Reserved;
