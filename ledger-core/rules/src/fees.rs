//! What a student owes a school: items by year, what has been posted to them, and what payments under way have in hand.

use std::collections::BTreeMap;

use schemas::{Amount, Balance, Data, Event, Name, events::*};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    LogTime,
    confirmation::Answer,
    is_default,
    order::{Order, RequestData},
};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeeAccount {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub school: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub student: Option<Uuid>,
    /// By item and year.
    #[serde(skip_serializing_if = "is_default")]
    pub items: BTreeMap<String, FeeItem>,
    /// What payments under way are to pay, by order number.
    #[serde(skip_serializing_if = "is_default")]
    pub under_way: BTreeMap<String, UnderWay>,
}

/// A fee item of a year.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeeItem {
    pub fee_item: String,
    pub billing_year: u16,
    /// What the school charged; `None` while only a change or a payment of it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assessed: Option<Amount>,
    pub instalments_allowed: bool,
    /// What was added to it later, or taken off.
    pub adjusted: Balance,
    /// Paid and posted, less what was taken off again or lost to a dispute.
    pub posted: Balance,
}

/// A payment that has an outcome to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnderWay {
    pub lines: BTreeMap<String, Amount>,
    /// When it lapses if nothing is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lapses_at: Option<LogTime>,
}

/// How an item of a year is found again.
fn key(fee_item: &str, billing_year: u16) -> String {
    format!("{fee_item}/{billing_year}")
}

impl FeeItem {
    /// What is still owed; negative when more was paid than is owed.
    pub fn outstanding(&self) -> Balance {
        self.adjusted + self.assessed.unwrap_or_default() - self.posted
    }
}

impl FeeAccount {
    pub fn apply(&mut self, event: &Event) {
        match &event.data {
            Data::FeeItemAssessed(data) => {
                self.belongs_to(&data.school, Some(data.student));
                let item = self.item(&data.fee_item, data.billing_year);
                item.assessed = Some(data.amount);
                item.instalments_allowed = data.instalments_allowed;
            }
            Data::FeeItemAdjusted(data) => self.item(&data.fee_item, data.billing_year).adjusted += data.change,
            Data::FeePaymentRequested(data) => self.belongs_to(&data.school, Some(data.student)),
            Data::FeePosted(data) => self.item(&data.fee_item, data.billing_year).posted += data.amount,
            Data::ConfirmationRevoked(data) => {
                if let (Some(fee_item), Some(billing_year)) = (&data.fee_item, data.billing_year) {
                    self.item(fee_item, billing_year).posted -= data.amount;
                }
            }
            // Nobody has paid it any more, so the student owes it again, until the school waives it.
            Data::ChargebackClosed(data) => {
                if let (Some(fee_item), Some(billing_year)) = (&data.fee_item, data.billing_year) {
                    self.item(fee_item, billing_year).posted -= data.borne_by_beneficiary();
                }
            }
            _ => {}
        }
    }

    fn belongs_to(&mut self, school: &Name, student: Option<Uuid>) {
        self.school = self.school.take().max(Some(school.clone()));
        self.student = self.student.max(student);
    }

    fn item(&mut self, fee_item: &str, billing_year: u16) -> &mut FeeItem {
        let new = || FeeItem { fee_item: fee_item.to_owned(), billing_year, ..FeeItem::default() };
        self.items.entry(key(fee_item, billing_year)).or_insert_with(new)
    }

    /// Notes where a payment stands after a change.
    pub fn note(&mut self, order_id: &str, order: &Order) {
        match UnderWay::of(order) {
            Some(under_way) => self.under_way.insert(order_id.to_owned(), under_way),
            None => self.under_way.remove(order_id),
        };
    }

    /// What can still be paid of an item, payments under way left out.
    pub fn payable(&self, line: &FeeLine) -> Option<(&FeeItem, Balance)> {
        let key = key(&line.fee_item, line.billing_year);
        let item = self.items.get(&key).filter(|item| item.assessed.is_some())?;
        Some((item, item.outstanding() - self.in_hand(item)))
    }

    /// What payments under way are to pay of an item.
    pub fn in_hand(&self, item: &FeeItem) -> Amount {
        let key = key(&item.fee_item, item.billing_year);
        self.under_way.values().filter_map(|payment| payment.lines.get(&key)).copied().sum()
    }

    /// What is owed in all.
    pub fn arrears(&self) -> Balance {
        self.items.values().map(FeeItem::outstanding).sum()
    }

    /// Payments that lapse at or before `now` unless they are paid.
    pub fn lapsing(&self, now: LogTime) -> impl Iterator<Item = &str> {
        let lapses = move |payment: &UnderWay| payment.lapses_at.is_some_and(|at| at <= now);
        self.under_way.iter().filter(move |(_, payment)| lapses(payment)).map(|(id, _)| id.as_str())
    }
}

impl UnderWay {
    /// `None` for a payment that has nothing in hand: not yet judged, refused, lapsed, posted or given back.
    fn of(order: &Order) -> Option<Self> {
        let RequestData::FeePayment(request) = &order.request.as_ref()?.data else { return None };
        order.admission.as_ref()?;
        let lapses_at = if order.has_money() {
            match order.confirmation.answer() {
                Answer::None | Answer::Uncertain if order.keeps_money() => None,
                Answer::None | Answer::Uncertain | Answer::Failed | Answer::Confirmed => return None,
            }
        } else {
            Some(order.lapses_at()?)
        };
        let posted = &order.confirmation.lines;
        let open = request.lines.iter().filter(|line| !posted.contains_key(&line.line));
        let lines = open.map(|line| (key(&line.fee_item, line.billing_year), line.amount)).collect();
        Some(Self { lines, lapses_at })
    }
}

#[cfg(test)]
mod tests;
