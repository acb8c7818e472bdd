//! The floor: the CPU that no router doing this work could leave out, on this machine, in the same minutes.
//!
//! Goals in seconds hold for one kind of machine; so many times the floor holds on any. It has two parts:
//!
//! - **reading**: the same sender with the same scenario against the least program that reads its sockets ([`reader`]);
//! - **calls**: bare library calls on the very bytes that arrived ([`calls`]): one copy, one UTF-8 check, one reading of
//!   the JSON in `log`, compression, and the hashes that requests are signed with.
//!
//! Nothing is granted for queues, ledger, rules, retries, acks, disk, msgpack or the escaping of strings.

pub(crate) mod calls;
mod inflate;
pub(crate) mod reader;
mod reading;

use std::io;

use serde::Serialize;

use crate::scenario::{Framing, Scenario};
use crate::sender::Sent;
use calls::Calls;
pub(crate) use reading::Reading;

/// CPU seconds a GB of log text.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Floor {
    /// All parts.
    pub(crate) cpu_per_gb: f64,
    pub(crate) parts: Parts,
    pub(crate) reading: Reading,
}

/// CPU seconds a GB of log text, by what they are used for.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Parts {
    /// Reading sockets.
    pub(crate) read: f64,
    /// Inflating chunks, where they come compressed.
    pub(crate) inflate: f64,
    #[serde(flatten)]
    pub(crate) calls: Calls,
}

impl Parts {
    /// Each with its name.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, f64)> + use<> {
        [("read", self.read), ("inflate", self.inflate)].into_iter().chain(self.calls.named())
    }
}

/// Measures what `calls`, CPU seconds for all that was sent, lacks to the floor.
pub(crate) fn measure(scenario: &Scenario, seed: u64, sent: &Sent, calls: Calls) -> io::Result<Floor> {
    let reading = reading::measure(scenario, seed)?;
    let inflate = if scenario.framing == Framing::Gzip { inflate::cpu_per_gb(scenario, seed) } else { 0.0 };
    let parts =
        Parts { read: reading.cpu_per_gb, inflate, calls: calls.map(|seconds| seconds * 1e9 / sent.text as f64) };
    Ok(Floor { cpu_per_gb: parts.named().map(|(_, seconds)| seconds).sum(), parts, reading })
}
