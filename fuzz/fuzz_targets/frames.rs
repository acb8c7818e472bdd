//! Any bytes, in any split: no panic, sound batches, and the same records as in one piece.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use logweir::source::forward::frame::{Found, Frames};

/// Small, so that the fuzzer reaches them.
const FRAME: u64 = 64 << 10;
const INFLATED: u64 = 256 << 10;

/// Records, tokens, and whether it ended in an error. Not which: a frame may be too large and too deep, and then it
/// depends on where the bytes end what is found first.
fn find<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<(String, i64, Vec<u8>)>, Vec<Box<[u8]>>, bool) {
    let mut frames = Frames::new(FRAME, INFLATED);
    let (mut buf, mut records, mut chunks) = (BytesMut::new(), Vec::new(), Vec::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match frames.next(&mut buf, 1) {
                Ok(None) => break,
                Ok(Some(Found::Records(batch))) => {
                    assert!(batch.is_sound());
                    for &span in &batch.records {
                        records.push((batch.tag.as_str().to_owned(), span.time, batch.map(span).to_vec()));
                    }
                }
                Ok(Some(Found::Chunk(token))) => chunks.push(token),
                Ok(Some(Found::End | Found::Grow(_))) => {}
                Err(_) => return (records, chunks, true),
            }
        }
    }
    (records, chunks, false)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = find(std::iter::once(bytes));
    let pieces = find(bytes.chunks(usize::from(size) + 1));
    assert_eq!(whole, pieces);
});
