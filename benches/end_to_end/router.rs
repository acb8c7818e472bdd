//! The router under test: the release binary in a process of its own, with a file sink in a temporary directory.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A router that is ended when it is dropped.
pub(crate) struct Router {
    child: Child,
    dir: TempDir,
    admin: u16,
}

/// Where records wait.
#[derive(Clone, Copy)]
pub(crate) enum Spool {
    Memory,
    Disk,
}

/// What the process has used.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// Seconds in user mode.
    pub(crate) user: f64,
    /// Seconds in the kernel.
    pub(crate) system: f64,
    /// Highest resident memory so far.
    pub(crate) peak_mib: f64,
}

impl Usage {
    /// What was used since; the peak is a peak.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system, peak_mib: self.peak_mib }
    }
}

impl Router {
    /// Starts it and waits until it listens.
    pub(crate) fn start(spool: Spool) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let spool = match spool {
            Spool::Memory => "memory".into(),
            Spool::Disk => format!("{{path: {}/spool, size: 4GiB}}", dir.path().display()),
        };
        let admin = free_port();
        let config = format!(
            "sources: {{forward: {{listen: ['unix://{dir}/fluent.sock']}}}}\n\
             routes:\n- {{name: errors, when: level >= WARN, to: [alerts, archive]}}\n- {{name: rest, to: [archive]}}\n\
             sinks:\n  archive: {{type: file, path: {dir}/archive}}\n  alerts: {{type: file, path: {dir}/alerts}}\n\
             spool: {spool}\nmemory: 64MiB\nadmin: {{listen: '127.0.0.1:{admin}'}}\nlog: {{level: warn}}\n",
            dir = dir.path().display()
        );
        fs::write(dir.path().join("bench.yaml"), config).expect("the config is written");
        let child = Command::new(env!("CARGO_BIN_EXE_logweir"))
            .arg("run")
            .arg("--config")
            .arg(dir.path().join("bench.yaml"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        Self { child, dir, admin }
    }

    /// A connection to its socket.
    pub(crate) fn connect(&self) -> UnixStream {
        let path = self.dir.path().join("fluent.sock");
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            match UnixStream::connect(&path) {
                Ok(socket) => return socket,
                Err(error) => assert!(Instant::now() < end, "the router does not listen: {error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// CPU time and peak memory, as the kernel tells them.
    pub(crate) fn usage(&self) -> Usage {
        let proc = format!("/proc/{}", self.child.id());
        let stat = fs::read_to_string(format!("{proc}/stat")).expect("the process lives");
        let fields: Vec<&str> = stat.rsplit_once(") ").expect("stat has a name").1.split(' ').collect();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let seconds = |field: usize| fields[field].parse::<f64>().expect("a number of ticks") / ticks;
        let status = fs::read_to_string(format!("{proc}/status")).expect("the process lives");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells VmHWM");
        let kib: f64 = peak.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        Usage { user: seconds(11), system: seconds(12), peak_mib: kib / 1024.0 }
    }

    /// Waits until the source has received so many records.
    pub(crate) fn wait_for(&self, records: u64) {
        let wanted = format!("logweir_source_received_records_total{{source=\"forward\"}} {records}");
        let end = Instant::now() + Duration::from_secs(60);
        while !self.metrics().lines().any(|line| line.trim_end_matches(".0") == wanted) {
            assert!(Instant::now() < end, "not all records arrived:\n{}", self.metrics());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn metrics(&self) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.admin)).expect("the admin port listens");
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        text
    }

    /// Ends it, checks that every record was delivered, and tells how many bytes the archive has.
    pub(crate) fn stop(mut self, records: u64) -> u64 {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("the process lives");
        let mut log = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut log).expect("the log is text");
        }
        let status = self.child.wait().expect("the process ends");
        assert!(status.success(), "the router ended with {status}:\n{log}");
        let archived = format!("ledger: sink archive: accepted {records} = delivered {records} ");
        assert!(log.contains(&archived), "not all of {records} records were delivered:\n{log}");
        size(&self.dir.path().join("archive"))
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // Already gone after `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).expect("the sink made its directory");
    entries
        .map(|entry| {
            let entry = entry.expect("a readable entry");
            let kind = entry.file_type().expect("a known type");
            if kind.is_dir() { size(&entry.path()) } else { entry.metadata().expect("a readable file").len() }
        })
        .sum()
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).expect("a free port").port()
}
