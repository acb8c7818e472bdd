//! Which sinks take a record: conditions compiled once to a matcher over the raw bytes, first match first.
//!
//! Conditions are a subset of CEL. A record is looked at lazily and at most once: a prefilter on literals rules out
//! what cannot match, behind it one pass picks the fields that all rules need. Neither changes an answer:
//! [`Router::explain`] evaluates in the plainest way and says why.

mod compile;
mod condition;
mod explain;
mod pick;
mod prefilter;
mod slips;

pub use explain::{Explanation, Reason, RouteExplanation, Verdict};

use condition::{Condition, Test, level_value};
use pick::Picker;
use prefilter::{Escapes, Prefilter};

use crate::record::Record;
use crate::record::level::LevelRules;
use crate::record::name::{Found, Name};

/// A route as the plan has it: sinks are indexes.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// Name in the config.
    pub name: String,
    /// Condition; none takes every record.
    pub when: Option<String>,
    /// Sinks in the order of the config; empty drops on purpose.
    pub sinks: Vec<usize>,
    /// Whether later routes see the record too.
    pub goes_on: bool,
}

/// Why a condition does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionError {
    /// Index of the route.
    pub route: usize,
    /// Byte offset in its condition.
    pub at: usize,
    /// What was found and what is accepted.
    pub message: String,
}

/// What was decided for a record; reused between records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Routes that matched, in order.
    pub routes: Vec<u16>,
    /// Sinks that take it, each once.
    pub sinks: Vec<u16>,
}

impl Decision {
    /// Forgets the last record and keeps the memory.
    fn clear(&mut self) {
        self.routes.clear();
        self.sinks.clear();
    }

    /// Notes that a route matched.
    fn take(&mut self, index: usize, route: &Route) {
        self.routes.push(index as u16);
        for sink in &route.sinks {
            if !self.sinks.contains(sink) {
                self.sinks.push(*sink);
            }
        }
    }
}

/// All routes, compiled.
#[derive(Debug)]
pub struct Router {
    routes: Vec<Route>,
    picker: Picker,
    /// Records decided so far.
    decided: u64,
}

/// A compiled route.
#[derive(Debug)]
struct Route {
    name: String,
    when: Option<String>,
    condition: Option<Condition>,
    prefilter: Option<Prefilter>,
    /// Roots of the picker that the condition has to look into; once they are picked, the prefilter saves nothing.
    roots: Vec<usize>,
    sinks: Vec<u16>,
    goes_on: bool,
}

impl Router {
    /// Compiles the conditions; reports every one that does not compile.
    pub fn compile(routes: &[RouteSpec], levels: LevelRules) -> Result<Self, Vec<ConditionError>> {
        let mut picker = Picker::new(levels);
        let mut errors = Vec::new();
        let mut compiled = Vec::with_capacity(routes.len());
        for (index, spec) in routes.iter().enumerate() {
            match Route::compile(index, spec, &mut picker) {
                Ok(route) => compiled.push(route),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self { routes: compiled, picker, decided: 0 }) } else { Err(errors) }
    }

    /// Decides about one record; `decision` is overwritten.
    pub fn decide(&mut self, record: &Record<'_>, decision: &mut Decision) {
        decision.clear();
        self.picker.reset();
        self.decided += 1;
        if self.decide_lazily(record, decision) {
            for route in &mut self.routes {
                if let Some(prefilter) = &mut route.prefilter {
                    prefilter.learn(self.decided, route.roots.iter().all(|root| self.picker.has_picked(*root)));
                }
            }
        }
    }

    /// Returns whether a prefilter was asked.
    fn decide_lazily(&mut self, record: &Record<'_>, decision: &mut Decision) -> bool {
        let Self { routes, picker, decided } = self;
        let mut escapes = None;
        for (index, route) in routes.iter_mut().enumerate() {
            let matched = match &route.condition {
                None => true,
                Some(condition) => {
                    let ruled_out = match &mut route.prefilter {
                        Some(prefilter)
                            if !prefilter.rests(*decided)
                                && !route.roots.iter().all(|root| picker.has_picked(*root)) =>
                        {
                            prefilter.rules_out(record.map, escapes.get_or_insert_with(Escapes::default))
                        }
                        _ => false,
                    };
                    !ruled_out && holds(condition, record, picker)
                }
            };
            if matched {
                decision.take(index, route);
                if !route.goes_on {
                    break;
                }
            }
        }
        escapes.is_some()
    }

    /// Decides like [`Self::decide`], without prefilter, laziness or shared passes: what tests and fuzzers compare
    /// with.
    pub fn decide_plainly(&self, record: &Record<'_>, decision: &mut Decision) {
        decision.clear();
        for (index, route) in self.routes.iter().enumerate() {
            if route.condition.as_ref().is_none_or(|condition| explain::holds(condition, record, self.levels())) {
                decision.take(index, route);
                if !route.goes_on {
                    return;
                }
            }
        }
    }

    fn levels(&self) -> &LevelRules {
        self.picker.levels()
    }

    fn routes(&self) -> &[Route] {
        &self.routes
    }
}

impl Route {
    fn compile(index: usize, spec: &RouteSpec, picker: &mut Picker) -> Result<Self, ConditionError> {
        let error = |at, message| ConditionError { route: index, at, message };
        if index > usize::from(u16::MAX) || spec.sinks.iter().any(|sink| *sink > usize::from(u16::MAX)) {
            return Err(error(0, format!("more than {} routes or sinks", u16::MAX)));
        }
        let compile = |text: &String| compile::compile(text).map_err(|mistake| error(mistake.at, mistake.message));
        let mut condition = spec.when.as_ref().map(compile).transpose()?;
        let mut roots = Vec::new();
        if let Some(condition) = &mut condition {
            link(condition, picker, &mut roots);
        }
        Ok(Self {
            name: spec.name.clone(),
            when: spec.when.clone(),
            prefilter: condition.as_ref().and_then(Prefilter::of),
            condition,
            roots,
            sinks: spec.sinks.iter().map(|sink| *sink as u16).collect(),
            goes_on: spec.goes_on,
        })
    }
}

/// Tells the picker what a condition wants, collects the roots that have to be looked into, and puts the cheap parts
/// first: no part has an effect, so that their order does not change the answer.
fn link(condition: &mut Condition, picker: &mut Picker, roots: &mut Vec<usize>) {
    match condition {
        Condition::Always(_) => {}
        Condition::And(parts) | Condition::Or(parts) => {
            parts.iter_mut().for_each(|part| link(part, picker, roots));
            parts.sort_by_key(cost);
        }
        Condition::Not(inner) => link(inner, picker, roots),
        Condition::Test(test) => match &test.name {
            Name::Field(path) => {
                test.slot = picker.want(path);
                if test.is_deep() {
                    roots.push(picker.root_of(test.slot));
                }
            }
            Name::Level => {
                picker.want_level();
                roots.extend(picker.log_root());
            }
            _ => {}
        },
    }
}

/// What a part costs beside others, roughly: built-ins nothing, fields a walk, the level and JSON a pass over text.
fn cost(condition: &Condition) -> u8 {
    match condition {
        Condition::Always(_) => 0,
        Condition::And(parts) | Condition::Or(parts) => parts.iter().map(cost).max().unwrap_or(0),
        Condition::Not(inner) => cost(inner),
        Condition::Test(test) if test.is_deep() || test.name == Name::Level => 2,
        Condition::Test(test) => u8::from(matches!(test.name, Name::Field(_))),
    }
}

#[inline]
fn holds(condition: &Condition, record: &Record<'_>, picker: &mut Picker) -> bool {
    match condition {
        Condition::Test(test) => test_holds(test, record, picker),
        _ => parts_hold(condition, record, picker),
    }
}

fn parts_hold(condition: &Condition, record: &Record<'_>, picker: &mut Picker) -> bool {
    match condition {
        Condition::Always(always) => *always,
        Condition::And(parts) => parts.iter().all(|part| holds(part, record, picker)),
        Condition::Or(parts) => parts.iter().any(|part| holds(part, record, picker)),
        Condition::Not(inner) => !holds(inner, record, picker),
        Condition::Test(test) => test_holds(test, record, picker),
    }
}

#[inline]
fn test_holds(test: &Test, record: &Record<'_>, picker: &mut Picker) -> bool {
    let text = |text: &str| test.holds(Some(&Found::Str(text.as_bytes().into())));
    match &test.name {
        Name::Tag => text(record.tag.as_str()),
        Name::Source => text(record.source),
        Name::Container => text(record.tag.container()),
        Name::TaskId => text(record.tag.task_id()),
        Name::Level => test.holds(picker.level(record).map(level_value).as_ref()),
        Name::Field(_) => test.holds(picker.field(test.slot, record).as_ref()),
    }
}

#[cfg(test)]
mod tests;
