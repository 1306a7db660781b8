//! What a stream adds up to: a loan contract, a campus card or a fee account, and whether its decisions must wait.

use std::collections::BTreeSet;

use schemas::{Balance, Data, Event, StreamKind};
use serde::{Deserialize, Serialize};

use crate::{LogTime, card::Card, contract::LoanContract, fees::FeeAccount, is_default, order::Order};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamState {
    /// Records of this stream that cannot be read and that nobody has dealt with, by partition and offset. Nobody knows
    /// what they say, so nothing is decided on its orders meanwhile.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unread: BTreeSet<(i32, i64)>,
    /// Orders that would have been looked at meanwhile.
    #[serde(default, skip_serializing_if = "is_default")]
    pub waiting: BTreeSet<String>,
    pub holds: Holds,
}

/// By the kind of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    Loan(LoanContract),
    Card(Card),
    Fees(FeeAccount),
}

impl Default for Holds {
    fn default() -> Self {
        Self::Loan(LoanContract::default())
    }
}

impl StreamState {
    /// Of a stream of this kind; what it holds already stays.
    pub fn of(&mut self, kind: StreamKind) -> &mut Self {
        match (&self.holds, kind) {
            (Holds::Loan(_), StreamKind::Loan)
            | (Holds::Card(_), StreamKind::Card)
            | (Holds::Fees(_), StreamKind::Fees) => {}
            (_, StreamKind::Loan) => self.holds = Holds::Loan(LoanContract::default()),
            (_, StreamKind::Card) => self.holds = Holds::Card(Card::default()),
            (_, StreamKind::Fees) => self.holds = Holds::Fees(FeeAccount::default()),
        }
        self
    }

    pub fn loan(&self) -> Option<&LoanContract> {
        if let Holds::Loan(contract) = &self.holds { Some(contract) } else { None }
    }

    pub fn card(&self) -> Option<&Card> {
        if let Holds::Card(card) = &self.holds { Some(card) } else { None }
    }

    pub fn fees(&self) -> Option<&FeeAccount> {
        if let Holds::Fees(account) = &self.holds { Some(account) } else { None }
    }

    /// Adds what an event says about the stream as a whole. An event that adds up must not have been added before.
    pub fn apply(&mut self, event: &Event) {
        if let Data::DeadLetterResolved(data) = &event.data {
            self.unread.remove(&(data.partition, data.offset));
        }
        match &mut self.holds {
            Holds::Loan(contract) => contract.apply(event),
            Holds::Card(card) => card.apply(event),
            Holds::Fees(account) => account.apply(event),
        }
    }

    /// Adds what an event about an order of the stream says, after the order has; `booked_before` is what had been
    /// confirmed for it until then. True if that changes anything.
    pub fn absorb(&mut self, event: &Event, order: &Order, booked_before: Balance) -> bool {
        let before = self.clone();
        self.apply(event);
        self.note(&event.subject, order, booked_before);
        *self != before
    }

    /// Notes where an order stands after a change.
    fn note(&mut self, order_id: &str, order: &Order, booked_before: Balance) {
        match &mut self.holds {
            Holds::Loan(contract) => contract.note(order_id, order, booked_before),
            Holds::Card(card) => card.note(order_id, order),
            Holds::Fees(account) => account.note(order_id, order),
        }
    }

    /// Whether decisions wait for a person, because a record cannot be read.
    pub fn is_paused(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Orders that lapse at or before `now` unless they are paid, where that decides about others.
    pub fn lapsing(&self, now: LogTime) -> Vec<&str> {
        match &self.holds {
            Holds::Loan(contract) => contract.lapsing(now).collect(),
            Holds::Card(_) => Vec::new(),
            Holds::Fees(account) => account.lapsing(now).collect(),
        }
    }
}

/// Whether an event about a stream as a whole counts once only. What is said about a loan contract is the newest of its
/// kind, so that a repeat changes nothing; what is said about a card or a fee account adds up.
pub fn counts_once(event: &Event) -> bool {
    event.stream.kind() != Some(StreamKind::Loan)
}
