//! Every switch of the business in one place, with its default. The documents leave these open or to the operator.

use std::collections::BTreeMap;

use chrono::{NaiveTime, TimeDelta};
use schemas::{Name, events::Bearer};
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
    /// How long captured money may wait for any answer of the bank, card host or school before it is a break, in seconds.
    pub confirmation_grace_s: u32,
    /// How long an admitted top-up may wait for its payment, in seconds.
    pub top_up_ttl_s: u32,
    /// How long an admitted fee payment may wait, in seconds: as long as a redirected payment may still come through.
    pub fee_payment_ttl_s: u32,
    /// When the channel is asked about a payment of which the payer or the channel said something without proof: so many
    /// seconds after that, once for each.
    pub payment_query_s: Vec<u32>,
    /// Channels of repayments whose payers are at no terminal, so that nobody but the ledger would ask.
    pub back_end_channels: Vec<Name>,
    /// As `payment_query_s`, for these: 1, 2, 4, 8, 16 and 32 s apart, as UnionPay asks for back-end transactions.
    pub back_end_query_s: Vec<u32>,
    /// After how many seconds a card host or school that refused for now is asked again; then the money goes back.
    pub fulfilment_retry_s: Vec<u32>,
    /// Schools that take top-ups online; empty: all.
    pub top_up_schools: Vec<Name>,
    /// Channels that take refunds in a file only.
    pub refund_by_file: Vec<Name>,
    /// As `refund_escalation_s`, for a refund that was sent in a file.
    pub refund_file_escalation_s: u32,
    /// Through which channel a holder is debited for purchases.
    pub withholding_channel: Name,
    /// After how many seconds a declined debit is tried again; then it is uncollected.
    pub withholding_retry_s: Vec<u32>,
    /// At which question about a debit it is cancelled (撤销) if the channel says that it is not paid yet, where the
    /// channel can do that; 0: it is never cancelled.
    pub withholding_queries: u16,
    pub offline: Offline,
    /// In the statements of how many further days a payment or refund may still come that was missing in its own (差异缓冲).
    pub statement_grace_days: u32,
    /// What a subject's records are kept for at the least before they may be erased, in years. Nothing erases them yet.
    pub retention_years: u32,
    /// What money held for others is to us, as reports say it. It changes no posting.
    pub held_as: HeldAs,
    /// What was agreed with each channel.
    pub channels: BTreeMap<Name, ChannelTerms>,
}

/// Purchases at terminals that are offline (脱机消费).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Offline {
    /// How old a campus code may be when it is used, in seconds (24小时).
    pub window_s: u32,
    /// What the window is counted from.
    pub window_from: WindowFrom,
    /// A purchase that is uploaded later than this is flagged, in seconds.
    pub upload_lag_s: u32,
    /// Whether a purchase outside of the window counts at the operator's risk, instead of waiting for a person.
    pub late_at_operators_risk: bool,
}

impl Default for Offline {
    fn default() -> Self {
        Self {
            window_s: 24 * 3600,
            window_from: WindowFrom::CodeIssued,
            upload_lag_s: 24 * 3600,
            late_at_operators_risk: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowFrom {
    /// When the code was last refreshed.
    CodeIssued,
    /// When the terminal was last online.
    TerminalOnline,
}

/// Which party the operator is legally: that of the money, or a trustee of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldAs {
    OwnLiability,
    TrustMoney,
}

/// What was agreed with a channel about fees and settlement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelTerms {
    /// The fee in millionths of the amount, rounded half up to the fen for each payment: 2000 is 0.20 %.
    pub fee_ppm: u32,
    pub fees_borne_by: Bearer,
    /// Whether the fee of a payment is given back with its refund.
    pub fees_returned: bool,
    pub settles_to: SettlesTo,
    pub cycle: Cycle,
    /// When the channel's accounting day ends, by the Shanghai clock; 00:00 is midnight.
    pub cutover: NaiveTime,
}

impl Default for ChannelTerms {
    fn default() -> Self {
        Self {
            fee_ppm: 0,
            fees_borne_by: Bearer::Operator,
            fees_returned: true,
            settles_to: SettlesTo::Us,
            cycle: Cycle::Daily,
            cutover: NaiveTime::MIN,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettlesTo {
    /// A bank account of ours.
    Us,
    /// The school's own.
    School,
}

/// How often a channel settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cycle {
    Daily,
    Weekly,
    /// One reading of 一周二结: Monday to Wednesday, and Thursday to Sunday.
    TwiceWeekly,
    /// The other one: every second week.
    Fortnightly,
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
            booking_lock: true,
            booking_lock_days: 2,
            blackout: Blackout::default(),
            failed_query_is_failure: false,
            confirmation_retry_s: vec![10, 30, 120, 600],
            refund_retry_s: vec![60, 300, 1800, 7200],
            refund_settling_s: 10,
            refund_escalation_s: 24 * 3600,
            capture_grace_s: 300,
            confirmation_grace_s: 24 * 3600,
            top_up_ttl_s: 1800,
            fee_payment_ttl_s: 7200,
            payment_query_s: vec![0, 300, 600, 1800, 3600, 7200],
            back_end_channels: vec![name("unionpay-cqp")],
            back_end_query_s: vec![1, 3, 7, 15, 31, 63],
            fulfilment_retry_s: vec![10, 60, 600],
            top_up_schools: Vec::new(),
            refund_by_file: vec![name("bestpay-web")],
            refund_file_escalation_s: 7 * 24 * 3600,
            withholding_channel: name("alipay-withholding"),
            withholding_retry_s: vec![3600, 24 * 3600],
            withholding_queries: 6,
            offline: Offline::default(),
            statement_grace_days: 3,
            retention_years: 10,
            held_as: HeldAs::OwnLiability,
            channels: default_terms(),
        }
    }
}

/// A name that stands in this file.
fn name(text: &str) -> Name {
    match text.parse() {
        Ok(name) => name,
        Err(_) => unreachable!(),
    }
}

/// What the documents say, and the stated defaults where they say nothing.
fn default_terms() -> BTreeMap<Name, ChannelTerms> {
    let daily = |fee_ppm| ChannelTerms { fee_ppm, ..ChannelTerms::default() };
    let bestpay = ChannelTerms { fee_ppm: 3000, fees_returned: false, cycle: Cycle::Weekly, ..ChannelTerms::default() };
    let terms = [
        ("ums-pos", daily(2000)),
        ("unionpay-cqp", daily(2000)),
        ("bestpay-web", bestpay),
        ("alipay-mini", daily(6000)),
        ("alipay-withholding", daily(6000)),
        ("ejt", daily(0)),
    ];
    terms.into_iter().map(|(channel, terms)| (name(channel), terms)).collect()
}

impl Policy {
    /// What was agreed with a channel; the defaults where nothing was.
    pub fn terms(&self, channel: &Name) -> ChannelTerms {
        self.channels.get(channel).copied().unwrap_or_default()
    }

    pub fn confirmation_grace(&self) -> TimeDelta {
        TimeDelta::seconds(self.confirmation_grace_s.into())
    }

    /// How long a refund through this channel may stay without an outcome.
    pub fn refund_escalation(&self, channel: Option<&Name>) -> TimeDelta {
        let by_file = channel.is_some_and(|channel| self.refund_by_file.contains(channel));
        let seconds = if by_file { self.refund_file_escalation_s } else { self.refund_escalation_s };
        TimeDelta::seconds(seconds.into())
    }

    pub fn capture_grace(&self) -> TimeDelta {
        TimeDelta::seconds(self.capture_grace_s.into())
    }
}
