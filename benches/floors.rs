//! How many times its floor each stage takes: the bare library calls on the same bytes.
//!
//! Measured in CPU time of this thread, the two in turns of some milliseconds, so that whatever else the machine does
//! falls on both; the ratio is the median of those of the turns. A name picks stages: `cargo bench --bench floors --
//! rules`.

mod stage;

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use stage::{RECORDS, Run, STAGES};

/// Odd, for a median.
const TURNS: usize = 31;

/// Long against the clock's own cost, short against what else the machine does.
const TURN: Duration = Duration::from_millis(4);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let turns = if args.iter().any(|arg| arg == "--test") { 1 } else { TURNS };
    let name = args.iter().find(|arg| !arg.starts_with("--")).map_or("", String::as_str);
    println!("{:<22} {:>8} {:>12} {:>12} {:>9}  floor", "stage", "MB/s", "ns a record", "ns its floor", "x floor");
    for (stage, make) in STAGES.iter().filter(|(stage, _)| stage.contains(name)) {
        let mut work = make();
        let (runs, floor_runs) = (runs_in_a_turn(&mut work.run), runs_in_a_turn(&mut work.run_floor));
        let mut measured: Vec<(f64, f64)> =
            (0..turns).map(|_| (nanos(&mut work.run, runs), nanos(&mut work.run_floor, floor_runs))).collect();
        measured.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
        let (run, floor) = measured[turns / 2];
        println!(
            "{stage:<22} {:>8.0} {:>12.1} {:>12.1} {:>9.2}  {}",
            work.bytes as f64 * 1e3 / run,
            run / RECORDS as f64,
            floor / RECORDS as f64,
            run / floor,
            work.floor
        );
    }
}

fn runs_in_a_turn(run: &mut Run) -> u32 {
    nanos(run, 1);
    (TURN.as_nanos() as f64 / nanos(run, 2)).ceil() as u32
}

/// CPU time of a run, the mean of so many.
fn nanos(run: &mut Run, runs: u32) -> f64 {
    let begin = cpu_time();
    for _ in 0..runs {
        black_box(run());
    }
    (cpu_time() - begin).as_nanos().max(1) as f64 / f64::from(runs)
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
