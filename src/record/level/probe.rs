//! Looks at members of a map one by one and keeps the level that the best of them tells.

use super::{Level, LevelKey, LevelRules, value};
use crate::record::json::{Member, Object, Outline};
use crate::record::keys::KeyFilter;
use crate::record::path;

/// The best level among the members shown so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Probe {
    /// Of the keys that may tell a level.
    filter: KeyFilter,
    best: Option<(Level, LevelKey)>,
}

/// The object `log` in which `level` counts too.
const LOG: &[u8] = b"log";

impl Probe {
    /// Has seen nothing yet.
    pub(crate) fn new(rules: &LevelRules) -> Self {
        let mut filter = KeyFilter::default();
        rules.fields.iter().for_each(|field| filter.add(field.as_bytes()));
        FIXED.iter().for_each(|(key, _)| filter.add(key));
        filter.add(LOG);
        Self { filter, best: None }
    }

    /// Forgets what it has seen.
    pub(crate) fn clear(&mut self) {
        self.best = None;
    }

    /// The keys that may tell a level.
    pub(crate) fn filter(&self) -> &KeyFilter {
        &self.filter
    }

    /// What has been found.
    pub(crate) fn best(self) -> Option<(Level, LevelKey)> {
        self.best
    }

    /// Looks at a member of a msgpack map; `bytes` begin with its value.
    #[inline]
    pub(crate) fn msgpack(&mut self, rules: &LevelRules, key: &[u8], bytes: &[u8]) {
        if !self.filter.may_have(key) {
            return;
        }
        if let Some(key) = rules.key(key) {
            let level = path::resolve_in(bytes, &[]).and_then(|found| value::level(key, &found));
            self.offer(level, key);
        } else if key == LOG {
            self.log(path::map_member(bytes, b"level").and_then(|found| value::level(LevelKey::LogLevel, &found)));
        }
    }

    /// Looks at the members of a JSON object that was read last.
    pub(crate) fn outline(&mut self, rules: &LevelRules, object: Object<'_>, outline: &Outline) {
        // A key with escapes is one of nobody's: no logger escapes letters.
        if outline.is_cut() {
            return object.members().for_each(|member| self.json(rules, member));
        }
        for (n, key) in outline.keys(object) {
            if self.filter.may_have(key)
                && let Some(member) = outline.member(object, n)
            {
                self.json(rules, member);
            }
        }
    }

    fn json(&mut self, rules: &LevelRules, member: Member<'_>) {
        if let Some(key) = rules.key(member.key) {
            self.offer(value::level(key, &member.value.found()), key);
        } else if member.key == LOG {
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

/// Keys that may tell a level beside those of the rules, in their order and as they are written here.
const FIXED: [(&[u8], LevelKey); 4] = [
    (b"severity_number", LevelKey::SeverityNumber),
    (b"PRIORITY", LevelKey::Priority),
    (b"syslog_severity", LevelKey::SyslogSeverity),
    (b"log.level", LevelKey::LogLevel),
];

impl LevelRules {
    /// Which of the keys that may tell a level this is.
    fn key(&self, key: &[u8]) -> Option<LevelKey> {
        match self.fields.iter().position(|field| field.as_bytes().eq_ignore_ascii_case(key)) {
            Some(n) => Some(LevelKey::Field(u16::try_from(n).unwrap_or(u16::MAX))),
            None => FIXED.iter().find(|(fixed, _)| *fixed == key).map(|(_, key)| *key),
        }
    }
}
