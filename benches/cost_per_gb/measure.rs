//! One scenario, from three new processes to an account of every record.

use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Pid;
use serde::Serialize;

use crate::floor::{self, Floor};
use crate::helper::Helper;
use crate::machine::{self, Cpu};
use crate::router::Router;
use crate::scenario::{Rate, Scenario};
use crate::sender::{Order, Sent};
use crate::sink::{Arrived, Question};

/// How often the router is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// After the last record, before memory is told as that "after"; not when saturated, where the clock runs on.
const SETTLE: Duration = Duration::from_secs(1);

/// What a scenario gave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) scenario: Scenario,
    pub(crate) sent: Sent,
    pub(crate) arrived: Arrived,
    /// Of the router, from the first record to the end of its drain.
    pub(crate) cpu: Cpu,
    /// From the first record to the last delivery when saturated, else to the last record.
    pub(crate) seconds: f64,
    pub(crate) memory: Memory,
    /// A second, over the later half of the time in which records were sent.
    pub(crate) wake_ups: f64,
    /// From the router's start to its first connection.
    pub(crate) listening_ms: f64,
    /// What its work takes at least on this machine; none when that was not asked for, or nothing is sent.
    pub(crate) floor: Option<Floor>,
    /// The router's last words.
    pub(crate) ledger: Vec<String>,
    /// Why the figures are worth nothing; empty when all is well.
    pub(crate) faults: Vec<String>,
}

/// Resident memory of the router in MiB.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    pub(crate) peak: f64,
    /// Median over the later half of the time in which records were sent.
    pub(crate) steady: f64,
    /// When the last record had been sent; a second later, if records came at a rate.
    pub(crate) after: f64,
}

impl Measured {
    /// Log text in GB.
    pub(crate) fn gigabytes(&self) -> f64 {
        self.sent.text as f64 / 1e9
    }

    /// CPU seconds of the router a GB of log text.
    pub(crate) fn cpu_per_gb(&self) -> f64 {
        self.cpu.total() / self.gigabytes()
    }

    /// How many times the floor that is.
    pub(crate) fn times_floor(&self) -> Option<f64> {
        Some(self.cpu_per_gb() / self.floor.as_ref()?.cpu_per_gb)
    }

    /// Bytes of lines to bytes of the objects that hold them; none without objects.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let stored: u64 = self.arrived.objects.iter().sum();
        (stored > 0).then(|| self.arrived.s3.bytes as f64 / stored as f64)
    }

    /// MB of log text a second.
    pub(crate) fn megabytes_a_second(&self) -> f64 {
        self.sent.text as f64 / 1e6 / self.seconds
    }
}

/// Runs it, and if asked then the floor, while the machine is as it was.
pub(crate) fn measure(binary: &Path, scenario: &Scenario, seed: u64, with_floor: bool) -> io::Result<Measured> {
    let throttle = scenario.throttle.map(|rate| rate.to_string()).unwrap_or_default();
    let mut sinks = Helper::start(&["sink", &throttle])?;
    let address = sinks.line()?.parse().map_err(io::Error::other)?;
    let router = Router::start(binary, scenario, address)?;
    let run = fastrand::u16(..);
    let order = Order { scenario: scenario.clone(), socket: router.socket(), run, seed };
    let mut sender = Helper::start(&["sender", &serde_json::to_string(&order)?])?;
    sender.line()?;

    let watch = Watch::start(router.pid());
    let before = machine::cpu(router.pid()).unwrap_or_default();
    let start = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    sender.say("go")?;
    let sent: Sent = serde_json::from_str(&sender.line()?)?;
    let sending = Instant::now();
    if scenario.throttle.is_some() {
        sinks.say("open")?;
    }
    if scenario.rate != Rate::Saturated {
        thread::sleep(SETTLE);
    }
    let after = machine::resident(router.pid()).map_or(0.0, |resident| resident.now);
    let listening_ms = router.listening_ms;
    let ended = router.stop();
    let (mut memory, wake_ups) = watch.end(sending);
    memory.after = after;

    let question = Question {
        run,
        lanes: sent.lanes.clone(),
        marks_in_line: scenario.payload.marks_in_line(),
        archive: scenario.has_archive(),
        events: match (scenario.has_alerts(), scenario.has_archive()) {
            (false, _) => 0,
            (true, true) => sent.alerts,
            (true, false) => sent.records(),
        },
        only_alerts: scenario.has_archive(),
    };
    sinks.say(&format!("verify {}", serde_json::to_string(&question)?))?;
    let arrived: Arrived = serde_json::from_str(&sinks.line()?)?;
    let floor = match with_floor && scenario.rate != Rate::Idle && sent.text > 0 {
        false => None,
        true => {
            sinks.say(&format!("calls {}", serde_json::to_string(scenario)?))?;
            let calls = serde_json::from_str(&sinks.line()?)?;
            Some(floor::measure(scenario, seed, &sent, calls)?)
        }
    };
    let ledger: Vec<String> = ended.log.lines().filter(|line| line.starts_with("ledger: ")).map(Into::into).collect();
    let mut faults = Vec::new();
    for (sink, copies) in [("S3", arrived.s3), ("CloudWatch Logs", arrived.cloudwatch)] {
        if !copies.is_right() {
            faults.push(format!(
                "{sink}: of {} records {} lost, {} duplicated, {} misrouted, {} damaged",
                copies.expected, copies.lost, copies.duplicated, copies.misrouted, copies.damaged
            ));
        }
    }
    let received = match (scenario.to_nothing, sent.records()) {
        (true, sent) => format!("received {sent} = routed 0 + dropped {sent} (route {sent})"),
        (false, sent) => format!("received {sent} = routed {sent} + dropped 0"),
    };
    if !ledger.iter().any(|line| line.contains(&received)) {
        faults.push(format!("{} records were sent, and the router's ledger says otherwise", sent.records()));
    }
    if !ended.clean {
        faults.push("the router's drain was not clean".into());
    }
    if !faults.is_empty() {
        faults.extend(ended.log.lines().map(Into::into));
    }
    let seconds = match scenario.rate {
        Rate::Saturated if !scenario.to_nothing => (arrived.last - start).max(sent.seconds),
        _ => sent.seconds,
    };
    let cpu = ended.cpu.since(before);
    let scenario = scenario.clone();
    Ok(Measured { scenario, sent, arrived, cpu, seconds, memory, wake_ups, listening_ms, floor, ledger, faults })
}

/// Looks at the router's memory and wake-ups while it runs.
struct Watch {
    begin: Instant,
    stop: mpsc::Sender<()>,
    looking: thread::JoinHandle<Vec<Look>>,
}

struct Look {
    at: Instant,
    resident: machine::Resident,
    wake_ups: u64,
}

impl Watch {
    fn start(pid: Pid) -> Self {
        let (stop, stopped) = mpsc::channel();
        let looking = thread::spawn(move || {
            let mut looks = Vec::new();
            while let Some(resident) = machine::resident(pid) {
                looks.push(Look { at: Instant::now(), resident, wake_ups: machine::wake_ups(pid) });
                if stopped.recv_timeout(LOOK) != Err(mpsc::RecvTimeoutError::Timeout) {
                    break;
                }
            }
            looks
        });
        Self { begin: Instant::now(), stop, looking }
    }

    /// Memory, and wake-ups a second; `sending` is when the last record had been sent.
    fn end(self, sending: Instant) -> (Memory, f64) {
        // It ends by itself when the router does.
        let _ = self.stop.send(());
        let looks = self.looking.join().expect("it does not panic");
        let peak = looks.iter().map(|look| look.resident.peak).fold(0.0, f64::max);
        let half = self.begin + (sending - self.begin) / 2;
        let later: Vec<&Look> = looks.iter().filter(|look| (half..=sending).contains(&look.at)).collect();
        let mut resident: Vec<f64> = later.iter().map(|look| look.resident.now).collect();
        resident.sort_by(f64::total_cmp);
        // A run may be over before it is looked at twice.
        let steady = resident.get(resident.len() / 2).copied().unwrap_or(peak);
        let wake_ups = match (later.first(), later.last()) {
            (Some(first), Some(last)) if last.at > first.at => {
                (last.wake_ups - first.wake_ups) as f64 / (last.at - first.at).as_secs_f64()
            }
            _ => 0.0,
        };
        (Memory { peak, steady, after: 0.0 }, wake_ups)
    }
}
