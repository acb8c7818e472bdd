//! What the demo says at its end: what went where, object by object, and the bill. The objects are read back from the
//! disk; nothing is taken on trust.

use std::collections::HashSet;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::bill::{Bill, Usage, VOLUME_GB};
use crate::config::value::Size;
use crate::cost::{PriceError, Prices, Region};
use crate::ledger::Books;

/// An object as it was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) path: PathBuf,
    /// Bytes on the disk.
    pub(super) stored: u64,
    /// Bytes of its lines.
    pub(super) plain: u64,
    /// Its lines.
    pub(super) records: u64,
}

/// A sink of the demo.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    /// Name in the config.
    pub(super) name: String,
    /// Where its objects are.
    pub(super) directory: PathBuf,
    /// What it stands for.
    pub(super) stands_for: &'static str,
    /// What it wrote in this run.
    pub(super) objects: Vec<Object>,
}

/// All objects below a directory, in the order of their names. Hidden ones are unfinished.
pub(super) fn list(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            _ if entry.file_name().as_encoded_bytes().starts_with(b".") => {}
            true => found.extend(list(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Reads the objects that are not among `before`.
pub(super) fn read_back(directory: &Path, before: &HashSet<PathBuf>) -> io::Result<Vec<Object>> {
    list(directory).into_iter().filter(|path| !before.contains(path)).map(read).collect()
}

fn read(path: PathBuf) -> io::Result<Object> {
    let file = File::open(&path)?;
    let stored = file.metadata()?.len();
    let mut lines: Box<dyn BufRead> = match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("zst") => Box::new(BufReader::new(zstd::stream::read::Decoder::new(file)?)),
        Some("gz") => Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(file))),
        _ => Box::new(BufReader::new(file)),
    };
    let (mut plain, mut records, mut line) = (0, 0, Vec::new());
    loop {
        line.clear();
        match lines.read_until(b'\n', &mut line)? {
            0 => return Ok(Object { path, stored, plain, records }),
            len => {
                plain += len as u64;
                records += 1;
            }
        }
    }
}

/// The whole report.
pub(super) fn text(
    books: &Books,
    shelves: &[Shelf],
    directory: &Path,
    (region, prices): (&Region<'_>, &Prices),
) -> Result<String, PriceError> {
    let cost = Bill::of(&usage(books, shelves), region)?;
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = ledger(&mut out, books)
        .and_then(|()| shelves.iter().try_for_each(|shelf| objects(&mut out, shelf, books, directory)))
        .and_then(|()| cost.map_or(Ok(()), |cost| bill(&mut out, &cost, region.name(), prices)));
    Ok(out)
}

fn ledger(out: &mut String, books: &Books) -> std::fmt::Result {
    writeln!(out, "\nWHAT WENT WHERE\n")?;
    for source in &books.sources {
        let received = source.received;
        writeln!(
            out,
            "  source {:<16}{:>10} records received, {}",
            source.name,
            number(received.records),
            Size(received.bytes)
        )?;
    }
    for route in &books.routes {
        writeln!(out, "  route  {:<16}{:>10} records matched", route.name, number(route.matched.records))?;
    }
    for source in &books.sources {
        for (reason, count) in &source.dropped {
            let why = if *reason == "route" { "dropped on purpose, by a route with `to: []`" } else { *reason };
            writeln!(out, "  source {:<16}{:>10} {why}", source.name, number(count.records))?;
        }
    }
    for sink in &books.sinks {
        let dropped: u64 = sink.dropped.values().map(|count| count.records).sum();
        let (accepted, delivered, waiting) = (sink.accepted, sink.delivered, sink.waiting());
        writeln!(
            out,
            "  sink   {:<16}{:>10} accepted = {} delivered + {} waiting + {} dropped",
            sink.name,
            number(accepted.records),
            number(delivered.records),
            number(waiting.records),
            number(dropped),
        )?;
    }
    match books.discrepancies()[..] {
        [] => writeln!(out, "  The books add up: every record is accounted for."),
        ref wrong => wrong.iter().try_for_each(|wrong| writeln!(out, "  THE BOOKS DO NOT ADD UP: {wrong}")),
    }
}

fn objects(out: &mut String, shelf: &Shelf, books: &Books, directory: &Path) -> std::fmt::Result {
    writeln!(out, "\nOBJECTS OF {} ({}), below {}\n", shelf.name, shelf.stands_for, directory.display())?;
    let width = shelf.objects.iter().map(|object| short(object, directory).len()).max().unwrap_or(0);
    for object in &shelf.objects {
        writeln!(
            out,
            "  {:<width$}  {:>10}  {:>9} records  {:>5}",
            short(object, directory),
            Size(object.stored).to_string(),
            number(object.records),
            ratio(object.plain, object.stored),
        )?;
    }
    let (stored, plain, records) = sums(&shelf.objects);
    let count = shelf.objects.len();
    let plural = if count == 1 { "" } else { "s" };
    writeln!(
        out,
        "  {count} object{plural}, {} records in {}, {} before compression ({})",
        number(records),
        Size(stored),
        Size(plain),
        ratio(plain, stored),
    )?;
    let delivered = books.sinks.iter().find(|sink| sink.name == shelf.name).map_or(0, |sink| sink.delivered.records);
    match delivered == records {
        true => writeln!(out, "  Read back from the disk: as many records as the ledger says were delivered."),
        false => writeln!(out, "  THE LEDGER SAYS {} WERE DELIVERED, READ BACK WERE {records}", number(delivered)),
    }
}

fn bill(out: &mut String, bill: &Bill, region: &str, prices: &Prices) -> std::fmt::Result {
    let share = bill.routed() / bill.everything * 100.0;
    writeln!(out, "\nTHE BILL for {} GB of logs like these, in {region}\n", number(VOLUME_GB as u64))?;
    writeln!(out, "  all to CloudWatch Logs: ingestion              {:>12}", dollars(bill.everything))?;
    writeln!(out, "  routed: errors to CloudWatch Logs, ingestion   {:>12}", dollars(bill.alerts))?;
    writeln!(out, "          everything to S3, kept for a month     {:>12}", dollars(bill.storage))?;
    writeln!(out, "          S3 requests, objects as small as here  {:>12}", dollars(bill.requests))?;
    writeln!(out, "          together                               {:>12}   {share:.1} %", dollars(bill.routed()))?;
    writeln!(
        out,
        "\n  A record counts as its JSON text. Left out on both sides: storage in CloudWatch Logs, queries, transfer and\n  \
         the router's own CPU. Prices:"
    )?;
    let sources = prices.sources(&["cloudwatch_ingest_STANDARD", "s3_storage_STANDARD", "s3_put_STANDARD"]);
    sources.iter().try_for_each(|(source, date)| writeln!(out, "  {source}, {date}"))
}

/// What the bill is made of. What no sink took has no JSON text to measure: it counts as the archive's records do,
/// byte for byte of what came in.
fn usage(books: &Books, shelves: &[Shelf]) -> Usage {
    let find = |stands_for| shelves.iter().find(|shelf| shelf.stands_for == stands_for);
    let plain = |shelf: Option<&Shelf>| shelf.map_or(0, |shelf| sums(&shelf.objects).1);
    let archive = find(S3);
    let kept: u64 = books.sources.iter().map(|source| source.routed.bytes).sum();
    let received: u64 = books.sources.iter().map(|source| source.received.bytes).sum();
    let all = (plain(archive) as f64 * received as f64 / kept.max(1) as f64) as u64;
    let objects = archive.map(|shelf| &shelf.objects[..]).unwrap_or_default();
    Usage { all, alerts: plain(find(CLOUDWATCH)), objects: objects.iter().map(|object| object.stored).collect() }
}

/// What the file sink of the archive stands for.
pub(super) const S3: &str = "stands for S3";

/// What the sink of the errors stands for.
pub(super) const CLOUDWATCH: &str = "stands for CloudWatch Logs";

/// Stored bytes, plain bytes, records.
fn sums(objects: &[Object]) -> (u64, u64, u64) {
    objects.iter().fold((0, 0, 0), |(stored, plain, records), object| {
        (stored + object.stored, plain + object.plain, records + object.records)
    })
}

fn short(object: &Object, directory: &Path) -> String {
    object.path.strip_prefix(directory).unwrap_or(&object.path).display().to_string()
}

fn ratio(plain: u64, stored: u64) -> String {
    format!("{:.1}x", plain as f64 / stored.max(1) as f64)
}

fn dollars(amount: f64) -> String {
    format!("${amount:.2}")
}

/// With a comma at every third digit.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Compression, Count};
    use crate::ledger::Ledger;

    #[test]
    fn objects_are_read_back_over_all_their_frames_and_old_ones_left_out() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let directory = root.path().join("service=web");
        fs::create_dir_all(directory.join(".hidden")).expect("made");
        fs::write(directory.join(".hidden/x.part"), "half").expect("written");
        fs::write(directory.join("0-old.ndjson"), "{}\n").expect("written");
        let before = list(root.path()).into_iter().collect();
        for (compression, name) in [(Compression::Zstd(1), "1.ndjson.zst"), (Compression::Gzip(6), "2.ndjson.gz")] {
            let frames = [compression.compress(b"{}\n{}\n"), compression.compress(b"{\"a\":1}\n")];
            fs::write(directory.join(name), frames.concat()).expect("written");
        }
        let objects = read_back(root.path(), &before).expect("readable");
        assert_eq!(objects.iter().map(|object| (object.plain, object.records)).collect::<Vec<_>>(), [(14, 3); 2]);
    }

    #[test]
    fn the_report_tells_what_went_where_and_what_it_costs() {
        let ledger = Ledger::new(["forward"], ["health-checks", "rest"], ["alerts", "archive"]);
        let count = |records, bytes| Count { records, bytes };
        {
            let mut books = ledger.books();
            books.sources[0].received = count(1000, 200_000);
            books.sources[0].routed = count(900, 180_000);
            books.sources[0].dropped.insert("route", count(100, 20_000));
            books.routes[0].matched = count(100, 20_000);
            books.sinks[1].accepted = count(900, 180_000);
            books.sinks[1].delivered = count(900, 180_000);
        }
        let path = PathBuf::from("/tmp/demo/archive/service=web/w-1.ndjson.zst");
        let object = Object { path, stored: 20_000, plain: 180_000, records: 900 };
        let shelf = |name: &str, stands_for, objects| Shelf {
            name: name.into(),
            directory: PathBuf::new(),
            stands_for,
            objects,
        };
        let shelves = [shelf("alerts", CLOUDWATCH, vec![]), shelf("archive", S3, vec![object])];
        assert_eq!(usage(&ledger.snapshot(), &shelves), Usage { all: 200_000, alerts: 0, objects: vec![20_000] });
        let prices = Prices::embedded();
        let region = prices.region("us-east-1").expect("known");
        let text = text(&ledger.snapshot(), &shelves, Path::new("/tmp/demo"), (&region, &prices)).expect("prices");
        for part in [
            "1,000 records received",
            "100 dropped on purpose",
            "900 accepted = 900 delivered + 0 waiting + 0 dropped",
            "The books add up",
            "  archive/service=web/w-1.ndjson.zst",
            "9.0x",
            "as many records as the ledger says",
            "$500.00",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
    }
}
