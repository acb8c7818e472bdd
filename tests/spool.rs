//! `logweir spool` on directories that a store has written, whole and damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use logweir::encode::entries::EntryEncoder;
use logweir::encode::{BlockMeta, Compression, Count, Message, Partition};
use logweir::record::{Record, Tag, Tickets};
use logweir::spool::disk::{Anchor, Commit, Ended, Home, Limits, Store, ToStore};
use serde_json::Value;

const ANCHOR: Anchor = Anchor { moment: Duration::ZERO, unix: 1_790_000_000_000_000_000 };

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn spool(args: &[&str], path: &Path) -> Run {
    let (command, options) = args.split_first().expect("a command");
    let run = Command::new(env!("CARGO_BIN_EXE_logweir"))
        .args(["spool", command])
        .arg(path)
        .args(options)
        .env_clear()
        .output()
        .expect("the binary starts");
    let Output { status, stdout, stderr } = run;
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run { code: status.code(), out: text(stdout), err: text(stderr) }
}

fn line(sequence: u64) -> String {
    format!("{{\"log\":\"line {sequence:04}\"}}\n")
}

fn to_store(sequence: u64, partition: Partition, plain_len: usize, data: bytes::Bytes) -> ToStore {
    let meta = BlockMeta {
        partition: Arc::new(partition),
        count: Count { records: 1, bytes: 20 },
        plain_len: plain_len as u64,
        times: (ANCHOR.unix, ANCHOR.unix),
        opened: Duration::ZERO,
        tickets: Tickets::none(),
    };
    ToStore { sequence, meta, data }
}

fn open(home: &Home, sink: &str, kind: &str) -> Store {
    let limits = Limits { segment: 1_000, quota: 1 << 20 };
    Store::open(home.folder(sink, kind).expect("made"), limits, ANCHOR).expect("opened").0
}

/// Twelve blocks of a line each for a file sink in several segments, of which the first is delivered and two are an
/// object, and an event for CloudWatch Logs. As a killed process leaves it, or one that has closed its segments.
fn write_spool(root: &Path, closed: bool) {
    let home = Home::open(root).expect("free");
    let mut store = open(&home, "archive", "file");
    for sequence in 0..12 {
        let plain = line(sequence);
        let compression = [Compression::None, Compression::Zstd(1), Compression::Gzip(6)][sequence as usize % 3];
        let partition = Partition::Prefix("logs/service=a/".into());
        let blocks = vec![to_store(sequence, partition, plain.len(), compression.compress(plain.as_bytes()))];
        let done = store.commit(Commit { blocks, ..Commit::default() });
        let ended = match (sequence, done.locations.first()) {
            (0, Some(location)) => {
                vec![Ended { segment: location.segment(), sequence, count: Count { records: 1, bytes: 20 } }]
            }
            (_, found) => {
                assert!(found.is_some());
                Vec::new()
            }
        };
        store.commit(Commit { ended, ..Commit::default() });
    }
    let cuts = vec![("logs/service=a/w-1.ndjson".into(), [1, 3].into_iter().collect())];
    assert!(store.commit(Commit { cuts, ..Commit::default() }).journal_error.is_none());
    assert!(store.segments() > 1);
    if closed {
        store.close().expect("it can");
    }

    let tag = Tag::from("t");
    let record = Record {
        tag: &tag,
        source: "s",
        time: ANCHOR.unix,
        received: 2,
        map: b"\x81\xa3log\xa2hi",
        ecs: None,
        json: Default::default(),
    };
    let mut entry = Vec::new();
    EntryEncoder::new(Message::Log).encode(&record, &mut entry);
    let mut store = open(&home, "alerts", "cloudwatch_logs");
    let stream = Partition::Stream { group: "/ecs/a".into(), stream: "a/1".into() };
    let blocks = vec![to_store(0, stream, entry.len(), entry.into())];
    assert_eq!(store.commit(Commit { blocks, ..Commit::default() }).locations.len(), 1);
}

fn segments(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("archive.file")).expect("a folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

/// All files with their bytes.
fn everything(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root).expect("a folder") {
        let path = entry.expect("readable").path();
        match path.is_dir() {
            true => files.extend(everything(&path)),
            false => files.push((path.clone(), fs::read(path).expect("readable"))),
        }
    }
    files.sort();
    files
}

/// Changes a byte of the line with this sequence, which stands uncompressed in its segment; where.
fn rot(root: &Path, sequence: u64) -> (PathBuf, usize) {
    let needle = line(sequence);
    for path in segments(root) {
        let mut bytes = fs::read(&path).expect("readable");
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle.as_bytes()) {
            bytes[at] ^= 1;
            fs::write(&path, bytes).expect("writable");
            return (path, at);
        }
    }
    panic!("no such line");
}

#[test]
fn looking_changes_nothing_and_tells_all() {
    for closed in [false, true] {
        let root = tempfile::tempdir().expect("a directory");
        write_spool(root.path(), closed);
        let before = everything(root.path());

        let listed = spool(&["ls", "--json"], root.path());
        assert_eq!((listed.code, listed.err.as_str()), (Some(0), ""));
        let rows: Value = serde_json::from_str(&listed.out).expect("JSON");
        assert_eq!(rows[0]["folder"], "alerts.cloudwatch_logs");
        assert_eq!((&rows[0]["records"], &rows[1]["folder"]), (&1.into(), &"archive.file".into()));
        assert_eq!((&rows[1]["blocks"], &rows[1]["records"]), (&11.into(), &11.into()));
        assert_eq!(rows[1]["oldest_unix_nanos"], ANCHOR.unix);
        let object = &rows[1]["unfinished_objects"][0];
        assert_eq!((&object["key"], &object["blocks"]), (&"logs/service=a/w-1.ndjson".into(), &2.into()));
        let table = spool(&["ls"], root.path());
        assert!(
            table.out.contains("archive.file") && table.out.contains("unfinished logs/service=a/w-1.ndjson: 2 blocks")
        );

        let verified = spool(&["verify"], root.path());
        assert_eq!((verified.code, verified.err.as_str()), (Some(0), ""), "{}", verified.out);
        assert!(verified.out.contains("archive.file: whole, 12 blocks with 12 records"), "{}", verified.out);

        let lines = |from: u64| (from..12).map(line).collect::<String>();
        for (options, from) in [(&[][..], 1), (&["--all"], 0)] {
            let args: Vec<&str> = ["export", "--sink", "archive"].iter().chain(options).copied().collect();
            let exported = spool(&args, root.path());
            assert_eq!((exported.code, exported.out, exported.err.as_str()), (Some(0), lines(from), ""));
        }
        let target = tempfile::tempdir().expect("a directory");
        let to = target.path().to_str().expect("UTF-8");
        assert_eq!(spool(&["export", "--to", to], root.path()).code, Some(0));
        let written = |name: &str| fs::read_to_string(target.path().join(name)).expect("written");
        assert_eq!(written("archive.file.ndjson"), lines(1));
        let event: Value = serde_json::from_str(&written("alerts.cloudwatch_logs.ndjson")).expect("JSON");
        assert_eq!((&event["log_group"], &event["message"]), (&"/ecs/a".into(), &"hi".into()));
        let again = spool(&["export", "--to", to], root.path());
        assert_eq!(again.code, Some(1), "what is there is not overwritten");

        let nothing = spool(&["repair"], root.path());
        assert_eq!((nothing.code, nothing.out.as_str()), (Some(0), "nothing to repair\n"));
        assert_eq!(everything(root.path()), before);
    }
}

#[test]
fn damage_is_told_by_file_and_offset_and_the_rest_is_saved() {
    for closed in [false, true] {
        let root = tempfile::tempdir().expect("a directory");
        write_spool(root.path(), closed);
        let (path, at) = rot(root.path(), 6);
        let torn = segments(root.path()).pop().expect("a segment");
        assert_ne!(torn, path);
        fs::write(&torn, [fs::read(&torn).expect("readable"), b"half a block".to_vec()].concat()).expect("writable");
        let before = everything(root.path());

        let verified = spool(&["verify"], root.path());
        assert_eq!(verified.code, Some(1));
        let told = format!("damaged: {}:{at}: block 6 with 1 records is not what was written", path.display());
        assert!(verified.out.contains(&told), "{}", verified.out);
        let exported = spool(&["export"], root.path());
        assert_eq!(exported.code, Some(1));
        assert!(!exported.out.contains("line 0006") && exported.out.contains("line 0007"), "{}", exported.out);
        let said = spool(&["repair"], root.path());
        assert!(
            said.out.contains("whole blocks would be written anew") && said.out.contains("--write"),
            "{}",
            said.out
        );
        assert_eq!(everything(root.path()), before, "nothing but --write changes anything");

        let repaired = spool(&["repair", "--write"], root.path());
        assert_eq!(repaired.code, Some(0), "{}", repaired.err);
        assert!(repaired.out.contains("10 blocks with 10 records wait"), "{}", repaired.out);
        let damaged = fs::read(path.with_extension("seg.damaged")).expect("the original is kept");
        assert!(before.contains(&(path, damaged)));
        let verified = spool(&["verify"], root.path());
        assert_eq!(verified.code, Some(0), "{}", verified.out);
        let exported = spool(&["export", "--sink", "archive.file"], root.path());
        let lines: String = (1..12).filter(|sequence| *sequence != 6).map(line).collect();
        assert_eq!((exported.code, exported.out), (Some(0), lines));
        // As a router would find it.
        let home = Home::open(root.path()).expect("free");
        let directory = home.folder("archive", "file").expect("there");
        let limits = Limits::of(1 << 20);
        let (mut store, recovered) = Store::open(directory, limits, ANCHOR).expect("opened");
        assert_eq!((recovered.blocks, recovered.damaged, recovered.cuts.len()), (10, 0, 1));
        assert_eq!(store.refill(99).expect("readable").blocks.len(), 8);
    }
}

#[test]
fn a_spool_in_use_is_listed_but_not_repaired() {
    let root = tempfile::tempdir().expect("a directory");
    write_spool(root.path(), false);
    let home = Home::open(root.path()).expect("free");
    let listed = spool(&["ls"], root.path());
    assert_eq!(listed.code, Some(0));
    assert!(listed.err.contains("in use"), "{}", listed.err);
    for args in [&["repair"][..], &["repair", "--write"]] {
        let refused = spool(args, root.path());
        assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
        assert!(refused.err.contains("in use") && refused.err.contains("stop it"), "{}", refused.err);
    }
    drop(home);
    assert_eq!(spool(&["repair", "--write"], root.path()).code, Some(0));
}

#[test]
fn what_is_no_spool_is_said_to_be_none() {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("file.txt");
    fs::write(&file, "text").expect("writable");
    for command in ["ls", "verify", "export", "repair"] {
        for (path, message) in [
            (root.path().join("nowhere"), "No such file"),
            (file.clone(), "it is a file"),
            (root.path().to_owned(), "it is no spool"),
        ] {
            let refused = spool(&[command], &path);
            assert_eq!((refused.code, refused.out.as_str()), (Some(64), ""), "{command}");
            assert!(
                refused.err.contains(message) && refused.err.contains(path.to_str().expect("UTF-8")),
                "{}",
                refused.err
            );
        }
    }
    drop(Home::open(root.path()).expect("free"));
    let empty = spool(&["ls"], root.path());
    assert_eq!((empty.code, empty.err.as_str()), (Some(0), ""));
    assert!(empty.out.contains("empty"), "{}", empty.out);

    write_spool(root.path(), false);
    fs::write(root.path().join("archive.file/notes.txt"), "mine").expect("writable");
    let verified = spool(&["verify"], root.path());
    assert_eq!(verified.code, Some(0), "{}", verified.out);
    assert!(verified.out.contains("notes.txt: is no file of a spool"), "{}", verified.out);
    let one = spool(&["ls"], &root.path().join("archive.file"));
    assert!(one.code == Some(0) && one.out.contains("archive.file") && !one.out.contains("alerts"), "{}", one.out);
    let unknown = spool(&["export", "--sink", "archiv"], root.path());
    assert_eq!(unknown.code, Some(64));
    assert!(unknown.err.contains("accepted: alerts, archive"), "{}", unknown.err);
}
