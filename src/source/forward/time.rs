//! The time of an entry, in every form that senders write.
//!
//! | form | is read as |
//! | --- | --- |
//! | unsigned integer | seconds |
//! | EventTime: extension type 0 of 8 bytes, as fixext8 or ext8 | unsigned seconds, nanoseconds below 10^9 |
//! | float | seconds |
//! | `[time, metadata]` (Fluent Bit 5's entries) | its first element |
//! | EventTime 0xffffffff.0 and 0xfffffffe.0 | start and end of a group: no record |
//! | nil, 0, negative, beyond the year 2262, anything else | unusable: the time of receipt stands in, and is counted |

use crate::record::UnixNanos;
use crate::record::msgpack::{Error, Reader, Value};

const NANOS: i64 = 1_000_000_000;

/// What a time says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventTime {
    /// When the record came to be.
    At(UnixNanos),
    /// Nothing that a log record's time can be.
    Unusable,
    /// The entry opens or closes a group of Fluent Bit and is no record.
    Group,
}

/// Reads the time and steps over it.
#[inline]
pub(super) fn read(reader: &mut Reader<'_>) -> Result<EventTime, Error> {
    let mut probe = *reader;
    if let Some((0, [a, b, c, d, e, f, g, h])) = probe.short_ext() {
        *reader = probe;
        return Ok(event_time(u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])));
    }
    probe = *reader;
    let first = match probe.read()? {
        Value::Array(1..) => probe.read()?,
        Value::Array(_) | Value::Map(_) => Value::Nil,
        scalar => {
            *reader = probe;
            return Ok(of(scalar));
        }
    };
    reader.skip()?;
    Ok(of(first))
}

fn of(value: Value<'_>) -> EventTime {
    match value {
        Value::Ext(0, &[a, b, c, d, e, f, g, h]) => {
            event_time(u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
        }
        Value::UInt(seconds) => i64::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds > 0)
            .and_then(|seconds| seconds.checked_mul(NANOS))
            .map_or(EventTime::Unusable, EventTime::At),
        Value::F64(seconds) => float(seconds),
        Value::F32(seconds) => float(f64::from(seconds)),
        _ => EventTime::Unusable,
    }
}

#[inline]
fn event_time(seconds: u32, nanos: u32) -> EventTime {
    match (seconds, nanos) {
        (0xffff_ffff | 0xffff_fffe, 0) => EventTime::Group,
        (0, 0) => EventTime::Unusable,
        (_, 0..1_000_000_000) => EventTime::At(i64::from(seconds) * NANOS + i64::from(nanos)),
        _ => EventTime::Unusable,
    }
}

/// A float of seconds; the whole seconds are kept exact, a double has a quarter of a microsecond left beside them.
fn float(seconds: f64) -> EventTime {
    let nanos = (seconds.fract() * 1e9) as i64;
    if seconds.is_finite() && seconds > 0.0 && seconds < (i64::MAX / NANOS) as f64 {
        EventTime::At(seconds.trunc() as i64 * NANOS + nanos)
    } else {
        EventTime::Unusable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(bytes: &[u8]) -> EventTime {
        let mut reader = Reader::new(bytes);
        let time = read(&mut reader).expect("a whole value");
        assert!(reader.is_empty(), "{bytes:x?} is read to its end");
        time
    }

    #[test]
    fn reads_every_form_of_a_time() {
        let at = EventTime::At(0x6000_0000 * NANOS + 5);
        assert_eq!(time(&[0xd7, 0, 0x60, 0, 0, 0, 0, 0, 0, 5]), at);
        assert_eq!(time(&[0xc7, 8, 0, 0x60, 0, 0, 0, 0, 0, 0, 5]), at);
        assert_eq!(time(&[0x92, 0xd7, 0, 0x60, 0, 0, 0, 0, 0, 0, 5, 0x81, 0xa1, b'a', 1]), at);
        assert_eq!(time(&[0xce, 0x60, 0, 0, 0]), EventTime::At(0x6000_0000 * NANOS));
        let mut float = vec![0xcb];
        float.extend_from_slice(&1_600_000_000.5f64.to_be_bytes());
        assert_eq!(time(&float), EventTime::At(1_600_000_000 * NANOS + NANOS / 2));
    }

    #[test]
    fn keeps_times_of_1970_and_2100() {
        assert_eq!(time(&[0x01]), EventTime::At(NANOS));
        assert_eq!(time(&[0xce, 0xf4, 0x86, 0x57, 0x00]), EventTime::At(0xf486_5700 * NANOS));
    }

    #[test]
    fn takes_group_markers_for_no_record() {
        for last in [0xff, 0xfe] {
            assert_eq!(time(&[0xd7, 0, 0xff, 0xff, 0xff, last, 0, 0, 0, 0]), EventTime::Group);
        }
    }

    #[test]
    fn finds_what_is_no_time_unusable() {
        let nan = f64::NAN.to_be_bytes();
        let huge = 1e300f64.to_be_bytes();
        for bytes in [
            &[0xc0][..],
            &[0x00],
            &[0xff],
            &[0xc3],
            &[0xa1, b'x'],
            &[0x80],
            &[0x81, 1, 2],
            &[0x90],
            &[0x91, 0x91, 1],
            &[0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0xd7, 0, 1, 1, 1, 1, 0xff, 0, 0, 0],
            &[0xd7, 1, 1, 1, 1, 1, 0, 0, 0, 0],
            &[0xd6, 0, 1, 1, 1, 1],
            &[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[&[0xcb][..], &nan].concat(),
            &[&[0xcb][..], &huge].concat(),
        ] {
            assert_eq!(time(bytes), EventTime::Unusable, "{bytes:x?}");
        }
    }
}
