//! Why a record takes the routes that it takes: each comparison that failed, with the value and type that it met.

use std::fmt;

use super::condition::{Condition, Test, level_value};
use super::{Route, Router};
use crate::record::Record;
use crate::record::level::{Level, LevelRules};
use crate::record::name::{Found, Name};

/// Longest part of a text that is shown.
const SHOWN: usize = 120;

/// A decision and its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// All routes, in their order.
    pub routes: Vec<RouteExplanation>,
    /// The record's level, and where it came from in words.
    pub level: Option<(Level, String)>,
}

/// What a route did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteExplanation {
    /// Its name in the config.
    pub name: String,
    /// Its condition as written; none takes every record.
    pub when: Option<String>,
    /// What came out.
    pub verdict: Verdict,
}

/// What came out for a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes the record.
    Matched {
        /// Its sinks, by their indexes.
        sinks: Vec<usize>,
        /// Whether later routes see the record too.
        goes_on: bool,
    },
    /// It does not, for these reasons.
    Failed(Vec<Reason>),
    /// An earlier route took the record.
    NotReached,
}

/// A comparison that spoke against a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The comparison.
    pub comparison: String,
    /// Whether it holds: true only for one that stands under `!`.
    pub holds: bool,
    /// The value that it met, shortened; none if missing.
    pub value: Option<String>,
    /// The type of that value in words, or `missing`.
    pub kind: &'static str,
}

impl Router {
    /// Decides about a record like [`Router::decide`], without any short cut, and says why.
    pub fn explain(&self, record: &Record<'_>) -> Explanation {
        let levels = self.levels();
        let mut taken = false;
        let explain = |route: &Route| {
            let verdict = match route.condition.as_ref().filter(|condition| !holds(condition, record, levels)) {
                _ if taken => Verdict::NotReached,
                Some(condition) => {
                    let mut found = Vec::new();
                    reasons(condition, true, record, levels, &mut found);
                    found.sort_by_key(|(at, _)| *at);
                    Verdict::Failed(found.into_iter().map(|(_, reason)| reason).collect())
                }
                None => {
                    taken = !route.goes_on;
                    let sinks = route.sinks.iter().copied().map(usize::from).collect();
                    Verdict::Matched { sinks, goes_on: route.goes_on }
                }
            };
            RouteExplanation { name: route.name.clone(), when: route.when.clone(), verdict }
        };
        let routes = self.routes().iter().map(explain).collect();
        let level = levels.find(record).map(|(level, origin)| (level, levels.describe(origin)));
        Explanation { routes, level }
    }
}

fn value<'a>(test: &Test, record: &Record<'a>, levels: &LevelRules) -> Option<Found<'a>> {
    match &test.name {
        Name::Level => levels.level(record).map(level_value),
        name => name.resolve(record, levels),
    }
}

/// Whether a condition holds, evaluated in the plainest way.
pub(super) fn holds(condition: &Condition, record: &Record<'_>, levels: &LevelRules) -> bool {
    match condition {
        Condition::Always(always) => *always,
        Condition::And(parts) => parts.iter().all(|part| holds(part, record, levels)),
        Condition::Or(parts) => parts.iter().any(|part| holds(part, record, levels)),
        Condition::Not(inner) => !holds(inner, record, levels),
        Condition::Test(test) => test.holds(value(test, record, levels).as_ref()),
    }
}

/// The comparisons because of which a condition is not as `wanted`, with their places. Only called for one that is not.
fn reasons(c: &Condition, wanted: bool, record: &Record<'_>, levels: &LevelRules, out: &mut Vec<(usize, Reason)>) {
    match c {
        Condition::Always(_) => {}
        Condition::And(parts) | Condition::Or(parts) => {
            for part in parts.iter().filter(|part| holds(part, record, levels) != wanted) {
                reasons(part, wanted, record, levels, out);
            }
        }
        Condition::Not(inner) => reasons(inner, !wanted, record, levels, out),
        Condition::Test(test) => {
            let (value, kind) = match &test.name {
                Name::Level => (levels.level(record).map(|level| level.to_string()), "a level"),
                name => {
                    let found = name.resolve(record, levels);
                    (found.as_ref().map(show), found.map_or("missing", |found| found.kind()))
                }
            };
            let kind = if value.is_none() { "missing" } else { kind };
            out.push((test.at, Reason { comparison: test.to_string(), holds: !wanted, value, kind }));
        }
    }
}

fn show(found: &Found<'_>) -> String {
    match found {
        Found::Nil => "null".into(),
        Found::Bool(value) => value.to_string(),
        Found::Int(value) => value.to_string(),
        Found::UInt(value) => value.to_string(),
        Found::Float(value) => format!("{value:?}"),
        Found::Str(text) => {
            let text = String::from_utf8_lossy(text);
            match text.char_indices().nth(SHOWN) {
                None => format!("{text:?}"),
                Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], text.len()),
            }
        }
        Found::Array => "[…]".into(),
        Found::Map => "{…}".into(),
        Found::Other => "…".into(),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}: found ", self.comparison, self.holds)?;
        match &self.value {
            Some(value) => write!(f, "{value}, {}", self.kind),
            None => f.write_str(self.kind),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.level {
            Some((level, origin)) => writeln!(f, "level {level}, from {origin}")?,
            None => writeln!(f, "no level: nothing in the record tells one")?,
        }
        for route in &self.routes {
            match &route.verdict {
                Verdict::Matched { sinks, goes_on } => {
                    write!(f, "+ {}: matched", route.name)?;
                    if sinks.is_empty() {
                        write!(f, ", dropped on purpose")?;
                    }
                    writeln!(f, "{}", if *goes_on { ", later routes are looked at too" } else { "" })?;
                }
                Verdict::Failed(reasons) => {
                    writeln!(f, "- {}: not matched", route.name)?;
                    for reason in reasons {
                        writeln!(f, "    {reason}")?;
                    }
                }
                Verdict::NotReached => {
                    writeln!(f, "  {}: not looked at, an earlier route took the record", route.name)?
                }
            }
        }
        Ok(())
    }
}
