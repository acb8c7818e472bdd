//! Which sinks take a record: conditions compiled once to a matcher over the raw bytes, first match first.

use crate::record::Record;
use crate::record::level::LevelRules;

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
#[derive(Debug, Default)]
pub struct Decision {
    /// Routes that matched, in order.
    pub routes: Vec<u16>,
    /// Sinks that take it, each once.
    pub sinks: Vec<u16>,
}

/// All routes, compiled.
#[derive(Debug)]
pub struct Router;

impl Router {
    /// Compiles the conditions; reports every one that does not compile.
    pub fn compile(routes: &[RouteSpec], levels: LevelRules) -> Result<Self, Vec<ConditionError>> {
        let _ = (routes, levels);
        todo!()
    }

    /// Decides about one record; `decision` is overwritten.
    pub fn decide(&mut self, record: &Record<'_>, decision: &mut Decision) {
        let _ = (record, decision);
        todo!()
    }
}
