//! What the sinks' sections in the config share.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{Error as Unknown, StrDeserializer};
use serde::de::{Deserializer, Error, IntoDeserializer, MapAccess, Visitor};

use crate::config::value::{Size, Span};
use crate::spool::WhenFull;

/// When an object is closed.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectConfig {
    /// Bytes as stored, after compression.
    pub size: Size,
    /// Time since the object's first record.
    pub age: Span,
}

impl Default for ObjectConfig {
    fn default() -> Self {
        Self { size: Size::mib(64), age: Span::secs(300) }
    }
}

/// How long a sink tries.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// A request is given up, and its records are counted as dropped, when it has failed for so long.
    pub deadline: Span,
    /// The first pause; each further one doubles, with jitter.
    pub initial: Span,
    /// The longest pause.
    pub max: Span,
    /// The longest that one attempt may take.
    pub attempt_timeout: Span,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            deadline: Span::secs(24 * 3600),
            initial: Span(std::time::Duration::from_millis(250)),
            max: Span::secs(60),
            attempt_timeout: Span::secs(30),
        }
    }
}

const ACCEPTED: &str = "accepted are block, drop_oldest, drop_newest and {divert: SINK}";

/// What happens when a sink's queue is full, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FullPolicy {
    /// The queue deals with it.
    Queue(WhenFull),
    /// Further records go to the sink of this name.
    Divert(String),
}

impl FullPolicy {
    /// What it means for the queue.
    pub fn when_full(&self) -> WhenFull {
        match self {
            Self::Queue(when_full) => *when_full,
            Self::Divert(_) => WhenFull::Divert,
        }
    }
}

impl<'de> Deserialize<'de> for FullPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = FullPolicy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a policy ({ACCEPTED})")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<FullPolicy, E> {
        let known: StrDeserializer<'_, Unknown> = name.into_deserializer();
        let policy = WhenFull::deserialize(known).map(FullPolicy::Queue);
        policy.map_err(|_| E::custom(format!("`{name}` is no policy; {ACCEPTED}")))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FullPolicy, A::Error> {
        let policy = match map.next_entry::<String, String>()? {
            Some((key, sink)) if key == "divert" => FullPolicy::Divert(sink),
            Some((key, _)) => return Err(A::Error::custom(format!("`{key}` is no policy with a sink; {ACCEPTED}"))),
            None => return Err(A::Error::custom(format!("no policy is named; {ACCEPTED}"))),
        };
        match map.next_key::<String>()? {
            Some(second) => Err(A::Error::custom(format!("`{second}` stands beside `divert`; {ACCEPTED}"))),
            None => Ok(policy),
        }
    }
}

impl JsonSchema for FullPolicy {
    fn schema_name() -> Cow<'static, str> {
        "FullPolicy".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [generator.subschema_for::<WhenFull>(), {
            "description": "Further records go to this s3 or file sink, unless their route sends them there already.",
            "type": "object",
            "properties": {"divert": {"type": "string"}},
            "required": ["divert"],
            "additionalProperties": false,
        }]})
    }
}
