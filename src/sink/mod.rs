//! Sinks: from blocks to objects, requests or lines at their target.

pub mod cloudwatch_logs;
pub mod common;
mod context;
pub mod dead_letters;
pub mod file;
pub mod object;
pub mod retry;
pub mod s3;
#[cfg(feature = "aws")]
mod service;
pub mod stdout;

pub use context::{Phase, SinkContext};
pub use dead_letters::DeadLetters;
