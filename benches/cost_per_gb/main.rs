//! What a GB of logs costs: the binary as a user runs it, between a sender and sinks on loopback.
//!
//! Three processes: the sender (open loop, chunks encoded beforehand), the router, and the sinks (S3 and CloudWatch Logs
//! over HTTP, which keep what arrives and look at it afterwards). What is counted is the router's CPU from the first
//! record to the end of its drain, so that nothing is left in its queues; and every record, by a mark in its text. A
//! record that is lost, doubled or in the wrong place makes the bench fail, a goal that is missed does not: the machine
//! may be shared. Beside each figure stands the floor: what this machine needs at least for the same work, measured in
//! the same minutes. `payload` tells what the records are, `goals` what the default set is, `floor` what the floor is made
//! of, `dollars` how money is counted.

#![allow(clippy::disallowed_methods, reason = "a bench measures real time and has threads of its own")]

mod chunks;
mod dollars;
mod floor;
mod goals;
mod helper;
mod machine;
mod mark;
mod measure;
mod options;
mod payload;
mod report;
mod router;
mod scenario;
mod sender;
mod sink;
mod svg;

use std::error::Error;
use std::fs::{self, File};
use std::process::ExitCode;

use clap::Parser;
use logweir::cost::Prices;

use dollars::Dollars;
use goals::{Row, Verdict};
use machine::Machine;
use measure::{Measured, measure};
use options::Options;
use report::{Report, Reported};

/// Exit code of bad usage, as the binary's.
const USAGE: u8 = 64;

/// What is billed.
const ITEMS: [&str; 6] = [
    "cloudwatch_ingest_STANDARD",
    "cloudwatch_storage",
    "s3_storage_STANDARD",
    "s3_put_STANDARD",
    "fargate_vcpu_X86_64",
    "fargate_memory_X86_64",
];

/// Regions whose prices the JSON has beside the one that was asked for.
const REGIONS: [&str; 6] = ["us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1", "ap-southeast-1"];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("sender") => sender::run(&args[2]),
        Some("reader") => floor::reader::run(&args[2]),
        Some("sink") => sink::run(args[2].parse().ok()),
        _ => return bench(),
    }
    ExitCode::SUCCESS
}

fn bench() -> ExitCode {
    let options = Options::try_parse().unwrap_or_else(|error| {
        let code = if error.use_stderr() { i32::from(USAGE) } else { 0 };
        let _ = error.print();
        std::process::exit(code)
    });
    let (rows, prices) = match options.rows().and_then(|rows| Ok((rows, prices(&options)?))) {
        Ok(ready) => ready,
        Err(problem) => {
            eprintln!("error: {problem}");
            return USAGE.into();
        }
    };
    if options.list {
        rows.iter().for_each(|row| println!("{}", row.scenario.name));
        return ExitCode::SUCCESS;
    }
    match run(&options, &rows, &prices) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The embedded prices with those of the file; both it and the region are wrong before anything runs.
fn prices(options: &Options) -> Result<Prices, String> {
    let mut prices = Prices::embedded();
    if let Some(path) = &options.prices {
        let at = |error: &dyn Error| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| at(&error))?;
        prices = prices.with(&text).map_err(|error| at(&error))?;
    }
    let known = prices
        .region(&options.region)
        .and_then(|region| ITEMS.iter().try_for_each(|item| region.price(item).map(drop)));
    known.map_err(|error| error.to_string())?;
    Ok(prices)
}

/// Runs the scenarios and reports them; whether every record arrived as it was to.
fn run(options: &Options, rows: &[Row], prices: &Prices) -> Result<bool, Box<dyn Error>> {
    let machine = Machine::look(&options.logweir)?;
    let kept_days = options.retain.as_secs_f64() / 86_400.0;
    let regions: Vec<&str> = std::iter::once(options.region.as_str())
        .chain(REGIONS.into_iter().filter(|name| *name != options.region))
        .collect();
    let (mut all, mut reported, mut right) = (Vec::new(), Vec::new(), true);
    let mut text = String::new();
    let mut say = |line: &str, shown: bool| {
        text.push_str(line);
        text.push('\n');
        if shown {
            println!("{line}");
        }
    };
    say(&report::heading(), true);
    for (row, runs) in rows.iter().zip(rounds(options, rows)?) {
        let measured = median(options, row, runs)?;
        for fault in &measured.faults {
            eprintln!("{}: {fault}", measured.scenario.name);
        }
        right &= measured.faults.is_empty();
        all.push(measured.clone());
        let verdicts = row.goals.iter().filter_map(|goal| goal.judge(&measured, &all)).collect();
        let dollars = regions.iter().map(|name| Dollars::of(&measured, &prices.region(name)?, kept_days));
        let dollars = dollars.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let cpu_per_gb = Some(measured.cpu_per_gb()).filter(|_| measured.scenario.rate != scenario::Rate::Idle);
        let times_floor = measured.times_floor();
        let row = Reported { cpu_per_gb, times_floor, measured, verdicts, dollars };
        row.lines().iter().for_each(|line| say(line, true));
        row.details().iter().for_each(|line| say(&format!("    {line}"), options.details));
        reported.push(row);
    }
    let mut starts: Vec<f64> = all.iter().map(|measured| measured.listening_ms).collect();
    starts.sort_by(f64::total_cmp);
    let listening_ms = starts[starts.len() / 2];
    let binary_bytes = fs::metadata(&options.logweir)?.len();
    let most = |what: &str, found, limit| Verdict { what: what.into(), found, at_most: Some(limit), at_least: None };
    let report = Report {
        machine,
        seed: options.seed,
        binary_bytes,
        listening_ms,
        verdicts: vec![
            most("start to listening, ms", listening_ms, 50.0),
            most("binary, MB", binary_bytes as f64 / 1e6, 20.0),
        ],
        prices: sources(prices),
        kept_days,
        rows: reported,
    };
    report.footer().iter().for_each(|line| say(line, true));
    fs::create_dir_all(&options.out)?;
    let out = options.out.canonicalize()?;
    report.write(File::create(out.join("report.json"))?)?;
    fs::write(out.join("report.svg"), svg::draw(&report))?;
    fs::write(out.join("report.txt"), text)?;
    fs::write(out.join("report.md"), report.markdown())?;
    println!("{}: report.txt, report.md, report.json and report.svg have the rest", out.display());
    Ok(right)
}

/// The runs of each scenario in all rounds but the last. In rounds, all scenarios see the same quarter of an hour: what
/// compares two of them does not compare two moments of a busy machine.
fn rounds(options: &Options, rows: &[Row]) -> Result<Vec<Vec<Measured>>, Box<dyn Error>> {
    let mut runs = vec![Vec::new(); rows.len()];
    for round in 1..options.repeat {
        eprintln!("round {round} of {}", options.repeat);
        for (row, runs) in rows.iter().zip(&mut runs) {
            runs.push(once(options, row)?);
        }
    }
    Ok(runs)
}

/// The run of the median CPU time, one more included; one that failed goes before all.
fn median(options: &Options, row: &Row, mut runs: Vec<Measured>) -> Result<Measured, Box<dyn Error>> {
    runs.push(once(options, row)?);
    runs.sort_by(|a, b| a.cpu.total().total_cmp(&b.cpu.total()));
    let at = runs.iter().position(|run| !run.faults.is_empty()).unwrap_or(runs.len() / 2);
    Ok(runs.swap_remove(at))
}

fn once(options: &Options, row: &Row) -> Result<Measured, String> {
    measure(&options.logweir, &row.scenario, options.seed, !options.no_floor)
        .map_err(|error| format!("{}: {error}", row.scenario.name))
}

fn sources(prices: &Prices) -> Vec<(String, String)> {
    prices.sources(&ITEMS).into_iter().map(|(source, date)| (source.into(), date.into())).collect()
}
