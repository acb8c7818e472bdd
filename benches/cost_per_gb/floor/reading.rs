//! What reading alone takes: the scenario's own sender against the bare reader.
//!
//! A fraction of the scenario is enough: nothing is queued or compressed that would have to settle, and the reader's CPU
//! is counted in nanoseconds. At a rate, one turn reads each write as it comes, the other what has come in [`PAUSE`], and
//! the one that takes less counts: of lines that are written one by one the latter takes a fifth, of chunks twice as much.
//! When saturated, a reader that pauses takes more, and the median of some turns without pauses counts.

use std::io;
use std::time::Duration;

use serde::Serialize;
use tempfile::TempDir;

use super::reader::{self, Done};
use crate::helper::Helper;
use crate::scenario::{Ack, Rate, Scenario};
use crate::sender::{self, Sent};

/// The most log text of a turn that is saturated.
const VOLUME: u64 = 100_000_000;

/// The most time of a turn at a rate.
const TIME: Duration = Duration::from_secs(2);

/// Turns of a scenario that is saturated, odd for a median.
const TURNS: usize = 3;

/// As long as the router lets small writes gather, at most.
const PAUSE: Duration = Duration::from_millis(2);

/// The turn that counts.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Reading {
    /// CPU seconds of the reader a GB of log text.
    pub(crate) cpu_per_gb: f64,
    /// How long it let writes gather; 0 if not at all.
    pub(crate) pause_ms: f64,
    /// MB of log text a second that it was sent.
    pub(crate) megabytes_a_second: f64,
    /// The most that a write of the sender came after its due time; what is late here is not the router's fault.
    pub(crate) late_ms: f64,
    /// The share of them that came late at all.
    pub(crate) late: f64,
}

/// Measures it.
pub(super) fn measure(scenario: &Scenario, seed: u64) -> io::Result<Reading> {
    let scenario = fraction(scenario);
    let turns = |pauses: &[Duration]| -> io::Result<Vec<Reading>> {
        let mut turns = pauses.iter().map(|&pause| turn(&scenario, seed, pause)).collect::<io::Result<Vec<_>>>()?;
        turns.sort_by(|a, b| a.cpu_per_gb.total_cmp(&b.cpu_per_gb));
        Ok(turns)
    };
    match scenario.rate {
        Rate::Saturated | Rate::Idle => Ok(turns(&[Duration::ZERO; TURNS])?[TURNS / 2]),
        Rate::Bytes(_) | Rate::Records(_) => Ok(turns(&[Duration::ZERO, PAUSE])?[0]),
    }
}

/// As much of the scenario as a turn needs. Nobody acks.
fn fraction(scenario: &Scenario) -> Scenario {
    let (volume, time) = match scenario.rate {
        Rate::Saturated => (Some(scenario.volume.unwrap_or(u64::MAX).min(VOLUME)), None),
        _ => (scenario.volume, scenario.time.map(|time| time.min(TIME))),
    };
    Scenario { volume, time, ack: Ack::None, ..scenario.clone() }
}

fn turn(scenario: &Scenario, seed: u64, pause: Duration) -> io::Result<Reading> {
    let dir = TempDir::new()?;
    let socket = dir.path().join("bare.sock");
    let order = reader::Order { socket: socket.clone(), connections: scenario.connections, pause };
    let mut reader = Helper::start(&["reader", &serde_json::to_string(&order)?])?;
    reader.line()?;
    let order = sender::Order { scenario: scenario.clone(), socket, run: fastrand::u16(..), seed };
    let mut sender = Helper::start(&["sender", &serde_json::to_string(&order)?])?;
    sender.line()?;
    sender.say("go")?;
    let sent: Sent = serde_json::from_str(&sender.line()?)?;
    let done: Done = serde_json::from_str(&reader.line()?)?;
    if done.bytes != sent.wire {
        return Err(io::Error::other(format!("the bare reader read {} bytes of {}", done.bytes, sent.wire)));
    }
    Ok(Reading {
        cpu_per_gb: done.cpu * 1e9 / sent.text as f64,
        pause_ms: pause.as_secs_f64() * 1000.0,
        megabytes_a_second: sent.text as f64 / 1e6 / sent.seconds,
        late_ms: sent.late_ms,
        late: sent.late_share(),
    })
}
