//! What persons decide about a break that does not end by itself.

use schemas::{
    Data, OrderId,
    events::{
        BreakResolution, Evidence, Method, PaymentCaptured, ReconciliationBreakRaised, ReconciliationClass,
        StatementLineMatched, StatementSide,
    },
};
use uuid::Uuid;

use super::{Books, books::key_of, ended_by};

/// How a person settles a break.
#[derive(Clone, Debug, PartialEq)]
pub enum BreakDecision {
    /// The payment is identified: whose order it is, and how it was paid. The capture that only the statement knew is
    /// posted, and what follows is as for any late capture.
    LateCapturePosted { order: OrderId, method: Method },
    /// The channel says that it puts it right.
    ChannelCorrected,
    /// It is taken as a loss, or as income; two approve.
    WrittenOff,
}

/// Why a person cannot settle a break in this way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BreakRefusal {
    #[error("no such break was raised; `finance.breaks` shows those that are open")]
    Unknown,
    #[error("it has ended already, as {0}")]
    Ended(BreakResolution),
    #[error("{0} ends by itself, with the statement of a later day or when its grace is over")]
    EndsByItself(ReconciliationClass),
    #[error("only a payment that the ledger does not know can be identified; this one is {0}")]
    NotUnknown(ReconciliationClass),
    #[error("{0} is no money that could be written off")]
    NoMoney(ReconciliationClass),
    #[error("somebody has to approve it; a write-off two")]
    Approvers,
}

/// The events with which a person's decision ends a break, in the order in which they are to be appended.
///
/// # Errors
/// The break is not open, or does not end in this way.
pub fn resolve(
    books: &Books,
    break_id: Uuid,
    how: &BreakDecision,
    approvers: &[String],
) -> Result<Vec<Data>, BreakRefusal> {
    let raised = match books.last_of(break_id) {
        None => return Err(BreakRefusal::Unknown),
        Some((_, Some(ended))) => return Err(BreakRefusal::Ended(ended.resolution)),
        Some((raised, None)) => raised,
    };
    if raised.class == ReconciliationClass::Timing {
        return Err(BreakRefusal::EndsByItself(raised.class));
    }
    let (resolution, wanted) = match how {
        BreakDecision::LateCapturePosted { .. } => (BreakResolution::LateCapturePosted, 1),
        BreakDecision::ChannelCorrected => (BreakResolution::ChannelCorrected, 1),
        BreakDecision::WrittenOff if raised.class.is_money() => (BreakResolution::WrittenOff, 2),
        BreakDecision::WrittenOff => return Err(BreakRefusal::NoMoney(raised.class)),
    };
    let mut approvers = approvers.to_vec();
    approvers.sort();
    approvers.dedup();
    if approvers.len() < wanted {
        return Err(BreakRefusal::Approvers);
    }
    let mut events = match how {
        BreakDecision::LateCapturePosted { method, .. } => {
            Vec::from(identified(raised, *method).ok_or(BreakRefusal::NotUnknown(raised.class))?)
        }
        BreakDecision::ChannelCorrected | BreakDecision::WrittenOff => Vec::new(),
    };
    events.push(Data::from(ended_by(raised, resolution, approvers)));
    Ok(events)
}

/// The capture that a line turned out to be, and the match of the two.
fn identified(raised: &ReconciliationBreakRaised, method: Method) -> Option<[Data; 2]> {
    let is_unknown = matches!(raised.class, ReconciliationClass::UnknownOrder | ReconciliationClass::MissingInLedger);
    let (StatementSide::Payment, number) = key_of(raised).filter(|_| is_unknown)? else { return None };
    let amount = raised.channel_amount?.debit();
    let capture = Data::from(PaymentCaptured {
        channel: raised.channel.clone(),
        channel_txn_no: number.clone(),
        method,
        amount,
        business_date: raised.statement_date,
        fee: None,
        instrument_masked: None,
        terminal: None,
        evidence: Evidence::Statement,
    });
    let line = StatementLineMatched {
        channel: raised.channel.clone(),
        statement_date: raised.statement_date,
        revision: raised.revision,
        line_no: raised.line_no?,
        side: StatementSide::Payment,
        number,
        // The natural key of a capture is its channel and number, whatever its order.
        matched_id: schemas::event_id(&capture, ""),
        amount,
        fee: None,
    };
    Some([capture, Data::from(line)])
}
