//! The JSON in `log`: read whole, and looked into for one key.

use std::hint::black_box;

use logweir::record::json;
use serde::de::IgnoredAny;

use super::fixture::{Shape, logs};
use super::{Run, Work};

pub(super) fn validate() -> Work {
    let mut outline = json::Outline::default();
    work(move |log| usize::from(outline.read(log).is_some()))
}

/// A key about half way in.
pub(super) fn find() -> Work {
    work(|log| usize::from(json::find(log, b"status").is_some()))
}

fn work(read: impl FnMut(&[u8]) -> usize + 'static) -> Work {
    fn each_log(mut read: impl FnMut(&[u8]) -> usize + 'static) -> Run {
        let logs = logs(Shape::Json);
        Box::new(move || logs.iter().map(|log| read(black_box(log.as_bytes()))).sum())
    }
    Work {
        bytes: logs(Shape::Json).iter().map(String::len).sum(),
        run: each_log(read),
        floor: "serde_json",
        run_floor: each_log(|log| usize::from(serde_json::from_slice::<IgnoredAny>(log).is_ok())),
    }
}
