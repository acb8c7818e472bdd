//! serde over the tree: a section becomes one plain struct, and a mistake knows its place, its path and what would have
//! been accepted.
//!
//! serde stops at the first error. A section is therefore read again without the value that was wrong, until nothing
//! new comes up: so all unknown keys and all values of the wrong type are reported in one run.

use std::collections::HashSet;
use std::fmt::{self, Display};

use serde::de::{self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};

use super::problem::{Mark, Problem, nearest};
use super::scalar::Typed;
use super::yaml::{Content, Entry, Node, join_key};

/// Most mistakes of one section; more help nobody, and each costs a pass.
const MAX_PROBLEMS: usize = 50;

/// Reads a section. `at` is where it is named, `path` its path, `without` keys that were read already. None when there
/// were mistakes, all of which are in `problems`.
pub(super) fn section<T: de::DeserializeOwned>(
    node: &Node,
    at: Mark,
    path: &str,
    without: &[&str],
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let skip_keys = node.entries().iter().filter(|entry| without.contains(&entry.key.as_str()));
    let mut skip: HashSet<usize> = skip_keys.map(|entry| entry.value.id).collect();
    let mut wrong: HashSet<String> = HashSet::new();
    for pass in 0..MAX_PROBLEMS {
        let error = match T::deserialize(De { node, skip: &skip }) {
            Ok(value) => return (pass == 0).then_some(value),
            Err(error) => error,
        };
        let place = error.path_below(path);
        // A key is not missing when it stands there with a wrong value.
        let wrong_before = error.missing.is_some_and(|key| wrong.contains(&join_key(&place, key)));
        if !wrong_before {
            let at = error.at.unwrap_or(if error.missing.is_some() { at } else { node.at });
            let hint = example(&place, &error).map_or(String::new(), |example| format!(", for example `{example}`"));
            problems.push(Problem { at: Some(at), path: place.clone(), message: error.message + &hint });
        }
        wrong.insert(place);
        match error.item {
            Some(item) => skip.insert(item),
            None => return None,
        };
    }
    None
}

/// What someone may write who left out a key, or wrote something else than a map.
fn example(path: &str, error: &Error) -> Option<&'static str> {
    let key = match error.missing {
        Some(key) => key,
        None if error.message.ends_with("expected a map") || error.message.ends_with("expected a map, or false") => {
            path.rsplit('.').next()?
        }
        None => return None,
    };
    Some(match key {
        "admin" => "admin: {listen: 127.0.0.1:9600}",
        "batch" => "batch: {age: 2s}",
        "bucket" => "bucket: my-logs",
        "create" => "create: {retention_days: 30}",
        "dead_letters" => "dead_letters: {to: archive}",
        "drain" => "drain: {timeout: 25s}",
        "expect" => "expect: {to: [archive]}",
        "level" => "level: {fields: [severity]}",
        "limits" => "limits: {frame: 8MiB}",
        "listen" => "listen: [tcp://127.0.0.1:24224]",
        "log" => "log: {level: debug}",
        "log_group" => "log_group: /ecs/app",
        "object" => "object: {size: 64MiB}",
        "path" => "path: /var/log/app",
        "record" => "record: {log: text}",
        "retry" => "retry: {max: 30s}",
        "tag" => "tag: app-firelens-1",
        "to" if path == "dead_letters" => "to: archive",
        "to" => "to: [archive]",
        _ => return None,
    })
}

/// A step from the outside to the place of an error.
#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// A mistake on its way up to [`section`].
#[derive(Debug)]
pub(super) struct Error {
    message: String,
    /// The key, when one is missing.
    missing: Option<&'static str>,
    at: Option<Mark>,
    /// Innermost first.
    steps: Vec<Step>,
    /// The innermost value that can be left out to go on.
    item: Option<usize>,
}

impl Error {
    fn new(message: String) -> Self {
        Self { message, missing: None, at: None, steps: Vec::new(), item: None }
    }

    fn within(mut self, step: Step, at: Mark, node: &Node) -> Self {
        self.at.get_or_insert(if self.missing.is_some() { at } else { node.at });
        self.steps.push(step);
        self.item.get_or_insert(node.id);
        self
    }

    fn path_below(&self, path: &str) -> String {
        self.steps.iter().rev().fold(path.to_owned(), |path, step| match step {
            Step::Key(key) => join_key(&path, key),
            Step::Index(index) => format!("{path}[{index}]"),
        })
    }
}

impl std::error::Error for Error {}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl de::Error for Error {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = in_words(&expected.to_string());
        let hint = match found {
            Unexpected::Map if expected == "text" => "; text that begins with `{` must stand in quotes",
            Unexpected::Bool(_) if expected == "text" => "; put it in quotes to make it text",
            Unexpected::Str(_) if expected == "a list" => "; a list of one is written `[value]`",
            _ => "",
        };
        Self::new(format!("found {}, expected {expected}{hint}", found_in_words(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("found {}, expected {}", found_in_words(found), in_words(&expected.to_string())))
    }

    fn unknown_variant(found: &str, accepted: &'static [&'static str]) -> Self {
        Self::new(unknown("value", found, accepted.iter().copied()))
    }

    fn unknown_field(found: &str, accepted: &'static [&'static str]) -> Self {
        Self::new(unknown("key", found, accepted.iter().copied()))
    }

    fn missing_field(key: &'static str) -> Self {
        Self { missing: Some(key), ..Self::new(format!("the key `{key}` is missing")) }
    }
}

/// What is said of a name that is none of the accepted ones.
pub(super) fn unknown<'a>(what: &str, found: &str, accepted: impl Iterator<Item = &'a str> + Clone) -> String {
    if found == "<<" {
        return "merge keys (`<<`) are not accepted; write the values once more".into();
    }
    let meant = nearest(found, accepted.clone()).map_or(String::new(), |name| format!(", did you mean `{name}`?"));
    let accepted: Vec<&str> = accepted.collect();
    if accepted.is_empty() {
        return format!("unknown {what} `{found}`; none is accepted here");
    }
    format!(
        "unknown {what} `{found}`{}{} accepted: {}",
        meant,
        if meant.is_empty() { ";" } else { "" },
        accepted.join(", ")
    )
}

fn found_in_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(text) => format!("the text `{text}`"),
        Unexpected::Unit => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a map".into(),
        other => other.to_string(),
    }
}

/// serde's words for what it expects, in the words of someone who writes YAML.
fn in_words(expected: &str) -> String {
    match expected {
        "a string" => "text".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "path string" => "a path".into(),
        text if text.starts_with("struct ") => "a map".into(),
        text if text.starts_with("enum ") => "one of its names".into(),
        text => text.into(),
    }
}

/// The deserializer of one node.
#[derive(Clone, Copy)]
struct De<'a> {
    node: &'a Node,
    skip: &'a HashSet<usize>,
}

impl<'a> De<'a> {
    fn typed(&self) -> Option<Typed<'a>> {
        if let Content::Scalar(scalar) = &self.node.content { Some(scalar.typed()) } else { None }
    }

    fn visit_scalar_asked_for<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::Scalar(scalar) if !scalar.pieces.is_empty() => visit(scalar.typed_as_plain(), visitor),
            _ => self.deserialize_any(visitor),
        }
    }
}

fn visit<'de, V: Visitor<'de>>(typed: Typed<'de>, visitor: V) -> Result<V::Value, Error> {
    match typed {
        Typed::Null => visitor.visit_unit(),
        Typed::Bool(value) => visitor.visit_bool(value),
        Typed::Int(value) => visitor.visit_i64(value),
        Typed::UInt(value) => visitor.visit_u64(value),
        Typed::Float(value) => visitor.visit_f64(value),
        Typed::Text(text) => visitor.visit_borrowed_str(text),
    }
}

/// Where a number or bool is asked for, a substituted scalar is typed as if it were plain.
macro_rules! numbers_and_bools {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.visit_scalar_asked_for(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for De<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::Scalar(scalar) => visit(scalar.typed(), visitor),
            Content::List(items) => visitor.visit_seq(Items { de: self, items: items.iter().enumerate() }),
            Content::Map(entries) => visitor.visit_map(Fields { de: self, entries: entries.iter(), value: None }),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (&self.node.content, self.typed()) {
            // A number is accepted as text, letter by letter: `tags: {team: 007}`, `size: 1048576`.
            (Content::Scalar(scalar), Some(Typed::Int(_) | Typed::UInt(_) | Typed::Float(_))) => {
                visitor.visit_borrowed_str(&scalar.text)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.typed() == Some(Typed::Null) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.content {
            // serde's structs also take lists, by position: no one means that in a config.
            Content::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &"a map")),
            // `archive:` with nothing behind it: all defaults, if there are.
            Content::Scalar(_) if self.typed() == Some(Typed::Null) => {
                visitor.visit_map(Fields { de: self, entries: [].iter(), value: None })
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match (&self.node.content, self.typed()) {
            (_, Some(Typed::Text(text))) => visitor.visit_enum(text.into_deserializer()),
            // `none` is text, but `compression: null` or `level: true` are mistakes worth the list of names.
            (Content::Scalar(scalar), _) => Err(Error::new(unknown("value", &scalar.text, names.iter().copied()))),
            (Content::List(_), _) => Err(Error::new(format!("found a list, accepted: {}", names.join(", ")))),
            (Content::Map(_), _) => Err(Error::new(format!("found a map, accepted: {}", names.join(", ")))),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    numbers_and_bools! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct seq tuple tuple_struct
        map identifier ignored_any
    }
}

struct Items<'a> {
    de: De<'a>,
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let skip = self.de.skip;
        let Some((index, node)) = self.items.find(|(_, node)| !skip.contains(&node.id)) else { return Ok(None) };
        let value = seed.deserialize(De { node, skip });
        value.map(Some).map_err(|error| error.within(Step::Index(index), node.at, node))
    }
}

struct Fields<'a> {
    de: De<'a>,
    entries: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
}

impl<'de> de::MapAccess<'de> for Fields<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let skip = self.de.skip;
        let Some(entry) = self.entries.find(|entry| !skip.contains(&entry.value.id)) else { return Ok(None) };
        self.value = Some(entry);
        let key = seed.deserialize(de::value::BorrowedStrDeserializer::<Error>::new(&entry.key));
        key.map(Some).map_err(|error| {
            let error = Error { at: Some(entry.at), ..error };
            error.within(Step::Key(entry.key.clone()), entry.at, &entry.value)
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let entry = self.value.take().expect("serde asks for a value behind its key");
        let value = seed.deserialize(De { node: &entry.value, skip: self.de.skip });
        value.map_err(|error| error.within(Step::Key(entry.key.clone()), entry.at, &entry.value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::super::yaml;
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        count: u8,
        #[serde(default)]
        inner: Inner,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        tags: BTreeMap<String, String>,
        kind: Option<Kind>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        on: bool,
        size: u32,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        First,
        Second,
    }

    fn read(text: &str) -> Result<Outer, Vec<String>> {
        let mut problems = Vec::new();
        let root = yaml::parse(text, &mut problems).expect("valid YAML");
        let value = section(&root, root.at, "top", &["skipped"], &mut problems);
        assert_eq!(value.is_some(), problems.is_empty(), "{problems:?}");
        value.ok_or_else(|| {
            let line = |problem: Problem| {
                let at = problem.at.expect("has a place");
                format!("{}:{} {}: {}", at.line, at.column, problem.path, problem.message)
            };
            problems.into_iter().map(line).collect()
        })
    }

    #[test]
    fn reads_plain_structs() {
        let read = read(
            "{name: 12, count: 3, inner: {on: true}, list: [{size: 1}, ], tags: {a: 007}, kind: second, skipped: 1}",
        );
        let expected = Outer {
            name: "12".into(),
            count: 3,
            inner: Inner { on: true, size: 0 },
            list: vec![Inner { on: false, size: 1 }],
            tags: [("a".to_owned(), "007".to_owned())].into(),
            kind: Some(Kind::Second),
        };
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn reports_every_mistake_of_a_section_in_one_run() {
        let text = "nam: x\ncount: many\ninner: {on: yes, siez: 1}\nlist:\n  - size: -1\n  - [1]\nkind: third\ntags: {a: [], b: true}\n";
        insta::assert_snapshot!(read(text).unwrap_err().join("\n"), @r#"
    1:1 top.nam: unknown key `nam`, did you mean `name`? accepted: name, count, inner, list, tags, kind
    2:8 top.count: found the text `many`, expected a whole number
    3:13 top.inner.on: found the text `yes`, expected true or false
    3:18 top.inner.siez: unknown key `siez`, did you mean `size`? accepted: on, size
    5:11 top.list[0].size: found the number -1, expected a whole number
    6:5 top.list[1]: found a list, expected a map
    7:7 top.kind: unknown value `third`; accepted: first, second
    8:11 top.tags.a: found a list, expected text
    8:18 top.tags.b: found `true`, expected text; put it in quotes to make it text
    1:1 top: the key `name` is missing
    "#);
    }

    #[test]
    fn says_that_a_key_is_missing_once_and_where() {
        insta::assert_snapshot!(read("name: []\ninner: 5\n").unwrap_err().join("\n"), @r#"
    1:7 top.name: found a list, expected text
    2:8 top.inner: found the number 5, expected a map
    "#);
    }
}
