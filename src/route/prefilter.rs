//! A sound negative prefilter: a condition that needs one of a few literals cannot hold for a record whose bytes have
//! none of them.
//!
//! A literal may hide behind an escape of JSON. A letter can only be escaped as `\u…`, so that a record without `\u`
//! shows every literal made of plain characters; for others the record must have no backslash at all. A string of
//! JSON inside a string of JSON only adds backslashes.

use memchr::{memchr, memmem};

use super::condition::{Condition, Literal, Op, Test};
use crate::record::name::Name;
use crate::record::path::Path;

/// Most literals to look for: more take longer than the pass that they save.
const MAX_LITERALS: usize = 4;

/// Literals of one byte are in nearly every record.
const MIN_LEN: usize = 2;

/// After so many records it is seen whether looking for the literals pays …
const TRIAL: u32 = 256;

/// … and if it does not, they are let be for so many.
const PAUSE: u64 = 8192;

/// The prefilter of one condition.
#[derive(Debug)]
pub(super) struct Prefilter {
    needles: Vec<Needle>,
    tried: u32,
    saved: u32,
    /// The number of the record from which on it is asked again.
    rests_until: u64,
    /// Whether it was asked about the record at hand, and ruled it out.
    asked: Option<bool>,
}

#[derive(Debug)]
struct Needle {
    finder: memmem::Finder<'static>,
    /// Only `\u` can hide it.
    plain: bool,
}

/// What escapes a record has; looked up at most once a record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Escapes {
    any: Option<bool>,
    unicode: Option<bool>,
}

impl Escapes {
    fn any(&mut self, map: &[u8]) -> bool {
        *self.any.get_or_insert_with(|| memchr(b'\\', map).is_some())
    }

    fn unicode(&mut self, map: &[u8]) -> bool {
        let any = self.any(map);
        *self.unicode.get_or_insert_with(|| any && memmem::find(map, b"\\u").is_some())
    }
}

impl Prefilter {
    /// The prefilter of a condition; none if it needs no literal, or only fields that are found faster than literals.
    pub(super) fn of(condition: &Condition) -> Option<Self> {
        if !is_dear(condition) {
            return None;
        }
        let needs = needs(condition, false)?;
        let needle = |text: &Vec<u8>| Needle {
            plain: !text.iter().any(|c| matches!(c, b'"' | b'\\' | b'/' | 0..0x20)),
            finder: memmem::Finder::new(text).into_owned(),
        };
        Some(Self { needles: needs.iter().map(needle).collect(), tried: 0, saved: 0, rests_until: 0, asked: None })
    }

    /// Whether it is let be for the record of this number.
    #[inline]
    pub(super) fn rests(&self, number: u64) -> bool {
        number < self.rests_until
    }

    /// Whether the condition cannot hold for this record. False says nothing.
    pub(super) fn rules_out(&mut self, map: &[u8], escapes: &mut Escapes) -> bool {
        let absent = self.needles.iter().all(|needle| {
            needle.finder.find(map).is_none() && !if needle.plain { escapes.unicode(map) } else { escapes.any(map) }
        });
        self.asked = Some(absent);
        absent
    }

    /// Learns from the record of this number, which has been decided, whether the search has paid: it has if what it
    /// saved to pick was not picked for another route after all.
    pub(super) fn learn(&mut self, number: u64, picked: bool) {
        let Some(absent) = self.asked.take() else { return };
        self.tried += 1;
        self.saved += u32::from(absent && !picked);
        if self.tried == TRIAL {
            // A search costs about a quarter of the pass that it may save.
            if self.saved < TRIAL / 4 {
                // By records: searches that are let be together are tried again together, or each would find its pass
                // made by another that still rests.
                self.rests_until = number + PAUSE;
            }
            (self.tried, self.saved) = (0, 0);
        }
    }
}

/// Whether the condition may mean to read JSON or text, beyond one walk over the record.
fn is_dear(condition: &Condition) -> bool {
    match condition {
        Condition::Always(_) => false,
        Condition::And(parts) | Condition::Or(parts) => parts.iter().any(is_dear),
        Condition::Not(inner) => is_dear(inner),
        Condition::Test(test) => test.is_deep() || test.name == Name::Level,
    }
}

/// Literals of which one must be in the record if the condition (or with `negated` its opposite) is to hold.
fn needs(condition: &Condition, negated: bool) -> Option<Vec<Vec<u8>>> {
    match (condition, negated) {
        (Condition::Test(test), _) => (test.negated == negated).then(|| test_needs(test)).flatten(),
        (Condition::Not(inner), _) => needs(inner, !negated),
        // What must all hold has a need if any part has one: the best is the one with the longest literals.
        (Condition::And(parts), false) | (Condition::Or(parts), true) => {
            parts.iter().filter_map(|part| needs(part, negated)).max_by_key(|needs| needs.iter().map(Vec::len).min())
        }
        // What holds by one part needs what each part needs.
        (Condition::Or(parts), false) | (Condition::And(parts), true) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(needs(part, negated)?);
            }
            (!all.is_empty() && all.len() <= MAX_LITERALS).then_some(all)
        }
        (Condition::Always(_), _) => None,
    }
}

fn test_needs(test: &Test) -> Option<Vec<Vec<u8>>> {
    let Name::Field(path) = &test.name else { return None };
    // Task metadata is no part of the record's bytes.
    if path.may_be_metadata() {
        return None;
    }
    let values = match &test.op {
        Op::Equals(Literal::Text(text)) | Op::StartsWith(text) | Op::EndsWith(text) => vec![text.as_bytes().to_vec()],
        Op::Contains(finder) => vec![finder.needle().to_vec()],
        Op::In(set) => set.only_texts().map(|texts| texts.iter().map(|t| t.as_bytes().to_vec()).collect())?,
        _ => Vec::new(),
    };
    let good = !values.is_empty() && values.len() <= MAX_LITERALS && values.iter().all(|v| v.len() >= MIN_LEN);
    if good { Some(values) } else { longest_key(path).map(|key| vec![key]) }
}

/// The field's own name has to be there, too.
fn longest_key(path: &Path) -> Option<Vec<u8>> {
    path.keys().max_by_key(|key| key.len()).filter(|key| key.len() >= MIN_LEN).map(|key| key.as_bytes().to_vec())
}
