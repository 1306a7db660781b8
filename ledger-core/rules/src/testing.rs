//! Given / when / then for the rules: a log in memory with the coordinator's decisions folded as they are decided.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};
use schemas::{Amount, Data, Event, Name, OrderId, Stream, StreamKind, events::*};
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

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn yuan(text: &str) -> Amount {
    text.parse().unwrap()
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
        order.read_back(&event.data);
        self.state.apply(&event);
        self.state.note(id.as_str(), order, booked_before);
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
        coordinator::wanted_calls(self.order(number), &self.stream, &self.policy)
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
        let data = RepaymentConfirmed {
            target: name("cdb"),
            amount: yuan(amount),
            bank_ref: None,
            booked_date: None,
            principal: None,
            interest: None,
            evidence: Evidence::Query,
        };
        self.read(number, data)
    }

    pub fn fail(&mut self, number: u8) -> &mut Self {
        let data = ConfirmationFailed {
            target: name("cdb"),
            tries: 1,
            code: "F01".into(),
            message: "not booked".into(),
            retryable: false,
            evidence: Evidence::Query,
        };
        self.read(number, data)
    }

    pub fn uncertain(&mut self, number: u8, tries: u8) -> &mut Self {
        self.read(
            number,
            ConfirmationUncertain { target: name("cdb"), tries, code: "U01".into(), evidence: Evidence::Query },
        )
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
        let data = RefundCompleted {
            refund_id: self.refund_id(number, txn),
            channel: name("ums-pos"),
            amount: yuan(amount),
            channel_refund_no: None,
            fee_netted: None,
            business_date: self.now.date_naive(),
            evidence: Evidence::SyncResponse,
        };
        self.read(number, data)
    }
}

pub fn request(amount: &str) -> RepaymentRequested {
    let noon = DateTime::parse_from_rfc3339("2025-03-10T09:00:00+08:00").unwrap();
    RepaymentRequested {
        channel: name("ums-pos"),
        beneficiary: name("cdb"),
        student: Uuid::from_u128(1),
        contract: "K".into(),
        contract_type: "origin".into(),
        amount: yuan(amount),
        method: Some(Method::Card),
        enrolment: EnrolmentAnswer { result: Enrolment::Enrolled, checked_at: noon },
        quote: ContractAnswer { found: true, outstanding: None, overdue: None, as_of: noon },
        consent: Consent { version: "1".into(), consented_at: noon },
        payer: None,
        merchant_id: None,
        terminal_id: None,
    }
}

pub fn capture(txn: &str, amount: &str) -> PaymentCaptured {
    PaymentCaptured {
        channel: name("ums-pos"),
        channel_txn_no: txn.into(),
        method: Method::Card,
        amount: yuan(amount),
        business_date: "2025-03-10".parse().unwrap(),
        fee: None,
        instrument_masked: None,
        terminal: None,
        evidence: Evidence::AsyncNotice,
    }
}

fn answered_at() -> DateTime<chrono::FixedOffset> {
    DateTime::parse_from_rfc3339("2025-03-10T09:00:00+08:00").unwrap()
}

/// A top-up of the world's card.
pub fn top_up(amount: &str) -> TopUpRequested {
    TopUpRequested {
        channel: name("bestpay-web"),
        school: name("school-1"),
        amount: yuan(amount),
        method: None,
        card: CardAnswer { found: true, name_matches: true, checked_at: answered_at() },
        identity: None,
        payer: None,
    }
}

pub fn credited(amount: &str, mode: CreditMode) -> CardCredited {
    CardCredited {
        target: name("school-1"),
        amount: yuan(amount),
        mode,
        host_ref: None,
        balance_after: None,
        evidence: Evidence::SyncResponse,
    }
}

/// A fee item of the year 2025.
pub fn assessed(fee_item: &str, amount: &str, instalments_allowed: bool) -> FeeItemAssessed {
    FeeItemAssessed {
        school: name("school-1"),
        student: Uuid::from_u128(1),
        fee_item: fee_item.into(),
        billing_year: 2025,
        amount: yuan(amount),
        instalments_allowed,
    }
}

pub fn fee_payment(lines: &[(&str, &str)]) -> FeePaymentRequested {
    let line = |(number, (fee_item, amount)): (u16, &(&str, &str))| FeeLine {
        line: number,
        fee_item: (*fee_item).into(),
        billing_year: 2025,
        amount: yuan(amount),
    };
    let lines: Vec<FeeLine> = (1..).zip(lines).map(line).collect();
    FeePaymentRequested {
        channel: name("ejt"),
        school: name("school-1"),
        student: Uuid::from_u128(1),
        amount: lines.iter().map(|line| line.amount).sum(),
        lines,
        method: None,
        consent: Consent { version: "1".into(), consented_at: answered_at() },
        payer: None,
    }
}

pub fn posted(line: u16, fee_item: &str, amount: &str) -> FeePosted {
    FeePosted {
        target: name("school-1"),
        line,
        fee_item: fee_item.into(),
        billing_year: 2025,
        amount: yuan(amount),
        remaining: None,
        school_ref: None,
        evidence: Evidence::SyncResponse,
    }
}

pub fn purchase(amount: &str, funding: Funding) -> PurchaseRequested {
    PurchaseRequested {
        channel: name("campus-pos"),
        school: name("school-1"),
        merchant: "canteen-1".into(),
        amount: yuan(amount),
        funding,
        terminal: "T1".into(),
        terminal_seq: 1,
    }
}

/// A campus code that is `age_s` old when it is used now.
pub fn offline(world: &World, amount: &str, funding: Funding, age_s: i64) -> OfflinePurchaseUploaded {
    let PurchaseRequested { channel, school, merchant, amount, funding, terminal, terminal_seq } =
        purchase(amount, funding);
    let now = crate::business_day::shanghai(&world.now);
    OfflinePurchaseUploaded {
        channel,
        school,
        merchant,
        amount,
        funding,
        terminal,
        terminal_seq,
        code_id: Some("code-1".into()),
        code_issued_at: Some(now - TimeDelta::seconds(age_s)),
        terminal_online_at: None,
        uploaded_at: now + TimeDelta::hours(2),
    }
}

pub fn mandate() -> WithholdingMandateSigned {
    WithholdingMandateSigned {
        channel: name("alipay-withholding"),
        agreement_no: "M1".into(),
        external_agreement_no: None,
        product_code: "GENERAL_WITHHOLDING".into(),
    }
}
