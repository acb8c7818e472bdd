//! The config's own tests: what they expect must exist.

use super::Check;
use super::Step::{Index, Key};
use crate::config::de::unknown;
use crate::config::file::TestSection;
use crate::config::plan::TestPlan;
use crate::config::value::parse_time;

/// Checks all tests.
pub(in crate::config) fn tests(check: &mut Check<'_>, tests: &[(usize, TestSection)]) -> Vec<TestPlan> {
    let names = Names { sources: check.names("sources"), routes: check.route_names(), sinks: check.names("sinks") };
    tests.iter().map(|(index, test)| one(check, *index, test, &names)).collect()
}

/// All names of the config; none where a section is not known, so that nothing can be said of names in it.
struct Names {
    sources: Option<Vec<String>>,
    routes: Option<Vec<String>>,
    sinks: Option<Vec<String>>,
}

/// What is said of a name that is not among those of its section.
fn missing(what: &str, name: &String, names: Option<&Vec<String>>) -> Option<String> {
    let names = names.filter(|names| !names.contains(name))?;
    Some(unknown(what, name, names.iter().map(String::as_str)))
}

fn one(check: &mut Check<'_>, index: usize, test: &TestSection, all: &Names) -> TestPlan {
    let here = [Key("tests"), Index(index)];
    let expect = &test.expect;
    let mut known = |what: &str, key, names: Option<&Vec<String>>, all: Option<&Vec<String>>| {
        for (at, name) in names.into_iter().flatten().enumerate() {
            if let Some(message) = missing(what, name, all) {
                check.problem(&[here[0], here[1], Key("expect"), Key(key), Index(at)], message);
            }
        }
    };
    known("route", "routes", expect.routes.as_ref(), all.routes.as_ref());
    known("sink", "to", expect.to.as_ref(), all.sinks.as_ref());
    for name in expect.names.keys() {
        if let Some(message) = missing("sink", name, all.sinks.as_ref()) {
            check.problem(&[here[0], here[1], Key("expect"), Key("names"), Key(name)], message);
        }
    }
    if expect.routes.is_none() && expect.to.is_none() && expect.names.is_empty() {
        check.problem(&[here[0], here[1], Key("expect")], "nothing is expected; accepted: routes, to, names");
    }
    if let Some(message) = test.source.as_ref().and_then(|source| missing("source", source, all.sources.as_ref())) {
        check.problem(&[here[0], here[1], Key("source")], message);
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
        source: test.source.clone().or_else(|| all.sources.as_ref()?.first().cloned()).unwrap_or_default(),
        time,
        routes: expect.routes.clone(),
        to: expect.to.clone(),
        names: expect.names.clone().into_iter().collect(),
    }
}
