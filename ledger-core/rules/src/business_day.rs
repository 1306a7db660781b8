//! The business lives in Asia/Shanghai, which has had one offset and no daylight saving since 1991.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, TimeDelta, TimeZone};

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

/// The first moment of a day of the business.
pub fn start(day: NaiveDate) -> DateTime<FixedOffset> {
    shanghai(&(day.and_time(NaiveTime::MIN) - TimeDelta::seconds(SHANGHAI_OFFSET_S.into())).and_utc())
}

/// Its last moment, as finely as Postgres tells times.
pub fn end(day: NaiveDate) -> DateTime<FixedOffset> {
    start(day) + TimeDelta::days(1) - TimeDelta::microseconds(1)
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

    #[test]
    fn a_day_goes_from_midnight_to_midnight() {
        let day = NaiveDate::from_ymd_opt(2025, 3, 10).unwrap();
        assert_eq!(start(day).to_rfc3339(), "2025-03-10T00:00:00+08:00");
        assert_eq!(end(day).to_rfc3339(), "2025-03-10T23:59:59.999999+08:00");
    }
}
