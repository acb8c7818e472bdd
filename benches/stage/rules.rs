//! Records to decisions, where no rule but the last matches: what everybody pays for every record.

use std::hint::black_box;

use logweir::record::Tag;
use logweir::record::level::LevelRules;
use logweir::route::{Decision, RouteSpec, Router};
use memchr::memmem::Finder;

use super::fixture::{Shape, TAG, maps, records};
use super::{RECORDS, Work};

/// Eight strings and two numbers inside `log`. Neither keys nor values are alike, and no value is in the records, while
/// all keys are.
pub(super) const TEN: [&str; 10] = [
    "log.level == \"FATAL\"",
    "log.logger == \"com.example.jobs.Nightly\"",
    "log.thread == \"scheduler-1\"",
    "log.method == \"DELETE\"",
    "log.path == \"/healthz\"",
    "log.client == \"127.0.0.1\"",
    "log.user.plan == \"enterprise\"",
    "log.message == \"out of memory\"",
    "log.status >= 600",
    "log.duration_ms > 100000",
];

/// The floor is one search for a literal that is not there.
pub(super) fn work(shape: Shape, conditions: &[&str]) -> Work {
    let mut router = Router::compile(&routes(conditions), LevelRules::default()).expect("the rules compile");
    let (maps, tag, last) = (maps(shape), Tag::from(TAG), conditions.len() as u16);
    let (mut decision, copy, absent) = (Decision::default(), maps.clone(), Finder::new("\u{1}absent").into_owned());
    Work {
        bytes: maps.iter().map(Vec::len).sum(),
        run: Box::new(move || {
            for record in records(&maps, &tag) {
                router.decide(black_box(&record), &mut decision);
                assert_eq!(decision.routes, [last], "none but the last route takes it");
            }
            RECORDS
        }),
        floor: "memmem",
        run_floor: Box::new(move || copy.iter().filter(|map| absent.find(black_box(map)).is_some()).count()),
    }
}

fn routes(conditions: &[&str]) -> Vec<RouteSpec> {
    let route = |(n, when): (usize, &&str)| RouteSpec {
        name: format!("r{n}"),
        when: Some(when.to_string()),
        sinks: vec![0],
        goes_on: false,
    };
    let mut routes: Vec<_> = conditions.iter().enumerate().map(route).collect();
    routes.push(RouteSpec { name: "rest".into(), when: None, sinks: vec![1], goes_on: false });
    routes
}
