//! Any bytes as a record, any text as a template: valid lines with unique keys and one line break, entries that can be
//! read, names that are safe, and no panic.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use logweir::encode::entries::{EntryEncoder, entries};
use logweir::encode::ndjson::NdjsonEncoder;
use logweir::encode::{LogJson, Message, Partition, Partitioner, Template};
use logweir::record::json::Object;
use logweir::record::level::LevelRules;
use logweir::record::{Record, Tag};

fuzz_target!(|input: (&str, i64, &[u8])| {
    let (text, time, map) = input;
    let tag = Tag::from(text);
    let record = Record { tag: &tag, source: "forward", time, received: 1_795_345_170_000_000_000, map, ecs: None };

    for mode in [LogJson::Nest, LogJson::Lift, LogJson::Raw] {
        let mut line = Vec::new();
        if NdjsonEncoder::new(mode).encode(&record, &mut line).malformed == 1 {
            assert!(line.is_empty());
            continue;
        }
        assert_eq!(line.iter().position(|byte| matches!(byte, b'\n' | b'\r')), Some(line.len() - 1));
        // The outermost object is one deeper than a record's values may be.
        if let Some(object) = Object::parse(&line) {
            let mut keys = BTreeSet::new();
            assert!(object.members().all(|member| keys.insert(member.key)));
        } else {
            assert!(line.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() > 64);
        }
    }
    for message in [Message::Record, Message::Log] {
        let mut block = Vec::new();
        let whole = EntryEncoder::new(message).encode(&record, &mut block).malformed == 0;
        assert_eq!(entries(&block).count(), usize::from(whole));
        assert!(entries(&block).all(|entry| entry.millis >= 0 && entry.message_len > 0));
    }
    assert!(entries(map).all(|entry| entry.escaped.len() <= map.len()));

    if let Ok(template) = Template::parse(text) {
        let mut names = Partitioner::prefix(template, LevelRules::default());
        let Partition::Prefix(prefix) = &**names.partition(&record).0 else { panic!("a prefix") };
        assert!(prefix.len() < 1_000 && !prefix.starts_with('/') && !prefix.contains(".."));
    }
});
