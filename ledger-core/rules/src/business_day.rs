//! The business lives in Asia/Shanghai, which has had one offset and no daylight saving since 1991.

use chrono::{DateTime, FixedOffset, NaiveDate, TimeZone};

const SHANGHAI_OFFSET_S: i32 = 8 * 3600;

/// The wall clock of the business.
pub fn shanghai<Tz: TimeZone>(time: &DateTime<Tz>) -> DateTime<FixedOffset> {
    match FixedOffset::east_opt(SHANGHAI_OFFSET_S) {
        Some(offset) => time.with_timezone(&offset),
        None => time.fixed_offset(),
    }
}

/// The calendar day of the business at `time`.
pub fn business_day<Tz: TimeZone>(time: &DateTime<Tz>) -> NaiveDate {
    shanghai(time).date_naive()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_turns_at_midnight_in_shanghai() {
        let day = |text: &str| business_day(&DateTime::parse_from_rfc3339(text).unwrap()).to_string();
        assert_eq!(day("2025-03-10T15:59:59Z"), "2025-03-10");
        assert_eq!(day("2025-03-10T16:00:00Z"), "2025-03-11");
        assert_eq!(day("2025-03-10T23:59:59+08:00"), "2025-03-10");
    }
}
