//! A month of CloudWatch Logs, of objects in S3 and of reserved Fargate tasks, in USD.
//!
//! Storage is what it comes to when as much is deleted each day as is added: so many days' worth, as the retention says.

use super::{PriceError, Region};
use crate::sink::cloudwatch_logs::LogClass;
use crate::sink::object::PART;

/// What AWS bills as a GB.
pub const GB: f64 = (1_u64 << 30) as f64;
/// Days of a month.
pub const DAYS: f64 = 365.0 / 12.0;
/// Hours of a month.
pub const HOURS: f64 = 730.0;

/// What CloudWatch Logs stores of what it ingested: AWS's own estimate for its compression, in its pricing calculator.
pub const CLOUDWATCH_STORED: f64 = 0.15;

/// What classes for old data bill an object as at least (S3, storage class pages); by class, with the least days.
const LEAST: [(&str, u64, f64); 5] = [
    ("STANDARD_IA", 128 << 10, 30.0),
    ("ONEZONE_IA", 128 << 10, 30.0),
    ("GLACIER_IR", 128 << 10, 90.0),
    ("GLACIER", 0, 90.0),
    ("DEEP_ARCHIVE", 0, 180.0),
];

/// What a log group takes in a month.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logs {
    /// Bytes of the events as PutLogEvents counts them: their messages in UTF-8 and 26 bytes each.
    pub bytes: f64,
    /// The group's class.
    pub class: LogClass,
    /// How long it keeps them.
    pub kept_days: f64,
}

/// What that costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogsBill {
    /// Ingestion.
    pub ingestion: f64,
    /// Storage, of the compressed archive.
    pub storage: f64,
}

impl Logs {
    /// The bill of a month.
    pub fn bill(&self, region: &Region<'_>) -> Result<LogsBill, PriceError> {
        let ingestion = match self.class {
            LogClass::Standard => region.price("cloudwatch_ingest_STANDARD")?,
            LogClass::InfrequentAccess => region.price("cloudwatch_ingest_INFREQUENT_ACCESS")?,
        };
        let stored = self.bytes * CLOUDWATCH_STORED * self.kept_days / DAYS;
        Ok(LogsBill {
            ingestion: self.bytes / GB * ingestion,
            storage: stored / GB * region.price("cloudwatch_storage")?,
        })
    }
}

/// Objects of one size that come in a month.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objects<'a> {
    /// How many.
    pub count: f64,
    /// Bytes of each, as stored.
    pub size: f64,
    /// The storage class, as S3 names it.
    pub class: &'a str,
    /// How long they are kept.
    pub kept_days: f64,
}

/// What they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ObjectsBill {
    /// Storage.
    pub storage: f64,
    /// The requests that write them.
    pub requests: f64,
}

impl Objects<'_> {
    /// The bill of a month.
    pub fn bill(&self, region: &Region<'_>) -> Result<ObjectsBill, PriceError> {
        let (least, days) = LEAST
            .iter()
            .find(|(class, ..)| *class == self.class)
            .map_or((0.0, 0.0), |(_, least, days)| (*least as f64, *days));
        let stored = self.count * self.size.max(least) * self.kept_days.max(days) / DAYS;
        let requests = self.count * put_requests(self.size as u64) as f64;
        Ok(ObjectsBill {
            storage: stored / GB * region.price(&format!("s3_storage_{}", self.class))?,
            requests: requests / 1000.0 * region.price(&format!("s3_put_{}", self.class))?,
        })
    }
}

/// Requests that write an object of this size to S3: one, or its parts with a beginning and an end.
pub fn put_requests(bytes: u64) -> u64 {
    if bytes <= PART { 1 } else { bytes.div_ceil(PART) + 2 }
}

/// A processor that Fargate offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    #[default]
    X86,
    /// Graviton.
    Arm,
}

/// What is reserved on Fargate for a router, all the time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reservation {
    /// How many tasks.
    pub tasks: f64,
    /// Of each, in vCPU.
    pub vcpu: f64,
    /// Of each, in GB.
    pub memory_gb: f64,
    /// Of all.
    pub architecture: Architecture,
}

impl Reservation {
    /// The bill of a month.
    pub fn bill(&self, region: &Region<'_>) -> Result<f64, PriceError> {
        let name = match self.architecture {
            Architecture::X86 => "X86_64",
            Architecture::Arm => "ARM64",
        };
        let vcpu = self.vcpu * region.price(&format!("fargate_vcpu_{name}"))?;
        let memory = self.memory_gb * region.price(&format!("fargate_memory_{name}"))?;
        Ok(self.tasks * HOURS * (vcpu + memory))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Prices;
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < expected.abs() * 1e-9 + 1e-12, "{found} is not {expected}");
    }

    fn tokyo<T>(bill: impl Fn(&Region<'_>) -> Result<T, PriceError>) -> T {
        let prices = Prices::embedded();
        bill(&prices.region("ap-northeast-1").expect("known")).expect("prices")
    }

    #[test]
    fn cloudwatch_bills_what_it_ingests_and_a_seventh_of_it_as_long_as_it_is_kept() {
        // 1000 GB at $0.76; 150 GB stored for one month at $0.033.
        let logs = Logs { bytes: 1000.0 * GB, class: LogClass::Standard, kept_days: DAYS };
        let bill = tokyo(|region| logs.bill(region));
        close(bill.ingestion, 760.0);
        close(bill.storage, 4.95);
        let rare = Logs { class: LogClass::InfrequentAccess, kept_days: 3.0 * DAYS, ..logs };
        let bill = tokyo(|region| rare.bill(region));
        close(bill.ingestion, 380.0);
        close(bill.storage, 14.85);
    }

    #[test]
    fn s3_bills_the_months_that_objects_are_kept_and_a_request_each() {
        // 2000 objects of 1 MiB a month are 1.953125 GB; three months of them are kept at $0.025.
        let size = (1 << 20) as f64;
        let objects = Objects { count: 2000.0, size, class: "STANDARD", kept_days: 3.0 * DAYS };
        let bill = tokyo(|region| objects.bill(region));
        close(bill.storage, 2000.0 / 1024.0 * 3.0 * 0.025);
        close(bill.requests, 2.0 * 0.0047);
    }

    #[test]
    fn classes_for_old_data_bill_small_objects_as_large_ones_and_short_times_as_long_ones() {
        // 8192 objects of 1 KiB count 128 KiB each: 1 GB, for 30 days though deleted after one.
        let objects = Objects { count: 8192.0, size: 1024.0, class: "STANDARD_IA", kept_days: 1.0 };
        let bill = tokyo(|region| objects.bill(region));
        close(bill.storage, 0.0138 * 30.0 / DAYS);
        close(bill.requests, 8.192 * 0.01);
    }

    #[test]
    fn a_class_without_a_price_is_told_by_name() {
        let objects = Objects { count: 1.0, size: 1.0, class: "DEEP_ARCHIVE", kept_days: 1.0 };
        let prices = Prices::embedded();
        let error = objects.bill(&prices.region("us-east-1").expect("known")).expect_err("none").to_string();
        assert!(error.contains("s3_storage_DEEP_ARCHIVE") && error.contains("s3_storage_GLACIER_IR"), "{error}");
    }

    #[test]
    fn a_reservation_costs_by_the_hour() {
        // A quarter of a vCPU at $0.05056 and half a GB at $0.00553: $11.245 a month.
        let task = Reservation { tasks: 1.0, vcpu: 0.25, memory_gb: 0.5, architecture: Architecture::X86 };
        close(tokyo(|region| task.bill(region)), 730.0 * (0.01264 + 0.002765));
        let arm = Reservation { tasks: 100.0, architecture: Architecture::Arm, ..task };
        close(tokyo(|region| arm.bill(region)), 73_000.0 * (0.0101125 + 0.00221));
    }

    #[test]
    fn a_large_object_takes_a_request_a_part_and_two_more() {
        assert_eq!([1, 8 << 20, (8 << 20) + 1, 64 << 20].map(put_requests), [1, 1, 4, 10]);
    }
}
