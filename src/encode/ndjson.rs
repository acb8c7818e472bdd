//! Records as NDJSON lines.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Notes;
use crate::record::Record;

/// What becomes of a JSON object in the text of `log`.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LogJson {
    /// It stands as JSON under `log`.
    #[default]
    Nest,
    /// Its keys come to the top.
    Lift,
    /// It stays the string that it is.
    Raw,
}

/// Writes one JSON object and a newline a record.
#[derive(Debug)]
pub struct NdjsonEncoder {
    log_json: LogJson,
}

impl NdjsonEncoder {
    /// An encoder that treats JSON in `log` this way.
    pub fn new(log_json: LogJson) -> Self {
        Self { log_json }
    }

    /// Appends one line.
    pub fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Notes {
        let _ = (record, out, self.log_json);
        todo!()
    }
}
