//! What the kernel tells of processes and of the machine.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use rustix::process::Pid;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// CPU seconds of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Cpu {
    /// In user mode.
    pub(crate) user: f64,
    /// In the kernel.
    pub(crate) system: f64,
}

impl Cpu {
    /// Both.
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }

    /// What was used since.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }
}

/// CPU seconds of a process that lives, or has ended and was not waited for.
pub(crate) fn cpu(pid: Pid) -> Option<Cpu> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let seconds = |field: usize| Some(fields.get(field)?.parse::<f64>().ok()? / ticks);
    Some(Cpu { user: seconds(11)?, system: seconds(12)? })
}

/// CPU seconds of this process, user and system: the same count in nanoseconds.
pub(crate) fn own_cpu() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

/// The same of this thread.
pub(crate) fn thread_cpu() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory of a process in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Resident {
    pub(crate) now: f64,
    pub(crate) peak: f64,
}

/// None when it has ended.
pub(crate) fn resident(pid: Pid) -> Option<Resident> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let mib = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
    };
    Some(Resident { now: mib("VmRSS:")?, peak: mib("VmHWM:")? })
}

/// How often the threads of a process have been given a CPU so far.
pub(crate) fn wake_ups(pid: Pid) -> u64 {
    let switches = |status: String| -> u64 {
        let lines = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
        lines.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
    };
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).into_iter().flatten().flatten();
    tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok()).map(switches).sum()
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Where figures come from.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// When the bench began.
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Processes that wanted to run before the bench began; above 1, the figures are of a machine that is shared.
    pub(crate) load: f64,
    /// What the binary under test says of itself.
    pub(crate) logweir: String,
}

impl Machine {
    /// Looks, and asks the binary for its version.
    pub(crate) fn look(binary: &Path) -> io::Result<Self> {
        let version = Command::new(binary).arg("version").output()?;
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let line = |text: &str, name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown");
            line.trim_start_matches([' ', '\t', ':']).to_owned()
        };
        let memory = line(&read("/proc/meminfo"), "MemTotal");
        Ok(Self {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            cpu: line(&read("/proc/cpuinfo"), "model name"),
            cores: cores(),
            memory_mib: memory.trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            logweir: String::from_utf8_lossy(&version.stdout).trim().replace('\n', ", "),
        })
    }
}
