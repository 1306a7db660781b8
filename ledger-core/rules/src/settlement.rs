//! Settlement: what a channel's batch says, and what the ledger says about the same days.

use chrono::{DateTime, Datelike, Days, FixedOffset, NaiveDate, NaiveTime, TimeDelta};
use schemas::{
    Amount, Balance, Data, Event, Name,
    events::{DisputeOutcome, SettlementReceived, SettlementReported},
};
use serde::{Deserialize, Serialize};

use crate::{
    business_day::shanghai,
    fee::agreed,
    policy::{ChannelTerms, Cycle, Policy},
};

/// One batch of a channel; its events may arrive in any order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SettlementBatch {
    pub reported: Option<SettlementReported>,
    pub received: Vec<SettlementReceived>,
}

impl SettlementBatch {
    pub fn apply(&mut self, data: &Data) {
        match data {
            Data::SettlementReported(data) => self.reported = Some(data.clone()),
            Data::SettlementReceived(data) => {
                self.received.push(data.clone());
                self.received.sort_by(|a, b| (&a.bank_account, &a.bank_ref).cmp(&(&b.bank_account, &b.bank_ref)));
            }
            other => debug_assert!(false, "{} is not about a settlement batch", other.event_type()),
        }
    }

    pub fn received(&self) -> Amount {
        self.received.iter().map(|received| received.amount).sum()
    }

    /// What the bank received beyond what the channel reported; zero is right.
    pub fn difference(&self) -> Option<Balance> {
        let reported = self.reported.as_ref()?;
        Some(Balance::from(self.received()) - reported.net.debit())
    }
}

/// The batch that an event belongs to: its channel and number.
pub fn batch_of(data: &Data) -> Option<(&Name, &str)> {
    match data {
        Data::SettlementReported(data) => Some((&data.channel, &data.batch_no)),
        Data::SettlementReceived(data) => Some((&data.channel, &data.batch_no)),
        _ => None,
    }
}

/// What the ledger expects a channel to settle for one business day, summed over events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DayTotals {
    pub captured: Balance,
    pub reversed: Balance,
    pub refunded: Balance,
    pub charged_back: Balance,
    /// What the channel's fees should come to, by the terms agreed with it.
    pub fees: Balance,
    pub transactions: i64,
}

impl DayTotals {
    pub fn add(&mut self, other: Self) {
        self.captured += other.captured;
        self.reversed += other.reversed;
        self.refunded += other.refunded;
        self.charged_back += other.charged_back;
        self.fees += other.fees;
        self.transactions += other.transactions;
    }
}

/// What one event adds to the day of its channel. Of fees that the channel gives back, a refund or reversal takes its
/// part off again.
pub fn day_totals<'a>(event: &'a Event, policy: &Policy) -> Option<(&'a Name, NaiveDate, DayTotals)> {
    let zero = DayTotals::default();
    let returned = |channel: &Name, amount: Amount| {
        let terms = policy.terms(channel);
        if terms.fees_returned { -Balance::from(agreed(amount, &terms)) } else { Balance::ZERO }
    };
    let (channel, date, totals) = match &event.data {
        Data::PaymentCaptured(data) => {
            let fees = agreed(data.amount, &policy.terms(&data.channel)).into();
            let totals = DayTotals { captured: data.amount.into(), fees, transactions: 1, ..zero };
            (&data.channel, data.business_date, totals)
        }
        Data::PaymentReversed(data) => {
            // A payment that was undone never cost anything.
            let fees = -Balance::from(agreed(data.amount, &policy.terms(&data.channel)));
            (&data.channel, data.business_date, DayTotals { reversed: data.amount.into(), fees, ..zero })
        }
        Data::RefundCompleted(data) => {
            let fees = returned(&data.channel, data.amount);
            (&data.channel, data.business_date, DayTotals { refunded: data.amount.into(), fees, ..zero })
        }
        Data::RefundReturned(data) => {
            let fees = -returned(&data.channel, data.amount);
            (&data.channel, data.business_date, DayTotals { refunded: -Balance::from(data.amount), fees, ..zero })
        }
        Data::ChargebackReceived(data) => {
            (&data.channel, data.business_date, DayTotals { charged_back: data.amount.into(), ..zero })
        }
        Data::ChargebackClosed(data) if data.outcome == DisputeOutcome::Won => {
            (&data.channel, data.business_date, DayTotals { charged_back: -Balance::from(data.amount), ..zero })
        }
        _ => return None,
    };
    Some((channel, date, totals))
}

/// The accounting day of a channel in which something at `time` falls, where the channel does not say it.
pub fn business_date(time: &DateTime<FixedOffset>, terms: &ChannelTerms) -> NaiveDate {
    let local = shanghai(time);
    let past_the_cutover = terms.cutover != NaiveTime::MIN && local.time() >= terms.cutover;
    let day = local.date_naive();
    if past_the_cutover { day.succ_opt().unwrap_or(day) } else { day }
}

/// The first and the last day of the settlement period in which a business day falls. Weeks begin on Monday, two of them
/// with 2024-01-01 and every second Monday from there.
pub fn period_of(day: NaiveDate, cycle: Cycle) -> (NaiveDate, NaiveDate) {
    let monday = day - TimeDelta::days(day.weekday().num_days_from_monday().into());
    let span = |from: NaiveDate, days: u64| (from, from.checked_add_days(Days::new(days - 1)).unwrap_or(from));
    match cycle {
        Cycle::Daily => span(day, 1),
        Cycle::Weekly => span(monday, 7),
        Cycle::TwiceWeekly if day < monday + TimeDelta::days(3) => span(monday, 3),
        Cycle::TwiceWeekly => span(monday + TimeDelta::days(3), 4),
        // Counted from a fixed Monday, because years may have an odd number of weeks.
        Cycle::Fortnightly => {
            let epoch = NaiveDate::from_ymd_opt(2024, 1, 1).unwrap_or(monday);
            let weeks = (monday - epoch).num_weeks().rem_euclid(2);
            span(monday - TimeDelta::weeks(weeks), 14)
        }
    }
}

#[cfg(test)]
mod tests;
