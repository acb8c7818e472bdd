//! What arrived, decoded and compared with what was sent: every mark once in every sink that it belongs to.

use std::collections::BTreeMap;

use memchr::memmem::Finder;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::decode::PutLogEvents;
use super::store::{Api, Body, Kept, Object};
use crate::mark::{self, Mark};

/// What CloudWatch Logs bills for an event beside its message.
pub(super) const EVENT_OVERHEAD: u64 = 26;

/// What the bench wants to know.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) run: u16,
    /// Records that each lane sent.
    pub(crate) lanes: Vec<u64>,
    pub(crate) marks_in_line: usize,
    /// Whether S3 was to have all, and how many CloudWatch Logs was to have.
    pub(crate) archive: bool,
    pub(crate) events: u64,
    /// Whether only alerts belong to CloudWatch Logs.
    pub(crate) only_alerts: bool,
}

/// Copies of records in one sink, counted by their marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copies {
    pub(crate) expected: u64,
    /// Records that are there, once or more.
    pub(crate) arrived: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    /// In a sink, log group or prefix that is not theirs.
    pub(crate) misrouted: u64,
    /// Not JSON, without mark, of a record that nobody sent, or joined of parts that do not belong together.
    pub(crate) damaged: u64,
    /// Bytes of lines, or of messages and what is billed beside them.
    pub(crate) bytes: u64,
}

impl Copies {
    /// Everything arrived as it was to.
    pub(crate) fn is_right(&self) -> bool {
        self.lost + self.duplicated + self.misrouted + self.damaged == 0
    }
}

/// The account of the sinks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Arrived {
    pub(crate) s3: Copies,
    pub(crate) cloudwatch: Copies,
    pub(crate) apis: BTreeMap<String, Api>,
    /// Sizes of objects as stored, in rising order.
    pub(crate) objects: Vec<u64>,
    /// Seconds since 1970 of the last request.
    pub(crate) last: f64,
}

/// Decodes everything and counts it.
pub(super) fn verify(kept: &Kept, question: &Question) -> Arrived {
    let finder = Finder::new(mark::prefix(question.run).as_bytes()).into_owned();
    let mut s3 = Counter::new(question, &finder);
    for object in &kept.objects {
        s3.object(object);
    }
    let mut cloudwatch = Counter::new(question, &finder);
    for body in &kept.bodies {
        cloudwatch.body(body);
    }
    let mut objects: Vec<u64> =
        kept.objects.iter().map(|object| object.pieces.iter().map(|piece| piece.len() as u64).sum()).collect();
    objects.sort_unstable();
    let all = if question.archive { question.lanes.iter().sum() } else { 0 };
    Arrived {
        s3: s3.close(all),
        cloudwatch: cloudwatch.close(question.events),
        apis: kept.apis.clone(),
        objects,
        last: kept.last,
    }
}

struct Counter<'a> {
    question: &'a Question,
    finder: &'a Finder<'a>,
    seen: Vec<Vec<bool>>,
    copies: Copies,
}

impl<'a> Counter<'a> {
    fn new(question: &'a Question, finder: &'a Finder<'a>) -> Self {
        let seen = question.lanes.iter().map(|&records| vec![false; records as usize]).collect();
        Self { question, finder, seen, copies: Copies::default() }
    }

    fn close(mut self, expected: u64) -> Copies {
        self.copies.expected = expected;
        self.copies.lost = expected.saturating_sub(self.copies.arrived);
        self.copies
    }

    fn object(&mut self, object: &Object) {
        let counted = object.each_line(|line| {
            self.copies.bytes += line.len() as u64;
            let whole = line.ends_with(b"\n") && serde_json::from_slice::<IgnoredAny>(line).is_ok();
            self.record(line, whole, |mark| object.key.contains(&format!("/service=app{}/", mark.container)));
            true
        });
        // What an object that ends early held is missing, too.
        self.copies.damaged += u64::from(counted.is_err());
    }

    fn body(&mut self, body: &Body) {
        let json = body.json().unwrap_or_default();
        let Ok(request) = serde_json::from_slice::<PutLogEvents<'_>>(&json) else {
            self.copies.damaged += 1;
            return;
        };
        if !request.events.is_sorted_by_key(|event| event.timestamp) {
            self.copies.damaged += 1;
        }
        for event in &request.events {
            self.copies.bytes += event.message.len() as u64 + EVENT_OVERHEAD;
            let only_alerts = self.question.only_alerts;
            self.record(event.message.as_bytes(), true, |mark| {
                request.group == format!("/bench/app{}", mark.container) && (mark.alert || !only_alerts)
            });
        }
    }

    fn record(&mut self, line: &[u8], whole: bool, belongs: impl Fn(&Mark) -> bool) {
        let mut marks = mark::positions(line, self.finder).map(|at| mark::read(line, at));
        let Some(mark) = marks.next().flatten() else {
            self.copies.damaged += 1;
            return;
        };
        let alike = marks.filter(|other| *other == Some(mark)).count() + 1 == self.question.marks_in_line;
        let slot = self.seen.get_mut(usize::from(mark.lane)).and_then(|lane| lane.get_mut(mark.number as usize));
        match slot {
            Some(seen) if whole && alike => {
                self.copies.arrived += u64::from(!*seen);
                self.copies.duplicated += u64::from(*seen);
                *seen = true;
            }
            _ => self.copies.damaged += 1,
        }
        self.copies.misrouted += u64::from(!belongs(&mark));
    }
}
