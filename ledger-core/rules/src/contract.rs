//! A loan contract: what its orders have done to it. Admission asks it whether another attempt may start, the view of
//! contracts shows it.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset, NaiveDate};
use schemas::{Amount, Balance, Data, Event, Name, events::*};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{LogTime, business_day::business_day, confirmation::Answer, order::Order};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoanContract {
    /// The newest request's words for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<EnrolmentState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<Quote>,
    /// Attempts to pay that stand in the way of others, by order number: one a day at the most, so they stay few.
    pub attempts: BTreeMap<String, Attempt>,
    /// Confirmed by the bank, and neither revoked nor lost to a dispute that the bank bears, over all time.
    pub repaid: Balance,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Terms {
    pub as_of: DateTime<FixedOffset>,
    pub contract: String,
    pub contract_type: String,
    pub student: Uuid,
    pub beneficiary: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EnrolmentState {
    pub checked_at: DateTime<FixedOffset>,
    pub result: Enrolment,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Quote {
    pub as_of: DateTime<FixedOffset>,
    pub outstanding: Option<Amount>,
    pub overdue: Option<Amount>,
}

/// What one order means for the next one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The business day of the request.
    pub day: NaiveDate,
    pub standing: Standing,
    /// When it lapses if nothing is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lapses_at: Option<LogTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Waiting for the payment or for the bank (在途).
    InFlight,
    /// The bank does not know.
    Uncertain,
    Confirmed,
}

impl LoanContract {
    /// Adds what an event says about the contract itself.
    pub fn apply(&mut self, event: &Event) {
        match &event.data {
            Data::RepaymentRequested(data) => {
                let terms = Terms {
                    as_of: event.occurred_at,
                    contract: data.contract.clone(),
                    contract_type: data.contract_type.clone(),
                    student: data.student,
                    beneficiary: data.beneficiary.clone(),
                };
                self.terms = self.terms.take().max(Some(terms));
                self.checked(data.enrolment.checked_at, data.enrolment.result);
                if data.quote.found {
                    self.quoted(data.quote.as_of, data.quote.outstanding, data.quote.overdue);
                }
            }
            Data::RepaymentEnrolmentChecked(data) => self.checked(data.checked_at, data.result),
            Data::LoanContractQuoted(data) => self.quoted(data.as_of, data.outstanding, data.overdue),
            Data::ChargebackClosed(data) => self.repaid -= data.borne_by_beneficiary(),
            _ => {}
        }
    }

    fn checked(&mut self, checked_at: DateTime<FixedOffset>, result: Enrolment) {
        self.enrolment = self.enrolment.take().max(Some(EnrolmentState { checked_at, result }));
    }

    fn quoted(&mut self, as_of: DateTime<FixedOffset>, outstanding: Option<Amount>, overdue: Option<Amount>) {
        self.quote = self.quote.take().max(Some(Quote { as_of, outstanding, overdue }));
    }

    /// Notes where an order stands after a change; `booked_before` is what the bank had booked for it until then.
    pub fn note(&mut self, order_id: &str, order: &Order, booked_before: Balance) {
        self.repaid += order.confirmation.standing() - booked_before;
        match Attempt::of(order) {
            Some(attempt) => self.attempts.insert(order_id.to_owned(), attempt),
            None => self.attempts.remove(order_id),
        };
    }

    /// Days on which more than one repayment was booked, against the rule of one a day.
    pub fn crowded_days(&self) -> impl Iterator<Item = NaiveDate> {
        let mut booked = BTreeMap::<NaiveDate, u32>::new();
        for attempt in self.attempts.values().filter(|attempt| attempt.standing == Standing::Confirmed) {
            *booked.entry(attempt.day).or_default() += 1;
        }
        booked.into_iter().filter(|(_, count)| *count > 1).map(|(day, _)| day)
    }

    /// The day of the last repayment that was booked.
    pub fn last_repaid_on(&self) -> Option<NaiveDate> {
        let booked = self.attempts.values().filter(|attempt| attempt.standing == Standing::Confirmed);
        booked.map(|attempt| attempt.day).max()
    }

    /// Orders that lapse at or before `now` unless they are paid.
    pub fn lapsing(&self, now: LogTime) -> impl Iterator<Item = &str> {
        self.attempts
            .iter()
            .filter(move |(_, attempt)| attempt.lapses_at.is_some_and(|at| at <= now))
            .map(|(id, _)| id.as_str())
    }
}

impl Attempt {
    /// `None` for an order that stands in nobody's way: not yet judged, refused, lapsed, failed or given back.
    fn of(order: &Order) -> Option<Self> {
        let request = order.request.as_ref()?;
        order.admission.as_ref()?;
        let day = business_day(&request.recorded_at);
        let attempt = |standing, lapses_at| Some(Self { day, standing, lapses_at });
        if order.confirmation.standing() > Balance::ZERO {
            return attempt(Standing::Confirmed, None);
        }
        if order.keeps_money() {
            return match order.confirmation.answer() {
                Answer::Uncertain => attempt(Standing::Uncertain, None),
                Answer::None | Answer::Confirmed | Answer::Failed => attempt(Standing::InFlight, None),
            };
        }
        order.lapses_at().and_then(|until| attempt(Standing::InFlight, Some(until)))
    }
}
