//! The shape that `src/lib.rs` promises: imports go with the data, and the parts that decide on bytes know neither a
//! runtime nor AWS.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may import of the crate. `config::value` and `config::switch` are counted as a module of their
/// own, since every section as written uses them.
const MAY_IMPORT: [(&str, &[&str]); 18] = [
    ("record", &[]),
    ("route", &["record"]),
    ("encode", &["record"]),
    ("value", &["record"]),
    ("ledger", &["encode"]),
    ("clock", &["encode", "record"]),
    ("http", &[]),
    ("watchdog", &[]),
    ("seldom", &[]),
    ("source", &["clock", "encode", "record", "value"]),
    ("spool", &["encode", "ledger", "record", "seldom", "watchdog"]),
    ("metrics", &["clock", "encode", "ledger", "source", "spool"]),
    ("aws", &[]),
    ("sink", &["aws", "clock", "encode", "ledger", "metrics", "record", "seldom", "spool", "value", "watchdog"]),
    ("config", &["aws", "encode", "record", "route", "sink", "source", "spool", "value"]),
    ("cost", &["config", "encode", "record", "route", "sink", "source"]),
    ("admin", &["clock", "encode", "ledger", "metrics", "record", "spool"]),
    (
        "pipeline",
        &[
            "admin", "clock", "config", "encode", "http", "ledger", "metrics", "record", "route", "seldom", "sink",
            "source", "spool",
        ],
    ),
];

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every file below `src`, with its path from there and its text without comments.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a readable file");
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).fold(String::new(), |mut code, line| {
                code.push_str(line);
                code.push('\n');
                code
            });
        let name = path.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
        (name, code)
    };
    found.into_iter().map(read).collect()
}

fn is_test(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    name.contains("/tests/") || last == "tests.rs" || last == "reference.rs"
}

fn module(name: &str) -> &str {
    if ["config/value.rs", "config/switch.rs"].contains(&name) {
        return "value";
    }
    name.split(['/', '.']).next().unwrap_or(name)
}

/// Modules that are named after `crate::` in a text; tests at the end of a file are left out.
fn imports(code: &str) -> BTreeSet<String> {
    let code = code.split("#[cfg(test)]\nmod tests").next().unwrap_or(code);
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let name =
            if rest.starts_with("config::value") || rest.starts_with("config::switch") { "value".into() } else { name };
        found.insert(name);
    }
    found
}

#[test]
fn imports_go_with_the_data() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.into_iter().collect();
    let mut wrong = Vec::new();
    for (name, code) in sources().iter().filter(|(name, _)| !is_test(name)) {
        let from = module(name);
        let Some(may) = allowed.get(from) else { continue };
        for to in imports(code) {
            if to != from && allowed.contains_key(to.as_str()) && !may.contains(&to.as_str()) || to == "cli" {
                wrong.push(format!("{name} imports {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn record_route_and_encode_know_neither_a_runtime_nor_aws() {
    for (name, code) in sources() {
        if ["record", "route", "encode"].contains(&module(&name)) {
            for foreign in ["tokio::", "aws_sdk", "aws_config", "hyper::", "SystemTime", "Instant::now"] {
                assert!(!code.contains(foreign), "{name} uses {foreign}");
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    for path in found.into_iter().filter(|path| !is_test(&path.to_string_lossy())) {
        let text = fs::read_to_string(&path).expect("a readable file");
        assert!(text.starts_with("//!"), "{} does not open with a //! paragraph", path.display());
    }
}
