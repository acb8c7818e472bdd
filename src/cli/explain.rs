//! `explain`: which route takes a record, why each earlier one did not, and what each sink makes of it.

use std::io::{self, Read, Write, stdin, stdout};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::simulate::{Arrival, Sample, Simulation};
use super::written::{Written, shown};
use super::{ConfigArg, UsageError};
use crate::clock::Clock;
use crate::config::Plan;
use crate::config::file::Metadata;
use crate::config::value::parse_time;
use crate::encode::partition::NameNotes;
use crate::record::UnixNanos;
use crate::route::{Explanation, Reason, RouteExplanation, Verdict};

/// Longest record that is read; a forward frame has 8 MiB at most.
const MAX_RECORD: u64 = 8 << 20;

/// Say which routes take a record and why the others do not, and what sinks write of it; the record is JSON on standard
/// input
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  echo '{\"log\": \"ERROR boom\"}' | logweir explain -c config/local.yaml --tag web-firelens-0123"
)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Tag of the record
    #[arg(long, value_name = "TAG")]
    tag: String,
    /// Time of the record, RFC 3339 (default: now)
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Source that it comes from (default: the first)
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

pub(crate) fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let (plan, _) = args.config.plan()?;
    let source = source(&plan, args.source.as_deref()).map_err(UsageError)?;
    let now = Clock::start().unix();
    let time =
        args.time.as_deref().map_or(Ok(now), parse_time).map_err(|error| UsageError(format!("--time: {error}")))?;
    let mut bytes = Vec::new();
    stdin().lock().take(MAX_RECORD + 1).read_to_end(&mut bytes).map_err(|error| UsageError(error.to_string()))?;
    let record = text(bytes).and_then(|text| parse(&text)).map_err(UsageError)?;
    let sample = Sample::new(&args.tag, &source, time, &record);
    let mut simulation = Simulation::new(plan);
    write(&mut simulation, &sample, &mut stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn source(plan: &Plan, asked: Option<&str>) -> Result<String, String> {
    let mut names = plan.sources.iter().map(|source| source.name.as_str());
    match asked {
        None => Ok(names.next().unwrap_or_default().to_owned()),
        Some(asked) if names.clone().any(|name| name == asked) => Ok(asked.to_owned()),
        Some(asked) => {
            Err(format!("--source: `{asked}` is no source; accepted: {}", names.collect::<Vec<_>>().join(", ")))
        }
    }
}

const EXAMPLE: &str = "write for example {\"log\": \"ERROR boom\"}";

fn text(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.len() as u64 > MAX_RECORD {
        return Err(format!("the record on standard input is longer than {} MiB", MAX_RECORD >> 20));
    }
    String::from_utf8(bytes).map_err(|error| format!("the record on standard input is no UTF-8 ({error}); {EXAMPLE}"))
}

fn parse(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(record)) => Ok(record),
        Ok(_) => Err(format!("the record on standard input is JSON, but no object; {EXAMPLE}")),
        Err(_) if text.trim().is_empty() => Err(format!("there is no record on standard input; {EXAMPLE}")),
        Err(error) => Err(format!("the record on standard input is no JSON ({error}); {EXAMPLE}")),
    }
}

fn write(simulation: &mut Simulation, sample: &Sample, out: &mut dyn Write) -> io::Result<()> {
    let explanation = simulation.explain(sample);
    write_record(sample, &explanation, simulation.plan(), out)?;
    let mut taken_by = "";
    for (index, route) in explanation.routes.iter().enumerate() {
        write_route(index, route, taken_by, simulation.plan(), out)?;
        if let Verdict::Matched { goes_on: false, .. } = route.verdict {
            taken_by = &route.name;
        }
    }
    let outcome = simulation.run(sample);
    writeln!(out)?;
    for arrival in &outcome.sinks {
        write_arrival(arrival, out)?;
        if let Some(sink) = simulation.plan().sinks.iter().find(|sink| sink.name == arrival.sink) {
            write_written(&Written::by(&sink.kind, &sample.record()), out)?;
        }
    }
    if outcome.sinks.is_empty() {
        writeln!(out, "no sink takes the record: it is dropped on purpose, and counted")?;
    }
    Ok(())
}

fn write_record(sample: &Sample, explanation: &Explanation, plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    let tag = &sample.tag;
    writeln!(out, "tag        {}", shown(tag.as_str()))?;
    match tag.container() {
        "" => writeln!(
            out,
            "           no FireLens tag (<container>-firelens-<task id>): container and task_id are empty"
        )?,
        container => writeln!(out, "           container {}, task_id {}", shown(container), shown(tag.task_id()))?,
    }
    writeln!(out, "source     {}", sample.source)?;
    writeln!(out, "time       {}", rfc3339(sample.time))?;
    match &explanation.level {
        Some((level, origin)) => writeln!(out, "level      {level}, from {origin}")?,
        None => writeln!(out, "level      none: nothing in the record tells it")?,
    }
    if plan.metadata == Metadata::Ecs {
        writeln!(out, "metadata   ecs: in a task, its ecs_* fields come to this record")?;
    }
    writeln!(out)
}

fn rfc3339(time: UnixNanos) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(time.into()).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{time} ns since 1970"))
}

fn write_route(
    index: usize,
    route: &RouteExplanation,
    taken_by: &str,
    plan: &Plan,
    out: &mut dyn Write,
) -> io::Result<()> {
    let when = route.when.as_deref().map_or("every record that is left", str::trim);
    writeln!(out, "{}. {}: {when}", index + 1, route.name)?;
    match &route.verdict {
        Verdict::Matched { sinks, goes_on } => {
            let names: Vec<&str> =
                sinks.iter().filter_map(|sink| plan.sinks.get(*sink)).map(|sink| sink.name.as_str()).collect();
            let to = if names.is_empty() { "drops it on purpose".into() } else { format!("to {}", names.join(", ")) };
            let goes_on = if *goes_on { "; the routes below see it too" } else { "" };
            writeln!(out, "   takes the record, {to}{goes_on}")
        }
        Verdict::Failed(reasons) => {
            writeln!(out, "   does not match")?;
            reasons.iter().try_for_each(|reason| write_reason(reason, out))
        }
        Verdict::NotReached => writeln!(out, "   not reached: `{taken_by}` took the record"),
    }
}

fn write_reason(reason: &Reason, out: &mut dyn Write) -> io::Result<()> {
    let holds = if reason.holds { "holds" } else { "does not hold" };
    let found = match &reason.value {
        Some(value) => format!("found {value} ({})", reason.kind),
        None => "nothing was found there".into(),
    };
    writeln!(out, "     {} {holds}: {found}", reason.comparison)
}

fn write_arrival(arrival: &Arrival, out: &mut dyn Write) -> io::Result<()> {
    let name = if arrival.name.is_empty() { String::new() } else { format!(" under {}", shown(&arrival.name)) };
    writeln!(out, "{} ({}) takes it{name}", arrival.sink, arrival.kind)?;
    let NameNotes { missing, replaced, overflowed: _, time_of_receipt: _ } = arrival.notes;
    if missing {
        writeln!(out, "     a value of its template is missing in the record and became `unknown`")?;
    }
    if replaced {
        writeln!(out, "     characters that may not stand in its name were replaced")?;
    }
    if let Some(to) = &arrival.divert {
        writeln!(out, "     while its queue is full, {to} takes such records instead")?;
    }
    Ok(())
}

fn write_written(written: &Written, out: &mut dyn Write) -> io::Result<()> {
    let Written { texts, remarks } = written;
    for (n, text) in texts.iter().enumerate() {
        match (texts.len(), text.as_str()) {
            (1, " ") => writeln!(out, "     as a space, since an event may not be empty")?,
            (1, text) => writeln!(out, "     as {}", shown(text))?,
            (all, text) => writeln!(out, "     as event {} of {all}: {}", n + 1, shown(text))?,
        }
    }
    remarks.iter().try_for_each(|remark| writeln!(out, "     {remark}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Host};

    fn explain(tag: &str, record: &str) -> String {
        let host = Host { vars: &|_| None, memory_limit: None };
        let plan = config::load("local.yaml", include_str!("../../config/local.yaml"), &host).expect("an example");
        let sample = Sample::new(tag, "forward", 1_795_343_400_000_000_000, &parse(record).expect("JSON"));
        let mut out = Vec::new();
        write(&mut Simulation::new(plan), &sample, &mut out).expect("a Vec takes all");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn says_why_each_route_did_or_did_not_take_the_record() {
        insta::assert_snapshot!(explain("web-firelens-0123", r#"{"log": "{\"level\":\"error\",\"path\":\"/pay\",\"status\":500}"}"#), @r#"
    tag        web-firelens-0123
               container web, task_id 0123
    source     forward
    time       2026-11-22T10:30:00Z
    level      ERROR, from the key `level` of the JSON in `log`

    1. health-checks: log.path == "/healthz" && log.status == 200
       does not match
         log.path == "/healthz" does not hold: found "/pay" (a string)
         log.status == 200 does not hold: found 500 (an integer)
    2. errors: level >= WARN
       takes the record, to alerts, archive
    3. rest: every record that is left
       not reached: `errors` took the record

    alerts (stdout) takes it
         as {"time":"2026-11-22T10:30:00.000000000Z","tag":"web-firelens-0123","log":{"level":"error","path":"/pay","status":500}}
    archive (file) takes it under service=web/dt=2026-11-22/hour=10/
         as {"time":"2026-11-22T10:30:00.000000000Z","tag":"web-firelens-0123","log":{"level":"error","path":"/pay","status":500}}
    "#);
    }

    #[test]
    fn says_that_a_record_is_dropped_and_what_is_missing() {
        insta::assert_snapshot!(explain("web", r#"{"log": "{\"path\":\"/healthz\",\"status\":200}"}"#), @r#"
    tag        web
               no FireLens tag (<container>-firelens-<task id>): container and task_id are empty
    source     forward
    time       2026-11-22T10:30:00Z
    level      none: nothing in the record tells it

    1. health-checks: log.path == "/healthz" && log.status == 200
       takes the record, drops it on purpose
    2. errors: level >= WARN
       not reached: `health-checks` took the record
    3. rest: every record that is left
       not reached: `health-checks` took the record

    no sink takes the record: it is dropped on purpose, and counted
    "#);
        insta::assert_snapshot!(explain("web", r#"{"message": "hello"}"#), @r#"
    tag        web
               no FireLens tag (<container>-firelens-<task id>): container and task_id are empty
    source     forward
    time       2026-11-22T10:30:00Z
    level      none: nothing in the record tells it

    1. health-checks: log.path == "/healthz" && log.status == 200
       does not match
         log.path == "/healthz" does not hold: nothing was found there
         log.status == 200 does not hold: nothing was found there
    2. errors: level >= WARN
       does not match
         level >= WARN does not hold: nothing was found there
    3. rest: every record that is left
       takes the record, to archive

    archive (file) takes it under service=unknown/dt=2026-11-22/hour=10/
         a value of its template is missing in the record and became `unknown`
         as {"time":"2026-11-22T10:30:00.000000000Z","tag":"web","message":"hello"}
    "#);
    }

    /// What `explain` says below the routes.
    fn written(sinks: &str, record: &str) -> String {
        let config = format!(
            "sources: {{forward: {{listen: ['tcp://127.0.0.1:0']}}}}\nroutes: [{{name: all, to: [a]}}]\nmetadata: none\n{sinks}"
        );
        let host = Host { vars: &|_| None, memory_limit: None };
        let plan = config::load("c.yaml", &config, &host).expect("a config");
        let sample = Sample::new("t\u{1b}[2J", "forward", 0, &parse(record).expect("JSON"));
        let mut out = Vec::new();
        write(&mut Simulation::new(plan), &sample, &mut out).expect("a Vec takes all");
        let out = String::from_utf8(out).expect("UTF-8");
        assert!(!out.contains(|c: char| c.is_control() && c != '\n'), "{out:?}");
        out.split_once("takes it").expect("a sink takes it").1.to_owned()
    }

    #[test]
    fn shows_what_a_sink_writes_of_the_record() {
        let record = r#"{"log":"plain \"text\"","noise":1,"name":"a","time":"noon"}"#;
        insta::assert_snapshot!(written("sinks: {a: {type: stdout, fields: {drop: [noise]}}}", record), @r#"

         as {"time":"1970-01-01T00:00:00.000000000Z","tag":"t\u001b[2J","log":"plain \"text\"","name":"a","record_time":"noon"}
         keys that stood twice, or were `time` or `tag`, were dropped or renamed
    "#);
    }

    #[test]
    fn events_are_shown_on_a_line_each_and_do_nothing_to_a_terminal() {
        let sink = |more: &str| {
            format!("sinks: {{a: {{type: cloudwatch_logs, log_group: g, log_stream: s, message: log{more}}}}}")
        };
        assert_eq!(
            written(&sink(""), r#"{"log":"\u001b[31mred\u001b[0m\narchive takes it \u009b \u202e"}"#),
            " under g:s\n     as \\u{1b}[31mred\\u{1b}[0m\\narchive takes it \\u{9b} \\u{202e}\n"
        );
        assert_eq!(
            written(&sink(""), r#"{"log":""}"#),
            " under g:s\n     as a space, since an event may not be empty\n"
        );
        let long = format!(r#"{{"log":"{}"}}"#, "long ".repeat(300_000));
        let split = written(&sink(""), &long);
        assert!(split.contains("as event 1 of 2: long ") && split.contains("(1048550 bytes in all)"), "{split}");
        assert!(split.ends_with("may be, and split\n"), "{split}");
        assert!(written(&sink(", oversize: truncate"), &long).ends_with("may be, and cut\n"));
        let divert = written(
            "dead_letters: {to: b}\n\
             sinks: {a: {type: cloudwatch_logs, log_group: g, log_stream: s, oversize: divert}, b: {type: file, path: /b}}",
            &long,
        );
        assert!(divert.ends_with("may be: it goes to the dead letters\n"), "{divert}");
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(70), "]".repeat(70));
        assert!(written("sinks: {a: {type: stdout}}", &deep).contains("counted as `malformed`"));
    }

    #[test]
    fn what_is_no_record_is_refused_with_an_example() {
        for (text, message) in [("", "no record"), ("[1]", "no object"), ("{", "no JSON"), ("{} {}", "no JSON")] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(message) && error.contains("for example"), "{error}");
        }
        assert!(text(vec![0xff]).is_err_and(|error| error.contains("no UTF-8") && error.contains("for example")));
        assert!(text(vec![b' '; 9 << 20]).is_err_and(|error| error.contains("longer than 8 MiB")));
    }
}
