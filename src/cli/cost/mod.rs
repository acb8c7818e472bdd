//! `cost`: what a month of logs like the sample would cost under a config.

mod report;
mod sample;

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use self::sample::{Form, Origin, Sample};
use super::{UsageError, explain};
use crate::config::plan::{Metadata, Plan, SinkKind};
use crate::config::{self, Host, Problems};
use crate::cost::{Architecture, Ask, Comparison, DAY, DAYS, Estimate, Prices, Reservation, estimate, measure};
use crate::record::UnixNanos;

/// The record's task id, where the sample does not tell one: as long as ECS' are.
const TASK_ID: &str = "0123456789abcdef0123456789abcdef";

/// 2026-11-22T10:30:00Z, the time of the first record that has none: always the same, so that a sample always gives the
/// same bill.
const FIRST: UnixNanos = 1_795_343_400_000_000_000;

/// Say what a month of logs like a sample costs under a config, or under two
///
/// The sample goes through the config's own rules, encoders and compression. It is lines of text, JSON records (such as
/// logweir's objects) or a Forward capture (`logweir record`), as they are or compressed with gzip or zstd; what it is
/// shows in its content. At most 64 MiB of it are read. Nothing is sent anywhere.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  logweir cost -c config/sidecar.yaml --sample app.log --volume 1TB/day --region ap-northeast-1"
)]
pub(crate) struct CostArgs {
    /// The config, as for `check`; a second one is compared with the first
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    configs: Vec<String>,
    /// Files of logs; - is standard input
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    sample: Vec<PathBuf>,
    /// Log text of all tasks, as applications write it: 1TB/day, 500GB/month, 10MB/s
    #[arg(long, value_name = "VOLUME", value_parser = volume)]
    volume: f64,
    /// Region whose prices are taken
    #[arg(long, value_name = "REGION", env = "AWS_REGION")]
    region: String,
    /// How long objects are kept, and events whose `retention_days` are not set
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = days)]
    retain: f64,
    /// Processes that write, each all prefixes of the sample
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    tasks: u32,
    /// What each reserves on Fargate, for example 0.25vCPU,512MiB (default: not billed)
    #[arg(long, value_name = "VCPU,MEMORY", value_parser = reserve)]
    reserve: Option<(f64, f64)>,
    /// Reservations are for Graviton
    #[arg(long, requires = "reserve")]
    arm64: bool,
    /// What the files hold (default: told by their content)
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Form>,
    /// Container that lines and records without a tag come from
    #[arg(long, value_name = "NAME", default_value = "app")]
    container: String,
    /// Their tag (default: CONTAINER-firelens-TASK, of a task that is made up)
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Source of the config that the sample comes from (default: the first)
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Prices to take instead, a file like src/cost/prices.json; it may have fewer rows
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What is printed, and given as JSON.
#[derive(Debug, Serialize)]
struct Report {
    region: String,
    /// Log text a day, in bytes.
    volume_bytes_a_day: f64,
    retain_days: f64,
    tasks: u32,
    sample: SampleReport,
    configs: Vec<ConfigReport>,
    /// The second config against the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Comparison>,
    /// What is assumed, a sentence each.
    assumptions: Vec<String>,
    /// Source and date of the prices.
    prices: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct SampleReport {
    files: Vec<(String, &'static str)>,
    records: u64,
    text_bytes: u64,
}

#[derive(Debug, Serialize)]
struct ConfigReport {
    name: String,
    #[serde(flatten)]
    estimate: Estimate,
}

pub(crate) fn run(args: CostArgs) -> Result<ExitCode> {
    let usage = |error: String| UsageError(error);
    let prices = prices(&args).map_err(usage)?;
    let region = prices.region(&args.region).map_err(|error| usage(format!("--region: {error}")))?;
    let plans = plans(&args)?;
    let sources = plans.iter().map(|(plan, _)| explain::source(plan, args.source.as_deref()));
    let sources = sources.collect::<Result<Vec<_>, _>>().map_err(usage)?;
    let tag = args.tag.clone().unwrap_or_else(|| format!("{}-firelens-{TASK_ID}", args.container));
    let origin = Origin { tag, container: args.container.clone(), first: FIRST };
    let sample = sample::read(&args.sample, args.format, &origin).map_err(usage)?;
    let ask = ask(&args);
    let (mut configs, mut texts) = (Vec::new(), Vec::new());
    for ((plan, name), source) in plans.iter().zip(&sources) {
        let measured = measure(plan, source, sample.batches.clone());
        let estimate = estimate(plan, &measured, &ask, &region).map_err(|error| usage(format!("{name}: {error}")))?;
        configs.push(ConfigReport { name: name.clone(), estimate });
        texts.push(measured.text);
    }
    let items = ["cloudwatch_ingest_STANDARD", "s3_storage_STANDARD", "fargate_vcpu_X86_64"];
    let items = prices.sources(&items[..if args.reserve.is_some() { 3 } else { 2 }]);
    let report = Report {
        region: args.region.clone(),
        volume_bytes_a_day: args.volume,
        retain_days: args.retain,
        tasks: args.tasks,
        sample: SampleReport {
            files: sample.files.iter().map(|(name, form)| (name.clone(), form.as_str())).collect(),
            records: texts[0].records,
            text_bytes: texts[0].bytes,
        },
        comparison: match &configs[..] {
            [first, second] => Some(Comparison::of(&first.estimate, &second.estimate)),
            _ => None,
        },
        assumptions: assumptions(&args, &plans, &sample),
        configs,
        prices: items.into_iter().map(|(source, date)| (source.to_owned(), date.to_owned())).collect(),
    };
    let mut out = stdout().lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        false => out.write_all(report::text(&report).as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn prices(args: &CostArgs) -> Result<Prices, String> {
    let Some(path) = &args.prices else { return Ok(Prices::embedded()) };
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("--prices: cannot read {name}: {error}"))?;
    Prices::embedded().with(&text).map_err(|error| format!("--prices: {name}: {error}"))
}

/// The plans as they would be under ECS, where `metadata` is on unless the config says otherwise.
fn plans(args: &CostArgs) -> Result<Vec<(Plan, String)>> {
    if args.configs.len() > 2 {
        return Err(UsageError(format!("{} configs are given; accepted are one or two", args.configs.len())).into());
    }
    let vars = |name: &str| {
        let value = std::env::var(name).ok();
        if name == config::ECS_METADATA_VARIABLE { value.or(Some("http://169.254.170.2/v4".into())) } else { value }
    };
    let host = Host { vars: &vars, memory_limit: Host::this().memory_limit };
    let load = |place: Option<&str>| -> Result<(Plan, String), Problems> {
        let text = config::text::find(place, host.vars)?;
        Ok((config::load(&text.name, &text.text, &host)?, text.name))
    };
    match &args.configs[..] {
        [] => Ok(vec![load(None)?]),
        places => Ok(places.iter().map(|place| load(Some(place))).collect::<Result<_, _>>()?),
    }
}

fn ask(args: &CostArgs) -> Ask {
    let tasks = f64::from(args.tasks);
    let architecture = if args.arm64 { Architecture::Arm } else { Architecture::X86 };
    let reservation = args.reserve.map(|(vcpu, memory_gb)| Reservation { tasks, vcpu, memory_gb, architecture });
    Ask { volume: args.volume, retain: args.retain, tasks, reservation }
}

fn assumptions(args: &CostArgs, plans: &[(Plan, String)], sample: &Sample) -> Vec<String> {
    let mut said = vec![
        "Volume is log text as applications write it; everything else grows with it from the sample, which stands for a \
         day's mix and pace."
            .to_owned(),
        format!(
            "{} writing, an even part each and every prefix of the sample.",
            if args.tasks == 1 { "One task is".to_owned() } else { format!("{} tasks are", args.tasks) }
        ),
        "CloudWatch Logs bills messages and 26 bytes each, as PutLogEvents counts them, and stores 0.15 of that (AWS's \
         own estimate)."
            .to_owned(),
        "`Everything` is the text alone, as the awslogs driver sends it, in class STANDARD.".to_owned(),
        "Storage is what it comes to when as much is deleted each day as is added.".to_owned(),
    ];
    if sample.files.iter().any(|(_, form)| *form == Form::Lines) {
        said.push(
            "Lines are sent as Docker's driver sends them, with four fields, and came a millisecond apart.".into(),
        );
    }
    if plans.iter().any(|(plan, _)| plan.metadata == Metadata::Ecs) {
        said.push("Records carry the ecs_* fields, as under ECS (`metadata: none` leaves them out).".into());
    }
    let elsewhere = |(plan, _): &(Plan, String)| plan.sinks.iter().any(|sink| is_elsewhere(&sink.kind, &args.region));
    if plans.iter().any(elsewhere) {
        said.push(format!("A sink is in another region than {}; it is billed as if it were there.", args.region));
    }
    if sample.is_cut {
        said.push(format!("Of the sample the first {} were read.", sample::MOST));
    }
    said.push(
        "A GB of a bill is 2^30 bytes, as AWS counts; sizes of logs and objects are decimal. Classes for old data bill \
         their least object size and their least days."
            .into(),
    );
    said.push(
        "Left out: queries, network, free tiers, lower prices of large volumes, taxes; of INTELLIGENT_TIERING its \
         monitoring and lower tiers, of GLACIER what it adds to each object."
            .into(),
    );
    said
}

fn is_elsewhere(sink: &SinkKind, asked: &str) -> bool {
    let region = match sink {
        SinkKind::S3(config) => &config.region,
        SinkKind::CloudWatchLogs(config) => &config.region,
        SinkKind::File(_) | SinkKind::Stdout(_) => &None,
    };
    region.as_ref().is_some_and(|region| region != asked)
}

/// Log text a day.
fn volume(text: &str) -> Result<f64, String> {
    const EXAMPLE: &str = "write for example 1TB/day, 500GB/month or 10MB/s";
    let (size, unit) = text.split_once('/').ok_or_else(|| format!("`{text}` is per no time; {EXAMPLE}"))?;
    let size = size.trim();
    if size.ends_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`{size}` has no unit; {EXAMPLE}"));
    }
    let bytes: bytesize::ByteSize = size.parse().map_err(|_| format!("`{size}` is no size; {EXAMPLE}"))?;
    let days = match unit.trim() {
        "s" | "sec" | "second" => DAY,
        "m" | "min" | "minute" => DAY / 60.0,
        "h" | "hour" => 24.0,
        "d" | "day" => 1.0,
        "w" | "week" => 1.0 / 7.0,
        "month" => 1.0 / DAYS,
        unit => return Err(format!("`{unit}` is no time; accepted are s, min, h, day, week and month")),
    };
    match bytes.as_u64() {
        0 => Err(format!("the volume is zero; {EXAMPLE}")),
        bytes => Ok(bytes as f64 * days),
    }
}

/// A time to keep something, in days.
fn days(text: &str) -> Result<f64, String> {
    let time = humantime::parse_duration(text).map_err(|_| format!("`{text}` is no time; write for example 90d"))?;
    if time < Duration::from_secs(24 * 3600) {
        return Err(format!("`{text}` is less than a day; write for example 90d"));
    }
    Ok(time.as_secs_f64() / DAY)
}

/// vCPU and GB.
fn reserve(text: &str) -> Result<(f64, f64), String> {
    let wrong = || format!("`{text}` is no reservation; write for example 0.25vCPU,512MiB");
    let (vcpu, memory) = text.split_once(',').ok_or_else(wrong)?;
    let vcpu = vcpu.trim();
    let vcpu: f64 = vcpu.strip_suffix("vCPU").unwrap_or(vcpu).trim().parse().map_err(|_| wrong())?;
    if memory.ends_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`{}` has no unit; write for example 0.25vCPU,512MiB", memory.trim()));
    }
    let memory: bytesize::ByteSize = memory.trim().parse().map_err(|_| wrong())?;
    match vcpu.is_finite() && vcpu >= 0.0 {
        true => Ok((vcpu, memory.as_u64() as f64 / crate::cost::GB)),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_bytes_per_time() {
        assert_eq!(volume("1TB/day"), Ok(1e12));
        assert_eq!(volume("10 MB / s"), Ok(10e6 * 86_400.0));
        assert_eq!(volume("1MiB/h"), Ok(24.0 * 1_048_576.0));
        let month = volume("500GB/month").expect("a volume");
        assert!((month - 500e9 * 12.0 / 365.0).abs() < 1.0, "{month}");
        for (text, message) in [
            ("1TB", "per no time"),
            ("1000/day", "no unit"),
            ("much/day", "no size"),
            ("1TB/fortnight", "`fortnight` is no time"),
            ("0GB/day", "zero"),
        ] {
            let error = volume(text).expect_err(text);
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn times_and_reservations_have_units() {
        assert_eq!(days("90d"), Ok(90.0));
        assert!(days("90").is_err() && days("1h").is_err());
        assert_eq!(reserve("0.25vCPU,512MiB"), Ok((0.25, 0.5)));
        assert_eq!(reserve("1,2GiB"), Ok((1.0, 2.0)));
        for wrong in ["0.25", "a,1GiB", "-1,1GiB", "1,much"] {
            assert!(reserve(wrong).is_err(), "{wrong}");
        }
    }
}
