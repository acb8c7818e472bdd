//! `demo`: the whole router on this machine, with simulated containers and no AWS account.
//!
//! It runs `config/local.yaml` as it is but for this: the port is any free one, what stands for CloudWatch Logs is
//! written to files instead of standard output, so that it can be counted, and objects are closed sooner, so that
//! there is something to see.

mod bill;
mod load;
mod report;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::load::Container;
pub(super) use self::report::number;
use self::report::{CLOUDWATCH, S3, Shelf};
use super::{UsageError, log, run};
use crate::clock::Clock;
use crate::config::file::SinkKind;
use crate::config::plan::LogLevel;
use crate::config::value::Span;
use crate::config::{self, Host, Plan};
use crate::cost::Prices;
use crate::encode::Compression;
use crate::ledger::Ledger;
use crate::pipeline::{Drained, Pipeline};
use crate::sink::file::FileConfig;

/// The config that the demo runs.
const CONFIG: &str = include_str!("../../../config/local.yaml");

/// Objects are closed at this age: the demo is over after ten seconds.
const OBJECT_AGE: Span = Span::secs(4);

/// The containers write so often.
const TICK: Duration = Duration::from_millis(50);

/// Show everything on this machine: simulated containers, rules, objects, and what it would cost
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  logweir demo --seconds 10 --region eu-west-1")]
pub(crate) struct DemoArgs {
    /// How long the simulated containers write
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Stop after so many records
    #[arg(long, value_name = "N")]
    pub(crate) records: Option<u64>,
    /// Region whose prices the bill takes
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    pub(crate) region: String,
    /// Directory for the objects (default: a new temporary one)
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

pub(crate) fn run(args: DemoArgs) -> Result<ExitCode> {
    let prices = Prices::embedded();
    let region = prices.region(&args.region).map_err(|error| UsageError(error.to_string()))?;
    let fresh = || std::env::temp_dir().join(format!("logweir-demo-{:08x}", fastrand::u32(..)));
    let directory = args.dir.clone().unwrap_or_else(fresh);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let (plan, mut shelves) = plan(&directory)?;
    log::init(&plan.log)?;
    let before: HashSet<PathBuf> = shelves.iter().flat_map(|shelf| report::list(&shelf.directory)).collect();

    eprintln!("logweir demo: config/local.yaml, objects below {}", directory.display());
    let drained = run::runtime(&plan)?.block_on(play(plan, &args))?;

    for shelf in &mut shelves {
        shelf.objects = report::read_back(&shelf.directory, &before)
            .with_context(|| format!("cannot read back {}", shelf.directory.display()))?;
    }
    let text = report::text(&drained.books, &shelves, &directory, (&region, &prices))?;
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if drained.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The plan, and where its sinks write.
fn plan(directory: &Path) -> Result<(Plan, Vec<Shelf>)> {
    let archive = directory.join("archive").display().to_string();
    let vars = |name: &str| match name {
        "LOGWEIR_PORT" | "LOGWEIR_ADMIN_PORT" => Some("0".to_owned()),
        "LOGWEIR_DIR" => Some(archive.clone()),
        name => std::env::var(name).ok(),
    };
    let host = Host { vars: &vars, memory_limit: Host::this().memory_limit };
    let mut plan = config::load("config/local.yaml", CONFIG, &host)?;
    plan.admin = None;
    // The report says it all; the router speaks up only when something is wrong.
    plan.log.level = LogLevel::Warn;
    let objects = plan.sinks.iter().find_map(|sink| match &sink.kind {
        SinkKind::File(config) => Some(config.clone()),
        _ => None,
    });
    let mut shelves = Vec::new();
    for sink in &mut plan.sinks {
        let stands_for = if matches!(sink.kind, SinkKind::File(_)) { S3 } else { CLOUDWATCH };
        if let (SinkKind::Stdout(stdout), Some(objects)) = (&sink.kind, &objects) {
            sink.kind = SinkKind::File(FileConfig {
                path: directory.join(&sink.name),
                compression: Compression::None,
                log_json: stdout.log_json,
                fields: stdout.fields.clone(),
                ..objects.clone()
            });
        }
        if let SinkKind::File(config) = &mut sink.kind {
            config.object.age = OBJECT_AGE;
            let (name, directory) = (sink.name.clone(), config.path.clone());
            shelves.push(Shelf { name, directory, stands_for, objects: Vec::new() });
        }
    }
    Ok((plan, shelves))
}

/// Runs the router and the containers side by side, then drains.
async fn play(plan: Plan, args: &DemoArgs) -> Result<Drained> {
    let pipeline = Pipeline::build(plan).await?;
    let listening = pipeline.listening();
    let address = listening.iter().flat_map(|(_, addresses)| addresses).find_map(|a| a.strip_prefix("tcp://"));
    let address = address.context("config/local.yaml has no tcp:// listener")?.to_owned();
    let ledger = pipeline.ledger();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = pipeline.run(async {
        // Dropped or sent: the containers are done.
        let _ = stopped.await;
    });
    let writing = async {
        let written = write(&address, args, &ledger).await;
        eprintln!("the containers are done; draining");
        drop(stop);
        written
    };
    let (drained, written) = tokio::join!(running, writing);
    written.context("a simulated container could not write to the router's socket")?;
    Ok(drained)
}

/// Lets each container write over a connection of its own, as Docker's driver does.
async fn write(address: &str, args: &DemoArgs, ledger: &Arc<Ledger>) -> Result<()> {
    let clock = Clock::start();
    let mut peers = Vec::new();
    for container in load::containers(fastrand::u64(..)) {
        eprintln!("container {} writes {} lines a second", container.name(), number(container.rate));
        peers.push((container, TcpStream::connect(address).await?));
    }
    let (mut left, mut said) = (args.records.unwrap_or(u64::MAX), 0);
    let end = Duration::from_secs(args.seconds);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let start = Instant::now();
    let (mut spoken, mut frames) = (vec![0; peers.len()], Vec::new());
    while start.elapsed() < end && left > 0 {
        ticks.tick().await;
        let elapsed = start.elapsed().min(end);
        for ((container, stream), spoken) in peers.iter_mut().zip(&mut spoken) {
            let due = lines_due(container, elapsed, *spoken).min(left);
            frames.clear();
            (0..due).for_each(|_| container.speak(clock.unix(), &mut frames));
            stream.write_all(&frames).await?;
            *spoken += due;
            left -= due;
        }
        if elapsed.as_secs() > said {
            said = elapsed.as_secs();
            progress(said, ledger);
        }
    }
    for (_, mut stream) in peers {
        stream.shutdown().await?;
    }
    Ok(())
}

/// How many lines a container must write to keep its rate.
fn lines_due(container: &Container, elapsed: Duration, spoken: u64) -> u64 {
    ((container.rate as f64 * elapsed.as_secs_f64()) as u64).saturating_sub(spoken)
}

fn progress(seconds: u64, ledger: &Ledger) {
    let books = ledger.snapshot();
    let received: u64 = books.sources.iter().map(|source| source.received.records).sum();
    let sinks: Vec<String> = books
        .sinks
        .iter()
        .map(|sink| {
            format!("{} {} (+{} waiting)", sink.name, number(sink.delivered.records), number(sink.waiting().records))
        })
        .collect();
    eprintln!("{seconds:>4} s  {:>10} records received; delivered to {}", number(received), sinks.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_runs_the_local_config_with_files_for_every_sink() {
        let (plan, shelves) = plan(Path::new("/tmp/demo")).expect("the embedded config is good");
        let found: Vec<_> = shelves.iter().map(|shelf| (shelf.name.as_str(), shelf.stands_for)).collect();
        assert_eq!(found, [("alerts", CLOUDWATCH), ("archive", S3)]);
        assert!(shelves.iter().all(|shelf| shelf.directory.starts_with("/tmp/demo")));
        assert_eq!(plan.sinks.len(), shelves.len());
    }

    #[test]
    fn a_demo_sends_exactly_as_many_records_as_asked_for_and_finds_them_all() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (plan, shelves) = plan(root.path()).expect("the embedded config is good");
        let args = DemoArgs { seconds: 60, records: Some(2000), region: "us-east-1".into(), dir: None };
        let drained = run::runtime(&plan).and_then(|runtime| runtime.block_on(play(plan, &args))).expect("it plays");
        assert!(drained.is_clean());
        assert_eq!(drained.books.sources[0].received.records, 2000);
        for (shelf, book) in shelves.iter().zip(&drained.books.sinks) {
            let objects = report::read_back(&shelf.directory, &HashSet::new()).expect("readable");
            let records: u64 = objects.iter().map(|object| object.records).sum();
            assert_eq!(records, book.delivered.records, "{}", shelf.name);
        }
    }
}
