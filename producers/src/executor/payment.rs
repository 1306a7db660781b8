//! The money leg: asking a channel what was paid, and debiting a holder for a purchase (代扣).

use chrono::{NaiveDate, TimeDelta};
use schemas::{Amount, Data, Event, Name, OrderId, events::*};

use super::{Attempt, Next, Worker, doubling, movement::Mover};
use crate::calls::{Calls, DebitOrder, Debited, FoundCapture, Movement, PaymentAnswer};

const AGAIN_FIRST: TimeDelta = TimeDelta::seconds(1);
const AGAIN_MOST: TimeDelta = TimeDelta::minutes(1);

impl Worker {
    pub(super) async fn query_payment(&self, attempt: Attempt<'_>, channel: &Name, tries: u8) -> Next {
        let source = format!("/channels/{channel}");
        let event = |at, data| Event { occurred_at: at, ..self.event(attempt.payload, &source, data) };
        let found = match self.calls.payment(channel, &attempt.payload.order_id).await {
            PaymentAnswer::Paid(captures) => {
                captures.into_iter().map(|found| event(found.captured_at, captured(found))).collect()
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

fn captured(found: FoundCapture) -> Data {
    let FoundCapture { channel, channel_txn_no, method, amount, business_date, captured_at: _, fee } = found;
    PaymentCaptured {
        channel,
        channel_txn_no,
        method,
        amount,
        business_date,
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
    pub agreement_no: &'a str,
    pub school: &'a Name,
    pub merchant: &'a str,
    pub amount: Amount,
}

impl Debit<'_> {
    fn order(&self) -> DebitOrder {
        DebitOrder {
            debit_no: self.order_id.clone(),
            agreement_no: self.agreement_no.to_owned(),
            school: self.school.clone(),
            merchant: self.merchant.to_owned(),
            amount: self.amount,
        }
    }
}

impl Mover for Debit<'_> {
    type Done = Debited;

    async fn ask(&self, calls: &Calls) -> Movement<Debited> {
        calls.debit_result(self.channel, &self.order()).await
    }

    async fn send(&self, calls: &Calls) -> Movement<Debited> {
        calls.debit(self.channel, &self.order()).await
    }

    fn source(&self) -> String {
        format!("/channels/{}", self.channel)
    }

    fn done(&self, done: Debited, evidence: Evidence, today: NaiveDate) -> Vec<Data> {
        let captured = PaymentCaptured {
            channel: self.channel.clone(),
            channel_txn_no: done.channel_txn_no.unwrap_or_else(|| self.order_id.to_string()),
            method: Method::Withholding,
            amount: self.amount,
            business_date: done.business_date.unwrap_or(today),
            fee: None,
            instrument_masked: None,
            terminal: None,
            evidence,
        };
        vec![captured.into()]
    }

    fn refused(&self, response_code: String, message: String, _: bool, evidence: Evidence) -> Data {
        PaymentDeclined { attempt: self.attempt, response_code, message, evidence }.into()
    }
}
