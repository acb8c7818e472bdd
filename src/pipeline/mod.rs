//! Builds the pipeline from a plan, runs it, gives it other plans and drains it. The only module that knows every other;
//! it spawns the long-lived tasks, and each has an owner here that awaits it.
//!
//! Build binds every socket first, in milliseconds, before AWS, DNS or metadata are asked for anything: the container
//! runtime may already be waiting to write.

mod audit;
mod build;
mod drain;
mod intake;
mod metadata;
mod outlet;
mod parts;
mod pool;
mod reload;
pub mod report;
mod sinks;
mod sources;
mod undecodable;
mod worker;

#[cfg(test)]
mod tests;

pub use build::{BuildError, Pipeline};
pub use drain::Drained;
