//! `run`: the router.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::{ConfigArg, UsageError, log, reload};
use crate::config::Plan;
use crate::config::plan::{SinkKind, SinkPlan};
use crate::pipeline::{Drained, Pipeline, report};

/// Run the router until SIGTERM, then drain
///
/// SIGHUP has it read its config again. The new one is checked first; if it cannot run, the old one goes on and the log
/// says why. Connections stay open, and no record is lost.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  logweir run -c config/sidecar.yaml")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Reload the config whenever its file has changed, as at SIGHUP
    #[arg(long)]
    watch: bool,
}

/// Runs the router; the exit code is 0 when the drain dropped nothing.
pub(crate) fn run(args: RunArgs) -> Result<ExitCode> {
    let watched = watched(&args)?;
    let (plan, _) = args.config.plan()?;
    log::init(&plan.log)?;
    raise_open_files();
    let runtime = runtime(&plan)?;
    let drained = runtime.block_on(serve(plan, args.config, watched));
    // Without waiting for blocking threads: one may hang for ever in a write to a pipe that nobody reads.
    runtime.shutdown_background();
    let drained = drained?;
    Ok(if drained.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A file descriptor a connection and a segment of the spool: the soft limit of 1,024 is for programs that use `select`.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!("the limit of open files cannot be raised: {error}");
    }
}

/// The file to look after, if that is wanted.
fn watched(args: &RunArgs) -> Result<Option<PathBuf>, UsageError> {
    match (args.watch, args.config.source()) {
        (false, _) => Ok(None),
        (true, Some(place)) if !place.starts_with("s3://") => Ok(Some(place.into())),
        (true, _) => Err(UsageError(
            "--watch looks after a file, and the config is none; a config in S3 is read again at SIGHUP, one in the \
             environment cannot change"
                .into(),
        )),
    }
}

async fn serve(plan: Plan, config: ConfigArg, watched: Option<PathBuf>) -> Result<Drained> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, plans) = mpsc::channel(1);
    let reloads = reload::plans(config, watched, signal(SignalKind::hangup())?, sender);
    tokio::pin!(reloads);
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    let pipeline = Pipeline::build(plan).await?;
    for (source, addresses) in pipeline.listening() {
        tracing::info!("source {source} listens on {}", addresses.join(", "));
    }
    if let Some(address) = pipeline.admin_address() {
        tracing::info!("admin on http://{address}/status");
    }
    let ledger = pipeline.ledger();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async {
        // A dropped sender cannot happen before the stop: it lives as long as this future is polled.
        let _ = stopped.await;
    };
    let running = pipeline.run_with(stopped, plans);
    tokio::pin!(running);
    tokio::select! {
        drained = &mut running => return Ok(drained),
        () = either(&mut term, &mut int) => drop(stop),
        never = &mut reloads => match never {},
    }
    tokio::select! {
        drained = &mut running => Ok(drained),
        () = either(&mut term, &mut int) => {
            tracing::error!("a second signal: ending at once, what waits is lost");
            report::print(&ledger.snapshot(), &[]);
            std::process::exit(1);
        }
        never = &mut reloads => match never {},
    }
}

/// Comes back at either signal.
pub(super) async fn either(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// As many as the process has cores, unless the environment says otherwise.
fn threads() -> Result<usize> {
    let Some(wanted) = std::env::var_os("TOKIO_WORKER_THREADS") else {
        return Ok(std::thread::available_parallelism().map_or(1, usize::from));
    };
    let threads = wanted.to_str().and_then(|wanted| wanted.parse().ok()).filter(|threads| (1..=1024).contains(threads));
    threads
        .with_context(|| format!("TOKIO_WORKER_THREADS is {wanted:?}; a number of threads from 1 to 1024 is accepted"))
}

/// One core gets the single-threaded scheduler: with nothing to run beside, the other one only costs.
pub(crate) fn runtime(plan: &Plan) -> Result<tokio::runtime::Runtime> {
    let cores = threads()?;
    let mut builder = match cores {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    // Blocking threads compress blocks (no more than there are cores can do that at a time) and sync the spool. Each
    // sink that writes to a file or stdout has one more, which it writes with: where that hangs, the others go on.
    let writes = |sink: &&SinkPlan| matches!(sink.kind, SinkKind::File(_) | SinkKind::Stdout(_));
    let writers = plan.sinks.iter().filter(writes).count();
    builder.worker_threads(cores).max_blocking_threads(cores + 2 + writers).enable_all();
    builder.build().context("cannot start the runtime")
}
