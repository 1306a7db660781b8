//! Given / when / then for the rules: a log in memory with the coordinator's decisions folded as they are decided.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};
use schemas::{Data, Event, OrderId, Stream, StreamKind, events::*};
use uuid::Uuid;

use crate::{
    LogTime,
    coordinator::{self, Guard, Wanted},
    invariants::Books,
    order::{Order, OrderStatus},
    policy::Policy,
    postings::postings,
    stream::{StreamState, counts_once},
};

mod events;
mod statements;

pub use events::*;
pub use statements::*;

/// One contract, card or fee account, its orders, the books, and every event so far.
pub struct World {
    pub policy: Policy,
    pub stream: Stream,
    pub now: LogTime,
    pub state: StreamState,
    pub orders: BTreeMap<OrderId, Order>,
    pub books: Books,
    pub log: Vec<Event>,
    /// Whether the executor has already claimed the refunds, so that they cannot be cancelled.
    pub refunds_claimed: bool,
}

impl World {
    /// On Monday 2025-03-10 at `time` in Shanghai.
    pub fn at(time: &str) -> Self {
        Self::of(StreamKind::Loan, time)
    }

    pub fn of(kind: StreamKind, time: &str) -> Self {
        let mut state = StreamState::default();
        state.of(kind);
        Self {
            policy: Policy::default(),
            stream: Stream::new(kind, [1; 10]),
            now: DateTime::parse_from_rfc3339(&format!("2025-03-10T{time}+08:00")).unwrap().to_utc(),
            state,
            orders: BTreeMap::new(),
            books: Books::default(),
            log: Vec::new(),
            refunds_claimed: false,
        }
    }

    pub fn order_id(&self, number: u8) -> OrderId {
        OrderId::new(&self.stream, [number; 8]).unwrap()
    }

    pub fn order(&self, number: u8) -> &Order {
        &self.orders[&self.order_id(number)]
    }

    pub fn status(&self, number: u8) -> OrderStatus {
        self.order(number).status()
    }

    /// Time passes, and what is due falls due.
    pub fn wait(&mut self, seconds: i64) -> &mut Self {
        self.now += TimeDelta::seconds(seconds);
        self.expire_due();
        self
    }

    fn expire_due(&mut self) {
        let due: Vec<OrderId> = self
            .orders
            .iter()
            .filter(|(_, order)| coordinator::due_at(order, &self.policy).is_some_and(|at| at <= self.now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            self.decide(&id);
        }
    }

    /// An event is read from the log; decisions follow. A repeat changes nothing.
    pub fn read(&mut self, number: u8, data: impl Into<Data>) -> &mut Self {
        let id = self.order_id(number);
        let event = Event::about_order("/test", &id, self.now.fixed_offset(), data);
        self.expire_due();
        if !self.log.iter().any(|earlier| earlier.id == event.id) {
            self.fold(&id, event);
        }
        self.decide(&id);
        self
    }

    /// An event about the card or account as a whole is read from the log.
    pub fn told(&mut self, data: impl Into<Data>) -> &mut Self {
        let mut event = Event::about_stream("/test", &self.stream, self.now.fixed_offset(), data);
        // Repeats of what counts once are left out by whoever folds.
        let repeated = self.log.iter().any(|earlier| earlier.id == event.id);
        if !(repeated && counts_once(&event)) {
            event.occurred_at = self.now.fixed_offset();
            self.state.apply(&event);
            self.books.post(postings(&event));
            self.log.push(event);
        }
        self
    }

    fn fold(&mut self, id: &OrderId, event: Event) {
        let order = self.orders.entry(id.clone()).or_default();
        let booked_before = order.confirmation.standing();
        order.apply(&event, self.now);
        let waits = order.waits_to_read(&event.data);
        assert!(!order.read_back(&event.data) || waits, "{event:?} is not read, and a call follows from it");
        self.state.absorb(&event, order, booked_before);
        self.books.post(postings(&event));
        self.log.push(event);
        assert!(self.books.trial_balance().is_zero());
        let position = self.books.position();
        assert_eq!(position.located + position.gap, position.held);
    }

    fn decide(&mut self, id: &OrderId) {
        for _ in 0..20 {
            let order = self.orders.entry(id.clone()).or_default();
            let Some(decision) = coordinator::decide(order, &self.state, self.now, &self.policy) else { return };
            if let Some(Guard::RefundNotClaimed(refund)) = decision.guard
                && self.refunds_claimed
            {
                order.refunds.get_mut(&refund).unwrap().uncancellable = true;
                continue;
            }
            let event = Event::about_order("/ledger/coordinator", id, self.now.fixed_offset(), decision.data);
            assert!(!self.log.iter().any(|earlier| earlier.id == event.id), "decided twice: {event:?}");
            self.fold(id, event);
        }
        panic!("the coordinator does not come to rest");
    }

    pub fn wanted(&self, number: u8) -> Vec<Wanted> {
        coordinator::wanted_calls(&self.order_id(number), self.order(number), &self.policy)
    }

    pub fn count(&self, event_type: &str) -> usize {
        self.log.iter().filter(|event| event.data.event_type().contains(event_type)).count()
    }

    pub fn request(&mut self, number: u8, amount: &str) -> &mut Self {
        let data = request(amount);
        self.read(number, data)
    }

    pub fn capture(&mut self, number: u8, txn: &str, amount: &str) -> &mut Self {
        self.read(number, capture(txn, amount))
    }

    pub fn confirm(&mut self, number: u8, amount: &str) -> &mut Self {
        self.read(number, confirmed(amount))
    }

    pub fn fail(&mut self, number: u8) -> &mut Self {
        self.read(number, failed("cdb", 1, false))
    }

    pub fn uncertain(&mut self, number: u8, tries: u8) -> &mut Self {
        self.read(number, unknown("cdb", tries))
    }

    pub fn resolve(&mut self, number: u8, outcome: Resolution) -> &mut Self {
        self.read(
            number,
            ConfirmationResolved { target: name("cdb"), outcome, evidence: Evidence::Manual, by: "operator-7".into() },
        )
    }

    /// The saga's refund of the capture with this transaction number.
    pub fn refund_id(&self, number: u8, txn: &str) -> Uuid {
        let capture = self.order(number).captures.iter().find(|capture| capture.channel_txn_no == txn).unwrap();
        crate::refund::automatic_refund_id(capture.id)
    }

    pub fn submit(&mut self, number: u8, txn: &str, tries: u8) -> &mut Self {
        let refund_id = self.refund_id(number, txn);
        self.read(
            number,
            RefundSubmitted { refund_id, refund_request_no: crate::refund::Refund::request_no(refund_id), tries },
        )
    }

    pub fn complete(&mut self, number: u8, txn: &str, amount: &str) -> &mut Self {
        let capture = self.order(number).captures.iter().find(|capture| capture.channel_txn_no == txn).unwrap();
        let data = completed(self.refund_id(number, txn), capture.channel.as_str(), amount);
        self.read(number, data)
    }
}
