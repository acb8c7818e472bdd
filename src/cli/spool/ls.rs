//! `spool ls`: what waits, by sink.

use std::collections::BTreeMap;
use std::io::{self, Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::{Folder, SpoolPath, note_use};
use crate::clock::Clock;
use crate::config::value::{Size, Span};
use crate::encode::Count;
use crate::record::UnixNanos;
use crate::spool::disk::look::Fate;

/// List what waits, by sink
#[derive(Args, Debug)]
#[command(after_help = "Nothing is changed; a spool in use can be listed.\n\n\
                        Example:\n  logweir spool ls /var/lib/logweir --json")]
pub(super) struct LsArgs {
    #[command(flatten)]
    spool: SpoolPath,
    /// One JSON array instead of a table
    #[arg(long)]
    json: bool,
}

/// One sink's folder.
#[derive(Debug, Default, Serialize)]
struct Row {
    folder: String,
    /// Blocks and records that wait, and the msgpack bytes that those came in as.
    blocks: u64,
    records: u64,
    source_bytes: u64,
    /// Length of all segments, delivered blocks included.
    bytes_on_disk: u64,
    segments: usize,
    /// When the oldest record that waits was routed, and how long ago.
    oldest_unix_nanos: Option<UnixNanos>,
    oldest_age_seconds: Option<u64>,
    unfinished_objects: Vec<Object>,
    set_aside: Vec<String>,
    journal_bytes: u64,
}

/// An object that was cut and is not finished.
#[derive(Debug, Serialize)]
struct Object {
    key: String,
    upload: Option<String>,
    blocks: u64,
    records: u64,
}

pub(super) fn run(args: LsArgs) -> Result<ExitCode> {
    let (home, folders) = args.spool.folders()?;
    note_use(&home)?;
    let now = Clock::start().unix();
    let rows = folders.iter().map(|folder| row(folder, now)).collect::<Result<Vec<_>>>()?;
    let mut out = stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
    } else {
        write(&rows, &mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(folder: &Folder, now: UnixNanos) -> Result<Row> {
    let look = &folder.look;
    let (mut blocks, mut count, mut oldest) = (0, Count::default(), None::<UnixNanos>);
    let mut cuts: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for segment in look.segments() {
        let walked = look.walk(segment, &mut |header, fate| {
            if let Fate::Cut(first) = fate {
                let (blocks, records) = cuts.entry(first).or_default();
                (*blocks, *records) = (*blocks + 1, *records + header.count.records);
            }
            if matches!(fate, Fate::Waits | Fate::Cut(_)) {
                blocks += 1;
                count += header.count;
                oldest = Some(oldest.map_or(header.opened, |oldest| oldest.min(header.opened)));
            }
        });
        walked.with_context(|| folder.file(&segment.name()))?;
    }
    let object = |cut: &crate::spool::disk::CutEntry| {
        let (blocks, records) = cut.blocks.first().and_then(|first| cuts.get(&first)).copied()?;
        Some(Object { key: cut.key.clone(), upload: cut.upload.clone(), blocks, records })
    };
    Ok(Row {
        folder: folder.name.clone(),
        blocks,
        records: count.records,
        source_bytes: count.bytes,
        bytes_on_disk: look.segments().iter().map(|segment| segment.len).sum(),
        segments: look.segments().len(),
        oldest_unix_nanos: oldest,
        oldest_age_seconds: oldest.map(|oldest| now.saturating_sub(oldest).max(0).cast_unsigned() / 1_000_000_000),
        // One whose blocks are all gone was finished.
        unfinished_objects: look.cuts().filter_map(object).collect(),
        set_aside: look.set_aside.clone(),
        journal_bytes: look.journal.0,
    })
}

fn write(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "the spool is empty: no sink has a queue in it");
    }
    let width = rows.iter().map(|row| row.folder.len()).max().unwrap_or(0).max("folder".len());
    writeln!(
        out,
        "{:<width$}  {:>8}  {:>10}  {:>9}  {:>10}  {:>10}  {:>7}  {:>9}",
        "folder", "blocks", "records", "on disk", "oldest", "unfinished", "damaged", "journal"
    )?;
    for row in rows {
        let age = row.oldest_age_seconds.map_or("-".into(), |age| Span(Duration::from_secs(age)).to_string());
        writeln!(
            out,
            "{:<width$}  {:>8}  {:>10}  {:>9}  {:>10}  {:>10}  {:>7}  {:>9}",
            row.folder,
            row.blocks,
            row.records,
            Size(row.bytes_on_disk).to_string(),
            age,
            row.unfinished_objects.len(),
            row.set_aside.len(),
            Size(row.journal_bytes).to_string(),
        )?;
    }
    for row in rows {
        for Object { key, upload, blocks, records } in &row.unfinished_objects {
            let upload = upload.as_ref().map_or(String::new(), |id| format!(", upload {}", id.escape_debug()));
            let key = key.escape_debug();
            writeln!(out, "{}: unfinished {key}: {blocks} blocks, {records} records{upload}", row.folder)?;
        }
        for name in &row.set_aside {
            writeln!(out, "{}: set aside, damaged: {}", row.folder, name.escape_debug())?;
        }
    }
    Ok(())
}
