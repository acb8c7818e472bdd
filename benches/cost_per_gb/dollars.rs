//! What a GB of log text comes to in USD, by region: arithmetic of `logweir::cost` over what was measured.
//!
//! - CloudWatch Logs: ingestion of what arrived there and its storage for the time that logs are kept.
//! - S3: storage of what arrived there, and the requests of objects that close by size or age as the defaults say. A run
//!   of seconds closes its objects early; their number is not what is billed.
//! - CPU: what the router used, at Fargate's price. At a rate, instead of it, the share of a task that is reserved for a
//!   sidecar: twice the CPU that it used, at least a sixteenth of a vCPU, and the configured memory.
//! - Against it: the same records all in CloudWatch Logs.

use logweir::cost::{Architecture, HOURS, Logs, Objects, PriceError, Region, Reservation};
use logweir::sink::cloudwatch_logs::LogClass;
use serde::Serialize;

use crate::measure::Measured;
use crate::scenario::Rate;

/// Log text that is billed here.
const GB: f64 = 1e9;

/// `object.size` and `object.age` as they are by default.
const OBJECT: f64 = (64 << 20) as f64;
const OBJECT_AGE: f64 = 300.0;

/// What CloudWatch Logs counts for an event beside its message, less the line feed that a line in S3 has.
const EVENT_OVERHEAD: f64 = 25.0;

/// The least share of a vCPU that is reserved.
const LEAST_VCPU: f64 = 1.0 / 16.0;

/// USD a GB of log text.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Dollars {
    pub(crate) region: String,
    pub(crate) cloudwatch_ingestion: f64,
    pub(crate) cloudwatch_storage: f64,
    pub(crate) s3_storage: f64,
    pub(crate) s3_requests: f64,
    /// CPU that was used; at a rate it is part of the reservation.
    pub(crate) cpu: f64,
    /// Reserved vCPU and memory of a sidecar at the scenario's rate.
    pub(crate) reservation: Option<f64>,
    /// All records to CloudWatch Logs: ingestion and storage.
    pub(crate) all_to_cloudwatch: f64,
}

impl Dollars {
    /// None where nothing is delivered.
    pub(crate) fn of(it: &Measured, region: &Region<'_>, kept_days: f64) -> Result<Option<Self>, PriceError> {
        if it.sent.text == 0 || it.scenario.to_nothing || it.scenario.rate == Rate::Idle {
            return Ok(None);
        }
        let a_gb = GB / it.sent.text as f64;
        let logs = |bytes: f64| Logs { bytes, class: LogClass::Standard, kept_days }.bill(region);
        let cloudwatch = logs(it.arrived.cloudwatch.bytes as f64 * a_gb)?;
        let all = logs(all_events(it) * a_gb)?;
        let stored: f64 = it.arrived.objects.iter().sum::<u64>() as f64;
        // What a second of this rate stores in one partition.
        let pace = match it.scenario.rate {
            Rate::Saturated => f64::INFINITY,
            _ => stored / it.sent.seconds / it.scenario.containers as f64,
        };
        let size = (pace * OBJECT_AGE).clamp(1.0, OBJECT);
        let objects = Objects { count: stored * a_gb / size, size, class: "STANDARD", kept_days }.bill(region)?;
        let reserve = |tasks, vcpu, memory_gb| {
            Reservation { tasks, vcpu, memory_gb, architecture: Architecture::X86 }.bill(region)
        };
        let cpu = reserve(it.cpu_per_gb() / 3600.0 / HOURS, 1.0, 0.0)?;
        let reservation = match it.scenario.rate {
            Rate::Saturated | Rate::Idle => None,
            _ => {
                let vcpu = (2.0 * it.cpu.total() / it.sent.seconds).max(LEAST_VCPU);
                let gb_a_month = it.sent.text as f64 / it.sent.seconds * HOURS * 3600.0 / GB;
                Some(reserve(1.0, vcpu, it.scenario.memory_mib as f64 / 1024.0)? / gb_a_month)
            }
        };
        Ok(Some(Self {
            region: region.name().into(),
            cloudwatch_ingestion: cloudwatch.ingestion,
            cloudwatch_storage: cloudwatch.storage,
            s3_storage: objects.storage,
            s3_requests: objects.requests,
            cpu,
            reservation,
            all_to_cloudwatch: all.ingestion + all.storage,
        }))
    }

    /// All of it.
    pub(crate) fn total(&self) -> f64 {
        let cloudwatch = self.cloudwatch_ingestion + self.cloudwatch_storage;
        cloudwatch + self.s3_storage + self.s3_requests + self.reservation.unwrap_or(self.cpu)
    }
}

/// Bytes that all records are as events: by those that went there, else by their lines in S3.
fn all_events(it: &Measured) -> f64 {
    let (events, lines, records) = (it.arrived.cloudwatch, it.arrived.s3, it.sent.records() as f64);
    match events.arrived {
        0 => lines.bytes as f64 + EVENT_OVERHEAD * records,
        arrived => events.bytes as f64 / arrived as f64 * records,
    }
}
