//! Sections that may be switched off with `false` instead of a map.

use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// A section with an off position. Its default is on.
pub trait Switch: Default {
    /// Switched off.
    fn off() -> Self;
}

/// For `deserialize_with`: `false`, `true` (the defaults), or the section's map.
pub fn map_or_false<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Switch + Deserialize<'de>,
{
    deserializer.deserialize_any(Written(PhantomData))
}

struct Written<T>(PhantomData<T>);

impl<'de, T: Switch + Deserialize<'de>> Visitor<'de> for Written<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map, or false")
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<T, E> {
        Ok(if on { T::default() } else { T::off() })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        // From a variable in quotes.
        match text {
            "false" => Ok(T::off()),
            "true" => Ok(T::default()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// For `schema_with`.
pub fn map_or_false_schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [generator.subschema_for::<T>(), {"type": "boolean"}]})
}
