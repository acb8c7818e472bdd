//! What rules cost a record: ten routes of which none matches, and the rule on the level, on records like those that
//! FireLens sends (about 600 bytes of msgpack, 450 of them JSON or text in `log`).

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use logweir::record::json;
use logweir::record::level::LevelRules;
use logweir::record::msgpack::write;
use logweir::record::{Record, Tag};
use logweir::route::{Decision, RouteSpec, Router};

/// Ten conditions of the kinds that people write; none holds for the records here.
const RULES: [&str; 10] = [
    "log.path == \"/healthz\" && log.status == 200",
    "log.user_agent.startsWith(\"ELB-HealthChecker\")",
    "log.status >= 500",
    "log.error.kind == \"OutOfMemory\"",
    "log.contains(\"payment declined\")",
    "container in [\"envoy\", \"xray-daemon\", \"datadog\"]",
    "container_name == \"/sidecar\" || source == \"stdin\"",
    "log.http.method in [\"OPTIONS\", \"TRACE\"]",
    "tag.matches(\"^batch-.*-nightly-\")",
    "has(record.partial_message) && log.size > 1048576",
];

fn map(log: &str) -> Vec<u8> {
    let id = "5f1d2c3b4a5968778695a4b3c2d1e0f0aabbccddeeff00112233445566778899";
    let pairs = [("container_id", id), ("container_name", "/ecs-app-12-web-cafe"), ("source", "stdout"), ("log", log)];
    let mut out = Vec::new();
    write::map(&mut out, pairs.len() as u32);
    for (key, value) in pairs {
        write::str(&mut out, key.as_bytes());
        write::str(&mut out, value.as_bytes());
    }
    out
}

fn json_line(level: &str) -> String {
    format!(
        r#"{{"time":"2026-11-22T10:00:00.123456789Z","level":"{level}","logger":"com.example.orders.OrderController","thread":"http-nio-8080-exec-7","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","msg":"order placed","http":{{"method":"POST","route":"/v1/orders/:id","user_agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"}},"path":"/v1/orders/81f2","status":201,"duration_ms":17.4,"customer":"c-81244","items":[1,2,3]}}"#
    )
}

fn text_line() -> String {
    let head = "2026-11-22 10:00:00.123 [http-nio-8080-exec-7] INFO com.example.orders.OrderController - order placed ";
    format!("{head}{}", "for customer c-81244 with three items ".repeat(9))
}

fn routes(conditions: &[&str]) -> Vec<RouteSpec> {
    let route = |(n, when): (usize, &&str)| RouteSpec {
        name: format!("r{n}"),
        when: Some(when.to_string()),
        sinks: vec![0],
        goes_on: false,
    };
    let mut routes: Vec<_> = conditions.iter().enumerate().map(route).collect();
    routes.push(RouteSpec { name: "rest".into(), when: None, sinks: vec![1], goes_on: false });
    routes
}

fn rules(c: &mut Criterion) {
    let tag = Tag::from("web-firelens-0123456789abcdef");
    let records = [("json", map(&json_line("INFO"))), ("text", map(&text_line()))];
    let ten = RULES.to_vec();
    let with_level: Vec<_> = RULES.into_iter().chain(["level >= WARN"]).collect();
    let value = vec!["log.path == \"/healthz\" && log.status == 200"];
    let plans = [("one value", value), ("level", vec!["level >= WARN"]), ("ten", ten), ("ten and level", with_level)];
    let mut group = c.benchmark_group("decide");
    for (plan, conditions) in &plans {
        let mut router = Router::compile(&routes(conditions), LevelRules::default()).expect("the rules compile");
        let last = conditions.len() as u16;
        for (kind, map) in &records {
            let record =
                Record { tag: &tag, source: "forward", time: 0, received: 0, map, ecs: None, json: Default::default() };
            let mut decision = Decision::default();
            router.decide(&record, &mut decision);
            assert_eq!(decision.routes, [last], "none but the last route takes it");
            group.throughput(Throughput::Bytes(map.len() as u64));
            group.bench_function(BenchmarkId::new(*plan, kind), |b| {
                b.iter(|| router.decide(black_box(&record), &mut decision));
            });
        }
    }
    group.finish();
}

fn embedded_json(c: &mut Criterion) {
    let line = json_line("INFO");
    let mut group = c.benchmark_group("json");
    group.throughput(Throughput::Bytes(line.len() as u64));
    group.bench_function("validate", |b| b.iter(|| json::validate(black_box(line.as_bytes()))));
    group.bench_function("find", |b| b.iter(|| json::find(black_box(line.as_bytes()), b"status")));
    group.finish();
}

criterion_group!(benches, rules, embedded_json);
criterion_main!(benches);
