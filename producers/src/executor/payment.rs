//! The money leg: asking a channel what was paid, and debiting a holder for a purchase (代扣).

use chrono::TimeDelta;
use rules::policy::Policy;
use schemas::{Amount, Data, Event, Name, OrderId, event_id, events::*};

use super::{Attempt, Days, Next, Worker, doubling, movement::Mover};
use crate::calls::{Calls, Counted, DebitEnd, DebitNo, DebitOrder, Debited, FoundCapture, Movement, PaymentAnswer};

const AGAIN_FIRST: TimeDelta = TimeDelta::seconds(1);
const AGAIN_MOST: TimeDelta = TimeDelta::minutes(1);

impl Worker {
    pub(super) async fn query_payment(&self, attempt: Attempt<'_>, channel: &Name, tries: u8) -> Next {
        let source = format!("/channels/{channel}");
        let event = |at, data| Event { occurred_at: at, ..self.event(attempt.payload, &source, data) };
        let found = match self.calls.payment(channel, &attempt.payload.order_id).await {
            PaymentAnswer::Paid(captures) => {
                captures.into_iter().map(|found| event(found.captured_at, captured(found, self.days()))).collect()
            }
            PaymentAnswer::Unknown { code } => {
                let unknown = PaymentOutcomeUnknown { attempt: 1, tries, response_code: code, next_query_at: None };
                vec![self.event(attempt.payload, &source, unknown.into())]
            }
        };
        match self.append_events(&found).await {
            Ok(()) => Next::Finish,
            Err(error) => {
                let due_at = self.now() + doubling(AGAIN_FIRST, attempt.tries, AGAIN_MOST);
                Next::PutBack { due_at, why: error.to_string() }
            }
        }
    }
}

fn captured(found: FoundCapture, days: Days<'_>) -> Data {
    let FoundCapture { channel, channel_txn_no, method, amount, business_date, captured_at, fee } = found;
    let counted = business_date.map_or(Counted::At(captured_at), Counted::On);
    PaymentCaptured {
        business_date: days.of(&channel, Some(counted)),
        channel,
        channel_txn_no,
        method,
        amount,
        fee,
        instrument_masked: None,
        terminal: None,
        evidence: Evidence::Query,
    }
    .into()
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Debit<'a> {
    pub order_id: &'a OrderId,
    pub channel: &'a Name,
    pub attempt: u16,
    pub cancelled: u16,
    pub agreement_no: &'a str,
    pub school: &'a Name,
    pub merchant: &'a str,
    pub amount: Amount,
}

impl Debit<'_> {
    fn number(&self) -> DebitNo {
        DebitNo { order_no: self.order_id.clone(), cancelled: self.cancelled }
    }

    fn order(&self) -> DebitOrder {
        DebitOrder {
            debit_no: self.number(),
            agreement_no: self.agreement_no.to_owned(),
            school: self.school.clone(),
            merchant: self.merchant.to_owned(),
            amount: self.amount,
        }
    }

    fn captured(&self, debited: Debited, evidence: Evidence, days: Days<'_>) -> Data {
        PaymentCaptured {
            channel: self.channel.clone(),
            channel_txn_no: debited.channel_txn_no.unwrap_or_else(|| self.number().to_string()),
            method: Method::Withholding,
            amount: self.amount,
            business_date: days.of(self.channel, debited.counted),
            fee: None,
            instrument_masked: None,
            terminal: None,
            evidence,
        }
        .into()
    }

    /// Undone at the channel; without a capture, nothing had been charged.
    fn reversed(&self, captured: Option<&Data>, evidence: Evidence, days: Days<'_>) -> Data {
        PaymentReversed {
            channel: self.channel.clone(),
            attempt: self.attempt,
            capture_id: captured.map(|captured| event_id(captured, self.order_id.as_str())),
            amount: captured.map_or(Amount::ZERO, |_| self.amount),
            reason: ReversalReason::CancelApi,
            method: Some(Method::Withholding),
            // Ours, whether an answer told the channel's or was lost, so that it is one fact.
            channel_txn_no: self.number().to_string(),
            business_date: days.of(self.channel, None),
            evidence,
        }
        .into()
    }
}

impl Mover for Debit<'_> {
    type Done = DebitEnd;

    async fn ask(&self, calls: &Calls) -> Movement<DebitEnd> {
        calls.debit_result(self.channel, &self.order()).await
    }

    async fn send(&self, calls: &Calls) -> Movement<DebitEnd> {
        calls.debit(self.channel, &self.order()).await
    }

    fn questions(&self, policy: &Policy) -> u16 {
        policy.withholding_queries
    }

    async fn cancel(&self, calls: &Calls) -> Option<Movement<DebitEnd>> {
        calls.cancel_debit(self.channel, &self.order()).await
    }

    fn source(&self) -> String {
        format!("/channels/{}", self.channel)
    }

    fn done(&self, done: DebitEnd, evidence: Evidence, days: Days<'_>) -> Vec<Data> {
        match done {
            DebitEnd::Taken(debited) => vec![self.captured(debited, evidence, days)],
            // First that it was taken, so that no notice of it that comes late finds it untold.
            DebitEnd::GivenBack(debited) => {
                let captured = self.captured(debited, Evidence::Query, days);
                let reversed = self.reversed(Some(&captured), evidence, days);
                vec![captured, reversed]
            }
            DebitEnd::Closed => vec![self.reversed(None, evidence, days)],
        }
    }

    fn refused(&self, response_code: String, message: String, _: bool, evidence: Evidence) -> Data {
        PaymentDeclined { attempt: self.attempt, response_code, message, evidence }.into()
    }
}
