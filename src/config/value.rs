//! Values with units: sizes (`64MiB`), spans of time (`5m`) and moments (RFC 3339); and secrets.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::record::UnixNanos;

/// A number of bytes, written `64MiB`, `500KB` or `1048576`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// So many KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// So many MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
}

/// As it would be written: `64MiB`; what is no whole number of units gets one decimal.
impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 >= *unit) {
            Some((unit, name)) if self.0.is_multiple_of(unit) => write!(f, "{}{name}", self.0 / unit),
            Some((unit, name)) => write!(f, "{:.1}{name}", self.0 as f64 / unit as f64),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let size: bytesize::ByteSize = text
            .parse()
            .map_err(|_| D::Error::custom(format!("`{text}` is no size; write for example 64MiB or 500KB")))?;
        Ok(Self(size.as_u64()))
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "bytes, for example 64MiB, 500KB or 1048576", "type": ["string", "integer"]})
    }
}

/// A span of time, written `250ms`, `5m` or `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// Spans are added to moments of the clock, which have an end: no sum of a few such spans comes near it.
const LONGEST_SPAN: Duration = Duration::from_secs(3650 * 24 * 3600);

impl Span {
    /// So many seconds.
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // `0` alone has no unit to forget.
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let span = humantime::parse_duration(&text)
            .map_err(|_| D::Error::custom(format!("`{text}` is no span of time; write for example 250ms, 5m or 1h")))?;
        if let Some(message) = months_or_years(&text) {
            return Err(D::Error::custom(message));
        }
        if span > LONGEST_SPAN {
            return Err(D::Error::custom(format!("`{text}` is too long; a span of time may have at most 3650d")));
        }
        Ok(Self(span))
    }
}

/// Refuses the units that no span here has use for, above all `M`, which is one slip away from minutes.
fn months_or_years(text: &str) -> Option<String> {
    let unit = text
        .split(|c: char| !c.is_ascii_alphabetic())
        .find(|unit| unit.starts_with(['M', 'y']) || unit.starts_with("month"))?;
    Some(match unit {
        "M" => format!("`{text}` would be months; write {} for minutes", text.replace('M', "m")),
        _ if unit.starts_with('y') => format!("`{text}` would be years; write days, for example 365d"),
        _ => format!("`{text}` would be months; write days, for example 30d"),
    })
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "a span of time, for example 250ms, 5m or 1h", "type": "string"})
    }
}

/// A text that only its owner should know: it is compared and hashed, and shown nowhere.
#[derive(Clone, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A time as RFC 3339 writes it.
pub fn parse_time(text: &str) -> Result<UnixNanos, String> {
    let wrong = || format!("`{text}` is no time; write for example 2026-11-22T10:00:00Z");
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?;
    UnixNanos::try_from(time.unix_timestamp_nanos()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};

    use super::*;

    fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
        let deserializer: StrDeserializer<'a, Error> = text.into_deserializer();
        T::deserialize(deserializer)
    }

    #[test]
    fn sizes_are_bytes_with_units_of_1000_or_1024() {
        for (text, bytes) in
            [("64MiB", 64 << 20), ("500KB", 500_000), ("500kb", 500_000), ("1048576", 1 << 20), ("0", 0)]
        {
            assert_eq!(read::<Size>(text), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "64Mib!", "many"] {
            assert!(read::<Size>(text).is_err(), "{text}");
        }
        for (size, text) in
            [(64 << 20, "64MiB"), (1 << 30, "1GiB"), ((3 << 20) / 2, "1.5MiB"), (7, "7B"), (1025, "1.0KiB")]
        {
            assert_eq!(Size(size).to_string(), text);
        }
    }

    #[test]
    fn spans_need_a_unit_save_for_0() {
        for (text, millis) in [("250ms", 250), ("5m", 300_000), ("1h 30m", 5_400_000), ("0", 0), ("0s", 0)] {
            assert_eq!(read::<Span>(text), Ok(Span(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "5", "-1s", "soon", "3651d", "500000000000years"] {
            assert!(read::<Span>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_in_months_or_years_are_refused() {
        for (text, says) in [
            ("5M", "`5M` would be months; write 5m for minutes"),
            ("1h 5M", "`1h 5M` would be months; write 1h 5m for minutes"),
            ("2months", "`2months` would be months; write days"),
            ("1month", "would be months"),
            ("1y", "`1y` would be years; write days"),
            ("2 years", "would be years"),
        ] {
            let message = read::<Span>(text).expect_err(text).to_string();
            assert!(message.contains(says), "{text}: {message}");
        }
        assert_eq!(read::<Span>("1min"), Ok(Span::secs(60)));
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(parse_time("1970-01-01T00:00:01.5Z"), Ok(1_500_000_000));
        assert_eq!(parse_time("1970-01-01T01:00:00+01:00"), Ok(0));
        assert!(parse_time("yesterday").is_err());
        assert!(parse_time("9999-01-01T00:00:00Z").is_err());
    }
}
