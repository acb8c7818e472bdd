//! Bytes off a socket to blocks in a queue, as a router does it with all its books, on one thread and without
//! compression: 15 % of the records go to a second sink.

use std::hint::black_box;

use bytes::BytesMut;
use logweir::config::{Host, load};
use logweir::pipeline::Pipeline;
use logweir::source::Intake;
use logweir::source::forward::frame::Frames;
use serde::de::IgnoredAny;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::fixture::{Shape, logs};
use super::{Run, Work, frames};

/// A queue that is full drops its oldest: nobody empties it here.
const CONFIG: &str = "
sources: {forward: {listen: ['tcp://127.0.0.1:0']}}
routes:
- {name: errors, when: level >= WARN, to: [alerts, archive]}
- {name: rest, to: [archive]}
sinks:
  archive: {type: file, path: DIR, compression: none, when_full: drop_oldest, prefix: 'logs/service={container}/dt=%Y-%m-%d/hour=%H/'}
  alerts: {type: file, path: DIR, compression: none, when_full: drop_oldest, log_json: raw, prefix: 'alerts/{container}/'}
spool: memory
memory: 64MiB
admin: none
";

/// A router without peers.
pub(crate) struct Router {
    runtime: Runtime,
    pipeline: Pipeline,
    _dir: TempDir,
}

impl Router {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = CONFIG.replace("DIR", &dir.path().display().to_string());
        let host = Host { vars: &|_| None, memory_limit: None };
        let plan = load("bench.yaml", &config, &host).expect("the config is right");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let pipeline = runtime.block_on(Pipeline::build(plan)).expect("a port is free");
        Self { runtime, pipeline, _dir: dir }
    }

    /// A run over the bytes, through a worker of its own.
    pub(crate) fn reading(&self, bytes: Vec<u8>) -> impl FnMut() -> usize + Send + use<> {
        let _entered = self.runtime.enter();
        let (handle, intake) = (self.runtime.handle().clone(), self.pipeline.intake(0));
        let (mut frames, mut buf) = (Frames::new(8 << 20, 64 << 20), BytesMut::new());
        move || {
            let _entered = handle.enter();
            let mut records = 0;
            frames::each_batch(&mut frames, &mut buf, &bytes, |batch| {
                records += batch.records.len();
                intake.take(batch);
            });
            records
        }
    }
}

pub(super) fn work(bytes: Vec<u8>) -> Work {
    let (router, run_floor) = (Router::new(), floor(bytes.clone()));
    let (len, mut read) = (bytes.len(), router.reading(bytes));
    Work {
        bytes: len,
        run: Box::new(move || {
            let _kept = &router;
            read()
        }),
        floor: "2 memcpy, utf8, serde_json",
        run_floor,
    }
}

/// Bytes in and out, and each `log` checked and read once.
fn floor(bytes: Vec<u8>) -> Run {
    let (logs, mut read, mut written) = (logs(Shape::Json), Vec::new(), Vec::new());
    Box::new(move || {
        read.clear();
        written.clear();
        read.extend_from_slice(black_box(&bytes));
        for log in &logs {
            assert!(std::str::from_utf8(black_box(log.as_bytes())).is_ok(), "the fixture is UTF-8");
            serde_json::from_slice::<IgnoredAny>(black_box(log.as_bytes())).expect("the fixture is JSON");
        }
        written.extend_from_slice(black_box(&read));
        written.len()
    })
}
