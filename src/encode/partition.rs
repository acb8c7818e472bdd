//! From a record to the partition that its sink's templates name.

use std::sync::Arc;

use super::{Partition, Template};
use crate::record::Record;
use crate::record::level::LevelRules;

/// What was replaced while a name was rendered; counted by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameNotes {
    /// A value was missing and became `unknown`.
    pub missing: bool,
    /// A value held characters that its target forbids.
    pub replaced: bool,
    /// Too many distinct names this hour: the value became `_other`.
    pub overflowed: bool,
    /// The record's time was too far from now, so the time of receipt chose the name.
    pub time_of_receipt: bool,
}

/// Renders the names of one sink.
#[derive(Debug)]
pub struct Partitioner;

impl Partitioner {
    /// For objects: one template, a key prefix or directory.
    pub fn prefix(template: Template, levels: LevelRules) -> Self {
        let _ = (template, levels);
        todo!()
    }

    /// For CloudWatch Logs: group and stream.
    pub fn stream(group: Template, stream: Template, levels: LevelRules) -> Self {
        let _ = (group, stream, levels);
        todo!()
    }

    /// For a sink without names.
    pub fn whole() -> Self {
        todo!()
    }

    /// The partition of a record. Records of the same names get the same `Arc`.
    pub fn partition(&mut self, record: &Record<'_>) -> (&Arc<Partition>, NameNotes) {
        let _ = record;
        todo!()
    }
}
