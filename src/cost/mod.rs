//! What logs cost: prices, a sample of logs through a config, and the arithmetic of a month of CloudWatch Logs, S3 and
//! Fargate.
//!
//! `measure` runs a sample through the real rules and encoders, `traffic` tells how many objects and requests that
//! becomes at some rate, `bill` what they cost by the table of `prices`, `estimate` puts it together. Nothing here asks
//! AWS. Months are 365/12 days of 24 hours, a GB is 2^30 bytes as AWS bills it, amounts are USD without taxes, discounts,
//! free tiers and the lower prices of large volumes.

mod bill;
mod estimate;
mod measure;
mod prices;
mod traffic;

pub use bill::{
    Architecture, CLOUDWATCH_STORED, DAYS, GB, HOURS, Logs, LogsBill, Objects, ObjectsBill, Reservation, put_requests,
};
pub use estimate::{Ask, Comparison, Estimate, RouteCost, SinkCost, estimate};
pub use measure::{Amount, Measured, measure};
pub use prices::{PriceError, Prices, Region};
pub use traffic::{Cut, DAY, Flow};
