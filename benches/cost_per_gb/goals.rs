//! The default set: what the project promises, each as a scenario with its goal.
//!
//! Goals are CPU seconds per GB (10^9 bytes) of log text unless said, on one core of a current server, whose floor stands
//! beside them: `Floor` asks for the same ratio on whatever machine this is. `Above`, `Times` and `Pace` compare with
//! another scenario of the same run, which a busy machine blurs least. What two threads bring is
//! shown without a goal: sender and sinks want cores, too.

use std::time::Duration;

use serde::Serialize;

use crate::measure::Measured;
use crate::scenario::{Ack, Compression, Fields, Framing, LogJson, Rate, Scenario, Spool};

/// What a figure is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// CPU seconds per GB, at most.
    Cpu(f64),
    /// The same to the floor of this machine: at most as these two are to each other, a goal in CPU seconds per GB and the
    /// floor of the machine that it was set on.
    Floor(f64, f64),
    /// The same, so much more than that scenario, at most.
    Above(&'static str, f64),
    /// The same, so many times that scenario's, at most.
    Times(&'static str, f64),
    /// MB of log text a second, so many times that scenario's, at least.
    Pace(&'static str, f64),
    /// Resident MiB while records come, at most.
    Steady(f64),
    /// Highest resident MiB, at most what `memory:` says.
    WithinMemory,
    /// Wake-ups a second, at most.
    WakeUps(f64),
    /// Milliseconds from a chunk's due time to its ack, at most.
    AckP50(f64),
    /// The same.
    AckP99(f64),
    /// Resident KiB a connection more than that scenario, at most.
    Connection(&'static str, f64),
}

/// A goal and what was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) found: f64,
    pub(crate) at_most: Option<f64>,
    pub(crate) at_least: Option<f64>,
}

impl Verdict {
    pub(crate) fn is_met(&self) -> bool {
        self.at_most.is_none_or(|limit| self.found <= limit) && self.at_least.is_none_or(|limit| self.found >= limit)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sign, limit) = match (self.at_most, self.at_least) {
            (Some(limit), _) => ("≤", limit),
            (None, limit) => ("≥", limit.unwrap_or(0.0)),
        };
        let mark = if self.is_met() { "met" } else { "MISSED" };
        write!(f, "{} {:.2}, goal {sign} {limit}: {mark}", self.what, self.found)
    }
}

impl Goal {
    /// What was found; none when the scenario to compare with was not run.
    pub(crate) fn judge(self, it: &Measured, all: &[Measured]) -> Option<Verdict> {
        let other = |name: &str| all.iter().find(|other| other.scenario.name == name);
        let most =
            |what: &str, found, limit| Verdict { what: what.into(), found, at_most: Some(limit), at_least: None };
        Some(match self {
            Self::Cpu(limit) => most("CPU s/GB", it.cpu_per_gb(), limit),
            Self::Floor(goal, floor) => {
                // Two digits, as the figure is shown.
                most("CPU s/GB, times the floor", it.times_floor()?, (goal / floor * 100.0).round() / 100.0)
            }
            Self::Above(name, limit) => {
                most(&format!("CPU s/GB above “{name}”"), it.cpu_per_gb() - other(name)?.cpu_per_gb(), limit)
            }
            Self::Times(name, limit) => {
                most(&format!("CPU s/GB, times “{name}”"), it.cpu_per_gb() / other(name)?.cpu_per_gb(), limit)
            }
            Self::Pace(name, limit) => {
                let found = it.megabytes_a_second() / other(name)?.megabytes_a_second();
                Verdict { what: format!("MB/s, times “{name}”"), found, at_most: None, at_least: Some(limit) }
            }
            Self::Steady(limit) => most("resident MiB", it.memory.steady, limit),
            Self::WithinMemory => most("peak resident MiB", it.memory.peak, it.scenario.memory_mib as f64),
            Self::WakeUps(limit) => most("wake-ups a second", it.wake_ups, limit),
            Self::AckP50(limit) => most("ack p50 ms", it.sent.acks?.p50_ms, limit),
            Self::AckP99(limit) => most("ack p99 ms", it.sent.acks?.p99_ms, limit),
            Self::Connection(name, limit) => {
                let base = other(name)?;
                let more = (it.memory.steady - base.memory.steady) * 1024.0;
                most("KiB a connection", more / (it.scenario.connections - base.scenario.connections) as f64, limit)
            }
        })
    }
}

/// A scenario of the default set.
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) goals: Vec<Goal>,
}

const SPLIT: &str = "split, packed";
const RAW: &str = "split, packed, log_json raw";
const IDLE: &str = "idle";
/// It has sent as much as the 500 together, so that what that leaves behind is no part of a connection.
const IDLE_ONE: &str = "idle, 1 connection";

/// All of them. Saturated ones send `volume` bytes of log text, the others take `time`.
pub(crate) fn rows(volume: u64, time: Duration) -> Vec<Row> {
    use Goal::{Above, AckP50, AckP99, Connection, Cpu, Floor, Pace, Steady, Times, WakeUps, WithinMemory};
    let base = |name| Scenario::split(name, volume);
    let idle = |name, connections| Scenario { connections, chunk: 1 << 10, ..base(name) }.paced(Rate::Idle, time);
    let message = |name| Scenario { framing: Framing::Message, ..base(name) };
    let row = |scenario, goals: &[Goal]| Row { scenario, goals: goals.to_vec() };
    let rate = |mb: f64| Rate::Bytes(mb * 1e6);
    vec![
        row(
            Scenario { to_nothing: true, ..Scenario::split("packed → nothing", volume * 5) },
            &[Cpu(0.2), Floor(0.2, 0.1)],
        ),
        row(Scenario { to_nothing: true, ..message("message mode → nothing") }, &[Cpu(0.9), Floor(0.9, 0.5)]),
        row(Scenario { log_json: LogJson::Raw, ..base(RAW) }, &[]),
        row(base(SPLIT), &[Cpu(4.0), Floor(4.0, 2.9), Above(RAW, 0.4)]),
        row(Scenario { fields: Fields::Log, ..base("split, packed, fields: log alone") }, &[]),
        row(message("split, message mode"), &[Cpu(4.6), Floor(4.6, 3.0)]),
        row(
            message("split, message mode, 10 MB/s").paced(rate(10.0), time),
            &[Cpu(4.9), Floor(4.9, 3.6), Steady(40.0)],
        ),
        row(
            Scenario { tick: Duration::from_millis(1), ..message("split, message mode, 10 MB/s in 1 ms bursts") }
                .paced(rate(10.0), time),
            &[],
        ),
        row(
            message("split, message mode, 25 MB/s").paced(rate(25.0), time),
            &[Cpu(4.6), Floor(4.6, 3.4), Steady(48.0)],
        ),
        row(
            Scenario { objects: Compression::Gzip, ..base("split, packed, gzip objects") },
            &[Cpu(6.4), Floor(6.4, 4.9)],
        ),
        row(
            Scenario { to_cloudwatch: 100.0, bodies: Compression::None, ..base("all to CloudWatch, no compression") },
            &[Cpu(2.8), Floor(2.8, 2.0)],
        ),
        row(Scenario { to_cloudwatch: 100.0, ..base("all to CloudWatch, gzip") }, &[Cpu(6.0), Floor(6.0, 4.2)]),
        row(Scenario { rules: 10, ..base("split, packed, 10 rules") }, &[Above(SPLIT, 0.4)]),
        row(Scenario { spool: Spool::Disk, ..base("split, packed, disk") }, &[Times(SPLIT, 1.1)]),
        row(Scenario { connections: 1, ..base("split, packed, 1 connection") }, &[]),
        row(
            Scenario { connections: 500, ..base("split, packed, 500 connections") },
            &[Pace("split, packed, 1 connection", 0.9)],
        ),
        row(Scenario { threads: Some(1), ..base("split, packed, 1 thread") }, &[]),
        row(
            Scenario { ack: Ack::Received, ..base("ack from memory, 10 MB/s") }.paced(rate(10.0), time),
            &[AckP50(0.3), AckP99(2.0)],
        ),
        row(
            Scenario { ack: Ack::Durable, spool: Spool::Disk, ..base("ack durable, 10 MB/s") }.paced(rate(10.0), time),
            &[AckP99(20.0)],
        ),
        row(
            Scenario {
                throttle: Some(2e6),
                volume: None,
                time: Some(time * 3),
                ..message("input faster than the sinks")
            },
            &[WithinMemory],
        ),
        row(idle(IDLE, 0), &[Steady(14.0), WakeUps(5.0)]),
        row(Scenario { chunk: 500 << 10, ..idle(IDLE_ONE, 1) }, &[]),
        row(idle("idle, 500 connections", 500), &[Connection(IDLE_ONE, 16.0)]),
    ]
}

/// What shows that everything works, in an unoptimised build, in seconds.
pub(crate) fn smoke() -> Vec<Row> {
    use crate::payload::Payload;
    let (volume, time) = (400_000, Duration::from_millis(600));
    let base = |name| Scenario::split(name, volume);
    let rate = Rate::Bytes(1e6);
    let scenarios = [
        Scenario {
            to_nothing: true,
            framing: Framing::Pieces,
            payload: Payload::Jvm,
            ..base("16 KiB writes → nothing")
        },
        Scenario {
            framing: Framing::Gzip,
            payload: Payload::Web600,
            containers: 3,
            rules: 10,
            ..base("gzip, 10 rules")
        },
        Scenario {
            framing: Framing::Message,
            payload: Payload::Parts,
            fields: Fields::Log,
            objects: Compression::Gzip,
            ..base("parts")
        },
        Scenario { to_cloudwatch: 100.0, payload: Payload::Trace, ..base("traces to CloudWatch") },
        Scenario { to_cloudwatch: 3.0, payload: Payload::Nginx, objects: Compression::None, ..base("nginx") },
        Scenario { ack: Ack::Durable, spool: Spool::Disk, ..base("ack durable") }.paced(rate, time),
        Scenario { connections: 3, chunk: 1 << 10, ..base(IDLE) }.paced(Rate::Idle, time),
    ];
    scenarios.map(|scenario| Row { scenario, goals: Vec::new() }).into()
}
