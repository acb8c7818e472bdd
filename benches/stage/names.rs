//! Records to the partition that a sink's template names.

use std::hint::black_box;

use logweir::encode::{Partitioner, Template};
use logweir::record::level::LevelRules;
use logweir::record::{Record, Tag};

use super::fixture::{Shape, TAG, maps, records};
use super::{RECORDS, Work};

/// Records of so many containers in turns.
pub(super) fn work(containers: usize) -> Work {
    let template = Template::parse("logs/service={container}/dt=%Y-%m-%d/hour=%H/").expect("a template");
    let mut partitioner = Partitioner::prefix(template, LevelRules::default());
    let tags: Vec<Tag> = (0..containers).map(|n| Tag::from(format!("{n}-{TAG}").as_str())).collect();
    let (maps, first, mut floor) = (maps(Shape::Json), tags[0].clone(), Vec::new());
    Work {
        bytes: maps.iter().map(Vec::len).sum(),
        run: Box::new(move || {
            for (record, tag) in records(&maps, &first).zip(tags.iter().cycle()) {
                black_box(partitioner.partition(black_box(&Record { tag, ..record })));
            }
            RECORDS
        }),
        floor: "memcpy of the tag",
        run_floor: Box::new(move || {
            floor.clear();
            (0..RECORDS).for_each(|_| floor.extend_from_slice(black_box(TAG.as_bytes())));
            floor.len()
        }),
    }
}
