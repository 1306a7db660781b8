//! The books of the outside: what the acquirer captured and refunded, and what the bank booked. Tests compare them with
//! the ledger: no refund twice, none missing.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset, NaiveDate};
use schemas::{
    Amount, Event, Name, OrderId,
    events::{Evidence, Method, PaymentCaptured, Terminal},
};
use serde::{Deserialize, Serialize};

use super::script::{BankDeed, Deed, Kind, Refusal};
use crate::calls::{BankReply, BankResult, MovementResult, RepaymentQuestion};

/// `GET /sandbox/books`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Books {
    pub captures: BTreeMap<OrderId, Vec<Capture>>,
    /// By request number.
    pub refunds: BTreeMap<String, Movement>,
    /// What the card host credited, by credit number.
    pub credits: BTreeMap<String, Movement>,
    /// What the school posted, by posting number.
    pub postings: BTreeMap<String, Movement>,
    /// What holders were debited, by the debit's number.
    pub debits: BTreeMap<String, Movement>,
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

/// The number of a call that moves value, and what was done under it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Movement {
    pub order_no: OrderId,
    /// The channel or school that was called.
    pub party: Name,
    /// What it is about: the channel's transaction, the card, the fee account, the agreement.
    pub reference: String,
    pub amount: Amount,
    /// How often it was sent to us, whether or not that arrived.
    pub calls: u32,
    pub queries: u32,
    pub state: MovementState,
    /// What moved under this number, in all, and when.
    pub money_moved: Amount,
    pub done_at: Option<DateTime<FixedOffset>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementState {
    /// It never arrived.
    Lost,
    Processing {
        queries_left: u32,
        refusal: Option<Refusal>,
    },
    Done,
    Refused(Refusal),
}

/// What the outside answers about a movement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub result: MovementResult,
    pub code: String,
    pub retryable: bool,
    pub done_at: Option<DateTime<FixedOffset>>,
    pub reference: String,
}

impl Told {
    fn plain(result: MovementResult) -> Self {
        Self { result, code: String::new(), retryable: false, done_at: None, reference: String::new() }
    }

    fn refused(code: &str, retryable: bool) -> Self {
        Self { code: code.to_owned(), retryable, ..Self::plain(MovementResult::Refused) }
    }

    pub fn business_date(&self) -> Option<NaiveDate> {
        self.done_at.map(|at| at.date_naive())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Repayment {
    pub queries: u32,
    pub booked: Option<Amount>,
    pub booked_date: Option<NaiveDate>,
}

impl Books {
    pub fn refunds_of(&self, order_no: &OrderId) -> impl Iterator<Item = &Movement> {
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

    pub(super) fn count_notice(&mut self, order_no: &OrderId, channel_txn_no: &str, is_acknowledged: bool) {
        let mut captures = self.captures.get_mut(order_no).into_iter().flatten();
        if let Some(capture) = captures.find(|capture| capture.channel_txn_no == channel_txn_no) {
            capture.notices_sent += 1;
            capture.notices_acknowledged += u32::from(is_acknowledged);
        }
    }

    fn movements(&mut self, kind: Kind) -> &mut BTreeMap<String, Movement> {
        match kind {
            Kind::Refund => &mut self.refunds,
            Kind::Credit => &mut self.credits,
            Kind::Posting => &mut self.postings,
            Kind::Debit => &mut self.debits,
        }
    }

    /// The order that a number is about.
    pub(super) fn order_of(&mut self, kind: Kind, number: &str) -> Option<&OrderId> {
        self.movements(kind).get(number).map(|movement| &movement.order_no)
    }

    /// Notes a call, and answers it if it has been settled, or names another amount than before.
    pub(super) fn repeated(&mut self, kind: Kind, number: &str, order: &Movement) -> Option<Told> {
        let movement = self.movements(kind).entry(number.to_owned()).or_insert_with(|| order.clone());
        movement.calls += 1;
        if movement.state == MovementState::Lost {
            movement.amount = order.amount;
            return None;
        }
        if movement.amount != order.amount {
            return Some(Told::refused("AMOUNT_DIFFERS", false));
        }
        match &movement.state {
            MovementState::Lost | MovementState::Refused(Refusal { retryable: true, .. }) => None,
            MovementState::Processing { .. } => Some(Told::plain(MovementResult::Accepted)),
            MovementState::Done | MovementState::Refused(_) => Some(movement.told()),
        }
    }

    /// Nothing was taken under this number, and nothing will be. False where there is no such debit.
    pub(super) fn close(&mut self, number: &str) -> bool {
        let debit = self.debits.get_mut(number).filter(|debit| debit.state != MovementState::Lost);
        if let Some(debit) = debit {
            debit.state = MovementState::Refused(Refusal { code: "TRADE_CLOSED".to_owned(), retryable: false });
            return true;
        }
        false
    }

    /// Does what the script says, and answers it.
    pub(super) fn act(&mut self, kind: Kind, number: &str, deed: Deed, now: DateTime<FixedOffset>) -> Told {
        match deed {
            Deed::Do => self.carry_out(kind, number, now),
            Deed::Take { processing, refusal } => {
                self.set_state(kind, number, MovementState::Processing { queries_left: processing, refusal });
                Told::plain(MovementResult::Accepted)
            }
            Deed::Refuse(refusal) => self.set_state(kind, number, MovementState::Refused(refusal)),
            // Nobody reads this answer.
            Deed::Lose => Told::plain(MovementResult::NotFound),
        }
    }

    pub(super) fn result(&mut self, kind: Kind, number: &str, now: DateTime<FixedOffset>) -> Told {
        let Some(movement) = self.movements(kind).get_mut(number) else {
            return Told::plain(MovementResult::NotFound);
        };
        movement.queries += 1;
        match &mut movement.state {
            MovementState::Processing { queries_left: 0, refusal: None } => self.carry_out(kind, number, now),
            MovementState::Processing { queries_left: 0, refusal: Some(refusal) } => {
                movement.state = MovementState::Refused(refusal.clone());
                movement.told()
            }
            MovementState::Processing { queries_left, .. } => {
                *queries_left -= 1;
                Told::plain(MovementResult::Processing)
            }
            MovementState::Lost | MovementState::Done | MovementState::Refused(_) => movement.told(),
        }
    }

    /// Moves the money; a refund not, if the capture (where it was made here) has less left.
    fn carry_out(&mut self, kind: Kind, number: &str, now: DateTime<FixedOffset>) -> Told {
        if kind == Kind::Refund && !self.takes_from_its_capture(number) {
            let refusal = Refusal { code: "ABOVE_CAPTURE".to_owned(), retryable: false };
            return self.set_state(kind, number, MovementState::Refused(refusal));
        }
        let Some(movement) = self.movements(kind).get_mut(number) else {
            return Told::plain(MovementResult::NotFound);
        };
        movement.money_moved += movement.amount;
        movement.done_at = Some(now);
        movement.state = MovementState::Done;
        movement.told()
    }

    fn takes_from_its_capture(&mut self, number: &str) -> bool {
        let Some(refund) = self.refunds.get(number) else { return true };
        let captures = self.captures.get_mut(&refund.order_no);
        let capture = captures.and_then(|captures| captures.iter_mut().find(|c| c.channel_txn_no == refund.reference));
        let Some(capture) = capture else { return true };
        let fits = capture.refunded + refund.amount <= capture.amount;
        if fits {
            capture.refunded += refund.amount;
        }
        fits
    }

    fn set_state(&mut self, kind: Kind, number: &str, state: MovementState) -> Told {
        let Some(movement) = self.movements(kind).get_mut(number) else {
            return Told::plain(MovementResult::NotFound);
        };
        movement.state = state;
        movement.told()
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

impl Movement {
    /// One that has not arrived yet.
    pub(super) fn new(order_no: &OrderId, party: &Name, reference: impl Into<String>, amount: Amount) -> Self {
        Self {
            order_no: order_no.clone(),
            party: party.clone(),
            reference: reference.into(),
            amount,
            calls: 0,
            queries: 0,
            state: MovementState::Lost,
            money_moved: Amount::ZERO,
            done_at: None,
        }
    }

    fn told(&self) -> Told {
        match &self.state {
            MovementState::Lost => Told::plain(MovementResult::NotFound),
            MovementState::Processing { .. } => Told::plain(MovementResult::Processing),
            MovementState::Refused(refusal) => Told::refused(&refusal.code, refusal.retryable),
            MovementState::Done => Told {
                done_at: self.done_at,
                reference: self.reference.clone(),
                ..Told::plain(MovementResult::Success)
            },
        }
    }
}

#[cfg(test)]
mod tests;
