//! The body of a PutLogEvents request: blocks of entries planned into requests and written as JSON, before gzip; and
//! the gzip beside it, which is its floor.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use libdeflater::{CompressionLvl, Compressor};
use logweir::encode::Message;
use logweir::encode::entries::EntryEncoder;
use logweir::record::msgpack::write;
use logweir::record::{Record, Tag};
use logweir::sink::cloudwatch_logs::request::{LIMITS, plan};

/// 2026-11-23T10:00:00Z.
const NOW_MILLIS: i64 = 1_795_428_000_000;

/// Blocks of 256 KiB, as the router seals them, that make about one request.
fn blocks() -> Vec<Bytes> {
    let (tag, mut encoder) = (Tag::from("app-firelens-0123456789abcdef"), EntryEncoder::new(Message::Record));
    let (mut blocks, mut open) = (Vec::new(), Vec::new());
    for n in 0..2_000u64 {
        let line = format!(
            r#"{{"level":"WARN","logger":"com.example.http.Access","trace_id":"{:032x}","path":"/api/v1/orders/{n}","status":{},"duration_ms":{}}}"#,
            u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
            200 + n % 300,
            n * 7 % 900
        );
        let mut map = Vec::new();
        write::map(&mut map, 3);
        for (key, value) in [("container_name", "/app"), ("source", "stdout"), ("log", line.as_str())] {
            write::str(&mut map, key.as_bytes());
            write::str(&mut map, value.as_bytes());
        }
        let time = (NOW_MILLIS + n as i64) * 1_000_000;
        let record = Record {
            tag: &tag,
            source: "forward",
            time,
            received: time,
            map: &map,
            ecs: None,
            json: Default::default(),
        };
        encoder.encode(&record, &mut open);
        if open.len() >= 256 << 10 {
            blocks.push(Bytes::from(std::mem::take(&mut open)));
        }
    }
    blocks.push(Bytes::from(open));
    blocks
}

fn requests(c: &mut Criterion) {
    let blocks = blocks();
    let bytes: usize = blocks.iter().map(Bytes::len).sum();
    let mut group = c.benchmark_group("requests");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("plan", |b| b.iter(|| black_box(plan(&blocks, NOW_MILLIS, LIMITS))));
    let planned = plan(&blocks, NOW_MILLIS, LIMITS);
    let mut body = Vec::new();
    group.bench_function("write_body", |b| {
        b.iter(|| {
            body.clear();
            planned.batches.iter().for_each(|batch| batch.write_body("/ecs/app", "app/0123", &blocks, &mut body));
            black_box(body.len())
        });
    });
    let mut gzip = Compressor::new(CompressionLvl::new(1).expect("libdeflate has level 1"));
    let mut out = vec![0; gzip.gzip_compress_bound(body.len())];
    group.bench_function("gzip", |b| b.iter(|| black_box(gzip.gzip_compress(&body, &mut out).expect("it fits"))));
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
