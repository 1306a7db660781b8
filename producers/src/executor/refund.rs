//! Sending a refund to its channel.

use schemas::{Amount, Data, Name, OrderId, events::*};
use uuid::Uuid;

use super::{Days, movement::Mover};
use crate::calls::{Calls, Movement, RefundOrder, Refunded};

#[derive(Clone, Copy, Debug)]
pub(super) struct Refund<'a> {
    pub order_id: &'a OrderId,
    pub id: Uuid,
    pub tries: u8,
    pub amount: Amount,
    pub channel: &'a Name,
    pub channel_txn_no: &'a str,
}

impl Refund<'_> {
    fn request_no(&self) -> String {
        rules::refund::Refund::request_no(self.id)
    }

    fn order(&self) -> RefundOrder {
        RefundOrder {
            refund_request_no: self.request_no(),
            channel: self.channel.clone(),
            channel_txn_no: self.channel_txn_no.to_owned(),
            order_no: self.order_id.clone(),
            amount: self.amount,
        }
    }
}

impl Mover for Refund<'_> {
    type Done = Refunded;

    async fn ask(&self, calls: &Calls) -> Movement<Refunded> {
        calls.refund_result(&self.order()).await
    }

    async fn send(&self, calls: &Calls) -> Movement<Refunded> {
        calls.refund(&self.order()).await
    }

    fn announcement(&self) -> Option<Data> {
        let submitted = RefundSubmitted { refund_id: self.id, refund_request_no: self.request_no(), tries: self.tries };
        Some(submitted.into())
    }

    fn source(&self) -> String {
        format!("/channels/{}", self.channel)
    }

    fn done(&self, done: Refunded, evidence: Evidence, days: Days<'_>) -> Vec<Data> {
        let completed = RefundCompleted {
            refund_id: self.id,
            channel: self.channel.clone(),
            amount: self.amount,
            channel_refund_no: done.refund_no,
            fee_netted: None,
            business_date: days.of(self.channel, done.counted),
            evidence,
        };
        vec![completed.into()]
    }

    fn refused(&self, code: String, message: String, retryable: bool, evidence: Evidence) -> Data {
        RefundFailed { refund_id: self.id, tries: self.tries, code, message, retryable, evidence }.into()
    }
}
