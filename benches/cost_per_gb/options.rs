//! The command line: the default set, or any product of the matrix.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Parser;

use crate::goals::{self, Row};
use crate::payload::Payload;
use crate::scenario::{Ack, Compression, Fields, Framing, LogJson, Rate, Scenario, Spool};

/// The heading of what describes scenarios.
const MATRIX: &str = "Scenarios (values with commas make a scenario each)";

/// What a GB of logs costs: the binary as a user runs it, between a sender and sinks on loopback
///
/// Without options that describe a scenario, the default set runs, with the project's goals beside its figures. With
/// some, every combination of their values runs; what is not said is as in "split, packed" of the default set.
#[derive(Debug, Parser)]
#[command(
    name = "cost_per_gb",
    after_help = "Examples:\n  cargo bench --bench cost_per_gb\n  cargo bench --bench cost_per_gb -- --only 'message mode' --time 60s\n  \
        cargo bench --bench cost_per_gb -- --rate saturated,10MB/s,200/s --framing message,packed --payload web,jvm"
)]
pub(crate) struct Options {
    /// Only scenarios whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Names of the scenarios, and nothing else
    #[arg(long)]
    pub(crate) list: bool,

    /// `saturated`, bytes of log text a second (`10MB/s`), records a second (`200/s`) or `idle`
    #[arg(long, value_delimiter = ',', value_parser = rate, help_heading = MATRIX)]
    rate: Vec<Rate>,
    /// What is due within so long is sent together; at 0 each write has its own time
    #[arg(long, value_name = "TIME", value_delimiter = ',', help_heading = MATRIX)]
    tick: Vec<humantime::Duration>,
    /// How records are framed and written
    #[arg(long, value_delimiter = ',', help_heading = MATRIX)]
    framing: Vec<Framing>,
    /// The kind of lines
    #[arg(long, value_delimiter = ',', help_heading = MATRIX)]
    payload: Vec<Payload>,
    /// Percentage of records that go to CloudWatch Logs; at 100 nothing goes to S3
    #[arg(long, value_delimiter = ',', value_parser = percentage, help_heading = MATRIX)]
    cloudwatch: Vec<f64>,
    /// Where records wait
    #[arg(long, value_delimiter = ',', help_heading = MATRIX)]
    spool: Vec<Spool>,
    /// Compression of objects
    #[arg(long, value_delimiter = ',', help_heading = MATRIX)]
    objects: Vec<Compression>,
    /// Compression of CloudWatch's request bodies
    #[arg(long, value_delimiter = ',', help_heading = MATRIX)]
    bodies: Vec<Compression>,
    /// What stands under `log` in objects
    #[arg(long, value_delimiter = ',', help_heading = MATRIX)]
    log_json: Vec<LogJson>,
    /// Which of a record's fields the sinks write
    #[arg(long, value_delimiter = ',', help_heading = MATRIX)]
    fields: Vec<Fields>,
    /// Rules before the last, none of which matches
    #[arg(long, value_delimiter = ',', help_heading = MATRIX)]
    rules: Vec<usize>,
    /// Bytes of a chunk
    #[arg(long, value_name = "SIZE", value_delimiter = ',', help_heading = MATRIX)]
    chunk: Vec<ByteSize>,
    /// Connections
    #[arg(long, value_delimiter = ',', help_heading = MATRIX)]
    connections: Vec<usize>,
    /// Containers, each with a tag of its own: up to 200
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=200), help_heading = MATRIX)]
    containers: Vec<u16>,
    /// Worker threads of the router (TOKIO_WORKER_THREADS)
    #[arg(long, value_delimiter = ',', help_heading = MATRIX)]
    threads: Vec<usize>,
    /// When chunks are acked
    #[arg(long, value_delimiter = ',', help_heading = MATRIX)]
    ack: Vec<Ack>,
    /// Every record is routed to nothing
    #[arg(long, help_heading = MATRIX)]
    nothing: bool,
    /// Bytes of bodies a second that the sinks take while records are sent
    #[arg(long, value_name = "SIZE", help_heading = MATRIX)]
    throttle: Option<ByteSize>,

    /// Log text that a saturated scenario sends
    #[arg(long, value_name = "SIZE", default_value = "400MB")]
    volume: ByteSize,
    /// How long the others take; the flood takes three times as long
    #[arg(long, value_name = "TIME", default_value = "10s")]
    time: humantime::Duration,
    /// The router's `memory:`
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    memory: ByteSize,
    /// So many rounds through the scenarios; of each, the run with the median CPU time is reported
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) repeat: u16,
    /// Leave out the floor: what this machine needs at least for each scenario
    #[arg(long)]
    pub(crate) no_floor: bool,
    /// Another binary than the one that was built with the bench: one of before a change, for example
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_logweir"), hide_default_value = true)]
    pub(crate) logweir: PathBuf,
    /// The seed of the payloads
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Print what went where, API by API and region by region; the report's text has it anyway
    #[arg(long)]
    pub(crate) details: bool,
    /// Where the text, the JSON and the plot go
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/../cost_per_gb"))]
    pub(crate) out: PathBuf,

    /// The region of the table's prices
    #[arg(long, default_value = "ap-northeast-1", help_heading = "Prices")]
    pub(crate) region: String,
    /// Prices instead of the embedded ones, as a JSON file
    #[arg(long, value_name = "FILE", help_heading = "Prices")]
    pub(crate) prices: Option<PathBuf>,
    /// How long logs are kept, in S3 as in CloudWatch Logs
    #[arg(long, value_name = "TIME", default_value = "90d", help_heading = "Prices")]
    pub(crate) retain: humantime::Duration,

    /// A few small scenarios, to see that all of it works
    #[arg(long)]
    pub(crate) test: bool,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// What is to run; an error says why that cannot be.
    pub(crate) fn rows(&self) -> Result<Vec<Row>, String> {
        let time = *self.time;
        let mut rows = match (self.test, self.matrix(time)) {
            (true, _) => goals::smoke(),
            (false, Some(scenarios)) => {
                scenarios.into_iter().map(|scenario| Row { scenario, goals: Vec::new() }).collect()
            }
            (false, None) => goals::rows(self.volume.as_u64(), time),
        };
        for row in &mut rows {
            row.scenario.memory_mib = self.memory.as_u64() >> 20;
            if let Some(problem) = row.scenario.problem() {
                return Err(format!("{}: {problem}", row.scenario.name));
            }
        }
        if let Some(text) = &self.only {
            rows.retain(|row| row.scenario.name.contains(text));
            if rows.is_empty() {
                return Err(format!("no scenario has `{text}` in its name; --list shows them"));
            }
        }
        Ok(rows)
    }

    /// The product of what was asked for; none when nothing was.
    fn matrix(&self, time: Duration) -> Option<Vec<Scenario>> {
        let mut all = vec![Scenario::split("", self.volume.as_u64())];
        all[0].to_nothing = self.nothing;
        all[0].throttle = self.throttle.map(|rate| rate.as_u64() as f64);
        let mut asked = self.nothing || self.throttle.is_some();
        let mut vary = |names: Vec<String>, set: &dyn Fn(&mut Scenario, usize)| {
            if names.is_empty() {
                return;
            }
            asked = true;
            let with = |scenario: &Scenario, n: usize, name: &str| {
                let mut scenario = scenario.clone();
                let separator = if scenario.name.is_empty() { "" } else { ", " };
                scenario.name = format!("{}{separator}{name}", scenario.name);
                set(&mut scenario, n);
                scenario
            };
            all = all
                .iter()
                .flat_map(|s| names.iter().enumerate().map(|(n, name)| with(s, n, name)).collect::<Vec<_>>())
                .collect();
        };
        vary(self.rate.iter().map(rate_name).collect(), &|s, n| {
            *s = match self.rate[n] {
                Rate::Saturated => s.clone(),
                rate => s.clone().paced(rate, time),
            }
        });
        vary(said(&self.tick, " tick"), &|s, n| s.tick = *self.tick[n]);
        vary(names(&self.framing), &|s, n| s.framing = self.framing[n]);
        vary(names(&self.payload), &|s, n| s.payload = self.payload[n]);
        vary(said(&self.cloudwatch, "% to CloudWatch"), &|s, n| s.to_cloudwatch = self.cloudwatch[n]);
        vary(names(&self.spool), &|s, n| s.spool = self.spool[n]);
        vary(prefixed("objects ", &self.objects), &|s, n| s.objects = self.objects[n]);
        vary(prefixed("bodies ", &self.bodies), &|s, n| s.bodies = self.bodies[n]);
        vary(prefixed("log_json ", &self.log_json), &|s, n| s.log_json = self.log_json[n]);
        vary(prefixed("fields ", &self.fields), &|s, n| s.fields = self.fields[n]);
        vary(said(&self.rules, " rules"), &|s, n| s.rules = self.rules[n]);
        vary(said(&self.chunk, " chunks"), &|s, n| s.chunk = self.chunk[n].as_u64() as usize);
        vary(said(&self.connections, " connections"), &|s, n| s.connections = self.connections[n]);
        vary(said(&self.containers, " containers"), &|s, n| s.containers = self.containers[n].into());
        vary(said(&self.threads, " threads"), &|s, n| s.threads = Some(self.threads[n]));
        vary(prefixed("ack ", &self.ack), &|s, n| s.ack = self.ack[n]);
        for scenario in &mut all {
            if scenario.throttle.is_some() {
                (scenario.volume, scenario.time) = (None, Some(time));
            }
            let nothing = if scenario.to_nothing { " → nothing" } else { "" };
            scenario.name.push_str(nothing);
        }
        asked.then_some(all)
    }
}

fn names<T: clap::ValueEnum>(values: &[T]) -> Vec<String> {
    prefixed("", values)
}

fn prefixed<T: clap::ValueEnum>(prefix: &str, values: &[T]) -> Vec<String> {
    let name = |value: &T| value.to_possible_value().map(|value| format!("{prefix}{}", value.get_name()));
    values.iter().filter_map(name).collect()
}

fn said<T: std::fmt::Display>(values: &[T], unit: &str) -> Vec<String> {
    values.iter().map(|value| format!("{value}{unit}")).collect()
}

fn rate_name(rate: &Rate) -> String {
    match rate {
        Rate::Saturated => "saturated".into(),
        Rate::Idle => "idle".into(),
        Rate::Bytes(rate) => format!("{} MB/s", rate / 1e6),
        Rate::Records(rate) => format!("{rate} records/s"),
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("`{text}` is no rate; accepted are saturated, idle, 10MB/s, 200/s");
    match (text, text.strip_suffix("/s")) {
        ("saturated", _) => Ok(Rate::Saturated),
        ("idle", _) => Ok(Rate::Idle),
        (_, Some(amount)) => match (amount.parse::<f64>(), amount.parse::<ByteSize>()) {
            (Ok(records), _) if records > 0.0 => Ok(Rate::Records(records)),
            (Err(_), Ok(bytes)) if bytes.as_u64() > 0 => Ok(Rate::Bytes(bytes.as_u64() as f64)),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

fn percentage(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| (0.0..=100.0).contains(value));
    value.ok_or_else(|| format!("`{text}` is no percentage; accepted are numbers from 0 to 100"))
}
