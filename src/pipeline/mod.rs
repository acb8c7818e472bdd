//! Builds the pipeline from a plan, runs it and drains it. The only module that knows every other, and the only one
//! that spawns: each task has an owner here that awaits it.
//!
//! Build binds every socket first, in milliseconds, before AWS, DNS or metadata are asked for anything: the container
//! runtime may already be waiting to write.

mod build;
mod drain;
mod metadata;
mod outlet;
pub mod report;
mod worker;

#[cfg(test)]
mod tests;

pub use build::{BuildError, Pipeline};
pub use drain::Drained;
pub use outlet::BLOCK_SIZE;
