//! The binary as a user meets it: exit codes, what goes to which output, where the config comes from.

mod common;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};

use common::eventually;

const LOCAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/local.yaml");

struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(args: &[&str], vars: &[(&str, &str)], stdin: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_logweir"))
        .args(args)
        .env_clear()
        .envs(vars.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A subcommand that does not read its input closes it.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run { code: status.code(), out: text(stdout), err: text(stderr) }
}

#[test]
fn bad_usage_exits_64_and_help_exits_0() {
    for args in [&["--no-such"][..], &["nothing"], &["check", "--config"], &["explain"], &[]] {
        let run = run(args, &[], "");
        assert_eq!((run.code, run.out.as_str()), (Some(64), ""), "{args:?}: {}", run.err);
    }
    for args in [&["--help"][..], &["check", "--help"], &["help", "test"], &["--version"], &["version"]] {
        let run = run(args, &[], "");
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{args:?}");
        assert!(run.out.contains("logweir"), "{}", run.out);
    }
}

#[test]
fn a_config_comes_from_the_flag_or_the_environment() {
    let yaml = std::fs::read_to_string(LOCAL).expect("the example");
    for (args, vars) in [
        (&["check", "-c", LOCAL][..], vec![]),
        (&["check", "--config", LOCAL], vec![("LOGWEIR_CONFIG", "/nowhere")]),
        (&["check"], vec![("LOGWEIR_CONFIG", LOCAL)]),
        (&["check"], vec![("LOGWEIR_CONFIG_YAML", yaml.as_str())]),
    ] {
        let run = run(args, &vars, "");
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{args:?}");
        assert!(run.out.contains("archive (file)") && run.out.contains("level >= WARN"), "{}", run.out);
    }
    let none = run(&["check"], &[], "");
    assert_eq!(none.code, Some(64));
    assert!(none.err.contains("LOGWEIR_CONFIG_YAML") && none.err.contains("--config"), "{}", none.err);
}

#[test]
fn all_mistakes_go_to_standard_error_with_their_places_and_exit_64() {
    let yaml = "sources: {forward: {listen: [24224]}}\nroutes:\n- to: [nowhere]\nsinks: {}\nmemori: 1GiB\n";
    for command in ["check", "test", "run"] {
        let run = run(&[command], &[("LOGWEIR_CONFIG_YAML", yaml)], "");
        assert_eq!((run.code, run.out.as_str()), (Some(64), ""), "{command}");
        for place in ["LOGWEIR_CONFIG_YAML:1:30: ", ":3:8: routes[0].to[0]: ", ":5:1: memori: ", "3 errors"] {
            assert!(run.err.contains(place), "{command}: {place}\n{}", run.err);
        }
    }
}

#[test]
fn a_test_that_fails_exits_1() {
    let yaml = std::fs::read_to_string(LOCAL).expect("the example");
    let good = run(&["test"], &[("LOGWEIR_CONFIG_YAML", &yaml)], "");
    assert_eq!(good.code, Some(0), "{}", good.out);
    let wrong = yaml.replace("{routes: [rest], to: [archive]}", "{to: [alerts]}");
    let failed = run(&["test"], &[("LOGWEIR_CONFIG_YAML", &wrong)], "");
    assert_eq!(failed.code, Some(1), "{}", failed.out);
    assert!(failed.out.contains("expected [alerts], found [archive]"), "{}", failed.out);
}

#[test]
fn explain_reads_a_record_from_standard_input() {
    let args = ["explain", "-c", LOCAL, "--tag", "web-firelens-0123", "--time", "2026-11-22T10:30:00Z"];
    let found = run(&args, &[], r#"{"log": "WARN: disk is nearly full"}"#);
    assert_eq!(found.code, Some(0), "{}", found.err);
    assert!(found.out.contains("takes the record, to alerts, archive"), "{}", found.out);
    assert!(found.out.contains("service=web/dt=2026-11-22/hour=10/"), "{}", found.out);
    for (stdin, extra) in [("[]", &[][..]), ("{}", &["--source", "edge"]), ("{}", &["--time", "noon"])] {
        let all: Vec<&str> = args[..5].iter().chain(extra).copied().collect();
        let refused = run(&all, &[], stdin);
        assert_eq!((refused.code, refused.out.as_str()), (Some(64), ""), "{stdin} {extra:?}");
    }
}

#[test]
fn the_schema_is_json() {
    let run = run(&["schema"], &[], "");
    let schema: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
}

#[test]
fn a_reader_of_standard_output_that_stands_still_does_not_keep_the_process_alive() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("fluent.sock");
    let yaml = format!(
        "sources: {{forward: {{listen: [\"unix://{}\"]}}}}\nroutes: [{{name: all, to: [out]}}]\n\
         sinks: {{out: {{type: stdout}}}}\nadmin: false\ndrain: {{timeout: 1s, quiet: 100ms}}\n",
        socket.display()
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_logweir"))
        .arg("run")
        .env_clear()
        .env("LOGWEIR_CONFIG_YAML", yaml)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut peer = eventually(|| UnixStream::connect(&socket).ok()).expect("it listens");
    // `["t", 1, {"log": "xx…"}]`, many times what a pipe holds.
    let frame = [&[0x93, 0xa1, b't', 0x01, 0x81, 0xa3][..], b"log", &[0xda, 0x04, 0x00], &[b'x'; 0x400]].concat();
    peer.write_all(&frame.repeat(1_000)).expect("it reads");
    drop(peer);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
    let ended = eventually(|| child.try_wait().expect("our child"));
    if ended.is_none() {
        child.kill().expect("it lives");
    }
    let Output { stderr, .. } = child.wait_with_output().expect("it ends");
    let log = String::from_utf8_lossy(&stderr);
    assert_eq!(ended.expect("it ends within its drain").code(), Some(1), "{log}");
    assert!(log.contains("received 1000 = routed 1000") && log.contains("waiting 0"), "{log}");
}
