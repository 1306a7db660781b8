//! One file per command. A command answers false when it worked, but what it looked at is not as it should be.

use chrono::{DateTime, FixedOffset, NaiveDate};

pub mod balances;
pub mod config;
pub mod demo;
pub mod generations;
pub mod health;
pub mod order;
pub mod psql;
pub mod publish;
pub mod rebuild;
pub mod reconcile;
pub mod refund_file;
pub mod replay;
pub mod topics;
pub mod up;

/// A time, or a day of the business, of which `of_day` takes the start or the end.
pub fn moment(
    text: &str,
    of_day: fn(NaiveDate) -> DateTime<FixedOffset>,
) -> Result<DateTime<FixedOffset>, &'static str> {
    schemas::parse_date(text)
        .map(of_day)
        .or_else(|| DateTime::parse_from_rfc3339(text).ok())
        .ok_or("expected a time such as 2025-03-10T23:59:59+08:00, or a day such as 2025-03-10")
}
