//! `spool export`: the records that wait, as lines of JSON.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::{Folder, SpoolPath, lines, note_use};
use crate::cli::UsageError;
use crate::spool::disk::look::Fate;

/// Print the records that wait as NDJSON, or write them to files
#[derive(Args, Debug)]
#[command(
    after_help = "Nothing is changed: what is exported still waits. Records for CloudWatch Logs come as objects with \
                  time, log_group, log_stream and message.\nExit code 1 when a block could not be read.\n\n\
                  Example:\n  logweir spool export /var/lib/logweir --sink archive > records.ndjson"
)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    spool: SpoolPath,
    /// Only this sink's (default: all)
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Write a file FOLDER.ndjson for each sink into this directory; none that is there is overwritten
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Delivered records too, as long as they are there
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: ExportArgs) -> Result<ExitCode> {
    let (home, mut folders) = args.spool.folders()?;
    if let Some(sink) = &args.sink {
        let names: Vec<String> = folders.iter().map(|folder| folder.sink().to_owned()).collect();
        folders.retain(|folder| folder.sink() == sink || folder.name == *sink);
        if folders.is_empty() {
            let accepted = if names.is_empty() { "none, the spool is empty".into() } else { names.join(", ") };
            Err(UsageError(format!("--sink: `{sink}` has nothing in this spool; accepted: {accepted}")))?;
        }
    }
    note_use(&home)?;
    let mut damaged = 0;
    for folder in &folders {
        damaged += match &args.to {
            Some(directory) => {
                let path = directory.join(format!("{}.ndjson", folder.name));
                let mut out = BufWriter::new(create(directory, &path)?);
                let exported = export(folder, args.all, &mut out)?;
                out.flush().with_context(|| path.display().to_string())?;
                eprintln!("{}: {} records of {}", path.display(), exported.records, folder.name);
                exported.damaged
            }
            None => {
                let mut out = BufWriter::new(stdout().lock());
                let exported = export(folder, args.all, &mut out)?;
                out.flush()?;
                exported.damaged
            }
        };
    }
    Ok(if damaged > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn create(directory: &Path, path: &Path) -> Result<File> {
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    OpenOptions::new().write(true).create_new(true).open(path).with_context(|| path.display().to_string())
}

#[derive(Debug, Default)]
struct Exported {
    records: u64,
    /// Blocks or segments that could not be read.
    damaged: u64,
}

fn export(folder: &Folder, all: bool, out: &mut dyn Write) -> io::Result<Exported> {
    let mut exported = Exported::default();
    for segment in folder.look.segments() {
        let name = folder.file(&segment.name());
        let mut write_error = None;
        let read = folder.look.read(segment, &mut |block, fate, data| {
            let header = &block.header;
            if fate == Fate::Again || fate == Fate::Ended && !all {
                return Ok(());
            }
            let Some(data) = data else {
                exported.damaged += 1;
                let records = header.count.records;
                eprintln!(
                    "damaged: {name}:{}: block {} with {records} records is left out",
                    block.data, header.sequence
                );
                return Ok(());
            };
            let mut sink = Sink { out: &mut *out, error: None };
            let written = lines::write(&header.partition, &data, header.plain_len, &mut sink);
            if let Some(error) = sink.error {
                write_error = Some(error);
                return Err(io::ErrorKind::Other.into());
            }
            match written {
                Ok(()) => exported.records += header.count.records,
                Err(error) => {
                    exported.damaged += 1;
                    eprintln!("damaged: {name}:{}: block {}: {error}", block.data, header.sequence);
                }
            }
            Ok(())
        });
        if let Some(error) = write_error {
            return Err(error);
        }
        match read {
            Ok(survey) => {
                for (at, len) in survey.gaps {
                    exported.damaged += 1;
                    eprintln!("damaged: {name}:{at}: {len} bytes that are no block");
                }
            }
            Err(error) => {
                exported.damaged += 1;
                eprintln!("damaged: {name}: cannot be read to its end: {error}");
            }
        }
    }
    Ok(exported)
}

/// Tells an output that cannot be written from a block that cannot be read.
struct Sink<'a> {
    out: &'a mut dyn Write,
    error: Option<io::Error>,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.error = Some(error);
            }
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
