//! Once warm, a record's way from the socket to compressed bytes allocates nothing of its own: at most 0.01
//! allocations a record (blocks, batches and objects), counted over the whole process.

#![allow(clippy::disallowed_methods, reason = "a sender outside the runtime, in real time")]

use std::alloc::System;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use logweir::config::{Host, load};
use logweir::pipeline::Pipeline;
use logweir::record::msgpack::write;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Records of the warm-up, and of the measured run.
const RECORDS: u64 = 100_000;

/// Message-mode frames as Docker's driver sends them, half of them JSON, every tenth an error.
fn frames() -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 0..RECORDS {
        let level = if n % 10 == 0 { "ERROR" } else { "INFO" };
        let line = match n % 2 {
            0 => format!(r#"{{"level":"{level}","msg":"request {n} done","status":200,"path":"/api/orders/{n}"}}"#),
            _ => format!("{level} request {n} done, 200, /api/orders/{n}"),
        };
        write::array(&mut bytes, 4);
        write::str(&mut bytes, b"app-firelens-0123456789abcdef");
        bytes.extend_from_slice(&[0xd7, 0x00]);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        bytes.extend_from_slice(&(now.as_secs() as u32).to_be_bytes());
        bytes.extend_from_slice(&(n as u32).to_be_bytes());
        write::map(&mut bytes, 4);
        for (key, value) in
            [("container_id", "0123456789abcdef"), ("container_name", "/app"), ("source", "stdout"), ("log", &line)]
        {
            write::str(&mut bytes, key.as_bytes());
            write::str(&mut bytes, value.as_bytes());
        }
        write::map(&mut bytes, 0);
    }
    bytes
}

#[test]
fn a_record_allocates_nothing_of_its_own() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("fluent.sock");
    let config = format!(
        "sources: {{forward: {{listen: ['unix://{dir}/fluent.sock']}}}}\n\
         routes:\n\
         - {{name: health, when: 'log.path == \"/healthz\" && log.status == 200', to: []}}\n\
         - {{name: errors, when: level >= WARN, to: [alerts, archive]}}\n\
         - {{name: rest, to: [archive]}}\n\
         sinks:\n  archive: {{type: file, path: {dir}/archive}}\n  alerts: {{type: file, path: {dir}/alerts}}\n\
         admin: none\nmetadata: none\nmemory: 256MiB\n",
        dir = dir.path().display()
    );
    let plan = load("test.yaml", &config, &Host::this()).expect("the config is valid");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("it starts");
    let pipeline = runtime.block_on(Pipeline::build(plan)).expect("it binds");
    let ledger = pipeline.ledger();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(pipeline.run(async move {
        let _ = stopped.await;
    }));

    let frames = frames();
    let mut sender = UnixStream::connect(&socket).expect("it listens");
    let mut send = |total: u64| {
        sender.write_all(&frames).expect("it reads");
        let end = Instant::now() + Duration::from_secs(60);
        while ledger.books().sources[0].received.records < total {
            assert!(Instant::now() < end, "not all records arrived");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    send(RECORDS);
    let region = Region::new(ALLOCATOR);
    send(2 * RECORDS);
    let change = region.change();
    let each = change.allocations as f64 / RECORDS as f64;
    println!("{} allocations for {RECORDS} records: {each:.5} a record", change.allocations);
    drop(stop);
    let drained = runtime.block_on(running).expect("it does not panic");
    assert!(drained.is_clean(), "{drained:?}");
    assert_eq!(drained.books.sinks[0].delivered.records, 2 * RECORDS);
    assert!(each <= 0.01, "{} allocations for {RECORDS} records", change.allocations);
}
