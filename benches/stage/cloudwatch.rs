//! Blocks of entries to the bodies of PutLogEvents requests, before gzip.

use std::hint::black_box;

use bytes::Bytes;
use logweir::encode::entries::EntryEncoder;
use logweir::encode::{Encoder, Message};
use logweir::sink::cloudwatch_logs::request::{LIMITS, plan};

use super::fixture::RECEIVED;
use super::{Work, lines};

const NOW_MILLIS: i64 = RECEIVED / 1_000_000;

fn blocks() -> [Bytes; 1] {
    [Bytes::from(lines::encoded(Encoder::Entries(EntryEncoder::new(Message::Record))))]
}

/// Which events go into which request. The floor copies them once, which is more than planning has to do.
pub(super) fn plan_requests() -> Work {
    let blocks = blocks();
    let bytes = blocks[0].clone();
    Work {
        bytes: bytes.len(),
        run: Box::new(move || black_box(plan(black_box(&blocks), NOW_MILLIS, LIMITS)).batches.len()),
        floor: "memcpy",
        run_floor: copy(&bytes),
    }
}

/// Planned requests written as JSON.
pub(super) fn body() -> Work {
    let blocks = blocks();
    let (planned, mut body) = (plan(&blocks, NOW_MILLIS, LIMITS), Vec::new());
    let bytes = blocks[0].clone();
    Work {
        bytes: bytes.len(),
        run: Box::new(move || {
            body.clear();
            planned
                .batches
                .iter()
                .for_each(|batch| batch.write_body("/ecs/app", "app/0123", black_box(&blocks), &mut body));
            body.len()
        }),
        floor: "memcpy",
        run_floor: copy(&bytes),
    }
}

fn copy(bytes: &Bytes) -> super::Run {
    let (bytes, mut out) = (bytes.clone(), Vec::new());
    Box::new(move || {
        out.clear();
        out.extend_from_slice(black_box(&bytes));
        out.len()
    })
}
