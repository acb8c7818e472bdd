//! Records to NDJSON lines and to entries of CloudWatch Logs.

use std::hint::black_box;

use logweir::encode::entries::EntryEncoder;
use logweir::encode::ndjson::NdjsonEncoder;
use logweir::encode::{Encoder, LogJson, Message};
use logweir::record::Tag;
use serde::de::IgnoredAny;

use super::fixture::{Shape, TAG, logs, maps, records};
use super::{RECORDS, Run, Work};

/// Where `log` is JSON that stands as such it must be read, else it is only text.
pub(super) fn ndjson(shape: Shape, log_json: LogJson) -> Work {
    let encoder = Encoder::Ndjson(NdjsonEncoder::new(log_json));
    match (shape, log_json) {
        (Shape::Json, LogJson::Nest | LogJson::Lift) => {
            work(shape, encoder, "memcpy, serde_json", read_and_copy(shape))
        }
        _ => work(shape, encoder, "memcpy, utf8", check_and_copy(shape)),
    }
}

/// `log` is text in either.
pub(super) fn entries(shape: Shape, message: Message) -> Work {
    work(shape, Encoder::Entries(EntryEncoder::new(message)), "memcpy, utf8", check_and_copy(shape))
}

fn work(shape: Shape, mut encoder: Encoder, floor: &'static str, run_floor: Run) -> Work {
    let (maps, tag, mut out) = (maps(shape), Tag::from(TAG), Vec::new());
    Work {
        bytes: maps.iter().map(Vec::len).sum(),
        run: Box::new(move || {
            out.clear();
            for record in records(&maps, &tag) {
                let notes = encoder.encode(black_box(&record), &mut out);
                assert_eq!(notes.malformed, 0, "the fixture is well formed");
            }
            out.len()
        }),
        floor,
        run_floor,
    }
}

fn check_and_copy(shape: Shape) -> Run {
    let (maps, logs, mut out) = (maps(shape), logs(shape), Vec::new());
    Box::new(move || {
        out.clear();
        for (map, log) in maps.iter().zip(&logs) {
            out.extend_from_slice(black_box(map));
            assert!(std::str::from_utf8(black_box(log.as_bytes())).is_ok(), "the fixture is UTF-8");
        }
        out.len()
    })
}

fn read_and_copy(shape: Shape) -> Run {
    let (maps, logs, mut out) = (maps(shape), logs(shape), Vec::new());
    Box::new(move || {
        out.clear();
        for (map, log) in maps.iter().zip(&logs) {
            out.extend_from_slice(black_box(map));
            serde_json::from_slice::<IgnoredAny>(black_box(log.as_bytes())).expect("the fixture is JSON");
        }
        RECORDS + out.len()
    })
}

/// The lines of a run, as they go into blocks.
pub(super) fn encoded(mut encoder: Encoder) -> Vec<u8> {
    let (maps, tag, mut out) = (maps(Shape::Json), Tag::from(TAG), Vec::new());
    for record in records(&maps, &tag) {
        encoder.encode(&record, &mut out);
    }
    out
}
