//! Refunds: decided here, at most once per capture and slot, and never for more than is left of the capture.
//!
//! The saga refunds on an explicit failure, a duplicate or a wrong amount; a person may ask for one. An uncertain
//! outcome refunds nobody.

use chrono::TimeDelta;
use schemas::{Amount, Data, Name, events::*};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    LogTime,
    confirmation::{Answer, wanted_amount},
    coordinator::{Decision, Guard},
    is_default,
    order::{Capture, Order},
    policy::Policy,
    purchase,
};

/// Chosen once: every refund id is derived under it.
const REFUND_NAMESPACE: Uuid = Uuid::from_u128(0x0b8e_5f0c_7a52_4d7e_9a36_6c1d_f2ab_41d3);

/// Everything the log says about one refund; events may arrive in any order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refund {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<RefundReason>,
    /// Asked for by a person or channel: how much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<RefundRejectionReason>,
    #[serde(skip_serializing_if = "is_default")]
    #[serde(with = "schemas::total")]
    pub initiated: Amount,
    /// The coordinator has read the decision back from the log.
    #[serde(skip_serializing_if = "is_default")]
    pub read_back: bool,
    /// The last try that was submitted.
    #[serde(skip_serializing_if = "is_default")]
    pub submitted: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitted_at: Option<LogTime>,
    /// The last try that definitely failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedTry>,
    #[serde(skip_serializing_if = "is_default")]
    #[serde(with = "schemas::total")]
    pub completed: Amount,
    #[serde(skip_serializing_if = "is_default")]
    #[serde(with = "schemas::total")]
    pub returned: Amount,
    #[serde(skip_serializing_if = "is_default")]
    #[serde(with = "schemas::total")]
    pub cancelled: Amount,
    /// The executor had it before it could be cancelled.
    #[serde(skip_serializing_if = "is_default")]
    pub uncancellable: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub escalated: bool,
    #[serde(skip_serializing_if = "is_default")]
    #[serde(with = "schemas::total")]
    pub paid_manually: Amount,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub amount: Amount,
    pub by: RefundOrigin,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FailedTry {
    pub tries: u8,
    pub final_: bool,
    pub code: String,
    pub recorded_at: LogTime,
}

impl Refund {
    pub fn apply(&mut self, data: &Data, recorded_at: LogTime) {
        match data {
            Data::RefundRequested(data) => {
                // Once it is decided, nobody's words change what it is a refund of.
                if self.initiated.is_zero() {
                    self.capture_id = Some(data.capture_id);
                    self.reason = Some(data.reason);
                }
                self.asked = Some(Asked { amount: data.amount, by: data.by });
            }
            Data::RefundRejected(data) => self.rejected = Some(data.reason),
            Data::RefundInitiated(data) => {
                self.capture_id = Some(data.capture_id);
                self.channel = Some(data.channel.clone());
                self.reason = Some(data.reason);
                self.initiated += data.amount;
            }
            Data::RefundSubmitted(data) => {
                self.submitted = self.submitted.max(data.tries);
                self.submitted_at = self.submitted_at.max(Some(recorded_at));
            }
            Data::RefundCompleted(data) => self.completed += data.amount,
            Data::RefundFailed(data) => {
                let failed =
                    FailedTry { tries: data.tries, final_: !data.retryable, code: data.code.clone(), recorded_at };
                self.failed = self.failed.take().max(Some(failed));
            }
            Data::RefundReturned(data) => self.returned += data.amount,
            Data::RefundCancelled(data) => self.cancelled += data.amount,
            Data::RefundEscalated(_) => self.escalated = true,
            Data::RefundPaidManually(data) => self.paid_manually += data.amount,
            other => debug_assert!(false, "{} is not about a refund", other.event_type()),
        }
    }

    /// What reached the payer and stayed there.
    pub fn refunded(&self) -> Amount {
        (self.completed + self.paid_manually).saturating_sub(self.returned)
    }

    /// Decided and not yet with the payer.
    pub fn open(&self) -> Amount {
        self.initiated.saturating_sub(self.cancelled).saturating_sub(self.refunded())
    }

    /// What no other refund may use: decided, or already with the payer.
    pub fn committed(&self) -> Amount {
        self.initiated.saturating_sub(self.cancelled).max(self.refunded())
    }

    /// The number that names this refund to the channel, the same on every try.
    pub fn request_no(id: Uuid) -> String {
        format!("R{}", id.simple())
    }

    /// The next call to the channel and when it is due; `None` when no call is wanted.
    pub fn next_try(&self, policy: &Policy) -> Option<(u8, Option<LogTime>)> {
        if self.open().is_zero() || self.escalated || !self.completed.is_zero() {
            return None;
        }
        match &self.failed {
            None => Some((self.submitted.max(1), None)),
            Some(failed) if self.submitted > failed.tries => Some((self.submitted, None)),
            Some(failed) if failed.final_ => None,
            Some(failed) => {
                let wait = policy.refund_retry_s.get(usize::from(failed.tries).checked_sub(1)?)?;
                Some((failed.tries.checked_add(1)?, Some(failed.recorded_at + TimeDelta::seconds((*wait).into()))))
            }
        }
    }
}

/// The identity of the saga's one refund of a capture. The reason is no part of it, so that no re-run under any
/// policy can make a second one.
pub fn automatic_refund_id(capture: Uuid) -> Uuid {
    Uuid::new_v5(&REFUND_NAMESPACE, format!("{capture}/auto").as_bytes())
}

/// What is to be decided about refunds, one decision at a time.
pub(crate) fn decide(order: &Order, now: LogTime, policy: &Policy) -> Option<Decision> {
    cancel(order).or_else(|| automatic(order)).or_else(|| asked_for(order)).or_else(|| escalate(order, now, policy))
}

/// What has become wrong before it was sent is not sent: it was confirmed meanwhile, or the payer's bank took it back.
fn cancel(order: &Order) -> Option<Decision> {
    let claimed = order.confirmation.standing() + order.refunded() + order.refund_open();
    let confirmed = order.confirmation.confirmed.is_some()
        && order.confirmation.revoked.is_zero()
        && claimed > order.net_captured();
    let (id, refund, why) = order.refunds.iter().find_map(|(id, refund)| {
        let capture = order.captures.iter().find(|capture| Some(capture.id) == refund.capture_id)?;
        let can_be_stopped = !refund.open().is_zero() && refund.submitted == 0 && !refund.uncancellable;
        let of_the_order =
            automatic_refund_id(capture.id) == *id && refund.reason != Some(RefundReason::DuplicateCapture);
        let why = match () {
            () if !can_be_stopped => return None,
            () if order.is_charged_back_beyond(capture) => "the payer's bank took the money back before it was sent",
            () if confirmed && of_the_order => "it was confirmed before the refund was sent",
            () => return None,
        };
        Some((id, refund, why))
    })?;
    let data = RefundCancelled {
        refund_id: *id,
        amount: refund.open(),
        reason: why.to_owned(),
        method: method_of(order, refund.capture_id),
    };
    Some(Decision { data: data.into(), guard: Some(Guard::RefundNotClaimed(*id)) })
}

fn automatic(order: &Order) -> Option<Decision> {
    let funding = order.funding_capture()?;
    let of_funding = funding_refund(order, funding).map(|(amount, reason)| (funding, amount, reason));
    let duplicates = order.standing_captures().skip(1);
    let duplicates = duplicates.map(|capture| (capture, order.refundable(capture), RefundReason::DuplicateCapture));
    let undecided = |capture: &Capture, amount: Amount| {
        let own = order.refunds.get(&automatic_refund_id(capture.id));
        own.is_none_or(|refund| refund.initiated.is_zero()) && !amount.is_zero()
    };
    let mut due = of_funding.into_iter().chain(duplicates);
    let (capture, amount, reason) = due.find(|(capture, amount, _)| undecided(capture, *amount))?;
    Some(initiate(order, automatic_refund_id(capture.id), capture, amount, reason, RefundOrigin::Saga))
}

/// What of the money that funds the order must go back, and why; `None` while none need to.
fn funding_refund(order: &Order, funding: &Capture) -> Option<(Amount, RefundReason)> {
    let request = order.request.as_ref()?;
    let left = order.refundable(funding);
    // What has been booked, credited or posted stays there, also when it is undone later: then a person asks.
    let fulfilled = order.confirmation.confirmed.unwrap_or_default().debit();
    match order.confirmation.answer() {
        Answer::Failed => {
            let late = order.expired_at.is_some_and(|expired| expired <= funding.recorded_at);
            let reason = match () {
                () if order.rejection().is_some() => RefundReason::OrderRejected,
                () if late => RefundReason::LateCapture,
                () => RefundReason::ConfirmationFailed,
            };
            Some((left.saturating_sub(fulfilled), reason))
        }
        Answer::Confirmed if funding.amount > request.data.amount() && !order.confirmation.lines_are_missing() => {
            let surplus = (funding.amount - request.data.amount()).debit();
            Some((left.min(surplus), RefundReason::AmountMismatch))
        }
        // A purchase is posted, or refused and then pays for nothing.
        Answer::None if request.data.is_purchase() => {
            purchase::is_refused_for_good(order).then_some((left, RefundReason::OrderRejected))
        }
        Answer::None if order.is_to_be_undone() => Some((left, RefundReason::ReversalFailed)),
        Answer::None if wanted_amount(order, funding).is_none() => Some((left, RefundReason::AmountMismatch)),
        Answer::None | Answer::Uncertain | Answer::Confirmed => None,
    }
}

fn initiate(
    order: &Order,
    refund_id: Uuid,
    capture: &Capture,
    amount: Amount,
    reason: RefundReason,
    by: RefundOrigin,
) -> Decision {
    let method = method_of(order, Some(capture.id));
    let data = RefundInitiated {
        refund_id,
        capture_id: capture.id,
        channel: capture.channel.clone(),
        amount,
        reason,
        by,
        method,
    };
    Decision { data: data.into(), guard: None }
}

/// Told only where the books must know it: a debit by withholding was the receivable's money.
fn method_of(order: &Order, capture: Option<Uuid>) -> Option<Method> {
    let capture = order.captures.iter().find(|known| Some(known.id) == capture)?;
    (capture.method == Method::Withholding).then_some(Method::Withholding)
}

/// A person or channel asked: initiate, or say why not.
fn asked_for(order: &Order) -> Option<Decision> {
    let open = |refund: &&Refund| refund.asked.is_some() && refund.initiated.is_zero() && refund.rejected.is_none();
    let (id, refund) = order.refunds.iter().find(|(_, refund)| open(refund))?;
    let asked = refund.asked.as_ref()?;
    let capture = order.captures.iter().find(|capture| Some(capture.id) == refund.capture_id);
    // The saga's own refunds can be asked for by nobody else, whichever capture they name.
    let reserved = order.captures.iter().any(|capture| automatic_refund_id(capture.id) == *id);
    let judged = if reserved {
        Err(RefundRejectionReason::ReservedId)
    } else {
        judge(order, capture, asked.amount, refund.reason)
    };
    match judged {
        Ok(capture) => {
            Some(initiate(order, *id, capture, asked.amount, refund.reason.unwrap_or(RefundReason::Customer), asked.by))
        }
        Err(reason) => {
            let message = explain(reason).to_owned();
            Some(Decision { data: RefundRejected { refund_id: *id, reason, message }.into(), guard: None })
        }
    }
}

fn judge<'a>(
    order: &Order,
    capture: Option<&'a Capture>,
    amount: Amount,
    reason: Option<RefundReason>,
) -> Result<&'a Capture, RefundRejectionReason> {
    let capture = capture.ok_or(RefundRejectionReason::CaptureNotFound)?;
    if amount > order.refundable(capture) {
        return Err(RefundRejectionReason::AboveRefundable);
    }
    let left = order.net_captured() - order.refunded() - order.refund_open() - amount;
    let given_up = order.purchase.as_ref().map_or(Amount::ZERO, |purchase| purchase.given_up);
    // Nobody is to be asked about a payment of which nobody knows whose it is.
    let is_of_nobody = order.request.is_none() && reason == Some(RefundReason::UnknownOrder);
    match order.confirmation.answer() {
        Answer::None if is_of_nobody => Ok(capture),
        // Only what is not booked, credited or posted may go back, or what others pay for by now.
        Answer::Confirmed if left < order.confirmation.standing() - given_up => {
            Err(RefundRejectionReason::AlreadyFulfilled)
        }
        Answer::Confirmed | Answer::Failed => Ok(capture),
        Answer::None | Answer::Uncertain => Err(RefundRejectionReason::OutcomeOpen),
    }
}

fn explain(reason: RefundRejectionReason) -> &'static str {
    match reason {
        RefundRejectionReason::AboveRefundable => "more than is left of this capture",
        RefundRejectionReason::CaptureNotFound => "the order has no such capture",
        RefundRejectionReason::AlreadyFulfilled => "it has been booked, credited or posted; that must be revoked first",
        RefundRejectionReason::ReservedId => "this refund_id belongs to the ledger's own refund; choose another",
        RefundRejectionReason::OutcomeOpen => "the outcome is open; settle it with a ConfirmationResolved first",
    }
}

/// The channel will not do it, or has not said for too long whether it did: a person must look.
fn escalate(order: &Order, now: LogTime, policy: &Policy) -> Option<Decision> {
    let (id, reason) = order.refunds.iter().find_map(|(id, refund)| Some((id, refund.needs_a_person(now, policy)?)))?;
    Some(Decision::from(Data::from(RefundEscalated { refund_id: *id, case_no: format!("E{}", id.simple()), reason })))
}

/// When an unanswered refund will need a person.
pub(crate) fn escalates_at(order: &Order, policy: &Policy) -> Option<LogTime> {
    order.refunds.values().filter_map(|refund| refund.escalates_at(policy)).min()
}

impl Refund {
    fn is_unanswered(&self) -> bool {
        let failed = self.failed.as_ref().map_or(0, |failed| failed.tries);
        self.submitted > failed && self.completed.is_zero()
    }

    fn escalates_at(&self, policy: &Policy) -> Option<LogTime> {
        let waits = !self.escalated && !self.open().is_zero() && self.is_unanswered();
        self.submitted_at.filter(|_| waits).map(|at| at + policy.refund_escalation(self.channel.as_ref()))
    }

    fn needs_a_person(&self, now: LogTime, policy: &Policy) -> Option<String> {
        if self.escalated || self.open().is_zero() {
            None
        } else if !self.returned.is_zero() {
            Some("the refund bounced".to_owned())
        } else if !self.completed.is_zero() {
            Some("the channel refunded only a part".to_owned())
        } else if self.escalates_at(policy).is_some_and(|at| at <= now) {
            Some("the channel has not said whether it refunded".to_owned())
        } else {
            let failed = self.failed.as_ref().filter(|_| self.next_try(policy).is_none())?;
            // A decision may not be larger than the log takes.
            Some(format!("the channel refuses the refund: {:.200}", failed.code))
        }
    }
}
