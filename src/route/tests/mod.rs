//! Every operator and every sentence of the conditions' semantics.

mod errors;
mod properties;

use super::*;
use crate::record::testing::Sample;

pub(super) fn route(name: &str, when: Option<&str>, sinks: &[usize], goes_on: bool) -> RouteSpec {
    RouteSpec { name: name.into(), when: when.map(String::from), sinks: sinks.to_vec(), goes_on }
}

pub(super) fn router(routes: &[RouteSpec]) -> Router {
    Router::compile(routes, LevelRules::default()).expect("the conditions compile")
}

/// Whether a condition holds, by both ways of evaluating it.
fn matches(condition: &str, sample: &Sample) -> bool {
    let mut router = router(&[route("r", Some(condition), &[], false)]);
    let (mut fast, mut plain) = (Decision::default(), Decision::default());
    router.decide(&sample.record(), &mut fast);
    router.decide_plainly(&sample.record(), &mut plain);
    assert_eq!(fast, plain, "{condition}");
    !fast.routes.is_empty()
}

/// Conditions that hold for a record, and such that do not.
fn check(sample: &Sample, hold: &[&str], fail: &[&str]) {
    for condition in hold {
        assert!(matches(condition, sample), "{condition} holds");
    }
    for condition in fail {
        assert!(!matches(condition, sample), "{condition} does not hold");
    }
}

#[test]
fn comparisons_of_text() {
    check(
        &Sample::json(r#"{"s":"abc","e":""}"#),
        &[
            "s == \"abc\"",
            "s == 'abc'",
            "\"abc\" == s",
            "s != \"x\"",
            "s < \"abd\"",
            "s <= \"abc\"",
            "s > \"ab\"",
            "s >= \"abc\"",
            "\"abd\" > s",
            "\"abc\" <= s",
            "e == \"\"",
            "s in [\"x\", \"abc\"]",
            "s.startsWith(\"ab\")",
            "s.endsWith(\"bc\")",
            "s.contains(\"b\")",
            "s.contains(\"\")",
            "s.matches(\"^a.c$\")",
            "s.matches(\"b\")",
        ],
        &[
            "s == \"ab\"",
            "s != \"abc\"",
            "s < \"abc\"",
            "s > \"abc\"",
            "s in [\"x\"]",
            "s in []",
            "s.startsWith(\"b\")",
            "s.endsWith(\"b\")",
            "s.contains(\"x\")",
            "s.matches(\"^b\")",
            "s == 1",
            "s",
        ],
    );
}

#[test]
fn comparisons_of_numbers_cross_integers_and_floats() {
    check(
        &Sample::json(
            r#"{"i":-5,"u":18446744073709551615,"f":1.5,"g":2.0,"z":0,"log":"{\"n\":503,\"f\":0.1,\"big\":9007199254740993}"}"#,
        ),
        &[
            "i == -5",
            "i < 0",
            "i == -5.0",
            "i > -5.5",
            "i < -4.5",
            "u == 18446744073709551615u",
            "u > 9223372036854775807",
            "u < 18446744073709551616.0",
            "f > 1",
            "f < 2",
            "f == 1.5",
            "1 < f",
            "g == 2",
            "g >= 2",
            "g <= 2u",
            "z == 0.0",
            "z <= 0",
            "z == -0.0",
            "log.n >= 500",
            "log.n in [1, 503]",
            "log.n in [503.0]",
            "log.f == 0.1",
            "log.big != 9007199254740992.0",
            "log.big > 9007199254740992.0",
            "i < 1e300",
            "i > -1e300",
        ],
        &[
            "i == 5",
            "u == 18446744073709551616.0",
            "f == 1",
            "g == \"2\"",
            "log.n == \"503\"",
            "log.n < 500",
            "log.big == 9007199254740992.0",
            "i.contains(\"5\")",
            "i",
        ],
    );
}

#[test]
fn not_a_number_is_equal_to_nothing_and_has_no_order() {
    let sample = Sample::pairs([("n", rmpv::Value::F64(f64::NAN))]);
    check(&sample, &["n != 1", "has(record.n)"], &["n == 1", "n < 1", "n >= 1", "n < 1.5", "n in [1.5]"]);
}

#[test]
fn bools_and_names_that_stand_alone() {
    check(
        &Sample::json(r#"{"yes":true,"no":false,"s":"true","log":"{\"ok\":true}"}"#),
        &[
            "yes",
            "yes == true",
            "!no",
            "no == false",
            "no != true",
            "log.ok",
            "yes in [true]",
            "!s",
            "true",
            "!false",
            "record[\"yes\"]",
        ],
        &["no", "!yes", "yes == false", "s", "s == true", "missing", "false", "!log.ok"],
    );
}

#[test]
fn a_missing_field_or_another_type_is_false_and_unequal_is_its_opposite() {
    let sample = Sample::json(r#"{"n":null,"list":[1],"map":{"a":1},"s":"1","log":"plain"}"#);
    for name in ["missing", "n", "list", "map", "log.x", "map.b", "s.x", "list.a"] {
        for op in ["== 1", "< 1", "<= 1", "> 1", ">= 1", "== \"1\"", "< \"1\"", "== true", "in [1, \"1\", true]"] {
            assert!(!matches(&format!("{name} {op}"), &sample), "{name} {op}");
        }
        for method in ["startsWith", "endsWith", "contains", "matches"] {
            assert!(!matches(&format!("{name}.{method}(\"\")"), &sample), "{name}.{method}");
        }
        assert!(matches(&format!("{name} != 1"), &sample), "{name} != 1");
        assert!(!matches(&format!("!({name} != 1)"), &sample));
    }
    check(&sample, &["s != 1"], &["s == 1"]);
}

#[test]
fn and_or_and_not_combine() {
    let sample = Sample::json(r#"{"a":1,"b":2}"#);
    check(
        &sample,
        &[
            "a == 1 && b == 2",
            "a == 2 || b == 2",
            "!(a == 2) && b == 2",
            "a == 2 || a == 3 || a == 1",
            "(a == 2 || b == 2) && a == 1",
            "!(a == 1 && b == 3)",
            "!!(a == 1)",
        ],
        &["a == 1 && b == 3", "a == 2 || b == 3", "!(a == 1)", "a == 2 || b == 2 && a == 3"],
    );
}

#[test]
fn has_asks_for_the_field_and_not_for_its_value() {
    check(
        &Sample::json(r#"{"n":null,"@t":1,"k":{"a b":1},"tag":"x","log":"{\"z\":null}"}"#).ecs("prod"),
        &[
            "has(record.n)",
            "has(record.tag)",
            "has(log.z)",
            "\"@t\" in record",
            "\"a b\" in k",
            "\"z\" in log",
            "has(record.ecs_cluster)",
            "!has(record.x)",
            "has(record.k)",
        ],
        &["has(record.x)", "has(log.y)", "\"x\" in record", "\"x\" in n", "has(record.ecs_task_arn)", "has(n.x)"],
    );
}

#[test]
fn built_ins_are_what_they_say() {
    check(
        &Sample::json(r#"{"tag":"own","container_name":"/web"}"#).tag("web-firelens-77").ecs("prod"),
        &[
            "tag == \"web-firelens-77\"",
            "container == \"web\"",
            "task_id == \"77\"",
            "source_name == \"forward\"",
            "record.tag == \"own\"",
            "container in [\"a\", \"web\"]",
            "tag.matches(\"^web-firelens-[0-9]+$\")",
            "ecs_cluster == \"prod\"",
            "container_name == \"/web\"",
            "container < \"x\"",
        ],
        &["tag == \"own\"", "container == \"\"", "ecs_task_definition == \"x\"", "ecs_cluster != \"prod\""],
    );
    check(&Sample::json("{}").tag("nginx"), &["container == \"\"", "task_id == \"\""], &["container.contains(\"n\")"]);
    check(
        &Sample::json(r#"{"ecs_cluster":"own"}"#).ecs("prod"),
        &["ecs_cluster == \"own\""],
        &["ecs_cluster == \"prod\""],
    );
}

#[test]
fn levels_compare_in_their_order() {
    let warn = Sample::log(r#"{"level":"warning"}"#);
    check(
        &warn,
        &[
            "level == WARN",
            "level >= WARN",
            "level <= WARN",
            "level > INFO",
            "ERROR > level",
            "level != ERROR",
            "level in [WARN, ERROR]",
        ],
        &["level > WARN", "level == ERROR", "level >= ERROR", "level in [TRACE]", "!(level >= INFO)"],
    );
    let none = Sample::log("nothing");
    check(
        &none,
        &["level != WARN", "!(level >= TRACE)"],
        &["level >= TRACE", "level <= FATAL", "level == WARN", "level in [WARN]"],
    );
    check(
        &Sample::json(r#"{"level":"error","log":"{\"level\":\"info\"}"}"#),
        &["level == ERROR && log.level == \"info\""],
        &[],
    );
    check(&Sample::log("ERROR at once"), &["level == ERROR && log.contains(\"once\")"], &[]);
}

#[test]
fn escapes_in_json_do_not_hide_a_value() {
    let sample =
        Sample::log(r#"{"p":"\u002fhealthz","q":"a\/b","r":"\"x\"","s":"{\"t\":\"\\u0041BC\"}","\u006bey":"VALUE"}"#);
    check(
        &sample,
        &[
            "log.p == \"/healthz\"",
            "log.q == \"a/b\"",
            "log.r == '\"x\"'",
            "log.s.t == \"ABC\"",
            "log.key == \"VALUE\"",
            "has(log.key)",
        ],
        &["log.p == \"healthz\"", "log.t == \"ABC\""],
    );
}

#[test]
fn long_lists_are_searched_like_short_ones() {
    let list: Vec<_> = (0..500).map(|n| format!("\"v{n}\"")).collect();
    let condition = format!("log.v in [{}, 7]", list.join(","));
    for n in [0, 250, 499] {
        assert!(matches(&condition, &Sample::log(&format!("{{\"v\":\"v{n}\"}}"))));
    }
    check(&Sample::log(r#"{"v":7}"#), &[&condition], &[]);
    check(&Sample::log(r#"{"v":"v500"}"#), &[], &[&condition]);
}

#[test]
fn the_first_match_takes_the_record_unless_it_goes_on() {
    let mut router = router(&[
        route("a", Some("x == 1"), &[0], true),
        route("b", Some("x <= 2"), &[1, 0], false),
        route("c", Some("x >= 3"), &[], false),
        route("rest", None, &[2, 2], false),
    ]);
    let mut decision = Decision::default();
    let mut decide = |x: i32| {
        router.decide(&Sample::json(&format!("{{\"x\":{x}}}")).record(), &mut decision);
        (decision.routes.clone(), decision.sinks.clone())
    };
    assert_eq!(decide(1), (vec![0, 1], vec![0, 1]), "each sink once");
    assert_eq!(decide(2), (vec![1], vec![1, 0]));
    assert_eq!(decide(3), (vec![2], vec![]), "dropped on purpose");
    assert_eq!(decide(1), (vec![0, 1], vec![0, 1]), "nothing is left of the last record");
    router.decide(&Sample::json("{}").record(), &mut decision);
    assert_eq!((decision.routes, decision.sinks), (vec![3], vec![2]));
}

#[test]
fn a_record_that_is_no_map_goes_the_last_way() {
    let mut router = router(&[
        route("a", Some("level >= TRACE || has(log.a) || x == 1"), &[0], false),
        route("rest", None, &[1], false),
    ]);
    let mut decision = Decision::default();
    for bytes in [&b""[..], b"\xc0", b"\x92\x01\x02", b"\xdf\xff\xff\xff\xff", b"\x81\xa1x", b"\x82\xa1x\xc1"] {
        router.decide(&Sample::bytes(bytes.to_vec()).record(), &mut decision);
        assert_eq!(decision.sinks, [1]);
    }
}

#[test]
fn an_explanation_tells_the_comparison_the_value_and_the_type() {
    let router = router(&[
        route("health", Some("log.path == \"/healthz\" && log.status == 200"), &[], false),
        route("text", Some("log.status == \"503\" || (has(record.x) && missing > 1)"), &[1], false),
        route("quiet", Some("!(level >= WARN)"), &[1], false),
        route("never", Some("false"), &[1], false),
        route("errors", Some("level >= WARN"), &[0, 1], true),
        route("rest", None, &[], false),
        route("after", None, &[1], false),
    ]);
    let sample = Sample::log(r#"{"path":"/pay","status":503,"severity":"error"}"#);
    let explanation = router.explain(&sample.record());
    let text = explanation.to_string();
    let expect = "\
level ERROR, from the key `severity` of the JSON in `log`
- health: not matched
    log.path == \"/healthz\" is false: found \"/pay\", a string
    log.status == 200 is false: found 503, an integer
- text: not matched
    log.status == \"503\" is false: found 503, an integer
    has(record.x) is false: found missing
    missing > 1 is false: found missing
- quiet: not matched
    level >= WARN is true: found ERROR, a level
- never: not matched
+ errors: matched, later routes are looked at too
+ rest: matched, dropped on purpose
  after: not looked at, an earlier route took the record
";
    assert_eq!(text, expect.replace("has(record.x)", "has(x)"));
    assert_eq!(explanation.routes[4].verdict, Verdict::Matched { sinks: vec![0, 1], goes_on: true });
    assert_eq!(explanation.routes[6].verdict, Verdict::NotReached);
}

#[test]
fn an_explanation_shortens_long_values_and_shows_each_type() {
    let router = router(&[route(
        "r",
        Some("a == 1 && b == 1 && c == 1 && d == 1 && e == true && f == 1 && level == INFO"),
        &[],
        false,
    )]);
    let long = "é".repeat(1000);
    let sample = Sample::json(&format!(r#"{{"a":null,"b":[1],"c":{{}},"d":1.5,"e":false,"f":"{long}"}}"#));
    let text = router.explain(&sample.record()).to_string();
    for part in [
        "null, null",
        "[…], an array",
        "{…}, a map",
        "1.5, a float",
        "false, a bool",
        "(2000 bytes), a string",
        "level == INFO is false: found missing",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.starts_with("no level"));
    assert!(text.len() < 1000);
}

#[test]
fn a_condition_reads_the_same_in_an_explanation() {
    let conditions = [
        "a.b == \"x\"",
        "a != 1.5",
        "a < -3",
        "level >= WARN",
        "tag.startsWith(\"x\")",
        "a in [\"b\", 1, true]",
        "a.matches(\"^x\\\\d\")",
        "has(a.b)",
        "record[\"@t\"] == 2.0",
        "a",
        "a.contains(\"q\")",
        "a.endsWith(\"q\")",
        "record.tag > \"z\"",
        "a >= 1",
        "a <= 1",
    ];
    let sample = Sample::bytes(vec![0x80]).tag("no");
    for condition in conditions {
        let explanation = router(&[route("r", Some(condition), &[], false)]).explain(&sample.record());
        match &explanation.routes[0].verdict {
            Verdict::Failed(reasons) => assert_eq!(reasons[0].comparison, condition),
            verdict => assert_eq!((condition, matches!(verdict, Verdict::Matched { .. })), ("a != 1.5", true)),
        }
    }
}
