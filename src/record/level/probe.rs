//! Looks at members of a map one by one and keeps the level that the best of them tells.

use super::{Level, LevelKey, LevelRules, value};
use crate::record::json::Member;
use crate::record::path;

/// The best level among the members shown so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Probe {
    best: Option<(Level, LevelKey)>,
}

impl Probe {
    /// What has been found.
    pub(crate) fn best(self) -> Option<(Level, LevelKey)> {
        self.best
    }

    /// Looks at a member of a msgpack map; `bytes` begin with its value.
    #[inline]
    pub(crate) fn msgpack(&mut self, rules: &LevelRules, key: &[u8], bytes: &[u8]) {
        if let Some(key) = rules.key(key) {
            let level = path::resolve_in(bytes, &[]).and_then(|found| value::level(key, &found));
            self.offer(level, key);
        } else if key == b"log" {
            self.log(path::map_member(bytes, b"level").and_then(|found| value::level(LevelKey::LogLevel, &found)));
        }
    }

    /// Looks at a member of a JSON object.
    #[inline]
    pub(crate) fn json(&mut self, rules: &LevelRules, member: Member<'_>) {
        // A key with escapes is one of nobody's: no logger escapes letters.
        if let Some(key) = rules.key(member.key) {
            self.offer(value::level(key, &member.value.found()), key);
        } else if member.key == b"log" {
            self.log(member.value.get(b"level").and_then(|raw| value::level(LevelKey::LogLevel, &raw.found())));
        }
    }

    fn log(&mut self, level: Option<Level>) {
        self.offer(level, LevelKey::LogLevel);
    }

    /// Of two keys the one that comes first in the rules wins, of two equal ones the later.
    fn offer(&mut self, level: Option<Level>, key: LevelKey) {
        if let Some(level) = level
            && self.best.is_none_or(|(_, best)| key <= best)
        {
            self.best = Some((level, key));
        }
    }
}

impl LevelRules {
    /// Which of the keys that may tell a level this is. Lengths differ for almost every other key.
    #[inline]
    fn key(&self, key: &[u8]) -> Option<LevelKey> {
        let field = self.fields.iter().position(|field| field.as_bytes().eq_ignore_ascii_case(key));
        match field {
            Some(n) => Some(LevelKey::Field(u16::try_from(n).unwrap_or(u16::MAX))),
            None => match key {
                b"severity_number" => Some(LevelKey::SeverityNumber),
                b"PRIORITY" => Some(LevelKey::Priority),
                b"syslog_severity" => Some(LevelKey::SyslogSeverity),
                b"log.level" => Some(LevelKey::LogLevel),
                _ => None,
            },
        }
    }
}
