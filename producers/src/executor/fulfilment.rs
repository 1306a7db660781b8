//! Letting a card host credit a card, and a school post fees: each once for a capture, however often it is tried.

use schemas::{Amount, Data, Name, OrderId, Stream, events::*};
use uuid::Uuid;

use super::{Days, movement::Mover};
use crate::calls::{Calls, CreditOrder, Credited, Movement, Posted, PostingOrder};

#[derive(Clone, Copy, Debug)]
pub(super) struct Credit<'a> {
    pub order_id: &'a OrderId,
    pub target: &'a Name,
    pub tries: u8,
    pub capture_id: Uuid,
    pub card: &'a Stream,
    pub amount: Amount,
}

impl Credit<'_> {
    /// The same on every try, so that the host credits once.
    fn number(&self) -> String {
        format!("C{}", self.capture_id.simple())
    }
}

impl Mover for Credit<'_> {
    type Done = Credited;

    async fn ask(&self, calls: &Calls) -> Movement<Credited> {
        calls.credit_result(self.target, &self.number()).await
    }

    async fn send(&self, calls: &Calls) -> Movement<Credited> {
        let order = CreditOrder {
            credit_no: self.number(),
            order_no: self.order_id.clone(),
            card: self.card.clone(),
            amount: self.amount,
        };
        calls.credit(self.target, &order).await
    }

    fn doubt(&self, code: &str) -> Option<Data> {
        Some(uncertain(self.target, self.tries, code))
    }

    fn source(&self) -> String {
        format!("/schools/{}", self.target)
    }

    fn done(&self, done: Credited, evidence: Evidence, _: Days<'_>) -> Vec<Data> {
        let credited = CardCredited {
            target: self.target.clone(),
            amount: self.amount,
            mode: done.mode,
            host_ref: done.host_ref,
            balance_after: done.balance_after,
            evidence,
        };
        vec![credited.into()]
    }

    fn refused(&self, code: String, message: String, retryable: bool, evidence: Evidence) -> Data {
        failed(self.target, self.tries, code, message, retryable, evidence)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Posting<'a> {
    pub order_id: &'a OrderId,
    pub target: &'a Name,
    pub tries: u8,
    pub capture_id: Uuid,
    pub account: &'a Stream,
    pub lines: &'a [FeeLine],
}

impl Posting<'_> {
    fn number(&self) -> String {
        format!("P{}", self.capture_id.simple())
    }
}

impl Mover for Posting<'_> {
    type Done = Posted;

    async fn ask(&self, calls: &Calls) -> Movement<Posted> {
        calls.posting_result(self.target, &self.number()).await
    }

    async fn send(&self, calls: &Calls) -> Movement<Posted> {
        let order = PostingOrder {
            posting_no: self.number(),
            order_no: self.order_id.clone(),
            account: self.account.clone(),
            lines: self.lines.to_vec(),
        };
        calls.post_fees(self.target, &order).await
    }

    fn doubt(&self, code: &str) -> Option<Data> {
        Some(uncertain(self.target, self.tries, code))
    }

    fn source(&self) -> String {
        format!("/schools/{}", self.target)
    }

    /// Each line that was posted; and if some were not, a "no" for them.
    fn done(&self, done: Posted, evidence: Evidence, _: Days<'_>) -> Vec<Data> {
        let of_line = |line: &FeeLine| {
            let posted = done.posted.iter().find(|posted| posted.line == line.line)?;
            let event = FeePosted {
                target: self.target.clone(),
                line: line.line,
                fee_item: line.fee_item.clone(),
                billing_year: line.billing_year,
                amount: line.amount,
                remaining: posted.remaining,
                school_ref: posted.school_ref.clone(),
                evidence,
            };
            Some(Data::from(event))
        };
        let mut events: Vec<Data> = self.lines.iter().filter_map(of_line).collect();
        if events.len() < self.lines.len() {
            events.push(failed(self.target, self.tries, done.code, done.message, false, evidence));
        }
        events
    }

    fn refused(&self, code: String, message: String, retryable: bool, evidence: Evidence) -> Data {
        failed(self.target, self.tries, code, message, retryable, evidence)
    }
}

fn uncertain(target: &Name, tries: u8, code: &str) -> Data {
    let evidence = Evidence::SyncResponse;
    ConfirmationUncertain { target: target.clone(), tries, code: code.to_owned(), evidence }.into()
}

fn failed(target: &Name, tries: u8, code: String, message: String, retryable: bool, evidence: Evidence) -> Data {
    ConfirmationFailed { target: target.clone(), tries, code, message, retryable, evidence }.into()
}
