//! `logweir cost` and `logweir record` as a user meets them: bills that can be checked by hand, live logs in a file.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use common::eventually;
use serde_json::Value;

/// Errors to CloudWatch Logs, the text alone; everything to S3, not compressed.
const CONFIG: &str = r#"
sources: {forward: {listen: ["tcp://127.0.0.1:0"]}}
routes:
  - {name: noise, when: 'log.startsWith("DEBUG")', to: []}
  - {name: errors, when: level >= ERROR, to: [alerts, archive]}
  - {name: rest, to: [archive]}
sinks:
  alerts: {type: cloudwatch_logs, region: us-east-1, log_group: /app, message: log, create: {retention_days: 30}}
  archive: {type: s3, region: us-east-1, bucket: my-logs, compression: none}
metadata: none
"#;

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logweir"));
    command.args(args).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(child: Child) -> Run {
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run { code: status.code(), out: text(stdout), err: text(stderr) }
}

fn run(args: &[&str]) -> Run {
    ended(command(args).spawn().expect("the binary starts"))
}

/// A directory with `router.yaml` and `app.log`: 1000 lines of 100 bytes, breaks included; 100 are errors, 100 noise.
fn set() -> (tempfile::TempDir, String, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (config, sample) = (at("router.yaml"), at("app.log"));
    fs::write(&config, CONFIG).expect("written");
    let line = |n: usize| match n % 10 {
        0 => format!("ERROR {n:>93}\n"),
        1 => format!("DEBUG {n:>93}\n"),
        _ => format!("INFO  {n:>93}\n"),
    };
    fs::write(&sample, (0..1000).map(line).collect::<String>()).expect("written");
    (dir, config, sample)
}

fn close(found: &Value, expected: f64) {
    let found = found.as_f64().expect("a number");
    assert!((found - expected).abs() <= expected * 1e-3, "{found} is not {expected}");
}

#[test]
fn a_bill_comes_to_what_a_calculator_says() {
    let (_dir, config, sample) = set();
    let ask = ["--volume", "1GiB/day", "--region", "us-east-1", "--retain", "90d", "--tasks", "10"];
    let args = [&["cost", "-c", &config, "--sample", &sample][..], &ask].concat();
    let json = run(&[&args[..], &["--json"]].concat());
    assert_eq!((json.code, json.err.as_str()), (Some(0), ""));
    let report: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&report["sample"]["records"], &report["sample"]["text_bytes"]), (&1000.into(), &100_000.into()));
    let bill = &report["configs"][0];
    let [alerts, archive] = [0, 1].map(|sink| &bill["sinks"][sink]);
    // A tenth of the events, 99 bytes and 26 each: 0.125 GB a day.
    let ingested = 0.125 * 365.0 / 12.0;
    close(&alerts["gb_a_month"], ingested);
    close(&alerts["ingestion"], ingested * 0.5);
    close(&alerts["storage"], 0.125 * 30.0 * 0.15 * 0.03);
    // Each of 10 tasks closes an object after five minutes, less a twentieth on average, and begins the next with the
    // next record.
    let records_a_second = 0.9 * (1 << 30) as f64 / 100.0 / 10.0 / 86_400.0;
    // The prefix has an hour, whose end finds half an object more.
    let objects = 10.0 * (86_400.0 / (285.0 + 1.0 / records_a_second) + 24.0 / 2.0);
    close(&archive["pieces_a_day"], objects);
    close(&archive["requests"], objects * 365.0 / 12.0 / 1000.0 * 0.005);
    close(&archive["ratio"], 1.0);
    close(&archive["storage"], archive["gb_a_month"].as_f64().expect("a number") * 90.0 / (365.0 / 12.0) * 0.023);
    close(&bill["everything"], 1.25 * 365.0 / 12.0 * 0.5 + 1.25 * 90.0 * 0.15 * 0.03);
    let total = ["ingestion", "storage", "requests"]
        .map(|of| [alerts, archive].iter().map(|sink| sink[of].as_f64().expect("a number")).sum::<f64>());
    close(&bill["total"], total.iter().sum());
    for (route, records, drops) in [(0, 0.1, true), (1, 0.1, false), (2, 0.8, false)] {
        close(&bill["routes"][route]["records"], records);
        assert_eq!(bill["routes"][route]["drops"], drops);
    }

    let text = run(&args);
    assert_eq!((text.code, text.err.as_str()), (Some(0), ""));
    for part in [
        "1.1 GB a day of logs like these, in us-east-1, kept 90 days, written by 10 tasks",
        "1,000 records with 100.0 kB of text",
        "dropped on purpose",
        "CloudWatch Logs STANDARD: ingestion of 3.80 GB a month",
        " 1.90\n",
        "everything in CloudWatch Logs",
        " 19.52\n",
        "What this assumes",
        "2025-09-23",
    ] {
        assert!(text.out.contains(part), "{part} is missing in\n{}", text.out);
    }
    assert!(text.out.lines().all(|line| line.chars().count() <= 120), "{}", text.out);
}

#[test]
fn two_configs_are_compared() {
    let (dir, config, sample) = set();
    let other = dir.path().join("other.yaml").display().to_string();
    fs::write(&other, CONFIG.replace("to: [alerts, archive]", "to: [archive]")).expect("written");
    let ask = ["--sample", &sample, "--volume", "1GiB/day", "--region", "us-east-1"];
    let both = run(&[&["cost", "-c", &config, "-c", &other][..], &ask].concat());
    assert_eq!((both.code, both.err.as_str()), (Some(0), ""));
    let line = both.out.lines().find(|line| line.contains("CloudWatch Logs, ingestion")).expect("a line of the table");
    assert_eq!(line.split_whitespace().rev().take(3).collect::<Vec<_>>(), ["-1.90", "0.00", "1.90"]);
    let three = run(&[&["cost", "-c", &config, "-c", &other, "-c", &other][..], &ask].concat());
    assert_eq!(three.code, Some(64), "{}", three.err);
}

#[test]
fn own_prices_take_the_place_of_the_embedded_ones() {
    let (dir, config, sample) = set();
    let prices = dir.path().join("prices.json").display().to_string();
    let row = r#"{"rows": [{"item": "cloudwatch_ingest_STANDARD", "prices": {"us-east-1": 5}}]}"#;
    fs::write(&prices, row).expect("written");
    let ask = ["--sample", &sample, "--volume", "1GiB/day", "--region", "us-east-1", "--prices", &prices];
    let found = run(&[&["cost", "-c", &config][..], &ask].concat());
    assert_eq!(found.code, Some(0), "{}", found.err);
    assert!(found.out.contains(" 19.01\n") && found.out.contains("your own prices"), "{}", found.out);
}

#[test]
fn bad_input_is_told_and_exits_64() {
    let (dir, config, sample) = set();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, content).expect("written");
        path.display().to_string()
    };
    let (empty, binary) = (file("empty.log", b""), file("program", b"\x7fELF\x02\x01\x01\0\0\0"));
    let array = file("array.json", b"[{\"log\":\"a\"},{\"log\":\"b\"}]\n");
    let prices = file("prices.json", b"{\"rows\": [{\"item\": \"tea\", \"prices\": {}}]}");
    for (sample, volume, region, more, message) in [
        (&empty, "1TB/day", "us-east-1", &[][..], "empty.log is empty"),
        (&binary, "1TB/day", "us-east-1", &[], "is no log: it holds zero bytes"),
        (&array, "1TB/day", "us-east-1", &[], "is a JSON array; accepted are records one a line"),
        (&sample, "1TB/day", "us-east-1", &["--reserve", "0.25vCPU,512"], "`512` has no unit"),
        (&"/no/such".to_owned(), "1TB/day", "us-east-1", &[], "cannot read /no/such"),
        (&sample, "1TB", "us-east-1", &[], "per no time; write for example 1TB/day"),
        (&sample, "1000/day", "us-east-1", &[], "has no unit"),
        (&sample, "0TB/day", "us-east-1", &[], "zero"),
        (&sample, "1TB/day", "mars-1", &[], "known are ap-northeast-1"),
        (&sample, "1TB/day", "us-east-1", &["--retain", "90"], "write for example 90d"),
        (&sample, "1TB/day", "us-east-1", &["--tasks", "0"], "0 is not in"),
        (&sample, "1TB/day", "us-east-1", &["--format", "records"], "app.log:1: no JSON object"),
        (&sample, "1TB/day", "us-east-1", &["--source", "edge"], "`edge` is no source; accepted: forward"),
        (&sample, "1TB/day", "us-east-1", &["--prices", &prices], "`tea` is no item; accepted are cloudwatch_ingest"),
    ] {
        let args = ["cost", "-c", &config, "--sample", sample, "--volume", volume, "--region", region];
        let found = run(&[&args[..], more].concat());
        assert_eq!((found.code, found.out.as_str()), (Some(64), ""), "{message}: {}", found.err);
        assert!(found.err.contains(message), "{message} is missing in\n{}", found.err);
    }
}

/// `["web", [[1, {"log": "ERROR boom"}]], {"chunk": "abc"}]`.
const CHUNK: &[u8] = b"\x93\xa3web\x91\x92\x01\x81\xa3log\xaaERROR boom\x81\xa5chunk\xa3abc";

fn send(socket: &Path) {
    let mut peer = eventually(|| UnixStream::connect(socket).ok()).expect("it listens");
    peer.write_all(CHUNK).expect("it reads");
    let mut ack = [0; 9];
    peer.read_exact(&mut ack).expect("it acks");
    assert_eq!(&ack, b"\x81\xa3ack\xa3abc");
}

#[test]
fn what_is_recorded_until_sigterm_can_be_read_by_cost() {
    let (dir, config, _) = set();
    let (socket, out) = (dir.path().join("fluent.sock"), dir.path().join("app.capture"));
    let (listen, file) = (format!("unix://{}", socket.display()), out.display().to_string());
    let args = ["record", "--listen", &listen, "--for", "10m", "--out", &file];
    let recorder = command(&args).spawn().expect("the binary starts");
    send(&socket);
    send(&socket);
    let killed = Command::new("kill").arg(recorder.id().to_string()).status().expect("kill runs");
    assert!(killed.success());
    let recorded = ended(recorder);
    assert_eq!(recorded.code, Some(0), "{}", recorded.err);
    assert!(recorded.out.contains("2 records"), "{}", recorded.out);
    assert_eq!(fs::metadata(&out).expect("there").permissions().mode() & 0o777, 0o600);
    let ask = ["--sample", &file, "--volume", "1GiB/day", "--region", "us-east-1", "--json"];
    let cost = run(&[&["cost", "-c", &config][..], &ask].concat());
    assert_eq!(cost.code, Some(0), "{}", cost.err);
    let report: Value = serde_json::from_str(&cost.out).expect("JSON");
    assert_eq!(report["sample"]["files"][0][1], "a Forward capture");
    assert_eq!((&report["sample"]["records"], &report["sample"]["text_bytes"]), (&2.into(), &22.into()));
    assert_eq!(report["configs"][0]["routes"][1]["records"], 1.0);

    let again = run(&args);
    assert_eq!(again.code, Some(64), "{}", again.err);
    assert!(again.err.contains("exists; remove it or choose another"), "{}", again.err);
}

#[test]
fn a_recording_ends_at_its_size_and_one_without_records_is_an_error() {
    let (dir, ..) = set();
    let (socket, out) = (dir.path().join("fluent.sock"), dir.path().join("app.capture"));
    let (listen, file) = (format!("unix://{}", socket.display()), out.display().to_string());
    let args = ["record", "--listen", &listen, "--out", &file, "--for", "10m", "--max-bytes", "1B"];
    let recorder = command(&args).spawn().expect("the binary starts");
    send(&socket);
    let recorded = ended(recorder);
    assert_eq!(recorded.code, Some(0), "{}", recorded.err);
    assert!(recorded.out.contains("1 record,"), "{}", recorded.out);
    fs::remove_file(&out).expect("there");
    let nothing = run(&["record", "--listen", &listen, "--out", &file, "--for", "50ms"]);
    assert_eq!(nothing.code, Some(1), "{}", nothing.err);
    assert!(nothing.err.contains("no record came") && !out.exists(), "{}", nothing.err);
    for wrong in [["--listen", "http://x"], ["--listen", "tls://0.0.0.0:1"], ["--for", "soon"], ["--max-bytes", "0B"]] {
        let refused = run(&[&["record"][..], &wrong].concat());
        assert_eq!(refused.code, Some(64), "{wrong:?}: {}", refused.err);
    }
}

/// `["app-firelens-0123", seconds, {"log": text}]`.
fn message(seconds: u32, text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("a line").to_be_bytes();
    let head = [&b"\x93\xb1app-firelens-0123\xce"[..], &seconds.to_be_bytes(), b"\x81\xa3log\xda", &len];
    [&head.concat()[..], text.as_bytes()].concat()
}

#[test]
fn cost_says_the_bytes_that_run_writes() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let (socket, capture, config, data) = (at("s.sock"), at("app.capture"), at("r.yaml"), at("data"));
    let yaml = format!(
        "sources: {{forward: {{listen: [\"unix://{}\"]}}}}\n\
         routes: [{{name: noise, when: log.n == 7, to: []}}, {{name: all, to: [archive]}}]\n\
         sinks: {{archive: {{type: file, path: \"{}\", prefix: \"{{container}}/\"}}}}\n\
         admin: none\nmetadata: none\n",
        socket.display(),
        data.display()
    );
    fs::write(&config, yaml).expect("written");
    let line = |n: u32| {
        let (n, word) = (n % 10, n.wrapping_mul(2_654_435_761));
        format!(r#"{{"level":"info","n":{n},"path":"/api/{word:08x}","took":{}}}"#, word % 997)
    };
    let frames: Vec<u8> = (0..20_000).flat_map(|n| message(1_795_343_400 + n / 100, &line(n))).collect();
    fs::write(&capture, &frames).expect("written");
    let [config, capture] = [&config, &capture].map(|path| path.display().to_string());
    let router = command(&["run", "-c", &config]).spawn().expect("the binary starts");
    let mut peer = eventually(|| UnixStream::connect(&socket).ok()).expect("it listens");
    peer.write_all(&frames).expect("it reads");
    drop(peer);
    let killed = Command::new("kill").arg(router.id().to_string()).status().expect("kill runs");
    assert!(killed.success());
    let ran = ended(router);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let objects = fs::read_dir(data.join("app")).expect("objects");
    let stored: u64 = objects.map(|entry| entry.expect("an entry").metadata().expect("a file").len()).sum();

    let ask = ["--sample", &capture, "--volume", "1GB/s", "--region", "us-east-1", "--json"];
    let cost = run(&[&["cost", "-c", &config][..], &ask].concat());
    assert_eq!(cost.code, Some(0), "{}", cost.err);
    let report: Value = serde_json::from_str(&cost.out).expect("JSON");
    let text = report["sample"]["text_bytes"].as_f64().expect("a number");
    let month = 1e9 * 86_400.0 * 365.0 / 12.0;
    close(&report["configs"][0]["sinks"][0]["gb_a_month"], stored as f64 * month / text / (1 << 30) as f64);
}
