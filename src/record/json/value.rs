//! Values and members as they stand in a JSON text that has been validated.

use std::borrow::Cow;

use super::scan::{Scan, escape};
use super::{Members, has_escapes};
use crate::record::name::Found;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// A value as it is written, without white space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(&'a [u8]);

/// One member of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// What stands between the quotes of the key, escapes included.
    pub key: &'a [u8],
    /// Whether the key has escapes.
    pub key_escaped: bool,
    /// The value.
    pub value: Raw<'a>,
    /// Whether the value is a string without escapes.
    pub is_plain: bool,
}

impl Member<'_> {
    /// Whether the key, unescaped, is `want`.
    #[inline]
    pub fn key_is(&self, want: &[u8]) -> bool {
        if self.key_escaped { *unescape(self.key) == *want } else { self.key == want }
    }
}

impl<'a> Raw<'a> {
    /// Only for the text of one valid value.
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The value as it is written.
    pub fn text(self) -> &'a [u8] {
        self.0
    }

    /// What it is, told by its first byte.
    pub fn kind(self) -> Kind {
        match self.0.first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            _ => Kind::Null,
        }
    }

    /// What stands between the quotes of a string, escapes included.
    pub fn inside(self) -> Option<&'a [u8]> {
        match self.0 {
            [b'"', inside @ .., b'"'] => Some(inside),
            _ => None,
        }
    }

    /// A string, unescaped.
    pub fn string(self) -> Option<Cow<'a, [u8]>> {
        self.inside().map(unescape)
    }

    /// The members of an object.
    pub fn members(self) -> Option<Members<'a>> {
        (self.kind() == Kind::Object).then(|| Members { scan: Scan::trusted(self.0, 1) })
    }

    /// The value of a key if this is an object; of two equal keys the last.
    pub fn get(self, key: &[u8]) -> Option<Self> {
        self.members()?.filter(|member| member.key_is(key)).last().map(|member| member.value)
    }

    /// The value for rules and names.
    pub fn found(self) -> Found<'a> {
        match self.kind() {
            Kind::Null => Found::Nil,
            Kind::Bool => Found::Bool(self.0 == b"true"),
            Kind::Number => number(self.0),
            Kind::String => Found::Str(self.string().unwrap_or_default()),
            Kind::Array => Found::Array,
            Kind::Object => Found::Map,
        }
    }
}

/// Integers keep their digits while they fit 64 bits; all else is a float.
fn number(text: &[u8]) -> Found<'static> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    if let Ok(unsigned) = text.parse() {
        Found::UInt(unsigned)
    } else if let Ok(signed) = text.parse() {
        if signed == 0 { Found::UInt(0) } else { Found::Int(signed) }
    } else {
        text.parse().map_or(Found::Nil, Found::Float)
    }
}

/// Unescapes what stands between the quotes of a valid string; borrows if nothing is escaped.
pub fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    if !has_escapes(raw) {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    unescape_into(raw, &mut out);
    Cow::Owned(out)
}

/// Appends what stands between the quotes of a valid string, unescaped.
pub fn unescape_into(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, behind) = (&rest[..at], &rest[at + 1..]);
        out.extend_from_slice(plain);
        let Some((c, used)) = escape(behind) else { return };
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        rest = behind.get(used..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}
