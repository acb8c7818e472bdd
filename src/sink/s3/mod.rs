//! The `s3` sink: objects made of sealed blocks.

mod config;
pub use config::S3Config;
pub(crate) use config::default_prefix;
