//! Whole configs: what each mistake looks like to the user, what the examples mean, and that no text panics.

use proptest::prelude::*;

use super::plan::{MemoryOrigin, Metadata};
use super::*;
use crate::spool::WhenFull;

const GOOD: &str = "\
sources:
  forward: {listen: [tcp://127.0.0.1:24224]}
routes:
  - {name: errors, when: level >= WARN, to: [alerts, archive]}
  - {name: rest, to: [archive]}
sinks:
  alerts: {type: cloudwatch_logs, log_group: /ecs/app, create: {retention_days: 30}}
  archive: {type: s3, bucket: my-logs}
memory: 64MiB
";

fn host(vars: &'static [(&'static str, &'static str)]) -> Host<'static> {
    let lookup = move |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Host { vars: Box::leak(Box::new(lookup)), memory_limit: Some(512 << 20) }
}

fn errors(text: &str) -> String {
    let error = load("c.yaml", text, &host(&[("LOG_BUCKET", "my-logs")])).expect_err("a mistake");
    format!("{error}")
}

/// The good config with one text replaced.
fn errors_with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    errors(&GOOD.replacen(from, to, 1))
}

fn good(text: &str) -> Plan {
    load("c.yaml", text, &host(&[("LOG_BUCKET", "my-logs")])).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn an_unknown_key_names_the_accepted_ones() {
    insta::assert_snapshot!(errors_with("bucket: my-logs", "bucket: my-logs, objekt: {size: 1MiB}"), @"");
    insta::assert_snapshot!(errors_with("memory", "memroy"), @"");
}

#[test]
fn a_wrong_type_says_what_was_found() {
    insta::assert_snapshot!(errors_with("bucket: my-logs", "bucket: [my-logs]"), @"");
    insta::assert_snapshot!(errors_with("to: [archive]", "to: archive"), @"");
    insta::assert_snapshot!(errors_with("memory: 64MiB", "memory: lots"), @"");
}

#[test]
fn an_unknown_sink_in_a_route_is_an_error() {
    insta::assert_snapshot!(errors_with("to: [archive]", "to: [archiv]"), @"");
}

#[test]
fn every_route_must_be_reached_and_every_record_must_meet_one() {
    insta::assert_snapshot!(errors_with("when: level >= WARN, ", ""), @"");
    insta::assert_snapshot!(errors_with("name: rest,", "name: rest, when: level < WARN,"), @"");
    insta::assert_snapshot!(errors_with("name: rest,", "name: rest, continue: true,"), @"");
    insta::assert_snapshot!(errors("sources: {forward: {listen: [tcp://127.0.0.1:1]}}\nroutes: []\nsinks: {}\n"), @"");
}

#[test]
fn a_route_without_condition_may_go_on() {
    good(&GOOD.replace("when: level >= WARN, ", "continue: true, "));
}

#[test]
fn duplicate_keys_are_errors() {
    insta::assert_snapshot!(errors(&format!("{GOOD}memory: 1GiB\n")), @"");
}

#[test]
fn an_unset_variable_is_named_and_nothing_else_is_said_of_its_value() {
    insta::assert_snapshot!(errors_with("bucket: my-logs", "bucket: ${BUCKET_NAME}"), @"");
}

#[test]
fn variables_are_typed_after_substitution() {
    let plan =
        good(&GOOD.replace("retention_days: 30", "retention_days: \"${DAYS:-7}\"").replace("my-logs", "${LOG_BUCKET}"));
    let plan::SinkKind::CloudWatchLogs(alerts) = &plan.sinks[0].kind else { panic!("the first sink") };
    assert_eq!(alerts.create.retention_days, Some(7));
}

#[test]
fn names_and_addresses_are_checked() {
    insta::assert_snapshot!(errors_with("tcp://127.0.0.1:24224", "127.0.0.1:24224"), @"");
    insta::assert_snapshot!(errors_with("[tcp://127.0.0.1:24224]", "[tcp://127.0.0.1:24224, tcp://0.0.0.0:24224]"), @"");
    insta::assert_snapshot!(errors_with("memory", "admin: {listen: localhost:24224}\nmemory"), @"");
    insta::assert_snapshot!(errors_with("name: rest", "name: errors"), @"");
    insta::assert_snapshot!(errors_with("archive: {type: s3", "arch ive: {type: s3"), @"");
}

#[test]
fn the_type_of_a_sink_must_be_known() {
    insta::assert_snapshot!(errors_with("type: s3", "type: s4"), @"");
    insta::assert_snapshot!(errors_with("type: s3, ", ""), @"");
}

#[test]
fn what_aws_would_refuse_is_refused_now() {
    insta::assert_snapshot!(errors_with("retention_days: 30", "retention_days: 31"), @"");
    insta::assert_snapshot!(errors_with("bucket: my-logs", "bucket: My_Logs, storage_class: STANDART, region: Frankfurt, endpoint: localhost:9000"), @"");
    insta::assert_snapshot!(errors_with("bucket: my-logs", "bucket: my-logs, compression: {zstd: 40}"), @"");
}

#[test]
fn a_disk_spool_is_told_apart_from_nonsense() {
    insta::assert_snapshot!(errors(&format!("{GOOD}spool: {{path: /var/lib/logweir, size: 2GiB}}\n")), @"");
}

#[test]
fn several_mistakes_are_reported_in_one_run() {
    let text = "\
sources:
  forward: {listen: [tcp://127.0.0.1:24224], akc: delivered}
routes:
  - name: errors
    to: [alert]
  - name: rest
    when: level < WARN
    to: [archive]
sinks:
  alerts:
    type: cloudwatch_logs
    retry: {max: soon}
  archive:
    type: s3
    bucket: ${BUCKET_NAME}
    object: {size: huge, age: 5}
drain: 25s
tests:
  - {name: x, tag: t, record: {}, expect: {to: [archiv]}}
";
    insta::assert_snapshot!(errors(text), @"");
}

#[test]
fn tests_that_name_what_is_not_there_are_errors() {
    let tests = "\
tests:
  - {name: a, tag: t, record: {log: x}, source: edge, time: noon, expect: {routes: [rests], names: {x: y}}}
  - {name: b, tag: t, record: {log: x}, expect: {}}
  - {name: c, tag: t, record: text, expect: {to: []}}
";
    insta::assert_snapshot!(errors(&format!("{GOOD}{tests}")), @"");
}

#[test]
fn defaults_are_filled_in() {
    let plan = good(GOOD);
    assert_eq!(plan.memory.total, 64 << 20);
    assert_eq!(plan.sinks.iter().map(|sink| sink.queue.bound).sum::<u64>(), 32 << 20);
    assert_eq!((plan.sinks[0].queue.when_full, plan.sinks[1].queue.when_full), (WhenFull::DropOldest, WhenFull::Block));
    assert_eq!(plan.routes[0].sinks, [0, 1]);
    assert_eq!(plan.admin.map(|admin| admin.listen.to_string()).as_deref(), Some("127.0.0.1:9600"));
    assert_eq!(plan.metadata, Metadata::None);
    let derived = good(&GOOD.replace("memory: 64MiB\n", "admin: none\n"));
    assert_eq!(derived.memory.origin, MemoryOrigin::Cgroup(512 << 20));
    assert_eq!(derived.memory.total, (512 << 20) / 100 * 60 + 7);
    assert_eq!(derived.admin, None);
}

#[test]
fn under_ecs_metadata_is_on() {
    let host = host(&[("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/x")]);
    assert_eq!(load("c", GOOD, &host).expect("fine").metadata, Metadata::Ecs);
    let off = format!("{GOOD}metadata: none\n");
    assert_eq!(load("c", &off, &host).expect("fine").metadata, Metadata::None);
}

#[test]
fn the_fingerprint_follows_the_meaning_not_the_writing() {
    let same = GOOD.replace("{type: s3, bucket: my-logs}", "\n    # here\n    bucket: 'my-logs'\n    type: s3");
    assert_eq!(good(GOOD).fingerprint, good(&same).fingerprint);
    assert_ne!(good(GOOD).fingerprint, good(&GOOD.replace("64MiB", "65MiB")).fingerprint);
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let text = GOOD
        .replace("retention_days: 30", "class: INFREQUENT_ACCESS")
        .replace("bucket: my-logs", "bucket: my-logs, prefix: /x/, storage_class: GLACIER, object: {size: 1MiB}")
        .replace("memory: 64MiB", "memory: 1GiB\ndrain: {timeout: 60s}\nadmin: {listen: 0.0.0.0:9600}")
        .replace("sinks:", "sinks:\n  spare: {type: stdout}");
    insta::assert_snapshot!(good(&text).warnings.join("\n"), @"");
    assert!(good(GOOD).warnings.is_empty(), "{:?}", good(GOOD).warnings);
}

const EXAMPLES: [(&str, &str); 3] = [
    ("sidecar", include_str!("../../config/sidecar.yaml")),
    ("aggregator", include_str!("../../config/aggregator.yaml")),
    ("local", include_str!("../../config/local.yaml")),
];

#[test]
fn the_examples_are_fine() {
    for (name, text) in EXAMPLES {
        let plan = good(text);
        assert!(!plan.tests.is_empty(), "{name}");
    }
}

#[test]
fn the_schema_knows_every_key_of_the_examples() {
    let schema = schema();
    for (name, text) in EXAMPLES {
        let root = yaml::parse(text, &mut Vec::new()).expect(name);
        knows(&schema, &schema, &root, name);
    }
    let wrong = yaml::parse("sinks: {x: {type: s3, bucket: b, prefixx: y}}", &mut Vec::new()).expect("YAML");
    let known = std::panic::catch_unwind(|| knows(&schema, &schema, &wrong, "wrong"));
    assert!(known.is_err(), "the check sees an unknown key");
}

/// Every key of `node` is a property of `schema`, through references and variants.
fn knows(root: &serde_json::Value, schema: &serde_json::Value, node: &yaml::Node, path: &str) {
    for (index, item) in node.items().iter().enumerate() {
        let items = variants(root, schema).into_iter().find_map(|variant| variant.get("items"));
        knows(root, items.unwrap_or(&serde_json::Value::Null), item, &format!("{path}[{index}]"));
    }
    for entry in node.entries() {
        let path = format!("{path}.{}", entry.key);
        let sub = variants(root, schema).into_iter().find_map(|variant| {
            let property = variant.get("properties").and_then(|properties| properties.get(&entry.key));
            let typed = |by_type: &&serde_json::Value| {
                let given = entry.value.get("type").and_then(|entry| entry.value.text());
                given.is_some() && by_type["properties"]["type"]["const"].as_str() == given
            };
            let other = variant
                .get("additionalProperties")
                .filter(|other| !other.is_boolean())
                .map(|other| other["oneOf"].as_array().and_then(|types| types.iter().find(typed)).unwrap_or(other));
            property.or(other).or(variant.get("additionalProperties").filter(|other| other.as_bool() == Some(true)))
        });
        let sub = sub.unwrap_or_else(|| panic!("the schema does not know {path}"));
        if sub.as_bool() != Some(true) {
            knows(root, sub, &entry.value, &path);
        }
    }
}

/// A schema and all that it refers to.
fn variants<'a>(root: &'a serde_json::Value, schema: &'a serde_json::Value) -> Vec<&'a serde_json::Value> {
    let mut all = vec![schema];
    if let Some(name) = schema["$ref"].as_str() {
        all.extend(variants(root, root.pointer(name.trim_start_matches('#')).expect("a reference leads somewhere")));
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for part in schema[key].as_array().into_iter().flatten() {
            all.extend(variants(root, part));
        }
    }
    all
}

#[test]
fn the_schema_has_each_section_and_the_types_of_sinks() {
    let schema = schema();
    let sinks = &schema["properties"]["sinks"];
    assert_eq!(sinks["additionalProperties"]["oneOf"].as_array().map(Vec::len), Some(4));
    assert_eq!(sinks["properties"]["stdout"]["properties"]["type"]["const"], "stdout");
    assert_eq!(schema["properties"].as_object().map(serde_json::Map::len), Some(read::SECTIONS.len()));
    // Numbers and bools may be variables.
    let days = &schema["definitions"]["Create"]["properties"];
    assert!(days.is_null() || days["retention_days"]["type"].as_array().is_some_and(|types| types.len() == 3));
}

/// YAML that looks like a config now and then.
fn yamlish() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "sources", "routes", "sinks", "forward", "listen", "to", "when", "type", "s3", "bucket", "object", "size", ":",
        ": ", "- ", "\n", "\n  ", "\n    ", "[", "]", "{", "}", ", ", "\"", "'", "|", ">-", "&a ", "*a", "!!str ",
        "${A}", "${", "$${", "64MiB", "5m", "-1", "1e400", "0x", "~", "true", "#", "\t", "é", "\u{0}", "---", "...",
        "%YAML", "<<", "?", "tests", "record", "memory", "level",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_panics(text in prop_oneof![yamlish(), ".{0,200}"]) {
        if let Err(problems) = load("c.yaml", &text, &host(&[("A", "x: [")])) {
            prop_assert!(!problems.list.is_empty());
            prop_assert!(problems.to_string().starts_with("error: c.yaml"));
        }
    }

    #[test]
    fn no_change_of_a_good_config_panics(at in 0usize..GOOD.len(), len in 0usize..20, insert in yamlish()) {
        let mut text = GOOD.to_owned();
        text.replace_range(at..(at + len).min(GOOD.len()), &insert);
        if let Err(problems) = load("c.yaml", &text, &host(&[])) {
            prop_assert!(!problems.to_string().is_empty());
        }
    }
}
