//! Neither the prefilter nor the shared lazy pass changes an answer.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::record::testing::pack;

/// Few words, so that conditions and records meet often.
const WORDS: [&str; 10] = ["", "a", "ab", "abc", "level", "ERROR", "warn", "é\"\\/", "/x", "500"];
const KEYS: [&str; 7] = ["log", "a", "ab", "level", "k", "ecs_cluster", "é\"\\"];

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(WORDS.to_vec()).prop_map(String::from)
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(KEYS.to_vec()).prop_map(String::from)
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => word().prop_map(Value::from),
        2 => prop::sample::select(vec![0, 1, 20, 50, 500, -1]).prop_map(Value::from),
        1 => prop::sample::select(vec![0.5, 50.0, 500.0]).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

/// JSON text that escapes what need not be escaped, sometimes.
fn escaped(value: &Value, hard: bool) -> String {
    let text = value.to_string();
    if !hard {
        return text;
    }
    let mut out = String::new();
    let mut quoted = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                out.push(c);
            }
            '\\' => {
                out.push(c);
                out.extend(chars.next());
            }
            'a' | 'R' | 'l' if quoted => out.push_str(&format!("\\u{:04x}", c as u32)),
            '/' if quoted => out.push_str("\\/"),
            c => out.push(c),
        }
    }
    out
}

/// A value in which maps may stand as JSON text, cut off now and then.
fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 12, 4, |inner| {
        let map =
            prop::collection::vec((key(), inner.clone()), 0..4).prop_map(|m| m.into_iter().collect::<Value>()).boxed();
        prop_oneof![
            1 => prop::collection::vec(inner, 0..3).prop_map(Value::from),
            2 => map.clone(),
            4 => (map, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(map, hard, cut)| {
                let mut text = escaped(&map, hard);
                if cut { text.pop(); }
                Value::from(text)
            }),
        ]
    })
}

fn record() -> impl Strategy<Value = Sample> {
    let pairs = prop::collection::vec((key(), value()), 0..6);
    (pairs, any::<bool>()).prop_map(|(pairs, ecs)| {
        let sample = Sample::pairs(pairs.iter().map(|(key, value)| (key.as_str(), pack(value))));
        if ecs { sample.ecs("abc") } else { sample }
    })
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => word().prop_map(|text| json!(text).to_string()),
        1 => prop::sample::select(vec!["0", "1", "50", "500", "0.5", "-1", "true", "false"]).prop_map(String::from),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(key(), 1..4)
        .prop_map(|keys| format!("record{}", keys.iter().map(|key| format!("[{}]", json!(key))).collect::<String>()))
}

fn comparison() -> impl Strategy<Value = String> {
    let method = prop::sample::select(vec!["startsWith", "endsWith", "contains"]);
    let order = prop::sample::select(vec!["<", "<=", ">", ">="]);
    prop_oneof![
        4 => (name(), any::<bool>(), literal()).prop_map(|(n, eq, l)| format!("{n} {} {l}", if eq { "==" } else { "!=" })),
        2 => (name(), order, prop_oneof![word().prop_map(|w| json!(w).to_string()), Just("50".into())])
            .prop_map(|(n, o, l)| format!("{n} {o} {l}")),
        2 => (name(), prop::collection::vec(literal(), 0..6)).prop_map(|(n, l)| format!("{n} in [{}]", l.join(","))),
        3 => (name(), method, word()).prop_map(|(n, m, w)| format!("{n}.{m}({})", json!(w))),
        1 => name().prop_map(|n| format!("{n}.matches(\"a.?b|ERR\")")),
        2 => (name(), key()).prop_map(|(n, k)| format!("{} in {n}", json!(k))),
        1 => name(),
        2 => (prop::sample::select(vec!["==", "!=", ">=", "<"]), prop::sample::select(vec!["DEBUG", "WARN", "ERROR"]))
            .prop_map(|(o, l)| format!("level {o} {l}")),
        1 => word().prop_map(|w| format!("container != {}", json!(w))),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    comparison().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(" && "))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(" || "))),
            inner.prop_map(|part| format!("!({part})")),
        ]
    })
}

fn aimed() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["log.a", "log.ab", "log.log.a", "log.log.ab"]);
    let test = prop_oneof![
        (name.clone(), word()).prop_map(|(n, w)| format!("{n} == {}", json!(w))),
        (name.clone(), word()).prop_map(|(n, w)| format!("!({n} != {})", json!(w))),
        (name.clone(), word()).prop_map(|(n, w)| format!("{n}.contains({})", json!(w))),
        (name.clone(), word(), word()).prop_map(|(n, v, w)| format!("{n} in [{}, {}]", json!(v), json!(w))),
        name.prop_map(|n| format!("has({n})")),
    ];
    let test = test.boxed();
    prop_oneof![
        2 => test.clone(),
        1 => (test.clone(), test.clone()).prop_map(|(a, b)| format!("{a} && {b}")),
        1 => (test.clone(), test).prop_map(|(a, b)| format!("{a} || {b}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_way_and_the_plain_way_agree(
        conditions in prop::collection::vec((condition(), any::<bool>()), 1..5),
        records in prop::collection::vec(record(), 1..20),
    ) {
        let routes: Vec<_> = conditions
            .iter()
            .enumerate()
            .map(|(n, (when, goes_on))| route(&n.to_string(), Some(when), &[n], *goes_on))
            .collect();
        let mut router = router(&routes);
        let (mut fast, mut plain) = (Decision::default(), Decision::default());
        for sample in &records {
            router.decide(&sample.record(), &mut fast);
            router.decide_plainly(&sample.record(), &mut plain);
            prop_assert_eq!(&fast, &plain, "{:?}", rmpv::decode::read_value(&mut &sample.map[..]));
            let explained: Vec<u16> = router
                .explain(&sample.record())
                .routes
                .iter()
                .enumerate()
                .filter(|(_, route)| matches!(route.verdict, Verdict::Matched { .. }))
                .map(|(n, _)| n as u16)
                .collect();
            prop_assert_eq!(&explained, &plain.routes);
        }
    }

    /// Aims at the prefilter: one field of JSON, conditions that need one literal, and escapes that hide it.
    #[test]
    fn escapes_do_not_deceive_the_prefilter(
        conditions in prop::collection::vec(aimed(), 1..4),
        records in prop::collection::vec((prop::sample::select(vec!["a", "ab"]), word(), any::<bool>(), any::<bool>()), 1..8),
    ) {
        let routes: Vec<_> = conditions.iter().map(|when| route("r", Some(when), &[0], true)).collect();
        let mut router = router(&routes);
        let (mut fast, mut plain) = (Decision::default(), Decision::default());
        for (key, value, hard, nested) in &records {
            let mut log = escaped(&json!({*key: value}), *hard);
            if *nested {
                log = escaped(&json!({"log": log}), *hard);
            }
            let sample = Sample::log(&log);
            router.decide(&sample.record(), &mut fast);
            router.decide_plainly(&sample.record(), &mut plain);
            prop_assert_eq!(&fast, &plain, "{}", log);
        }
    }

    #[test]
    fn damaged_records_are_decided_alike(conditions in prop::collection::vec(condition(), 1..4), sample in record(),
        at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let routes: Vec<_> = conditions.iter().map(|when| route("r", Some(when), &[0], true)).collect();
        let mut router = router(&routes);
        let mut map = sample.map.clone();
        let at = at.index(map.len());
        if cut { map.truncate(at) } else { map[at] = byte }
        let damaged = Sample::bytes(map);
        let (mut fast, mut plain) = (Decision::default(), Decision::default());
        router.decide(&damaged.record(), &mut fast);
        router.decide_plainly(&damaged.record(), &mut plain);
        prop_assert_eq!(fast, plain);
    }

    #[test]
    fn no_text_makes_the_compiler_panic(text in prop_oneof!["\\PC{0,40}", "[a.\\[\\]()\"'!&|=<>0-9,inhs ]{0,40}"]) {
        let _ = Router::compile(&[route("r", Some(&text), &[], false)], LevelRules::default());
    }
}

#[test]
fn a_prefilter_is_made_where_it_pays() {
    let has = |condition: &str| router(&[route("r", Some(condition), &[], false)]).routes[0].prefilter.is_some();
    for dear in [
        "log.path == \"/healthz\"",
        "log.status >= 500",
        "has(log.trace)",
        "level >= WARN && log.contains(\"payment\")",
        "log.a.bcd == 1 || log.code in [\"xx\", \"yy\"]",
        "!(log.path != \"/healthz\")",
    ] {
        assert!(has(dear), "{dear}");
    }
    for cheap in [
        "container_name == \"/web\"",
        "level >= WARN",
        "log.path != \"/healthz\"",
        "!has(log.x)",
        "tag == \"x\"",
        "log.path == \"/healthz\" || level >= WARN",
        "l.p == 1",
    ] {
        assert!(!has(cheap), "{cheap}");
    }
}

#[test]
fn a_prefilter_that_never_helps_is_let_be_and_still_the_answer_is_right() {
    let mut router = router(&[route("r", Some("log.status == 500"), &[0], false)]);
    let mut decision = Decision::default();
    for n in 0..20_000 {
        let status = if n % 7 == 0 { 500 } else { 200 };
        router.decide(&Sample::log(&format!("{{\"status\":{status}}}")).record(), &mut decision);
        assert_eq!(decision.routes.len(), usize::from(n % 7 == 0));
    }
}

#[test]
fn after_a_burst_all_prefilters_search_again() {
    let conditions: Vec<String> = (0..10).map(|n| format!("log.k{n} == \"value {n}\"")).collect();
    let routes: Vec<RouteSpec> = conditions.iter().map(|when| route("r", Some(when), &[0], false)).collect();
    let mut router = router(&routes);
    let mut decision = Decision::default();
    let (burst, quiet) = (Sample::log("{\"k9\":\"value 9\"}"), Sample::log("{\"k9\":\"nothing\"}"));
    for _ in 0..1000 {
        router.decide(&burst.record(), &mut decision);
    }
    let resting = |router: &Router| {
        router.routes.iter().filter(|r| r.prefilter.as_ref().is_some_and(|p| p.rests(router.decided + 1))).count()
    };
    assert_eq!(resting(&router), 10);
    for _ in 0..9000 {
        router.decide(&quiet.record(), &mut decision);
    }
    assert_eq!(resting(&router), 0);
}
