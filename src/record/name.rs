//! Names that rules and templates may use: built-ins (`tag`, `container`, `level`, …) and paths into the record.

use std::borrow::Cow;

use super::Record;
use super::level::{Level, LevelRules};
use super::path::Path;

/// A parsed name.
///
/// `record` is the record itself: `record.tag` is its field `tag`, where `tag` alone is the tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// `tag`: the whole tag.
    Tag,
    /// `source_name`: the source's name in the config.
    Source,
    /// `container`: what stands before the last `-firelens-` of the tag, else empty.
    Container,
    /// `task_id`: what stands behind it, else empty.
    TaskId,
    /// `level`: the severity.
    Level,
    /// A field of the record, or of JSON inside it; `ecs_*` fields also come from the task metadata.
    Field(Path),
}

/// A value found in a record, or in JSON inside one of its strings.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Found<'a> {
    Nil,
    Bool(bool),
    /// A negative integer.
    Int(i64),
    UInt(u64),
    Float(f64),
    /// Text (a string or binary); its bytes may be no UTF-8.
    Str(Cow<'a, [u8]>),
    Array,
    Map,
    /// An extension.
    Other,
}

impl Found<'_> {
    /// The same value with nothing borrowed.
    pub fn into_owned(self) -> Found<'static> {
        match self {
            Self::Nil => Found::Nil,
            Self::Bool(value) => Found::Bool(value),
            Self::Int(value) => Found::Int(value),
            Self::UInt(value) => Found::UInt(value),
            Self::Float(value) => Found::Float(value),
            Self::Str(text) => Found::Str(Cow::Owned(text.into_owned())),
            Self::Array => Found::Array,
            Self::Map => Found::Map,
            Self::Other => Found::Other,
        }
    }

    /// The type in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "null",
            Self::Bool(_) => "a bool",
            Self::Int(_) | Self::UInt(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Str(_) => "a string",
            Self::Array => "an array",
            Self::Map => "a map",
            Self::Other => "an extension",
        }
    }
}

impl Level {
    /// The level as text, as [`Name::resolve`] gives it.
    pub(crate) fn found(self) -> Found<'static> {
        Found::Str(Cow::Borrowed(self.as_str().as_bytes()))
    }
}

impl Name {
    /// Parses `container_name`, `log.status`, `record["@timestamp"]`, `tag`, …
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        let mut rest = text;
        loop {
            let (key, after) = identifier(rest).ok_or_else(|| unreadable(text, rest))?;
            keys.push(key.to_owned());
            rest = after;
            while let Some(inside) = rest.strip_prefix('[') {
                let (key, after) = quoted(inside).ok_or_else(|| unreadable(text, inside))?;
                keys.push(key);
                rest = after;
            }
            match rest.strip_prefix('.') {
                Some(after) => rest = after,
                None if rest.is_empty() => return Self::from_keys(keys),
                None => return Err(unreadable(text, rest)),
            }
        }
    }

    /// A name from its parts; the first may be a built-in or `record`.
    pub fn from_keys(mut keys: Vec<String>) -> Result<Self, String> {
        let first = keys.first().cloned().ok_or("a name is empty; write for example log.status")?;
        let builtin = match first.as_str() {
            "record" => {
                keys.remove(0);
                if keys.is_empty() {
                    return Err("`record` is the whole record; write a field of it, for example record.tag".into());
                }
                None
            }
            "tag" => Some(Self::Tag),
            "source_name" => Some(Self::Source),
            "container" => Some(Self::Container),
            "task_id" => Some(Self::TaskId),
            "level" => Some(Self::Level),
            _ => None,
        };
        match builtin {
            None => Path::new(keys).map(Self::Field),
            Some(name) if keys.len() == 1 => Ok(name),
            Some(_) => Err(format!(
                "`{first}` is built in and has no fields; for the record's own field of this name write record.{}",
                keys.join(".")
            )),
        }
    }

    /// Its value in a record.
    pub fn resolve<'a>(&self, record: &Record<'a>, levels: &LevelRules) -> Option<Found<'a>> {
        let text = |text: &'a str| Some(Found::Str(Cow::Borrowed(text.as_bytes())));
        match self {
            Self::Tag => text(record.tag.as_str()),
            Self::Source => text(record.source),
            Self::Container => text(record.tag.container()),
            Self::TaskId => text(record.tag.task_id()),
            Self::Level => levels.level(record).map(Level::found),
            Self::Field(path) => path.resolve(record),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag => f.write_str("tag"),
            Self::Source => f.write_str("source_name"),
            Self::Container => f.write_str("container"),
            Self::TaskId => f.write_str("task_id"),
            Self::Level => f.write_str("level"),
            Self::Field(path) => {
                // Spelled so that parsing it gives the same name again.
                let first = path.keys().next().unwrap_or_default();
                let hidden = matches!(first, "record" | "tag" | "source_name" | "container" | "task_id" | "level");
                if hidden || !is_identifier(first) {
                    f.write_str("record")?;
                }
                for (n, key) in path.keys().enumerate() {
                    match (is_identifier(key), n == 0 && !hidden) {
                        (true, true) => f.write_str(key)?,
                        (true, false) => write!(f, ".{key}")?,
                        (false, _) => write!(f, "[{key:?}]")?,
                    }
                }
                Ok(())
            }
        }
    }
}

fn is_identifier(text: &str) -> bool {
    identifier(text).is_some_and(|(_, rest)| rest.is_empty())
}

fn identifier(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let digit = text.starts_with(|c: char| c.is_ascii_digit());
    (end > 0 && !digit).then(|| text.split_at(end))
}

/// The key in `"key"]` or `'key']`, with `\"`, `\'` and `\\` for what they stand for, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut chars = text.chars();
    let quote = chars.next().filter(|c| *c == '"' || *c == '\'')?;
    let mut key = String::new();
    loop {
        match chars.next()? {
            '\\' => key.push(chars.next().filter(|c| matches!(c, '"' | '\'' | '\\'))?),
            c if c == quote => return Some((key, chars.as_str().strip_prefix(']')?)),
            c => key.push(c),
        }
    }
}

fn unreadable(text: &str, rest: &str) -> String {
    let at = text.len() - rest.len();
    let found = rest.chars().next().map_or("the end".to_owned(), |c| format!("`{c}`"));
    format!("`{text}` is no name: {found} at byte {at}; write for example log.status or record[\"odd key\"]")
}

#[cfg(test)]
mod tests;
