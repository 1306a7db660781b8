//! Every switch of the business in one place, with its default. The documents leave these open or to the operator.

use chrono::{NaiveTime, TimeDelta};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How long an admitted request may wait for its payment before it lapses, in seconds (约2分钟).
    pub in_flight_ttl_s: u32,
    /// Whether a repayment whose outcome is uncertain uses up the day of its contract.
    pub uncertain_uses_the_day: bool,
    /// Whether a contract stays locked after a confirmed repayment until the bank has booked it.
    pub booking_lock: bool,
    /// How many calendar days the booking takes (normally D+2).
    pub booking_lock_days: u64,
    /// Hours and days on which the bank takes no repayments; off unless listed.
    pub blackout: Blackout,
    /// Whether a result query that itself failed (time-out, 5xx) counts as an explicit failure.
    /// 还款结果查询失败 can be read both ways; only an explicit answer is the safe reading.
    pub failed_query_is_failure: bool,
    /// After how many seconds each further result query follows an uncertain answer; then a file or person decides.
    pub confirmation_retry_s: Vec<u32>,
    /// After how many seconds a refund that failed for now is tried again; then it is escalated.
    pub refund_retry_s: Vec<u32>,
    /// How long after submitting a refund its outcome may be queried at the earliest, in seconds.
    pub refund_settling_s: u32,
    /// How long a submitted refund may stay without an outcome before a person is called, in seconds.
    pub refund_escalation_s: u32,
    /// How long a confirmation may stand without its capture before it is a break, in seconds.
    pub capture_grace_s: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Blackout {
    /// Daily windows by the Shanghai clock, such as 23:00 to 24:00.
    pub daily: Vec<Window>,
    /// How many days at the end of each month are closed.
    pub last_days_of_month: u32,
}

/// From `from` up to, but not including, `until`; `until` 00:00 means the end of the day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub from: NaiveTime,
    pub until: NaiveTime,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            in_flight_ttl_s: 120,
            uncertain_uses_the_day: true,
            booking_lock: false,
            booking_lock_days: 2,
            blackout: Blackout::default(),
            failed_query_is_failure: false,
            confirmation_retry_s: vec![10, 30, 120, 600],
            refund_retry_s: vec![60, 300, 1800, 7200],
            refund_settling_s: 10,
            refund_escalation_s: 24 * 3600,
            capture_grace_s: 300,
        }
    }
}

impl Policy {
    pub fn in_flight_ttl(&self) -> TimeDelta {
        TimeDelta::seconds(self.in_flight_ttl_s.into())
    }

    pub fn refund_escalation(&self) -> TimeDelta {
        TimeDelta::seconds(self.refund_escalation_s.into())
    }

    pub fn capture_grace(&self) -> TimeDelta {
        TimeDelta::seconds(self.capture_grace_s.into())
    }
}
