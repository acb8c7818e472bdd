//! The `file` sink: the objects of the `s3` sink as files below a directory. They appear whole: written aside, synced,
//! renamed.

mod config;
mod staging;
mod store;
#[cfg(test)]
mod tests;

pub use config::FileConfig;
pub use store::FileStore;

use crate::sink::SinkContext;
use crate::sink::object::{self, Objects};

/// Delivers the sink's queue into files. Returns when the process drains and nothing is left.
pub async fn run(context: SinkContext, config: FileConfig) {
    let store = FileStore::new(config.path, &context.writer, context.queue.sink(), context.metrics.clone());
    let objects = Objects {
        object: config.object,
        extension: object::extension(config.format, config.compression),
        compression: config.compression,
        single_frame: config.single_frame,
        retry: config.retry,
    };
    object::run(context, objects, store).await;
}
