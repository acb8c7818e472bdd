//! `spool repair`: drops torn ends and writes what can be read of damaged segments anew.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;

use super::{Folder, SpoolPath, verify};
use crate::clock::Clock;
use crate::spool::disk::files::RealDirectory;
use crate::spool::disk::{Anchor, Home, HomeError, Limits, Store, home, journal, repair, segment};

/// Drop torn ends and save what can be read of damaged segments; says what it would do unless --write is given
#[derive(Args, Debug)]
#[command(after_help = "A damaged segment is written anew with all its whole blocks; the original stays beside it as \
                  *.damaged.\nThe spool must not be in use.\n\n\
                  Example:\n  logweir spool repair /var/lib/logweir --write")]
pub(super) struct RepairArgs {
    #[command(flatten)]
    spool: SpoolPath,
    /// Do it
    #[arg(long)]
    write: bool,
}

pub(super) fn run(args: RepairArgs) -> Result<ExitCode> {
    let (home, folders) = args.spool.folders()?;
    // Held to the end: nobody starts with what is being repaired.
    let _lock = match args.write {
        true => Some(lock(&home)?),
        false if home::is_in_use(&home).with_context(|| home.display().to_string())? => Err(in_use(&home))?,
        false => None,
    };
    let mut out = stdout().lock();
    let mut anything = false;
    for folder in &folders {
        let mut changed = repair_journal(folder, args.write, &mut out)?;
        for segment in folder.look.segments() {
            let found = verify::of_segment(folder, segment);
            let name = folder.file(&segment.name());
            for line in found.notes.iter().chain(&found.damage) {
                writeln!(out, "{line}")?;
            }
            changed |= !found.notes.is_empty() || !found.damage.is_empty();
            if found.damage.is_empty() {
                continue;
            }
            match args.write {
                true => {
                    let blocks = repair(&folder.look, segment).with_context(|| name.clone())?;
                    writeln!(out, "{name}: {blocks} whole blocks were written anew; the original is beside it")?;
                }
                false => writeln!(out, "{name}: {} whole blocks would be written anew", found.blocks)?,
            }
        }
        if changed && args.write {
            // Opening it drops what is torn and begins the journal anew.
            let directory = Arc::new(RealDirectory::at(&folder.path));
            let anchor = Anchor { moment: Duration::ZERO, unix: Clock::start().unix() };
            let (_, recovered) = Store::open(directory, Limits::of(u64::MAX), anchor)
                .with_context(|| folder.path.display().to_string())?;
            let (blocks, records) = (recovered.blocks, recovered.waiting.records);
            writeln!(out, "{}: {blocks} blocks with {records} records wait", folder.name)?;
        }
        anything |= changed;
    }
    match (anything, args.write) {
        (false, _) => writeln!(out, "nothing to repair")?,
        (true, false) => writeln!(out, "nothing was changed; --write does it")?,
        (true, true) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The journal is begun anew when the folder is opened; here it is said what goes with the old one.
fn repair_journal(folder: &Folder, write: bool, out: &mut dyn Write) -> Result<bool> {
    let look = &folder.look;
    let (journal, torn, missing) = (folder.path.join(journal::NAME), look.journal.0 > look.journal.1, look.missing());
    if look.journal_is_damaged {
        writeln!(out, "{}:{}: is damaged; entries behind this are dropped", journal.display(), look.journal.1)?;
        if write {
            let aside = journal.with_extension("damaged");
            std::fs::copy(&journal, &aside).with_context(|| aside.display().to_string())?;
        }
    } else if torn {
        writeln!(out, "{}:{}: the torn end is dropped", journal.display(), look.journal.1)?;
    }
    for (number, blocks) in &missing {
        let name = folder.file(&segment::name(*number));
        writeln!(out, "{name}: is missing; {blocks} blocks that waited in it are given up")?;
    }
    Ok(torn || !missing.is_empty())
}

fn lock(home: &Path) -> Result<Home> {
    match Home::open(home) {
        Err(HomeError::InUse { .. }) => Err(in_use(home)),
        lock => Ok(lock?),
    }
}

fn in_use(home: &Path) -> anyhow::Error {
    let path = home.display();
    anyhow!(
        "{path} is in use by a running logweir: stop it before you repair; `logweir spool ls {path}` can look meanwhile"
    )
}
