//! Which of a record's fields a sink writes: all of them, only those that are named, or all but those.
//!
//! Names are those of the record's top level as lines have them, `ecs_*` fields included. The envelope (`time`, `tag`) is no
//! field of the record and always stands; a record's own are `record_time`, `record_tag`. What `lift` brings up from `log`
//! goes with `log`. Fields that never change are the same bytes in every line: a sink that leaves them out has less to
//! compress, to store and to pay for.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::record::keys::KeyFilter;

/// Which fields of a record a sink writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "Written")]
#[schemars(with = "Written")]
pub struct Fields(Option<Choice>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Choice {
    /// Whether the names are what stays.
    keep: bool,
    names: Vec<String>,
    filter: KeyFilter,
}

/// Either `keep` or `drop`: exact names at the record's top level. `time` and `tag` always stand; a record's own are
/// `record_time` and `record_tag`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Fields")]
struct Written {
    /// Nothing but these fields is written, beside `time` and `tag`.
    keep: Option<Vec<String>>,
    /// Everything but these fields is written.
    drop: Option<Vec<String>>,
}

impl TryFrom<Written> for Fields {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let (keep, names) = match (written.keep, written.drop) {
            (Some(names), None) => (true, names),
            (None, Some(names)) => (false, names),
            (None, None) => {
                return Err("neither `keep` nor `drop` is given; accepted is a list of names for one of them".into());
            }
            (Some(_), Some(_)) => return Err("`keep` and `drop` exclude each other; accepted is one of them".into()),
        };
        if names.is_empty() {
            return Err("the list is empty; name at least one field, or leave `fields` out".into());
        }
        if let Some(name) = names.iter().find(|name| matches!(name.as_str(), "time" | "tag")) {
            return Err(format!(
                "`{name}` is written in any case and need not be named; a record's own `{name}` is accepted as `record_{name}`"
            ));
        }
        if let Some((_, name)) =
            names.iter().enumerate().find(|(n, name)| name.is_empty() || names[..*n].contains(name))
        {
            return Err(format!("`{name}` is empty or stands twice; accepted are names of fields, each once"));
        }
        Ok(Self::of(keep, names))
    }
}

impl Fields {
    fn of(keep: bool, names: Vec<String>) -> Self {
        let mut filter = KeyFilter::default();
        names.iter().for_each(|name| filter.add(name.as_bytes()));
        Self(Some(Choice { keep, names, filter }))
    }

    /// Whether every field is written.
    #[inline]
    pub(super) fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the field of this name is written; none for a key that is no text.
    #[inline]
    pub(super) fn has(&self, key: Option<&[u8]>) -> bool {
        let Some(Choice { keep, names, filter }) = &self.0 else { return true };
        let named = |key: &[u8]| {
            let key = match key {
                b"time" => b"record_time".as_slice(),
                b"tag" => b"record_tag",
                key => key,
            };
            filter.may_have(key) && names.iter().any(|name| name.as_bytes() == key)
        };
        key.is_some_and(named) == *keep
    }
}

impl std::fmt::Display for Fields {
    /// In words: `all fields`, `only log`, `all fields but container_id, source`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            None => f.write_str("all fields"),
            Some(Choice { keep: true, names, .. }) => write!(f, "only {}", names.join(", ")),
            Some(Choice { names, .. }) => write!(f, "all fields but {}", names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_config_may_say() {
        let read = |json: &str| serde_json::from_str::<Fields>(json).map_err(|error| error.to_string());
        let keep = read(r#"{"keep": ["log", "container_name"]}"#).expect("a list");
        assert_eq!(keep.to_string(), "only log, container_name");
        let has = |key: &str| keep.has(Some(key.as_bytes()));
        assert_eq!(["log", "LOG", "container_id", ""].map(has), [true, false, false, false]);
        assert!(!keep.has(None));
        let drop = read(r#"{"drop": ["source"]}"#).expect("a list");
        assert_eq!(drop.to_string(), "all fields but source");
        let own = read(r#"{"drop": ["record_tag"]}"#).expect("a list");
        assert!(!own.has(Some(b"tag")) && !own.has(Some(b"record_tag")) && own.has(Some(b"time")));
        assert!(drop.has(None) && drop.has(Some(b"log")) && !drop.has(Some(b"source")));
        assert!(Fields::default().is_all() && Fields::default().has(None) && keep != drop);
        for (wrong, what) in [
            ("{}", "neither `keep` nor `drop`"),
            (r#"{"keep": ["a"], "drop": ["b"]}"#, "exclude each other"),
            (r#"{"drop": []}"#, "the list is empty"),
            (r#"{"drop": ["log", "time"]}"#, "a record's own `time` is accepted as `record_time`"),
            (r#"{"drop": ["log", "log"]}"#, "`log` is empty or stands twice"),
            (r#"{"keep": [""]}"#, "`` is empty"),
            (r#"{"kepe": ["a"]}"#, "unknown field `kepe`"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
