#![allow(clippy::unwrap_used)]

use std::{convert::Infallible, future};

use chrono::{DateTime, NaiveDate};
use engine::{
    clock::Clock,
    log::{Log, Position, TopicSpec, memory::MemoryLog},
};
use schemas::{Amount, Stream, StreamKind, events::*};

use super::*;
use crate::{
    calls::{BankAnswer, CallsConfig, Refunded},
    executor::movement::Mover,
    sandbox::{BankStep, Books, Delivery, MoveStep, Sandbox, SandboxConfig, Script},
};

mod alipay;

const TOPIC: &str = "ledger.events";
const CAPTURE: &str = "t1";

fn yuan(text: &str) -> Amount {
    text.parse().unwrap()
}

fn order() -> OrderId {
    OrderId::new(&Stream::loan([1; 10]), [1; 8]).unwrap()
}

fn card_order() -> OrderId {
    OrderId::new(&Stream::new(StreamKind::Card, [1; 10]), [1; 8]).unwrap()
}

fn fee_order() -> OrderId {
    OrderId::new(&Stream::new(StreamKind::Fees, [1; 10]), [1; 8]).unwrap()
}

fn order_of(call: &Call) -> OrderId {
    match call {
        Call::CreditCard { .. } | Call::QueryPayment { .. } | Call::Debit { .. } => card_order(),
        Call::PostFees { .. } => fee_order(),
        Call::QueryConfirmation { .. } | Call::Refund { .. } => order(),
    }
}

fn payload(call: &Call) -> TaskPayload {
    TaskPayload { order_id: order_of(call), correlation_id: None, causation_id: None, call: call.clone() }
}

/// The executor's work between a sandbox and a log in memory; due times pass at once.
struct Desk {
    worker: Worker,
    clock: Clock,
    log: MemoryLog,
    sandbox: Sandbox,
}

impl Desk {
    async fn new(script: Script) -> Self {
        Self::with_policy(script, Policy::default()).await
    }

    async fn with_policy(script: Script, policy: Policy) -> Self {
        let clock = Clock::simulated(DateTime::parse_from_rfc3339("2025-03-10T23:30:00+08:00").unwrap().to_utc());
        let sandbox =
            Sandbox::start("127.0.0.1:0".parse().unwrap(), SandboxConfig::default(), clock.clone()).await.unwrap();
        for order in [order(), card_order(), fee_order()] {
            sandbox.set_script(&order, script.clone());
        }
        let log = memory_log();
        let config = CallsConfig {
            timeout_ms: 500,
            card_host_url: sandbox.schools_url.clone(),
            school_url: sandbox.schools_url.clone(),
            ..CallsConfig::new(&sandbox.bank_url, &sandbox.acquirer_url)
        };
        let publisher = Publisher::new(Arc::new(log.clone()), TOPIC, clock.clone());
        let worker = Worker::new(publisher, Calls::new(config).unwrap(), policy, Duration::ZERO);
        Self { worker, clock, log, sandbox }
    }

    /// One claim of a task.
    async fn perform(&self, call: &Call, unknown: bool, tries: i32) -> Next {
        self.perform_if(call, unknown, tries, true).await
    }

    async fn perform_if(&self, call: &Call, unknown: bool, tries: i32, submit: bool) -> Next {
        let payload = payload(call);
        let attempt = Attempt { payload: &payload, unknown, stopped: false, tries };
        self.worker.perform(attempt, future::ready(Ok::<_, Infallible>(submit))).await
    }

    /// One claim of a task that may have gone out and must not go out again.
    async fn perform_stopped(&self, call: &Call, tries: i32) -> Next {
        let payload = payload(call);
        let attempt = Attempt { payload: &payload, unknown: true, stopped: true, tries };
        self.worker.perform(attempt, future::ready(Ok::<_, Infallible>(true))).await
    }

    /// Claims a task as often as it comes back, each time when it is due. Returns how often it was claimed.
    async fn work(&self, call: &Call) -> i32 {
        let mut unknown = false;
        for tries in 0..20 {
            match self.perform(call, unknown, tries).await {
                Next::Finish => return tries + 1,
                Next::LeaveUnknown { due_at, .. } => {
                    unknown = true;
                    self.clock.advance(due_at - self.clock.now());
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("the task never ends");
    }

    fn events(&self) -> Vec<Event> {
        let mut reader = self.log.reader(TOPIC).unwrap();
        reader.assign(&[Position { partition: 0, offset: 0 }]).unwrap();
        let records = reader.poll(1000, Duration::ZERO).unwrap();
        records.iter().map(|record| record.event().unwrap()).collect()
    }

    /// The types of the events, without prefix and version.
    fn types(&self) -> Vec<String> {
        self.events().iter().map(|event| event.data.event_type()["ledger.".len()..].replace(".v1", "")).collect()
    }

    fn books(&self) -> Books {
        self.sandbox.books()
    }

    /// The one refund at the acquirer: how often it was sent, and how much money moved.
    fn refund_there(&self) -> (u32, String) {
        let books = self.books();
        assert_eq!(books.refunds.len(), 1, "one request number");
        let refund = books.refunds.values().next().unwrap();
        (refund.calls, refund.money_moved.to_string())
    }
}

fn memory_log() -> MemoryLog {
    let log = MemoryLog::new(1, simulated_log_clock());
    log.apply(&TopicSpec { name: TOPIC.to_owned(), partitions: 1, replication: 1, settings: Default::default() })
        .unwrap();
    log
}

fn simulated_log_clock() -> Clock {
    Clock::simulated(DateTime::UNIX_EPOCH)
}

fn refund(tries: u8) -> Call {
    Call::Refund {
        refund_id: Uuid::from_u128(7),
        tries,
        amount: yuan("800.00"),
        channel: "ums-pos".parse().unwrap(),
        channel_txn_no: CAPTURE.to_owned(),
    }
}

fn query() -> Call {
    Call::QueryConfirmation {
        target: "cdb".parse().unwrap(),
        tries: 1,
        amount: yuan("800.00"),
        channel: "ums-pos".parse().unwrap(),
        channel_txn_no: CAPTURE.to_owned(),
    }
}

fn refunds(steps: impl Into<Vec<MoveStep>>) -> Script {
    Script { refunds: steps.into(), ..Script::default() }
}

fn bank(step: BankStep) -> Script {
    Script { bank: vec![step], ..Script::default() }
}

#[test]
fn a_payload_reads_what_it_writes() {
    let payload = TaskPayload {
        order_id: order(),
        correlation_id: Some(Uuid::from_u128(1)),
        causation_id: None,
        call: refund(2),
    };
    assert_eq!(serde_json::from_str::<TaskPayload>(&payload.to_json()).unwrap(), payload);
}

#[test]
fn waits_double_up_to_a_limit() {
    let seconds = |tries| doubling(TimeDelta::seconds(10), tries, TimeDelta::minutes(10)).num_seconds();
    assert_eq!([0, 1, 2, 5, 6, 7, 1000, i32::MAX].map(seconds), [10, 20, 40, 320, 600, 600, 600, 600]);
    assert_eq!(doubling(TimeDelta::hours(1), 0, TimeDelta::minutes(10)), TimeDelta::hours(1));
}

#[test]
fn every_answer_of_the_bank_has_its_event() {
    let target = "cdb".parse().unwrap();
    let query = confirmation::Query { target: &target, tries: 2, amount: yuan("800.00"), channel_txn_no: CAPTURE };
    let policy = Policy::default();
    let booked =
        |amount| BankAnswer::Booked { amount, bank_ref: None, booked_date: None, principal: None, interest: None };
    for (said, taken) in [(None, "800.00"), (Some(yuan("799.00")), "799.00")] {
        let Data::RepaymentConfirmed(data) = query.outcome(booked(said), &policy) else { panic!() };
        assert_eq!((data.amount, data.evidence), (yuan(taken), Evidence::Query));
    }
    let failed = BankAnswer::Failed { code: "E1".to_owned(), message: "no".to_owned() };
    let Data::ConfirmationFailed(data) = query.outcome(failed, &policy) else { panic!() };
    assert_eq!((data.tries, data.code.as_str(), data.message.as_str()), (2, "E1", "no"));
    for answer in [BankAnswer::Uncertain { code: "X".to_owned() }, BankAnswer::Unreachable { code: "X".to_owned() }] {
        let Data::ConfirmationUncertain(data) = query.outcome(answer, &policy) else { panic!() };
        assert_eq!((data.tries, data.code.as_str()), (2, "X"));
    }
    let strict = Policy { failed_query_is_failure: true, ..policy };
    let silence = BankAnswer::Unreachable { code: "TIMEOUT".to_owned() };
    assert!(matches!(query.outcome(silence, &strict), Data::ConfirmationFailed(_)));
    assert!(matches!(
        query.outcome(BankAnswer::Uncertain { code: "X".to_owned() }, &strict),
        Data::ConfirmationUncertain(_)
    ));
}

#[test]
fn a_refund_is_of_the_day_that_the_channel_says() {
    let channel = "ums-pos".parse().unwrap();
    let (amount, order_id) = (yuan("800.00"), order());
    let refund = refund::Refund {
        order_id: &order_id,
        id: Uuid::from_u128(7),
        tries: 3,
        amount,
        channel: &channel,
        channel_txn_no: CAPTURE,
    };
    let (policy, today) = (Policy::default(), NaiveDate::from_ymd_opt(2025, 3, 10).unwrap());
    let days = Days { policy: &policy, now: "2025-03-10T10:00:00Z".parse().unwrap() };
    for (said, taken) in [(None, today), (today.succ_opt(), today.succ_opt().unwrap())] {
        let done = Refunded { refund_no: Some("F1".to_owned()), counted: said.map(Counted::On) };
        let events = refund.done(done, Evidence::Query, days);
        let [Data::RefundCompleted(data)] = &*events else { panic!() };
        assert_eq!((data.business_date, data.amount, data.evidence), (taken, amount, Evidence::Query));
    }
    let Data::RefundFailed(data) = refund.refused("E9".to_owned(), String::new(), true, Evidence::Query) else {
        panic!()
    };
    assert_eq!((data.tries, data.code.as_str(), data.retryable), (3, "E9", true));
}

#[tokio::test]
async fn the_banks_answer_goes_to_the_log() {
    for (step, expected) in [
        (BankStep::Booked, "repayment.confirmed"),
        (BankStep::Failed, "confirmation.failed"),
        (BankStep::Uncertain, "confirmation.uncertain"),
        (BankStep::Silent, "confirmation.uncertain"),
        (BankStep::BookedButSilent, "confirmation.uncertain"),
        (BankStep::Http500, "confirmation.uncertain"),
        (BankStep::Reset, "confirmation.uncertain"),
        (BankStep::Slow { ms: 20 }, "repayment.confirmed"),
    ] {
        let desk = Desk::new(bank(step.clone())).await;
        assert_eq!(desk.perform(&query(), false, 0).await, Next::Finish);
        assert_eq!(desk.types(), [expected], "{step:?}");
        assert_eq!(desk.events()[0].source, "/banks/cdb");
    }
}

#[tokio::test]
async fn an_answer_that_the_log_did_not_take_is_asked_for_again() {
    let desk = Desk::new(bank(BankStep::Booked)).await;
    desk.log.crash();
    assert!(
        matches!(desk.perform(&query(), false, 0).await, Next::PutBack { due_at, .. } if due_at > desk.clock.now())
    );
    desk.log.resume();
    assert_eq!(desk.perform(&query(), false, 1).await, Next::Finish);
    assert_eq!((desk.types(), desk.books().repayments[&order()].queries), (vec!["repayment.confirmed".to_owned()], 2));
}

#[tokio::test]
async fn a_refund_is_submitted_sent_and_completed() {
    let desk = Desk::new(refunds([])).await;
    assert_eq!(desk.perform(&refund(1), false, 0).await, Next::Finish);
    let events = desk.events();
    let [Data::RefundSubmitted(submitted), Data::RefundCompleted(completed)] = [&events[0].data, &events[1].data]
    else {
        panic!()
    };
    assert_eq!(submitted.refund_request_no, rules::refund::Refund::request_no(Uuid::from_u128(7)));
    assert_eq!(
        (completed.evidence, completed.business_date.to_string()),
        (Evidence::SyncResponse, "2025-03-10".to_owned())
    );
    assert_eq!((&*events[0].source, &*events[1].source), ("/ledger/executor", "/channels/ums-pos"));
    assert_eq!(desk.refund_there(), (1, "800.00".to_owned()));
}

#[tokio::test]
async fn a_refund_that_was_done_without_an_answer_is_found_and_not_sent_again() {
    for step in [MoveStep::SilentButDone, MoveStep::Http500ButDone, MoveStep::ResetButDone, MoveStep::Slow { ms: 5000 }]
    {
        let desk = Desk::new(refunds([step.clone()])).await;
        assert_eq!(desk.work(&refund(1)).await, 2, "{step:?}");
        assert_eq!(desk.types(), ["refund.submitted", "refund.completed"], "{step:?}");
        let Data::RefundCompleted(completed) = &desk.events()[1].data else { panic!() };
        assert_eq!(completed.evidence, Evidence::Query);
        assert_eq!(desk.refund_there(), (1, "800.00".to_owned()), "{step:?}");
    }
}

#[tokio::test]
async fn a_refund_that_never_arrived_is_sent_again_under_its_number() {
    for step in [MoveStep::SilentNotDone, MoveStep::Http500NotDone, MoveStep::ResetNotDone] {
        let desk = Desk::new(refunds([step.clone(), step.clone(), MoveStep::Success])).await;
        assert_eq!(desk.work(&refund(1)).await, 3, "{step:?}");
        let events = desk.events();
        assert_eq!(desk.types(), ["refund.submitted", "refund.submitted", "refund.submitted", "refund.completed"]);
        assert!(events[0].id == events[1].id && events[1].id == events[2].id);
        assert_eq!(desk.refund_there(), (3, "800.00".to_owned()), "{step:?}");
    }
}

#[tokio::test]
async fn an_unknown_refund_is_asked_for_after_the_settling_time_and_then_less_often() {
    let script = Script {
        refund_queries: vec![Delivery::Never, Delivery::Http500, Delivery::Reset, Delivery::Prompt],
        ..refunds([MoveStep::SilentButDone])
    };
    let desk = Desk::new(script).await;
    for (tries, seconds) in [(0, 10), (1, 20), (2, 40), (3, 80)] {
        let next = desk.perform(&refund(1), tries > 0, tries).await;
        let Next::LeaveUnknown { due_at, .. } = next else { panic!("{next:?}") };
        assert_eq!((due_at - desk.clock.now()).num_seconds(), seconds);
    }
    assert_eq!(desk.perform(&refund(1), true, 4).await, Next::Finish);
    assert_eq!((desk.types().len(), desk.refund_there()), (2, (1, "800.00".to_owned())));
}

#[tokio::test]
async fn a_refund_that_the_channel_has_taken_is_waited_for() {
    let desk = Desk::new(refunds([MoveStep::Accepted { processing: 2 }])).await;
    assert_eq!(desk.work(&refund(1)).await, 4);
    assert_eq!((desk.types().len(), desk.refund_there()), (2, (1, "800.00".to_owned())));

    let step = MoveStep::AcceptedThenRefused { processing: 1, code: "CARD_CLOSED".to_owned(), retryable: false };
    let desk = Desk::new(refunds([step])).await;
    assert_eq!(desk.work(&refund(1)).await, 3);
    let Data::RefundFailed(failed) = &desk.events()[1].data else { panic!() };
    assert_eq!((failed.code.as_str(), failed.retryable), ("CARD_CLOSED", false));
    assert_eq!(desk.refund_there().1, "0.00");
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_try_and_the_next_try_has_the_same_number() {
    let desk = Desk::new(refunds([MoveStep::RefuseRetryable { code: "NO_FUNDS".to_owned() }, MoveStep::Success])).await;
    assert_eq!(desk.work(&refund(1)).await, 1);
    assert_eq!(desk.work(&refund(2)).await, 1);
    assert_eq!(desk.types(), ["refund.submitted", "refund.failed", "refund.submitted", "refund.completed"]);
    let Data::RefundFailed(failed) = &desk.events()[1].data else { panic!() };
    assert_eq!((failed.tries, failed.retryable), (1, true));
    assert_eq!(desk.refund_there(), (2, "800.00".to_owned()));

    let desk = Desk::new(refunds([MoveStep::RefuseFinal { code: "TOO_OLD".to_owned() }])).await;
    assert_eq!(desk.work(&refund(1)).await, 1);
    let Data::RefundFailed(failed) = &desk.events()[1].data else { panic!() };
    assert!(!failed.retryable);
}

#[tokio::test]
async fn nothing_is_sent_before_the_log_has_it_as_submitted() {
    let desk = Desk::new(refunds([])).await;
    desk.log.crash();
    assert!(matches!(desk.perform(&refund(1), false, 0).await, Next::LeaveUnknown { .. }));
    assert!(desk.books().refunds.is_empty());
    desk.log.resume();
    assert_eq!(desk.perform(&refund(1), true, 1).await, Next::Finish);
    assert_eq!(desk.refund_there(), (1, "800.00".to_owned()));
}

#[tokio::test]
async fn nothing_is_sent_by_who_has_lost_the_task() {
    let desk = Desk::new(refunds([])).await;
    assert_eq!(desk.perform_if(&refund(1), false, 0, false).await, Next::Drop);
    assert!(desk.books().refunds.is_empty());
}

#[tokio::test]
async fn a_task_that_a_rebuild_made_is_asked_about_and_waits_before_it_is_sent() {
    let desk = Desk::new(refunds([])).await;
    assert!(matches!(desk.perform(&refund(1), true, 0).await, Next::LeaveUnknown { .. }));
    assert!(desk.books().refunds.is_empty() && desk.events().is_empty());
    assert_eq!(desk.perform(&refund(1), true, 1).await, Next::Finish);
    assert_eq!(desk.refund_there(), (1, "800.00".to_owned()));

    let desk = Desk::new(refunds([])).await;
    assert_eq!(desk.perform(&refund(1), false, 0).await, Next::Finish);
    assert_eq!(desk.perform(&refund(1), true, 0).await, Next::Finish);
    assert_eq!((desk.types().len(), desk.refund_there()), (3, (1, "800.00".to_owned())));
}

#[tokio::test]
async fn a_refusal_of_an_earlier_try_says_nothing_about_one_that_may_be_on_its_way() {
    let desk = Desk::new(refunds([MoveStep::RefuseRetryable { code: "NO_FUNDS".to_owned() }])).await;
    assert_eq!(desk.perform(&refund(1), false, 0).await, Next::Finish);
    assert!(matches!(desk.perform(&refund(2), true, 0).await, Next::LeaveUnknown { .. }));
    assert_eq!(desk.types(), ["refund.submitted", "refund.failed"]);
    assert_eq!(desk.perform(&refund(2), true, 1).await, Next::Finish);
    let Data::RefundFailed(failed) = &desk.events()[2].data else { panic!() };
    assert_eq!((failed.tries, failed.evidence), (2, Evidence::Query));
}

#[tokio::test]
async fn an_outcome_that_the_log_did_not_take_is_asked_for_again() {
    let desk = Desk::new(refunds([MoveStep::Slow { ms: 300 }])).await;
    let crash = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        desk.log.crash();
    };
    let call = refund(1);
    let (next, ()) = tokio::join!(desk.perform(&call, false, 0), crash);
    assert!(matches!(next, Next::LeaveUnknown { .. }), "{next:?}");
    desk.log.resume();
    assert_eq!(desk.perform(&refund(1), true, 1).await, Next::Finish);
    assert_eq!(desk.types(), ["refund.submitted", "refund.completed"]);
    assert_eq!(desk.refund_there(), (1, "800.00".to_owned()));
}

fn credit(tries: u8) -> Call {
    Call::CreditCard {
        target: "school-1".parse().unwrap(),
        tries,
        capture_id: Uuid::from_u128(9),
        card: Stream::new(StreamKind::Card, [1; 10]),
        amount: yuan("50.00"),
    }
}

fn posting() -> Call {
    let line = |line, fee_item: &str, amount| FeeLine {
        line,
        fee_item: fee_item.to_owned(),
        billing_year: 2025,
        amount: yuan(amount),
    };
    Call::PostFees {
        target: "school-1".parse().unwrap(),
        tries: 1,
        capture_id: Uuid::from_u128(9),
        account: Stream::new(StreamKind::Fees, [1; 10]),
        lines: vec![line(1, "dorm", "1200.00"), line(2, "tuition", "2000.00")],
    }
}

fn debit(attempt: u16) -> Call {
    Call::Debit {
        channel: "alipay-withholding".parse().unwrap(),
        attempt,
        cancelled: 0,
        agreement_no: "M1".to_owned(),
        school: "school-1".parse().unwrap(),
        merchant: "canteen-1".to_owned(),
        amount: yuan("12.50"),
    }
}

fn credits(steps: impl Into<Vec<MoveStep>>) -> Script {
    Script { credits: steps.into(), ..Script::default() }
}

#[tokio::test]
async fn a_credit_or_posting_whose_answer_is_lost_is_asked_about_and_never_made_twice() {
    for step in [MoveStep::SilentButDone, MoveStep::Http500ButDone, MoveStep::ResetButDone, MoveStep::SilentNotDone] {
        let steps = vec![step.clone(), MoveStep::Success];
        let desk = Desk::new(Script { credits: steps.clone(), postings: steps, ..Script::default() }).await;
        desk.work(&credit(1)).await;
        desk.work(&posting()).await;
        let types = ["confirmation.uncertain", "card.credited", "confirmation.uncertain", "fee.posted", "fee.posted"];
        assert_eq!(desk.types(), types, "{step:?}");
        let books = desk.books();
        let moved = [books.credits, books.postings]
            .map(|made| made.into_values().map(|movement| movement.money_moved).collect::<Vec<_>>());
        assert_eq!(moved, [[yuan("50.00")], [yuan("3200.00")]], "one number each: {step:?}");
    }
}

#[tokio::test]
async fn a_card_host_is_asked_again_under_the_same_number() {
    let desk = Desk::new(credits([MoveStep::RefuseRetryable { code: "BUSY".to_owned() }, MoveStep::Success])).await;
    assert_eq!((desk.work(&credit(1)).await, desk.work(&credit(2)).await), (1, 1));
    assert_eq!(desk.types(), ["confirmation.failed", "card.credited"]);
    let Data::ConfirmationFailed(failed) = &desk.events()[0].data else { panic!() };
    assert!(failed.retryable);
    assert_eq!((desk.books().credits.len(), desk.events()[1].source.as_str()), (1, "/schools/school-1"));
}

#[tokio::test]
async fn an_offline_card_is_credited_and_waits_to_be_loaded() {
    let desk = Desk::new(Script { offline_card: true, ..Script::default() }).await;
    assert_eq!(desk.work(&credit(1)).await, 1);
    let Data::CardCredited(credited) = &desk.events()[0].data else { panic!() };
    assert_eq!(credited.mode, CreditMode::PendingLoad);
}

#[tokio::test]
async fn each_line_that_the_school_posts_has_its_event_and_the_rest_is_a_no() {
    let desk = Desk::new(Script::default()).await;
    assert_eq!(desk.work(&posting()).await, 1);
    assert_eq!(desk.types(), ["fee.posted", "fee.posted"]);

    let desk = Desk::new(Script { refused_lines: vec![2], ..Script::default() }).await;
    assert_eq!(desk.work(&posting()).await, 1);
    assert_eq!(desk.types(), ["fee.posted", "confirmation.failed"]);
    let Data::ConfirmationFailed(failed) = &desk.events()[1].data else { panic!() };
    assert_eq!((failed.code.as_str(), failed.retryable), ("ITEM_CLOSED", false));
}

#[tokio::test]
async fn a_declined_debit_is_tried_again_under_the_orders_number() {
    let declined = MoveStep::RefuseRetryable { code: "ACQ.BUYER_BALANCE_NOT_ENOUGH".to_owned() };
    let desk = Desk::new(Script { debits: vec![declined, MoveStep::SilentButDone], ..Script::default() }).await;
    assert_eq!((desk.work(&debit(1)).await, desk.work(&debit(2)).await), (1, 2));
    assert_eq!(desk.types(), ["payment.declined", "payment.captured"]);
    let Data::PaymentCaptured(captured) = &desk.events()[1].data else { panic!() };
    assert_eq!((captured.method, captured.evidence), (Method::Withholding, Evidence::Query));
    let books = desk.books();
    assert_eq!(books.debits.len(), 1);
    assert!(books.debits.values().all(|debit| debit.money_moved == yuan("12.50") && debit.calls == 2));
}

#[tokio::test]
async fn a_debit_that_its_channel_cannot_cancel_is_asked_about_until_it_is_known() {
    let desk = Desk::new(Script { debits: vec![MoveStep::Accepted { processing: 9 }], ..Script::default() }).await;
    assert_eq!(desk.work(&debit(1)).await, 11);
    assert_eq!(desk.types(), ["payment.captured"]);
    let books = desk.books();
    assert!(books.debits.values().all(|debit| (debit.calls, debit.queries) == (1, 10)), "{:?}", books.debits);
}

#[tokio::test]
async fn a_stopped_debit_of_a_channel_without_cancelling_ends_once_the_channel_has_often_said_not_to_know_it() {
    for (step, ends) in [(MoveStep::ResetNotDone, true), (MoveStep::Accepted { processing: 9 }, false)] {
        let desk = Desk::new(Script { debits: vec![step.clone(), MoveStep::Success], ..Script::default() }).await;
        assert!(matches!(desk.perform(&debit(1), false, 0).await, Next::LeaveUnknown { .. }));
        for tries in 0..=6 {
            let next = desk.perform_stopped(&debit(1), tries).await;
            let ends = ends && tries == 6;
            assert_eq!(matches!(next, Next::End { .. }), ends, "{step:?}, {tries}: {next:?}");
            assert_eq!(matches!(next, Next::LeaveUnknown { .. }), !ends, "{step:?}, {tries}: {next:?}");
        }
        assert!(desk.books().debits.values().all(|debit| debit.calls == 1 && debit.money_moved.is_zero()));
    }
}

#[tokio::test]
async fn a_payment_is_asked_about_and_found_or_not() {
    let desk = Desk::new(Script::default()).await;
    let query = Call::QueryPayment { channel: "bestpay-web".parse().unwrap(), tries: 3 };
    assert_eq!(desk.work(&query).await, 1);
    let Data::PaymentOutcomeUnknown(unknown) = &desk.events()[0].data else { panic!() };
    assert_eq!((unknown.tries, unknown.response_code.as_str()), (3, "NOT_FOUND"));
    let request = serde_json::json!({"order_no": card_order(), "channel": "bestpay-web", "method": "netbank",
        "amount": "50.00", "channel_txn_no": "b1", "captured_at": "2025-03-10T10:00:00+08:00"});
    desk.sandbox.pay(serde_json::from_value(request).unwrap());
    assert_eq!(desk.work(&query).await, 1);
    let found = &desk.events()[1];
    let Data::PaymentCaptured(captured) = &found.data else { panic!() };
    assert_eq!(
        (captured.evidence, found.occurred_at.to_rfc3339().as_str()),
        (Evidence::Query, "2025-03-10T10:00:00+08:00")
    );
}

#[tokio::test]
async fn a_call_without_an_address_is_put_back_and_says_which_setting_it_needs() {
    let sandbox = Desk::new(Script::default()).await.sandbox;
    let config = CallsConfig::new(&sandbox.bank_url, "");
    let clock = Clock::simulated(DateTime::UNIX_EPOCH);
    let publisher = Publisher::new(Arc::new(memory_log()), TOPIC, clock);
    let worker = Worker::new(publisher, Calls::new(config).unwrap(), Policy::default(), Duration::ZERO);
    let payload = TaskPayload { order_id: order(), correlation_id: None, causation_id: None, call: refund(1) };
    let attempt = Attempt { payload: &payload, unknown: false, stopped: false, tries: 0 };
    let next = worker.perform(attempt, future::ready(Ok::<_, Infallible>(true))).await;
    assert!(matches!(&next, Next::PutBack { why, .. } if why.contains("LEDGER_CALLS__ACQUIRER_URL")), "{next:?}");
    // Another executor, which has the address, may have sent it before.
    let attempt = Attempt { unknown: true, tries: 1, ..attempt };
    let next = worker.perform(attempt, future::ready(Ok::<_, Infallible>(true))).await;
    assert!(matches!(&next, Next::LeaveUnknown { .. }), "{next:?}");
}
