//! What was measured, on screen and as JSON.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;

use crate::dollars::Dollars;
use crate::goals::Verdict;
use crate::machine::Machine;
use crate::measure::Measured;
use crate::scenario::Rate;

/// A write that comes so long after its due time makes the figures of a rate doubtful.
const LATE_MS: f64 = 100.0;

/// So does such a share of writes more than a millisecond late: they come in bursts, which are less work.
const LATE_SHARE: f64 = 0.1;

/// Everything, as the JSON has it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) seed: u64,
    /// Bytes of the binary under test.
    pub(crate) binary_bytes: u64,
    /// Median of all starts.
    pub(crate) listening_ms: f64,
    /// Of the binary and its start.
    pub(crate) verdicts: Vec<Verdict>,
    /// Where prices are from, and of what date.
    pub(crate) prices: Vec<(String, String)>,
    pub(crate) kept_days: f64,
    pub(crate) rows: Vec<Reported>,
}

/// A scenario as it is reported.
#[derive(Debug, Serialize)]
pub(crate) struct Reported {
    pub(crate) cpu_per_gb: Option<f64>,
    pub(crate) times_floor: Option<f64>,
    pub(crate) measured: Measured,
    pub(crate) verdicts: Vec<Verdict>,
    /// By region; the first is the table's.
    pub(crate) dollars: Vec<Dollars>,
}

/// The heading of the table.
pub(crate) fn heading() -> String {
    format!(
        "{:<44} {:>7} {:>8} {:>6} {:>7} {:>6} {:>6} {:>6} {:>23} {:>13} {:>9} {:>9}",
        "scenario",
        "MB/s",
        "CPU s/GB",
        "floor",
        "x floor",
        "user",
        "system",
        "ratio",
        "MiB peak/steady/after",
        "lost/dup/mis",
        "$/GB",
        "all in CW"
    )
}

impl Reported {
    /// Its row of the table, and what more there is to say, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let it = &self.measured;
        let gb = it.gigabytes();
        let busy = it.scenario.rate != Rate::Idle;
        let figure = |value: f64, digits: usize| {
            if busy && value.is_finite() { format!("{value:.digits$}") } else { "–".into() }
        };
        let memory = it.memory;
        let (s3, cloudwatch) = (it.arrived.s3, it.arrived.cloudwatch);
        let wrong =
            [s3.lost + cloudwatch.lost, s3.duplicated + cloudwatch.duplicated, s3.misrouted + cloudwatch.misrouted];
        let dollars = self.dollars.first();
        let usd = |value: Option<f64>| value.map_or("–".into(), |usd| format!("{usd:.4}"));
        let mut lines = vec![format!(
            "{:<44} {:>7} {:>8} {:>6} {:>7} {:>6} {:>6} {:>6} {:>23} {:>13} {:>9} {:>9}",
            it.scenario.name,
            figure(it.megabytes_a_second(), 1),
            figure(it.cpu_per_gb(), 2),
            figure(it.floor.as_ref().map_or(f64::NAN, |floor| floor.cpu_per_gb), 2),
            figure(self.times_floor.unwrap_or(f64::NAN), 2),
            figure(it.cpu.user / gb, 2),
            figure(it.cpu.system / gb, 2),
            figure(it.ratio().unwrap_or(f64::NAN), 2),
            format!("{:.1}/{:.1}/{:.1}", memory.peak, memory.steady, memory.after),
            wrong.map(|count| count.to_string()).join("/"),
            usd(dollars.map(Dollars::total)),
            usd(dollars.map(|dollars| dollars.all_to_cloudwatch)),
        )];
        lines.extend(self.verdicts.iter().map(|verdict| format!("    {verdict}")));
        if let Some(acks) = it.sent.acks {
            lines.push(format!(
                "    {} acks: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, longest {:.2} ms",
                acks.count, acks.p50_ms, acks.p99_ms, acks.p999_ms, acks.max_ms
            ));
        }
        let (late, late_ms) = (it.sent.late_share(), it.sent.late_ms);
        if (late > LATE_SHARE || late_ms > LATE_MS) && it.scenario.throttle.is_none() {
            let bare = match it.floor.as_ref().map(|floor| floor.reading) {
                None => "the machine or the router does not keep the rate".into(),
                Some(bare) => format!("with the bare reader {:.1} %, {:.1} ms", bare.late * 100.0, bare.late_ms),
            };
            let late = late * 100.0;
            lines.push(format!(
                "    {late:.1} % of the writes came more than 1 ms late, the latest {late_ms:.1} ms; {bare}"
            ));
        }
        if !busy {
            lines.push(format!(
                "    {:.1} wake-ups a second, {:.2} % of a core",
                it.wake_ups,
                it.cpu.total() / it.sent.seconds.max(1.0) * 100.0
            ));
        }
        lines
    }

    /// What went where, a line each.
    pub(crate) fn details(&self) -> Vec<String> {
        let it = &self.measured;
        let mut lines = vec![format!(
            "{} records of {:.0} B log text, {:.1} MB on the wire in {} writes; the sender used {:.2} CPU s, {:.1} % of its time",
            it.sent.records(),
            it.sent.text as f64 / it.sent.records().max(1) as f64,
            it.sent.wire as f64 / 1e6,
            it.sent.writes,
            it.sent.cpu,
            it.sent.cpu / it.sent.seconds.max(1e-9) * 100.0,
        )];
        if !matches!(it.scenario.rate, Rate::Saturated | Rate::Idle) {
            lines.push(format!(
                "{:.1} % of the writes came more than 1 ms after they were due, the latest {:.1} ms; {:.0} wake-ups a second",
                it.sent.late_share() * 100.0,
                it.sent.late_ms,
                it.wake_ups
            ));
        }
        if let Some(floor) = &it.floor {
            let parts = floor.parts.named().filter(|(_, seconds)| *seconds > 0.0);
            let parts: Vec<String> = parts.map(|(name, seconds)| format!("{name} {seconds:.3}")).collect();
            let gathered = match floor.reading.pause_ms {
                0.0 => "each write as it came".into(),
                pause => format!("what came in {pause} ms at once"),
            };
            lines.push(format!(
                "floor {:.2} CPU s/GB = {}; the bare reader read {gathered}, {:.1} MB/s",
                floor.cpu_per_gb,
                parts.join(" + "),
                floor.reading.megabytes_a_second
            ));
        }
        for (api, count) in &it.arrived.apis {
            lines.push(format!("{api}: {} requests, {:.2} MB", count.requests, count.bytes as f64 / 1e6));
        }
        if let (Some(least), Some(most)) = (it.arrived.objects.first(), it.arrived.objects.last()) {
            let kb = |bytes: u64| bytes as f64 / 1e3;
            lines.push(format!("{} objects of {:.0} to {:.0} KB", it.arrived.objects.len(), kb(*least), kb(*most)));
        }
        for d in &self.dollars {
            lines.push(format!(
                "{}: ${:.4} a GB = CloudWatch {:.4} + {:.4} stored, S3 {:.4} stored + {:.5} requests, {} {:.5}; all in CloudWatch {:.4}",
                d.region,
                d.total(),
                d.cloudwatch_ingestion,
                d.cloudwatch_storage,
                d.s3_storage,
                d.s3_requests,
                if d.reservation.is_some() { "reserved" } else { "CPU" },
                d.reservation.unwrap_or(d.cpu),
                d.all_to_cloudwatch
            ));
        }
        lines
    }
}

impl Report {
    /// What stands below the table.
    pub(crate) fn footer(&self) -> Vec<String> {
        let machine = &self.machine;
        let mut lines: Vec<String> = self.verdicts.iter().map(|verdict| verdict.to_string()).collect();
        lines.push(format!(
            "{}, on {}, {} cores, {} MiB, Linux {}, load {} at the beginning",
            machine.logweir, machine.cpu, machine.cores, machine.memory_mib, machine.kernel, machine.load
        ));
        let rated = |row: &&Reported| row.dollars.first().is_some_and(|dollars| dollars.reservation.is_some());
        let row = self.rows.iter().find(rated).or_else(|| self.rows.iter().find(|row| !row.dollars.is_empty()));
        if let Some(row) = row {
            let region = |d: &Dollars| format!("{} {:.3} ({:.3})", d.region, d.total(), d.all_to_cloudwatch);
            let regions: Vec<String> = row.dollars.iter().map(region).collect();
            let name = &row.measured.scenario.name;
            lines.push(format!("“{name}”, $ a GB (all in CloudWatch): {}", regions.join(", ")));
        }
        let sources: Vec<String> = self.prices.iter().map(|(source, date)| format!("{source} ({date})")).collect();
        lines.push(format!("prices: {}; logs kept {} days", sources.join("; "), self.kept_days));
        lines
    }

    /// The table in Markdown, with a goal beside each figure that has one.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from(
            "| scenario | CPU s/GB | floor | x floor | MB/s | ratio | resident MiB, peak / steady | $ a GB | all in CloudWatch \
             | goals |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for row in &self.rows {
            let it = &row.measured;
            let busy = it.scenario.rate != Rate::Idle;
            let figure = |value: Option<f64>, digits: usize| match value.filter(|value| busy && value.is_finite()) {
                Some(value) => format!("{value:.digits$}"),
                None => "–".into(),
            };
            let dollars = row.dollars.first();
            let goals: Vec<String> = row.verdicts.iter().map(ToString::to_string).collect();
            // Writing into a string cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {:.1} / {:.1} | {} | {} | {} |",
                it.scenario.name,
                figure(row.cpu_per_gb, 2),
                figure(it.floor.as_ref().map(|floor| floor.cpu_per_gb), 2),
                figure(row.times_floor, 2),
                figure(Some(it.megabytes_a_second()), 0),
                figure(it.ratio(), 1),
                it.memory.peak,
                it.memory.steady,
                figure(dollars.map(Dollars::total), 4),
                figure(dollars.map(|dollars| dollars.all_to_cloudwatch), 4),
                goals.join("; ")
            );
        }
        text
    }

    /// Writes the JSON.
    pub(crate) fn write(&self, mut out: impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")
    }
}
