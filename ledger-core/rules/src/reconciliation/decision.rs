//! What persons decide about a break that does not end by itself.

use chrono::{Days, NaiveDate};
use schemas::{
    Amount, Data, Name, OrderId, StreamKind,
    events::{
        BreakResolution, Evidence, Funding, Method, PaymentCaptured, ReconciliationBreakRaised,
        ReconciliationBreakResolved, ReconciliationClass, RefundOrigin, RefundReason, RefundRequested, StatementSide,
    },
};
use uuid::Uuid;

use super::{Books, NAMESPACE, key_of};
use crate::{
    order::{Order, RequestData},
    policy::Policy,
};

/// How persons settle a break.
#[derive(Clone, Debug, PartialEq)]
pub enum BreakDecision {
    /// The payment is identified: whose order it is, and how it was paid. The capture that only the statement knew is
    /// posted, and what follows is as for any late capture.
    LateCapturePosted { order: OrderId, method: Method },
    /// Nobody knows whose payment it is, so it goes back. It is posted to an order of nobody and refunded from there.
    Refunded { method: Method },
    /// The channel says that it puts it right.
    ChannelCorrected,
    /// It is taken as a loss, or as income; two approve.
    WrittenOff,
}

/// Why a break cannot be settled in this way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BreakRefusal {
    #[error("this channel has no such break; compare again to see those that are open")]
    Unknown,
    #[error("it has ended already, as {0}")]
    Ended(BreakResolution),
    #[error("it was raised again since, with other figures; compare again to see them")]
    RaisedAgain,
    #[error("timing ends by itself, with the statement of a later day or when its grace is over")]
    EndsByItself,
    #[error("only a payment that the ledger does not know can be posted; this one is {0}")]
    NotUnknown(ReconciliationClass),
    #[error("this is a refund, and only a payment can be posted")]
    NotAPayment,
    #[error("the ledger has this payment already, for {0}, where it stands or has been undone; compare again")]
    Posted(String),
    #[error("the statement has it under order {0}; if that is wrong, the channel has to say so")]
    OtherOrder(String),
    #[error(
        "the statement has it under order {0}, where it belongs: post it there, and what is not wanted goes back by itself"
    )]
    ItsOrder(OrderId),
    #[error("no request for this order was read; check its number, and that the coordinator runs")]
    NoRequest,
    #[error("this order was to be paid through {0}")]
    OtherChannel(Name),
    #[error("withholding pays for purchases that are debited, and for nothing else")]
    OtherMethod,
    #[error("{0} is no money that could be written off")]
    NoMoney(ReconciliationClass),
    #[error("somebody has to approve it, and a write-off two different persons")]
    Approvers,
}

/// What is to be appended when persons end a break: first what follows for an order, then that it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    pub order: Option<(OrderId, Vec<Data>)>,
    pub resolved: ReconciliationBreakResolved,
}

/// The order to which a payment is posted, or would be: the one that persons name, or else the one that the statement has.
pub fn order_in_question(books: &Books, break_id: Uuid, how: &BreakDecision) -> Option<OrderId> {
    match how {
        BreakDecision::LateCapturePosted { order, .. } => Some(order.clone()),
        BreakDecision::Refunded { .. } => told_order(books.last_of(break_id)?.0)?.parse().ok(),
        BreakDecision::ChannelCorrected | BreakDecision::WrittenOff => None,
    }
}

/// Ends an occurrence of a break as persons have decided. `order` is what the coordinator knows of the order in question.
///
/// # Errors
/// The break is not open, or does not end in this way.
pub fn resolve(
    books: &Books,
    (break_id, occurrence): (Uuid, u16),
    how: &BreakDecision,
    order: Option<&Order>,
    approvers: &[Name],
    policy: &Policy,
) -> Result<Ending, BreakRefusal> {
    let raised = match books.last_of(break_id) {
        None => return Err(BreakRefusal::Unknown),
        Some((raised, _)) if raised.occurrence < occurrence => return Err(BreakRefusal::Unknown),
        Some((raised, _)) if raised.occurrence > occurrence => return Err(BreakRefusal::RaisedAgain),
        Some((_, Some(ended))) => return Err(BreakRefusal::Ended(ended.resolution)),
        Some((raised, None)) => raised,
    };
    if raised.class == ReconciliationClass::Timing {
        return Err(BreakRefusal::EndsByItself);
    }
    let (resolution, order) = match how {
        BreakDecision::LateCapturePosted { order: id, method } => {
            let (capture, capture_id) = unknown_payment(raised, *method)?;
            if let Some(order) = books.order_of(capture_id) {
                return Err(BreakRefusal::Posted(order.to_owned()));
            }
            check(raised, id, order, *method)?;
            (BreakResolution::LateCapturePosted, Some((id.clone(), vec![capture.into()])))
        }
        BreakDecision::Refunded { method: Method::Withholding } => return Err(BreakRefusal::OtherMethod),
        BreakDecision::Refunded { method } => {
            let (capture, capture_id) = unknown_payment(raised, *method)?;
            let nobody = order_of_nobody(capture_id);
            let its_order = || told_order(raised)?.parse().ok().filter(|id| check(raised, id, order, *method).is_ok());
            match books.order_of(capture_id) {
                // A run that was cut off is completed.
                Some(order) if order == nobody.as_str() => {}
                Some(order) => return Err(BreakRefusal::Posted(order.to_owned())),
                None => its_order().map_or(Ok(()), |id| Err(BreakRefusal::ItsOrder(id)))?,
            }
            let refund = refund_of(capture_id, capture.amount);
            (BreakResolution::Refunded, Some((nobody, vec![capture.into(), refund.into()])))
        }
        BreakDecision::ChannelCorrected => (BreakResolution::ChannelCorrected, None),
        BreakDecision::WrittenOff if raised.class.is_money() => (BreakResolution::WrittenOff, None),
        BreakDecision::WrittenOff => return Err(BreakRefusal::NoMoney(raised.class)),
    };
    let mut approvers = approvers.to_vec();
    approvers.sort();
    approvers.dedup();
    if approvers.len() < if resolution == BreakResolution::WrittenOff { 2 } else { 1 } {
        return Err(BreakRefusal::Approvers);
    }
    // Money does not rest for ever, but until there is something new to see.
    let rests_for = Days::new(policy.statement_grace_days.max(1).into());
    let until = match resolution == BreakResolution::ChannelCorrected && raised.class.is_money() {
        true => books.last_day().and_then(|last| last.checked_add_days(rests_for)),
        false => None,
    };
    Ok(Ending { order, resolved: ended_by(raised, resolution, approvers, until) })
}

/// The capture that a line is, and its id.
fn unknown_payment(
    raised: &ReconciliationBreakRaised,
    method: Method,
) -> Result<(PaymentCaptured, Uuid), BreakRefusal> {
    let is_unknown = matches!(raised.class, ReconciliationClass::UnknownOrder | ReconciliationClass::MissingInLedger);
    let (true, Some((side, number)), Some(amount)) = (is_unknown, key_of(raised), raised.channel_amount) else {
        return Err(BreakRefusal::NotUnknown(raised.class));
    };
    if side == StatementSide::Refund {
        return Err(BreakRefusal::NotAPayment);
    }
    let capture = PaymentCaptured {
        channel: raised.channel.clone(),
        channel_txn_no: number,
        method,
        amount: amount.debit(),
        business_date: raised.statement_date,
        fee: None,
        instrument_masked: None,
        terminal: None,
        evidence: Evidence::Statement,
    };
    // The natural key of a capture is its channel and number, whatever its order.
    let capture_id = schemas::event_id(&capture.clone().into(), "");
    Ok((capture, capture_id))
}

/// The order of ours under which the statement has a payment.
fn told_order(raised: &ReconciliationBreakRaised) -> Option<&str> {
    raised.order_no.as_deref().filter(|_| raised.class == ReconciliationClass::MissingInLedger)
}

/// Whether the payment may be posted to this order.
fn check(
    raised: &ReconciliationBreakRaised,
    id: &OrderId,
    order: Option<&Order>,
    method: Method,
) -> Result<(), BreakRefusal> {
    if let Some(other) = told_order(raised).filter(|told| *told != id.as_str()) {
        return Err(BreakRefusal::OtherOrder(other.to_owned()));
    }
    let request = order.and_then(|order| order.request.as_ref()).ok_or(BreakRefusal::NoRequest)?;
    if *request.data.channel() != raised.channel {
        return Err(BreakRefusal::OtherChannel(request.data.channel().clone()));
    }
    let is_debited = match &request.data {
        RequestData::Purchase(data) => data.funding == Funding::Withholding,
        RequestData::OfflinePurchase(data) => data.funding == Funding::Withholding,
        RequestData::Repayment(_) | RequestData::TopUp(_) | RequestData::FeePayment(_) => false,
    };
    if is_debited == (method == Method::Withholding) { Ok(()) } else { Err(BreakRefusal::OtherMethod) }
}

/// An order that nobody has placed, for one payment alone, on a stream of its own.
fn order_of_nobody(capture_id: Uuid) -> OrderId {
    let [token @ .., _, _, _, _, _, _] =
        Uuid::new_v5(&NAMESPACE, format!("nobody/{capture_id}").as_bytes()).into_bytes();
    OrderId::of(StreamKind::Card, token, [0; 8])
}

fn refund_of(capture_id: Uuid, amount: Amount) -> RefundRequested {
    RefundRequested {
        refund_id: Uuid::new_v5(&NAMESPACE, format!("refund/{capture_id}").as_bytes()),
        capture_id,
        amount,
        reason: RefundReason::UnknownOrder,
        by: RefundOrigin::Operator,
    }
}

pub(super) fn ended_by(
    raised: &ReconciliationBreakRaised,
    resolution: BreakResolution,
    approvers: Vec<Name>,
    until: Option<NaiveDate>,
) -> ReconciliationBreakResolved {
    ReconciliationBreakResolved {
        break_id: raised.break_id,
        occurrence: raised.occurrence,
        channel: raised.channel.clone(),
        class: raised.class,
        difference: raised.difference(),
        resolution,
        approvers,
        until,
    }
}

#[cfg(test)]
mod tests;
