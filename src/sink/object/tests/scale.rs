//! A day of 10,000 sidecars in virtual time: objects closed by the [`Cutter`]'s rules, requests to CloudWatch Logs by
//! the sink's `batch.age`, against what AWS takes in a second. `--nocapture` prints the peaks that the README tells.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::super::LIMITS;
use super::super::cutter::{Candidate, ClosedBy, Cutter, MEAN_AGE, Verdict, own_age};
use crate::cost::{Cut, Flow};
use crate::encode::Partition;
use crate::sink::retry::jittered;

const SIDECARS: usize = 10_000;
const DAY: usize = 86_400;
const HOUR: f64 = 3_600.0;

/// "At least 3,500 PUT/COPY/POST/DELETE requests per second per partitioned prefix" (AWS, S3 performance guidelines).
const S3: u32 = 3_500;
/// PutLogEvents, per second, account and region (AWS, CloudWatch Logs quotas; adjustable).
const PUT_LOG_EVENTS: u32 = 5_000;

/// 100 MB of text a sidecar and day, in records of 250 bytes that compress to a tenth: 1 TB a day in all.
const RECORDS: f64 = 4.6;
const STORED: f64 = 116.0;

/// Least at four in the morning, most at four in the afternoon: from a fifth of the mean to nine fifths.
fn curve(second: f64) -> f64 {
    1.0 + 0.8 * ((second / HOUR - 10.0) / 24.0 * std::f64::consts::TAU).sin()
}

/// Time to the next record.
fn gap(rng: &mut Rng, rate: f64) -> f64 {
    -(1.0 - rng.f64()).ln() / rate
}

#[derive(Clone, Copy)]
struct Fleet {
    /// Prefixes have `hour=%H`; else no date.
    hourly: bool,
    /// Each process has an age of its own, as the product does.
    spread: bool,
}

const AGE: f64 = 300.0;
const FLEET: Fleet = Fleet { hourly: true, spread: true };

/// PUTs by second: of all sidecars together, and of every tenth, which share a prefix if there are ten services.
struct Puts {
    all: Vec<u32>,
    tenth: Vec<u32>,
}

fn peak(puts: &[u32]) -> u32 {
    puts.iter().copied().max().unwrap_or_default()
}

/// Sidecars start within five minutes.
fn day(fleet: Fleet) -> Puts {
    let mut rng = Rng::with_seed(1);
    let mut puts = Puts { all: vec![0; DAY], tenth: vec![0; DAY] };
    let partition = Arc::new(Partition::Whole);
    for sidecar in 0..SIDECARS {
        let age = own_age(Duration::from_secs_f64(AGE), &format!("{:08x}", rng.u32(..)));
        let age = if fleet.spread { age.as_secs_f64() } else { AGE };
        let mut opened = rng.f64() * AGE;
        while opened < DAY as f64 {
            let closed = close(&partition, opened, age);
            if let Some(second) = puts.all.get_mut(closed as usize) {
                *second += 1;
                puts.tenth[closed as usize] += u32::from(sidecar % 10 == 0);
            }
            // The next object begins with the first record after it, or with the first of the next hour.
            let turn = if fleet.hourly { ((opened / HOUR).floor() + 1.0) * HOUR } else { f64::INFINITY };
            let from = closed.min(turn);
            opened = from + gap(&mut rng, RECORDS * curve(from));
        }
    }
    puts
}

/// When the rules close an object.
fn close(partition: &Arc<Partition>, opened: f64, age: f64) -> f64 {
    let age = Duration::from_secs_f64(age);
    let cutter = Cutter { size: 64 << 20, age, ack_wait: Duration::MAX, limits: LIMITS, whole: false };
    let opened = Duration::from_secs_f64(opened);
    let mut now = opened;
    loop {
        let ready = (STORED * (now - opened).as_secs_f64()) as u64;
        let object = Candidate {
            partition: Arc::clone(partition),
            opened,
            awaited: None,
            ready,
            unready: false,
            pending: 0,
            sent: 0,
            parts: 0,
        };
        match cutter.verdict(&object, now, None) {
            Verdict::Wait(due) => now = due,
            verdict => {
                assert_eq!(verdict, Verdict::Close(ready, ClosedBy::Age));
                return now.as_secs_f64();
            }
        }
    }
}

/// An hour of PUTs to a prefix that takes so many a second and answers 503 to the rest, which are repeated with the
/// sinks' pauses: how many answers of 503 there are, and how long the last one waits in milliseconds.
fn repeated(puts: &[u32]) -> (u64, u64) {
    fastrand::seed(1);
    let mut waiting: BinaryHeap<Reverse<(u64, u32, u64)>> = BinaryHeap::new();
    for (second, count) in (0..).zip(puts) {
        waiting.extend((0..u64::from(*count)).map(|n| Reverse((second * 1000 + n * 1000 / u64::from(*count), 0, 0))));
    }
    let (mut second, mut taken, mut refused, mut longest) = (0, 0, 0, 0);
    while let Some(Reverse((at, attempt, late))) = waiting.pop() {
        if at / 1000 != second {
            (second, taken) = (at / 1000, 0);
        }
        if taken < S3 {
            taken += 1;
            longest = longest.max(late);
        } else {
            refused += 1;
            let pause = jittered(Duration::from_millis(250 << attempt.min(8))).as_millis() as u64;
            waiting.push(Reverse((at + pause, attempt + 1, late + pause)));
        }
    }
    (refused, longest)
}

/// Most requests to CloudWatch Logs in a second, in ten minutes of the busiest hour.
fn put_log_events(share: f64, age: f64) -> u32 {
    const SECONDS: usize = 600;
    let (mut rng, mut requests) = (Rng::with_seed(2), vec![0; SECONDS]);
    let rate = RECORDS * share * curve(16.0 * HOUR);
    for _ in 0..SIDECARS {
        let mut opened = gap(&mut rng, rate) + rng.f64() * age;
        while let Some(second) = requests.get_mut((opened + age) as usize) {
            *second += 1;
            opened += age + gap(&mut rng, rate);
        }
    }
    requests.into_iter().max().unwrap_or_default()
}

#[test]
fn objects_of_one_prefix_stay_below_what_s3_takes() {
    let puts = day(FLEET);
    let (one, ten) = (peak(&puts.all), peak(&puts.tenth));
    let objects = puts.all.iter().map(|puts| f64::from(*puts)).sum::<f64>();
    println!("{objects} objects; PUT/s at the peak: {one} with one prefix, {ten} with ten for each of these");
    assert!(one <= S3);
    // What `logweir cost` goes by.
    let cut = Cut { size: 64e6, records: f64::INFINITY, age: MEAN_AGE * AGE, bucket: HOUR };
    let told = SIDECARS as f64 * Flow { records: RECORDS, bytes: STORED }.pieces(&cut);
    assert!((objects / told - 1.0).abs() < 0.02, "{objects} objects, told are {told}");
}

#[test]
fn prefixes_without_a_date_keep_starts_apart() {
    let puts = day(Fleet { hourly: false, ..FLEET });
    println!("no date in the prefix: {} PUT/s at the peak", peak(&puts.all));
    assert!(peak(&puts.all) <= S3);
}

#[test]
fn without_ages_of_their_own_processes_would_be_refused_and_repeat() {
    let puts = day(Fleet { spread: false, ..FLEET });
    let (refused, longest) = repeated(&puts.all[16 * 3600..17 * 3600]);
    println!(
        "one age for all: {} PUT/s at the peak; busiest hour: {refused} answers of 503, {longest} ms late at most",
        peak(&puts.all)
    );
    assert!(peak(&puts.all) > S3);
    assert!(refused > 0 && longest < 10_000);
}

#[test]
fn requests_to_cloudwatch_logs_stay_below_the_quota_with_what_is_urgent_or_a_longer_age() {
    for (share, age, below) in
        [(0.05, 1.0, true), (0.15, 1.0, false), (0.15, 5.0, true), (1.0, 1.0, false), (1.0, 5.0, true)]
    {
        let peak = put_log_events(share, age);
        println!("{share} of the records to CloudWatch Logs, batch.age {age} s: {peak} PutLogEvents/s");
        assert_eq!(peak <= PUT_LOG_EVENTS, below, "{share} {age}: {peak}");
    }
}
