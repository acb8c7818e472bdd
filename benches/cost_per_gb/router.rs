//! The router under test: the binary as a user runs it, with a config made from the scenario.

use std::fmt::Write as _;
use std::fs;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;

use crate::machine::{self, Cpu};
use crate::scenario::{Ack, Compression, Fields, LogJson, Scenario, Spool};

/// How long a drain may take: the longest flood waits in the queues.
const DRAIN: &str = "10m";

/// The longest that the start may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The router's process, ended when it is dropped.
pub(crate) struct Router {
    child: Child,
    dir: TempDir,
    /// From its start to the first connection that it took, in milliseconds.
    pub(crate) listening_ms: f64,
}

/// What it said and used, after it has ended.
pub(crate) struct Ended {
    pub(crate) cpu: Cpu,
    /// Its log, with the ledger at its end.
    pub(crate) log: String,
    pub(crate) clean: bool,
}

impl Router {
    /// Starts it and waits until it listens.
    pub(crate) fn start(binary: &Path, scenario: &Scenario, sinks: SocketAddr) -> io::Result<Self> {
        let dir = TempDir::new()?;
        let config = dir.path().join("router.yaml");
        fs::write(&config, yaml(scenario, dir.path(), sinks))?;
        let mut command = Command::new(binary);
        command.args(["run", "--config"]).arg(&config).env_clear();
        command.stderr(File::create(dir.path().join("log"))?).stdout(Stdio::null());
        command.env("AWS_ACCESS_KEY_ID", "AKIDBENCH").env("AWS_SECRET_ACCESS_KEY", "bench");
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", dir.path());
        if let Some(threads) = scenario.threads {
            command.env("TOKIO_WORKER_THREADS", threads.to_string());
        }
        let start = Instant::now();
        let child = command.spawn()?;
        let mut router = Self { child, dir, listening_ms: 0.0 };
        let socket = router.socket();
        while UnixStream::connect(&socket).is_err() {
            if start.elapsed() > PATIENCE || router.child.try_wait()?.is_some() {
                let log = router.stop().log;
                return Err(io::Error::other(format!("the router does not listen:\n{log}")));
            }
            thread::sleep(Duration::from_micros(200));
        }
        router.listening_ms = start.elapsed().as_secs_f64() * 1000.0;
        Ok(router)
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("fluent.sock")
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Has it drain and waits for its end. Its CPU is counted to the end: all that it was sent is delivered by then.
    pub(crate) fn stop(mut self) -> Ended {
        // It may have ended by itself.
        let _ = kill_process(self.pid(), Signal::TERM);
        // Not reaped yet, its times can still be read.
        let _ = waitid(WaitId::Pid(self.pid()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let cpu = machine::cpu(self.pid()).unwrap_or_default();
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let clean = self.child.wait().is_ok_and(|status| status.success());
        Ended { cpu, log, clean }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // Already gone after `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that a scenario does not name is the default, except that nothing may be dropped: the CloudWatch sink waits
/// (`when_full: block`), and a drain has time.
fn yaml(scenario: &Scenario, dir: &Path, sinks: SocketAddr) -> String {
    let dir = dir.display();
    let ack = match scenario.ack {
        Ack::None => "",
        Ack::Received => ", ack: received",
        Ack::Durable => ", ack: durable",
        Ack::Delivered => ", ack: delivered",
    };
    let spool = match scenario.spool {
        Spool::Memory => "memory".into(),
        Spool::Disk => format!("{{path: {dir}/spool, size: 8GiB}}"),
    };
    let mut yaml = format!(
        "sources: {{forward: {{listen: ['unix://{dir}/fluent.sock']{ack}}}}}\n\
         spool: {spool}\nmemory: {}MiB\nadmin: none\ndrain: {{timeout: {DRAIN}, quiet: 100ms}}\nlog: {{level: warn}}\nroutes:\n",
        scenario.memory_mib
    );
    for n in 0..scenario.rules {
        // Eight equalities of text to two comparisons of numbers, on keys of which some are in every line.
        let (text, number) = (["logger", "method", "path", "user"], ["status", "duration_ms"]);
        let condition = match n % 5 {
            4 => format!("log.{} > {}", number[n / 5 % 2], 900_000 + n),
            at => format!("log.{} == \"no-such-{n}\"", text[(at + n / 5) % 4]),
        };
        let _ = writeln!(yaml, "- {{name: rule-{n}, when: '{condition}', to: []}}");
    }
    let condition = scenario.payload.alert_condition();
    let fields = if scenario.fields == Fields::Log { ", fields: {keep: [log]}" } else { "" };
    let last = match (scenario.to_nothing, scenario.has_archive(), scenario.has_alerts()) {
        (true, ..) => "[]",
        (_, true, true) => {
            let _ = writeln!(yaml, "- {{name: alerts, when: '{condition}', to: [alerts, archive]}}");
            "[archive]"
        }
        (_, true, false) => "[archive]",
        (_, false, _) => "[alerts]",
    };
    let _ = writeln!(yaml, "- {{name: rest, to: {last}}}\nsinks:");
    if scenario.has_archive() || scenario.to_nothing {
        let _ = writeln!(
            yaml,
            "  archive: {{type: s3, bucket: bench, region: us-east-1, endpoint: 'http://{sinks}', path_style: true, \
             compression: {}, log_json: {}{fields}}}",
            match scenario.objects {
                Compression::Zstd => "{zstd: 1}",
                Compression::Gzip => "{gzip: 1}",
                Compression::None => "none",
            },
            match scenario.log_json {
                LogJson::Raw => "raw",
                LogJson::Nest => "nest",
                LogJson::Lift => "lift",
            }
        );
    }
    if scenario.has_alerts() {
        let bodies = if scenario.bodies == Compression::None { "none" } else { "gzip" };
        let _ = writeln!(
            yaml,
            "  alerts: {{type: cloudwatch_logs, log_group: '/bench/{{container}}', region: us-east-1, \
             endpoint: 'http://{sinks}', compression: {bodies}, when_full: block{fields}}}"
        );
    }
    yaml
}
