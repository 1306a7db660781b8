//! How long what is known of a person must be kept: until then erasing it is put off, however it is asked for.

use chrono::{Datelike, NaiveDate};

use crate::policy::Policy;

/// The first day on which a person may be erased whose last business was on `last`.
pub fn may_be_erased_on(last: NaiveDate, policy: &Policy) -> NaiveDate {
    let year = last.year().saturating_add(i32::try_from(policy.retention_years).unwrap_or(i32::MAX));
    // The 29th of February falls due on the 1st of March.
    let after_february = || NaiveDate::from_ymd_opt(year, 3, 1);
    last.with_year(year).or_else(after_february).unwrap_or(NaiveDate::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_kept_for_as_long_as_the_policy_says() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        for (years, last, erased) in
            [(10, "2025-03-10", "2035-03-10"), (5, "2025-03-10", "2030-03-10"), (5, "2024-02-29", "2029-03-01")]
        {
            let policy = Policy { retention_years: years, ..Policy::default() };
            assert_eq!(may_be_erased_on(day(last), &policy), day(erased));
        }
    }
}
