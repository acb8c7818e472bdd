//! Paths through maps and through JSON in strings.

use proptest::prelude::*;
use rmpv::Value;

use super::*;
use crate::record::testing::Sample;

fn resolve(path: &[&str], sample: &Sample) -> Option<Found<'static>> {
    let path = Path::new(path.iter().map(ToString::to_string).collect()).expect("a path");
    path.resolve(&sample.record()).map(Found::into_owned)
}

#[test]
fn steps_go_into_maps_and_into_json_in_strings() {
    let sample = Sample::json(
        r#"{"k":{"labels":{"app":"web"}},"log":"{\"http\":{\"status\":503},\"s\":\"{\\\"deep\\\":[true]}\"}","n":1}"#,
    );
    assert_eq!(resolve(&["k", "labels", "app"], &sample), Some(Found::Str(b"web".as_slice().into())));
    assert_eq!(resolve(&["log", "http", "status"], &sample), Some(Found::UInt(503)));
    assert_eq!(resolve(&["log", "s", "deep"], &sample), Some(Found::Array));
    assert_eq!(resolve(&["k", "labels"], &sample), Some(Found::Map));
    for missing in
        [&["k", "nope"][..], &["n", "x"], &["log", "http", "status", "x"], &["nope"], &["k", "labels", "app", "x"]]
    {
        assert_eq!(resolve(missing, &sample), None, "{missing:?}");
    }
}

#[test]
fn every_type_is_told() {
    let sample = Sample::pairs([
        ("nil", Value::Nil),
        ("bool", Value::from(true)),
        ("int", Value::from(-5)),
        ("uint", Value::from(u64::MAX)),
        ("f32", Value::F32(1.5)),
        ("bin", Value::Binary(b"\xff".to_vec())),
        ("ext", Value::Ext(0, vec![0; 8])),
        ("list", Value::Array(vec![Value::Nil])),
    ]);
    let kinds = ["nil", "bool", "int", "uint", "f32", "bin", "ext", "list"].map(|key| resolve(&[key], &sample));
    let bin = Found::Str(b"\xff".as_slice().into());
    assert_eq!(
        kinds.map(|found| found.expect("there")),
        [
            Found::Nil,
            Found::Bool(true),
            Found::Int(-5),
            Found::UInt(u64::MAX),
            Found::Float(1.5),
            bin,
            Found::Other,
            Found::Array
        ]
    );
}

#[test]
fn the_last_of_equal_keys_wins() {
    let inner = |n: i32| Value::Map(vec![("x".into(), n.into()), ("x".into(), (n + 1).into())]);
    let sample = Sample::pairs([("a", inner(1)), ("b", 7.into()), ("a", inner(5))]);
    assert_eq!(resolve(&["a", "x"], &sample), Some(Found::UInt(6)));
    let scalar_last = Sample::pairs([("a", inner(1)), ("a", 7.into())]);
    assert_eq!(resolve(&["a", "x"], &scalar_last), None, "the value that counts has no fields");
}

#[test]
fn keys_that_are_no_text_are_passed_over() {
    let map =
        Value::Map(vec![(1.into(), "a".into()), (Value::Binary(b"k".to_vec()), "b".into()), (Value::Nil, 3.into())]);
    assert_eq!(resolve(&["k"], &Sample::value(&map)), Some(Found::Str(b"b".as_slice().into())));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, map in "\\PC*") {
        let sample = Sample::bytes(bytes);
        let _ = (resolve(&["a"], &sample), resolve(&["log", "a", "b"], &sample));
        let mut whole = Sample::log(&map);
        whole.map.pop();
        let _ = resolve(&["log", "a"], &whole);
    }
}
