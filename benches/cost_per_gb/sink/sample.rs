//! A sample of what arrived, and what bare library calls on it take.

use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::decode::PutLogEvents;
use super::store::Kept;
use super::verify::{Arrived, EVENT_OVERHEAD};
use crate::floor::calls::{self, Block, Calls, Rhythm};
use crate::machine;
use crate::scenario::{LogJson, Rate, Scenario};

/// Bytes of lines, and of messages, that are enough: more than a cache holds.
const ENOUGH: u64 = 32 << 20;

/// At a rate, caches are cold anyway: what came in so much time is enough …
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// … if it is some blocks.
const SOME: u64 = 1 << 20;

/// CPU seconds for all that arrived.
///
/// The JSON in `log` is read once a record, however many sinks it goes to: where all have it as JSON, in S3, else in the
/// messages, in which it always stands as such.
pub(super) fn calls(kept: &Kept, arrived: &Arrived, scenario: &Scenario) -> Calls {
    let in_lines = scenario.has_archive() && scenario.log_json != LogJson::Raw;
    let scaled = |calls: Calls, all: u64, sample: u64| calls.map(|seconds| seconds * all as f64 / sample.max(1) as f64);
    let (all_lines, all_messages) = (arrived.s3.bytes, arrived.cloudwatch.bytes);
    let lines = lines(kept, enough(scenario, all_lines), |line| match scenario.log_json {
        LogJson::Raw => None,
        LogJson::Nest => log(line),
        LogJson::Lift => Some(0..line.len()),
    });
    let (messages, bodies) =
        messages(kept, enough(scenario, all_messages), |message| log(message).filter(|_| !in_lines));
    let on_lines = calls::on_lines(&lines.blocks, scenario.objects, rhythm(scenario, lines.bytes, all_lines));
    let rhythm = rhythm(scenario, messages.bytes, all_messages);
    let on_messages = calls::on_messages(&messages.blocks, &bodies, scenario.bodies, rhythm);
    scaled(on_lines, all_lines, lines.bytes).with(scaled(on_messages, all_messages, messages.bytes), |a, b| a + b)
}

/// How long the scenario sends, if it does at a rate.
fn paced(scenario: &Scenario) -> Option<Duration> {
    scenario.time.filter(|_| scenario.rate != Rate::Saturated)
}

/// Bytes of a sample of all these that are enough.
fn enough(scenario: &Scenario, all: u64) -> u64 {
    let in_time = |time: Duration| (all as f64 * LONG_ENOUGH.as_secs_f64() / time.as_secs_f64()) as u64;
    paced(scenario).map_or(ENOUGH, |time| in_time(time).clamp(SOME, ENOUGH))
}

/// How a sample of so many bytes goes through: at a rate, as quickly as all came, and on one thread, since the router has
/// the cores to itself most of the time.
fn rhythm(scenario: &Scenario, sample: u64, all: u64) -> Rhythm {
    match paced(scenario) {
        Some(time) => Rhythm::Paced(time.mul_f64((sample as f64 / all.max(1) as f64).min(1.0))),
        None => Rhythm::Saturated(scenario.threads.unwrap_or(usize::MAX).min(machine::cores())),
    }
}

/// Texts in blocks.
#[derive(Default)]
struct Sample {
    blocks: Vec<Block>,
    /// Bytes as the account counts them.
    bytes: u64,
}

impl Sample {
    fn push(&mut self, text: &[u8], log: Option<Range<usize>>) {
        let pushed = self.blocks.last_mut().is_some_and(|block| block.push(text, log.clone()));
        if !pushed {
            let mut block = Block::default();
            block.push(text, log);
            self.blocks.push(block);
        }
    }
}

fn lines(kept: &Kept, enough: u64, log: impl Fn(&[u8]) -> Option<Range<usize>>) -> Sample {
    let mut sample = Sample::default();
    for object in &kept.objects {
        if sample.bytes >= enough {
            break;
        }
        // One that is damaged fails the bench anyway.
        let _ = object.each_line(|line| {
            sample.push(line, log(line));
            sample.bytes += line.len() as u64;
            sample.bytes < enough
        });
    }
    sample
}

/// Messages, and the JSON that they came in.
fn messages(kept: &Kept, enough: u64, log: impl Fn(&[u8]) -> Option<Range<usize>>) -> (Sample, Vec<Vec<u8>>) {
    let (mut sample, mut bodies) = (Sample::default(), Vec::new());
    for body in &kept.bodies {
        if sample.bytes >= enough {
            break;
        }
        let json = body.json().unwrap_or_default();
        let Ok(request) = serde_json::from_slice::<PutLogEvents<'_>>(&json) else { continue };
        for event in &request.events {
            let message = event.message.as_bytes();
            sample.push(message, log(message));
            sample.bytes += message.len() as u64 + EVENT_OVERHEAD;
        }
        bodies.push(json.into_owned());
    }
    (sample, bodies)
}

/// Where the JSON object under `log` stands.
fn log(text: &[u8]) -> Option<Range<usize>> {
    #[derive(Deserialize)]
    struct Record<'a> {
        #[serde(borrow)]
        log: &'a RawValue,
    }
    let log = serde_json::from_slice::<Record<'_>>(text).ok()?.log.get();
    // It is borrowed from the text.
    let begin = log.as_ptr() as usize - text.as_ptr() as usize;
    log.starts_with('{').then(|| begin..begin + log.len())
}
