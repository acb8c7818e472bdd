//! Records to lines and entries: the three forms of `log_json` and the two messages, on JSON and on plain text.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use logweir::encode::entries::EntryEncoder;
use logweir::encode::ndjson::NdjsonEncoder;
use logweir::encode::{LogJson, Message, Partitioner, Template};
use logweir::record::level::LevelRules;
use logweir::record::msgpack::write;
use logweir::record::{Record, Tag};

/// About 600 bytes, as Docker's driver writes it under FireLens.
fn map(log: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write::map(&mut out, 4);
    for (key, value) in [
        ("container_id", "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"),
        ("container_name", "/ecs-web-7-app-0123456789abcdef"),
        ("source", "stdout"),
        ("log", log),
    ] {
        write::str(&mut out, key.as_bytes());
        write::str(&mut out, value.as_bytes());
    }
    out
}

/// As loggers write it: a quote every nine bytes.
fn json() -> String {
    let mut log =
        String::from(r#"{"level":"INFO","time":"2026-11-22T10:59:30.123Z","status":200,"path":"/v1/orders/17""#);
    for n in 0..16 {
        log.push_str(&format!(r#","field{n}":"value {n}""#));
    }
    log.push('}');
    log
}

fn text() -> String {
    "10.0.3.17 - - [22/Nov/2026:10:59:30 +0000] GET /v1/orders/17 HTTP/1.1 200 1043 - curl/8.5.0 ".repeat(5)
}

/// One block's worth of records into a buffer that is warm.
fn bench(c: &mut Criterion, name: &str, map: &[u8], mut encode: impl FnMut(&Record<'_>, &mut Vec<u8>)) {
    let tag = Tag::from("app-firelens-0123456789abcdef0123456789abcdef");
    let mut out = Vec::with_capacity(1 << 20);
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Bytes(400 * map.len() as u64));
    group.bench_with_input(BenchmarkId::from_parameter(name), map, |b, map| {
        b.iter(|| {
            out.clear();
            for n in 0..400 {
                let time = 1_795_345_170_000_000_000 + n * 1_000_003;
                let record = Record {
                    tag: &tag,
                    source: "forward",
                    time,
                    received: time,
                    map,
                    ecs: None,
                    json: Default::default(),
                };
                encode(black_box(&record), &mut out);
            }
            out.len()
        });
    });
    group.finish();
}

fn encoders(c: &mut Criterion) {
    for (kind, log) in [("json", json()), ("text", text())] {
        let map = map(&log);
        for mode in [LogJson::Nest, LogJson::Lift, LogJson::Raw] {
            let mut encoder = NdjsonEncoder::new(mode);
            bench(c, &format!("ndjson/{mode:?}/{kind}").to_lowercase(), &map, |record, out| {
                encoder.encode(record, out);
            });
        }
        for message in [Message::Record, Message::Log] {
            let mut encoder = EntryEncoder::new(message);
            bench(c, &format!("entries/{message:?}/{kind}").to_lowercase(), &map, |record, out| {
                encoder.encode(record, out);
            });
        }
    }
}

fn names(c: &mut Criterion) {
    let template = |text: &str| Template::parse(text).expect("a template");
    let prefix = template("logs/service={container}/dt=%Y-%m-%d/hour=%H/");
    let mut same = Partitioner::prefix(prefix, LevelRules::default());
    bench(c, "names/same", &map(&text()), |record, _| {
        black_box(same.partition(record));
    });
    let prefix = template("logs/service={container}/dt=%Y-%m-%d/hour=%H/");
    let mut changing = Partitioner::prefix(prefix, LevelRules::default());
    let tags: Vec<Tag> = (0..20).map(|n| Tag::from(format!("app{n}-firelens-0123").as_str())).collect();
    let mut turn = tags.iter().cycle();
    bench(c, "names/changing", &map(&text()), |record, _| {
        let tag = turn.next().expect("a cycle");
        black_box(changing.partition(&Record { tag, ..record.clone() }));
    });
}

criterion_group!(benches, encoders, names);
criterion_main!(benches);
