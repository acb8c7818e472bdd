//! The mark that every record carries in its log text: unique in a run, and it says where the record belongs.
//!
//! `lw7f3a-i02-030000001234`: the run, whether it is an alert (`a`) or not (`i`), its container, then the lane that sent
//! it and its number there. A lane numbers its records from 0 without gaps, so that how many it sent tells all that
//! must arrive. It looks like a request's id and costs about as much to compress.

use memchr::memmem;

/// Length of a mark.
pub(crate) const LEN: usize = 23;

/// Where the digits of lane and number begin.
const DIGITS_AT: usize = 11;

/// Digits of the number.
const NUMBER_DIGITS: usize = 10;

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// By the routes of the bench it belongs to CloudWatch Logs, too.
    pub(crate) alert: bool,
    /// The container that its tag names.
    pub(crate) container: u8,
    /// The thread that sent it.
    pub(crate) lane: u8,
    /// From 0 in each lane.
    pub(crate) number: u64,
}

/// What the marks of a run begin with.
pub(crate) fn prefix(run: u16) -> String {
    format!("lw{run:04x}-")
}

/// A mark whose lane and number are still to be filled in.
pub(crate) fn blank(run: u16, alert: bool, container: u8) -> String {
    format!("{}{}{container:02x}-{:012}", prefix(run), if alert { 'a' } else { 'i' }, 0)
}

/// Fills lane and number into the mark that stands at `at`.
pub(crate) fn fill(bytes: &mut [u8], at: usize, lane: u8, number: u64) {
    let digits = &mut bytes[at + DIGITS_AT..at + LEN];
    let (lanes, numbers) = digits.split_at_mut(LEN - DIGITS_AT - NUMBER_DIGITS);
    decimal(lanes, u64::from(lane));
    decimal(numbers, number);
}

fn decimal(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Where marks of the run stand.
pub(crate) fn positions<'a>(bytes: &'a [u8], run: &'a memmem::Finder<'_>) -> impl Iterator<Item = usize> + 'a {
    run.find_iter(bytes)
}

/// Reads the mark that stands at `at`; none when it was damaged.
pub(crate) fn read(bytes: &[u8], at: usize) -> Option<Mark> {
    let mark = std::str::from_utf8(bytes.get(at..at + LEN)?).ok()?;
    let alert = match mark.as_bytes().get(7)? {
        b'a' => true,
        b'i' => false,
        _ => return None,
    };
    let container = u8::from_str_radix(mark.get(8..10)?, 16).ok()?;
    let (lane, number) = mark.get(DIGITS_AT..)?.split_at_checked(LEN - DIGITS_AT - NUMBER_DIGITS)?;
    Some(Mark { alert, container, lane: lane.parse().ok()?, number: number.parse().ok()? })
}
