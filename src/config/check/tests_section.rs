//! The config's own tests: what they expect must exist.

use super::Check;
use super::Step::{Index, Key};
use crate::config::de::unknown;
use crate::config::file::TestSection;
use crate::config::plan::TestPlan;
use crate::config::value::parse_time;
use crate::route::RouteSpec;

/// Checks all tests.
pub(in crate::config) fn tests(
    check: &mut Check<'_>,
    tests: &[(usize, TestSection)],
    routes: &[RouteSpec],
) -> Vec<TestPlan> {
    let (sources, sinks) = (check.names("sources"), check.names("sinks"));
    let routes: Vec<String> = routes.iter().map(|route| route.name.clone()).collect();
    tests.iter().map(|(index, test)| one(check, *index, test, &sources, &routes, &sinks)).collect()
}

fn one(
    check: &mut Check<'_>,
    index: usize,
    test: &TestSection,
    sources: &[String],
    routes: &[String],
    sinks: &[String],
) -> TestPlan {
    let here = [Key("tests"), Index(index)];
    let expect = &test.expect;
    let mut known = |what: &str, key, names: Option<&Vec<String>>, all: &[String]| {
        for (at, name) in names.into_iter().flatten().enumerate() {
            if !all.contains(name) {
                let path = [here[0], here[1], Key("expect"), Key(key), Index(at)];
                check.problem(&path, unknown(what, name, all.iter().map(String::as_str)));
            }
        }
    };
    known("route", "routes", expect.routes.as_ref(), routes);
    known("sink", "to", expect.to.as_ref(), sinks);
    for name in expect.names.keys().filter(|name| !sinks.contains(name)) {
        let path = [here[0], here[1], Key("expect"), Key("names"), Key(name)];
        check.problem(&path, unknown("sink", name, sinks.iter().map(String::as_str)));
    }
    if expect.routes.is_none() && expect.to.is_none() && expect.names.is_empty() {
        check.problem(&[here[0], here[1], Key("expect")], "nothing is expected; accepted: routes, to, names");
    }
    if let Some(source) = test.source.as_ref().filter(|source| !sources.contains(source)) {
        let path = [here[0], here[1], Key("source")];
        check.problem(&path, unknown("source", source, sources.iter().map(String::as_str)));
    }
    let time = test.time.as_ref().and_then(|text| {
        let time = parse_time(text);
        if let Err(message) = &time {
            check.problem(&[here[0], here[1], Key("time")], message.clone());
        }
        time.ok()
    });
    TestPlan {
        name: test.name.clone(),
        tag: test.tag.clone(),
        record: test.record.clone(),
        source: test.source.clone().or_else(|| sources.first().cloned()).unwrap_or_default(),
        time,
        routes: expect.routes.clone(),
        to: expect.to.clone(),
        names: expect.names.clone().into_iter().collect(),
    }
}
