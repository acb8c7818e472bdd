//! The Fluent Forward source.

mod address;
mod config;

pub use address::{Address, AddressError};
pub use config::*;
