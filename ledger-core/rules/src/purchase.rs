//! Spending on campus. A purchase counts first and is debited afterwards where withholding pays for it (先享后付): declined
//! debits are tried again on schedule, and what stays uncollected keeps its holder from further withholding.

use chrono::{DateTime, FixedOffset, TimeDelta};
use schemas::{Amount, Balance, Data, Name, events::*};
use serde::{Deserialize, Serialize};

use crate::{
    LogTime,
    business_day::business_day,
    card::Card,
    order::{Declined, Order, OrderStatus, RequestData},
    policy::{Policy, WindowFrom},
    refund::Refund,
};

/// What the log says about a purchase beyond its money at the channel; events may arrive in any order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Purchase {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posted: Option<PurchasePosted>,
    /// Given back by the merchant, to the card.
    #[serde(with = "schemas::total")]
    pub refunded: Amount,
    /// What a person decided about it, if it was late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<LatePurchaseOutcome>,
    /// The last debit that the coordinator has read back from the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debit: Option<Debit>,
    /// The coordinator gave up for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncollected: Option<String>,
    /// A person gave it up for good.
    #[serde(with = "schemas::total")]
    pub given_up: Amount,
}

/// A debit as it was decided. Its number stands for this amount, whatever is returned later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Debit {
    pub attempt: u16,
    pub amount: Amount,
}

impl Purchase {
    pub fn apply(&mut self, data: &Data) {
        match data {
            Data::PurchasePosted(data) => self.posted = Some(data.clone()),
            Data::PurchaseRefunded(data) => self.refunded += data.amount,
            Data::OfflinePurchaseResolved(data) => self.resolved = Some(data.outcome),
            Data::WithholdingUncollected(data) => match data.bearer {
                Some(_) => self.given_up += data.amount,
                None => self.uncollected = Some(data.last_code.clone()),
            },
            other => debug_assert!(false, "{} is not about a purchase", other.event_type()),
        }
    }

    /// What is still to be debited for it. Debits that went back, or are to, paid for nothing.
    pub fn receivable(&self, order: &Order) -> Balance {
        match &self.posted {
            Some(posted) if posted.funding == Funding::Withholding => {
                let back: Amount = order.refunds.values().map(Refund::committed).sum();
                order.confirmation.standing() - order.net_captured() + back - self.given_up
            }
            Some(_) | None => Balance::ZERO,
        }
    }

    pub fn is_uncollected(&self, order: &Order) -> bool {
        self.uncollected.is_some() && self.receivable(order) > Balance::ZERO
    }

    /// Where a purchase stands; `None` while it has not been posted.
    pub fn status(&self, order: &Order) -> Option<OrderStatus> {
        let posted = self.posted.as_ref()?;
        let returned = match posted.funding {
            Funding::Withholding => order.confirmation.revoked,
            Funding::CardBalance | Funding::Subsidy => self.refunded,
        };
        let owed = self.receivable(order);
        Some(if self.is_uncollected(order) {
            OrderStatus::Uncollected
        } else if owed > Balance::ZERO {
            OrderStatus::AwaitingDebit
        } else if owed < Balance::ZERO || !order.refund_open().is_zero() {
            // Returned, or given up and debited after all: the payer's money is still here.
            OrderStatus::RefundPending
        } else if returned >= posted.amount {
            OrderStatus::Refunded
        } else if !returned.is_zero() {
            OrderStatus::PartiallyRefunded
        } else {
            OrderStatus::Completed
        })
    }
}

/// Whether a purchase that is asked for online may go ahead.
fn judge(request: &PurchaseRequested, at: DateTime<FixedOffset>, card: &Card) -> Result<(), RejectionReason> {
    if card.is_suspended_at(at) {
        return Err(RejectionReason::CardSuspended);
    }
    if is_above_limit(card, at, request.amount) {
        return Err(RejectionReason::SpendingLimit);
    }
    if request.funding == Funding::Withholding {
        if card.mandate().is_none() {
            return Err(RejectionReason::NoMandate);
        }
        if !card.uncollected.is_empty() {
            return Err(RejectionReason::MandateBlocked);
        }
    }
    Ok(())
}

fn is_above_limit(card: &Card, at: DateTime<FixedOffset>, amount: Amount) -> bool {
    card.limit_at(at).is_some_and(|limit| card.spent_on(business_day(&at)) + amount > limit.into())
}

/// Whether an offline purchase was made within the time for which the campus code stands. A card that was read needs no
/// such time: its value was on it.
fn is_in_window(upload: &OfflinePurchaseUploaded, made_at: DateTime<FixedOffset>, policy: &Policy) -> bool {
    if upload.funding != Funding::Withholding {
        return true;
    }
    let from = match policy.offline.window_from {
        WindowFrom::CodeIssued => upload.code_issued_at,
        WindowFrom::TerminalOnline => upload.terminal_online_at.or(upload.code_issued_at),
    };
    from.is_some_and(|from| made_at - from <= TimeDelta::seconds(policy.offline.window_s.into()))
}

/// The answer to a purchase that has none yet: it is posted, or it is refused.
pub(crate) fn decide(order: &Order, card: &Card, policy: &Policy) -> Option<Data> {
    let request = order.request.as_ref()?;
    if order.purchase.as_ref().is_some_and(|purchase| purchase.posted.is_some()) {
        return None;
    }
    let made_at = request.occurred_at;
    match &request.data {
        RequestData::Purchase(_) if order.admission.is_some() => None,
        RequestData::Purchase(data) => Some(match judge(data, made_at, card) {
            Ok(()) => {
                post(&data.school, &data.merchant, data.amount, data.funding, made_at, Vec::new(), card.mandate())
            }
            Err(reason) => crate::admission::rejected(reason),
        }),
        RequestData::OfflinePurchase(data) => {
            let in_window = is_in_window(data, made_at, policy);
            let resolved = order.purchase.as_ref().and_then(|purchase| purchase.resolved);
            if !in_window && !policy.offline.late_at_operators_risk && resolved != Some(LatePurchaseOutcome::Accepted) {
                return order.admission.is_none().then(|| crate::admission::rejected(RejectionReason::CodeExpired));
            }
            let lag = data.uploaded_at - made_at > TimeDelta::seconds(policy.offline.upload_lag_s.into());
            let flags = [
                (is_above_limit(card, made_at, data.amount), PurchaseFlag::AboveLimit),
                (card.is_suspended_at(made_at), PurchaseFlag::CardSuspended),
                (lag, PurchaseFlag::UploadLag),
                (!in_window, PurchaseFlag::OutsideWindow),
            ];
            let flags = flags.into_iter().filter(|(holds, _)| *holds).map(|(_, flag)| flag).collect();
            Some(post(&data.school, &data.merchant, data.amount, data.funding, made_at, flags, card.any_mandate()))
        }
        RequestData::Repayment(_) | RequestData::TopUp(_) | RequestData::FeePayment(_) => None,
    }
}

/// Whether it was made offline and refused, so that a person decides about it.
pub fn waits_for_a_person(order: &Order) -> bool {
    let was_made = matches!(order.request.as_ref().map(|request| &request.data), Some(RequestData::OfflinePurchase(_)));
    let decided = order.purchase.as_ref().is_some_and(|purchase| purchase.resolved.is_some());
    was_made && order.rejection().is_some() && !decided
}

/// Whether it was refused and nobody can let it count any more.
pub(crate) fn is_refused_for_good(order: &Order) -> bool {
    order.rejection().is_some() && !waits_for_a_person(order)
}

fn post(
    school: &Name,
    merchant: &str,
    amount: Amount,
    funding: Funding,
    made_at: DateTime<FixedOffset>,
    flags: Vec<PurchaseFlag>,
    mandate: Option<&str>,
) -> Data {
    PurchasePosted {
        school: school.clone(),
        merchant: merchant.to_owned(),
        amount,
        funding,
        consumed_on: business_day(&made_at),
        flags,
        agreement_no: mandate.filter(|_| funding == Funding::Withholding).map(str::to_owned),
    }
    .into()
}

/// A debit that is to be tried next, and when; `None` when there is nothing to debit or no try is left. Once a debit took
/// money, what is still missing is for a person.
pub fn next_debit(order: &Order, policy: &Policy) -> Option<(u16, Option<LogTime>)> {
    let purchase = order.purchase.as_ref()?;
    let has_mandate = purchase.posted.as_ref()?.agreement_no.is_some();
    let owed = purchase.receivable(order) > Balance::ZERO && purchase.uncollected.is_none();
    if !has_mandate || !owed || !order.captures.is_empty() {
        return None;
    }
    match last_in_vain(order) {
        None if order.initiated == 0 => Some((1, None)),
        Some(tried) if tried.attempt >= order.initiated => {
            let wait = policy.withholding_retry_s.get(usize::from(tried.attempt).checked_sub(1)?)?;
            Some((tried.attempt.checked_add(1)?, Some(tried.recorded_at + TimeDelta::seconds((*wait).into()))))
        }
        Some(_) | None => None,
    }
}

/// The last debit of which the channel said that it took nothing: declined, or cancelled before anything was charged.
fn last_in_vain(order: &Order) -> Option<&Declined> {
    order.declined.iter().chain(&order.uncharged).max_by_key(|tried| tried.attempt)
}

/// The next debit of a purchase, or that it could not be collected.
pub(crate) fn collect(order: &Order, now: LogTime, policy: &Policy) -> Option<Data> {
    let purchase = order.purchase.as_ref()?;
    let posted = purchase.posted.as_ref()?;
    let receivable = purchase.receivable(order);
    if receivable <= Balance::ZERO || purchase.uncollected.is_some() {
        return None;
    }
    match next_debit(order, policy) {
        Some((attempt, due)) if due.is_none_or(|due| due <= now) => Some(
            PaymentInitiated {
                attempt,
                method: Method::Withholding,
                amount: receivable.debit(),
                channel_order_no: None,
            }
            .into(),
        ),
        Some(_) => None,
        None if is_being_debited(order) => None,
        None => Some(
            WithholdingUncollected {
                school: posted.school.clone(),
                merchant: posted.merchant.clone(),
                amount: receivable.debit(),
                tries: order.initiated,
                last_code: last_code(order),
                bearer: None,
            }
            .into(),
        ),
    }
}

/// Whether a debit is on its way whose outcome is not known.
fn is_being_debited(order: &Order) -> bool {
    order.captures.is_empty() && order.initiated > last_in_vain(order).map_or(0, |tried| tried.attempt)
}

/// Why it could not be collected.
fn last_code(order: &Order) -> String {
    match last_in_vain(order) {
        _ if order.has_money() => "DEBIT_INCOMPLETE".to_owned(),
        _ if !order.captures.is_empty() => "DEBIT_UNDONE".to_owned(),
        // What the channel wrote may be as long as a record; a decision must fit into one.
        Some(tried) => format!("{:.200}", tried.code),
        None => "NO_MANDATE".to_owned(),
    }
}

/// The debit that waits for its outcome, once its decision has been read back from the log.
pub(crate) fn wanted_debit(order: &Order) -> Option<(&PurchasePosted, Debit)> {
    let purchase = order.purchase.as_ref()?;
    let posted = purchase.posted.as_ref()?;
    let debit = purchase.debit.filter(|debit| debit.attempt == order.initiated && is_being_debited(order))?;
    // Never more than was bought, whoever told of a debit.
    Some((posted, Debit { amount: debit.amount.min(posted.amount), ..debit }))
}

/// Whether something of a purchase is still to be debited.
pub(crate) fn is_owed(order: &Order) -> bool {
    order.purchase.as_ref().is_some_and(|purchase| purchase.receivable(order) > Balance::ZERO)
}

#[cfg(test)]
mod tests;
