//! What logs like the demo's would cost: all in CloudWatch Logs, or routed.

use crate::cost::{DAYS, GB, Logs, Objects, PriceError, Region};
use crate::sink::cloudwatch_logs::LogClass;

/// The volume that the bill is for: a round number that is easy to scale.
pub(super) const VOLUME_GB: f64 = 1000.0;

/// What the demo measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// All records as JSON.
    pub(super) all: u64,
    /// What a CloudWatch Logs sink would have been sent.
    pub(super) alerts: u64,
    /// Sizes of the objects as stored.
    pub(super) objects: Vec<u64>,
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

impl Bill {
    /// Scales what was measured to a month of [`VOLUME_GB`]; none if nothing was.
    pub(super) fn of(usage: &Usage, region: &Region<'_>) -> Result<Option<Self>, PriceError> {
        if usage.all == 0 {
            return Ok(None);
        }
        let scale = VOLUME_GB * GB / usage.all as f64;
        let ingestion = |bytes: u64| {
            let logs = Logs { bytes: bytes as f64 * scale, class: LogClass::Standard, kept_days: DAYS };
            logs.bill(region).map(|bill| bill.ingestion)
        };
        let mut bill =
            Self { everything: ingestion(usage.all)?, alerts: ingestion(usage.alerts)?, storage: 0.0, requests: 0.0 };
        for size in &usage.objects {
            let objects = Objects { count: scale, size: *size as f64, class: "STANDARD", kept_days: DAYS };
            let objects = objects.bill(region)?;
            bill.storage += objects.storage;
            bill.requests += objects.requests;
        }
        Ok(Some(bill))
    }

    /// All that routing costs.
    pub(super) fn routed(&self) -> f64 {
        self.alerts + self.storage + self.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Prices;

    #[test]
    fn the_bill_scales_what_was_measured() {
        let prices = Prices::embedded();
        let region = prices.region("us-east-1").expect("known");
        let usage = Usage { all: 10 << 20, alerts: 1 << 20, objects: vec![256 << 10; 2] };
        let bill = Bill::of(&usage, &region).expect("prices").expect("there were logs");
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        close(bill.everything, 500.0);
        close(bill.alerts, 50.0);
        close(bill.storage, 50.0 * 0.023);
        close(bill.requests, 2.0 * 102_400.0 * 5e-6);
        close(bill.routed(), 52.174);
        assert_eq!(Bill::of(&Usage::default(), &region), Ok(None));
    }
}
