//! A dead letter as it is read back, and the record that it was.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::value::parse_time;
use crate::record::UnixNanos;

/// A line as `encode::letter` writes it.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Letter {
    /// When it was given up.
    pub(super) time: String,
    /// Why.
    pub(super) reason: String,
    sink: Option<String>,
    source: Option<String>,
    record_time: Option<String>,
    encoding: String,
    data: String,
    data_len: Option<u64>,
}

/// What can be sent again.
#[derive(Debug)]
pub(super) struct Original {
    /// Its tag; none where it was not kept.
    pub(super) tag: Option<String>,
    /// Its time; none where it was not kept.
    pub(super) time: Option<UnixNanos>,
    /// Its keys.
    pub(super) record: Map<String, Value>,
}

impl Letter {
    /// None for a line that is none.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let letter: Self = serde_json::from_slice(line).ok()?;
        (letter.sink.is_some() || letter.source.is_some()).then_some(letter)
    }

    /// The sink or source that gave it up.
    pub(super) fn from(&self) -> &str {
        self.sink.as_deref().or(self.source.as_deref()).unwrap_or_default()
    }

    /// When it was given up.
    pub(super) fn at(&self) -> UnixNanos {
        parse_time(&self.time).unwrap_or(UnixNanos::MAX)
    }

    /// Bytes of what was given up.
    pub(super) fn len(&self) -> u64 {
        let held = match &*self.encoding {
            "base64" => {
                let padding = self.data.bytes().rev().take_while(|byte| *byte == b'=').count();
                (self.data.len() / 4 * 3).saturating_sub(padding)
            }
            _ => self.data.len(),
        };
        self.data_len.unwrap_or(held as u64)
    }

    /// The record: the line or message with its envelope (`time`, `tag`) taken off, or the text that it was. None for what
    /// never was one.
    pub(super) fn original(&self) -> Option<Original> {
        if self.sink.is_none() || self.encoding != "utf8" {
            return None;
        }
        let own_time = self.record_time.as_deref().and_then(|time| parse_time(time).ok());
        if let Ok(Value::Object(mut record)) = serde_json::from_str(&self.data) {
            let time = record.get("time").and_then(Value::as_str).and_then(|time| parse_time(time).ok());
            let tag = record.get("tag").and_then(Value::as_str).map(str::to_owned);
            if let (Some(time), Some(tag)) = (time, tag) {
                record.shift_remove("time");
                record.shift_remove("tag");
                return Some(Original { tag: Some(tag), time: Some(time), record });
            }
        }
        let record = Map::from_iter([("log".to_owned(), Value::String(self.data.clone()))]);
        Some(Original { tag: None, time: own_time, record })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::letter::{self, Data, Origin};

    fn letter(data: Data<'_>, origin: Origin<'_>) -> Letter {
        let letter = letter::Letter { reason: "too_old", record_time: Some(5), bytes: 0, data };
        let mut line = Vec::new();
        letter::write(&letter, "alerts", origin, 7, &mut line);
        Letter::parse(&line).expect("it is one")
    }

    #[test]
    fn a_record_comes_back_without_its_envelope_and_a_text_as_a_log() {
        let origin = Origin::Stream { group: "g", stream: "s" };
        let line = br#"{"time":"1970-01-01T00:00:01.000000002Z","tag":"app","b":1,"a":{"log":"x"}}"#;
        let original = letter(Data::Whole(line), origin).original().expect("a record");
        assert_eq!((original.tag.as_deref(), original.time), (Some("app"), Some(1_000_000_002)));
        assert_eq!(Value::Object(original.record).to_string(), r#"{"b":1,"a":{"log":"x"}}"#);
        for text in ["ERROR boom", "{\"level\":\"ERROR\"}", "7", ""] {
            let original = letter(Data::Whole(text.as_bytes()), origin).original().expect("a text");
            assert_eq!((original.tag, original.time, &original.record["log"]), (None, Some(5), &Value::from(text)));
        }
    }

    #[test]
    fn what_never_was_a_record_is_none() {
        assert!(letter(Data::Whole(b"GET /"), Origin::Peer("p")).original().is_none());
        assert!(letter(Data::Whole(b"\xff"), Origin::Prefix("p")).original().is_none());
        assert!(Letter::parse(br#"{"time":"x","log":"a record"}"#).is_none());
    }

    #[test]
    fn its_length_is_that_of_the_bytes() {
        assert_eq!(letter(Data::Whole(b"\xff\xfe\xfd\xfc"), Origin::Peer("p")).len(), 4);
        assert_eq!(letter(Data::Beginning(b"\xff", 9), Origin::Peer("p")).len(), 9);
        assert_eq!((letter(Data::Whole("ü".as_bytes()), Origin::Peer("p")).len(), Letter::parse(b"")), (2, None));
    }
}
