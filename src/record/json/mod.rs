//! JSON that stands in strings of a record: found, validated and looked into without building a tree.
//!
//! Only a text that is one whole JSON object counts as embedded JSON; white space around it is allowed. Strict means:
//! UTF-8, no control characters in strings, valid escapes without lone surrogates, numbers by the grammar, nothing
//! after the object, at most [`MAX_DEPTH`] arrays and objects inside each other (an empty one counts). A text that
//! breaks a rule anywhere is no JSON at all, also for the lookup of a key that stands before the mistake: a line that
//! was cut off must not be read one way by the rules and another way by the encoder.
//!
//! Of two equal keys the last wins, as in the record itself. Keys are compared unescaped. Numbers become the narrowest
//! of `u64`, `i64` and `f64`. No function here recurses. What is allocated is bounded: strings that are unescaped, and an [`Outline`].

mod memo;
mod outline;
mod scan;
mod value;

use memchr::memchr;

pub use memo::Memo;
pub use outline::Outline;
use scan::Scan;
pub use value::{Kind, Member, Raw, unescape, unescape_into};

/// Deepest nesting that is accepted; the msgpack reader has the same bound.
pub const MAX_DEPTH: usize = 64;

/// A text that is known to be one whole valid JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object<'a> {
    text: &'a [u8],
    one_line: bool,
}

impl<'a> Object<'a> {
    /// Validates a text; none if it is not one JSON object. By the scanner alone: what [`Outline::read`] is held to.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let mut scan = Scan::of_object(text)?;
        let start = scan.pos();
        scan.value(0)?;
        let end = scan.pos();
        let one_line = !scan.saw_line_break();
        scan.finish()?;
        Some(Self { text: text.get(start..end)?, one_line })
    }

    /// Only for the text of one valid object; whether it is one line is not known.
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, one_line: false }
    }

    /// The object from its brace to its brace.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Whether it has no line break (a valid one has none inside its strings), so that it may stand in an output line.
    pub fn is_one_line(&self) -> bool {
        self.one_line
    }

    /// Its members in their order, equal keys included.
    pub fn members(&self) -> Members<'a> {
        Members { scan: Scan::trusted(self.text, 1) }
    }
}

/// The members of an object that has been validated.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    scan: Scan<'a>,
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        self.scan.member(1)
    }
}

/// Validates a text and shows each top-level member on the way: one pass for whoever looks for several keys. Whatever
/// `each` has noted is void unless this returns true.
pub fn scan_members<'a>(text: &'a [u8], each: impl FnMut(Member<'a>)) -> bool {
    try_scan_members(text, each).is_some()
}

fn try_scan_members<'a>(text: &'a [u8], mut each: impl FnMut(Member<'a>)) -> Option<Object<'a>> {
    let mut scan = Scan::of_object(text)?;
    let start = scan.pos();
    scan.open()?;
    while let Some(member) = scan.member(1) {
        each(member);
    }
    scan.closed().then_some(())?;
    let (end, one_line) = (scan.pos(), !scan.saw_line_break());
    scan.finish()?;
    Some(Object { text: text.get(start..end)?, one_line })
}

/// The value of a top-level key in a JSON object; none also if the text is not one.
pub fn find<'a>(text: &'a [u8], key: &[u8]) -> Option<Raw<'a>> {
    let mut found = None;
    scan_members(text, |member| {
        if member.key_is(key) {
            found = Some(member.value);
        }
    })
    .then_some(found)
    .flatten()
}

/// The value at the end of a path of keys in a JSON object; none also if the text is not one, or a step meets
/// something else than an object.
pub fn lookup<'a>(text: &'a [u8], path: &[&[u8]]) -> Option<Raw<'a>> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(find(text, first)?, |value, key| value.get(key))
}

/// Whether the inside of a JSON string has escapes.
fn has_escapes(raw: &[u8]) -> bool {
    memchr(b'\\', raw).is_some()
}

#[cfg(test)]
mod tests;
