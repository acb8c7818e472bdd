//! The stages of a record's way, each as work that can be repeated, beside its floor: the bare library calls that no
//! code doing this could leave out, on the same bytes. Three benches go over them: `stages` (criterion), `floors` (how
//! many times the floor) and `instructions` (the regression gate).

mod cloudwatch;
mod compress;
pub(crate) mod fixture;
mod frames;
mod json;
mod lines;
mod names;
mod rules;
mod spool;
pub(crate) mod whole;

use fixture::Shape;
use logweir::encode::{Compression, LogJson, Message};

/// One stage: its name and how its work is made ready.
pub(crate) type Stage = (&'static str, fn() -> Work);

/// All stages in the order of a record's way.
pub(crate) const STAGES: &[Stage] = &[
    ("frames/message", || frames::work(fixture::messages(Shape::Json))),
    ("frames/forward", || frames::work(fixture::forward(Shape::Json))),
    ("frames/packed", || frames::work(fixture::packed(Shape::Json))),
    ("json/validate", json::validate),
    ("json/find", json::find),
    ("rules/none", || rules::work(Shape::Json, &[])),
    ("rules/level/json", || rules::work(Shape::Json, &["level >= FATAL"])),
    ("rules/level/text", || rules::work(Shape::Text, &["level >= FATAL"])),
    ("rules/ten/json", || rules::work(Shape::Json, &rules::TEN)),
    ("rules/ten/text", || rules::work(Shape::Text, &rules::TEN)),
    ("names/same", || names::work(1)),
    ("names/changing", || names::work(20)),
    ("ndjson/raw/json", || lines::ndjson(Shape::Json, LogJson::Raw)),
    ("ndjson/nest/json", || lines::ndjson(Shape::Json, LogJson::Nest)),
    ("ndjson/lift/json", || lines::ndjson(Shape::Json, LogJson::Lift)),
    ("ndjson/nest/text", || lines::ndjson(Shape::Text, LogJson::Nest)),
    ("ndjson/nest/trace", || lines::ndjson(Shape::Trace, LogJson::Nest)),
    ("entries/record/json", || lines::entries(Shape::Json, Message::Record)),
    ("entries/log/json", || lines::entries(Shape::Json, Message::Log)),
    ("cloudwatch/plan", cloudwatch::plan_requests),
    ("cloudwatch/body", cloudwatch::body),
    ("compress/zstd", || compress::work(Compression::Zstd(1))),
    ("compress/gzip", || compress::work(Compression::Gzip(1))),
    ("spool/memory", spool::memory),
    ("spool/disk", spool::disk),
    ("whole/message", || whole::work(fixture::messages(Shape::Json))),
    ("whole/packed", || whole::work(fixture::packed(Shape::Json))),
];

/// What a stage does with [`fixture::RECORDS`] records, again and again.
pub(crate) struct Work {
    /// Bytes that a run goes over.
    pub(crate) bytes: usize,
    /// One run; what it returns only keeps the compiler from leaving it out.
    pub(crate) run: Run,
    /// What the floor is made of.
    pub(crate) floor: &'static str,
    /// One run of the floor.
    pub(crate) run_floor: Run,
}

pub(crate) type Run = Box<dyn FnMut() -> usize>;

/// Records of a run.
pub(crate) const RECORDS: usize = fixture::RECORDS;
