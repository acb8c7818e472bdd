//! Objects: sealed blocks of one partition, one after the other, closed by size, age, pressure, a waiting ack or the
//! drain. The store behind them is S3 or a directory.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

/// What became of one attempt to send something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt<T> {
    /// The target has it.
    Done(T),
    /// Worth another try, after this long if the target said so. The text is for the log.
    Retry(Option<Duration>, String),
    /// Never worth another try: a reason for the ledger and a text for the log that says what to do.
    Rejected(&'static str, String),
}

/// Where objects are kept. Each call is one attempt; the caller repeats it.
pub trait ObjectStore: Send + Sync + 'static {
    /// An object that is written in parts.
    type Upload: Send + Sync + 'static;
    /// What confirms a part.
    type Part: Send + Sync + 'static;

    /// Writes a whole object.
    fn put(&self, key: &str, body: &[Bytes]) -> impl Future<Output = Attempt<()>> + Send;
    /// Begins an object in parts.
    fn create(&self, key: &str) -> impl Future<Output = Attempt<Self::Upload>> + Send;
    /// Writes part `number`, counted from 1.
    fn part(
        &self,
        upload: &Self::Upload,
        number: u32,
        body: &[Bytes],
    ) -> impl Future<Output = Attempt<Self::Part>> + Send;
    /// Ends an object in parts; only now it appears.
    fn complete(&self, upload: &Self::Upload, parts: &[Self::Part]) -> impl Future<Output = Attempt<()>> + Send;
}
