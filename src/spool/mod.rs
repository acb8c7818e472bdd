//! One bounded queue of blocks a sink. Today in memory; a disk spool stands behind the same face.

pub mod disk;
mod lease;
mod queue;
#[cfg(test)]
mod tests;

pub use lease::{Lease, Receipt};
pub use queue::{LaneState, Queue, QueueConfig, WhenFull};
