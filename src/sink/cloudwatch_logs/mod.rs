//! The `cloudwatch_logs` sink: PutLogEvents requests built at send time.
//!
//! [`fn@run`] decides which blocks leave when, `deliver` sees one flight through to its end, [`request`] knows the rules
//! of a request, `create` makes groups and streams that are missing, `retention` is set beside the records, `client` makes
//! the calls.

#[cfg(feature = "aws")]
mod body;
#[cfg(feature = "aws")]
mod client;
mod config;
#[cfg(feature = "aws")]
mod create;
#[cfg(feature = "aws")]
mod deliver;
pub mod request;
#[cfg(feature = "aws")]
mod retention;
#[cfg(feature = "aws")]
mod run;

pub use config::*;
#[cfg(feature = "aws")]
pub use run::{run, run_with};
