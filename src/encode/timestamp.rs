//! RFC 3339 with nanoseconds, and the parts of a date that names use; cached by second, since records come in order
//! of time. Any `UnixNanos` has a year of four digits (1677 to 2262), so each text has the same length.

use time::OffsetDateTime;

use crate::record::UnixNanos;

/// Nanoseconds of a second.
pub const SECOND: i64 = 1_000_000_000;
/// Length of `2026-11-22T01:02:03.123456789Z`.
pub const RFC3339_LEN: usize = 30;

/// The parts of a moment in UTC that templates name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// `%Y`
    pub year: u16,
    /// `%m`
    pub month: u8,
    /// `%d`
    pub day: u8,
    /// `%H`
    pub hour: u8,
    /// `%M`
    pub minute: u8,
    second: u8,
}

impl Parts {
    /// The parts of a moment.
    pub fn of(time: UnixNanos) -> Self {
        Self::of_second(time.div_euclid(SECOND))
    }

    fn of_second(second: i64) -> Self {
        let utc = OffsetDateTime::from_unix_timestamp(second).expect("an i64 of nanoseconds lies in 1677 to 2262");
        Self {
            year: utc.year().unsigned_abs() as u16,
            month: utc.month().into(),
            day: utc.day(),
            hour: utc.hour(),
            minute: utc.minute(),
            second: utc.second(),
        }
    }
}

/// Writes moments; remembers the last second's text.
#[derive(Debug)]
pub struct Rfc3339 {
    second: i64,
    text: [u8; RFC3339_LEN],
}

impl Default for Rfc3339 {
    fn default() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00.000000000Z" }
    }
}

impl Rfc3339 {
    /// A moment's text.
    #[inline]
    pub fn text(&mut self, time: UnixNanos) -> &[u8; RFC3339_LEN] {
        let second = time.div_euclid(SECOND);
        if second != self.second {
            self.turn_to(second);
        }
        decimals(&mut self.text[20..29], time.rem_euclid(SECOND) as u32);
        &self.text
    }

    #[cold]
    fn turn_to(&mut self, second: i64) {
        let parts = Parts::of_second(second);
        decimals(&mut self.text[0..4], parts.year.into());
        decimals(&mut self.text[5..7], parts.month.into());
        decimals(&mut self.text[8..10], parts.day.into());
        decimals(&mut self.text[11..13], parts.hour.into());
        decimals(&mut self.text[14..16], parts.minute.into());
        decimals(&mut self.text[17..19], parts.second.into());
        self.second = second;
    }
}

/// Fills `text` with the last digits of `number`, zeros in front.
pub(super) fn decimals(text: &mut [u8], mut number: u32) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_jiff(time: UnixNanos) -> String {
        format!("{:.9}", jiff::Timestamp::from_nanosecond(time.into()).unwrap())
    }

    proptest! {
        #[test]
        fn writes_any_moment_as_jiff_does(times in prop::collection::vec(any::<i64>(), 1..20), near in -3..3_i64) {
            let mut writer = Rfc3339::default();
            for time in times.iter().flat_map(|t| [*t, t.saturating_add(near * SECOND / 2)]) {
                prop_assert_eq!(std::str::from_utf8(writer.text(time)).unwrap(), by_jiff(time));
            }
        }

        #[test]
        fn takes_a_moment_apart_as_jiff_does(time in any::<i64>()) {
            let p = Parts::of(time);
            let text = format!("{:04}-{:02}-{:02}T{:02}:{:02}", p.year, p.month, p.day, p.hour, p.minute);
            prop_assert!(by_jiff(time).starts_with(&text), "{text}");
        }
    }

    #[test]
    fn writes_the_ends_of_its_range() {
        let mut writer = Rfc3339::default();
        for time in [0, -1, 1, i64::MAX, i64::MIN, SECOND, -SECOND, 1_763_773_323_123_456_789] {
            assert_eq!(std::str::from_utf8(writer.text(time)).unwrap(), by_jiff(time));
        }
    }
}
