//! What another thread brings: packed chunks from memory through the whole way, compression and sinks left out, read by
//! one connection and by several at once, each with a thread and a worker of its own.
//!
//! Measured in turns, so that whatever else the machine does falls on all; the median turn counts. The number of threads
//! is 2 unless another is given: `cargo bench --no-default-features --bench threads -- 4`.

#[allow(dead_code, reason = "the stages are of other benches")]
mod stage;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use stage::fixture::{Shape, packed};
use stage::whole::Router;

/// Odd, for a median.
const TURNS: usize = 9;

/// Runs over the bytes that a thread does in a turn.
const RUNS: usize = 200;

/// What a number of threads did in a turn.
#[derive(Clone, Copy)]
struct Turn {
    /// Bytes a second of wall time.
    speed: f64,
    /// CPU seconds a byte.
    cpu: f64,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (turns, runs) = if args.iter().any(|arg| arg == "--test") { (1, 1) } else { (TURNS, RUNS) };
    let most = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(2);
    let bytes = packed(Shape::Json);
    turn(1, runs, &bytes);
    let (mut one, mut several): (Vec<Turn>, Vec<Turn>) =
        (0..turns).map(|_| (turn(1, runs, &bytes), turn(most, runs, &bytes))).unzip();
    let (one, several) = (median(&mut one), median(&mut several));
    for (threads, Turn { speed, cpu }) in [(1, one), (most, several)] {
        println!("{threads} threads: {:.0} MB/s, {:.2} CPU s/GB of msgpack", speed / 1e6, cpu * 1e9);
    }
    println!(
        "{most} threads against 1: {:.2} times the speed (goal with 2: at least 1.8), {:.2} times the CPU s/GB (at most 1.1)",
        several.speed / one.speed,
        several.cpu / one.cpu
    );
}

fn median(turns: &mut [Turn]) -> Turn {
    turns.sort_by(|a, b| a.speed.total_cmp(&b.speed));
    turns[turns.len() / 2]
}

#[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
fn turn(threads: usize, runs: usize, bytes: &[u8]) -> Turn {
    let (router, start) = (Router::new(), Barrier::new(threads + 1));
    let total = (threads * runs * bytes.len()) as f64;
    let (begin, cpu) = thread::scope(|scope| {
        for _ in 0..threads {
            let mut read = router.reading(bytes.to_vec());
            let start = &start;
            scope.spawn(move || {
                // Books, blocks and the caches are warm when the clock starts.
                read();
                start.wait();
                (0..runs).for_each(|_| assert!(read() > 0));
            });
        }
        start.wait();
        (Instant::now(), cpu_time())
    });
    Turn { speed: total / begin.elapsed().as_secs_f64(), cpu: (cpu_time() - cpu).as_secs_f64() / total }
}

/// Of the whole process.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
