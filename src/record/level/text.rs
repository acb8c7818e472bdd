//! The level in a line of plain text: logfmt, klog, else a word in capitals.

use std::sync::LazyLock;

use memchr::memmem;

use super::{Level, LevelOrigin, value};

/// How far a word in capitals may stand from the start: levels stand behind a time and a thread or logger name; what
/// comes later is the message itself.
const WORD_WITHIN: usize = 96;

/// Begins the escape sequences of terminals.
const ESCAPE: u8 = 0x1b;

static LEVEL: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(KEY));
const KEY: &[u8] = b"level=";

/// The level and what told it.
pub(super) fn find(text: &[u8]) -> Option<(Level, LevelOrigin)> {
    logfmt(text)
        .map(|level| (level, LevelOrigin::Logfmt))
        .or_else(|| klog(text).map(|level| (level, LevelOrigin::Klog)))
        .or_else(|| capitals(text).map(|level| (level, LevelOrigin::Word)))
}

/// The first pair `level=` that tells a level and does not stand inside quotes.
fn logfmt(text: &[u8]) -> Option<Level> {
    let mut quoted = false;
    let mut seen = 0;
    for at in LEVEL.find_iter(text) {
        quoted ^= quotes(&text[seen..at]) % 2 == 1;
        seen = at;
        let starts = at == 0 || matches!(text[at - 1], b' ' | b'\t' | b'\n');
        if !starts || quoted {
            continue;
        }
        let value = &text[at + KEY.len()..];
        let level = match value.strip_prefix(b"\"") {
            Some(value) => value::word(until(value, |c| c == b'"')),
            None => value::word(until(value, |c| c.is_ascii_whitespace())),
        };
        if level.is_some() {
            return level;
        }
    }
    None
}

/// Counts quotes that no backslash escapes.
fn quotes(text: &[u8]) -> usize {
    memchr::memchr_iter(b'"', text)
        .filter(|at| text[..*at].iter().rev().take_while(|c| **c == b'\\').count() % 2 == 0)
        .count()
}

fn until(text: &[u8], end: impl Fn(u8) -> bool) -> &[u8] {
    text.split(|c| end(*c)).next().unwrap_or_default()
}

/// `I0102 15:04:05.000000 …`: the letter, month and day.
fn klog(text: &[u8]) -> Option<Level> {
    let [letter, digits @ ..] = text.first_chunk::<5>()?;
    let ends = text.get(5).is_none_or(|c| !c.is_ascii_alphanumeric());
    if !ends || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    match letter {
        b'I' => Some(Level::Info),
        b'W' => Some(Level::Warn),
        b'E' => Some(Level::Error),
        b'F' => Some(Level::Fatal),
        _ => None,
    }
}

/// The first whole word in capitals that is a level. Escape sequences of terminals (colours) are no part of a word.
fn capitals(text: &[u8]) -> Option<Level> {
    let head = &text[..text.len().min(WORD_WITHIN)];
    // Where a word may begin though a letter stands before it: behind a colour.
    let (mut at, mut behind) = (0, 0);
    while let Some(more) =
        head.get(at..).and_then(|rest| rest.iter().position(|c| c.is_ascii_uppercase() || *c == ESCAPE))
    {
        at += more;
        if head[at] == ESCAPE {
            at += 1;
            if head.get(at) == Some(&b'[') {
                at += 1;
                while head.get(at).is_some_and(|c| !(0x40..0x7f).contains(c)) {
                    at += 1;
                }
                at += 1;
                behind = at;
            }
            continue;
        }
        let start = at;
        // Looks one byte beyond the head to see whether the word ends there.
        while at <= WORD_WITHIN && text.get(at).copied().is_some_and(is_word) {
            at += 1;
        }
        let begins = start == behind || !is_word(head[start - 1]);
        let level = head.get(start..at).filter(|_| begins).and_then(capital_word);
        if level.is_some() {
            return level;
        }
    }
    None
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_'
}

fn capital_word(word: &[u8]) -> Option<Level> {
    match word {
        b"TRACE" => Some(Level::Trace),
        b"DEBUG" => Some(Level::Debug),
        b"INFO" | b"NOTICE" => Some(Level::Info),
        b"WARN" | b"WARNING" => Some(Level::Warn),
        b"ERROR" => Some(Level::Error),
        b"CRITICAL" | b"FATAL" | b"PANIC" => Some(Level::Fatal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Byte by byte: words as they come, colours skipped.
    fn plainly(text: &[u8]) -> Option<Level> {
        let head = &text[..text.len().min(WORD_WITHIN)];
        let mut at = 0;
        while let Some(&c) = head.get(at) {
            if c == ESCAPE && head.get(at + 1) == Some(&b'[') {
                at += 2;
                while head.get(at).is_some_and(|c| !(0x40..0x7f).contains(c)) {
                    at += 1;
                }
                at += 1;
            } else if is_word(c) {
                let start = at;
                while at <= WORD_WITHIN && text.get(at).copied().is_some_and(is_word) {
                    at += 1;
                }
                let level = head.get(start..at).and_then(capital_word);
                if level.is_some() {
                    return level;
                }
            } else {
                at += 1;
            }
        }
        None
    }

    proptest! {
        #[test]
        fn a_word_is_found_as_byte_by_byte(
            parts in prop::collection::vec(prop::sample::select(vec![
                "ERROR", "WARN", "INFO", "ERR", "x", "_", " ", "[", "]", "\x1b[31m", "\x1b[", "\x1b", "m", "7", "é", "  padding ",
            ]), 0..30),
        ) {
            let text = parts.concat();
            prop_assert_eq!(capitals(text.as_bytes()), plainly(text.as_bytes()));
        }
    }
}
