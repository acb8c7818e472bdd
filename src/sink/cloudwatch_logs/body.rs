//! The bytes of a request: JSON, then one gzip member. Buffers and compressors are few and reused, and work of more
//! than a moment leaves the threads that read sockets.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor};
use tokio::sync::Semaphore;

use super::config::BodyCompression;
use super::request::Batch;

/// Requests that are put together at the same time: each has two buffers of a megabyte and more.
const BUILDERS: usize = 2;

/// A queue of this bound or more has room for so many beside it, a smaller one for one.
const ROOM: u64 = 16 << 20;

/// Up to here (0.2 ms of work) a request is put together in place.
const IN_PLACE: u64 = 64 << 10;

/// The fastest level: log lines shrink to a tenth already, and wire bytes cost little against CPU.
const LEVEL: i32 = 1;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    /// Log group.
    pub(super) group: Box<str>,
    /// Log stream.
    pub(super) stream: Box<str>,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub(super) struct Body {
    /// As sent.
    pub(super) bytes: Bytes,
    /// Whether it is a gzip member.
    pub(super) gzip: bool,
}

/// Puts the bodies of one sink's requests together.
#[derive(Debug)]
pub(super) struct Bodies {
    compression: BodyCompression,
    permits: Semaphore,
    idle: Mutex<Vec<Builder>>,
}

/// A buffer that has grown, and a compressor.
struct Builder {
    json: Vec<u8>,
    gzip: Vec<u8>,
    compressor: Compressor,
}

impl Bodies {
    /// For a sink with this compression and a queue of this bound.
    pub(super) fn new(compression: BodyCompression, queue: u64) -> Arc<Self> {
        let builders = if queue < ROOM { 1 } else { BUILDERS };
        Arc::new(Self { compression, permits: Semaphore::new(builders), idle: Mutex::default() })
    }

    /// The body of this request. Cancel safe: the work ends in the background.
    pub(super) async fn build(
        self: &Arc<Self>,
        target: &Arc<Target>,
        blocks: &Arc<[Bytes]>,
        batch: Arc<Batch>,
    ) -> Body {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        if batch.bytes() <= IN_PLACE {
            return self.build_now(target, blocks, &batch);
        }
        let (bodies, target, blocks) = (Arc::clone(self), Arc::clone(target), Arc::clone(blocks));
        match tokio::task::spawn_blocking(move || bodies.build_now(&target, &blocks, &batch)).await {
            Ok(body) => body,
            // The task cannot be cancelled but by the end of the runtime, which ends this one too.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn build_now(&self, target: &Target, blocks: &[Bytes], batch: &Batch) -> Body {
        if self.compression == BodyCompression::None {
            // Sent as it is, so that it is not copied out of a buffer.
            let mut json = Vec::with_capacity(batch.body_len(&target.group, &target.stream));
            batch.write_body(&target.group, &target.stream, blocks, &mut json);
            return Body { bytes: json.into(), gzip: false };
        }
        let mut builder = self.idle().pop().unwrap_or_else(Builder::new);
        builder.json.clear();
        batch.write_body(&target.group, &target.stream, blocks, &mut builder.json);
        let body = Body { bytes: Bytes::copy_from_slice(builder.compressed()), gzip: true };
        let mut idle = self.idle();
        if idle.len() < BUILDERS {
            idle.push(builder);
        }
        body
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Builder>> {
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Builder {
    fn new() -> Self {
        let level = CompressionLvl::new(LEVEL).expect("libdeflate has level 1");
        Self { json: Vec::new(), gzip: Vec::new(), compressor: Compressor::new(level) }
    }

    fn compressed(&mut self) -> &[u8] {
        self.gzip.resize(self.compressor.gzip_compress_bound(self.json.len()), 0);
        let len = self.compressor.gzip_compress(&self.json, &mut self.gzip);
        self.gzip.get(..len.expect("the bound holds any input")).expect("it wrote into the buffer")
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Builder({} bytes)", self.json.capacity() + self.gzip.capacity())
    }
}
