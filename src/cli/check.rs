//! `check`: is this config fine, and what does it mean?

use std::fmt::Display;
use std::io::{self, Write, stdout};
use std::process::ExitCode;

use clap::Args;

use super::ConfigArg;
use crate::config::Plan;
use crate::config::plan::{MemoryOrigin, Metadata, SinkKind, SinkPlan, SourceKind, SourcePlan, SpoolPlan};
use crate::config::value::{Size, Span};
use crate::encode::{Fields, Format, LogJson, Message, Oversize};
use crate::sink::cloudwatch_logs::{BodyCompression, CloudWatchLogsConfig, LogClass};
use crate::sink::common::{ObjectConfig, RetryConfig};
use crate::sink::s3::S3Config;
use crate::source::forward::AckMode;
use crate::spool::WhenFull;

/// Check a config without running it: print what it means, or everything that is wrong with it
#[derive(Args, Debug)]
#[command(
    after_help = "Exit code 0 when `run` would start with it, 64 when not.\n\nExample:\n  logweir check -c config/sidecar.yaml"
)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArg,
}

pub(crate) fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let (plan, file) = args.config.plan()?;
    describe(&plan, &file, &mut stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

/// The plan in words, defaults included.
fn describe(plan: &Plan, file: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{file} is fine (fingerprint {})", plan.fingerprint)?;
    writeln!(out, "\nsources")?;
    for source in &plan.sources {
        write_source(source, out)?;
    }
    writeln!(out, "\nroutes, top to bottom; the first match takes a record")?;
    write_routes(plan, out)?;
    writeln!(out, "\nsinks")?;
    for sink in &plan.sinks {
        write_sink(sink, plan, out)?;
    }
    writeln!(out, "\nprocess")?;
    write_process(plan, out)?;
    if !plan.warnings.is_empty() {
        writeln!(out, "\nwarnings")?;
        for warning in &plan.warnings {
            writeln!(out, "  {warning}")?;
        }
    }
    Ok(())
}

/// A setting and its value.
fn row(out: &mut dyn Write, key: &str, value: impl Display) -> io::Result<()> {
    writeln!(out, "    {key:<12} {value}")
}

fn write_source(source: &SourcePlan, out: &mut dyn Write) -> io::Result<()> {
    let SourceKind::Forward(config) = &source.kind;
    writeln!(out, "  {} ({})", source.name, source.kind.type_name())?;
    for address in &source.listen {
        row(out, "listen", address)?;
    }
    if let Some(tls) = &config.tls {
        let clients = match &tls.client_ca {
            Some(path) => format!("peers show one signed by {}", path.display()),
            None => "peers show none".into(),
        };
        row(out, "tls", format!("{}, read again when it changes; {clients}", tls.cert.display()))?;
    }
    match &config.auth {
        Some(auth) if auth.users.is_empty() => row(out, "auth", "peers know the shared key")?,
        Some(auth) => {
            row(out, "auth", format!("peers know the shared key and a password; users: {}", auth.users.len()))?
        }
        None => {}
    }
    match config.ack.unwrap_or_default() {
        AckMode::Durable => row(out, "ack", "when synced to the spool; a crash does not lose it")?,
        AckMode::Received => row(out, "ack", "when routed and in the queues; a crash loses what is in memory")?,
        AckMode::Delivered => {
            row(out, "ack", format!("when every sink has accepted; objects close {} after", config.ack_wait))?;
        }
    }
    let join = &config.join;
    match join.enabled {
        true => row(out, "join", format!("lines up to {}, {} in all, {}", join.max_line, join.buffer, join.timeout))?,
        false => row(out, "join", "off: Docker's parts stay parts")?,
    }
    let limits = &config.limits;
    let (frame, inflated) = (limits.frame, limits.inflated);
    let (connections, time) = (limits.connections, limits.frame_time);
    row(out, "limits", format!("frame {frame}, inflated {inflated}, {connections} connections, {time} a frame"))
}

fn write_routes(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    for (index, route) in plan.routes.iter().enumerate() {
        let when = route.when.as_deref().map_or("every record that is left".into(), one_line);
        let names: Vec<&str> =
            route.sinks.iter().filter_map(|sink| plan.sinks.get(*sink)).map(|sink| sink.name.as_str()).collect();
        let to = if names.is_empty() { "dropped on purpose".into() } else { names.join(", ") };
        let goes_on = if route.goes_on { ", and on to the next route" } else { "" };
        writeln!(out, "  {}. {}", index + 1, route.name)?;
        row(out, "when", when)?;
        row(out, "to", format!("{to}{goes_on}"))?;
    }
    Ok(())
}

/// A condition may stand on several lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn write_sink(sink: &SinkPlan, plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "  {} ({})", sink.name, sink.kind.type_name())?;
    match &sink.kind {
        SinkKind::S3(config) => write_s3(config, out)?,
        SinkKind::CloudWatchLogs(config) => write_cloudwatch_logs(config, out)?,
        SinkKind::File(config) => {
            row(out, "path", config.path.display())?;
            row(out, "prefix", &config.prefix)?;
            write_object(&config.object, config.single_frame, out)?;
            write_format(config.format, config.log_json, &config.fields, Some(config.compression), out)?;
            write_retry(&config.retry, out)?;
        }
        SinkKind::Stdout(config) => write_format(config.format, config.log_json, &config.fields, None, out)?,
    }
    let diverted = || sink.divert.and_then(|to| plan.sinks.get(to)).map_or("", |to| to.name.as_str());
    let full = match sink.queue.when_full {
        WhenFull::Block => "then the sources that route here are not read".into(),
        WhenFull::DropOldest => "then the oldest are dropped".into(),
        WhenFull::DropNewest => "then the newest are dropped".into(),
        WhenFull::Divert => format!("then further records go to {}", diverted()),
    };
    row(out, "queue", format!("{} in memory, {full}", Size(sink.queue.bound)))
}

fn write_s3(config: &S3Config, out: &mut dyn Write) -> io::Result<()> {
    row(out, "bucket", format!("{} ({})", config.bucket, region(&config.region)))?;
    row(out, "prefix", &config.prefix)?;
    write_object(&config.object, config.single_frame, out)?;
    write_format(config.format, config.log_json, &config.fields, Some(config.compression), out)?;
    row(out, "class", config.storage_class.as_deref().unwrap_or("the bucket's default (STANDARD)"))?;
    row(out, "encryption", config.kms_key.as_deref().map_or("the bucket's own".into(), |key| format!("KMS {key}")))?;
    write_access(&config.endpoint, &config.role_arn, out)?;
    write_retry(&config.retry, out)
}

fn write_cloudwatch_logs(config: &CloudWatchLogsConfig, out: &mut dyn Write) -> io::Result<()> {
    row(out, "log group", format!("{} ({})", config.log_group, region(&config.region)))?;
    row(out, "log stream", &config.log_stream)?;
    let create = &config.create;
    if create.enabled {
        let kept = create.retention_days.map_or("kept for ever".into(), |days| format!("kept {days} days"));
        let class = match create.class {
            LogClass::Standard => "STANDARD",
            LogClass::InfrequentAccess => "INFREQUENT_ACCESS",
        };
        row(out, "create", format!("missing groups and streams; {kept}, class {class}"))?;
    } else {
        row(out, "create", "nothing: a missing group or stream is an error")?;
    }
    let message = match config.message {
        Message::Record if config.fields == Fields::default() => "the whole record as JSON".into(),
        Message::Record => format!("the record as JSON: {}, and time and tag", config.fields),
        Message::Log => "the text of `log`".into(),
    };
    let oversize = match config.oversize {
        Oversize::Split => "split into several events",
        Oversize::Truncate => "cut, with a mark",
        Oversize::Divert => "sent to the dead letters",
    };
    row(out, "message", format!("{message}; above 1 MiB {oversize}"))?;
    let compression = match config.compression {
        BodyCompression::Gzip => "gzip",
        BodyCompression::None => "not compressed",
    };
    let (age, in_flight) = (config.batch.age, config.in_flight);
    row(out, "requests", format!("when full or {age} old, {in_flight} in flight a stream, {compression}"))?;
    write_access(&config.endpoint, &config.role_arn, out)?;
    write_retry(&config.retry, out)
}

fn region(region: &Option<String>) -> &str {
    region.as_deref().unwrap_or("region from AWS_REGION or the profile")
}

fn write_access(endpoint: &Option<String>, role: &Option<String>, out: &mut dyn Write) -> io::Result<()> {
    if let Some(endpoint) = endpoint {
        row(out, "endpoint", endpoint)?;
    }
    if let Some(role) = role {
        row(out, "role", role)?;
    }
    Ok(())
}

fn write_object(object: &ObjectConfig, single_frame: bool, out: &mut dyn Write) -> io::Result<()> {
    let frames = if single_frame { ", compressed anew as one frame" } else { "" };
    row(out, "objects", format!("closed at {} as stored or after {}{frames}", object.size, object.age))
}

fn write_format(
    format: Format,
    log_json: LogJson,
    fields: &Fields,
    compression: Option<crate::encode::Compression>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Format::Ndjson = format;
    let json = match log_json {
        LogJson::Nest => "JSON in `log` stands as JSON under `log`",
        LogJson::Lift => "JSON in `log` comes to the top",
        LogJson::Raw => "`log` stays text",
    };
    let compression = compression.map_or(String::new(), |compression| format!(", compression {compression}"));
    row(out, "format", format!("NDJSON, {json}{compression}"))?;
    if *fields != Fields::default() {
        row(out, "fields", format!("{fields}; time and tag in any case"))?;
    }
    Ok(())
}

fn write_retry(retry: &RetryConfig, out: &mut dyn Write) -> io::Result<()> {
    let RetryConfig { deadline, initial, max, attempt_timeout } = retry;
    row(out, "retry", format!("pauses {initial} to {max}, given up after {deadline}, {attempt_timeout} an attempt"))
}

fn write_process(plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    let memory = &plan.memory;
    let origin = match memory.origin {
        MemoryOrigin::Config => "from the config".into(),
        MemoryOrigin::Cgroup(limit) => format!("60 % of the container's limit of {}", Size(limit)),
        MemoryOrigin::Default => "the default, since no container limit was found".into(),
    };
    row(out, "memory", format!("{}, {origin}", Size(memory.total)))?;
    let rest = memory.total - memory.queues;
    row(out, "", format!("{} for queues, {} for buffers and what is in flight", Size(memory.queues), Size(rest)))?;
    match &plan.spool {
        SpoolPlan::Memory => row(out, "spool", "memory: a crash loses what waits")?,
        SpoolPlan::Disk { path, quota } => {
            row(out, "spool", format!("{}, {} for each sink", path.display(), Size(*quota)))?;
        }
    }
    match &plan.admin {
        Some(admin) => {
            let after = Span(admin.delivering_after);
            row(out, "admin", format!("http://{}, /delivering fails after {after}", admin.listen))?;
        }
        None => row(out, "admin", "off: `logweir health` has nothing to ask")?,
    }
    let letters = plan.dead_letters.as_ref().and_then(|letters| Some((plan.sinks.get(letters.sink)?, &letters.prefix)));
    match letters {
        Some((sink, prefix)) => row(out, "dead letters", format!("to {} under {prefix}", sink.name))?,
        None => row(out, "dead letters", "dropped and counted")?,
    }
    let (timeout, quiet) = (Span(plan.drain.timeout), Span(plan.drain.quiet));
    row(out, "drain", format!("{timeout} at most; a connection is done when quiet for {quiet}"))?;
    row(out, "metadata", if plan.metadata == Metadata::Ecs { "ecs" } else { "none" })?;
    let text = if plan.levels.text { ", then the text of `log`" } else { "" };
    row(out, "level", format!("{}{text}", plan.levels.fields.join(", ")))?;
    row(out, "tests", format!("{} (`logweir test` runs them)", plan.tests.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Host};

    #[test]
    fn the_plan_is_said_in_words() {
        let vars = |name: &str| match name {
            "LOG_BUCKET" => Some("my-logs".to_owned()),
            "AWS_REGION" => Some("eu-west-1".to_owned()),
            _ => None,
        };
        let host = Host { vars: &vars, memory_limit: None };
        let text = include_str!("../../config/aggregator.yaml");
        let plan = config::load("aggregator.yaml", text, &host).unwrap_or_else(|problems| panic!("{problems}"));
        let mut out = Vec::new();
        describe(&plan, "aggregator.yaml", &mut out).expect("a Vec takes all");
        let out = String::from_utf8(out).expect("UTF-8").replace(&plan.fingerprint, "0123456789abcdef");
        insta::assert_snapshot!(out, @r#"
    aggregator.yaml is fine (fingerprint 0123456789abcdef)

    sources
      agents (forward)
        listen       tcp://0.0.0.0:24224
        ack          when synced to the spool; a crash does not lose it
        join         lines up to 1MiB, 4MiB in all, 2s
        limits       frame 8MiB, inflated 64MiB, 4096 connections, 30s a frame

    routes, top to bottom; the first match takes a record
      1. audit
        when         tag.startsWith("audit.")
        to           audit, and on to the next route
      2. noise
        when         level <= DEBUG && container in ["cache", "scheduler"]
        to           dropped on purpose
      3. urgent
        when         level >= ERROR
        to           alerts, archive
      4. rest
        when         every record that is left
        to           archive

    sinks
      alerts (cloudwatch_logs)
        log group    /logs/{container} (region from AWS_REGION or the profile)
        log stream   {container}/{task_id}
        create       missing groups and streams; kept 14 days, class STANDARD
        message      the whole record as JSON; above 1 MiB split into several events
        requests     when full or 1s old, 4 in flight a stream, gzip
        retry        pauses 250ms to 1m, given up after 1day, 30s an attempt
        queue        138.9MiB in memory, then the oldest are dropped
      archive (s3)
        bucket       my-logs (region from AWS_REGION or the profile)
        prefix       logs/service={container}/dt=%Y-%m-%d/hour=%H/
        objects      closed at 128MiB as stored or after 10m
        format       NDJSON, JSON in `log` stands as JSON under `log`, compression zstd 3
        class        the bucket's default (STANDARD)
        encryption   the bucket's own
        retry        pauses 250ms to 1m, given up after 1day, 30s an attempt
        queue        138.9MiB in memory, then the sources that route here are not read
      audit (s3)
        bucket       my-audit-logs (region from AWS_REGION or the profile)
        prefix       audit/dt=%Y-%m-%d/
        objects      closed at 64MiB as stored or after 5m
        format       NDJSON, JSON in `log` stands as JSON under `log`, compression gzip 6
        class        STANDARD_IA
        encryption   the bucket's own
        retry        pauses 250ms to 1m, given up after 1day, 30s an attempt
        queue        138.9MiB in memory, then the sources that route here are not read

    process
        memory       1GiB, from the config
                     416.6MiB for queues, 607.4MiB for buffers and what is in flight
        spool        /var/lib/logweir, 10GiB for each sink
        admin        http://0.0.0.0:9600, /delivering fails after 10m
        dead letters dropped and counted
        drain        50s at most; a connection is done when quiet for 2s
        metadata     none
        level        level, severity, lvl, loglevel, levelname, log_level, then the text of `log`
        tests        4 (`logweir test` runs them)

    warnings
      admin.listen: 0.0.0.0:9600 can be reached from outside, and the admin server has no password
      drain.timeout: 50s is not below the 30s after which ECS kills by default; raise the container's stopTimeout too (Fargate: at most 120s)
    "#);
    }
}
