//! Sinks: templates that parse, values that AWS accepts, bounds that make sense together.

use super::Check;
use super::Step::{self, Key};
use super::dead_letters::divert;
use crate::config::de::unknown;
use crate::config::file::SinkKind;
use crate::config::plan::{MemoryPlan, SinkPlan, SpoolPlan};
use crate::config::value::{Size, Span};
use crate::encode::{Fields, Message, Target, Template};
use crate::sink::cloudwatch_logs::{CloudWatchLogsConfig, LogClass};
use crate::sink::common::{ObjectConfig, RetryConfig};
use crate::sink::object::part_size;
use crate::sink::s3::S3Config;
use crate::spool::QueueConfig;

/// Retentions that PutRetentionPolicy accepts, in days.
const RETENTION_DAYS: [i32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
/// Storage classes that a PutObject may name; those of Outposts, Snow and FSx are set by their own endpoints.
const STORAGE_CLASSES: [&str; 9] = [
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
    "EXPRESS_ONEZONE",
    "REDUCED_REDUNDANCY",
];
/// Objects smaller than this cost more in requests and slow readers down.
const SMALL_OBJECT: Size = Size::mib(5);
/// Least size of an object: a block before compression has 256 KiB, so smaller ones cannot be aimed at.
const LEAST_OBJECT: Size = Size::kib(1);
/// Largest: 10,000 parts of 8 MiB are the most that one upload may have; a share of it is plenty.
const LARGEST_OBJECT: Size = Size::mib(5 << 10);
/// Share of a queue's bound at which objects are closed early.
const PRESSURE_PERCENT: u64 = 75;
/// Requests in flight for one stream: PutLogEvents allows 5,000 a second for all streams of an account.
const MOST_IN_FLIGHT: u32 = 64;
/// Tags that CreateLogGroup accepts.
const MOST_TAGS: usize = 50;

/// Checks all sinks and divides the queues' memory among them.
pub(in crate::config) fn sinks(
    check: &mut Check<'_>,
    sinks: &[(String, SinkKind)],
    memory: &MemoryPlan,
    spool: &SpoolPlan,
) -> Vec<SinkPlan> {
    // Even shares: which sink will need more is known only when it is down.
    let bound = memory.queues / sinks.len().max(1) as u64;
    // Where objects grow.
    let room = match spool {
        SpoolPlan::Memory => ("memory", bound),
        SpoolPlan::Disk { quota, .. } => ("spool.size", *quota),
    };
    let plans = sinks.iter().map(|(name, kind)| {
        check.name(&[Key("sinks"), Key(name)], name);
        match kind {
            SinkKind::S3(config) => s3(check, name, config, room),
            SinkKind::CloudWatchLogs(config) => cloudwatch_logs(check, name, config),
            SinkKind::File(config) => {
                template(check, name, "prefix", &config.prefix, Target::Prefix);
                object(check, name, &config.object, room);
                retry(check, name, &config.retry);
                if config.path.as_os_str().is_empty() {
                    check.problem(&at(name, &["path"]), "the path is empty");
                }
            }
            SinkKind::Stdout(_) => {}
        }
        let queue = QueueConfig { bound, when_full: kind.when_full() };
        SinkPlan { name: name.clone(), kind: kind.clone(), queue, divert: divert(check, name, kind, sinks) }
    });
    plans.collect()
}

fn at<'a>(name: &'a str, keys: &[&'a str]) -> Vec<Step<'a>> {
    [Key("sinks"), Key(name)].into_iter().chain(keys.iter().map(|key| Key(key))).collect()
}

fn template(check: &mut Check<'_>, name: &str, key: &str, text: &str, target: Target) {
    if let Err(error) = Template::parse(text).and_then(|template| target.check(&template)) {
        check.problem_inside(&at(name, &[key]), error.at, error.message);
    }
}

fn object(check: &mut Check<'_>, name: &str, object: &ObjectConfig, (key, bound): (&str, u64)) {
    if object.size < LEAST_OBJECT || object.size > LARGEST_OBJECT {
        let message = format!("an object may have {LEAST_OBJECT} to {LARGEST_OBJECT}, not {}", object.size);
        check.problem(&at(name, &["object", "size"]), message);
    } else if object.size < SMALL_OBJECT {
        check.warn(format!(
            "sinks.{name}.object.size: objects of {} cost more in requests and make queries slow; {SMALL_OBJECT} and \
             more suit readers",
            object.size
        ));
    }
    if object.age < Span::secs(1) {
        check.problem(&at(name, &["object", "age"]), format!("an object needs at least 1s, not {}", object.age));
    }
    let pressure = bound / 100 * PRESSURE_PERCENT;
    // What is larger than a part goes out in parts while it fills.
    if object.size.0 > pressure && (pressure < part_size(bound) || key != "memory") {
        check.warn(format!(
            "sinks.{name}.object.size: objects of {} will be closed at about {} because the sink's queue has only {}; \
             give more `{key}`, or ask for smaller objects",
            object.size,
            Size(pressure),
            Size(bound)
        ));
    }
}

fn retry(check: &mut Check<'_>, name: &str, retry: &RetryConfig) {
    if retry.initial.0.is_zero() || retry.initial > retry.max {
        check.problem(&at(name, &["retry", "initial"]), "the first pause must be above 0 and at most `max`");
    }
    if retry.attempt_timeout < Span::secs(1) {
        check.problem(&at(name, &["retry", "attempt_timeout"]), "an attempt needs at least 1s");
    }
}

fn s3(check: &mut Check<'_>, name: &str, config: &S3Config, room: (&str, u64)) {
    template(check, name, "prefix", &config.prefix, Target::Prefix);
    object(check, name, &config.object, room);
    retry(check, name, &config.retry);
    bucket(check, name, &config.bucket);
    aws(check, name, &config.region, &config.endpoint, &config.role_arn, &config.external_id);
    if let Some(class) = &config.storage_class {
        if !STORAGE_CLASSES.contains(&class.as_str()) {
            check.problem(&at(name, &["storage_class"]), unknown("storage class", class, STORAGE_CLASSES.into_iter()));
        } else if class.starts_with("GLACIER") && class != "GLACIER_IR" || class == "DEEP_ARCHIVE" {
            check.warn(format!(
                "sinks.{name}.storage_class: objects in {class} must be restored before they can be read; a lifecycle \
                 rule that moves them there later is usually cheaper"
            ));
        }
    }
    if config.prefix.starts_with('/') {
        check.warn(format!(
            "sinks.{name}.prefix: the leading `/` is left out: it would make a folder without a name in S3"
        ));
    }
}

/// The naming rules of general purpose buckets; access points are named by ARN or alias.
fn bucket(check: &mut Check<'_>, name: &str, bucket: &str) {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let fits = (3..=63).contains(&bucket.len())
        && bucket.chars().all(inside)
        && edge(bucket.chars().next())
        && edge(bucket.chars().next_back());
    if !fits && !bucket.starts_with("arn:") {
        let message =
            format!("`{bucket}` is no bucket name; accepted: 3 to 63 lower-case letters, digits, `-` and `.`");
        check.problem(&at(name, &["bucket"]), message);
    }
}

fn cloudwatch_logs(check: &mut Check<'_>, name: &str, config: &CloudWatchLogsConfig) {
    template(check, name, "log_group", &config.log_group, Target::LogGroup);
    template(check, name, "log_stream", &config.log_stream, Target::LogStream);
    retry(check, name, &config.retry);
    aws(check, name, &config.region, &config.endpoint, &config.role_arn, &config.external_id);
    if config.message == Message::Log && config.fields != Fields::default() {
        let message = "with `message: log` an event is the text of `log` and has no fields; leave `fields` out";
        check.problem(&at(name, &["fields"]), message);
    }
    let create = &config.create;
    if let Some(days) = create.retention_days.filter(|days| !RETENTION_DAYS.contains(days)) {
        let accepted = RETENTION_DAYS.map(|days| days.to_string()).join(", ");
        let message = format!("{days} is no retention that AWS accepts; accepted: {accepted}");
        check.problem(&at(name, &["create", "retention_days"]), message);
    }
    if create.enabled && create.retention_days.is_none() {
        check.warn(format!(
            "sinks.{name}.create.retention_days: new log groups keep their events for ever, and are billed for it; set \
             for example 30"
        ));
    }
    if create.tags.len() > MOST_TAGS {
        check.problem(&at(name, &["create", "tags"]), format!("AWS accepts at most {MOST_TAGS} tags"));
    }
    if create.class == LogClass::InfrequentAccess {
        check.warn(format!(
            "sinks.{name}.create.class: in INFREQUENT_ACCESS groups EMF metrics, metric filters, alarms, subscriptions \
             and Live Tail do not work; the class of a group cannot be changed later"
        ));
    }
    if !(1..=MOST_IN_FLIGHT).contains(&config.in_flight) {
        let message = format!("{} requests in flight; accepted: 1 to {MOST_IN_FLIGHT}", config.in_flight);
        check.problem(&at(name, &["in_flight"]), message);
    }
    if config.batch.age.0.is_zero() || config.batch.age > Span::secs(60) {
        let message = format!("{} is no useful age of a request; accepted: above 0, at most 1m", config.batch.age);
        check.problem(&at(name, &["batch", "age"]), message);
    }
}

fn is_set(check: &Check<'_>, variable: &str) -> bool {
    (check.vars)(variable).is_some_and(|value| !value.is_empty())
}

/// What the AWS sinks share.
fn aws(
    check: &mut Check<'_>,
    name: &str,
    region: &Option<String>,
    endpoint: &Option<String>,
    role: &Option<String>,
    external_id: &Option<String>,
) {
    if let Some(region) = region {
        let fits = region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !fits || region.split('-').count() < 3 {
            check.problem(&at(name, &["region"]), format!("`{region}` is no region; write for example eu-west-1"));
        }
    } else if !["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().any(|name| is_set(check, name)) {
        check.warn(format!(
            "sinks.{name}: no region: set `region` or AWS_REGION; without one every request fails, unless the AWS \
             profile names one"
        ));
    }
    if let Some(url) = endpoint.as_ref().filter(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        check.problem(&at(name, &["endpoint"]), format!("`{url}` is no URL; it begins with https:// or http://"));
    }
    if let Some(arn) = role.as_ref().filter(|arn| !arn.starts_with("arn:") || !arn.contains(":role/")) {
        let message = format!("`{arn}` is no role; write for example arn:aws:iam::123456789012:role/logs");
        check.problem(&at(name, &["role_arn"]), message);
    }
    if external_id.is_some() && role.is_none() {
        check.problem(&at(name, &["external_id"]), "an external id belongs to a role; set `role_arn` too");
    }
}
