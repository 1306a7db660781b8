//! Breaks: combinations that may not last. They follow from what the log says about an order or contract, and are gone
//! when the log says more.

use chrono::TimeDelta;
use schemas::{Amount, Balance};

use crate::{LogTime, confirmation::Answer, order::Order, policy::Policy, purchase};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BreakClass {
    /// The bank booked money that has also gone back to the payer.
    ConfirmedAfterRefund,
    /// The bank booked a repayment of which no capture is known.
    ConfirmedWithoutCapture,
    /// A capture names an order that nobody requested.
    CaptureWithoutRequest,
    /// More went back to the payer than was taken.
    RefundedTooMuch,
    /// The bank booked more than one repayment of a contract on one day.
    SecondRepaymentOfTheDay,
    /// Money that was captured has waited too long for any answer of the bank, the card host or the school.
    ConfirmationOverdue,
    /// A slip or screen told the payer of a success that nobody has confirmed.
    SuccessShownUnconfirmed,
    /// A purchase was made outside of the offline window, and no person has decided about it.
    LateOfflinePurchase,
    /// The same fact was reported again with other business fields; the first report stands.
    ConflictingRepeat,
}

impl BreakClass {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmedAfterRefund => "confirmed_after_refund",
            Self::ConfirmedWithoutCapture => "confirmed_without_capture",
            Self::CaptureWithoutRequest => "capture_without_request",
            Self::RefundedTooMuch => "refunded_too_much",
            Self::SecondRepaymentOfTheDay => "second_repayment_of_the_day",
            Self::ConfirmationOverdue => "confirmation_overdue",
            Self::SuccessShownUnconfirmed => "success_shown_unconfirmed",
            Self::LateOfflinePurchase => "late_offline_purchase",
            Self::ConflictingRepeat => "conflicting_repeat",
        }
    }
}

/// A break that stands now. It counts as open once its grace is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Break {
    pub class: BreakClass,
    /// The money in question.
    pub amount: Amount,
    pub grace_until: LogTime,
}

/// The breaks of an order; positions and other orders play no part.
pub fn breaks_of(order: &Order, policy: &Policy) -> Vec<Break> {
    let confirmed = order.confirmation.standing();
    let captured = !order.captures.is_empty();
    let beyond = confirmed + order.refunded() - order.net_captured();
    let mut breaks = Vec::new();
    let mut add = |class, amount: Balance, since: Option<LogTime>, grace: TimeDelta| {
        if let Some(since) = since {
            breaks.push(Break { class, amount: amount.debit(), grace_until: since + grace });
        }
    };
    let first_capture = order.captures.iter().map(|capture| capture.recorded_at).min();
    if captured && confirmed > Balance::ZERO && !order.refunded().is_zero() && beyond > Balance::ZERO {
        add(BreakClass::ConfirmedAfterRefund, beyond, order.confirmation.confirmed_at, TimeDelta::zero());
    }
    let is_purchase = order.purchase.as_ref().is_some_and(|purchase| purchase.posted.is_some());
    if !captured && confirmed > Balance::ZERO && !is_purchase {
        add(BreakClass::ConfirmedWithoutCapture, confirmed, order.confirmation.confirmed_at, policy.capture_grace());
    }
    // An uncertain answer is one: it ages, and is shown with what is not finished.
    let waits = matches!(order.confirmation.answer(), Answer::None);
    let kept = order.net_captured() - order.refunded() - order.refund_open() - order.charged_back();
    if kept > Balance::ZERO && order.request.is_none() {
        add(BreakClass::CaptureWithoutRequest, kept, first_capture, policy.capture_grace());
    }
    if waits && kept > Balance::ZERO && order.request.is_some() {
        add(BreakClass::ConfirmationOverdue, kept, first_capture, policy.confirmation_grace());
    }
    if order.confirmation.confirmed.is_none() && !is_purchase {
        let amount = order.requested().into();
        add(BreakClass::SuccessShownUnconfirmed, amount, order.success_shown_at, TimeDelta::zero());
    }
    if purchase::waits_for_a_person(order) {
        let since = order.request.as_ref().map(|request| request.recorded_at);
        add(BreakClass::LateOfflinePurchase, order.requested().into(), since, TimeDelta::zero());
    }
    let too_much = Balance::from(order.refunded()) - order.net_captured();
    if captured && too_much > Balance::ZERO {
        add(BreakClass::RefundedTooMuch, too_much, first_capture, TimeDelta::zero());
    }
    breaks
}
