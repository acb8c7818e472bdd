//! The Fluent Forward source.

mod config;
pub use config::*;
