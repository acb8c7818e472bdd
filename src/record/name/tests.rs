//! Names as rules and templates write them, and what they find.

use super::*;
use crate::record::testing::Sample;

fn text(text: &str) -> Option<Found<'static>> {
    Some(Found::Str(Cow::Owned(text.as_bytes().to_vec())))
}

fn resolve(name: &str, sample: &Sample) -> Option<Found<'static>> {
    let name = Name::parse(name).expect("a name");
    name.resolve(&sample.record(), &LevelRules::default()).map(Found::into_owned)
}

#[test]
fn built_ins_come_from_the_tag_and_the_source() {
    let sample = Sample::json(r#"{"tag":"own","container":"own","level":"warn"}"#).tag("web-firelens-abc");
    assert_eq!(resolve("tag", &sample), text("web-firelens-abc"));
    assert_eq!(resolve("container", &sample), text("web"));
    assert_eq!(resolve("task_id", &sample), text("abc"));
    assert_eq!(resolve("source_name", &sample), text("forward"));
    assert_eq!(resolve("level", &sample), text("WARN"));
    let plain = Sample::json("{}").tag("nginx");
    assert_eq!(resolve("container", &plain), text(""), "empty, not missing");
    assert_eq!(resolve("task_id", &plain), text(""));
    assert_eq!(resolve("level", &plain), None);
}

#[test]
fn record_reaches_fields_that_a_built_in_hides_and_odd_keys() {
    let sample = Sample::json(r#"{"tag":"own","@timestamp":"now","a":{"b.c/d":"x"},"record":"r"}"#);
    assert_eq!(resolve("record.tag", &sample), text("own"));
    assert_eq!(resolve("record[\"@timestamp\"]", &sample), text("now"));
    assert_eq!(resolve("record['@timestamp']", &sample), text("now"));
    assert_eq!(resolve("a[\"b.c/d\"]", &sample), text("x"));
    assert_eq!(resolve("record.record", &sample), text("r"));
}

#[test]
fn ecs_fields_come_from_the_metadata_unless_the_record_has_its_own() {
    let sample = Sample::json("{}").ecs("prod");
    assert_eq!(resolve("ecs_cluster", &sample), text("prod"));
    assert_eq!(resolve("record.ecs_cluster", &sample), text("prod"));
    assert_eq!(resolve("ecs_task_arn", &sample), None, "what the endpoint left empty is missing");
    let own = Sample::json(r#"{"ecs_cluster":5}"#).ecs("prod");
    assert_eq!(resolve("ecs_cluster", &own), Some(Found::UInt(5)));
    assert_eq!(resolve("ecs_cluster", &Sample::json("{}")), None, "not yet known");
}

#[test]
fn a_name_is_spelled_as_it_is_parsed() {
    for name in [
        "tag",
        "source_name",
        "container",
        "task_id",
        "level",
        "log.status",
        "record.tag",
        "record.level.x",
        "record[\"a b\"]",
        "a[\"b\\\"c\"].d",
        "record.record",
    ] {
        assert_eq!(Name::parse(name).expect("a name").to_string(), name);
    }
}

#[test]
fn what_is_no_name_is_refused_with_its_place() {
    for (bad, says) in [
        ("", "the end at byte 0"),
        ("a.", "the end at byte 2"),
        (".a", "`.` at byte 0"),
        ("a b", "` ` at byte 1"),
        ("1a", "`1` at byte 0"),
        ("a[0]", "`0` at byte 2"),
        ("a[\"x\"", "byte 2"),
        ("a-b", "`-` at byte 1"),
        ("record", "`record` is the whole record"),
        ("tag.x", "write record.tag.x"),
        ("level.x", "write record.level.x"),
    ] {
        let error = Name::parse(bad).expect_err(bad);
        assert!(error.contains(says), "{bad}: {error}");
    }
    assert!(Name::parse(&vec!["a"; 65].join(".")).is_err());
}
