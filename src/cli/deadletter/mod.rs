//! `deadletter`: what could not be delivered or read, listed, shown, and sent again. Nothing is ever deleted.

mod letter;
mod place;
mod retry;

use std::collections::BTreeMap;
use std::io::{self, Write, stdout};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::letter::Letter;
use self::place::Place;
use super::{ConfigArg, UsageError};
use crate::clock::Clock;
use crate::config::value::parse_time;
use crate::record::UnixNanos;

/// List, show or send again what could not be delivered or read
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  logweir deadletter ls -c config/sidecar.yaml")]
pub(crate) struct DeadletterArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count them by sink, reason and time
    #[command(after_help = "Example:\n  logweir deadletter ls s3://my-logs/dead-letters/ --since 1d")]
    Ls(Chosen),
    /// Print them as they are stored, one JSON object a line
    #[command(
        after_help = "Example:\n  logweir deadletter show -c config/sidecar.yaml --reason too_large --limit 1 | jq -r .data\n  logweir deadletter show /var/log/dead-letters --sink alerts"
    )]
    Show {
        #[command(flatten)]
        chosen: Chosen,
        /// Print at most so many
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Send them to a router once more, with acks; they stay where they are
    #[command(
        after_help = "What was refused for its age will be refused again, unless the config sends it elsewhere.\nBytes that could not be read are no records: they are passed over and counted.\n\nExample:\n  logweir deadletter retry -c config/sidecar.yaml --reason retry_deadline --since 6h --dry-run"
    )]
    Retry(retry::RetryArgs),
}

/// Where they are, and which of them.
#[derive(Args, Debug)]
struct Chosen {
    /// A directory or s3://bucket/prefix; without it, where the config says that they go
    #[arg(value_name = "PLACE")]
    stored: Option<String>,
    #[command(flatten)]
    config: ConfigArg,
    /// Only those with this reason, such as too_old
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only those of this sink, or of this source
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Only those given up since then: RFC 3339, or so long ago (1d, 6h)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

/// What was met that is no dead letter.
#[derive(Debug, Default)]
struct Strange {
    /// Lines of another kind.
    lines: u64,
    /// Objects that could not be read to their end.
    objects: u64,
}

pub(crate) fn run(args: DeadletterArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Ls(chosen) => list(&chosen, &mut stdout().lock()),
        Command::Show { chosen, limit } => show(&chosen, limit, &mut stdout().lock()),
        Command::Retry(args) => retry::run(args),
    }
}

impl Chosen {
    fn place(&self) -> anyhow::Result<Place> {
        match &self.stored {
            Some(place) => Ok(Place::named(place)),
            None => Ok(Place::of_plan(&self.config.plan()?.0).map_err(UsageError)?),
        }
    }

    fn since(&self) -> Result<UnixNanos, UsageError> {
        let Some(text) = &self.since else { return Ok(UnixNanos::MIN) };
        if let Ok(ago) = humantime::parse_duration(text) {
            let ago = UnixNanos::try_from(ago.as_nanos()).unwrap_or(UnixNanos::MAX);
            return Ok(Clock::start().unix().saturating_sub(ago));
        }
        parse_time(text).map_err(|error| UsageError(format!("--since: {error}; or how long ago, for example 6h")))
    }

    /// Gives every chosen letter, and its line, to `each` until that says that it is enough.
    fn read(&self, mut each: impl FnMut(Letter, &[u8]) -> anyhow::Result<bool>) -> anyhow::Result<Strange> {
        let (since, mut strange) = (self.since()?, Strange::default());
        let mut line = |line: &[u8]| {
            let Some(letter) = Letter::parse(line) else {
                strange.lines += 1;
                return Ok(true);
            };
            let fits = |asked: &Option<String>, is: &str| asked.as_deref().is_none_or(|asked| asked == is);
            let chosen = fits(&self.reason, &letter.reason) && fits(&self.sink, letter.from()) && letter.at() >= since;
            if chosen { each(letter, line) } else { Ok(true) }
        };
        let unreadable = self.place()?.read(&mut line)?;
        strange.objects = unreadable;
        Ok(strange)
    }
}

impl Strange {
    /// Says so; the exit code.
    fn tell(&self) -> ExitCode {
        if self.lines > 0 {
            eprintln!("warning: {} lines are no dead letters and were passed over", self.lines);
        }
        if self.objects > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Letters of one sink and reason.
#[derive(Debug, Default)]
struct Group {
    letters: u64,
    bytes: u64,
    first: String,
    last: String,
}

fn list(chosen: &Chosen, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    let strange = chosen.read(|letter, _| {
        let group = groups.entry((letter.from().to_owned(), letter.reason.clone())).or_default();
        group.letters += 1;
        group.bytes += letter.len();
        if group.first.is_empty() || letter.time < group.first {
            group.first.clone_from(&letter.time);
        }
        if letter.time > group.last {
            group.last = letter.time;
        }
        Ok(true)
    })?;
    write_groups(&groups, out)?;
    Ok(strange.tell())
}

fn write_groups(groups: &BTreeMap<(String, String), Group>, out: &mut dyn Write) -> io::Result<()> {
    if groups.is_empty() {
        return writeln!(out, "no dead letters");
    }
    let row = |cells: [&str; 6]| {
        let [from, reason, letters, bytes, first, last] = cells;
        format!("{from:<16} {reason:<18} {letters:>9} {bytes:>12}  {first:<20}  {last}")
    };
    writeln!(out, "{}", row(["FROM", "REASON", "LETTERS", "BYTES", "FIRST", "LAST"]).trim_end())?;
    for ((from, reason), group) in groups {
        // To the second: `2026-11-22T01:02:03`.
        let [first, last] = [&group.first, &group.last].map(|time| format!("{}Z", time.get(..19).unwrap_or_default()));
        writeln!(out, "{}", row([from, reason, &group.letters.to_string(), &group.bytes.to_string(), &first, &last]))?;
    }
    Ok(())
}

fn show(chosen: &Chosen, limit: Option<u64>, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut left = limit.unwrap_or(u64::MAX);
    let strange = chosen.read(|_, line| {
        if left > 0 {
            out.write_all(line)?;
            out.write_all(b"\n")?;
            left -= 1;
        }
        Ok(left > 0)
    })?;
    Ok(strange.tell())
}
