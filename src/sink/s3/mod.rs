//! The `s3` sink: objects made of sealed blocks.

mod config;
#[cfg(feature = "aws")]
mod store;

pub use config::S3Config;
pub(crate) use config::default_prefix;
#[cfg(feature = "aws")]
pub use store::{S3Part, S3Store, S3Upload};
