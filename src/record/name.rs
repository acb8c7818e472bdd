//! Names that rules and templates may use: built-ins (`tag`, `container`, `level`, …) and paths into the record.

use std::borrow::Cow;

use super::Record;
use super::level::LevelRules;

/// A parsed name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name;

/// A value found in a record, or in JSON inside one of its strings.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Found<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    /// Text; its bytes may be no UTF-8.
    Str(Cow<'a, [u8]>),
    /// An array, map or extension.
    Other,
}

impl Name {
    /// Parses `container_name`, `log.status`, `record["@timestamp"]`, `tag`, …
    pub fn parse(text: &str) -> Result<Self, String> {
        let _ = text;
        todo!()
    }

    /// Its value in a record.
    pub fn resolve<'a>(&self, record: &Record<'a>, levels: &LevelRules) -> Option<Found<'a>> {
        let _ = (record, levels);
        todo!()
    }
}
