//! Every sentence of the rules by which a level is found.

use super::*;
use crate::record::testing::Sample;

fn find_with(rules: &LevelRules, sample: &Sample) -> Option<(Level, LevelOrigin)> {
    rules.find(&sample.record())
}

fn find(sample: &Sample) -> Option<(Level, LevelOrigin)> {
    find_with(&LevelRules::default(), sample)
}

fn of(json: &str) -> Option<Level> {
    find(&Sample::json(json)).map(|(level, _)| level)
}

fn of_text(text: &str) -> Option<Level> {
    find(&Sample::log(text)).map(|(level, _)| level)
}

#[test]
fn levels_are_ordered() {
    assert!(Level::ALL.is_sorted());
    assert_eq!(Level::ALL.map(Level::as_str), ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]);
}

#[test]
fn each_field_in_any_case_tells_it() {
    for key in
        ["level", "severity", "lvl", "loglevel", "levelname", "log_level", "LEVEL", "logLevel", "levelName", "Severity"]
    {
        assert_eq!(of(&format!(r#"{{"{key}":"warn"}}"#)), Some(Level::Warn), "{key}");
    }
    assert_eq!(of(r#"{"levels":"warn","priority":3,"Severity_Number":17}"#), None);
}

#[test]
fn words_tell_it_in_any_case() {
    for (word, level) in [
        ("trace", Level::Trace),
        ("Debug", Level::Debug),
        ("INFO", Level::Info),
        ("notice", Level::Info),
        ("warn", Level::Warn),
        ("Warning", Level::Warn),
        ("err", Level::Error),
        ("error", Level::Error),
        ("critical", Level::Fatal),
        ("ALERT", Level::Fatal),
        ("emerg", Level::Fatal),
        ("panic", Level::Fatal),
        ("fatal", Level::Fatal),
        (" INFO    ", Level::Info),
    ] {
        assert_eq!(of(&format!(r#"{{"level":"{word}"}}"#)), Some(level), "{word}");
    }
    assert_eq!(of(r#"{"level":"loud"}"#), None);
}

#[test]
fn fields_win_in_the_order_of_the_rules_and_not_of_the_record() {
    assert_eq!(of(r#"{"severity":"error","level":"info"}"#), Some(Level::Info));
    assert_eq!(of(r#"{"severity_number":17,"log_level":"info"}"#), Some(Level::Info));
    assert_eq!(of(r#"{"syslog_severity":3,"PRIORITY":6,"severity_number":5}"#), Some(Level::Debug));
    assert_eq!(of(r#"{"syslog_severity":3,"PRIORITY":6}"#), Some(Level::Info));
    assert_eq!(of(r#"{"log":"{\"level\":\"error\"}","syslog_severity":7}"#), Some(Level::Debug), "the record first");
}

#[test]
fn a_value_that_tells_nothing_is_as_if_it_were_not_there() {
    assert_eq!(of(r#"{"level":"loud","severity":"error"}"#), Some(Level::Error));
    assert_eq!(of(r#"{"level":35,"log":"{\"level\":\"fatal\"}"}"#), Some(Level::Fatal));
    assert_eq!(of(r#"{"level":null,"lvl":["error"]}"#), None);
}

#[test]
fn the_last_of_equal_keys_tells_it() {
    let sample = Sample::pairs([("level", "info".into()), ("a", 1.into()), ("level", "error".into())]);
    assert_eq!(find(&sample).map(|(level, _)| level), Some(Level::Error));
    assert_eq!(of_text(r#"{"level":"info","level":"error"}"#), Some(Level::Error));
}

#[test]
fn numbers_under_level_are_pinos_or_syslogs() {
    let expect = [
        (10, Some(Level::Trace)),
        (20, Some(Level::Debug)),
        (30, Some(Level::Info)),
        (40, Some(Level::Warn)),
        (50, Some(Level::Error)),
        (60, Some(Level::Fatal)),
        (0, Some(Level::Fatal)),
        (1, Some(Level::Fatal)),
        (2, Some(Level::Fatal)),
        (3, Some(Level::Error)),
        (4, Some(Level::Warn)),
        (5, Some(Level::Info)),
        (6, Some(Level::Info)),
        (7, Some(Level::Debug)),
        (8, None),
        (35, None),
        (70, None),
        (-1, None),
    ];
    for (n, level) in expect {
        assert_eq!(of(&format!(r#"{{"level":{n}}}"#)), level, "{n}");
        assert_eq!(of_text(&format!(r#"{{"level":{n}}}"#)), level, "{n} in JSON");
    }
    assert_eq!(of(r#"{"level":30.0}"#), Some(Level::Info));
    assert_eq!(of(r#"{"level":30.5}"#), None);
    assert_eq!(of(r#"{"level":"30"}"#), Some(Level::Info));
}

#[test]
fn severity_number_is_opentelemetrys() {
    let expect = |n: u64| match n {
        1..=4 => Some(Level::Trace),
        5..=8 => Some(Level::Debug),
        9..=12 => Some(Level::Info),
        13..=16 => Some(Level::Warn),
        17..=20 => Some(Level::Error),
        21..=24 => Some(Level::Fatal),
        _ => None,
    };
    for n in 0..30 {
        assert_eq!(of(&format!(r#"{{"severity_number":{n}}}"#)), expect(n), "{n}");
    }
}

#[test]
fn journald_and_syslog_severities_count_from_zero() {
    for key in ["PRIORITY", "syslog_severity"] {
        assert_eq!(of(&format!(r#"{{"{key}":4}}"#)), Some(Level::Warn));
        assert_eq!(of(&format!(r#"{{"{key}":"3"}}"#)), Some(Level::Error), "journald writes text");
        assert_eq!(of(&format!(r#"{{"{key}":8}}"#)), None);
        assert_eq!(of(&format!(r#"{{"{key}":30}}"#)), None);
        assert_eq!(of(&format!(r#"{{"{key}":"error"}}"#)), None);
    }
}

#[test]
fn json_in_log_tells_it_at_its_top() {
    assert_eq!(of_text(r#"{"msg":"x","Severity":"ERROR"}"#), Some(Level::Error));
    assert_eq!(of_text(r#"{"severity_number":9}"#), Some(Level::Info));
    assert_eq!(of_text(r#"{"log.level":"error"}"#), Some(Level::Error));
    assert_eq!(of_text(r#"{"log":{"level":"error"}}"#), Some(Level::Error));
    assert_eq!(of_text(r#"{"log.level":"error","level":"info"}"#), Some(Level::Info));
    assert_eq!(of_text(r#"{"inner":{"level":"error"},"msg":"ERROR"}"#), None, "not deeper, and JSON is no text");
    assert_eq!(of(r#"{"log":{"level":"error"}}"#), Some(Level::Error), "a parser before us made a map of it");
    assert_eq!(of(r#"{"log":{"severity":"error"}}"#), Some(Level::Error));
    assert_eq!(of(r#"{"other":"{\"level\":\"error\"}"}"#), None, "only in log");
}

#[test]
fn json_that_was_cut_off_is_text() {
    assert_eq!(of_text(r#"{"level":"error","msg":"a FATAL thing was cu"#), Some(Level::Fatal));
}

#[test]
fn logfmt_tells_it() {
    assert_eq!(of_text("time=now level=warn msg=x"), Some(Level::Warn));
    assert_eq!(of_text("level=\"error\" msg=\"INFO\""), Some(Level::Error));
    assert_eq!(of_text("msg=\"set level=error now\" level=debug"), Some(Level::Debug), "not inside quotes");
    assert_eq!(of_text("msg=\"a \\\" level=error\" level=debug"), Some(Level::Debug));
    assert_eq!(of_text("loglevel=error x"), None, "another key");
    assert_eq!(of_text("level=loud WARN"), Some(Level::Warn));
    assert_eq!(of_text("level="), None);
}

#[test]
fn klog_tells_it() {
    for (text, level) in [
        ("I0102 15:04:05.0 1 a.go:1] x", Some(Level::Info)),
        ("W1231 x", Some(Level::Warn)),
        ("E0102", Some(Level::Error)),
        ("F0102\tx", Some(Level::Fatal)),
        ("D0102 x", None),
        ("I01020 x", None),
        ("I010 x", None),
        ("xI0102 x", None),
        ("E0102 INFO", Some(Level::Error)),
    ] {
        assert_eq!(of_text(text), level, "{text}");
    }
}

#[test]
fn the_first_whole_word_in_capitals_tells_it() {
    for (text, level) in [
        ("2026-01-01 12:00:00 [main] ERROR c.e.App - INFO", Some(Level::Error)),
        ("[WARN] x", Some(Level::Warn)),
        ("WARNING: x", Some(Level::Warn)),
        ("NOTICE x", Some(Level::Info)),
        ("TRACE", Some(Level::Trace)),
        ("x DEBUG", Some(Level::Debug)),
        ("CRITICAL x", Some(Level::Fatal)),
        ("FATAL x", Some(Level::Fatal)),
        ("PANIC x", Some(Level::Fatal)),
        ("日ERROR本", Some(Level::Error)),
        ("\u{1b}[32mINFO\u{1b}[0m ERROR", Some(Level::Info)),
        ("\u{1b}[", None),
        ("error info Error", None),
        ("ERRORS INFORMATION", None),
        ("ERROR_CODE=1", None),
        ("MYERROR", None),
        ("ERR x", None),
        ("", None),
    ] {
        assert_eq!(of_text(text), level, "{text:?}");
    }
}

#[test]
fn words_count_within_the_first_96_bytes() {
    assert_eq!(of_text(&format!("{} ERROR", ".".repeat(90))), Some(Level::Error), "ends at byte 96");
    assert_eq!(of_text(&format!("{} ERROR", ".".repeat(91))), None);
    assert_eq!(of_text(&format!("{} ERRORS", ".".repeat(90))), None, "the word goes on beyond");
    assert_eq!(of_text(&"A".repeat(10_000)), None);
}

#[test]
fn the_rules_can_be_changed() {
    let fields = LevelRules { fields: vec!["grade".into()], text: true };
    assert_eq!(
        find_with(&fields, &Sample::json(r#"{"level":"error","Grade":"warn"}"#)).map(|f| f.0),
        Some(Level::Warn)
    );
    assert_eq!(find_with(&fields, &Sample::json(r#"{"level":"error"}"#)), None);
    let quiet = LevelRules { text: false, ..LevelRules::default() };
    assert_eq!(find_with(&quiet, &Sample::log("ERROR level=error")), None);
    assert_eq!(find_with(&quiet, &Sample::log(r#"{"level":"error"}"#)).map(|f| f.0), Some(Level::Error));
}

#[test]
fn it_is_told_where_it_came_from() {
    let rules = LevelRules::default();
    for (json, origin) in [
        (r#"{"lvl":"info"}"#, "the record's field `lvl`"),
        (r#"{"PRIORITY":3}"#, "the record's field `PRIORITY`"),
        (r#"{"log":"{\"severity\":\"info\"}"}"#, "the key `severity` of the JSON in `log`"),
        (r#"{"log":"level=info"}"#, "`level=` in the text of `log`"),
        (r#"{"log":"I0102 x"}"#, "the klog header of `log`"),
        (r#"{"log":"x INFO"}"#, "the first level in capitals in the text of `log`"),
    ] {
        let (_, found) = find(&Sample::json(json)).expect("a level");
        assert_eq!(rules.describe(found), origin);
    }
}
