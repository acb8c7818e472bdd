//! What the value of a field says about the level: words in any case and the numbers of pino, syslog, OpenTelemetry.

use super::{Level, LevelKey};
use crate::record::name::Found;

/// The level that a value under this key tells.
pub(super) fn level(key: LevelKey, found: &Found<'_>) -> Option<Level> {
    match found {
        Found::UInt(n) => number(key, *n),
        Found::Float(n) if n.fract() == 0.0 && (0.0..=60.0).contains(n) => number(key, *n as u64),
        // Levels are often padded to a column, and journald writes its numbers as text.
        Found::Str(text) => match text.trim_ascii() {
            digits @ [b'0'..=b'9'] | digits @ [b'0'..=b'9', b'0'..=b'9'] => {
                number(key, digits.iter().fold(0, |sum, d| sum * 10 + u64::from(d - b'0')))
            }
            text if matches!(key, LevelKey::Field(_) | LevelKey::LogLevel) => word(text),
            _ => None,
        },
        _ => None,
    }
}

/// The level of a word, any case.
pub(super) fn word(text: &[u8]) -> Option<Level> {
    const WORDS: [(&str, Level); 17] = [
        ("info", Level::Info),
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("debug", Level::Debug),
        ("warning", Level::Warn),
        ("trace", Level::Trace),
        ("err", Level::Error),
        ("notice", Level::Info),
        ("fatal", Level::Fatal),
        ("critical", Level::Fatal),
        ("panic", Level::Fatal),
        ("alert", Level::Fatal),
        ("emerg", Level::Fatal),
        // Spellings of the same words: syslog's long and short forms, .NET's.
        ("emergency", Level::Fatal),
        ("crit", Level::Fatal),
        ("information", Level::Info),
        ("informational", Level::Info),
    ];
    WORDS.iter().find(|(word, _)| word.as_bytes().eq_ignore_ascii_case(text)).map(|(_, level)| *level)
}

fn number(key: LevelKey, n: u64) -> Option<Level> {
    match key {
        // Pino and bunyan count in tens; syslog from 0 to 7.
        LevelKey::Field(_) | LevelKey::LogLevel => match n {
            10 => Some(Level::Trace),
            20 => Some(Level::Debug),
            30 => Some(Level::Info),
            40 => Some(Level::Warn),
            50 => Some(Level::Error),
            60 => Some(Level::Fatal),
            _ => syslog(n),
        },
        LevelKey::Priority | LevelKey::SyslogSeverity => syslog(n),
        // OpenTelemetry: four steps a level, from 1.
        LevelKey::SeverityNumber => Level::ALL.get(usize::try_from(n.checked_sub(1)? / 4).ok()?).copied(),
    }
}

/// RFC 5424, section 6.2.1.
fn syslog(n: u64) -> Option<Level> {
    match n {
        0..=2 => Some(Level::Fatal),
        3 => Some(Level::Error),
        4 => Some(Level::Warn),
        5 | 6 => Some(Level::Info),
        7 => Some(Level::Debug),
        _ => None,
    }
}
