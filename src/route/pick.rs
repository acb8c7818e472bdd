//! The one lazy pass over a record: finds the fields that all rules need, each of them at most once.
//!
//! The first rule that asks for a field makes one walk over the record's top level, which notes where the wanted
//! fields lie. What lies inside a field is found when a rule asks for it, and then everything that any rule wants of
//! it, the level included, in a single pass over its text.

use std::borrow::Cow;
use std::ops::Range;

use crate::record::Record;
use crate::record::json::{Object, Outline, unescape};
use crate::record::keys::{KeyFilter, KeyGroups};
use crate::record::level::{Level, LevelRules, Probe};
use crate::record::msgpack::{Reader, Value};
use crate::record::name::Found;
use crate::record::path::{self, Path};

/// The field whose content tells a level.
const LOG: &str = "log";

/// Which fields are wanted; made when the conditions are compiled.
#[derive(Debug)]
struct Plan {
    roots: Vec<Root>,
    slots: Vec<Slot>,
    /// Keys at the record's top that may be of interest.
    top: KeyFilter,
    levels: LevelRules,
    /// The root `log`, if a rule asks for the level.
    log: Option<usize>,
}

/// A field at the top of the record, and the slots that lie in it.
#[derive(Debug)]
struct Root {
    key: Box<str>,
    /// The slot that is the field itself.
    whole: Option<usize>,
    /// Those that lie inside it, also by their first key there.
    parts: Vec<usize>,
    inside: KeyGroups<usize>,
    first_keys: KeyFilter,
}

/// A wanted field.
#[derive(Debug)]
struct Slot {
    path: Path,
    /// Index of its first key among the roots.
    root: usize,
}

/// A value that outlives nothing: texts are places in the record's map or in the text of its `State`.
#[derive(Clone, Debug)]
enum Picked {
    Missing,
    /// Not text.
    Plain(Found<'static>),
    InMap(Range<usize>),
    InText(Range<usize>),
    /// A member of the root's JSON, by its number; what it says is read when a rule asks.
    Member(usize),
}

/// What is known of a root in the current record.
#[derive(Debug, Default)]
struct Content {
    /// Where its value begins in the map.
    at: Option<usize>,
    /// Whether its slots have been filled.
    picked: bool,
    /// Its text, if that is a JSON object, and what is in it.
    json: Option<Range<usize>>,
    outline: Outline,
}

/// What is known of the current record.
#[derive(Debug, Default)]
struct State {
    walked: bool,
    roots: Vec<Content>,
    slots: Vec<Picked>,
    /// Strings that had to be unescaped.
    text: Vec<u8>,
    /// Levels in the record's fields and in the JSON of `log`.
    record_probe: Probe,
    log_probe: Probe,
    /// Where `log` lies, if it is text and no JSON.
    log_text: Option<Range<usize>>,
    level: Option<Option<Level>>,
}

/// Picks fields out of records, one record at a time.
#[derive(Debug)]
pub(super) struct Picker {
    plan: Plan,
    state: State,
}

impl Picker {
    /// Wants nothing yet.
    pub(super) fn new(levels: LevelRules) -> Self {
        let probe = Probe::new(&levels);
        let plan = Plan { roots: Vec::new(), slots: Vec::new(), top: KeyFilter::default(), levels, log: None };
        Self { plan, state: State { record_probe: probe, log_probe: probe, ..State::default() } }
    }

    /// Wants a field; the same path is picked once however many rules want it.
    pub(super) fn want(&mut self, path: &Path) -> usize {
        if let Some(slot) = self.plan.slots.iter().position(|known| known.path == *path) {
            return slot;
        }
        let slot = self.plan.slots.len();
        let root = self.want_root(path.split().0);
        self.plan.slots.push(Slot { path: path.clone(), root });
        self.state.slots.push(Picked::Missing);
        let wanted = &mut self.plan.roots[root];
        match path.split().1 {
            [] => wanted.whole = Some(slot),
            [first, ..] => {
                wanted.parts.push(slot);
                wanted.inside.add(first.as_bytes(), slot);
                wanted.first_keys.add(first.as_bytes());
            }
        }
        slot
    }

    /// Wants the level.
    pub(super) fn want_level(&mut self) {
        self.plan.log = Some(self.want_root(LOG));
        self.plan.top.add_all(self.state.record_probe.filter());
    }

    /// The index of a root.
    fn want_root(&mut self, key: &str) -> usize {
        self.plan.roots.iter().position(|root| *root.key == *key).unwrap_or_else(|| {
            self.plan.top.add(key.as_bytes());
            self.plan.roots.push(Root {
                key: key.into(),
                whole: None,
                parts: Vec::new(),
                inside: KeyGroups::default(),
                first_keys: KeyFilter::default(),
            });
            self.state.roots.push(Content::default());
            self.plan.roots.len() - 1
        })
    }

    /// The root that a slot lies in.
    pub(super) fn root_of(&self, slot: usize) -> usize {
        self.plan.slots[slot].root
    }

    /// The root whose text tells levels, if they are wanted.
    pub(super) fn log_root(&self) -> Option<usize> {
        self.plan.log
    }

    pub(super) fn levels(&self) -> &LevelRules {
        &self.plan.levels
    }

    /// Forgets the last record.
    pub(super) fn reset(&mut self) {
        let state = &mut self.state;
        state.walked = false;
        state.text.clear();
        state.level = None;
    }

    /// Whether what lies in this root is known already.
    pub(super) fn has_picked(&self, root: usize) -> bool {
        self.state.walked && self.state.roots[root].picked
    }

    /// The value of a slot.
    pub(super) fn field<'s>(&'s mut self, slot: usize, record: &Record<'s>) -> Option<Found<'s>> {
        let root = self.root_of(slot);
        if !self.has_picked(root) {
            self.walk(record.map);
            self.pick(root, record);
        }
        let text = |bytes: &'s [u8], at: &Range<usize>| bytes.get(at.clone()).map(|text| Found::Str(text.into()));
        if let Picked::Member(n) = self.state.slots[slot] {
            let content = &self.state.roots[root];
            let member = content.object(record.map).and_then(|object| content.outline.member(object, n));
            let keys = self.plan.slots[slot].path.split().1.get(1..).unwrap_or_default();
            match (member, keys) {
                (Some(member), []) if member.is_plain => {
                    return member.value.inside().map(|text| Found::Str(text.into()));
                }
                (Some(member), keys) => {
                    let found = path::resolve_in_json(member.value, keys);
                    let kept = found.map(|found| keep(found, record.map, &mut self.state.text));
                    self.state.slots[slot] = kept.unwrap_or(Picked::Missing);
                }
                (None, _) => self.state.slots[slot] = Picked::Missing,
            }
        }
        match &self.state.slots[slot] {
            Picked::Plain(found) => Some(found.clone()),
            Picked::InMap(at) => text(record.map, at),
            Picked::InText(at) => text(&self.state.text, at),
            Picked::Missing | Picked::Member(_) => {
                let absent = self.state.roots[root].at.is_none();
                let metadata = absent.then(|| self.plan.slots[slot].path.in_metadata(record)).flatten();
                metadata.map(|text| Found::Str(text.as_bytes().into()))
            }
        }
    }

    /// The record's level.
    pub(super) fn level(&mut self, record: &Record<'_>) -> Option<Level> {
        if let Some(level) = self.state.level {
            return level;
        }
        self.walk(record.map);
        let level = match self.state.record_probe.best() {
            Some((level, _)) => Some(level),
            None => self.level_in_log(record),
        };
        self.state.level = Some(level);
        level
    }

    fn level_in_log(&mut self, record: &Record<'_>) -> Option<Level> {
        self.pick(self.plan.log?, record);
        match &self.state.log_text {
            Some(at) => self.plan.levels.find_in_text(record.map.get(at.clone())?).map(|(level, _)| level),
            None => self.state.log_probe.best().map(|(level, _)| level),
        }
    }

    /// Notes where the wanted fields lie. Of two equal keys the last wins.
    fn walk(&mut self, map: &[u8]) {
        let (plan, state) = (&self.plan, &mut self.state);
        if state.walked {
            return;
        }
        state.walked = true;
        state.roots.iter_mut().for_each(|content| (content.at, content.picked) = (None, false));
        state.record_probe.clear();
        for (key, value) in path::top_level(map) {
            if !plan.top.may_have(key) {
                continue;
            }
            if let Some(root) = plan.roots.iter().position(|root| root.key.as_bytes() == key) {
                state.roots[root].at = offset(map, value);
            }
            if plan.log.is_some() {
                state.record_probe.msgpack(&plan.levels, key, value);
            }
        }
    }

    /// Fills the slots of a root, and if it is the one that tells levels, what it tells.
    fn pick(&mut self, root: usize, record: &Record<'_>) {
        let (plan, state, map) = (&self.plan, &mut self.state, record.map);
        if std::mem::replace(&mut state.roots[root].picked, true) {
            return;
        }
        let Root { whole, parts, .. } = &plan.roots[root];
        let tells_level = plan.log == Some(root);
        if tells_level {
            state.log_probe.clear();
            state.log_text = None;
        }
        for slot in whole.iter().chain(parts) {
            state.slots[*slot] = Picked::Missing;
        }
        let Some(bytes) = state.roots[root].at.and_then(|at| map.get(at..)) else { return };
        let Ok(value) = Reader::new(bytes).read() else { return };
        if let Some(slot) = whole {
            state.slots[*slot] = keep(path::found(value), map, &mut state.text);
        }
        match value {
            _ if parts.is_empty() && !tells_level => {}
            Value::Str(text) | Value::Bin(text) => {
                let is_json = fill_from_json(plan, state, root, text, record);
                if !is_json {
                    state.log_text = offset(map, text).map(|at| at..at + text.len()).filter(|_| tells_level);
                }
            }
            Value::Map(_) => {
                for slot in parts {
                    if let Some(found) = path::resolve_in(bytes, plan.slots[*slot].path.split().1) {
                        state.slots[*slot] = keep(found, map, &mut state.text);
                    }
                }
                if tells_level {
                    path::top_level(bytes).for_each(|(k, v)| state.log_probe.msgpack(&plan.levels, k, v));
                }
            }
            _ => {}
        }
    }
}

/// Fills what lies in a text if it is a JSON object; whether it is one. Of two equal keys the last wins.
fn fill_from_json<'a>(plan: &Plan, state: &mut State, root: usize, text: &'a [u8], record: &Record<'a>) -> bool {
    let Content { json, outline, .. } = &mut state.roots[root];
    let Some(object) = record.json.read(text, outline) else { return false };
    *json = offset(record.map, object.text()).map(|at| at..at + object.text().len());
    if plan.log == Some(root) {
        state.log_probe.outline(&plan.levels, object, outline);
    }
    let Root { parts, inside, first_keys, .. } = &plan.roots[root];
    if parts.is_empty() {
        return true;
    }
    if outline.is_cut() {
        for member in object.members() {
            for slot in parts {
                if let [first, keys @ ..] = plan.slots[*slot].path.split().1
                    && member.key_is(first.as_bytes())
                {
                    let found = path::resolve_in_json(member.value, keys);
                    state.slots[*slot] =
                        found.map_or(Picked::Missing, |found| keep(found, record.map, &mut state.text));
                }
            }
        }
        return true;
    }
    let first = |slot: &usize| plan.slots[*slot].path.split().1.first().map_or(&[][..], |key| key.as_bytes());
    for (n, key) in outline.keys(object) {
        if outline.is_escaped(key) {
            let key = unescape(key);
            parts.iter().filter(|slot| first(slot) == &*key).for_each(|slot| state.slots[*slot] = Picked::Member(n));
        } else if first_keys.may_have(key) {
            for slot in inside.of(key).iter().filter(|slot| first(slot) == key) {
                state.slots[*slot] = Picked::Member(n);
            }
        }
    }
    true
}

impl Content {
    /// Its JSON, if it is that.
    fn object<'a>(&self, map: &'a [u8]) -> Option<Object<'a>> {
        Some(Object::new(map.get(self.json.clone()?)?))
    }
}

/// Keeps a value without its lifetime.
fn keep(found: Found<'_>, map: &[u8], text: &mut Vec<u8>) -> Picked {
    match found {
        Found::Str(found) => {
            if let Cow::Borrowed(found) = found
                && let Some(at) = offset(map, found)
            {
                return Picked::InMap(at..at + found.len());
            }
            let start = text.len();
            text.extend_from_slice(&found);
            Picked::InText(start..text.len())
        }
        other => Picked::Plain(other.into_owned()),
    }
}

/// Where a part that was borrowed from `map` begins in it.
fn offset(map: &[u8], part: &[u8]) -> Option<usize> {
    let at = (part.as_ptr() as usize).checked_sub(map.as_ptr() as usize)?;
    (at.checked_add(part.len())? <= map.len()).then_some(at)
}
