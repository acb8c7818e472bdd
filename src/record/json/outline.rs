//! Where the members of an object stand, found in one pass over the quotes of its text.
//!
//! In a text without backslashes and control characters, which is nearly all JSON in logs, each quote begins or ends a
//! string. So all of them are marked in wide steps first; the walk behind goes from quote to quote and looks only at what
//! stands between strings. Any other text is left to the scanner, which says the same of it.

use super::scan::scalar;
use super::value::{Member, Raw};
use super::{MAX_DEPTH, Object, has_escapes, try_scan_members};
use crate::record::wide::{self, BLOCK};

/// Members that are remembered of an object: their places take 64 KiB, whatever a sender writes.
const MOST: usize = 4096;

/// Marks that are kept from one text to the next: of 512 KiB.
const KEPT_MARKS: usize = 8192;

/// The members of one text after the other; keeps its memory.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    spans: Vec<Span>,
    /// A bit for each byte of the text that is a quote.
    quotes: Vec<u64>,
    /// Whether strings may have escapes.
    has_escapes: bool,
    /// Whether there are more members than are remembered.
    is_cut: bool,
}

/// Where the key and the value of a member begin and end in the object's text, the key without its quotes.
#[derive(Clone, Copy, Debug)]
struct Span {
    key: (u32, u32),
    value: (u32, u32),
}

impl Outline {
    /// As [`Object::parse`]; the object's members are to be had afterwards.
    pub fn read<'a>(&mut self, text: &'a [u8]) -> Option<Object<'a>> {
        self.spans.clear();
        self.quotes.clear();
        self.quotes.shrink_to(KEPT_MARKS);
        let object = trimmed(text);
        (object.first() == Some(&b'{') && u32::try_from(object.len()).is_ok()).then_some(())?;
        let seen = wide::mark_quotes(object, &mut self.quotes);
        (self.has_escapes, self.is_cut) = (seen.odd, false);
        if seen.odd {
            return self.scan(object);
        }
        let walk = Walk { text: object, pos: 1, marks: self.quotes.iter(), word: 0, base: 0 };
        let (end, members) = walk.members(&mut self.spans)?;
        (end == object.len()).then_some(())?;
        self.is_cut = members > MOST;
        (seen.ascii || std::str::from_utf8(object).is_ok()).then_some(())?;
        Some(Object { text: object, one_line: true })
    }

    #[inline(never)]
    fn scan<'a>(&mut self, object: &'a [u8]) -> Option<Object<'a>> {
        let at = |part: &[u8]| {
            let start = part.as_ptr() as usize - object.as_ptr() as usize;
            (start as u32, (start + part.len()) as u32)
        };
        try_scan_members(object, |member| {
            if self.spans.len() < MOST {
                self.spans.push(Span { key: at(member.key), value: at(member.value.text()) });
            } else {
                self.is_cut = true;
            }
        })
    }

    /// Whether the object that was read last has more members than are remembered: then [`Object::members`] has them.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The members of an object whose text was read last, in their order, equal keys included.
    pub fn members<'a>(&self, object: Object<'a>) -> impl Iterator<Item = Member<'a>> {
        let remembered = if self.is_cut { 0 } else { self.spans.len() };
        let scanned = self.is_cut.then(|| object.members()).into_iter().flatten();
        (0..remembered).filter_map(move |n| self.member(object, n)).chain(scanned)
    }

    /// The keys that are remembered, as they are written, escapes included.
    #[inline(always)]
    pub(crate) fn keys<'a>(&self, object: Object<'a>) -> impl Iterator<Item = (usize, &'a [u8])> {
        let key = move |span: &Span| object.text.get(span.key.0 as usize..span.key.1 as usize).unwrap_or_default();
        self.spans.iter().map(key).enumerate()
    }

    /// The member of this number.
    #[inline]
    pub(crate) fn member<'a>(&self, object: Object<'a>, n: usize) -> Option<Member<'a>> {
        let span = self.spans.get(n)?;
        let part = |(start, end): (u32, u32)| object.text.get(start as usize..end as usize);
        let (key, value) = (part(span.key)?, part(span.value)?);
        let is_plain = value.first() == Some(&b'"') && !self.is_escaped(value);
        Some(Member { key, key_escaped: self.is_escaped(key), value: Raw::new(value), is_plain })
    }

    /// Whether a part of the text has escapes.
    #[inline(always)]
    pub(crate) fn is_escaped(&self, part: &[u8]) -> bool {
        self.has_escapes && has_escapes(part)
    }
}

/// Without JSON's white space at its ends.
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\n' | b'\r'] = text {
        text = rest;
    }
    text
}

/// A cursor over a text whose quotes are marked. Whatever it steps over beside strings has no quotes, so that a quote at
/// `pos` is the next of the marks.
struct Walk<'a> {
    text: &'a [u8],
    pos: usize,
    /// The marks of the words to come, and what is left of the one at hand, which ends before `base`.
    marks: std::slice::Iter<'a, u64>,
    word: u64,
    base: usize,
}

impl Walk<'_> {
    /// From behind the opening brace to behind the closing one, whose place is returned, with the number of members.
    #[inline(never)]
    fn members(mut self, spans: &mut Vec<Span>) -> Option<(usize, usize)> {
        if self.byte()? == b'}' {
            return Some((self.pos + 1, 0));
        }
        let mut members = 0;
        loop {
            let key = self.key()?;
            let first = self.byte()?;
            let start = self.pos;
            match first {
                b'"' => drop(self.string()?),
                b'{' | b'[' => self = self.nested()?,
                _ => self.pos = scalar(self.text, start)?,
            }
            members += 1;
            if members <= MOST {
                spans.push(Span { key, value: (start as u32, self.pos as u32) });
            }
            let byte = self.byte()?;
            self.pos += 1;
            match byte {
                b',' => {}
                b'}' => return Some((self.pos, members)),
                _ => return None,
            }
        }
    }

    /// Steps over an array or object among the members.
    #[inline(never)]
    fn nested(mut self) -> Option<Self> {
        // One bit a level: whether it is an object. The bound of the depth is the width of the word.
        let mut kinds = 0u64;
        let mut depth = 1;
        loop {
            match self.byte()? {
                open @ (b'{' | b'[') => {
                    self.pos += 1;
                    (depth < MAX_DEPTH).then_some(())?;
                    if self.byte()? == open + 2 {
                        self.pos += 1;
                    } else {
                        depth += 1;
                        kinds = kinds << 1 | u64::from(open == b'{');
                        if open == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b'"' => drop(self.string()?),
                _ => self.pos = scalar(self.text, self.pos)?,
            }
            // Behind a value: close what ends here.
            loop {
                if depth == 1 {
                    return Some(self);
                }
                let object = kinds & 1 == 1;
                let byte = self.byte()?;
                self.pos += 1;
                match byte {
                    b',' => {
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return None,
                }
                depth -= 1;
                kinds >>= 1;
            }
        }
    }

    /// Steps over spaces, the only white space that is no control character; returns what stands behind them.
    #[inline(always)]
    fn byte(&mut self) -> Option<u8> {
        loop {
            match *self.text.get(self.pos)? {
                b' ' => self.pos += 1,
                byte => return Some(byte),
            }
        }
    }

    /// A key and its colon.
    #[inline(always)]
    fn key(&mut self) -> Option<(u32, u32)> {
        (self.byte()? == b'"').then_some(())?;
        let key = self.string()?;
        (self.byte()? == b':').then_some(())?;
        self.pos += 1;
        Some(key)
    }

    /// A string, whose opening quote is here: where what stands between its quotes begins and ends.
    #[inline(always)]
    fn string(&mut self) -> Option<(u32, u32)> {
        let (open, close) = (self.quote()?, self.quote()?);
        self.pos = close + 1;
        Some((open as u32 + 1, close as u32))
    }

    /// The next quote.
    #[inline(always)]
    fn quote(&mut self) -> Option<usize> {
        while self.word == 0 {
            self.word = *self.marks.next()?;
            self.base += BLOCK;
        }
        let at = self.base - BLOCK + self.word.trailing_zeros() as usize;
        self.word &= self.word - 1;
        Some(at)
    }
}
