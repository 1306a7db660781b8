//! The saga's decisions. `decide` looks at what the log has said so far and names the next decision that is missing;
//! the coordinator appends it, folds it, and asks again until there is none. So every step may be repeated, and the
//! saga goes on from any state that a crash leaves behind.

use schemas::{
    Amount, Balance, Data, Name,
    events::{ExpiryRule, OrderExpired},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{LogTime, admission, confirmation, contract::LoanContract, order::Order, policy::Policy, refund};

/// An event that only the coordinator may append.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub data: Data,
    /// What must still hold when the decision is taken.
    pub guard: Option<Guard>,
}

/// A race with the executor, settled by a compare-and-set on the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The executor has not claimed this refund; taking the decision withdraws its task.
    RefundNotClaimed(Uuid),
}

impl From<Data> for Decision {
    fn from(data: Data) -> Self {
        Self { data, guard: None }
    }
}

/// The next decision about an order at the log time `now`, if one is missing.
pub fn decide(order: &Order, contract: &LoanContract, now: LogTime, policy: &Policy) -> Option<Decision> {
    admission::decide(order, contract, policy)
        .or_else(|| expire(order, now, policy))
        .map(Decision::from)
        .or_else(|| refund::decide(order, now, policy))
        .or_else(|| confirmation::decide(order, now, policy).map(Decision::from))
}

/// When time alone will call for a decision.
pub fn due_at(order: &Order, policy: &Policy) -> Option<LogTime> {
    let times = [lapses_at(order), confirmation::next_query_at(order, policy), refund::escalates_at(order, policy)];
    times.into_iter().flatten().min()
}

/// An admitted order lapses if nothing has been paid in time.
fn lapses_at(order: &Order) -> Option<LogTime> {
    let over = order.expired_at.is_some()
        || order.cancelled
        || !order.captures.is_empty()
        || order.confirmation.standing() > Balance::ZERO;
    order.accepted_until().filter(|_| !over)
}

fn expire(order: &Order, now: LogTime, policy: &Policy) -> Option<Data> {
    (lapses_at(order)? <= now)
        .then(|| OrderExpired { rule: ExpiryRule::InFlightTtl, ttl_s: policy.in_flight_ttl_s }.into())
}

/// A call to the outside that the log's decisions ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Call {
    /// Ask the bank for the result of a repayment.
    QueryConfirmation { target: Name, tries: u8, amount: Amount, channel: Name, channel_txn_no: String },
    /// Send a refund to the channel.
    Refund { refund_id: Uuid, tries: u8, amount: Amount, channel: Name, channel_txn_no: String },
}

/// A wanted call: its key names it for good, so that it is written down once.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub key: String,
    pub call: Call,
    /// Not before this time; at once if `None`.
    pub due_at: Option<LogTime>,
    /// It may already have reached the outside: ask there before sending it.
    pub submitted: bool,
}

/// The calls that an order wants now. Only decisions that have been read back from the log count, so that nothing
/// leaves the house before the log has its reason.
pub fn wanted_calls(order: &Order, policy: &Policy) -> Vec<Wanted> {
    let query = wanted_query(order);
    let refunds = order.refunds.iter().filter_map(|(id, refund)| {
        let (tries, due_at) = refund.next_try(policy).filter(|_| refund.read_back)?;
        let capture = order.captures.iter().find(|capture| Some(capture.id) == refund.capture_id)?;
        Some(Wanted {
            key: refund_key(*id, tries),
            call: Call::Refund {
                refund_id: *id,
                tries,
                amount: refund.open(),
                channel: capture.channel.clone(),
                channel_txn_no: capture.channel_txn_no.clone(),
            },
            due_at,
            submitted: refund.submitted >= tries,
        })
    });
    query.into_iter().chain(refunds).collect()
}

/// The key of one try of a refund.
pub fn refund_key(refund: Uuid, tries: u8) -> String {
    format!("refund/{refund}/{tries}")
}

/// Keys of calls that must not go out (again): the refund is with the payer, cancelled, or in a person's hands.
pub fn unwanted_calls(order: &Order) -> Vec<String> {
    let over =
        order.refunds.iter().filter(|(_, refund)| refund.read_back && (refund.escalated || refund.open().is_zero()));
    over.flat_map(|(id, refund)| (1..=refund.submitted.saturating_add(1)).map(|tries| refund_key(*id, tries))).collect()
}

fn wanted_query(order: &Order) -> Option<Wanted> {
    let tries = order.confirmation.asked_read_back;
    if tries == 0 || !confirmation::is_waiting(order, tries) {
        return None;
    }
    let capture = order.funding_capture()?;
    let target = order.request.as_ref()?.data.beneficiary.clone();
    Some(Wanted {
        key: format!("query/{}/{tries}", capture.id),
        call: Call::QueryConfirmation {
            target,
            tries,
            amount: capture.amount,
            channel: capture.channel.clone(),
            channel_txn_no: capture.channel_txn_no.clone(),
        },
        due_at: None,
        submitted: false,
    })
}

impl Order {
    /// Marks an event as read from the log: a decision counts for calls from now on.
    pub fn read_back(&mut self, data: &Data) {
        match data {
            Data::ConfirmationRequested(data) => {
                self.confirmation.asked_read_back = self.confirmation.asked_read_back.max(data.tries);
            }
            Data::RefundInitiated(data) => self.refunds.entry(data.refund_id).or_default().read_back = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
