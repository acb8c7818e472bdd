//! Embedded JSON against serde_json and hostile texts.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::record::name::Found;

/// What a reader that builds a tree says; a number too large for it is left to us.
fn reference(text: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(text) {
        Ok(value) => Some(value.is_object() && depth(&value) <= MAX_DEPTH),
        Err(error) if error.to_string().contains("out of range") || error.to_string().contains("recursion") => None,
        Err(_) => Some(false),
    }
}

/// Whether a text is one whole JSON object, as scanner and outline say with one voice.
fn agreed(text: &[u8]) -> bool {
    let mut outline = Outline::default();
    let (read, parsed) = (outline.read(text), Object::parse(text));
    assert_eq!(read, parsed, "{}", String::from_utf8_lossy(text));
    if let Some(object) = read {
        assert!(outline.members(object).eq(object.members()), "{}", String::from_utf8_lossy(text));
    }
    read.is_some()
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn same(found: &Found<'_>, value: &Value) -> bool {
    match (found, value) {
        (Found::Nil, Value::Null) | (Found::Array, Value::Array(_)) | (Found::Map, Value::Object(_)) => true,
        (Found::Bool(a), Value::Bool(b)) => a == b,
        (Found::UInt(a), Value::Number(b)) => b.as_u64() == Some(*a) || (*a == 0 && b.as_f64() == Some(0.0)),
        (Found::Int(a), Value::Number(b)) => b.as_i64() == Some(*a),
        (Found::Float(a), Value::Number(b)) => {
            // serde_json's default float reader may be off by one in the last place.
            b.as_f64().is_some_and(|b| a == &b || (a - b).abs() <= a.abs() * 1e-15)
        }
        (Found::Str(a), Value::String(b)) => a.as_ref() == b.as_bytes(),
        _ => false,
    }
}

#[test]
fn only_one_whole_object_counts() {
    for yes in ["{}", " \n{\"a\":1}\t\r\n", r#"{"a":[],"b":{},"c":[1,-0.5e+3,true,false,null,"\u00e9\ud83d\ude00\/"]}"#]
    {
        assert!(agreed(yes.as_bytes()), "{yes}");
    }
    let no = [
        "",
        " ",
        "[]",
        "1",
        "\"a\"",
        "null",
        "{",
        "}",
        "{}}",
        "{} {}",
        "{},",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":+1}",
        "{\"a\":-}",
        "{\"a\":1e}",
        "{\"a\":NaN}",
        "{\"a\":[1,]}",
        "{\"a\":[}",
        "{\"a\":{]}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"b}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":tru}",
        "{\"a\":1 2}",
        "{\"a\" 1}",
        "{\"a\":\"\u{0}\"}",
        "{\"a\":1}\u{a0}",
    ];
    for no in no {
        assert!(!agreed(no.as_bytes()), "{no}");
    }
    assert!(!agreed(b"{\"a\":\"\xff\"}"), "strings are UTF-8");
}

#[test]
fn nesting_is_bounded_and_empty_ones_count() {
    let nested = |n: usize| format!("{}{{}}{}", "{\"a\":".repeat(n - 1), "}".repeat(n - 1));
    assert!(agreed(nested(MAX_DEPTH).as_bytes()));
    assert!(!agreed(nested(MAX_DEPTH + 1).as_bytes()));
    assert_eq!(find(nested(MAX_DEPTH + 1).as_bytes(), b"a"), None);
    let lists = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
    assert!(agreed(lists(MAX_DEPTH - 1).as_bytes()));
    assert!(!agreed(lists(MAX_DEPTH).as_bytes()));
    assert!(!agreed("{\"a\":".repeat(100_000).as_bytes()));
}

#[test]
fn line_breaks_are_seen_outside_strings() {
    let one_line = |text: &'static str| Object::parse(text.as_bytes()).expect("valid").is_one_line();
    assert!(one_line("{\"a\": \"\\n\", \"b\": [1, {\"c\":\t2}]}"));
    assert!(one_line("\n{\"a\":1}\r\n"), "what stands around it is not part of it");
    for broken in
        ["{\n\"a\":1}", "{\"a\":1\r}", "{\"a\":[1,\n2]}", "{\"a\"\n:1}", "{\"a\":1,\n\"b\":2}", "{\"a\":{\n}}"]
    {
        assert!(!one_line(broken), "{broken:?}");
    }
    assert_eq!(Object::parse(b" {\"a\":1}\n").expect("valid").text(), b"{\"a\":1}");
}

#[test]
fn the_last_of_equal_keys_wins_however_it_is_spelled() {
    let text = br#"{"a":1,"\u0061":{"b":1,"b":"x\ny"},"ab":3}"#;
    assert_eq!(lookup(text, &[b"a", b"b"]).and_then(Raw::string).as_deref(), Some(b"x\ny".as_slice()));
    assert_eq!(find(text, b"a").map(Raw::text), Some(br#"{"b":1,"b":"x\ny"}"#.as_slice()));
    assert_eq!(find(text, br"\u0061"), None, "keys are compared unescaped");
    let members: Vec<_> = Object::parse(text).expect("valid").members().map(|m| m.key).collect();
    assert_eq!(members, [b"a".as_slice(), br"\u0061", b"ab"]);
}

#[test]
fn a_mistake_behind_a_key_hides_it() {
    assert_eq!(find(br#"{"level":"ERROR","msg":"cut of"#, b"level"), None);
    assert_eq!(find(br#"{"level":"ERROR"} and more"#, b"level"), None);
}

#[test]
fn numbers_keep_their_digits_while_they_fit() {
    let found = |text: &str| find(format!("{{\"n\":{text}}}").as_bytes(), b"n").expect("valid").found().into_owned();
    assert_eq!(found("18446744073709551615"), Found::UInt(u64::MAX));
    assert_eq!(found("-9223372036854775808"), Found::Int(i64::MIN));
    assert_eq!(found("18446744073709551616"), Found::Float(18446744073709551616.0));
    assert_eq!(found("-0"), Found::UInt(0));
    assert_eq!(found("1.0"), Found::Float(1.0));
    assert_eq!(found("2e3"), Found::Float(2000.0));
    assert_eq!(found("1e999"), Found::Float(f64::INFINITY));
}

#[test]
fn strings_without_escapes_are_borrowed() {
    let text = r#"{"a":"plain é","b":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}"#.as_bytes();
    assert!(matches!(find(text, b"a").and_then(Raw::string), Some(Cow::Borrowed(s)) if s == "plain é".as_bytes()));
    assert_eq!(find(text, b"b").and_then(Raw::string).as_deref(), Some("\"\\/\u{8}\u{c}\n\r\té😀".as_bytes()));
}

#[test]
fn every_byte_of_a_word_ends_a_string() {
    // The scanner looks at sixteen bytes at once: each special byte at each place of a step, behind high bytes too.
    for at in 0..24 {
        for fill in ["a", "é", "\u{7f}"] {
            let prefix: String = fill.repeat(at);
            assert!(agreed(format!("{{\"{prefix}\":\"{prefix}\\n{prefix}\"}}").as_bytes()));
            for bad in ["\u{1f}", "\u{0}", "\\q"] {
                assert!(!agreed(format!("{{\"a\":\"{prefix}{bad}{prefix}\"}}").as_bytes()), "{at} {fill} {bad:?}");
            }
        }
    }
}

#[test]
fn an_outline_remembers_so_many_members_and_leaves_the_rest_to_the_scanner() {
    for (count, value) in [(4096, "1"), (4097, "1"), (5000, "\"\\n\"")] {
        let text = format!("{{{}}}", vec![format!("\"k\":{value}"); count].join(","));
        assert!(agreed(text.as_bytes()), "{count}");
        let mut outline = Outline::default();
        let object = outline.read(text.as_bytes()).expect("valid");
        assert_eq!((outline.is_cut(), outline.members(object).count()), (count > 4096, count));
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[a-z \"]{40,90}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[ab\"\\\\é]{0,3}", inner), 0..6).prop_map(|m| m.into_iter().collect()),
        ]
    })
}

/// Bytes that are nearly JSON.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"a\"", "\"", "1", "-", "0", ".5", "e3", "E+", "true", "null", " ", "\n", "\\",
        "\\u", "d800", "\\udc00", "\t", "{\"a\":", "{}", "\u{1}", "é",
    ]);
    prop::collection::vec(token, 0..14).prop_map(|tokens| tokens.concat().into_bytes())
}

proptest! {
    #[test]
    fn validation_agrees_with_serde_json_on_valid_text(value in json(), pretty: bool) {
        let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.expect("writes");
        prop_assert_eq!(agreed(&text), value.is_object());
    }

    #[test]
    fn validation_agrees_with_serde_json_on_damaged_text(
        value in json(), at in any::<prop::sample::Index>(), byte: u8, cut: bool,
    ) {
        let mut text = serde_json::to_vec(&serde_json::json!({"k": value})).expect("writes");
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] = byte }
        if let Some(valid) = reference(&text) {
            prop_assert_eq!(agreed(&text), valid, "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn validation_agrees_with_serde_json_on_loose_tokens(inside in nearly_json(), braces: bool) {
        let text = if braces { [b"{".as_slice(), &inside, b"}"].concat() } else { inside };
        if let Some(valid) = reference(&text) {
            prop_assert_eq!(agreed(&text), valid, "{}", String::from_utf8_lossy(&text));
            prop_assert_eq!(scan_members(&text, |_| {}), valid);
        }
    }

    #[test]
    fn lookup_and_members_agree_with_serde_json(
        members in prop::collection::vec(("[ab\"\\\\é\n]{0,3}", json()), 0..6),
        key in "[ab\"\\\\é\n]{0,3}", inner in "[ab]{0,2}",
    ) {
        // Written by hand, so that keys may stand twice.
        let parts: Vec<_> = members.iter().map(|(k, v)| format!("{} : {v}", Value::from(k.as_str()))).collect();
        let text = format!("{{ {} }}", parts.join(" , "));
        let tree: Value = serde_json::from_str(&text).expect("valid");
        let found = find(text.as_bytes(), key.as_bytes()).map(Raw::found);
        match tree.get(&key) {
            Some(value) => prop_assert!(same(found.as_ref().expect("there"), value), "{found:?} {value}"),
            None => prop_assert_eq!(found, None),
        }
        let deep = lookup(text.as_bytes(), &[key.as_bytes(), inner.as_bytes()]).map(Raw::found);
        match tree.get(&key).and_then(|value| value.get(&inner)) {
            Some(value) => prop_assert!(same(deep.as_ref().expect("there"), value)),
            None => prop_assert_eq!(deep, None),
        }
        let seen: Vec<_> = Object::parse(text.as_bytes()).expect("valid").members().collect();
        prop_assert_eq!(seen.len(), members.len());
        for (member, (key, value)) in seen.iter().zip(&members) {
            prop_assert!(*unescape(member.key) == *key.as_bytes());
            prop_assert!(same(&member.value.found(), value) || value.is_f64());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(text: Vec<u8>, key: Vec<u8>, tail in nearly_json()) {
        let _ = (find(&text, &key), lookup(&tail, &[&key, &text]), unescape(&text), unescape(&tail));
        for member in (Members { scan: Scan::trusted(&tail, 1) }) {
            let _ = (member.key_is(&key), member.value.found());
        }
        let _ = Raw::new(&text).found();
    }
}
