//! From the tree to the file as written: each section on its own, so that a mistake in one does not hide those in the
//! others.

use super::de::{section, unknown};
use super::file::{AdminSection, File, SinkKind, SourceKind, SpoolSection};
use super::problem::Problem;
use super::scalar::Typed;
use super::yaml::{Content, Entry, Node, join_key};

/// The sections of a config and what each is for; the schema has the same.
pub(super) const SECTIONS: [(&str, &str); 12] = [
    ("sources", "Where records come from: a map of names; `type` may be left out where the name is a type."),
    ("routes", "Which sinks take a record, top to bottom: the first match takes it, unless it says `continue: true`."),
    ("sinks", "Where records go: a map of names; `type` may be left out where the name is a type."),
    (
        "dead_letters",
        "Where records go that are rejected, expired, undecodable or given up; without it: nowhere, counted.",
    ),
    ("spool", "Where records wait: `memory` (default), or a directory on disk, which a crash does not empty."),
    ("memory", "The whole process, for example 48MiB; default 60 % of the cgroup's limit, 256MiB without one."),
    ("admin", "Health, status and metrics over HTTP; `none` switches it off."),
    ("drain", "What happens between SIGTERM and the end."),
    ("metadata", "Where the ecs_* fields come from; default `ecs` in an ECS task, else `none`."),
    ("level", "Where a record's severity is looked for."),
    ("log", "logweir's own log, on standard error."),
    ("tests", "Records and where they must go; `logweir test` runs them."),
];

/// Reads all sections. What has mistakes is left out of the answer and described in `problems`.
pub(super) fn read(root: &Node, problems: &mut Vec<Problem>) -> File {
    let mut file = File { admin: Some(AdminSection::default()), ..File::default() };
    if !matches!(root.content, Content::Map(_)) {
        let message = "a config is a map of sections: `sources`, `routes`, `sinks`, …".into();
        problems.push(Problem { at: Some(root.at), path: String::new(), message });
        return file;
    }
    for entry in root.entries() {
        let (node, at, key) = (&entry.value, entry.at, entry.key.as_str());
        match key {
            "sources" => file.sources = map(entry, problems, source),
            "sinks" => file.sinks = map(entry, problems, sink),
            "routes" => file.routes = list(entry, problems),
            "tests" => file.tests = list(entry, problems),
            "dead_letters" => file.dead_letters = section(node, at, key, &[], problems),
            "spool" if node.text() == Some("memory") => {}
            "spool" => file.spool = spool(entry, problems),
            "admin" if is_off(node) => file.admin = None,
            "admin" => file.admin = section(node, at, key, &[], problems),
            "memory" => file.memory = section(node, at, key, &[], problems),
            "metadata" => file.metadata = section(node, at, key, &[], problems),
            "drain" => file.drain = section(node, at, key, &[], problems).unwrap_or_default(),
            "level" => file.level = section(node, at, key, &[], problems).unwrap_or_default(),
            "log" => file.log = section(node, at, key, &[], problems).unwrap_or_default(),
            _ => {
                let message = unknown("section", key, SECTIONS.iter().map(|(name, _)| *name));
                problems.push(Problem { at: Some(at), path: key.to_owned(), message });
            }
        }
    }
    file
}

/// `none`, `false`, or nothing at all.
fn is_off(node: &Node) -> bool {
    let Content::Scalar(scalar) = &node.content else { return false };
    matches!(scalar.typed(), Typed::Bool(false) | Typed::Text("none"))
}

/// A map of names.
fn map<T>(
    entry: &Entry,
    problems: &mut Vec<Problem>,
    read: fn(&Entry, &str, &mut Vec<Problem>) -> Option<T>,
) -> Vec<(String, T)> {
    let Content::Map(entries) = &entry.value.content else {
        let message = format!("`{}` is a map of names, such as `{}:`", entry.key, example_name(&entry.key));
        problems.push(Problem { at: Some(entry.value.at), path: entry.key.clone(), message });
        return Vec::new();
    };
    let one = |item: &Entry| {
        let path = join_key(&entry.key, &item.key);
        read(item, &path, problems).map(|value| (item.key.clone(), value))
    };
    entries.iter().filter_map(one).collect()
}

fn example_name(section: &str) -> &'static str {
    if section == "sources" { "forward" } else { "archive" }
}

/// A list, each item with its index.
fn list<T: serde::de::DeserializeOwned>(entry: &Entry, problems: &mut Vec<Problem>) -> Vec<(usize, T)> {
    let Content::List(items) = &entry.value.content else {
        let message = format!("`{}` is a list; each item begins with `-`", entry.key);
        problems.push(Problem { at: Some(entry.value.at), path: entry.key.clone(), message });
        return Vec::new();
    };
    let mut one = |(index, node): (usize, &Node)| {
        let path = format!("{}[{index}]", entry.key);
        section(node, node.at, &path, &[], problems).map(|value| (index, value))
    };
    items.iter().enumerate().filter_map(&mut one).collect()
}

fn source(entry: &Entry, path: &str, problems: &mut Vec<Problem>) -> Option<SourceKind> {
    match type_of(entry, path, &SourceKind::TYPES, problems)? {
        "forward" => typed(entry, path, problems).map(SourceKind::Forward),
        _ => None,
    }
}

fn sink(entry: &Entry, path: &str, problems: &mut Vec<Problem>) -> Option<SinkKind> {
    match type_of(entry, path, &SinkKind::TYPES, problems)? {
        "s3" => typed(entry, path, problems).map(SinkKind::S3),
        "cloudwatch_logs" => typed(entry, path, problems).map(SinkKind::CloudWatchLogs),
        "file" => typed(entry, path, problems).map(SinkKind::File),
        "stdout" => typed(entry, path, problems).map(SinkKind::Stdout),
        _ => None,
    }
}

/// The section without its `type`.
fn typed<T: serde::de::DeserializeOwned>(entry: &Entry, path: &str, problems: &mut Vec<Problem>) -> Option<T> {
    section(&entry.value, entry.at, path, &["type"], problems)
}

/// What `type` says, or the name where it is a type.
fn type_of(entry: &Entry, path: &str, types: &[&'static str], problems: &mut Vec<Problem>) -> Option<&'static str> {
    let known = |text: &str| types.iter().copied().find(|name| *name == text);
    let (at, path, message) = match entry.value.get("type") {
        Some(given) => match given.value.text() {
            Some(text) if known(text).is_some() => return known(text),
            Some(text) => (given.value.at, join_key(path, "type"), unknown("type", text, types.iter().copied())),
            None => (given.value.at, join_key(path, "type"), format!("a type is text; accepted: {}", types.join(", "))),
        },
        None if known(&entry.key).is_some() => return known(&entry.key),
        None => {
            let example = types.first().copied().unwrap_or_default();
            let accepted = types.join(", ");
            let message = format!(
                "the key `type` is missing, and the name is no type; accepted: {accepted}; write for example `type: \
                 {example}`"
            );
            (entry.at, path.to_owned(), message)
        }
    };
    problems.push(Problem { at: Some(at), path, message });
    None
}

fn spool(entry: &Entry, problems: &mut Vec<Problem>) -> Option<SpoolSection> {
    if matches!(entry.value.content, Content::Map(_)) {
        return section(&entry.value, entry.at, &entry.key, &[], problems);
    }
    let message = "accepted: `memory`, or a directory: `spool: {path: /var/lib/logweir, size: 2GiB}`".into();
    problems.push(Problem { at: Some(entry.value.at), path: entry.key.clone(), message });
    None
}
