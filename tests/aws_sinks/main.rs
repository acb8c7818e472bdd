//! The AWS sinks against a small AWS on loopback that holds AWS's rules and fails in each of AWS's ways.
#![cfg(feature = "aws")]

mod cloudwatch_logs;
mod fake;
mod rig;
mod s3;
