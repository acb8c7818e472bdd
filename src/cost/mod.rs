//! What logs cost: prices, and the arithmetic of a month of CloudWatch Logs, S3 and Fargate.
//!
//! All of it is arithmetic over numbers that somebody else has measured; nothing here asks AWS. Months are 365/12 days
//! of 24 hours, a GB is 2^30 bytes as AWS bills it, amounts are USD without taxes, discounts, free tiers and the lower
//! prices of large volumes.

mod bill;
mod prices;

pub use bill::{
    Architecture, CLOUDWATCH_STORED, DAYS, GB, HOURS, Logs, LogsBill, Objects, ObjectsBill, Reservation, put_requests,
};
pub use prices::{PriceError, Prices, Region};
