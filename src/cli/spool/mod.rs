//! `spool`: what lies in a spool's directory, without a running router and without a config.

mod export;
mod lines;
mod ls;
mod repair;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::UsageError;
use crate::spool::disk::files::RealDirectory;
use crate::spool::disk::look::Look;
use crate::spool::disk::{home, journal, segment};

/// Look into a spool directory: list, verify, export, repair
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  logweir spool ls /var/lib/logweir")]
pub(crate) struct SpoolArgs {
    #[command(subcommand)]
    command: SpoolCommand,
}

#[derive(Debug, Subcommand)]
enum SpoolCommand {
    Ls(ls::LsArgs),
    Verify(verify::VerifyArgs),
    Export(export::ExportArgs),
    Repair(repair::RepairArgs),
}

/// Which spool.
#[derive(Args, Debug)]
struct SpoolPath {
    /// The directory that the config names under `spool.path`, or one sink's folder in it
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

pub(crate) fn run(args: SpoolArgs) -> Result<ExitCode> {
    match args.command {
        SpoolCommand::Ls(args) => ls::run(args),
        SpoolCommand::Verify(args) => verify::run(args),
        SpoolCommand::Export(args) => export::run(args),
        SpoolCommand::Repair(args) => repair::run(args),
    }
}

/// A sink's folder.
#[derive(Debug)]
struct Folder {
    /// Its own name: `<sink>.<type>`.
    name: String,
    path: PathBuf,
    look: Look,
}

impl SpoolPath {
    /// The spool's directory and the folders that are looked at.
    fn folders(&self) -> Result<(PathBuf, Vec<Folder>)> {
        let path = &self.path;
        let usage = |what: String| UsageError(format!("{}: {what}", path.display()));
        let is_directory = match fs::metadata(path) {
            Err(error) => Err(usage(format!("{error}; give the directory that the config names under `spool.path`")))?,
            Ok(metadata) => metadata.is_dir(),
        };
        if !is_directory {
            Err(usage("it is a file; give the directory that the config names under `spool.path`".into()))?;
        }
        if holds_queue(path)? {
            let path = fs::canonicalize(path).with_context(|| path.display().to_string())?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let home = path.parent().unwrap_or(&path).to_owned();
            return Ok((home, vec![Folder::open(name, path)?]));
        }
        let mut folders = Vec::new();
        for (name, _) in home::folders(path).with_context(|| path.display().to_string())? {
            let path = path.join(&name);
            if holds_queue(&path)? {
                folders.push(Folder::open(name, path)?);
            }
        }
        if folders.is_empty() && !path.join("lock").exists() {
            Err(usage("it is no spool: there is no folder <sink>.<type> with a journal or segments in it".into()))?;
        }
        Ok((path.clone(), folders))
    }
}

impl Folder {
    fn open(name: String, path: PathBuf) -> Result<Self> {
        let look = Look::at(Arc::new(RealDirectory::at(&path))).with_context(|| path.display().to_string())?;
        Ok(Self { name, path, look })
    }

    /// The name of its sink.
    fn sink(&self) -> &str {
        self.name.rsplit_once('.').map_or(&self.name, |(sink, _)| sink)
    }

    /// A file in it, for messages.
    fn file(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

/// Says so when a spool is in use: what is written meanwhile may be seen in part.
fn note_use(home: &Path) -> Result<()> {
    if home::is_in_use(home).with_context(|| home.display().to_string())? {
        eprintln!(
            "note: {} is in use by a running logweir; what it writes meanwhile may be seen in part",
            home.display()
        );
    }
    Ok(())
}

/// Whether a directory has the files of a queue.
fn holds_queue(path: &Path) -> Result<bool> {
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry.with_context(|| path.display().to_string())?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name == journal::NAME || segment::number_of(name).is_some());
        if ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            return Ok(true);
        }
    }
    Ok(false)
}
