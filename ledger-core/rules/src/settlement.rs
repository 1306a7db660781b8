//! Settlement: what a channel's batch says, and what the ledger says about the same days.

use chrono::NaiveDate;
use schemas::{
    Amount, Balance, Data, Event, Name,
    events::{SettlementReceived, SettlementReported},
};
use serde::{Deserialize, Serialize};

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
                self.received.sort_by(|a, b| a.bank_ref.cmp(&b.bank_ref));
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
    pub transactions: i64,
}

impl DayTotals {
    pub fn add(&mut self, other: Self) {
        self.captured += other.captured;
        self.reversed += other.reversed;
        self.refunded += other.refunded;
        self.charged_back += other.charged_back;
        self.transactions += other.transactions;
    }
}

/// What one event adds to the day of its channel.
pub fn day_totals(event: &Event) -> Option<(&Name, NaiveDate, DayTotals)> {
    let zero = DayTotals::default();
    match &event.data {
        Data::PaymentCaptured(data) => Some((
            &data.channel,
            data.business_date,
            DayTotals { captured: data.amount.into(), transactions: 1, ..zero },
        )),
        Data::PaymentReversed(data) => {
            Some((&data.channel, data.business_date, DayTotals { reversed: data.amount.into(), ..zero }))
        }
        Data::RefundCompleted(data) => {
            Some((&data.channel, data.business_date, DayTotals { refunded: data.amount.into(), ..zero }))
        }
        Data::RefundReturned(data) => {
            Some((&data.channel, data.business_date, DayTotals { refunded: -Balance::from(data.amount), ..zero }))
        }
        Data::ChargebackReceived(data) => {
            Some((&data.channel, data.business_date, DayTotals { charged_back: data.amount.into(), ..zero }))
        }
        Data::ChargebackClosed(data) if data.outcome == schemas::events::DisputeOutcome::Won => {
            Some((&data.channel, data.business_date, DayTotals { charged_back: -Balance::from(data.amount), ..zero }))
        }
        _ => None,
    }
}
