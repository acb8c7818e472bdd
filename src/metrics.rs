//! What is measured beside the ledger: requests and their latencies, retries, sizes, and small events by kind.

use std::sync::Arc;
use std::time::Duration;

/// The metrics of one sink.
#[derive(Clone, Debug)]
pub struct SinkMetrics {
    sink: Arc<str>,
}

impl SinkMetrics {
    /// For the sink of this name.
    pub fn new(sink: &str) -> Self {
        Self { sink: sink.into() }
    }

    /// One attempt of a request ended. `api` is the AWS operation (`PutObject`, `PutLogEvents`) or the file operation;
    /// `result` is `ok`, `throttled`, `timeout`, `refused`, `error`, …
    pub fn request(&self, api: &'static str, result: &'static str, took: Duration, bytes: u64) {
        let _ = (&self.sink, api, result, took, bytes);
    }

    /// A request will be repeated.
    pub fn retry(&self, api: &'static str) {
        let _ = api;
    }

    /// An object was closed: its stored bytes and why (`size`, `age`, `pressure`, `ack`, `drain`).
    pub fn object(&self, bytes: u64, closed_by: &'static str) {
        let _ = (bytes, closed_by);
    }

    /// Something worth counting happened `n` times (`name_missing`, `invalid_utf8`, …).
    pub fn event(&self, kind: &'static str, n: u64) {
        let _ = (kind, n);
    }
}
