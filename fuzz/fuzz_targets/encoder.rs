//! Encoders on any record: no panic, a line is valid JSON with one line break, an entry is a valid JSON string that is
//! not empty and as long as it says. The same bytes as JSON: both readers say the same.

#![no_main]

use std::cell::RefCell;
use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use logweir::encode::entries::{EntryEncoder, MAX_MESSAGE, entries};
use logweir::encode::ndjson::NdjsonEncoder;
use logweir::encode::{LogJson, Message};
use logweir::record::json::{Object, Outline};
use logweir::record::level::LevelRules;
use logweir::record::{Record, Tag};
use logweir::route::{Decision, RouteSpec, Router};
use serde_json::{Map, Value};

fuzz_target!(|input: (u8, i64, &[u8])| {
    let (choice, time, map) = input;
    let tag = Tag::from("app-firelens-0123");
    let record = Record { tag: &tag, source: "fuzz", time, received: 2, map, ecs: None, json: Default::default() };
    let log_json = [LogJson::Nest, LogJson::Lift, LogJson::Raw][usize::from(choice) % 3];
    outline(map);
    line(log_json, &record);
    again(log_json, &record);
    entry([Message::Record, Message::Log][usize::from(choice) % 2], &record);
});

thread_local! {
    static ROUTER: RefCell<Router> = {
        let rule = RouteSpec {
            name: "r".into(),
            when: Some("log.a == \"b\" && level >= WARN".into()),
            sinks: vec![0],
            goes_on: false,
        };
        RefCell::new(Router::compile(&[rule], LevelRules::default()).expect("a legal rule"))
    };
}

/// What is found quote by quote is what the scanner finds.
fn outline(text: &[u8]) {
    let mut outline = Outline::default();
    let read = outline.read(text);
    assert_eq!(read, Object::parse(text));
    if let Some(object) = read {
        assert!(outline.members(object).eq(object.members()), "other members");
    }
}

/// What rules have found out about a record, and pairs that were written before, change no line.
fn again(log_json: LogJson, record: &Record<'_>) {
    let mut used = NdjsonEncoder::new(log_json);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let fresh = Record { json: Default::default(), ..record.clone() };
    let noticed = used.encode(&fresh, &mut first);
    ROUTER.with_borrow_mut(|router| router.decide(record, &mut Decision::default()));
    assert_eq!(used.encode(record, &mut second), noticed);
    assert!(first == second, "written otherwise the second time");
}

fn line(log_json: LogJson, record: &Record<'_>) {
    let mut out = b"before\n".to_vec();
    let notes = NdjsonEncoder::new(log_json).encode(record, &mut out);
    let line = out.strip_prefix(b"before\n").expect("what stood in the buffer stays");
    if notes.malformed > 0 {
        assert!(line.is_empty());
        return;
    }
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(line.last(), Some(&b'\n'));
    if let Some(object) = Object::parse(line) {
        let mut keys = BTreeSet::new();
        assert!(object.members().all(|member| keys.insert(member.key)), "equal keys");
    }
    // serde_json has a bound of 128 levels; ours is 64 and as many again in embedded JSON. Digits beyond f64 are legal.
    match serde_json::from_slice::<Map<String, Value>>(line) {
        Ok(object) => {
            assert_eq!(object.get("tag").and_then(Value::as_str), Some(record.tag.as_str()));
            assert!(object.contains_key("time"));
        }
        Err(error) => {
            let words = error.to_string();
            assert!(words.contains("recursion") || words.contains("out of range"), "{words}");
        }
    }
}

fn entry(message: Message, record: &Record<'_>) {
    let mut block = Vec::new();
    let notes = EntryEncoder::new(message).encode(record, &mut block);
    let found: Vec<_> = entries(&block).collect();
    assert_eq!(found.iter().filter(|entry| !entry.is_further_piece()).count(), usize::from(notes.malformed == 0));
    for entry in found {
        let quoted = [b"\"", entry.escaped, b"\""].concat();
        let text: String = serde_json::from_slice(&quoted).expect("a JSON string");
        assert_eq!(text.len(), entry.message_len as usize);
        assert!(!text.is_empty() && text.len() <= MAX_MESSAGE && entry.millis >= 0);
    }
}
