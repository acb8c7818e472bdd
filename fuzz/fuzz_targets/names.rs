//! Any text as a template, any bytes as a record: names that their targets take, and no panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logweir::encode::{Partition, Partitioner, Template};
use logweir::record::level::LevelRules;
use logweir::record::{Record, Tag};

fuzz_target!(|input: (&str, &str, i64, &[u8])| {
    let (text, tag, time, map) = input;
    let tag = Tag::from(tag);
    let record = Record { tag: &tag, source: "fuzz", time, received: 1_795_345_170_000_000_000, map, ecs: None, json: Default::default() };
    let Ok(template) = Template::parse(text) else { return };

    let mut names = Partitioner::prefix(template.clone(), LevelRules::default());
    let Partition::Prefix(prefix) = &**names.partition(&record).0 else { panic!("a prefix") };
    assert!(prefix.len() < 1_000 && !prefix.starts_with('/') && !prefix.contains("..") && !prefix.contains('\0'));

    let mut names = Partitioner::stream(template.clone(), template, LevelRules::default());
    let Partition::Stream { group, stream } = &**names.partition(&record).0 else { panic!("a stream") };
    assert!(group.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/#".contains(&b)) && !group.starts_with("aws/"));
    assert!(!stream.contains([':', '*', '\0']));
    assert!([group, stream].iter().all(|name| (1..=512).contains(&name.len())));
});
