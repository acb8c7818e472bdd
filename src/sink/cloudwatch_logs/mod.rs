//! The `cloudwatch_logs` sink: PutLogEvents requests built at send time.

mod config;
pub use config::*;
