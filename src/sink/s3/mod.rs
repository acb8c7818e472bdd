//! The `s3` sink: objects made of sealed blocks. When an object is closed is [`super::object`]'s decision; the store
//! here makes the requests.

mod config;
#[cfg(feature = "aws")]
mod store;

pub use config::S3Config;
pub(crate) use config::default_prefix;
#[cfg(feature = "aws")]
pub use store::{S3Part, S3Store, S3Upload};

#[cfg(feature = "aws")]
use crate::sink::{
    SinkContext,
    object::{self, Objects},
};

/// Delivers the sink's queue into a bucket. Returns when the process drains and nothing is left.
#[cfg(feature = "aws")]
pub async fn run(context: SinkContext, config: S3Config) {
    let store = S3Store::new(&config, context.metrics.clone());
    run_with(context, config, store).await;
}

/// The same with a store of the caller's choice.
#[cfg(feature = "aws")]
pub async fn run_with(context: SinkContext, config: S3Config, store: S3Store) {
    let objects = Objects {
        object: config.object,
        extension: object::extension(config.format, config.compression),
        compression: config.compression,
        single_frame: config.single_frame,
        retry: config.retry,
    };
    object::run(context, objects, store).await;
}
