//! `record`: live logs into a Forward capture, for `logweir cost`.
//!
//! It stands where the router stands, and keeps what comes instead of routing it: nothing is forwarded. Chunks are
//! acked when they are handed to the file. The capture is frames of the protocol's Forward mode, one after the other.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::demo::number;
use super::{ConfigArg, UsageError, log, run};
use crate::clock::Clock;
use crate::config::plan::{LogSection, SourceKind};
use crate::config::value::{Size, Span};
use crate::record::msgpack::write;
use crate::record::{Outcome, RecordBatch};
use crate::source::forward::{self, AckMode, Budget, ForwardConfig, Listeners, Resources, Setup};
use crate::source::{Control, Intake};

/// What connections of a source may hold beyond their small buffers.
const READING: usize = 8 << 20;

/// At the end, what is under way is read for so long, or until all has been quiet for a fifth of it.
const LAST_READS: Duration = Duration::from_secs(1);

/// Record live logs into a file, for `logweir cost`
///
/// It listens where the config's sources do, or at --listen, accepts and acks what comes, and writes it to the file.
/// Nothing is forwarded: run it in the place of the router for a minute, or as a second target of a forwarder. It ends
/// after --for, at --max-bytes, or at SIGTERM or Ctrl-C, and what was recorded by then stays. The file holds your logs as
/// they are; only its owner may read it.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  logweir record --listen tcp://127.0.0.1:24224 --for 60s --out app.capture\n  \
                  logweir record -c config/sidecar.yaml --for 5m --max-bytes 64MiB")]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Listen here, whatever a config says: unix:///path or tcp://address:port
    #[arg(long, value_name = "ADDRESS", conflicts_with = "place")]
    listen: Vec<String>,
    /// How long
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = span)]
    time: Span,
    /// End with the record that makes the file so large
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    max_bytes: Size,
    /// The file; it must not exist
    #[arg(long, value_name = "FILE", default_value = "logweir.capture")]
    out: PathBuf,
}

pub(crate) fn run(args: RecordArgs) -> Result<ExitCode> {
    let sources = sources(&args)?;
    log::init(&LogSection::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let file = args.out.display();
    let recorded = runtime.block_on(record(&args, sources, open(&args.out)?));
    if recorded.is_err() && std::fs::metadata(&args.out).is_ok_and(|file| file.len() == 0) {
        std::fs::remove_file(&args.out).with_context(|| format!("cannot remove the empty {file}"))?;
    }
    let recorded = recorded?;
    if recorded.records == 0 {
        std::fs::remove_file(&args.out).with_context(|| format!("cannot remove the empty {file}"))?;
        bail!("no record came; does anything send to these addresses?");
    }
    let mut out = io::stdout().lock();
    let plural = if recorded.records == 1 { "" } else { "s" };
    writeln!(out, "{file}: {} record{plural}, {}", number(recorded.records), Size(recorded.bytes))?;
    writeln!(out, "logweir cost -c CONFIG --sample {file} --volume 1TB/day --region REGION")?;
    Ok(ExitCode::SUCCESS)
}

/// Where to listen: by source.
fn sources(args: &RecordArgs) -> Result<Vec<(String, ForwardConfig)>> {
    if args.listen.is_empty() {
        let (plan, _) = args.config.plan()?;
        let source = |source: crate::config::plan::SourcePlan| {
            let SourceKind::Forward(config) = source.kind;
            (source.name, ForwardConfig { ack: Some(AckMode::Delivered), ..config })
        };
        return Ok(plan.sources.into_iter().map(source).collect());
    }
    for address in &args.listen {
        let parsed: forward::Address = address.parse().map_err(|error| UsageError(format!("--listen: {error}")))?;
        if matches!(parsed, forward::Address::Tls(_)) {
            return Err(
                UsageError(format!("--listen: `{address}` needs a certificate, which a config names (-c)")).into()
            );
        }
    }
    let config = serde_json::from_value(serde_json::json!({ "listen": args.listen }))?;
    Ok(vec![("record".into(), config)])
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recorded {
    records: u64,
    bytes: u64,
}

async fn record(args: &RecordArgs, sources: Vec<(String, ForwardConfig)>, out: File) -> Result<Recorded> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut setups = Vec::new();
    for (name, config) in sources {
        let listeners = Listeners::bind(&config).with_context(|| format!("source {name}"))?;
        let addresses: Vec<_> = listeners.addresses().iter().map(ToString::to_string).collect();
        tracing::info!("source {name} listens on {}; nothing is forwarded", addresses.join(", "));
        setups.push((name, Setup::new(listeners, &config, Arc::new(Budget::new(READING)))?));
    }
    let tap = Tap::new(out, args.max_bytes);
    let (clock, mut control, mut tasks, mut changes) = (Clock::start(), Control::new(), JoinSet::new(), Vec::new());
    for (name, setup) in setups {
        let (change, changed) = mpsc::channel(1);
        changes.push(change);
        let (tap, shutdown) = (tap.clone(), control.subscribe());
        let resources = Resources { clock, stats: Arc::default() };
        tasks.spawn(async move { forward::serve(setup, &name, vec![tap], resources, changed, shutdown).await });
    }
    let mut full = tap.0.full.subscribe();
    let patience = tokio::select! {
        () = sleep(args.time.0) => LAST_READS,
        () = run::either(&mut term, &mut int) => LAST_READS,
        // The tap is there as long as this is awaited.
        _ = full.wait_for(|full| *full) => Duration::ZERO,
    };
    control.drain(patience / 5, Instant::now() + patience);
    control.reading_over().await;
    control.end();
    while tasks.join_next().await.is_some() {}
    tap.finish().with_context(|| format!("cannot write {}", args.out.display()))
}

fn open(path: &Path) -> Result<File> {
    if path == Path::new("-") {
        return Err(UsageError("--out: a capture goes to a file, not to standard output".into()).into());
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            UsageError(format!("--out: {} exists; remove it or choose another", path.display())).into()
        }
        _ => anyhow::Error::new(error).context(format!("--out: cannot create {}", path.display())),
    })
}

/// Takes batches and writes them to the file.
#[derive(Clone)]
struct Tap(Arc<Shared>);

struct Shared {
    capture: Mutex<Capture>,
    /// Nothing more is wanted: the file has its size, or it cannot be written.
    full: watch::Sender<bool>,
}

struct Capture {
    out: BufWriter<File>,
    most: u64,
    recorded: Recorded,
    /// The frame at hand.
    frame: Vec<u8>,
    failed: Option<io::Error>,
}

impl Tap {
    fn new(file: File, most: Size) -> Self {
        let recorded = Recorded { records: 0, bytes: 0 };
        let capture = Capture { out: BufWriter::new(file), most: most.0, recorded, frame: Vec::new(), failed: None };
        Self(Arc::new(Shared { capture: Mutex::new(capture), full: watch::Sender::new(false) }))
    }

    fn capture(&self) -> MutexGuard<'_, Capture> {
        self.0.capture.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// All is on disk, or what failed.
    fn finish(&self) -> io::Result<Recorded> {
        let mut capture = self.capture();
        match capture.failed.take() {
            Some(error) => Err(error),
            None => capture.out.flush().map(|()| capture.recorded),
        }
    }
}

impl Intake for Tap {
    fn take(&self, batch: RecordBatch) {
        let mut capture = self.capture();
        // Nothing is written behind a frame that is cut short.
        let written = if capture.failed.is_some() {
            false
        } else {
            capture.write(&batch).map_err(|error| capture.failed = Some(error)).is_ok()
        };
        if !written {
            batch.tickets.settle(Outcome::Lost);
        }
        if capture.failed.is_some() || capture.recorded.bytes >= capture.most {
            self.0.full.send_replace(true);
        }
    }

    async fn room(&self) {
        if *self.0.full.borrow() {
            std::future::pending::<()>().await;
        }
    }

    fn refuse(&self, _reason: &'static str, _records: u64, _bytes: u64) {}
}

impl Capture {
    /// `[tag, [[EventTime, record], …]]`.
    fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let frame = &mut self.frame;
        frame.clear();
        write::array(frame, 2);
        write::str(frame, batch.tag.as_str().as_bytes());
        write::array(frame, u32::try_from(batch.records.len()).map_err(io::Error::other)?);
        for span in &batch.records {
            write::array(frame, 2);
            write::event_time(frame, span.time);
            frame.extend_from_slice(batch.map(*span));
        }
        self.out.write_all(frame)?;
        self.recorded.records += batch.records.len() as u64;
        self.recorded.bytes += frame.len() as u64;
        Ok(())
    }
}

fn span(text: &str) -> Result<Span, String> {
    let time = humantime::parse_duration(text).map_err(|_| format!("`{text}` is no time; write for example 60s"))?;
    if time.is_zero() { Err("the time is zero; write for example 60s".into()) } else { Ok(Span(time)) }
}

fn size(text: &str) -> Result<Size, String> {
    let size: bytesize::ByteSize = text.parse().map_err(|_| format!("`{text}` is no size; write for example 64MiB"))?;
    if size.as_u64() == 0 { Err("the size is zero; write for example 64MiB".into()) } else { Ok(Size(size.as_u64())) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::record::{RecordSpan, Tag, Ticket, Tickets};

    #[test]
    fn what_cannot_be_written_is_not_acked_and_nothing_follows_it() {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let tap = Tap::new(full, Size(u64::MAX));
        let (tell, told) = channel();
        let batch = |len: usize| {
            let tell = tell.clone();
            let ticket = Ticket::new(move |outcome| tell.send(outcome).expect("heard"));
            RecordBatch {
                tag: Tag::from("app"),
                data: vec![0x80; len].into(),
                records: vec![RecordSpan { time: 1, start: 0, len: len as u32 }],
                received: 1,
                tickets: Tickets::from(ticket),
            }
        };
        // Beyond what is gathered in memory, then one that would be.
        tap.take(batch(1 << 20));
        tap.take(batch(1));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [Outcome::Lost, Outcome::Lost]);
        assert!(*tap.0.full.borrow());
        assert!(tap.finish().is_err());
    }
}
