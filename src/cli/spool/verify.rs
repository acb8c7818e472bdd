//! `spool verify`: reads every block and says what is wrong, by file and offset.

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::{Folder, SpoolPath, note_use};
use crate::spool::disk::journal;
use crate::spool::disk::look::{Fate, Segment};

/// Read every block and check it; say what is damaged, by file and offset
#[derive(Args, Debug)]
#[command(after_help = "Nothing is changed. A torn end is what a crash leaves, and no damage: nothing in it was \
                        confirmed.\nExit code 0 when all is whole, 1 when anything is damaged.\n\n\
                        Example:\n  logweir spool verify /var/lib/logweir")]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    spool: SpoolPath,
}

/// What was found in a segment or folder.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// A line each: what is lost.
    pub(super) damage: Vec<String>,
    /// A line each: what is no loss.
    pub(super) notes: Vec<String>,
    /// Whole blocks.
    pub(super) blocks: u64,
    /// Their records.
    pub(super) records: u64,
}

pub(super) fn run(args: VerifyArgs) -> Result<ExitCode> {
    let (home, folders) = args.spool.folders()?;
    note_use(&home)?;
    let mut out = stdout().lock();
    let mut damaged = false;
    for folder in &folders {
        let mut found = of_folder(folder);
        for segment in folder.look.segments() {
            let more = of_segment(folder, segment);
            found.damage.extend(more.damage);
            found.notes.extend(more.notes);
            found.blocks += more.blocks;
            found.records += more.records;
        }
        for line in &found.damage {
            writeln!(out, "damaged: {line}")?;
        }
        for line in &found.notes {
            writeln!(out, "note: {line}")?;
        }
        let state = if found.damage.is_empty() { "whole" } else { "damaged" };
        writeln!(out, "{}: {state}, {} blocks with {} records", folder.name, found.blocks, found.records)?;
        damaged |= !found.damage.is_empty();
    }
    if folders.is_empty() {
        writeln!(out, "the spool is empty: no sink has a queue in it")?;
    }
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What can be said without reading segments.
fn of_folder(folder: &Folder) -> Findings {
    let (mut found, look) = (Findings::default(), &folder.look);
    let (len, whole) = look.journal;
    let line = format!("{}:{whole}: {} bytes that are no entry", folder.file(journal::NAME), len - whole);
    match (whole < len, look.journal_is_damaged) {
        (false, _) => {}
        (true, false) => found.notes.push(format!("{line}, torn")),
        (true, true) => found.damage.push(format!("{line}, and entries behind them that are not read")),
    }
    for (number, blocks) in look.missing() {
        let name = folder.file(&crate::spool::disk::segment::name(number));
        found.damage.push(format!("{name}: is missing; the journal says that {blocks} blocks in it wait"));
    }
    for name in &look.set_aside {
        found.notes.push(format!("{}: was set aside since something in it is damaged", folder.file(name)));
    }
    for name in &look.foreign {
        found.notes.push(format!("{}: is no file of a spool, and left alone", folder.file(name)));
    }
    found
}

/// Reads a segment.
pub(super) fn of_segment(folder: &Folder, segment: &Segment) -> Findings {
    let mut found = Findings::default();
    let name = folder.file(&segment.name());
    if segment.len > 0 && !segment.has_magic().unwrap_or(false) {
        found.damage.push(format!("{name}:0: does not begin as a segment does"));
    }
    let (mut last, mut all, mut read_to) = (None, 0, 0);
    let survey = folder.look.read(segment, &mut |block, fate, data| {
        let sequence = block.header.sequence;
        all += 1;
        read_to = block.end();
        match data {
            None => found.damage.push(format!(
                "{name}:{}: block {sequence} with {} records is not what was written",
                block.data, block.header.count.records
            )),
            Some(_) if fate != Fate::Again => {
                found.blocks += 1;
                found.records += block.header.count.records;
            }
            Some(_) => {}
        }
        if last.is_some_and(|last| sequence <= last) {
            found.damage.push(format!("{name}:{}: block {sequence} is out of order", block.at));
        }
        last = Some(sequence);
        Ok(())
    });
    let survey = match survey {
        Ok(survey) => survey,
        Err(error) => {
            found.damage.push(format!("{name}:{read_to}: cannot be read: {error}"));
            return found;
        }
    };
    if segment.is_sealed() {
        for block in &survey.tail {
            let (sequence, records) = (block.header.sequence, block.header.count.records);
            let line =
                format!("{name}:{}: block {sequence} with {records} records is not what was written", block.data);
            found.damage.push(line);
            all += 1;
        }
    }
    for (at, len) in &survey.gaps {
        found.damage.push(format!("{name}:{at}: {len} bytes that are no block"));
    }
    match segment.promised() {
        Some((blocks, len)) if segment.len < len || survey.end < len || all != blocks => found.damage.push(format!(
            "{name}:{}: the journal says {blocks} blocks in {len} bytes, found are {all} in {}",
            survey.end, survey.end
        )),
        None if survey.end < segment.len => {
            found.notes.push(format!("{name}:{}: {} bytes at the end, torn", survey.end, segment.len - survey.end));
        }
        _ => {}
    }
    found
}
