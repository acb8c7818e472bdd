//! The end-to-end bench: the binary as a user runs it, fed over loopback into its file sink.
//!
//! Reports records and MB of log text a second, CPU seconds per GB of log text (user and system, of the router's
//! process alone), peak resident memory and, in a second run at a fixed rate, ack latency. Nothing is asserted: the
//! machine may be shared. Sizes by environment: `LOGWEIR_BENCH_MB` (log text a scenario, default 1000).

#![allow(clippy::disallowed_methods, reason = "a bench measures real time and has threads of its own")]

mod load;
mod router;

use std::time::{Duration, Instant};

use load::{Load, Shape};
use router::{Router, Spool};

/// Open-loop rate of the ack run: what AWS calls high throughput, five times over.
const ACK_RATE: f64 = 10e6;

/// How long acks are measured.
const ACK_TIME: Duration = Duration::from_secs(10);

fn main() {
    // `cargo bench` passes flags of its own harness; `--test` and `--quick` ask for a smoke run.
    let quick = std::env::args().any(|arg| arg == "--test" || arg == "--quick");
    let default = if quick { 50.0 } else { 1000.0 };
    let megabytes = std::env::var("LOGWEIR_BENCH_MB").ok().and_then(|mb| mb.parse().ok()).unwrap_or(default);
    println!("end to end, {megabytes} MB of log text a scenario, zstd level 1, 15 % of records by a second route");
    println!(
        "{:<28} {:>11} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "scenario", "records/s", "MB/s", "CPU s/GB", "user", "system", "peak MiB", "ratio"
    );
    for (name, shape, spool) in [
        ("message mode, one write each", Shape::Lines, Spool::Memory),
        ("message mode, 16 KiB writes", Shape::Chunks, Spool::Memory),
        ("packed, 64 KiB", Shape::Packed, Spool::Memory),
        ("packed, 64 KiB, disk", Shape::Packed, Spool::Disk),
        ("acked, 64 KiB, memory", Shape::Acked, Spool::Memory),
        ("acked durable, 64 KiB", Shape::Acked, Spool::Disk),
        ("acked durable, 4 KiB", Shape::SmallAcked, Spool::Disk),
    ] {
        throughput(name, shape, spool, megabytes);
    }
    let time = if quick { Duration::from_secs(2) } else { ACK_TIME };
    acks("from memory", Spool::Memory, time);
    acks("durable", Spool::Disk, time);
}

fn throughput(name: &str, shape: Shape, spool: Spool, megabytes: f64) {
    let load = Load::generate(shape);
    let router = Router::start(spool);
    let mut socket = router.connect();
    let rounds = (megabytes * 1e6 / load.text_bytes as f64).ceil() as u64;
    let before = router.usage();
    let start = Instant::now();
    load.send(&mut socket, rounds);
    drop(socket);
    let records = rounds * load.records;
    router.wait_for(records);
    let wall = start.elapsed().as_secs_f64();
    let used = router.usage().since(before);
    let stored = router.stop(records);
    let text = (rounds * load.text_bytes) as f64;
    println!(
        "{name:<28} {:>11.0} {:>9.1} {:>9.2} {:>9.2} {:>9.2} {:>9.1} {:>7.2}",
        records as f64 / wall,
        text / 1e6 / wall,
        (used.user + used.system) / (text / 1e9),
        used.user / (text / 1e9),
        used.system / (text / 1e9),
        used.peak_mib,
        text / stored as f64,
    );
}

/// One connection with acks at a fixed rate; the latency counts from the moment that a chunk should have been sent, so
/// that a slow router cannot hide behind a sender that waits for it.
fn acks(name: &str, spool: Spool, time: Duration) {
    let load = Load::generate(Shape::Acked);
    let router = Router::start(spool);
    let mut socket = router.connect();
    let every = Duration::from_secs_f64(load.text_bytes as f64 / load.frames.len() as f64 / ACK_RATE);
    let latencies = load.ack_latencies(&mut socket, every, time);
    drop(socket);
    router.stop(load.records_in(latencies.len()));
    let ms = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "acks {name} at 10 MB/s: {} chunks, p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
        latencies.len(),
        ms(0.5),
        ms(0.99),
        ms(0.999)
    );
}
