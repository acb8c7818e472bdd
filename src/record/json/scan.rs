//! The strict scanner: a cursor over a JSON text that steps over tokens and whole values, bounded and not recursive.

use super::MAX_DEPTH;
use super::value::{Member, Raw};
use crate::record::wide;

/// What the scanner is inside of, at the level whose members are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Behind the opening brace: a member or the end.
    Open,
    /// Behind a member: a comma or the end.
    Next,
    /// Behind the closing brace.
    Closed,
}

/// A cursor; every method that fails leaves it where it failed.
#[derive(Clone, Debug)]
pub(super) struct Scan<'a> {
    text: &'a [u8],
    /// Always at most `text.len()`.
    pos: usize,
    at: At,
    line_break: bool,
}

fn hex4(digits: &[u8; 4]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, &c| Some(sum << 4 | char::from(c).to_digit(16)?))
}

/// Decodes the escape behind a backslash; returns the character and how many bytes it took. Surrogates come in pairs.
pub(super) fn escape(rest: &[u8]) -> Option<(char, usize)> {
    let simple = |c| Some((c, 1));
    match rest.first()? {
        b'"' => simple('"'),
        b'\\' => simple('\\'),
        b'/' => simple('/'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'u' => {
            let high = hex4(rest.get(1..)?.first_chunk()?)?;
            if !(0xd800..0xdc00).contains(&high) {
                return Some((char::from_u32(high)?, 5)); // a low surrogate alone is no character
            }
            let second = rest.get(5..)?.strip_prefix(b"\\u")?;
            let low = hex4(second.first_chunk()?)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
            Some((char::from_u32(0x10000 + ((high - 0xd800) << 10 | low))?, 11))
        }
        _ => None,
    }
}

impl<'a> Scan<'a> {
    /// Stands before the brace of a text that may be a JSON object.
    pub(super) fn of_object(text: &'a [u8]) -> Option<Self> {
        let mut scan = Self { text, pos: 0, at: At::Open, line_break: false };
        scan.space();
        (scan.peek()? == b'{').then_some(())?;
        std::str::from_utf8(text).ok()?;
        scan.line_break = false;
        Some(scan)
    }

    /// Stands `pos` bytes into a text that has been validated.
    pub(super) fn trusted(text: &'a [u8], pos: usize) -> Self {
        Self { text, pos: pos.min(text.len()), at: At::Open, line_break: false }
    }

    pub(super) fn pos(&self) -> usize {
        self.pos
    }

    /// Whether white space that was stepped over had a line break.
    pub(super) fn saw_line_break(&self) -> bool {
        self.line_break
    }

    /// Whether the object whose members were asked for has ended.
    pub(super) fn closed(&self) -> bool {
        self.at == At::Closed
    }

    /// Steps over the opening brace.
    pub(super) fn open(&mut self) -> Option<()> {
        self.expect(b'{')
    }

    /// The next member of the object at `depth`; none at its end ([`Self::closed`]) and at a mistake.
    #[inline]
    pub(super) fn member(&mut self, depth: usize) -> Option<Member<'a>> {
        self.space();
        match (self.at, self.peek()?) {
            (At::Open | At::Next, b'}') => {
                self.pos += 1;
                self.at = At::Closed;
                return None;
            }
            (At::Open, _) => {}
            (At::Next, b',') => {
                self.pos += 1;
                self.space();
            }
            _ => return None,
        }
        let (key, key_escaped) = self.key()?;
        self.space();
        let start = self.pos;
        // Most values are strings: they need no bookkeeping.
        let is_plain = if self.peek()? == b'"' {
            self.pos += 1;
            !self.string()?
        } else {
            self.value(depth)?;
            false
        };
        self.at = At::Next;
        Some(Member { key, key_escaped, value: Raw::new(self.text.get(start..self.pos)?), is_plain })
    }

    /// Nothing but white space is left.
    pub(super) fn finish(mut self) -> Option<()> {
        self.space();
        (self.pos == self.text.len()).then_some(())
    }

    /// Steps over one value that stands inside `base` others.
    pub(super) fn value(&mut self, base: usize) -> Option<()> {
        // One bit a level: whether it is an object. The bound of the depth is the width of the word.
        let mut kinds = 0u64;
        let mut depth = base;
        loop {
            self.space();
            match self.peek()? {
                open @ (b'{' | b'[') => {
                    self.pos += 1;
                    (depth < MAX_DEPTH).then_some(())?;
                    self.space();
                    let object = open == b'{';
                    if self.peek()? == open + 2 {
                        self.pos += 1;
                    } else {
                        depth += 1;
                        kinds = kinds << 1 | u64::from(object);
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b'"' => {
                    self.pos += 1;
                    self.string()?;
                }
                _ => self.pos = scalar(self.text, self.pos)?,
            }
            // Behind a value: close what ends here.
            while depth > base {
                self.space();
                let object = kinds & 1 == 1;
                let byte = self.peek()?;
                self.pos += 1;
                match byte {
                    b',' if object => {
                        self.space();
                        self.key()?;
                        break;
                    }
                    b',' => break,
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return None,
                }
                depth -= 1;
                kinds >>= 1;
                if depth == base {
                    return Some(());
                }
            }
            if depth == base {
                return Some(());
            }
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.pos).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then_some(())?;
        self.pos += 1;
        Some(())
    }

    #[inline(always)]
    fn space(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\n' | b'\r')) = self.peek() {
            self.line_break |= byte == b'\n' || byte == b'\r';
            self.pos += 1;
        }
    }

    /// A key and its colon; returns what stands between the quotes, and whether it has escapes.
    #[inline(always)]
    fn key(&mut self) -> Option<(&'a [u8], bool)> {
        self.expect(b'"')?;
        let start = self.pos;
        let escaped = self.string()?;
        let key = self.text.get(start..self.pos - 1)?;
        self.space();
        self.expect(b':')?;
        Some((key, escaped))
    }

    /// The rest of a string, behind its opening quote; returns whether it has escapes.
    #[inline(always)]
    fn string(&mut self) -> Option<bool> {
        let mut escaped = false;
        loop {
            let rest = self.text.get(self.pos..)?;
            self.pos += match rest.first_chunk() {
                Some(step) => match wide::specials(step) {
                    0 => {
                        self.pos += wide::STEP;
                        continue;
                    }
                    marks => marks.trailing_zeros() as usize,
                },
                None => rest.iter().position(|c| matches!(c, b'"' | b'\\' | 0..0x20))?,
            };
            let special = self.peek()?;
            self.pos += 1;
            match special {
                b'"' => return Some(escaped),
                b'\\' => self.pos += escape(self.text.get(self.pos..)?)?.1,
                _ => return None,
            }
            escaped = true;
        }
    }
}

/// Where a number or a word that begins here ends.
pub(super) fn scalar(text: &[u8], pos: usize) -> Option<usize> {
    let word = |word: &[u8]| text.get(pos..)?.starts_with(word).then_some(pos + word.len());
    match text.get(pos)? {
        b't' => word(b"true"),
        b'f' => word(b"false"),
        b'n' => word(b"null"),
        _ => number(text, pos),
    }
}

fn number(text: &[u8], mut pos: usize) -> Option<usize> {
    pos += usize::from(*text.get(pos)? == b'-');
    if *text.get(pos)? == b'0' {
        pos += 1;
    } else {
        pos = digits(text, pos)?;
    }
    if text.get(pos) == Some(&b'.') {
        pos = digits(text, pos + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(pos) {
        let signed = matches!(text.get(pos + 1), Some(b'+' | b'-'));
        pos = digits(text, pos + 1 + usize::from(signed))?;
    }
    Some(pos)
}

/// Behind the digits that begin here, one at least.
#[inline(always)]
fn digits(text: &[u8], start: usize) -> Option<usize> {
    let mut pos = start;
    while text.get(pos).is_some_and(u8::is_ascii_digit) {
        pos += 1;
    }
    (pos > start).then_some(pos)
}
