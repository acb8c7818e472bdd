//! Sinks: from blocks to objects, requests or lines at their target.

pub mod cloudwatch_logs;
pub mod common;
pub mod file;
pub mod s3;
pub mod stdout;
