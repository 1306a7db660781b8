//! How dates and times are read: RFC 3339 and nothing else. Chrono alone would also take years of six digits, which no
//! table can hold, so that one such record would stop a view; and it would take looser spellings than our schemas tell.

use std::fmt;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, Timelike};
use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};

/// A date and time with its offset: `2025-03-10T10:15:03+08:00`. Many who read the log know neither a year 0 nor a second
/// 60, so the one is refused, and the other becomes the last moment of its minute.
pub(crate) fn parse_time(text: &str) -> Option<DateTime<FixedOffset>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    let is_taken = time.year() > 0 && text.as_bytes().get(10) == Some(&b'T');
    // Chrono counts a leap second as further nanoseconds of the one before.
    time.with_nanosecond(time.nanosecond().min(999_999_999)).filter(|_| is_taken)
}

/// A day: `2025-03-10`, and no other form of one.
pub fn parse_date(text: &str) -> Option<NaiveDate> {
    let form = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    (text.len() == 10 && text.bytes().enumerate().all(form)).then(|| text.parse().ok()).flatten()
}

/// A text in one form.
struct Form<T> {
    read: fn(&str) -> Option<T>,
    expected: &'static str,
}

impl<T> Visitor<'_> for Form<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

const DATE: Form<NaiveDate> = Form { read: parse_date, expected: "a date such as 2025-03-10" };
const TIME: Form<DateTime<FixedOffset>> =
    Form { read: parse_time, expected: "a time with its offset such as 2025-03-10T10:15:03+08:00" };

pub(crate) fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveDate, D::Error> {
    deserializer.deserialize_str(DATE)
}

pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<FixedOffset>, D::Error> {
    deserializer.deserialize_str(TIME)
}

pub(crate) fn optional_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NaiveDate>, D::Error> {
    #[derive(Deserialize)]
    struct Date(#[serde(deserialize_with = "date")] NaiveDate);
    Option::<Date>::deserialize(deserializer).map(|date| date.map(|Date(date)| date))
}

pub(crate) fn optional_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<FixedOffset>>, D::Error> {
    #[derive(Deserialize)]
    struct Time(#[serde(deserialize_with = "time")] DateTime<FixedOffset>);
    Option::<Time>::deserialize(deserializer).map(|time| time.map(|Time(time)| time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_one_spelling() {
        assert_eq!(parse_date("2025-03-10"), NaiveDate::from_ymd_opt(2025, 3, 10));
        for text in
            ["", "2025-3-10", "2025-03-1", "+262142-12-31", "-262143-01-01", "20250310", " 2025-03-1", "2025-13-01"]
        {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_has_its_offset_and_a_year_of_four_digits() {
        for text in [
            "2025-03-10T10:15:03+08:00",
            "2025-03-10T02:15:03Z",
            "2025-03-10T02:15:03.25Z",
            "0001-01-01T00:00:00+14:00",
        ] {
            assert!(parse_time(text).is_some(), "{text}");
        }
        assert_eq!(parse_time("0000-12-31T23:59:59Z"), None);
        for text in ["", "2025-03-10", "2025-03-10T10:15:03", "2025-03-10 10:15:03+08:00", "2025-03-10T10:15:03 +08:00"]
        {
            assert!(parse_time(text).is_none(), "{text}");
        }
        for text in
            ["-262143-01-01T00:00:00Z", "+262142-01-01T00:00:00Z", "2025-03-10T10:15+08:00", "2025-3-10T10:15:03Z"]
        {
            assert!(parse_time(text).is_none(), "{text}");
        }
    }
    #[test]
    fn a_leap_second_is_the_last_moment_of_its_minute() {
        for text in ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.5Z", "2016-12-31T23:59:59.999999999Z"] {
            let last = parse_time(text).unwrap();
            assert_eq!(last.to_rfc3339(), "2016-12-31T23:59:59.999999999+00:00", "{text}");
        }
    }
}
