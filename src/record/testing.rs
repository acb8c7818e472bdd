//! Records for tests, written as JSON.

use std::sync::Arc;

use rmpv::Value;

use super::{EcsMetadata, Record, Tag};

/// A record that owns its bytes.
#[derive(Debug)]
pub(crate) struct Sample {
    tag: Tag,
    pub(crate) map: Vec<u8>,
    ecs: Option<Arc<EcsMetadata>>,
}

impl Sample {
    /// From a JSON object.
    pub(crate) fn json(text: &str) -> Self {
        let value: serde_json::Value = serde_json::from_str(text).expect("the test writes valid JSON");
        Self::value(&pack(&value))
    }

    /// With this text under `log`.
    pub(crate) fn log(text: &str) -> Self {
        Self::pairs([("log", Value::from(text))])
    }

    /// From pairs; keys may stand twice.
    pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Self::value(&Value::Map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect()))
    }

    pub(crate) fn value(value: &Value) -> Self {
        let mut map = Vec::new();
        rmpv::encode::write_value(&mut map, value).expect("a vector takes all");
        Self::bytes(map)
    }

    pub(crate) fn bytes(map: Vec<u8>) -> Self {
        Self { tag: Tag::from("app-firelens-0123"), map, ecs: None }
    }

    pub(crate) fn tag(mut self, tag: &str) -> Self {
        self.tag = Tag::from(tag);
        self
    }

    pub(crate) fn ecs(mut self, cluster: &str) -> Self {
        self.ecs = Some(Arc::new(EcsMetadata { cluster: cluster.into(), ..EcsMetadata::default() }));
        self
    }

    pub(crate) fn record(&self) -> Record<'_> {
        Record {
            tag: &self.tag,
            source: "forward",
            time: 0,
            received: 0,
            map: &self.map,
            ecs: self.ecs.as_ref(),
            json: Default::default(),
        }
    }
}

/// JSON as msgpack.
pub(crate) fn pack(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(bool) => Value::from(*bool),
        serde_json::Value::Number(n) => match (n.as_u64(), n.as_i64(), n.as_f64()) {
            (Some(n), ..) => Value::from(n),
            (_, Some(n), _) => Value::from(n),
            (.., n) => Value::from(n.unwrap_or(0.0)),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(list) => Value::Array(list.iter().map(pack).collect()),
        serde_json::Value::Object(map) => {
            Value::Map(map.iter().map(|(key, value)| (key.as_str().into(), pack(value))).collect())
        }
    }
}
