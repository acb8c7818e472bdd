//! Whole configs: what each mistake looks like to the user, what the examples mean, and that no text panics.

use proptest::prelude::*;

use super::plan::{MemoryOrigin, Metadata, SourceKind};
use super::*;
use crate::source::forward::AckMode;
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
    load("c.yaml", text, &host(&[("LOG_BUCKET", "my-logs"), ("AWS_REGION", "eu-west-1")]))
        .unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn an_unknown_key_names_the_accepted_ones() {
    insta::assert_snapshot!(errors_with("bucket: my-logs", "bucket: my-logs, objekt: {size: 1MiB}"), @r#"
    error: c.yaml:8:40: sinks.archive.objekt: unknown key `objekt`, did you mean `object`? accepted: bucket, region, prefix, object, format, log_json, fields, compression, single_frame, storage_class, kms_key, content_type, endpoint, path_style, role_arn, external_id, when_full, retry
        8 |   archive: {type: s3, bucket: my-logs, objekt: {size: 1MiB}}
          |                                        ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("memory", "memroy"), @r#"
    error: c.yaml:9:1: memroy: unknown section `memroy`, did you mean `memory`? accepted: sources, routes, sinks, dead_letters, spool, memory, admin, drain, metadata, level, log, tests
        9 | memroy: 64MiB
          | ^
    1 error
    "#);
}

#[test]
fn fields_are_kept_or_dropped_and_only_of_records() {
    let file = |fields: &str| {
        format!(
            "sources: {{forward: {{listen: ['tcp://127.0.0.1:0']}}}}\nroutes:\n- {{to: [a]}}\nsinks:\n  a: {{type: file, path: /tmp/a, fields: {fields}}}\n"
        )
    };
    assert!(good(&file("{drop: [container_id, source]}")).warnings.is_empty());
    let of_text =
        "x}\n  b: {type: cloudwatch_logs, log_group: g, region: eu-west-1, message: log, fields: {drop: [source]}";
    for (fields, error) in [
        ("{keep: [log], drop: [source]}", "5:41: sinks.a.fields: `keep` and `drop` exclude each other"),
        ("{}", "5:41: sinks.a.fields: neither `keep` nor `drop` is given"),
        ("{drop: []}", "5:41: sinks.a.fields: the list is empty"),
        ("[log]", "5:41: sinks.a.fields: "),
        (of_text, "6:77: sinks.b.fields: with `message: log` an event is the text of `log`"),
    ] {
        let errors = errors(&file(fields));
        assert!(errors.contains(error), "{errors}");
    }
}

#[test]
fn a_wrong_type_says_what_was_found() {
    insta::assert_snapshot!(errors_with("bucket: my-logs", "bucket: [my-logs]"), @r#"
    error: c.yaml:8:31: sinks.archive.bucket: found a list, expected text
        8 |   archive: {type: s3, bucket: [my-logs]}
          |                               ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("to: [archive]", "to: archive"), @r#"
    error: c.yaml:5:22: routes[1].to: found the text `archive`, expected a list; a list of one is written `[value]`
        5 |   - {name: rest, to: archive}
          |                      ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("memory: 64MiB", "memory: lots"), @r#"
    error: c.yaml:9:9: memory: `lots` is no size; write for example 64MiB or 500KB
        9 | memory: lots
          |         ^
    1 error
    "#);
}

#[test]
fn an_unknown_sink_in_a_route_is_an_error() {
    insta::assert_snapshot!(errors_with("to: [archive]", "to: [archiv]"), @r#"
    error: c.yaml:5:23: routes[1].to[0]: unknown sink `archiv`, did you mean `archive`? accepted: alerts, archive
        5 |   - {name: rest, to: [archiv]}
          |                       ^
    1 error
    "#);
}

#[test]
fn every_route_must_be_reached_and_every_record_must_meet_one() {
    insta::assert_snapshot!(errors_with("when: level >= WARN, ", ""), @r#"
    error: c.yaml:4:5: routes[0]: this route takes every record, so no route below is ever reached; move it to the end, or give it a `when` or `continue: true`
        4 |   - {name: errors, to: [alerts, archive]}
          |     ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("name: rest,", "name: rest, when: level < WARN,"), @r#"
    error: c.yaml:5:24: routes[1].when: the last route must take what is left, so it has no `when`; add one below: `- {name: rest, to: [archive]}`, or `to: []` to drop what is left
        5 |   - {name: rest, when: level < WARN, to: [archive]}
          |                        ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("name: rest,", "name: rest, continue: true,"), @r#"
    error: c.yaml:5:28: routes[1].continue: no route is left below to continue with; leave it out
        5 |   - {name: rest, continue: true, to: [archive]}
          |                            ^
    1 error
    "#);
    insta::assert_snapshot!(errors("sources: {forward: {listen: [tcp://127.0.0.1:1]}}\nroutes: []\nsinks: {}\n"), @r#"
    error: c.yaml:2:1: routes: no route is configured; at least the last one is needed: `- {name: rest, to: [archive]}`, or `to: []` to drop what is left
        2 | routes: []
          | ^
    1 error
    "#);
}

#[test]
fn a_route_without_condition_may_go_on() {
    good(&GOOD.replace("when: level >= WARN, ", "continue: true, "));
}

#[test]
fn duplicate_keys_are_errors() {
    insta::assert_snapshot!(errors(&format!("{GOOD}memory: 1GiB\n")), @r#"
    error: c.yaml:10:1: memory: the key `memory` stands twice, first on line 9; keep one
       10 | memory: 1GiB
          | ^
    1 error
    "#);
}

#[test]
fn an_unset_variable_is_named_and_nothing_else_is_said_of_its_value() {
    insta::assert_snapshot!(errors_with("bucket: my-logs", "bucket: \"${BUCKET_NAME}\""), @r#"
    error: c.yaml:8:31: sinks.archive.bucket: the variable `BUCKET_NAME` is not set; set it, or give a default: `${BUCKET_NAME:-default}`
        8 |   archive: {type: s3, bucket: "${BUCKET_NAME}"}
          |                               ^
    1 error
    "#);
}

#[test]
fn a_variable_between_braces_is_told_to_take_quotes() {
    insta::assert_snapshot!(errors_with("bucket: my-logs", "bucket: ${LOG_BUCKET}"), @r#"
    error: c.yaml:8:32: sinks.archive: this is no valid YAML: while parsing a flow mapping, did not find expected ',' or '}'; between braces or brackets a variable must stand in quotes: {size: "${SIZE}"}
        8 |   archive: {type: s3, bucket: ${LOG_BUCKET}}
          |                                ^
    1 error
    "#);
}

#[test]
fn variables_are_typed_after_substitution() {
    let plan = good(
        &GOOD.replace("retention_days: 30", "retention_days: \"${DAYS:-7}\"").replace("my-logs", "\"${LOG_BUCKET}\""),
    );
    let plan::SinkKind::CloudWatchLogs(alerts) = &plan.sinks[0].kind else { panic!("the first sink") };
    assert_eq!(alerts.create.retention_days, Some(7));
}

#[test]
fn names_and_addresses_are_checked() {
    insta::assert_snapshot!(errors_with("tcp://127.0.0.1:24224", "127.0.0.1:24224"), @r#"
    error: c.yaml:2:22: sources.forward.listen[0]: `127.0.0.1:24224` is no address to listen on: it begins with none of unix://, tcp:// and tls://; write for example unix:///var/run/fluent.sock, tcp://127.0.0.1:24224 or tls://0.0.0.0:24224
        2 |   forward: {listen: [127.0.0.1:24224]}
          |                      ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("[tcp://127.0.0.1:24224]", "[tcp://127.0.0.1:24224, tcp://0.0.0.0:24224]"), @r#"
    error: c.yaml:2:45: sources.forward.listen[1]: `tcp://0.0.0.0:24224` cannot be bound beside `tcp://127.0.0.1:24224`; each listener needs its own
        2 |   forward: {listen: [tcp://127.0.0.1:24224, tcp://0.0.0.0:24224]}
          |                                             ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("memory", "admin: {listen: localhost:24224}\nmemory"), @r#"
    error: c.yaml:9:17: admin.listen: `127.0.0.1:24224` is taken by the source `forward`; give it another port
        9 | admin: {listen: localhost:24224}
          |                 ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("name: rest", "name: errors"), @r#"
    error: c.yaml:5:12: routes[1].name: the name `errors` is taken by routes[0]
        5 |   - {name: errors, to: [archive]}
          |            ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("archive: {type: s3", "arch ive: {type: s3"), @r#"
    error: c.yaml:4:54: routes[0].to[1]: unknown sink `archive`, did you mean `arch ive`? accepted: alerts, arch ive
        4 |   - {name: errors, when: level >= WARN, to: [alerts, archive]}
          |                                                      ^
    error: c.yaml:5:23: routes[1].to[0]: unknown sink `archive`, did you mean `arch ive`? accepted: alerts, arch ive
        5 |   - {name: rest, to: [archive]}
          |                       ^
    error: c.yaml:8:3: sinks.arch ive: `arch ive` is no name; accepted: 1 to 64 letters, digits, `_`, `-` and `.`
        8 |   arch ive: {type: s3, bucket: my-logs}
          |   ^
    3 errors
    "#);
}

#[test]
fn the_type_of_a_sink_must_be_known() {
    insta::assert_snapshot!(errors_with("type: s3", "type: s4"), @r#"
    error: c.yaml:8:19: sinks.archive.type: unknown type `s4`, did you mean `s3`? accepted: s3, cloudwatch_logs, file, stdout
        8 |   archive: {type: s4, bucket: my-logs}
          |                   ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("type: s3, ", ""), @r#"
    error: c.yaml:8:3: sinks.archive: the key `type` is missing, and the name is no type; accepted: s3, cloudwatch_logs, file, stdout; write for example `type: s3`
        8 |   archive: {bucket: my-logs}
          |   ^
    1 error
    "#);
}

#[test]
fn what_aws_would_refuse_is_refused_now() {
    insta::assert_snapshot!(errors_with("retention_days: 30", "retention_days: 31"), @r#"
    error: c.yaml:7:81: sinks.alerts.create.retention_days: 31 is no retention that AWS accepts; accepted: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
        7 |   alerts: {type: cloudwatch_logs, log_group: /ecs/app, create: {retention_days: 31}}
          |                                                                                 ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("bucket: my-logs", "bucket: My_Logs, storage_class: STANDART, region: Frankfurt, endpoint: localhost:9000"), @r#"
    error: c.yaml:8:31: sinks.archive.bucket: `My_Logs` is no bucket name; accepted: 3 to 63 lower-case letters, digits, `-` and `.`
        8 |   archive: {type: s3, bucket: My_Logs, storage_class: STANDART, region: Frankfurt, endpoint: localhost:9000}
          |                               ^
    error: c.yaml:8:55: sinks.archive.storage_class: unknown storage class `STANDART`, did you mean `STANDARD`? accepted: STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, GLACIER_IR, GLACIER, DEEP_ARCHIVE, EXPRESS_ONEZONE, REDUCED_REDUNDANCY
        8 |   archive: {type: s3, bucket: My_Logs, storage_class: STANDART, region: Frankfurt, endpoint: localhost:9000}
          |                                                       ^
    error: c.yaml:8:73: sinks.archive.region: `Frankfurt` is no region; write for example eu-west-1
        8 |   archive: {type: s3, bucket: My_Logs, storage_class: STANDART, region: Frankfurt, endpoint: localhost:9000}
          |                                                                         ^
    error: c.yaml:8:94: sinks.archive.endpoint: `localhost:9000` is no URL; it begins with https:// or http://
        8 |   archive: {type: s3, bucket: My_Logs, storage_class: STANDART, region: Frankfurt, endpoint: localhost:9000}
          |                                                                                              ^
    4 errors
    "#);
    insta::assert_snapshot!(errors_with("bucket: my-logs", "bucket: my-logs, compression: {zstd: 40}"), @r#"
    error: c.yaml:8:53: sinks.archive.compression: zstd has no level 40; accepted are zstd, {zstd: 1} to {zstd: 19}, gzip, {gzip: 1} to {gzip: 9} and none
        8 |   archive: {type: s3, bucket: my-logs, compression: {zstd: 40}}
          |                                                     ^
    1 error
    "#);
}

#[test]
fn a_disk_spool_needs_a_directory_and_a_size_worth_its_name() {
    let spool = |text: &str| errors(&format!("{GOOD}spool: {text}\n"));
    insta::assert_snapshot!(spool("disk"), @r#"
    error: c.yaml:10:8: spool: accepted: `memory`, or a directory: `spool: {path: /var/lib/logweir, size: 2GiB}`
       10 | spool: disk
          |        ^
    1 error
    "#);
    insta::assert_snapshot!(spool("{path: /var/lib/logweir}"), @r#"
    error: c.yaml:10:1: spool: the key `size` is missing
       10 | spool: {path: /var/lib/logweir}
          | ^
    1 error
    "#);
    insta::assert_snapshot!(spool("{path: /var/lib/logweir, size: 1MiB}"), @r#"
    error: c.yaml:10:39: spool.size: 1MiB is too little; 2 sinks need at least 16MiB each, so 32MiB
       10 | spool: {path: /var/lib/logweir, size: 1MiB}
          |                                       ^
    1 error
    "#);
}

#[test]
fn chunks_are_acked_as_durable_only_with_a_disk_and_then_by_default() {
    let with = |ack: &str, spool: &str| GOOD.replace("listen:", &format!("{ack} listen:")) + spool;
    let disk = "spool: {path: /var/lib/logweir, size: 2GiB}\n";
    let ack = |text: &str| match &good(text).sources[0].kind {
        SourceKind::Forward(config) => config.ack,
    };
    assert_eq!(ack(&with("", "")), Some(AckMode::Received));
    assert_eq!(ack(&with("", disk)), Some(AckMode::Durable));
    assert_eq!(ack(&with("ack: received,", disk)), Some(AckMode::Received));
    insta::assert_snapshot!(errors(&with("ack: durable,", "")), @r#"
    error: c.yaml:2:18: sources.forward.ack: `durable` needs a disk: write `spool: {path: /var/lib/logweir, size: 2GiB}`; without one, accepted: received, delivered
        2 |   forward: {ack: durable, listen: [tcp://127.0.0.1:24224]}
          |                  ^
    1 error
    "#);
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
    insta::assert_snapshot!(errors(text), @r#"
    error: c.yaml:2:46: sources.forward.akc: unknown key `akc`, did you mean `ack`? accepted: listen, ack, ack_wait, join, tls, auth, limits
        2 |   forward: {listen: [tcp://127.0.0.1:24224], akc: delivered}
          |                                              ^
    error: c.yaml:4:5: routes[0]: this route takes every record, so no route below is ever reached; move it to the end, or give it a `when` or `continue: true`
        4 |   - name: errors
          |     ^
    error: c.yaml:5:10: routes[0].to[0]: unknown sink `alert`, did you mean `alerts`? accepted: alerts, archive
        5 |     to: [alert]
          |          ^
    error: c.yaml:7:11: routes[1].when: the last route must take what is left, so it has no `when`; add one below: `- {name: rest, to: [archive]}`, or `to: []` to drop what is left
        7 |     when: level < WARN
          |           ^
    error: c.yaml:10:3: sinks.alerts: the key `log_group` is missing, for example `log_group: /ecs/app`
       10 |   alerts:
          |   ^
    error: c.yaml:12:18: sinks.alerts.retry.max: `soon` is no span of time; write for example 250ms, 5m or 1h
       12 |     retry: {max: soon}
          |                  ^
    error: c.yaml:15:13: sinks.archive.bucket: the variable `BUCKET_NAME` is not set; set it, or give a default: `${BUCKET_NAME:-default}`
       15 |     bucket: ${BUCKET_NAME}
          |             ^
    error: c.yaml:16:20: sinks.archive.object.size: `huge` is no size; write for example 64MiB or 500KB
       16 |     object: {size: huge, age: 5}
          |                    ^
    error: c.yaml:16:31: sinks.archive.object.age: `5` is no span of time; write for example 250ms, 5m or 1h
       16 |     object: {size: huge, age: 5}
          |                               ^
    error: c.yaml:17:8: drain: found the text `25s`, expected a map, for example `drain: {timeout: 25s}`
       17 | drain: 25s
          |        ^
    error: c.yaml:19:49: tests[0].expect.to[0]: unknown sink `archiv`, did you mean `archive`? accepted: alerts, archive
       19 |   - {name: x, tag: t, record: {}, expect: {to: [archiv]}}
          |                                                 ^
    11 errors
    "#);
}

/// The messages of a text with their paths, without places.
fn messages(text: &str, vars: &'static [(&'static str, &'static str)]) -> Vec<String> {
    let problems = load("c.yaml", text, &host(vars)).expect_err(text);
    problems.list.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

#[test]
fn what_follows_from_another_mistake_is_not_said() {
    let tests = "tests: [{name: t, tag: t, record: {}, source: forward, expect: {routes: [errors], to: [archive]}}]\n";
    let text = format!("{GOOD}{tests}");
    for (from, to, path) in [
        ("when: level", "if: level", "routes[0].if: "),
        ("to: [alerts, archive]", "to: alerts", "routes[0].to: "),
        ("when: level >= WARN", "when: !has(record.x)", "routes[0].when: "),
        ("when: level >= WARN", "when: [1]", "routes[0].when: "),
        ("when: level >= WARN", "when: \"${UNSET}\"", "routes[0].when: "),
        ("routes:", "route:", "route: "),
        ("sinks:", "sink:", "sink: "),
        ("sources:", "source:", "source: "),
        ("type: s3", "type: s4", "sinks.archive.type: "),
        ("bucket: my-logs", "buckets: my-logs", "sinks.archive.buckets: "),
        ("listen: [tcp://127.0.0.1:24224]", "listen: 1", "sources.forward.listen: "),
        ("  forward: {listen: [tcp://127.0.0.1:24224]}", "  - forward", "sources: "),
    ] {
        assert!(text.contains(from), "{from}");
        let found = messages(&text.replacen(from, to, 1), &[]);
        // A misspelt key is also missing.
        let others = found.iter().filter(|message| !message.contains("is missing")).count();
        assert!(others == 1 && found.iter().any(|message| message.starts_with(path)), "{to}: {found:#?}");
    }
}

#[test]
fn an_empty_variable_is_named_where_empty_is_a_mistake() {
    for (from, to, path) in [
        ("memory: 64MiB", "memory: ${MEM}", "memory"),
        ("bucket: my-logs", "bucket: \"${MEM}\"", "sinks.archive.bucket"),
        ("tcp://127.0.0.1:24224", "\"${MEM}\"", "sources.forward.listen[0]"),
    ] {
        let found = messages(&GOOD.replacen(from, to, 1), &[("MEM", "")]);
        let [message] = found.as_slice() else { panic!("{to}: {found:#?}") };
        assert!(message.starts_with(&format!("{path}: the variable `MEM` is set but empty")), "{message}");
    }
    let text = GOOD.replacen("bucket: my-logs", "bucket: my-logs, prefix: \"${MEM}\"", 1);
    assert!(load("c.yaml", &text, &host(&[("MEM", "")])).is_ok(), "an empty prefix may be meant");
}

#[test]
fn a_section_that_is_no_map_or_misses_a_key_gets_an_example() {
    for (from, to, example) in [
        ("memory: 64MiB", "admin: 127.0.0.1:9600", "`admin: {listen: 127.0.0.1:9600}`"),
        ("memory: 64MiB", "log: debug", "`log: {level: debug}`"),
        ("memory: 64MiB", "level: severity", "`level: {fields: [severity]}`"),
        ("bucket: my-logs", "bucket: my-logs, object: 64MiB", "`object: {size: 64MiB}`"),
        (", bucket: my-logs", "", "the key `bucket` is missing, for example `bucket: my-logs`"),
        ("{listen: [tcp://127.0.0.1:24224]}", "{}", "`listen: [tcp://127.0.0.1:24224]`"),
        ("name: rest, to: [archive]", "name: rest", "the key `to` is missing, for example `to: [archive]`"),
    ] {
        let found = messages(&GOOD.replacen(from, to, 1), &[]);
        assert!(found.len() == 1 && found[0].contains(example), "{to}: {found:#?}");
    }
}

#[test]
fn an_aws_sink_without_a_region_is_warned_of() {
    let warned = |text: &str, vars| {
        let warnings = load("c.yaml", text, &host(vars)).expect("fine").warnings;
        warnings.into_iter().filter(|warning| warning.contains("no region")).collect::<Vec<_>>()
    };
    let none = warned(GOOD, &[("AWS_REGION", "")]);
    assert_eq!(none.len(), 2, "{none:?}");
    assert!(none[1].starts_with("sinks.archive: no region: set `region` or AWS_REGION; "), "{none:?}");
    assert_eq!(warned(&GOOD.replace("my-logs", "my-logs, region: eu-west-1"), &[]).len(), 1);
    for vars in [&[("AWS_REGION", "eu-west-1")], &[("AWS_DEFAULT_REGION", "eu-west-1")]] {
        assert_eq!(warned(GOOD, vars), [""; 0]);
    }
}

#[test]
fn tests_that_name_what_is_not_there_are_errors() {
    let tests = "\
tests:
  - {name: a, tag: t, record: {log: x}, source: edge, time: noon, expect: {routes: [rests], names: {x: y}}}
  - {name: b, tag: t, record: {log: x}, expect: {}}
  - {name: c, tag: t, record: text, expect: {to: []}}
";
    insta::assert_snapshot!(errors(&format!("{GOOD}{tests}")), @r#"
    error: c.yaml:11:49: tests[0].source: unknown source `edge`; accepted: forward
       11 |   - {name: a, tag: t, record: {log: x}, source: edge, time: noon, expect: {routes: [rests], names: {x: y}}}
          |                                                 ^
    error: c.yaml:11:61: tests[0].time: `noon` is no time; write for example 2026-11-22T10:00:00Z
       11 |   - {name: a, tag: t, record: {log: x}, source: edge, time: noon, expect: {routes: [rests], names: {x: y}}}
          |                                                             ^
    error: c.yaml:11:85: tests[0].expect.routes[0]: unknown route `rests`, did you mean `rest`? accepted: errors, rest
       11 |   - {name: a, tag: t, record: {log: x}, source: edge, time: noon, expect: {routes: [rests], names: {x: y}}}
          |                                                                                     ^
    error: c.yaml:11:104: tests[0].expect.names.x: unknown sink `x`; accepted: alerts, archive
       11 |   - {name: a, tag: t, record: {log: x}, source: edge, time: noon, expect: {routes: [rests], names: {x: y}}}
          |                                                                                                        ^
    error: c.yaml:12:41: tests[1].expect: nothing is expected; accepted: routes, to, names
       12 |   - {name: b, tag: t, record: {log: x}, expect: {}}
          |                                         ^
    error: c.yaml:13:31: tests[2].record: found the text `text`, expected a map, for example `record: {log: text}`
       13 |   - {name: c, tag: t, record: text, expect: {to: []}}
          |                               ^
    6 errors
    "#);
}

#[test]
fn what_takes_the_rest_of_other_sinks_must_be_an_archive() {
    let line = |section: &str| {
        let error = errors(&format!("{GOOD}{section}\n"));
        error.lines().next().map(str::to_owned).expect("a line")
    };
    insta::assert_snapshot!(line("dead_letters: {to: archiv}"), @"error: c.yaml:10:20: dead_letters.to: unknown sink `archiv`, did you mean `archive`? accepted: archive");
    insta::assert_snapshot!(line("dead_letters: {to: alerts}"), @"error: c.yaml:10:20: dead_letters.to: `alerts` is a cloudwatch_logs sink; a sink of type s3 or file is needed, accepted: archive");
    insta::assert_snapshot!(line("dead_letters: {}"), @"error: c.yaml:10:1: dead_letters: the key `to` is missing, for example `to: archive`");
    insta::assert_snapshot!(line("dead_letters: {to: archive, prefix: \"dead/{container}/\"}"), @"error: c.yaml:10:37: dead_letters.prefix: a dead letter may be no record, so its prefix has no `{field}`; accepted are text and %Y, %m, %d, %H, %M");
    insta::assert_snapshot!(line("dead_letters: {to: archive, prefix: \"dead/%q/\"}"), @"error: c.yaml:10:43: dead_letters.prefix: `%q` is no part of a date; accepted are {field}, %Y, %m, %d, %H, %M, and %%, {{, }} for the characters themselves");
    let alerts = |more: &str| {
        let error = errors_with("retention_days: 30}", &format!("retention_days: 30}}, {more}"));
        error.lines().next().map(str::to_owned).expect("a line")
    };
    insta::assert_snapshot!(alerts("when_full: {divert: alerts}"), @"error: c.yaml:7:106: sinks.alerts.when_full.divert: a sink cannot divert to itself; name another one, of type s3 or file");
    insta::assert_snapshot!(alerts("when_full: {divert: other}"), @"error: c.yaml:7:106: sinks.alerts.when_full.divert: unknown sink `other`; accepted: archive");
    insta::assert_snapshot!(alerts("when_full: {keep: archive}"), @"error: c.yaml:7:97: sinks.alerts.when_full: `keep` is no policy with a sink; accepted are block, drop_oldest, drop_newest and {divert: SINK}");
    insta::assert_snapshot!(alerts("when_full: drop"), @"error: c.yaml:7:97: sinks.alerts.when_full: `drop` is no policy; accepted are block, drop_oldest, drop_newest and {divert: SINK}");
    insta::assert_snapshot!(alerts("oversize: divert"), @"error: c.yaml:7:96: sinks.alerts.oversize: `divert` sends messages to the dead letters, which have no place; write for example `dead_letters: {to: archive}`, or `oversize: split`");
    let both = GOOD.replace("retention_days: 30}", "retention_days: 30}, when_full: {divert: archive}");
    let chain = both.replace("bucket: my-logs", "bucket: my-logs, when_full: {divert: archive}");
    insta::assert_snapshot!(errors(&chain).lines().next().expect("a line"), @"error: c.yaml:7:106: sinks.alerts.when_full.divert: `archive` diverts too when it is full; let it block, drop_oldest or drop_newest");
    let plan = good(&format!("{both}dead_letters: {{to: archive}}\n"));
    assert_eq!((plan.sinks[0].divert, plan.sinks[0].queue.when_full), (Some(1), WhenFull::Divert));
    let letters = plan.dead_letters.expect("they have a place");
    assert_eq!((letters.sink, &*letters.prefix), (1, "dead-letters/dt=%Y-%m-%d/"));
}

#[test]
fn defaults_are_filled_in() {
    let plan = good(GOOD);
    assert_eq!(plan.memory.total, 64 << 20);
    assert_eq!(plan.sinks.iter().map(|sink| sink.queue.bound).sum::<u64>(), (32 << 20) * 42 / 100 / 2 * 2);
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
    insta::assert_snapshot!(good(&text).warnings.join("\n"), @r#"
    memory: 1GiB is more than the container may use (512MiB); the kernel will kill it
    sinks.alerts.create.retention_days: new log groups keep their events for ever, and are billed for it; set for example 30
    sinks.alerts.create.class: in INFREQUENT_ACCESS groups EMF metrics, metric filters, alarms, subscriptions and Live Tail do not work; the class of a group cannot be changed later
    sinks.archive.object.size: objects of 1MiB cost more in requests and make queries slow; 5MiB and more suit readers
    sinks.archive.storage_class: objects in GLACIER must be restored before they can be read; a lifecycle rule that moves them there later is usually cheaper
    sinks.archive.prefix: the leading `/` is left out: it would make a folder without a name in S3
    admin.listen: 0.0.0.0:9600 can be reached from outside, and the admin server has no password
    drain.timeout: 1m is not below the 30s after which ECS kills by default; raise the container's stopTimeout too (Fargate: at most 120s)
    sinks.spare: no route leads here, so it will never receive a record
    "#);
    assert!(good(GOOD).warnings.is_empty(), "{:?}", good(GOOD).warnings);
}

#[test]
fn memory_that_large_frames_may_exceed_is_warned_of() {
    let small = good(&GOOD.replace("memory: 64MiB", "memory: 32MiB"));
    assert!(small.warnings.iter().any(|warning| {
        *warning
            == "memory: 32MiB may be exceeded when each source reads a frame of its `limits.frame` (together 8MiB); \
                give more, or lower `limits.frame`"
    }));
    // A quarter of it all the same.
    assert_eq!(small.memory.queues, (8 << 20) * 42 / 100);
}

#[test]
fn what_would_leave_a_source_open_is_a_mistake() {
    let with = |more: &str| {
        errors_with("listen: [tcp://127.0.0.1:24224]", &format!("listen: [tcp://127.0.0.1:24224], {more}"))
    };
    insta::assert_snapshot!(with("auth: {shared_key: ''}"), @r#"
    error: c.yaml:2:65: sources.forward.auth.shared_key: the shared key is empty, so anybody would know it
    1 error
    "#);
    insta::assert_snapshot!(with("auth: {users: [{username: ann, password: a}]}"), @r#"
    error: c.yaml:2:46: sources.forward.auth: the key `shared_key` is missing
    1 error
    "#);
    insta::assert_snapshot!(with("auth: {shared_key: k, users: [{username: ann, password: ''}, {username: ann, password: a}]}"), @r#"
    error: c.yaml:2:102: sources.forward.auth.users[0].password: the password is empty, so anybody would know it
    error: c.yaml:2:118: sources.forward.auth.users[1].username: `ann` is here twice
    2 errors
    "#);
    insta::assert_snapshot!(with("tls: {cert: /a, key: /b}"), @r#"
    error: c.yaml:2:46: sources.forward.tls: no address of this source begins with tls://; write for example `listen: [tls://0.0.0.0:24224]`
        2 |   forward: {listen: [tcp://127.0.0.1:24224], tls: {cert: /a, key: /b}}
          |                                              ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("tcp://127.0.0.1:24224", "tls://127.0.0.1:24224"), @r#"
    error: c.yaml:2:13: sources.forward.listen: `tls://127.0.0.1:24224` needs a certificate; write for example `tls: {cert: /etc/logweir/tls.crt, key: /etc/logweir/tls.key}`
        2 |   forward: {listen: [tls://127.0.0.1:24224]}
          |             ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("tcp://127.0.0.1:24224]", "tls://127.0.0.1:1], tls: {cert: /nowhere/x, key: /b}"), @r#"
    error: c.yaml:2:54: sources.forward.tls.cert: `/nowhere/x` cannot be read: No such file or directory (os error 2)
        2 |   forward: {listen: [tls://127.0.0.1:1], tls: {cert: /nowhere/x, key: /b}}
          |                                                      ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("[tcp://127.0.0.1:24224]", "[tcp://127.0.0.1:1, tls://0.0.0.0:1]"), @r#"
    error: c.yaml:2:13: sources.forward.listen: `tls://0.0.0.0:1` needs a certificate; write for example `tls: {cert: /etc/logweir/tls.crt, key: /etc/logweir/tls.key}`
        2 |   forward: {listen: [tcp://127.0.0.1:1, tls://0.0.0.0:1]}
          |             ^
    error: c.yaml:2:41: sources.forward.listen[1]: `tls://0.0.0.0:1` cannot be bound beside `tcp://127.0.0.1:1`; each listener needs its own
        2 |   forward: {listen: [tcp://127.0.0.1:1, tls://0.0.0.0:1]}
          |                                         ^
    2 errors
    "#);
}

#[test]
fn a_secret_is_in_no_plan_that_is_printed_and_in_no_fingerprint() {
    let with = |key: &str| {
        let auth = format!(
            "listen: [tcp://127.0.0.1:24224], auth: {{shared_key: {key}, users: [{{username: ann, password: {key}}}]}}"
        );
        good(&GOOD.replace("listen: [tcp://127.0.0.1:24224]", &auth))
    };
    let (one, other) = (with("first-s3cret"), with("second-s3cret"));
    assert!(!format!("{one:?}").contains("s3cret"), "{one:?}");
    assert_eq!(one.fingerprint, other.fingerprint);
    assert_ne!(one.fingerprint, good(GOOD).fingerprint);
}

#[test]
fn a_handshake_in_the_clear_or_at_dockers_socket_is_warned_of() {
    let text = GOOD.replace(
        "listen: [tcp://127.0.0.1:24224]",
        "listen: [tcp://0.0.0.0:24224, tcp://127.0.0.1:24225, unix:///run/fluent.sock], auth: {shared_key: k}",
    );
    insta::assert_snapshot!(good(&text).warnings.join("\n"), @r#"
    sources.forward.auth: records come to tcp://0.0.0.0:24224 in the clear, and whoever sees one handshake may try keys at leisure; listen on tls:// instead
    sources.forward.auth: it is asked for at unix:///run/fluent.sock too, and Docker's fluentd log driver cannot answer; give the socket a source of its own
    "#);
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

#[test]
fn a_condition_that_does_not_compile_is_pointed_at() {
    insta::assert_snapshot!(errors_with("level >= WARN", "level >= WRAN"), @r#"
    error: c.yaml:4:35: routes[0].when: `WRAN` is no level; accepted: TRACE DEBUG INFO WARN ERROR FATAL; did you mean `WARN`?
        4 |   - {name: errors, when: level >= WRAN, to: [alerts, archive]}
          |                                   ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("level >= WARN", "'log.status = 200'"), @r#"
    error: c.yaml:4:38: routes[0].when: found a single `=`; write == to compare
        4 |   - {name: errors, when: 'log.status = 200', to: [alerts, archive]}
          |                                      ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("when: level >= WARN", "when: \"log.list.map(x, x) == \\\"a\\\"\""), @r#"
    error: c.yaml:4:39: routes[0].when: a comprehension (.all, .exists, .map, .filter, …) is not accepted in a condition; accepted are == != < <= > >= in && || ! has(record.x) .startsWith() .endsWith() .contains() .matches()
        4 |   - {name: errors, when: "log.list.map(x, x) == \"a\"", to: [alerts, archive]}
          |                                       ^
    1 error
    "#);
    let block = GOOD.replace(
        "{name: errors, when: level >= WARN, to: [alerts, archive]}",
        "name: errors\n    when: |\n      level >= WARN\n        && nonsense(1)\n    to: [alerts]",
    );
    insta::assert_snapshot!(errors(&block), @r#"
    error: c.yaml:7:20: routes[0].when: `nonsense` is not accepted in a condition; accepted are == != < <= > >= in && || ! has(record.x) .startsWith() .endsWith() .contains() .matches()
        7 |         && nonsense(1)
          |                    ^
    1 error
    "#);
}

#[test]
fn a_template_that_does_not_parse_is_pointed_at() {
    insta::assert_snapshot!(errors_with("bucket: my-logs", "bucket: my-logs, prefix: 'logs/%q/{container'"), @r#"
    error: c.yaml:8:54: sinks.archive.prefix: `%q` is no part of a date; accepted are {field}, %Y, %m, %d, %H, %M, and %%, {{, }} for the characters themselves
        8 |   archive: {type: s3, bucket: my-logs, prefix: 'logs/%q/{container'}
          |                                                      ^
    1 error
    "#);
    insta::assert_snapshot!(errors_with("log_group: /ecs/app", "log_group: \"/ecs/a b/{container}\""), @r#"
    error: c.yaml:7:47: sinks.alerts.log_group: a log group's name may not hold ' '; accepted are a-z, A-Z, 0-9 and . - _ / #
        7 |   alerts: {type: cloudwatch_logs, log_group: "/ecs/a b/{container}", create: {retention_days: 30}}
          |                                               ^
    1 error
    "#);
}

#[test]
fn sections_with_an_off_position_take_false() {
    let off = |text: &str| {
        let plan = good(text);
        let plan::SinkKind::CloudWatchLogs(alerts) = &plan.sinks[0].kind else { panic!("the first sink") };
        let SourceKind::Forward(forward) = &plan.sources[0].kind;
        (!alerts.create.enabled, !forward.join.enabled)
    };
    let create = |value: &str| GOOD.replace("{retention_days: 30}", value);
    let join = |value: &str| GOOD.replace("24224]}", &format!("24224], join: {value}}}"));
    assert_eq!(off(GOOD), (false, false));
    assert_eq!(off(&create("false")), (true, false));
    assert_eq!(off(&create("true")), (false, false));
    assert_eq!(off(&create("\"${CREATE:-false}\"")), (true, false));
    assert_eq!(off(&join("false")), (false, true));
    assert_eq!(off(&join("{timeout: 5s}")), (false, false));
    insta::assert_snapshot!(errors(&create("{retention: 30, clas: STANDARD}")), @r#"
    error: c.yaml:7:65: sinks.alerts.create.retention: unknown key `retention`, did you mean `retention_days`? accepted: enabled, retention_days, class, kms_key, tags
        7 |   alerts: {type: cloudwatch_logs, log_group: /ecs/app, create: {retention: 30, clas: STANDARD}}
          |                                                                 ^
    error: c.yaml:7:80: sinks.alerts.create.clas: unknown key `clas`, did you mean `class`? accepted: enabled, retention_days, class, kms_key, tags
        7 |   alerts: {type: cloudwatch_logs, log_group: /ecs/app, create: {retention: 30, clas: STANDARD}}
          |                                                                                ^
    2 errors
    "#);
    insta::assert_snapshot!(errors(&create("never")), @r#"
    error: c.yaml:7:64: sinks.alerts.create: found the text `never`, expected a map, or false, for example `create: {retention_days: 30}`
        7 |   alerts: {type: cloudwatch_logs, log_group: /ecs/app, create: never}
          |                                                                ^
    1 error
    "#);
}
