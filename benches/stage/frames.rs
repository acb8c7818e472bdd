//! Bytes off a socket to batches.

use std::hint::black_box;

use bytes::BytesMut;
use logweir::record::RecordBatch;
use logweir::source::forward::frame::{Found, Frames};

use super::fixture::RECEIVED;
use super::{RECORDS, Work};

/// What a connection that is flooded reads at once.
const READ: usize = 256 << 10;

/// Each read is copied into the buffer, as the kernel does.
pub(super) fn work(bytes: Vec<u8>) -> Work {
    let (mut frames, mut buf) = (Frames::new(8 << 20, 64 << 20), BytesMut::new());
    let (mut floor, copy) = (BytesMut::new(), bytes.clone());
    Work {
        bytes: bytes.len(),
        run: Box::new(move || {
            let mut records = 0;
            each_batch(&mut frames, &mut buf, &bytes, |batch| records += batch.records.len());
            assert_eq!(records, RECORDS, "every record is found");
            records
        }),
        floor: "memcpy",
        run_floor: Box::new(move || {
            for read in copy.chunks(READ) {
                floor.clear();
                floor.extend_from_slice(black_box(read));
            }
            floor.len()
        }),
    }
}

/// Reads the bytes and gives away the batches that are found.
pub(super) fn each_batch(frames: &mut Frames, buf: &mut BytesMut, bytes: &[u8], mut take: impl FnMut(RecordBatch)) {
    for read in bytes.chunks(READ) {
        buf.reserve(READ);
        buf.extend_from_slice(black_box(read));
        while let Some(found) = frames.next(buf, RECEIVED).expect("the fixture is well formed") {
            if let Found::Records(batch) = found {
                take(batch);
            }
        }
    }
}
