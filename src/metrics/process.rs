//! The process itself: memory, CPU and open files as Linux tells them in `/proc/self`.

use std::fmt;
use std::fs;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::books::{counters, gauges};
use crate::clock::Clock;

/// Reads `/proc/self` at each scrape.
#[derive(Debug)]
pub struct ProcessCollector {
    /// Began with the process.
    pub clock: Clock,
}

/// What the kernel says of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Resident memory in bytes.
    pub resident: u64,
    /// User and system time.
    pub cpu: Duration,
    /// Open file descriptors.
    pub open_files: u64,
}

impl Usage {
    /// Asks the kernel; what it does not tell is zero.
    pub fn read() -> Self {
        Self {
            resident: resident().unwrap_or_default(),
            cpu: cpu().unwrap_or_default(),
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |dir| dir.count() as u64),
        }
    }
}

/// Second field of `statm`: resident pages.
fn resident() -> Option<u64> {
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Fields 14 and 15 of `stat` (utime, stime), counted behind the name in parentheses, which may hold spaces.
fn cpu() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let usage = Usage::read();
        let one = |value: f64| vec![(Vec::new(), value)];
        let e = &mut encoder;
        gauges(e, "process_resident_memory_bytes", "Resident memory", &one(usage.resident as f64))?;
        counters(e, "process_cpu_seconds", "User and system CPU time", &one(usage.cpu.as_secs_f64()))?;
        gauges(e, "process_open_fds", "Open file descriptors", &one(usage.open_files as f64))?;
        gauges(e, "uptime_seconds", "Time since the start", &one(self.clock.uptime().as_secs_f64()))?;
        let version = vec![(vec![("version", env!("CARGO_PKG_VERSION"))], 1.0)];
        gauges(e, "build_info", "The running version", &version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says() {
        let usage = Usage::read();
        assert!(usage.resident > 1 << 20, "{usage:?}");
        assert!(usage.open_files >= 3, "{usage:?}");
    }
}
