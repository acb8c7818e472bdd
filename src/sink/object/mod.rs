//! Objects: sealed blocks of one partition, one after the other, closed by size, age, pressure, a waiting ack, the
//! drain or a reload. The store behind them is S3 or a directory.
//!
//! [`run`] is the one task of such a sink. `cutter` decides when an object is closed, `driver` takes blocks from the
//! queue and keeps up to [`REQUESTS`] requests under way, `upload` brings one object to its end whose parts go out as
//! they fill, `whole` one whose blocks are on disk, `frame` compresses anew what should not go out as it lies in the
//! queue, `key` names objects.

mod cutter;
mod driver;
mod frame;
mod key;
#[cfg(test)]
mod tests;
mod upload;
mod whole;

pub(crate) use cutter::MEAN_AGE;
pub use driver::{Objects, run};

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::encode::{Compression, Format};

/// Requests of one sink under way at once. Four of 8 MiB fill a Fargate task's network, and bound what they hold.
pub const REQUESTS: usize = 4;

/// Sizes of parts.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// An object up to this size is one request; a larger one is written in parts of about this size.
    part: u64,
    /// No part is smaller, the last one excepted.
    min_part: u64,
}

/// 8 MiB keep four requests within 32 MiB; S3 refuses parts below 5 MiB (`EntityTooSmall`).
const LIMITS: Limits = Limits { part: PART, min_part: 5 << 20 };

/// Bytes of a part, and of the largest object that goes out in one request.
pub(crate) const PART: u64 = 8 << 20;

impl Limits {
    fn of(bound: u64) -> Self {
        Self { part: part_size(bound), ..LIMITS }
    }
}

/// Bytes of a part with a queue of this bound: a body is a copy of its blocks, which a small queue has no room for
/// beside them.
pub fn part_size(bound: u64) -> u64 {
    (bound / 4).clamp(LIMITS.min_part, LIMITS.part)
}

/// S3's bound on the parts of an object.
pub const MAX_PARTS: usize = 10_000;

/// Why a part or the end of an upload is refused when somebody has aborted it, a lifecycle rule for example.
pub const NO_SUCH_UPLOAD: &str = "no_such_upload";

/// How keys end.
pub fn extension(format: Format, compression: Compression) -> String {
    let Format::Ndjson = format;
    format!("ndjson{}", compression.extension())
}

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

/// Names of a store's requests.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Apis {
    pub put: &'static str,
    pub create: &'static str,
    pub part: &'static str,
    pub complete: &'static str,
}

/// Where objects are kept. Each call is one attempt; the caller repeats it, and begins a part or the end of an upload
/// only after all earlier parts are confirmed. An attempt may be dropped before its end and repeated, by this process
/// or the next: a key stands for one object for ever, so that one which is there already is done.
pub trait ObjectStore: Send + Sync + 'static {
    /// An object that is written in parts.
    type Upload: Send + Sync + 'static;
    /// What confirms a part.
    type Part: Send + Sync + 'static;

    /// What its requests are called in log and metrics.
    const APIS: Apis = Apis {
        put: "PutObject",
        create: "CreateMultipartUpload",
        part: "UploadPart",
        complete: "CompleteMultipartUpload",
    };

    /// Writes a whole object.
    fn put(&self, key: &str, body: &[Bytes]) -> impl Future<Output = Attempt<()>> + Send;
    /// Begins an object in parts.
    fn create(&self, key: &str) -> impl Future<Output = Attempt<Self::Upload>> + Send;
    /// Aborts what a process that was killed has begun under this key: the upload that [`ObjectStore::id`] told of, and
    /// any whose id it never learnt. As far as it can; what stays costs money and nothing else.
    fn abort_unfinished(&self, key: &str, id: Option<&str>) -> impl Future<Output = ()> + Send;
    /// What tells the next process of an upload; none if there is no need.
    fn id(upload: &Self::Upload) -> Option<&str>;
    /// Writes part `number`, counted from 1.
    fn part(
        &self,
        upload: &Self::Upload,
        number: u32,
        body: &[Bytes],
    ) -> impl Future<Output = Attempt<Self::Part>> + Send;
    /// Ends an object in parts; only now it appears.
    fn complete(&self, upload: &Self::Upload, parts: &[Self::Part]) -> impl Future<Output = Attempt<()>> + Send;
    /// Gives up an object in parts; what the store has of it is removed. Never called once the only copy of a part's bytes was let go.
    fn abort(&self, upload: Self::Upload) -> impl Future<Output = Attempt<()>> + Send;
}
