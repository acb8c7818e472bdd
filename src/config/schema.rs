//! The JSON Schema of a config, for editors: from the doc comments and types of the sections.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::file::{
    AdminSection, DeadLettersSection, DrainSection, LogSection, Metadata, RouteSection, SinkKind, SourceKind,
    SpoolSection, TestSection,
};
use super::read::SECTIONS;
use super::value::Size;
use crate::record::level::LevelRules;
use crate::sink::cloudwatch_logs::CloudWatchLogsConfig;
use crate::sink::file::FileConfig;
use crate::sink::s3::S3Config;
use crate::sink::stdout::StdoutConfig;
use crate::source::forward::ForwardConfig;

/// The schema. Draft 7 is what editors' YAML plug-ins know.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft07().into_generator();
    let mut properties = Map::new();
    for (name, about) in SECTIONS {
        let mut section = section(name, &mut generator);
        if let Value::Object(section) = &mut section {
            section.insert("description".into(), about.into());
        }
        properties.insert(name.into(), section);
    }
    let mut definitions = Value::Object(generator.take_definitions(true));
    let mut properties = Value::Object(properties);
    allow_variables(&mut definitions);
    allow_variables(&mut properties);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "logweir",
        "type": "object",
        "properties": properties,
        "required": ["sources", "routes", "sinks"],
        "additionalProperties": false,
        "definitions": definitions,
    })
}

fn section(name: &str, generator: &mut SchemaGenerator) -> Value {
    match name {
        "sources" => named(vec![(SourceKind::TYPES[0], ForwardConfig::json_schema(generator))]),
        "sinks" => {
            let schemas = [
                S3Config::json_schema(generator),
                CloudWatchLogsConfig::json_schema(generator),
                FileConfig::json_schema(generator),
                StdoutConfig::json_schema(generator),
            ];
            named(SinkKind::TYPES.into_iter().zip(schemas).collect())
        }
        "routes" => json!({"type": "array", "minItems": 1, "items": reference::<RouteSection>(generator)}),
        "tests" => json!({"type": "array", "items": reference::<TestSection>(generator)}),
        "dead_letters" => all_of(reference::<DeadLettersSection>(generator)),
        "spool" => json!({"anyOf": [{"enum": ["memory"]}, reference::<SpoolSection>(generator)]}),
        "memory" => all_of(reference::<Size>(generator)),
        "admin" => json!({"anyOf": [reference::<AdminSection>(generator), {"enum": ["none", false]}]}),
        "drain" => all_of(reference::<DrainSection>(generator)),
        "metadata" => all_of(reference::<Metadata>(generator)),
        "level" => all_of(reference::<LevelRules>(generator)),
        _ => all_of(reference::<LogSection>(generator)),
    }
}

fn reference<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// In draft 7 nothing beside `$ref` counts, a description neither.
fn all_of(reference: Value) -> Value {
    json!({"allOf": [reference]})
}

/// A map of names: where a name is a type, `type` may be left out, elsewhere it says which schema holds.
fn named(types: Vec<(&str, Schema)>) -> Value {
    let mut by_name = Map::new();
    let mut by_type = Vec::new();
    for (name, schema) in types {
        let mut value = schema.to_value();
        if let Some(properties) = value.get_mut("properties").and_then(Value::as_object_mut) {
            properties.shift_insert(0, "type".into(), json!({"const": name, "description": "Which kind this is."}));
        }
        by_name.insert(name.into(), value.clone());
        if let Some(object) = value.as_object_mut() {
            let required = object.entry("required").or_insert_with(|| json!([]));
            if let Some(required) = required.as_array_mut() {
                required.insert(0, "type".into());
            }
        }
        by_type.push(value);
    }
    json!({
        "type": "object",
        "minProperties": 1,
        "properties": by_name,
        "additionalProperties": {"oneOf": by_type},
    })
}

/// Where a number or bool is accepted, `${VAR}` is too: it gets its type when it is substituted.
fn allow_variables(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(allow_variables),
        Value::Object(object) => {
            object.values_mut().for_each(allow_variables);
            let scalar = |name: &Value| matches!(name.as_str(), Some("integer" | "number" | "boolean"));
            let Some(kind) = object.get_mut("type") else { return };
            let types = match kind {
                Value::String(_) if scalar(kind) => vec![kind.clone()],
                Value::Array(types) if types.iter().any(scalar) => types.clone(),
                _ => return,
            };
            // A type that takes any text, such as a size, takes variables already.
            if !types.iter().any(|name| name == "string") {
                *kind = Value::Array(types.into_iter().chain([json!("string")]).collect());
                object.insert("pattern".into(), json!(r"^\$\{.*\}$"));
            }
        }
        _ => {}
    }
}
