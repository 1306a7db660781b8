//! Fulfilment (还款成功, as opposed to 交易成功): the bank books a repayment, the card host credits a card, the school posts
//! fees. It is asked for after a capture. An uncertain answer never leads to a refund; only an explicit "no" does.

use std::collections::BTreeMap;

use chrono::{NaiveDate, TimeDelta};
use schemas::{Amount, Balance, Data, events::*};
use serde::{Deserialize, Serialize};

use crate::{
    LogTime, is_default,
    order::{Capture, Order, RequestData},
    policy::Policy,
};

/// Everything the log says about the fulfilment of one order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confirmation {
    /// How often whoever fulfils has been asked.
    #[serde(skip_serializing_if = "is_default")]
    pub asked: u8,
    /// The last question that the coordinator has read back from the log.
    #[serde(skip_serializing_if = "is_default")]
    pub asked_read_back: u8,
    /// The last try that was answered at all, and when.
    #[serde(skip_serializing_if = "is_default")]
    pub answered: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<LogTime>,
    /// The last try that was refused for now, and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub put_off: Option<PutOff>,
    /// What was booked, credited or posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Balance>,
    /// Of a fee payment: what was posted, by line, and how many lines there are.
    #[serde(skip_serializing_if = "is_default")]
    pub lines: BTreeMap<u16, Amount>,
    #[serde(skip_serializing_if = "is_default")]
    pub lines_wanted: u16,
    /// Of a top-up: whether it must be written to the card, and what has been.
    #[serde(skip_serializing_if = "is_default")]
    pub pending_load: bool,
    #[serde(skip_serializing_if = "is_default")]
    #[serde(with = "schemas::total")]
    pub loaded: Amount,
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
    #[serde(skip_serializing_if = "is_default")]
    pub resolved_failed: bool,
    /// A file or a person settled it as booked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_confirmed: Option<Evidence>,
    #[serde(skip_serializing_if = "is_default")]
    #[serde(with = "schemas::total")]
    pub revoked: Amount,
}

/// An answer of "not now".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PutOff {
    pub tries: u8,
    pub code: String,
    pub recorded_at: LogTime,
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
                self.confirm(data.amount, recorded_at);
                self.booked_date = data.booked_date;
                self.bank_ref = data.bank_ref.clone();
            }
            Data::CardCredited(data) => {
                self.confirm(data.amount, recorded_at);
                self.pending_load = data.mode == CreditMode::PendingLoad;
                self.bank_ref = data.host_ref.clone();
            }
            Data::CardValueLoaded(data) => self.loaded += data.amount,
            Data::FeePosted(data) => {
                let posted = self.confirmed.unwrap_or_default() + data.amount;
                self.confirm(posted, recorded_at);
                self.lines.insert(data.line, data.amount);
                self.bank_ref = self.bank_ref.take().max(data.school_ref.clone());
            }
            // What was bought counts at once; the debit follows.
            Data::PurchasePosted(data) => self.confirm(data.amount, recorded_at),
            Data::ConfirmationFailed(data) if data.retryable => {
                let put_off = PutOff { tries: data.tries, code: data.code.clone(), recorded_at };
                self.put_off = self.put_off.take().max(Some(put_off));
                self.answer_to(data.tries, recorded_at);
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

    fn confirm(&mut self, amount: impl Into<Balance>, recorded_at: LogTime) {
        self.confirmed = Some(amount.into());
        self.confirmed_at = self.confirmed_at.max(Some(recorded_at));
    }

    fn answer_to(&mut self, tries: u8, recorded_at: LogTime) {
        self.answered = self.answered.max(tries);
        self.answered_at = self.answered_at.max(Some(recorded_at));
    }

    pub fn answer(&self) -> Answer {
        if self.is_whole() || self.resolved_confirmed.is_some() {
            Answer::Confirmed
        } else if self.failed.is_some() || self.resolved_failed {
            Answer::Failed
        } else if self.uncertain.is_some() {
            Answer::Uncertain
        } else {
            Answer::None
        }
    }

    /// Whether neither this question nor a later one was answered, and nothing has settled them. What was, stays so.
    pub fn lacks_answer_to(&self, tries: u8) -> bool {
        self.answered < tries && matches!(self.answer(), Answer::None | Answer::Uncertain)
    }

    /// Whether everything that was to be fulfilled is: of a fee payment, each line.
    fn is_whole(&self) -> bool {
        self.confirmed.is_some() && self.lines.len() >= usize::from(self.lines_wanted)
    }

    /// Somebody said that all of it is done, and its facts are still to come.
    pub fn lines_are_missing(&self) -> bool {
        !self.is_whole()
    }

    /// Credited and not yet on the card.
    pub fn is_to_be_loaded(&self) -> bool {
        self.pending_load && self.standing() > Balance::from(self.loaded)
    }

    /// Booked and not undone.
    pub fn standing(&self) -> Balance {
        self.confirmed.unwrap_or_default() - self.revoked
    }
}

/// What is to be fulfilled out of a capture, if anything: what was asked for, where the captured amount allows it.
pub fn wanted_amount(order: &Order, capture: &Capture) -> Option<Amount> {
    let asked = order.requested();
    match &order.request.as_ref()?.data {
        // The bank would book another amount than the payer asked for, so it is not asked at all.
        RequestData::Repayment(_) => (capture.amount == asked).then_some(asked),
        RequestData::TopUp(_) => Some(capture.amount.min(asked)),
        // Less can be posted only where it is told to which item.
        RequestData::FeePayment(_) if capture.amount >= asked => Some(asked),
        RequestData::FeePayment(data) => (data.lines.len() == 1 && order.instalments_allowed).then_some(capture.amount),
        RequestData::Purchase(_) | RequestData::OfflinePurchase(_) => None,
    }
}

/// Whether asking moves value: a card host credits and a school posts when they are asked, a bank only answers.
fn asking_moves_value(order: &Order) -> bool {
    !matches!(order.request.as_ref().map(|request| &request.data), Some(RequestData::Repayment(_)))
}

/// When whoever fulfils is to be asked next, if at all: at once after a capture, then on the policy's schedule for as long
/// as the answer is uncertain or "not now".
pub fn next_query_at(order: &Order, policy: &Policy) -> Option<LogTime> {
    let confirmation = &order.confirmation;
    let capture = order.funding_capture().filter(|capture| !order.refundable(capture).is_zero())?;
    wanted_amount(order, capture)?;
    let after = |at: LogTime, schedule: &[u32], tries: u8| {
        let wait = schedule.get(usize::from(tries).checked_sub(1)?)?;
        Some(at + TimeDelta::seconds((*wait).into()))
    };
    match confirmation.answer() {
        Answer::None if confirmation.asked == 0 => (!order.is_to_be_undone()).then_some(capture.recorded_at),
        Answer::None | Answer::Uncertain if confirmation.was_put_off() => {
            let put_off = confirmation.put_off.as_ref()?;
            after(put_off.recorded_at, &policy.fulfilment_retry_s, put_off.tries)
        }
        // The executor itself finds out what became of a call that moves value.
        Answer::Uncertain if confirmation.answered >= confirmation.asked && !asking_moves_value(order) => {
            after(confirmation.answered_at?, &policy.confirmation_retry_s, confirmation.answered)
        }
        Answer::None | Answer::Uncertain | Answer::Failed | Answer::Confirmed => None,
    }
}

impl Confirmation {
    /// The last question was answered with "not now".
    fn was_put_off(&self) -> bool {
        self.put_off.as_ref().is_some_and(|put_off| put_off.tries >= self.asked)
    }
}

/// The next question, or what a "confirmed" of a person or file stands for, or the end of all tries.
pub(crate) fn decide(order: &Order, now: LogTime, policy: &Policy) -> Option<Data> {
    let confirmation = &order.confirmation;
    let request = order.request.as_ref()?;
    let target = request.data.beneficiary().clone();
    if let (Some(evidence), false, Some(capture)) =
        (confirmation.resolved_confirmed, confirmation.is_whole(), order.funding_capture())
    {
        return fulfilled(order, capture, evidence);
    }
    let Some(at) = next_query_at(order, policy) else {
        // Every try was refused for now: that is a "no" after all, and nothing was done.
        let over = confirmation.was_put_off() && confirmation.answer() == Answer::None && order.has_money();
        return over.then(|| {
            let by = "ledger".to_owned();
            ConfirmationResolved { target, outcome: Resolution::Failed, evidence: Evidence::SyncResponse, by }.into()
        });
    };
    if at > now {
        return None;
    }
    let tries = confirmation.asked.max(confirmation.answered).checked_add(1)?;
    Some(ConfirmationRequested { target, tries }.into())
}

/// The fact that "confirmed" stands for; of a fee payment, that of the first line that is missing.
fn fulfilled(order: &Order, capture: &Capture, evidence: Evidence) -> Option<Data> {
    let request = order.request.as_ref()?;
    let target = request.data.beneficiary().clone();
    let amount = wanted_amount(order, capture).unwrap_or(capture.amount);
    match &request.data {
        RequestData::Repayment(_) => {
            let (bank_ref, booked_date, principal, interest) = (None, None, None, None);
            Some(RepaymentConfirmed { target, amount, bank_ref, booked_date, principal, interest, evidence }.into())
        }
        RequestData::TopUp(_) => {
            let (mode, host_ref, balance_after) = (CreditMode::Online, None, None);
            Some(CardCredited { target, amount, mode, host_ref, balance_after, evidence }.into())
        }
        RequestData::FeePayment(data) => {
            let line = data.lines.iter().find(|line| !order.confirmation.lines.contains_key(&line.line))?;
            Some(fee_posted(target, line, line.amount.min(amount), evidence))
        }
        RequestData::Purchase(_) | RequestData::OfflinePurchase(_) => None,
    }
}

fn fee_posted(target: schemas::Name, line: &FeeLine, amount: Amount, evidence: Evidence) -> Data {
    FeePosted {
        target,
        line: line.line,
        fee_item: line.fee_item.clone(),
        billing_year: line.billing_year,
        amount,
        remaining: None,
        school_ref: None,
        evidence,
    }
    .into()
}

/// Whether try `tries` still waits for its answer: the executor's task exists for exactly as long.
pub fn is_waiting(order: &Order, tries: u8) -> bool {
    let confirmation = &order.confirmation;
    confirmation.asked == tries && confirmation.lacks_answer_to(tries) && order.has_money()
}

/// Whether a call that moves value may go out no more, because a person has settled what became of it.
pub fn is_settled(order: &Order) -> bool {
    asking_moves_value(order) && matches!(order.confirmation.answer(), Answer::Failed | Answer::Confirmed)
}
