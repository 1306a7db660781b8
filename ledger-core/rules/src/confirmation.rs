//! The bank's answer (还款成功, as opposed to 交易成功): asked for after a capture, and asked again while it is
//! uncertain. An uncertain answer never leads to a refund; only an explicit "no" does.

use chrono::{NaiveDate, TimeDelta};
use schemas::{Amount, Balance, Data, events::*};
use serde::{Deserialize, Serialize};

use crate::{LogTime, order::Order, policy::Policy};

/// Everything the log says about the fulfilment of one order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confirmation {
    /// How often the bank has been asked.
    pub asked: u8,
    /// The last question that the coordinator has read back from the log.
    pub asked_read_back: u8,
    /// The last try that was answered at all, and when.
    pub answered: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<LogTime>,
    /// What the bank booked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<LogTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booked_date: Option<NaiveDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank_ref: Option<String>,
    /// The highest code of an explicit "no".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// The highest code of an uncertain answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncertain: Option<String>,
    /// A file or a person settled it as not booked.
    pub resolved_failed: bool,
    /// A file or a person settled it as booked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_confirmed: Option<Evidence>,
    pub revoked: Amount,
}

/// What all answers together say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    None,
    Uncertain,
    Failed,
    Confirmed,
}

impl Confirmation {
    pub fn apply(&mut self, data: &Data, recorded_at: LogTime) {
        match data {
            Data::ConfirmationRequested(data) => self.asked = self.asked.max(data.tries),
            Data::RepaymentConfirmed(data) => {
                self.confirmed = Some(data.amount);
                self.confirmed_at = Some(recorded_at);
                self.booked_date = data.booked_date;
                self.bank_ref = data.bank_ref.clone();
            }
            Data::ConfirmationFailed(data) => {
                self.failed = self.failed.take().max(Some(data.code.clone()));
                self.answer_to(data.tries, recorded_at);
            }
            Data::ConfirmationUncertain(data) => {
                self.uncertain = self.uncertain.take().max(Some(data.code.clone()));
                self.answer_to(data.tries, recorded_at);
            }
            Data::ConfirmationResolved(data) => match data.outcome {
                Resolution::Failed => self.resolved_failed = true,
                Resolution::Confirmed => self.resolved_confirmed = self.resolved_confirmed.max(Some(data.evidence)),
            },
            Data::ConfirmationRevoked(data) => self.revoked += data.amount,
            other => debug_assert!(false, "{} is not about a confirmation", other.event_type()),
        }
    }

    fn answer_to(&mut self, tries: u8, recorded_at: LogTime) {
        self.answered = self.answered.max(tries);
        self.answered_at = self.answered_at.max(Some(recorded_at));
    }

    pub fn answer(&self) -> Answer {
        if self.confirmed.is_some() || self.resolved_confirmed.is_some() {
            Answer::Confirmed
        } else if self.failed.is_some() || self.resolved_failed {
            Answer::Failed
        } else if self.uncertain.is_some() {
            Answer::Uncertain
        } else {
            Answer::None
        }
    }

    /// Booked and not undone.
    pub fn standing(&self) -> Balance {
        self.confirmed.unwrap_or_default() - self.revoked
    }
}

/// When the bank is to be asked next, if at all: at once after a capture, then on the policy's schedule for as long as
/// the answer is uncertain.
pub fn next_query_at(order: &Order, policy: &Policy) -> Option<LogTime> {
    let confirmation = &order.confirmation;
    let capture = order.funding_capture().filter(|capture| !order.refundable(capture).is_zero())?;
    match confirmation.answer() {
        Answer::None if confirmation.asked == 0 => Some(capture.recorded_at),
        Answer::Uncertain if confirmation.answered >= confirmation.asked => {
            let wait = policy.confirmation_retry_s.get(usize::from(confirmation.answered).checked_sub(1)?)?;
            Some(confirmation.answered_at? + TimeDelta::seconds((*wait).into()))
        }
        Answer::None | Answer::Uncertain | Answer::Failed | Answer::Confirmed => None,
    }
}

/// The next question to the bank, or the booking that a person's or file's "confirmed" stands for.
pub(crate) fn decide(order: &Order, now: LogTime, policy: &Policy) -> Option<Data> {
    let confirmation = &order.confirmation;
    let target = order.request.as_ref()?.data.beneficiary.clone();
    if let (Some(evidence), None, Some(capture)) =
        (confirmation.resolved_confirmed, confirmation.confirmed, order.funding_capture())
    {
        return Some(
            RepaymentConfirmed {
                target,
                amount: capture.amount,
                bank_ref: None,
                booked_date: None,
                principal: None,
                interest: None,
                evidence,
            }
            .into(),
        );
    }
    if next_query_at(order, policy)? > now {
        return None;
    }
    let tries = confirmation.asked.max(confirmation.answered).checked_add(1)?;
    Some(ConfirmationRequested { target, tries }.into())
}

/// Whether try `tries` still waits for its answer: the executor's task exists for exactly as long.
pub fn is_waiting(order: &Order, tries: u8) -> bool {
    let confirmation = &order.confirmation;
    confirmation.asked == tries
        && confirmation.answered < tries
        && order.has_money()
        && matches!(confirmation.answer(), Answer::None | Answer::Uncertain)
}
