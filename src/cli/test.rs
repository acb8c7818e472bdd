//! `test`: runs the config's own `tests:`.

use std::io::{self, Write, stdout};
use std::process::ExitCode;

use clap::Args;

use super::ConfigArg;
use super::simulate::{Outcome, Sample, Simulation};
use crate::clock::Clock;
use crate::config::plan::TestPlan;

/// Run the config's own tests: each record must go where `expect` says
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  logweir test -c config/sidecar.yaml")]
pub(crate) struct TestArgs {
    #[command(flatten)]
    config: ConfigArg,
}

pub(crate) fn run(args: TestArgs) -> anyhow::Result<ExitCode> {
    let (plan, file) = args.config.plan()?;
    let now = Clock::start().unix();
    let failed = run_all(Simulation::new(plan), now, &file, &mut stdout().lock())?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs all tests, prints a line each; how many failed.
fn run_all(mut simulation: Simulation, now: i64, file: &str, out: &mut dyn Write) -> io::Result<usize> {
    let tests = simulation.plan().tests.clone();
    if tests.is_empty() {
        writeln!(out, "{file} has no `tests`; add for example")?;
        writeln!(out, "  tests:\n    - name: an error goes to the archive\n      tag: app")?;
        writeln!(out, "      record: {{log: \"ERROR boom\"}}\n      expect: {{to: [archive]}}")?;
        return Ok(0);
    }
    let mut failed = 0;
    for test in &tests {
        let sample = Sample::new(&test.tag, &test.source, test.time.unwrap_or(now), &test.record);
        let differences = differences(test, &simulation.run(&sample));
        writeln!(out, "{} {}", if differences.is_empty() { "ok    " } else { "FAILED" }, test.name)?;
        for difference in &differences {
            writeln!(out, "         {difference}")?;
        }
        failed += usize::from(!differences.is_empty());
    }
    writeln!(out, "{} passed, {failed} failed", tests.len() - failed)?;
    if failed > 0 {
        writeln!(out, "`logweir explain --tag TAG < record.json` says why a record goes where it goes")?;
    }
    Ok(failed)
}

/// What is not as expected, a line each.
fn differences(test: &TestPlan, outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    let list = |names: &[String]| format!("[{}]", names.join(", "));
    if let Some(routes) = test.routes.as_ref().filter(|routes| **routes != outcome.routes) {
        lines.push(format!("routes: expected {}, found {}", list(routes), list(&outcome.routes)));
    }
    let found: Vec<String> = outcome.sinks.iter().map(|arrival| arrival.sink.clone()).collect();
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names.dedup();
        names
    };
    if let Some(to) = test.to.as_ref().filter(|to| sorted(to) != sorted(&found)) {
        lines.push(format!("to: expected {}, found {}", list(to), list(&found)));
    }
    for (sink, expected) in &test.names {
        match outcome.sinks.iter().find(|arrival| arrival.sink == *sink).map(|arrival| &arrival.name) {
            Some(name) if name == expected => {}
            Some(name) => lines.push(format!("names.{sink}: expected `{expected}`, found `{name}`")),
            None => lines.push(format!("names.{sink}: expected `{expected}`, but the sink does not take the record")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::simulate::Arrival;
    use super::*;
    use crate::config::{self, Host};
    use crate::encode::partition::NameNotes;

    fn test() -> TestPlan {
        TestPlan {
            name: "t".into(),
            tag: String::new(),
            record: serde_json::Map::new(),
            source: String::new(),
            time: None,
            routes: Some(vec!["a".into()]),
            to: Some(vec!["y".into(), "x".into()]),
            names: vec![("x".into(), "p/".into())],
        }
    }

    fn outcome(routes: &[&str], sinks: &[(&str, &str)]) -> Outcome {
        let arrival = |(sink, name): &(&str, &str)| Arrival {
            sink: (*sink).into(),
            kind: "file",
            name: (*name).into(),
            notes: NameNotes::default(),
            divert: None,
        };
        Outcome {
            routes: routes.iter().map(|route| (*route).into()).collect(),
            sinks: sinks.iter().map(arrival).collect(),
        }
    }

    #[test]
    fn the_order_of_sinks_does_not_matter_but_that_of_routes_does() {
        assert!(differences(&test(), &outcome(&["a"], &[("x", "p/"), ("y", "")])).is_empty());
        let two = TestPlan { routes: Some(vec!["b".into(), "a".into()]), ..test() };
        assert_eq!(differences(&two, &outcome(&["a", "b"], &[("x", "p/"), ("y", "")])).len(), 1);
    }

    #[test]
    fn each_difference_has_its_line() {
        assert_eq!(
            differences(&test(), &outcome(&["b"], &[("x", "q/")])),
            ["routes: expected [a], found [b]", "to: expected [y, x], found [x]", "names.x: expected `p/`, found `q/`"]
        );
        assert!(differences(&test(), &outcome(&[], &[]))[2].contains("does not take the record"));
    }

    #[test]
    fn the_tests_of_the_examples_pass_and_a_wrong_expectation_fails() {
        let host = Host { vars: &|name| (name == "LOG_BUCKET").then(|| "my-logs".to_owned()), memory_limit: None };
        let run = |text: &str| {
            let plan = config::load("c.yaml", text, &host).unwrap_or_else(|problems| panic!("{problems}"));
            let mut out = Vec::new();
            let failed = run_all(Simulation::new(plan), 0, "c.yaml", &mut out).expect("a Vec takes all");
            (failed, String::from_utf8(out).expect("UTF-8"))
        };
        for text in [
            include_str!("../../config/sidecar.yaml"),
            include_str!("../../config/aggregator.yaml"),
            include_str!("../../config/local.yaml"),
        ] {
            let (failed, out) = run(text);
            assert_eq!(failed, 0, "{out}");
        }
        let wrong =
            include_str!("../../config/local.yaml").replace("{routes: [rest], to: [archive]}", "{to: [alerts]}");
        let (failed, out) = run(&wrong);
        assert_eq!(failed, 1);
        assert!(out.contains("to: expected [alerts], found [archive]") && out.contains("2 passed, 1 failed"), "{out}");
    }
}
