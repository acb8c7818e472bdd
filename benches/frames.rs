//! Frames to batches: how fast bytes off a socket become records, in the modes that matter.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use logweir::record::msgpack::{Reader, Skip, write};
use logweir::source::forward::frame::{Found, Frames};

/// What one read brings.
const READ: usize = 64 << 10;

/// About 600 bytes, as Docker's driver writes it under FireLens.
fn record(n: u32) -> Vec<u8> {
    let mut out = Vec::new();
    write::map(&mut out, 4);
    for (key, value) in [
        ("container_id", "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"),
        ("container_name", "/ecs-web-7-app-0123456789abcdef"),
        ("source", "stdout"),
    ] {
        write::str(&mut out, key.as_bytes());
        write::str(&mut out, value.as_bytes());
    }
    write::str(&mut out, b"log");
    let log = format!(r#"{{"level":"INFO","n":{n},"msg":"{}"}}"#, "lorem ipsum ".repeat(30));
    write::str(&mut out, log.as_bytes());
    out
}

const TIME: [u8; 10] = [0xd7, 0, 0x60, 0, 0, 0, 0, 0, 0, 1];

fn messages() -> Vec<u8> {
    let mut out = Vec::new();
    for n in 0.. {
        let mut frame = vec![0x94];
        write::str(&mut frame, b"app-firelens-0123456789abcdef0123456789abcdef");
        frame.extend_from_slice(&TIME);
        frame.extend_from_slice(&record(n));
        frame.push(0x80);
        if out.len() + frame.len() > READ {
            break;
        }
        out.extend_from_slice(&frame);
    }
    out
}

fn entries() -> Vec<u8> {
    (0..100).flat_map(|n| [&[0x92][..], &TIME, &record(n)].concat()).collect()
}

fn packed(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x93];
    write::str(&mut out, b"app");
    out.push(0xc6);
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(0x80);
    out
}

/// Finds everything in one read's bytes; returns the number of records.
fn find(frames: &mut Frames, buf: &mut BytesMut, bytes: &[u8]) -> usize {
    buf.reserve(bytes.len());
    buf.extend_from_slice(bytes);
    let mut records = 0;
    while let Some(found) = frames.next(buf, 0).expect("well formed") {
        if let Found::Records(batch) = found {
            records += batch.records.len();
        }
    }
    records
}

fn benches(criterion: &mut Criterion) {
    let entries = entries();
    let forward = {
        let mut out = vec![0x93];
        write::str(&mut out, b"app");
        write::array(&mut out, 100);
        out.extend_from_slice(&entries);
        out.push(0x80);
        out
    };
    let zstd = zstd::encode_all(&entries[..], 1).expect("a slice can be read");
    for (name, bytes) in
        [("message", messages()), ("forward", forward), ("packed", packed(&entries)), ("packed_zstd", packed(&zstd))]
    {
        let mut group = criterion.benchmark_group("frames");
        let (mut frames, mut buf) = (Frames::new(8 << 20, 64 << 20), BytesMut::new());
        let records = find(&mut frames, &mut buf, &bytes);
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| find(&mut frames, &mut buf, black_box(&bytes)));
        });
        group.finish();
    }
    let record = record(1);
    let mut group = criterion.benchmark_group("msgpack");
    group.throughput(Throughput::Elements(1));
    group.bench_function("skip_record", |bencher| {
        bencher.iter(|| Reader::new(black_box(&record)).skip().expect("whole").len());
    });
    group.bench_function("skip_record_resumable", |bencher| {
        bencher.iter(|| Skip::new(0).step(black_box(&record)).expect("whole"));
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
