//! The saga's decisions. `decide` looks at what the log has said so far and names the next decision that is missing;
//! the coordinator appends it, folds it, and asks again until there is none. So every step may be repeated, and the
//! saga goes on from any state that a crash leaves behind.

use chrono::TimeDelta;
use schemas::{
    Amount, Data, Name, OrderId, Stream,
    events::{ExpiryRule, FeeLine, Method, OrderExpired},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    LogTime, admission,
    confirmation::{self, wanted_amount},
    order::{Order, RequestData},
    policy::Policy,
    purchase::{self, Debit},
    refund,
    stream::StreamState,
};

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
pub fn decide(order: &Order, stream: &StreamState, now: LogTime, policy: &Policy) -> Option<Decision> {
    admission::decide(order, stream, policy)
        .or_else(|| expire(order, now, policy))
        .map(Decision::from)
        .or_else(|| refund::decide(order, now, policy))
        .or_else(|| purchase::collect(order, now, policy).map(Decision::from))
        .or_else(|| confirmation::decide(order, now, policy).map(Decision::from))
}

/// When time alone will call for a decision.
pub fn due_at(order: &Order, policy: &Policy) -> Option<LogTime> {
    let times = [
        order.lapses_at(),
        confirmation::next_query_at(order, policy),
        refund::escalates_at(order, policy),
        purchase::next_debit(order, policy).and_then(|(_, due)| due),
    ];
    times.into_iter().flatten().min()
}

fn expire(order: &Order, now: LogTime, policy: &Policy) -> Option<Data> {
    let ttl = admission::ttl(&order.request.as_ref()?.data, policy);
    let ttl_s = u32::try_from(ttl.num_seconds()).unwrap_or(u32::MAX);
    (order.lapses_at()? <= now).then(|| OrderExpired { rule: ExpiryRule::InFlightTtl, ttl_s }.into())
}

/// A call to the outside that the log's decisions ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Call {
    /// Ask the bank for the result of a repayment.
    QueryConfirmation { target: Name, tries: u8, amount: Amount, channel: Name, channel_txn_no: String },
    /// Let the card host credit a top-up.
    CreditCard { target: Name, tries: u8, capture_id: Uuid, card: Stream, amount: Amount },
    /// Let the school post a payment to its fee items.
    PostFees { target: Name, tries: u8, capture_id: Uuid, account: Stream, lines: Vec<FeeLine> },
    /// Ask the channel whether an order has been paid.
    QueryPayment { channel: Name, tries: u8 },
    /// Debit the holder for a purchase.
    Debit {
        channel: Name,
        attempt: u16,
        /// The last attempt that was cancelled, whose number cannot be used again; 0 for none.
        #[serde(default)]
        cancelled: u16,
        agreement_no: String,
        school: Name,
        merchant: String,
        amount: Amount,
    },
    /// Send a refund to the channel.
    Refund { refund_id: Uuid, tries: u8, amount: Amount, channel: Name, channel_txn_no: String },
}

impl Call {
    /// Who is called.
    pub fn party(&self) -> &Name {
        match self {
            Self::QueryConfirmation { target: party, .. }
            | Self::CreditCard { target: party, .. }
            | Self::PostFees { target: party, .. }
            | Self::QueryPayment { channel: party, .. }
            | Self::Debit { channel: party, .. }
            | Self::Refund { channel: party, .. } => party,
        }
    }
}

/// A wanted call: its key names it for good, so that it is written down once.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub key: String,
    pub call: Call,
    pub when: When,
    /// It may already have reached the outside: ask there before sending it.
    pub submitted: bool,
    /// It is not to go out (again): only what became of it is asked.
    pub stopped: bool,
}

/// When a call may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Now,
    NotBefore(LogTime),
    /// Not by itself: the channel takes such in a file, which a person sends.
    ByFile,
}

/// The calls that an order wants now. Only decisions that have been read back from the log count, so that nothing
/// leaves the house before the log has its reason.
pub fn wanted_calls(id: &OrderId, order: &Order, policy: &Policy) -> Vec<Wanted> {
    let refunds = order.refunds.iter().filter_map(|(id, refund)| {
        let (tries, due_at) = refund.next_try(policy).filter(|_| refund.read_back)?;
        let capture = order.captures.iter().find(|capture| Some(capture.id) == refund.capture_id)?;
        let by_file = policy.refund_by_file.contains(&capture.channel);
        Some(Wanted {
            key: refund_key(*id, tries),
            call: Call::Refund {
                refund_id: *id,
                tries,
                amount: refund.open(),
                channel: capture.channel.clone(),
                channel_txn_no: capture.channel_txn_no.clone(),
            },
            when: if by_file { When::ByFile } else { due_at.map_or(When::Now, When::NotBefore) },
            submitted: refund.submitted >= tries,
            stopped: false,
        })
    });
    let fulfilment = wanted_fulfilment(order, &id.stream());
    fulfilment
        .into_iter()
        .chain(wanted_payment_query(id, order, policy))
        .chain(wanted_debit(id, order, policy))
        .chain(refunds)
        .collect()
}

/// The key of one try of a refund.
pub fn refund_key(refund: Uuid, tries: u8) -> String {
    format!("refund/{refund}/{tries}")
}

/// The key of one try of a call that moves value to where it was paid for.
fn fulfilment_key(capture: Uuid, tries: u8) -> String {
    format!("fulfil/{capture}/{tries}")
}

/// Keys of calls that must not go out (again): the refund is with the payer, cancelled, or in a person's hands; what the
/// call was to bring about has been settled without it. A debit is none, even when it is known to be paid: its executor may
/// have cancelled it, and then has to say so.
pub fn unwanted_calls(order: &Order) -> Vec<String> {
    let over =
        order.refunds.iter().filter(|(_, refund)| refund.read_back && (refund.escalated || refund.open().is_zero()));
    let refunds =
        over.flat_map(|(id, refund)| (1..=refund.submitted.saturating_add(1)).map(|tries| refund_key(*id, tries)));
    let settled = order.captures.iter().filter(|_| confirmation::is_settled(order));
    let fulfilments =
        settled.flat_map(|capture| (1..=order.confirmation.asked).map(|tries| fulfilment_key(capture.id, tries)));
    refunds.chain(fulfilments).collect()
}

fn wanted_fulfilment(order: &Order, stream: &Stream) -> Option<Wanted> {
    let tries = order.confirmation.asked_read_back;
    if tries == 0 || !confirmation::is_waiting(order, tries) {
        return None;
    }
    let capture = order.funding_capture()?;
    let request = &order.request.as_ref()?.data;
    let (target, capture_id) = (request.beneficiary().clone(), capture.id);
    let amount = wanted_amount(order, capture)?;
    let (key, call) = match request {
        RequestData::Repayment(_) => {
            let (channel, channel_txn_no) = (capture.channel.clone(), capture.channel_txn_no.clone());
            let call = Call::QueryConfirmation { target, tries, amount, channel, channel_txn_no };
            (format!("query/{capture_id}/{tries}"), call)
        }
        RequestData::TopUp(_) => {
            let call = Call::CreditCard { target, tries, capture_id, card: stream.clone(), amount };
            (fulfilment_key(capture_id, tries), call)
        }
        RequestData::FeePayment(data) => {
            let mut lines = data.lines.clone();
            if let [line] = lines.as_mut_slice() {
                line.amount = amount;
            }
            let call = Call::PostFees { target, tries, capture_id, account: stream.clone(), lines };
            (fulfilment_key(capture_id, tries), call)
        }
        RequestData::Purchase(_) | RequestData::OfflinePurchase(_) => return None,
    };
    Some(Wanted { key, call, when: When::Now, submitted: false, stopped: false })
}

/// Somebody has said something about a payment of which nothing is proven: the channel is asked, for as long as the
/// schedule lasts and the order may still be paid.
fn wanted_payment_query(id: &OrderId, order: &Order, policy: &Policy) -> Option<Wanted> {
    let request = &order.request.as_ref()?.data;
    let unknown_at = order.payment_unknown.map(|unknown| unknown.recorded_at);
    let doubted_at = order.claimed_at.max(unknown_at).max(order.reversal_failed_at)?;
    // Whoever was declined may have tried again since.
    let declined = order.declined.as_ref().is_some_and(|declined| declined.recorded_at >= doubted_at);
    let over = !order.captures.is_empty() || declined || order.expired_at.is_some() || order.cancelled;
    if over || order.accepted_until().is_none() {
        return None;
    }
    let waits = match request {
        _ if request.is_paid_on_a_page() => &policy.payment_query_s,
        RequestData::Repayment(data) if policy.back_end_channels.contains(&data.channel) => &policy.back_end_query_s,
        // A terminal that got no answer is synchronised by its operator (同步处理).
        _ => return None,
    };
    let first = order.claimed_at.or(order.reversal_failed_at).or(unknown_at)?;
    let asked = order.payment_unknown.map_or(0, |unknown| unknown.tries);
    let wait = waits.get(usize::from(asked))?;
    let tries = asked.checked_add(1)?;
    Some(Wanted {
        key: format!("payment/{id}/{tries}"),
        call: Call::QueryPayment { channel: request.channel().clone(), tries },
        when: When::NotBefore(first + TimeDelta::seconds((*wait).into())),
        submitted: false,
        stopped: false,
    })
}

fn wanted_debit(id: &OrderId, order: &Order, policy: &Policy) -> Option<Wanted> {
    let (posted, Debit { attempt, amount }) = purchase::wanted_debit(order)?;
    Some(Wanted {
        key: format!("debit/{id}/{attempt}"),
        call: Call::Debit {
            channel: policy.withholding_channel.clone(),
            attempt,
            cancelled: order.uncharged.as_ref().map_or(0, |tried| tried.attempt),
            agreement_no: posted.agreement_no.clone()?,
            school: posted.school.clone(),
            merchant: posted.merchant.clone(),
            amount,
        },
        when: When::Now,
        submitted: false,
        // Returned before anybody was debited for it.
        stopped: !purchase::is_owed(order),
    })
}

impl Order {
    /// Whether a decision that was just taken counts for more once it has been read from the log, because a call follows.
    pub fn waits_to_read(&self, decision: &Data) -> bool {
        match decision {
            Data::ConfirmationRequested(data) => self.confirmation.lacks_answer_to(data.tries),
            Data::RefundInitiated(_) | Data::PaymentInitiated(_) => true,
            _ => false,
        }
    }

    /// Marks an event as read from the log: a decision counts for calls from now on. True if that changes anything.
    pub fn read_back(&mut self, data: &Data) -> bool {
        match data {
            // A question that has been answered meanwhile is not asked.
            Data::ConfirmationRequested(data)
                if self.confirmation.asked_read_back < data.tries && confirmation::is_waiting(self, data.tries) =>
            {
                self.confirmation.asked_read_back = data.tries;
                true
            }
            Data::RefundInitiated(data) => {
                let refund = self.refunds.entry(data.refund_id).or_default();
                !std::mem::replace(&mut refund.read_back, true)
            }
            Data::PaymentInitiated(data) if data.method == Method::Withholding => {
                let purchase = self.purchase.get_or_insert_default();
                let debit = Some(Debit { attempt: data.attempt, amount: data.amount });
                let newer = purchase.debit < debit;
                purchase.debit = purchase.debit.take().max(debit);
                newer
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
