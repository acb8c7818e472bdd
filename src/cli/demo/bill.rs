//! What logs like these would cost: all in CloudWatch Logs, or routed. Prices come from the table in `prices.json`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// AWS's public prices, embedded with their source and dates.
const TABLE: &str = include_str!("prices.json");

/// AWS counts a GB as 2^30 bytes.
const GB: f64 = (1_u64 << 30) as f64;

/// The volume that the bill is for: a round number that is easy to scale.
pub(super) const VOLUME_GB: f64 = 1000.0;

/// The table.
#[derive(Debug, Deserialize)]
pub(super) struct Prices {
    /// Where the prices are from.
    pub(super) source: String,
    /// Date of the prices, by service.
    pub(super) published: BTreeMap<String, String>,
    regions: BTreeMap<String, Region>,
}

/// The prices of one region that the bill needs, in USD.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Region {
    cwl_ingest_standard_gb: f64,
    s3_standard_gb_month: f64,
    s3_put_request: f64,
}

/// What the demo measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// All records as JSON.
    pub(super) all: u64,
    /// What a CloudWatch Logs sink would have been sent.
    pub(super) alerts: u64,
    /// Objects as stored.
    pub(super) stored: u64,
    /// Requests that would have written them.
    pub(super) requests: u64,
}

/// A month of [`VOLUME_GB`], in USD.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bill {
    /// CloudWatch Logs takes all.
    pub(super) everything: f64,
    /// CloudWatch Logs takes what is urgent.
    pub(super) alerts: f64,
    /// S3 keeps all for a month.
    pub(super) storage: f64,
    /// S3 requests.
    pub(super) requests: f64,
}

impl Prices {
    /// The embedded table.
    pub(super) fn embedded() -> Self {
        serde_json::from_str(TABLE).expect("a test reads the embedded table")
    }

    /// The prices of a region, or the regions that are known.
    pub(super) fn region(&self, name: &str) -> Result<Region, String> {
        self.regions.get(name).copied().ok_or_else(|| {
            let known: Vec<&str> = self.regions.keys().map(String::as_str).collect();
            format!("no prices for region `{name}`; known are {}", known.join(", "))
        })
    }
}

impl Bill {
    /// The bill for logs of the same kind; nothing to bill without any.
    pub(super) fn of(usage: &Usage, prices: &Region) -> Option<Self> {
        if usage.all == 0 {
            return None;
        }
        let scale = VOLUME_GB * GB / usage.all as f64;
        let gb = |bytes: u64| bytes as f64 * scale / GB;
        Some(Self {
            everything: gb(usage.all) * prices.cwl_ingest_standard_gb,
            alerts: gb(usage.alerts) * prices.cwl_ingest_standard_gb,
            storage: gb(usage.stored) * prices.s3_standard_gb_month,
            requests: usage.requests as f64 * scale * prices.s3_put_request,
        })
    }

    /// All that routing costs.
    pub(super) fn routed(&self) -> f64 {
        self.alerts + self.storage + self.requests
    }
}

/// Requests that write an object of this size to S3: one, or its parts with a beginning and an end.
pub(super) fn requests(bytes: u64) -> u64 {
    const PART: u64 = 8 << 20;
    if bytes <= PART { 1 } else { bytes.div_ceil(PART) + 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_table_has_its_source_dates_and_regions() {
        let prices = Prices::embedded();
        assert!(!prices.source.is_empty());
        assert!(prices.published.contains_key("cloudwatch") && prices.published.contains_key("s3"));
        for region in ["us-east-1", "ap-northeast-1", "eu-central-1"] {
            assert!(
                prices.region(region).is_ok_and(|prices| prices.cwl_ingest_standard_gb > prices.s3_standard_gb_month)
            );
        }
    }

    #[test]
    fn an_unknown_region_lists_the_known_ones() {
        let error = Prices::embedded().region("mars-1").expect_err("there is no such region");
        assert!(
            error.contains("`mars-1`") && error.contains("ap-northeast-1") && error.contains("us-west-2"),
            "{error}"
        );
    }

    #[test]
    fn the_bill_scales_what_was_measured() {
        let prices = Region { cwl_ingest_standard_gb: 0.5, s3_standard_gb_month: 0.02, s3_put_request: 5e-6 };
        let usage = Usage { all: 10 << 20, alerts: 1 << 20, stored: 512 << 10, requests: 2 };
        let bill = Bill::of(&usage, &prices).expect("there were logs");
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        close(bill.everything, 500.0);
        close(bill.alerts, 50.0);
        close(bill.storage, 1.0);
        close(bill.requests, 2.0 * 102_400.0 * 5e-6);
        close(bill.routed(), 52.024);
        assert_eq!(Bill::of(&Usage::default(), &prices), None);
    }

    #[test]
    fn a_large_object_takes_a_request_a_part_and_two_more() {
        assert_eq!([1, 8 << 20, (8 << 20) + 1, 64 << 20].map(requests), [1, 1, 4, 10]);
    }
}
