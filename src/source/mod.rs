//! Where records come from. A source turns bytes of its peers into [`RecordBatch`]es and hands them to an [`Intake`];
//! it knows neither rules nor sinks.

mod excerpt;
pub mod forward;
pub mod join;
mod shutdown;

use std::future::Future;

use crate::record::RecordBatch;

pub use excerpt::Excerpt;
pub use shutdown::{Control, Phase, Shutdown, Told};

/// What a source hands its batches to.
pub trait Intake: Clone + Send + Sync + 'static {
    /// Joins, routes and encodes the batch now. When it returns, the records are in the queues: a sender that wants
    /// `ack: received` may be told.
    fn take(&self, batch: RecordBatch);

    /// The same for a sender that is told as soon as this returns: what another thread can do is left to it.
    fn take_promptly(&self, batch: RecordBatch) {
        self.take(batch);
    }

    /// Comes back when the queues that this intake's last batches went to have room again. A source does not read on
    /// before: that is the back-pressure. Cancel safe.
    fn room(&self) -> impl Future<Output = ()> + Send;

    /// Counts records of a source that could not be taken, by reason (a Prometheus label value such as
    /// `not_a_map`). `bytes` are their msgpack bytes.
    fn refuse(&self, reason: &'static str, records: u64, bytes: u64);

    /// Shows bytes of `peer` that make no record, with the reason that they are counted under elsewhere.
    fn undecodable(&self, reason: &'static str, peer: &str, excerpt: &Excerpt) {
        let _ = (reason, peer, excerpt);
    }
}
