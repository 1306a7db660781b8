//! Calls to Alipay's gateway: asked about where their fate is not known, and never made under two numbers.

use schemas::Name;

use super::*;
use crate::sandbox::PaymentRequest;

async fn desk(script: Script) -> Desk {
    desk_with(script, Policy::default()).await
}

async fn desk_with(script: Script, policy: Policy) -> Desk {
    let mut desk = Desk::new(script).await;
    let config = CallsConfig { timeout_ms: 500, alipay: desk.sandbox.alipay_config(), ..CallsConfig::default() };
    let publisher = Publisher::new(Arc::new(desk.log.clone()), TOPIC, desk.clock.clone());
    desk.worker = Worker::new(publisher, Calls::new(config).unwrap(), policy, Duration::ZERO);
    desk
}

fn payment(order_no: OrderId) -> PaymentRequest {
    serde_json::from_value(serde_json::json!({
        "order_no": order_no, "channel": "alipay-mini", "method": "wallet", "amount": "800.00",
    }))
    .unwrap()
}

fn refund(tries: u8) -> Call {
    let Call::Refund { refund_id, amount, channel_txn_no, .. } = super::refund(tries) else { panic!() };
    Call::Refund { refund_id, tries, amount, channel: "alipay-mini".parse().unwrap(), channel_txn_no }
}

fn debit(attempt: u16) -> Call {
    debit_after(attempt, 0)
}

fn debit_after(attempt: u16, cancelled: u16) -> Call {
    Call::Debit {
        channel: "alipay-withholding".parse().unwrap(),
        attempt,
        cancelled,
        agreement_no: "agreement-1".to_owned(),
        school: "school-1".parse().unwrap(),
        merchant: "第一食堂".to_owned(),
        amount: yuan("12.50"),
    }
}

fn debits(steps: impl Into<Vec<MoveStep>>) -> Script {
    Script { debits: steps.into(), ..Script::default() }
}

async fn paid(script: Script) -> Desk {
    let desk = desk(script).await;
    desk.sandbox.pay(payment(order()));
    desk
}

fn debit_there(desk: &Desk) -> (u32, String) {
    let books = desk.books();
    assert_eq!(books.debits.len(), 1, "one order number");
    let debit = books.debits.values().next().unwrap();
    (debit.calls, debit.money_moved.to_string())
}

#[tokio::test]
async fn a_refund_is_sent_once_and_done() {
    let desk = paid(Script::default()).await;
    assert_eq!(desk.work(&refund(1)).await, 1);
    assert_eq!(desk.types(), ["refund.submitted", "refund.completed"]);
    assert_eq!(desk.refund_there(), (1, "800.00".to_owned()));
}

#[tokio::test]
async fn a_refund_that_moved_nothing_by_its_own_call_is_asked_about() {
    let desk = paid(refunds([MoveStep::Accepted { processing: 0 }])).await;
    assert!(matches!(desk.perform(&refund(1), false, 0).await, Next::LeaveUnknown { .. }));
    assert_eq!(desk.types(), ["refund.submitted"]);
    assert_eq!(desk.perform(&refund(1), true, 1).await, Next::Finish);
    let Data::RefundCompleted(done) = &desk.events()[1].data else { panic!("{:?}", desk.types()) };
    assert_eq!((done.amount, done.evidence), (yuan("800.00"), Evidence::Query));
    assert_eq!(desk.refund_there(), (1, "800.00".to_owned()));
}

#[tokio::test]
async fn a_refund_that_alipay_does_not_find_goes_out_again_under_its_number() {
    for step in [
        MoveStep::Accepted { processing: 2 },
        MoveStep::SilentNotDone,
        MoveStep::Http500NotDone,
        MoveStep::ResetNotDone,
        MoveStep::SilentButDone,
        MoveStep::Http500ButDone,
        MoveStep::ResetButDone,
    ] {
        let desk = paid(refunds([step.clone(), MoveStep::Success])).await;
        assert!(desk.work(&refund(1)).await > 1, "{step:?}");
        assert_eq!(desk.types().last().unwrap(), "refund.completed", "{step:?}");
        assert_eq!(desk.refund_there().1, "800.00", "{step:?}");
    }
}

#[tokio::test]
async fn a_refund_that_was_taken_and_fails_later_is_refused_in_the_end() {
    let refused =
        MoveStep::AcceptedThenRefused { processing: 0, code: "ACQ.TRADE_HAS_FINISHED".to_owned(), retryable: false };
    let desk = paid(refunds([refused])).await;
    desk.work(&refund(1)).await;
    let events = desk.events();
    let Data::RefundFailed(failed) = &events.last().unwrap().data else { panic!("{:?}", desk.types()) };
    assert_eq!((failed.code.as_str(), failed.retryable), ("ACQ.TRADE_HAS_FINISHED", false));
    assert_eq!(desk.refund_there().1, "0.00");
}

#[tokio::test]
async fn a_refund_for_which_the_balance_was_not_enough_keeps_number_and_amount() {
    let broke = MoveStep::RefuseRetryable { code: "ACQ.SELLER_BALANCE_NOT_ENOUGH".to_owned() };
    let desk = paid(refunds([broke, MoveStep::Success])).await;
    assert_eq!(desk.work(&refund(1)).await, 1);
    let Data::RefundFailed(failed) = &desk.events()[1].data else { panic!("{:?}", desk.types()) };
    assert_eq!((failed.code.as_str(), failed.retryable), ("ACQ.SELLER_BALANCE_NOT_ENOUGH", true));
    assert_eq!(desk.work(&refund(2)).await, 1);
    assert_eq!(desk.types()[2..], ["refund.submitted", "refund.completed"]);
    assert_eq!(desk.refund_there(), (2, "800.00".to_owned()));
}

#[tokio::test]
async fn a_debit_whose_answer_was_lost_is_asked_about_and_never_made_twice() {
    for step in [MoveStep::SilentButDone, MoveStep::Http500ButDone, MoveStep::ResetButDone] {
        let desk = desk(debits([step.clone()])).await;
        assert_eq!(desk.work(&debit(1)).await, 2, "{step:?}");
        let Data::PaymentCaptured(captured) = &desk.events()[0].data else { panic!("{:?}", desk.types()) };
        assert_eq!((captured.channel_txn_no.clone(), captured.amount), (format!("D{}", card_order()), yuan("12.50")));
        assert_eq!((captured.evidence, captured.method), (Evidence::Query, Method::Withholding));
        assert_eq!(debit_there(&desk), (1, "12.50".to_owned()));
        // Another attempt, which somebody makes all the same: the trade is paid, and that is all it finds.
        assert_eq!(desk.work(&debit(2)).await, 2);
        assert_eq!(desk.events()[0].data, desk.events()[1].data);
        assert_eq!(debit_there(&desk).1, "12.50");
    }
}

#[tokio::test]
async fn a_debit_that_is_in_process_is_waited_for() {
    let desk = desk(debits([MoveStep::Accepted { processing: 2 }])).await;
    desk.work(&debit(1)).await;
    assert_eq!(desk.types(), ["payment.captured"]);
    assert_eq!(debit_there(&desk).1, "12.50");
}

#[tokio::test]
async fn a_declined_debit_tells_alipays_reason_and_may_be_tried_again_under_its_number() {
    let broke = MoveStep::RefuseRetryable { code: "ACQ.BUYER_BALANCE_NOT_ENOUGH".to_owned() };
    let desk = desk(debits([broke, MoveStep::Success])).await;
    assert_eq!(desk.work(&debit(1)).await, 1);
    let Data::PaymentDeclined(declined) = &desk.events()[0].data else { panic!("{:?}", desk.types()) };
    assert_eq!((declined.attempt, declined.response_code.as_str()), (1, "ACQ.BUYER_BALANCE_NOT_ENOUGH"));
    assert_eq!(desk.work(&debit(2)).await, 1);
    assert_eq!(desk.types(), ["payment.declined", "payment.captured"]);
    assert_eq!(debit_there(&desk), (2, "12.50".to_owned()));
}

#[tokio::test]
async fn an_ended_mandate_is_not_debited() {
    let desk = desk(Script::default()).await;
    desk.sandbox.sign_mandate("card-1", "agreement-1").await;
    desk.sandbox.end_mandate("agreement-1").await;
    desk.work(&debit(1)).await;
    let Data::PaymentDeclined(declined) = &desk.events()[0].data else { panic!("{:?}", desk.types()) };
    assert_eq!(declined.response_code, "ACQ.AGREEMENT_STATUS_NOT_NORMAL");
}

#[tokio::test]
async fn a_payment_is_found_once_alipay_knows_of_it() {
    let desk = desk(Script { queries_too_early: 1, ..Script::default() }).await;
    desk.sandbox.pay(payment(card_order()));
    let query = |tries| Call::QueryPayment { channel: "alipay-mini".parse().unwrap(), tries };
    for tries in [1, 2] {
        assert_eq!(desk.perform(&query(tries), false, 0).await, Next::Finish);
    }
    let events = desk.events();
    let Data::PaymentOutcomeUnknown(early) = &events[0].data else { panic!("{:?}", desk.types()) };
    assert_eq!(early.response_code, "NOT_FOUND");
    let Data::PaymentCaptured(captured) = &events[1].data else { panic!("{:?}", desk.types()) };
    let there = &desk.books().captures[&card_order()][0];
    assert_eq!((&captured.channel_txn_no, captured.amount), (&there.channel_txn_no, there.amount));
    assert_eq!((captured.business_date, events[1].occurred_at), (there.business_date, there.captured_at));
}

#[tokio::test]
async fn a_trade_that_was_closed_unpaid_is_no_capture() {
    let desk = desk(Script::default()).await;
    let channel: Name = "alipay-mini".parse().unwrap();
    desk.sandbox.close_trade(&channel, &card_order(), yuan("8.00"));
    desk.perform(&Call::QueryPayment { channel, tries: 1 }, false, 0).await;
    let Data::PaymentOutcomeUnknown(unknown) = &desk.events()[0].data else { panic!("{:?}", desk.types()) };
    assert_eq!(unknown.response_code, "TRADE_CLOSED");
}

/// A debit that waits for its payer, for longer than anybody asks.
fn waits() -> MoveStep {
    MoveStep::Accepted { processing: 100 }
}

/// A debit that is taken without an answer, and that Alipay does not find yet when it is asked.
fn taken_in_silence(cancels: Vec<MoveStep>) -> Script {
    Script { cancels, queries_too_early: 6, ..debits([MoveStep::Http500ButDone]) }
}

/// Every cancel is refused.
fn refused() -> Vec<MoveStep> {
    vec![MoveStep::RefuseFinal { code: "ACQ.CANCEL_NOT_ALLOWED".to_owned() }]
}

/// The one event of a debit that was cancelled before anything was charged.
fn closed(desk: &Desk) -> PaymentReversed {
    let events = desk.events();
    let [Event { data: Data::PaymentReversed(reversed), .. }] = &events[..] else { panic!("{:?}", desk.types()) };
    assert_eq!((reversed.amount, reversed.capture_id), (Amount::ZERO, None));
    assert_eq!((reversed.reason, reversed.method), (ReversalReason::CancelApi, Some(Method::Withholding)));
    reversed.clone()
}

/// The two events of a debit that was cancelled after it had been taken, each perhaps told again.
fn given_back(desk: &Desk) {
    let events = desk.events();
    let (Data::PaymentCaptured(captured), Data::PaymentReversed(reversed)) = (&events[0].data, &events[1].data) else {
        panic!("{:?}", desk.types())
    };
    assert_eq!((captured.channel_txn_no.clone(), captured.evidence), (format!("D{}", card_order()), Evidence::Query));
    assert_eq!((captured.amount, reversed.amount, reversed.attempt), (yuan("12.50"), yuan("12.50"), 1));
    assert_eq!((reversed.capture_id, reversed.method), (Some(events[0].id), Some(Method::Withholding)));
    let first = [events[0].id, events[1].id];
    assert!(events.chunks(2).all(|told| told.iter().map(|event| event.id).eq(first)), "{:?}", desk.types());
    assert_eq!((debit_there(desk).1, desk.books().refunded(&card_order())), ("12.50".to_owned(), yuan("12.50")));
}

#[tokio::test]
async fn a_debit_that_nobody_pays_is_asked_about_six_times_then_cancelled_and_tried_again_under_a_new_number() {
    let desk = desk(debits([waits(), MoveStep::Success])).await;
    assert_eq!(desk.work(&debit(1)).await, 7);
    let reversed = closed(&desk);
    assert_eq!((reversed.attempt, reversed.channel_txn_no), (1, card_order().to_string()));
    assert_eq!(desk.books().debits[card_order().as_str()].queries, 6);

    assert_eq!(desk.work(&debit_after(2, 1)).await, 1);
    let Data::PaymentCaptured(captured) = &desk.events()[1].data else { panic!("{:?}", desk.types()) };
    assert_eq!(captured.channel_txn_no, format!("D{}_2", card_order()));
    let books = desk.books();
    let moved: Vec<_> = books.debits.values().map(|debit| debit.money_moved.to_string()).collect();
    assert_eq!(moved, ["0.00", "12.50"], "{:?}", books.debits);

    // And it can go back, though its number is not the order's.
    let Call::Refund { refund_id, tries, .. } = refund(1) else { panic!() };
    let (channel, channel_txn_no) = ("alipay-withholding".parse().unwrap(), captured.channel_txn_no.clone());
    let back = Call::Refund { refund_id, tries, amount: yuan("12.50"), channel, channel_txn_no };
    let payload = TaskPayload { order_id: card_order(), correlation_id: None, causation_id: None, call: back };
    let attempt = Attempt { payload: &payload, unknown: false, stopped: false, tries: 0 };
    assert_eq!(desk.worker.perform(attempt, future::ready(Ok::<_, Infallible>(true))).await, Next::Finish);
    assert_eq!(desk.types()[2..], ["refund.submitted", "refund.completed"]);
}

#[tokio::test]
async fn a_stopped_debit_is_cancelled_at_the_first_question_and_never_sent_again() {
    let waiting = desk(debits([waits()])).await;
    assert!(matches!(waiting.perform(&debit(1), false, 0).await, Next::LeaveUnknown { .. }));
    assert_eq!(waiting.perform_stopped(&debit(1), 1).await, Next::Finish);
    closed(&waiting);

    let lost = desk(debits([MoveStep::ResetNotDone, MoveStep::Success])).await;
    assert!(matches!(lost.perform(&debit(1), false, 0).await, Next::LeaveUnknown { .. }));
    assert!(matches!(lost.perform_stopped(&debit(1), 1).await, Next::LeaveUnknown { .. }));
    assert!(matches!(lost.perform_stopped(&debit(1), 6).await, Next::End { .. }));
    assert_eq!((lost.types().len(), debit_there(&lost)), (0, (1, "0.00".to_owned())));

    let kept = desk(Script { cancels: refused(), ..debits([waits()]) }).await;
    assert!(matches!(kept.perform(&debit(1), false, 0).await, Next::LeaveUnknown { .. }));
    assert!(matches!(kept.perform_stopped(&debit(1), 6).await, Next::LeaveUnknown { .. }), "it can still be paid");

    let taken = desk(debits([MoveStep::ResetButDone])).await;
    assert!(matches!(taken.perform(&debit(1), false, 0).await, Next::LeaveUnknown { .. }));
    assert_eq!(taken.perform_stopped(&debit(1), 1).await, Next::Finish);
    assert_eq!(taken.types(), ["payment.captured"]);

    let hidden = desk(taken_in_silence(vec![])).await;
    assert!(matches!(hidden.perform(&debit(1), false, 0).await, Next::LeaveUnknown { .. }));
    assert_eq!(hidden.perform_stopped(&debit(1), 1).await, Next::Finish);
    given_back(&hidden);
}

#[tokio::test]
async fn what_alipay_dates_by_a_time_counts_in_the_day_of_the_channels_cutover() {
    for (cutover, day) in [("00:00:00", "2025-03-10"), ("23:00:00", "2025-03-11")] {
        let mut policy = Policy::default();
        for channel in ["alipay-mini", "alipay-withholding"] {
            policy.channels.get_mut(&channel.parse::<Name>().unwrap()).unwrap().cutover = cutover.parse().unwrap();
        }
        let desk = desk_with(Script::default(), policy).await;
        desk.sandbox.pay(payment(order()));
        let query = Call::QueryPayment { channel: "alipay-mini".parse().unwrap(), tries: 1 };
        desk.work(&refund(1)).await;
        desk.work(&debit(1)).await;
        desk.sandbox.pay(payment(card_order()));
        desk.work(&query).await;
        let days: Vec<NaiveDate> = desk
            .events()
            .iter()
            .filter_map(|event| match &event.data {
                Data::PaymentCaptured(data) => Some(data.business_date),
                Data::RefundCompleted(data) => Some(data.business_date),
                _ => None,
            })
            .collect();
        assert_eq!(days, [day.parse::<NaiveDate>().unwrap(); 3], "{cutover}");
    }
}

#[tokio::test]
async fn a_debit_that_was_taken_in_silence_is_cancelled_and_goes_back() {
    let desk = desk(taken_in_silence(vec![])).await;
    assert_eq!(desk.work(&debit(1)).await, 7);
    given_back(&desk);
}

#[tokio::test]
async fn a_debit_is_not_cancelled_while_no_question_is_answered() {
    for unanswered in [2, 6, 17] {
        let mut trade_queries = [Delivery::Http500].repeat(unanswered);
        trade_queries.push(Delivery::Prompt);
        let desk = desk(Script { trade_queries, ..debits([MoveStep::Http500ButDone]) }).await;
        desk.work(&debit(1)).await;
        assert_eq!((desk.types(), desk.books().refunds.len()), (vec!["payment.captured".to_owned()], 0));
        assert_eq!(desk.books().debits[card_order().as_str()].queries as usize, unanswered + 1);
    }
}

#[tokio::test]
async fn a_cancel_that_alipay_wants_again_is_asked_for_again_under_the_same_number() {
    let busy = MoveStep::RefuseRetryable { code: "ACQ.SYSTEM_ERROR".to_owned() };
    let desk = desk(Script { cancels: vec![busy.clone(), busy, MoveStep::Success], ..debits([waits()]) }).await;
    assert_eq!(desk.work(&debit(1)).await, 9);
    assert_eq!(closed(&desk).channel_txn_no, card_order().as_str());
    assert_eq!(debit_there(&desk).1, "0.00");
}

#[tokio::test]
async fn a_cancel_whose_answer_was_lost_is_found_by_the_question_and_is_the_same_fact() {
    for lost in [MoveStep::Http500ButDone, MoveStep::ResetButDone] {
        let desk = desk(Script { cancels: vec![lost.clone()], ..debits([waits()]) }).await;
        assert_eq!(desk.work(&debit(1)).await, 8, "{lost:?}");
        assert_eq!(closed(&desk).evidence, Evidence::Query);
        let desk = self::desk(taken_in_silence(vec![lost.clone()])).await;
        assert_eq!(desk.work(&debit(1)).await, 8, "{lost:?}");
        given_back(&desk);
    }
    // It never arrived, and the debit is found to have been taken: that counts.
    let desk = desk(taken_in_silence(vec![MoveStep::Http500NotDone])).await;
    assert_eq!(desk.work(&debit(1)).await, 8);
    assert_eq!((desk.types(), desk.books().refunds.len()), (vec!["payment.captured".to_owned()], 0));
}

#[tokio::test]
async fn a_cancel_that_the_log_did_not_hear_of_is_told_once_it_does_whoever_asks() {
    for script in [debits([waits()]), taken_in_silence(vec![])] {
        let desk = desk(script.clone()).await;
        for tries in 0..6 {
            assert!(matches!(desk.perform(&debit(1), tries > 0, tries).await, Next::LeaveUnknown { .. }));
        }
        desk.log.crash();
        assert!(matches!(desk.perform(&debit(1), true, 6).await, Next::LeaveUnknown { .. }));
        desk.log.resume();
        assert_eq!(desk.events(), []);
        assert_eq!(desk.perform(&debit(1), true, 7).await, Next::Finish);
        // Made anew by a rebuild, the task sends the debit first: the trade is closed, and then it asks.
        assert!(matches!(desk.perform(&debit(1), false, 0).await, Next::LeaveUnknown { .. }));
        assert_eq!(desk.perform(&debit(1), true, 1).await, Next::Finish);
        match script.queries_too_early == 0 {
            true => assert_eq!(desk.events()[0].id, desk.events()[1].id),
            false => given_back(&desk),
        }
    }
}

#[tokio::test]
async fn a_debit_that_alipay_does_not_know_cannot_be_cancelled_and_is_sent_under_its_number() {
    let mut steps = vec![MoveStep::Http500NotDone; 6];
    steps.push(MoveStep::Success);
    let desk = desk(debits(steps)).await;
    assert_eq!(desk.work(&debit(1)).await, 7);
    assert_eq!((desk.types(), debit_there(&desk)), (vec!["payment.captured".to_owned()], (7, "12.50".to_owned())));
}

#[tokio::test]
async fn a_debit_that_alipay_will_not_cancel_goes_on_as_it_would_without() {
    let desk = desk(taken_in_silence(refused())).await;
    assert_eq!(desk.work(&debit(1)).await, 8);
    assert_eq!((desk.types(), desk.books().refunds.len()), (vec!["payment.captured".to_owned()], 0));
    let desk = self::desk(Script { cancels: refused(), ..debits([MoveStep::Accepted { processing: 7 }]) }).await;
    desk.work(&debit(1)).await;
    assert_eq!((desk.types(), debit_there(&desk).1), (vec!["payment.captured".to_owned()], "12.50".to_owned()));
}

#[tokio::test]
async fn nothing_is_cancelled_by_who_has_lost_the_task_or_where_the_policy_says_never() {
    let desk = desk(debits([waits()])).await;
    assert!(matches!(desk.perform(&debit(1), false, 0).await, Next::LeaveUnknown { .. }));
    assert_eq!(desk.perform_if(&debit(1), true, 6, false).await, Next::Drop);
    let never = Policy { withholding_queries: 0, ..Policy::default() };
    let desk = desk_with(debits([waits()]), never).await;
    assert!(matches!(desk.perform(&debit(1), false, 0).await, Next::LeaveUnknown { .. }));
    assert!(matches!(desk.perform(&debit(1), true, 40).await, Next::LeaveUnknown { .. }));
    assert_eq!(desk.events(), []);
}
