//! The books of the outside: what the acquirer captured and refunded, and what the bank booked. Tests compare them with
//! the ledger: no refund twice, none missing.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset, NaiveDate};
use schemas::{
    Amount, Event, Name, OrderId,
    events::{Evidence, Method, PaymentCaptured, Terminal},
};
use serde::{Deserialize, Serialize};

use super::script::{BankDeed, RefundDeed, Refusal};
use crate::calls::{BankReply, BankResult, RefundOrder, RefundReply, RefundResult, RepaymentQuestion};

/// `GET /sandbox/books`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Books {
    pub captures: BTreeMap<OrderId, Vec<Capture>>,
    /// By request number.
    pub refunds: BTreeMap<String, Refund>,
    /// What the bank was asked about.
    pub repayments: BTreeMap<OrderId, Repayment>,
}

/// Money that the acquirer took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    pub order_no: OrderId,
    pub channel: Name,
    pub channel_txn_no: String,
    pub method: Method,
    pub amount: Amount,
    pub fee: Option<Amount>,
    pub business_date: NaiveDate,
    pub captured_at: DateTime<FixedOffset>,
    pub instrument_masked: Option<String>,
    pub terminal: Option<Terminal>,
    /// What went back.
    pub refunded: Amount,
    pub notices_sent: u32,
    pub notices_acknowledged: u32,
}

/// A refund request number, and what the acquirer did under it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refund {
    pub order_no: OrderId,
    pub channel: Name,
    pub channel_txn_no: String,
    pub amount: Amount,
    /// How often it was sent to us, whether or not that arrived.
    pub calls: u32,
    pub queries: u32,
    pub state: RefundState,
    /// What went to the payer under this number, in all.
    pub money_moved: Amount,
    pub business_date: Option<NaiveDate>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// It never arrived.
    Lost,
    Processing {
        queries_left: u32,
        refusal: Option<Refusal>,
    },
    Done,
    Refused(Refusal),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Repayment {
    pub queries: u32,
    pub booked: Option<Amount>,
    pub booked_date: Option<NaiveDate>,
}

impl Books {
    pub fn refunds_of(&self, order_no: &OrderId) -> impl Iterator<Item = &Refund> {
        self.refunds.values().filter(move |refund| refund.order_no == *order_no)
    }

    /// What went back to the payer of an order, under whatever numbers.
    pub fn refunded(&self, order_no: &OrderId) -> Amount {
        self.refunds_of(order_no).map(|refund| refund.money_moved).sum()
    }

    /// Captures once per transaction number; the second time it is the same capture.
    pub(super) fn capture(&mut self, capture: Capture) -> (Capture, bool) {
        let captures = self.captures.entry(capture.order_no.clone()).or_default();
        match captures.iter().find(|known| known.channel_txn_no == capture.channel_txn_no) {
            Some(known) => (known.clone(), false),
            None => {
                captures.push(capture.clone());
                (capture, true)
            }
        }
    }

    pub(super) fn capture_mut(&mut self, order_no: &OrderId, channel_txn_no: &str) -> Option<&mut Capture> {
        self.captures.get_mut(order_no)?.iter_mut().find(|capture| capture.channel_txn_no == channel_txn_no)
    }

    /// Notes a call, and answers it if the request has been settled, or names another amount than before.
    pub(super) fn repeated(&mut self, order: &RefundOrder) -> Option<RefundReply> {
        let refund = self.refunds.entry(order.refund_request_no.clone()).or_insert_with(|| Refund::of(order));
        refund.calls += 1;
        if refund.state == RefundState::Lost {
            refund.amount = order.amount;
            return None;
        }
        if refund.amount != order.amount {
            return Some(refused("AMOUNT_DIFFERS", false));
        }
        match &refund.state {
            RefundState::Lost | RefundState::Refused(Refusal { retryable: true, .. }) => None,
            RefundState::Processing { .. } => Some(reply(RefundResult::Accepted)),
            RefundState::Done | RefundState::Refused(_) => Some(refund.reply()),
        }
    }

    /// Does with a refund what the script says, and answers it.
    pub(super) fn refund(&mut self, order: &RefundOrder, deed: RefundDeed, today: NaiveDate) -> RefundReply {
        match deed {
            RefundDeed::Pay => self.pay(&order.refund_request_no, today),
            RefundDeed::Take { processing, refusal } => {
                let state = RefundState::Processing { queries_left: processing, refusal };
                self.set_state(&order.refund_request_no, state);
                reply(RefundResult::Accepted)
            }
            RefundDeed::Refuse(refusal) => self.set_state(&order.refund_request_no, RefundState::Refused(refusal)),
            // Nobody reads this answer.
            RefundDeed::Lose => reply(RefundResult::NotFound),
        }
    }

    pub(super) fn refund_result(&mut self, request_no: &str, today: NaiveDate) -> RefundReply {
        let Some(refund) = self.refunds.get_mut(request_no) else { return reply(RefundResult::NotFound) };
        refund.queries += 1;
        match &mut refund.state {
            RefundState::Processing { queries_left: 0, refusal: None } => self.pay(request_no, today),
            RefundState::Processing { queries_left: 0, refusal: Some(refusal) } => {
                refund.state = RefundState::Refused(refusal.clone());
                refund.reply()
            }
            RefundState::Processing { queries_left, .. } => {
                *queries_left -= 1;
                reply(RefundResult::Processing)
            }
            RefundState::Lost | RefundState::Done | RefundState::Refused(_) => refund.reply(),
        }
    }

    /// Moves the money, unless the capture (where it was made here) has less left.
    fn pay(&mut self, request_no: &str, today: NaiveDate) -> RefundReply {
        let Some(refund) = self.refunds.get_mut(request_no) else { return reply(RefundResult::NotFound) };
        let captures = self.captures.get_mut(&refund.order_no);
        let capture =
            captures.and_then(|captures| captures.iter_mut().find(|c| c.channel_txn_no == refund.channel_txn_no));
        if let Some(capture) = capture {
            if capture.refunded + refund.amount > capture.amount {
                refund.state = RefundState::Refused(Refusal { code: "ABOVE_CAPTURE".to_owned(), retryable: false });
                return refund.reply();
            }
            capture.refunded += refund.amount;
        }
        refund.money_moved += refund.amount;
        refund.business_date = Some(today);
        refund.state = RefundState::Done;
        refund.reply()
    }

    fn set_state(&mut self, request_no: &str, state: RefundState) -> RefundReply {
        let Some(refund) = self.refunds.get_mut(request_no) else { return reply(RefundResult::NotFound) };
        refund.state = state;
        refund.reply()
    }

    /// Answers as the script says, but what has been booked stays booked.
    pub(super) fn repayment(&mut self, question: &RepaymentQuestion, deed: BankDeed, today: NaiveDate) -> BankReply {
        let repayment = self.repayments.entry(question.order_no.clone()).or_default();
        repayment.queries += 1;
        let (result, code) = match deed {
            BankDeed::Book => {
                repayment.booked.get_or_insert(question.amount);
                repayment.booked_date.get_or_insert(today);
                (BankResult::Booked, "00")
            }
            BankDeed::Refuse if repayment.booked.is_some() => (BankResult::Booked, "00"),
            BankDeed::Refuse => (BankResult::Failed, "NOT_BOOKED"),
            // Nobody reads the answer to nothing.
            BankDeed::Doubt | BankDeed::Nothing => (BankResult::Uncertain, "UNCERTAIN"),
        };
        let booked = if result == BankResult::Booked { repayment.clone() } else { Repayment::default() };
        BankReply {
            result,
            code: code.to_owned(),
            message: String::new(),
            bank_ref: booked.booked.map(|_| format!("B{}", question.order_no)),
            amount: booked.booked,
            booked_date: booked.booked_date,
            principal: None,
            interest: None,
        }
    }
}

impl Capture {
    /// What the acquirer tells the door.
    pub(super) fn notice(&self) -> Event {
        let data = PaymentCaptured {
            channel: self.channel.clone(),
            channel_txn_no: self.channel_txn_no.clone(),
            method: self.method,
            amount: self.amount,
            business_date: self.business_date,
            fee: self.fee,
            instrument_masked: self.instrument_masked.clone(),
            terminal: self.terminal.clone(),
            evidence: Evidence::AsyncNotice,
        };
        Event::about_order(format!("/channels/{}", self.channel), &self.order_no, self.captured_at, data)
    }
}

impl Refund {
    fn of(order: &RefundOrder) -> Self {
        Self {
            order_no: order.order_no.clone(),
            channel: order.channel.clone(),
            channel_txn_no: order.channel_txn_no.clone(),
            amount: order.amount,
            calls: 0,
            queries: 0,
            state: RefundState::Lost,
            money_moved: Amount::ZERO,
            business_date: None,
        }
    }

    fn reply(&self) -> RefundReply {
        match &self.state {
            RefundState::Lost => reply(RefundResult::NotFound),
            RefundState::Processing { .. } => reply(RefundResult::Processing),
            RefundState::Refused(refusal) => refused(&refusal.code, refusal.retryable),
            RefundState::Done => RefundReply {
                refund_no: Some(format!("F{}", self.channel_txn_no)),
                business_date: self.business_date,
                ..reply(RefundResult::Success)
            },
        }
    }
}

fn reply(result: RefundResult) -> RefundReply {
    let (code, message) = (String::new(), String::new());
    RefundReply { result, refund_no: None, business_date: None, code, message, retryable: false }
}

fn refused(code: &str, retryable: bool) -> RefundReply {
    RefundReply { code: code.to_owned(), retryable, ..reply(RefundResult::Refused) }
}

#[cfg(test)]
mod tests;
