//! The abnormal orders of events that happen in the field, by number.

use chrono::TimeDelta;
use schemas::{Amount, Balance, Event, StreamKind, events::*};
use uuid::Uuid;

use crate::{
    accounts::AccountCode::*,
    breaks::{Break, BreakClass, breaks_of},
    coordinator::{Call, Wanted, When},
    order::OrderStatus,
    reconciliation::{BreakDecision, BreakRefusal, Line},
    testing::*,
};

fn paid(amount: &str) -> World {
    let mut world = World::at("10:00:00");
    world.request(1, amount).capture(1, "t1", amount);
    world
}

fn topped_up(amount: &str) -> World {
    let mut world = World::of(StreamKind::Card, "10:00:00");
    world.read(1, top_up(amount)).read(1, paid_by("bestpay-web", "b1", amount));
    world
}

/// A student who owes 1,200 for the dormitory, in full, and 5,200 of tuition, in parts.
fn student() -> World {
    let mut world = World::of(StreamKind::Fees, "10:00:00");
    world.told(assessed("dorm", "1200.00", false)).told(assessed("tuition", "5200.00", true));
    world
}

fn arrears(world: &World) -> Balance {
    world.state.fees().unwrap().arrears()
}

fn debt(world: &World) -> Balance {
    world.books.total(WithholdingReceivable)
}

/// What stands with the order for its payer; in debit, it is recoverable.
fn clearing(world: &World) -> Balance {
    world.books.balance(PayerClearing, world.order_id(1).as_str())
}

fn reason(world: &World, txn: &str) -> Option<RefundReason> {
    world.order(1).refunds[&world.refund_id(1, txn)].reason
}

/// Whether all that is wanted is one refund, and the channel takes it in a file.
fn goes_back_by_file(world: &World) -> bool {
    matches!(world.wanted(1)[..], [Wanted { call: Call::Refund { .. }, when: When::ByFile, .. }])
}

fn breaks(world: &World) -> Vec<BreakClass> {
    breaks_of(world.order(1), &world.policy).into_iter().map(|found| found.class).collect()
}

#[test]
fn case_01_a_confirmation_before_its_capture_waits_for_it() {
    let mut world = World::at("10:00:00");
    world.request(1, "100.00").confirm(1, "100.00");
    assert_eq!((world.status(1), clearing(&world)), (OrderStatus::ConfirmedUnfunded, yuan("100.00").into()));
    let (class, grace_until) = (BreakClass::ConfirmedWithoutCapture, world.now + TimeDelta::minutes(5));
    assert_eq!(breaks_of(world.order(1), &world.policy), [Break { class, amount: yuan("100.00"), grace_until }]);
    world.wait(300).capture(1, "t1", "100.00");
    assert_eq!((world.status(1), breaks(&world), clearing(&world)), (OrderStatus::Completed, vec![], Balance::ZERO));
    assert_eq!(world.count("confirmation.requested"), 0, "the bank has already said so");
}

#[test]
fn case_02_a_capture_that_is_told_twice_counts_once() {
    let mut world = paid("100.00");
    let books = world.books.clone();
    world.wait(3).capture(1, "t1", "100.00");
    assert_eq!((world.count("payment.captured"), world.order(1).captured()), (1, yuan("100.00")));
    assert_eq!(world.books, books);
}

#[test]
fn case_03_the_first_of_two_captures_funds_the_order_and_the_second_goes_back() {
    let mut world = paid("100.00");
    world.capture(1, "t2", "100.00").capture(1, "t2", "100.00").confirm(1, "100.00");
    assert_eq!((world.count("refund.initiated"), reason(&world, "t2")), (1, Some(RefundReason::DuplicateCapture)));
    world.submit(1, "t2", 1).complete(1, "t2", "100.00");
    assert_eq!(world.status(1), OrderStatus::Completed);
}

#[test]
fn case_04_an_explicit_failure_is_refunded_at_once_and_exactly() {
    let mut world = paid("800.00");
    world.fail(1);
    assert_eq!((world.count("refund.initiated"), world.status(1)), (1, OrderStatus::RefundPending));
    world.submit(1, "t1", 1).complete(1, "t1", "800.00");
    assert_eq!(world.status(1), OrderStatus::Refunded);
    assert_eq!(world.books, Default::default());
    world.wait(86_400).fail(1);
    assert_eq!(world.count("refund.initiated"), 1);
}

#[test]
fn case_05_a_late_confirmation_cancels_a_refund_that_was_not_sent() {
    for by_a_person in [false, true] {
        let mut world = paid("100.00");
        world.fail(1);
        if by_a_person {
            world.resolve(1, Resolution::Confirmed)
        } else {
            world.confirm(1, "100.00")
        };
        assert_eq!((world.count("refund.cancelled"), world.status(1)), (1, OrderStatus::Completed));
        assert_eq!(world.books.total(LoanRepaymentPayable), -Balance::from(yuan("100.00")));
        assert!(world.wanted(1).is_empty(), "the channel is not called");
    }
}

#[test]
fn case_06_a_confirmation_after_the_refund_is_an_exception_until_the_bank_revokes() {
    let mut world = paid("100.00");
    world.refunds_claimed = true;
    world.fail(1).confirm(1, "100.00").submit(1, "t1", 1).complete(1, "t1", "100.00");
    assert_eq!((world.count("refund.cancelled"), world.status(1)), (0, OrderStatus::Exception));
    assert_eq!((breaks(&world), clearing(&world)), (vec![BreakClass::ConfirmedAfterRefund], yuan("100.00").into()));
    world.read(1, revoked("cdb", RevocationReason::BankUndid, "1", "100.00"));
    assert_eq!(world.books, Default::default());
    assert_eq!((world.status(1), breaks(&world)), (OrderStatus::Refunded, vec![]));
}

#[test]
fn case_07_a_refund_that_fails_is_tried_again_under_its_number_and_then_paid_by_a_person() {
    for (last, retryable) in [(5, true), (1, false)] {
        let mut world = paid("100.00");
        world.fail(1);
        let refund_id = world.refund_id(1, "t1");
        let failed = |tries, retryable| {
            let (code, message, evidence) = ("SELLER_BALANCE_NOT_ENOUGH".into(), String::new(), Evidence::SyncResponse);
            RefundFailed { refund_id, tries, code, message, retryable, evidence }
        };
        for tries in 1..last {
            world.submit(1, "t1", tries).read(1, failed(tries, true));
            let wanted = world.wanted(1);
            assert!(matches!(wanted[0].call, Call::Refund { tries: next, .. } if next == tries + 1), "try {tries}");
            assert_eq!(world.books.total(RefundPayable), -Balance::from(yuan("100.00")), "still owed to the payer");
        }
        world.submit(1, "t1", last).read(1, failed(last, retryable));
        assert_eq!((world.count("refund.escalated"), world.wanted(1).len()), (1, 0), "after {last}");
        assert_eq!(world.books.total(RefundPayable), -Balance::from(yuan("100.00")), "still owed to the payer");
        let (bank_account, bank_ref, approver) = (name("main"), "b1".into(), "finance-2".into());
        world.read(1, RefundPaidManually { refund_id, bank_account, bank_ref, amount: yuan("100.00"), approver });
        assert_eq!((world.status(1), world.books.total(RefundPayable)), (OrderStatus::Refunded, Balance::ZERO));
    }
}

#[test]
fn case_08_a_bounced_refund_is_owed_again() {
    let mut world = paid("100.00");
    world.fail(1).submit(1, "t1", 1).complete(1, "t1", "100.00");
    let returned = RefundReturned {
        refund_id: world.refund_id(1, "t1"),
        channel: name("ums-pos"),
        amount: yuan("100.00"),
        return_no: "r1".into(),
        reason: "card closed".into(),
        business_date: "2025-03-12".parse().unwrap(),
    };
    world.read(1, returned);
    assert_eq!((world.status(1), world.count("refund.escalated")), (OrderStatus::RefundPending, 1));
    assert_eq!(world.books.total(RefundPayable), -Balance::from(yuan("100.00")));
}

#[test]
fn case_09_a_capture_after_expiry_asks_the_bank_once_before_it_is_refunded() {
    for confirmed in [true, false] {
        let mut world = World::at("10:00:00");
        world.request(1, "100.00").wait(120);
        assert_eq!(world.status(1), OrderStatus::Expired);
        world.wait(7).capture(1, "t1", "100.00");
        assert_eq!((world.count("confirmation.requested"), world.count("refund")), (1, 0));
        if confirmed {
            world.confirm(1, "100.00");
            assert_eq!(world.status(1), OrderStatus::Completed);
        } else {
            world.fail(1);
            assert_eq!(reason(&world, "t1"), Some(RefundReason::LateCapture));
        }
    }
}

#[test]
fn case_10_an_uncertain_answer_keeps_the_money_with_the_payer_until_it_is_settled() {
    for (outcome, refunds, status) in
        [(Resolution::Confirmed, 0, OrderStatus::Completed), (Resolution::Failed, 1, OrderStatus::RefundPending)]
    {
        let mut world = paid("300.00");
        let slip = ReceiptPrinted { medium: Medium::Slip, outcome_text: ReceiptText::Uncertain, slip_sha256: None };
        world.uncertain(1, 1).read(1, slip).wait(2 * 86_400);
        assert_eq!((world.status(1), world.count("refund")), (OrderStatus::Uncertain, 0));
        assert_eq!((breaks(&world), clearing(&world)), (vec![], -Balance::from(yuan("300.00"))));
        world.resolve(1, outcome);
        assert_eq!((world.count("refund.initiated"), world.status(1)), (refunds, status));
    }
}

#[test]
fn case_11_a_capture_that_a_sync_finds_is_reversed_and_neither_asked_about_nor_refunded() {
    let mut world = World::at("10:00:00");
    world.request(1, "450.00").capture(1, "t1", "450.00");
    let reversal = reversed(&world.order(1).captures[0]);
    world.read(1, reversal).fail(1);
    assert_eq!((world.status(1), world.count("refund")), (OrderStatus::Reversed, 0));
    assert!(world.wanted(1).is_empty());
    assert_eq!(world.books, Default::default());

    // The sync found that nothing had been charged.
    let mut world = World::at("10:00:00");
    world.request(1, "450.00");
    world.read(1, PaymentOutcomeUnknown { attempt: 1, tries: 1, response_code: "98".into(), next_query_at: None });
    world.wait(120);
    assert_eq!(
        (world.status(1), world.count("order.expired")),
        (OrderStatus::PaymentUnknown, 1),
        "nobody has asked yet"
    );
    world.read(1, nothing_charged("ums-pos", "t1"));
    assert_eq!((world.status(1), world.books.clone()), (OrderStatus::Reversed, Default::default()));
    let mut channel = Channel::default();
    channel.told(9, nothing_charged(Channel::NAME, "t1"));
    assert_eq!(channel.accounts, Default::default());
    channel.file(10, "a", &[line("t1", "450.00")]);
    assert_eq!(channel.open(), ["t1 missing_in_ledger 450.00"], "it was charged after all");
}

#[test]
fn case_12_a_payment_whose_reversal_fails_counts_as_captured_and_goes_back_by_a_refund() {
    let failed = |tries, retryable| PaymentReversalFailed { attempt: 1, tries, code: "96".into(), retryable };
    let mut world = World::at("10:00:00");
    let mut asked = crate::testing::request("450.00");
    asked.channel = crate::testing::name("unionpay-cqp");
    world.read(1, asked);
    world.read(1, failed(1, true)).read(1, failed(2, true));
    assert!(world.wanted(1).is_empty(), "the channel tries again");
    world.read(1, failed(3, false));
    assert!(matches!(world.wanted(1)[0].call, Call::QueryPayment { tries: 1, .. }));
    world.capture(1, "t1", "450.00");
    assert_eq!((reason(&world, "t1"), world.count("confirmation")), (Some(RefundReason::ReversalFailed), 0));
    world.submit(1, "t1", 1).complete(1, "t1", "450.00");
    assert_eq!((world.status(1), world.order(1).reversed()), (OrderStatus::Refunded, Amount::ZERO));

    // Where the bank has been asked already, its answer counts.
    for (booked, status) in [(true, OrderStatus::Completed), (false, OrderStatus::RefundPending)] {
        let mut world = paid("450.00");
        world.read(1, failed(1, false));
        assert_eq!((world.status(1), world.count("refund")), (OrderStatus::PaidUnconfirmed, 0));
        _ = if booked { world.confirm(1, "450.00") } else { world.fail(1) };
        assert_eq!((world.status(1), world.order(1).reversed()), (status, Amount::ZERO));
    }
}

#[test]
fn case_13_partial_refunds_have_numbers_of_their_own_and_stay_within_the_capture() {
    let mut world = paid("100.00");
    world.confirm(1, "100.00").read(1, revoked("cdb", RevocationReason::BankUndid, "1", "100.00"));
    let capture = world.order(1).captures[0].id;
    for (number, amount) in [(1, "30.00"), (1, "30.00"), (2, "20.00"), (3, "50.01")] {
        world.read(1, asked_back(number, capture, amount));
    }
    assert_eq!((world.count("refund.initiated"), world.order(1).refund_open()), (2, yuan("50.00")));
    let refused = |number| world.order(1).refunds[&Uuid::from_u128(number)].rejected;
    assert_eq!([refused(1), refused(2), refused(3)], [None, None, Some(RefundRejectionReason::AboveRefundable)]);
}

#[test]
fn case_14_a_capture_of_another_amount_is_used_where_that_is_possible_and_the_rest_goes_back() {
    let loan = |amount| World::at("10:00:00").request(1, "100.00").capture(1, "t1", amount).order(1).refund_open();
    assert_eq!([loan("99.00"), loan("101.00")], [yuan("99.00"), yuan("101.00")], "a bank books no other amount");

    let card = |amount| {
        let mut world = World::of(StreamKind::Card, "10:00:00");
        world.read(1, top_up("100.00")).read(1, paid_by("bestpay-web", "b1", amount));
        let Call::CreditCard { amount, .. } = world.wanted(1)[0].call else { panic!("no credit is wanted") };
        world.read(1, credited(&amount.to_string(), CreditMode::Online));
        (amount, world.order(1).refund_open())
    };
    assert_eq!(card("99.00"), (yuan("99.00"), yuan("0.00")));
    assert_eq!(card("101.00"), (yuan("100.00"), yuan("1.00")));

    let fee = |item, asked, amount| {
        let mut world = student();
        world.read(1, fee_payment(&[(item, asked)])).read(1, paid_by("ejt", "e1", amount));
        (world.count("confirmation.requested"), world.order(1).refund_open())
    };
    assert_eq!(fee("dorm", "1200.00", "1199.00"), (0, yuan("1199.00")), "it must be paid in full");
    assert_eq!(fee("tuition", "400.00", "399.00"), (1, yuan("0.00")), "it may be paid in parts");
}

#[test]
fn case_15_an_amount_that_differs_in_the_statement_moves_the_channels_account_against_a_suspense() {
    for (theirs, class, balances) in [
        ("101.00", "t1 amount_channel_over 1.00", ["101.00", "-1.00", "0.00"]),
        ("99.00", "t1 amount_channel_under -1.00", ["99.00", "0.00", "1.00"]),
    ] {
        let mut channel = Channel::default();
        channel.paid(1, "t1", "100.00", 10);
        channel.file(10, "a", &[line("t1", theirs)]);
        assert_eq!((channel.open(), channel.balances()), (vec![class.to_owned()], balances.map(Into::into)));
        assert_eq!(channel.matched(10), 1, "it is the same payment all the same");
    }
}

#[test]
fn case_16_a_payment_under_no_order_of_ours_is_held_as_a_surplus_until_a_person_identifies_it_as_a_late_capture() {
    let mut world = World::of(StreamKind::Card, "10:00:00");
    world.read(1, top_up("30.00")).wait(1800);
    assert_eq!(world.status(1), OrderStatus::Expired);

    let mut channel = Channel::default();
    channel.file(10, "a", &[Line { order_no: Some("TEL-1".into()), ..line("t4", "30.00") }]);
    assert_eq!(
        (channel.open(), channel.balances()),
        (vec!["t4 unknown_order 30.00".into()], ["30.00", "-30.00", "0.00"].map(Into::into))
    );

    let identified = BreakDecision::LateCapturePosted { order: card_order(1), method: Method::Netbank };
    assert_eq!(channel.resolve("t4", &identified, &[]), Err(BreakRefusal::Approvers));
    channel.resolve("t4", &identified, &["finance-2"]).unwrap();
    assert_eq!((channel.open(), channel.balances()), (vec![], ["30.00", "0.00", "0.00"].map(Into::into)));
    assert_eq!(channel.accounts.balance(PayerClearing, card_order(1).as_str()), -Balance::from(yuan("30.00")));
    assert_eq!(channel.file(10, "a", &[Line { order_no: Some("TEL-1".into()), ..line("t4", "30.00") }]), 0);

    for event in of_orders(&channel) {
        world.read(1, event.data);
    }
    assert_eq!((world.count("confirmation.requested"), world.count("refund")), (1, 0), "as for any late capture");

    // Nobody identifies it.
    let mut channel = Channel::default();
    channel.file(10, "a", &[Line { order_no: Some("TEL-1".into()), ..line("t4", "30.00") }]);
    channel.resolve("t4", &BreakDecision::Refunded { method: Method::Netbank }, &["finance-2"]).unwrap();
    assert_eq!((channel.open(), channel.compare()), (vec![], 0));
    assert_eq!(channel.balances(), ["30.00", "0.00", "0.00"]);
    let mut world = World::of(StreamKind::Card, "10:00:00");
    for event in of_orders(&channel) {
        world.read(1, event.data);
    }
    assert_eq!(world.status(1), OrderStatus::RefundPending);
    assert_eq!(world.books.total(RefundPayable), -Balance::from(yuan("30.00")));
    assert_eq!((world.books.total(PayerClearing), breaks(&world)), (Balance::ZERO, vec![]));
    assert!(goes_back_by_file(&world));
}

/// What a channel's statements brought for orders.
fn of_orders(channel: &Channel) -> impl Iterator<Item = Event> {
    channel.log.iter().filter(|event| event.stream.kind().is_some()).cloned()
}

#[test]
fn case_17_a_capture_without_a_line_may_come_for_three_days_and_is_then_missing_at_the_channel() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "80.00", 10);
    for (date, file) in [(10, "a"), (11, "b"), (12, "c")] {
        channel.file(date, file, &[]);
        assert_eq!(
            (channel.open(), channel.balances()),
            (vec!["t1 timing -80.00".into()], ["80.00", "0.00", "0.00"].map(Into::into))
        );
    }
    assert_eq!(channel.books.open_breaks()[0].grace_until, Some(day(13)));
    channel.file(13, "d", &[]);
    assert_eq!(channel.books.open_breaks()[0].grace_until, None);
    assert_eq!(
        (channel.open(), channel.balances()),
        (vec!["t1 missing_in_channel -80.00".into()], ["0.00", "0.00", "80.00"].map(Into::into))
    );
    channel.file(20, "e", &[line("t1", "80.00")]);
    assert_eq!((channel.open(), channel.balances()), (vec![], ["80.00", "0.00", "0.00"].map(Into::into)));
    assert_eq!(channel.endings(), [BreakResolution::Superseded, BreakResolution::Timing]);
}

#[test]
fn case_28_a_statement_that_is_issued_again_takes_the_place_of_the_first_and_posts_nothing_twice() {
    let mut channel = Channel::default();
    channel.paid(1, "t1", "100.00", 10).paid(2, "t2", "50.00", 10);
    channel.file(10, "a", &[line("t1", "99.00"), line("t3", "30.00")]);
    assert_eq!(channel.open(), ["t1 amount_channel_under -1.00", "t2 timing -50.00", "t3 missing_in_ledger 30.00"]);
    assert_eq!(channel.balances(), ["179.00", "-30.00", "1.00"]);
    channel.file(10, "b", &[line("t2", "50.00"), line("t3", "30.00")]);
    assert_eq!(channel.open(), ["t1 timing -100.00", "t3 missing_in_ledger 30.00"]);
    assert_eq!((channel.balances(), channel.matched(10)), (["180.00", "-30.00", "0.00"].map(Into::into), 1));
    assert_eq!(channel.file(10, "b", &[line("t2", "50.00"), line("t3", "30.00")]), 0);
}

#[test]
fn case_18_a_card_host_that_refuses_for_now_is_asked_again_under_the_same_key_and_in_the_end_the_money_goes_back() {
    let mut world = topped_up("50.00");
    let mut captures = Vec::new();
    for (tries, wait) in [(1, 10), (2, 60), (3, 600)] {
        let Call::CreditCard { capture_id, .. } = world.wanted(1)[0].call else { panic!("no credit is wanted") };
        captures.push(capture_id);
        world.read(1, failed("school-1", tries, true));
        assert_eq!((world.count("refund"), world.status(1)), (0, OrderStatus::PaidUnconfirmed));
        world.wait(wait);
    }
    captures.dedup();
    assert_eq!(captures.len(), 1, "the host's key is made of the capture");
    world.read(1, failed("school-1", 4, true));
    assert_eq!((world.count("confirmation.requested"), world.count("confirmation.resolved")), (4, 1));
    let mut refused = topped_up("50.00");
    refused.read(1, failed("school-1", 1, false));
    for world in [world, refused] {
        assert_eq!((world.count("refund.initiated"), world.order(1).refund_open()), (1, yuan("50.00")));
        assert!(goes_back_by_file(&world));
    }
}

#[test]
fn case_19_a_credit_without_an_answer_is_neither_refunded_nor_sent_by_a_second_question() {
    for by_a_person in [false, true] {
        let mut world = topped_up("50.00");
        world.read(1, unknown("school-1", 1)).wait(3 * 86_400);
        assert_eq!(
            (world.status(1), world.count("confirmation.requested"), world.count("refund")),
            (OrderStatus::Uncertain, 1, 0)
        );
        assert!(breaks(&world).is_empty());
        match by_a_person {
            true => world.resolve(1, Resolution::Confirmed),
            false => world.read(1, CardCredited { evidence: Evidence::Query, ..credited("50.00", CreditMode::Online) }),
        };
        assert_eq!((world.status(1), world.count("card.credited")), (OrderStatus::Completed, 1));
        assert_eq!(world.books.total(CampusCardLiability), -Balance::from(yuan("50.00")));
        assert_eq!((world.count("confirmation.requested"), world.wanted(1)), (1, vec![]), "it is not sent again");
    }
}

#[test]
fn case_20_an_offline_purchase_inside_the_window_is_debited_however_late_it_is_uploaded() {
    let mut world = World::of(StreamKind::Card, "18:00:00");
    world.told(mandate());
    let mut upload = offline(&world, "9.90", Funding::Withholding, 9 * 3600);
    upload.uploaded_at += TimeDelta::hours(30);
    world.read(1, upload);
    let posted = world.order(1).purchase.as_ref().unwrap().posted.clone().unwrap();
    assert_eq!(posted.flags, [PurchaseFlag::UploadLag]);
    assert_eq!(posted.consumed_on.to_string(), "2025-03-10");
    assert_eq!((world.status(1), debt(&world)), (OrderStatus::AwaitingDebit, yuan("9.90").into()));
}

#[test]
fn case_21_a_purchase_outside_the_window_waits_for_a_person() {
    for outcome in [LatePurchaseOutcome::Accepted, LatePurchaseOutcome::MerchantBears] {
        let mut world = World::of(StreamKind::Card, "12:00:00");
        world.told(mandate());
        let upload = offline(&world, "15.00", Funding::Withholding, 26 * 3600);
        world.read(1, upload.clone()).read(1, upload);
        assert_eq!((world.status(1), world.books.clone()), (OrderStatus::Rejected, Default::default()));
        assert_eq!(breaks(&world), [BreakClass::LateOfflinePurchase]);
        world.read(1, OfflinePurchaseResolved { outcome, by: "operator-1".into() });
        assert_eq!(breaks(&world), []);
        let accepted = outcome == LatePurchaseOutcome::Accepted;
        assert_eq!(debt(&world), if accepted { yuan("15.00").into() } else { Balance::ZERO });
        assert_eq!(world.status(1), if accepted { OrderStatus::AwaitingDebit } else { OrderStatus::Rejected });
    }
}

#[test]
fn case_22_a_terminals_number_that_is_uploaded_twice_is_one_purchase() {
    let mut world = World::of(StreamKind::Card, "12:00:00");
    let upload = offline(world.told(mandate()), "9.90", Funding::Withholding, 3600);
    world.read(1, upload.clone());
    let books = world.books.clone();
    let again = OfflinePurchaseUploaded { uploaded_at: upload.uploaded_at + TimeDelta::days(1), ..upload };
    world.wait(60).read(1, again);
    assert_eq!((world.count("purchase.posted"), world.count("payment.initiated")), (1, 1));
    assert_eq!(world.books, books);
}

#[test]
fn case_23_a_debit_is_tried_three_times_and_then_stays_a_receivable_and_blocks_the_mandate() {
    let mut world = World::of(StreamKind::Card, "12:00:00");
    world.told(mandate()).read(1, purchase("12.50", Funding::Withholding));
    for (attempt, wait) in [(1, 3600), (2, 24 * 3600)] {
        world.read(1, declined(attempt)).wait(wait - 1);
        assert_eq!(world.count("payment.initiated"), usize::from(attempt));
        world.wait(1);
        assert_eq!(world.count("payment.initiated"), usize::from(attempt) + 1);
    }
    world.read(1, declined(3));
    stays_uncollected(&mut world, "12.50");
    // The holder pays after all.
    world.read(1, debited("a1", "12.50")).read(3, purchase("1.00", Funding::Withholding));
    assert_eq!((world.status(1), world.order(3).rejection()), (OrderStatus::Completed, None));
}

/// What is owed stays, and whoever owes it buys nothing more on debit, under whatever mandate.
fn stays_uncollected(world: &mut World, amount: &str) {
    world.told(WithholdingMandateSigned { agreement_no: "M2".into(), ..mandate() }).wait(30 * 86_400);
    assert_eq!((world.status(1), debt(world)), (OrderStatus::Uncollected, yuan(amount).into()));
    assert_eq!((world.count("payment.initiated"), world.count("withholding.uncollected")), (3, 1));
    world.read(2, purchase("1.00", Funding::Withholding));
    assert_eq!(world.order(2).rejection(), Some(RejectionReason::MandateBlocked));
}

#[test]
fn case_24_what_was_bought_before_the_mandate_ended_is_still_debited() {
    let mut world = World::of(StreamKind::Card, "12:00:00");
    let upload = offline(&world, "9.90", Funding::Withholding, 3600);
    world.told(mandate()).wait(60).told(ended()).read(1, upload);
    for (attempt, wait) in [(1, 3600), (2, 24 * 3600), (3, 0)] {
        assert_eq!((world.status(1), world.count("payment.initiated")), (OrderStatus::AwaitingDebit, attempt.into()));
        world.read(1, declined(attempt)).wait(wait);
    }
    stays_uncollected(&mut world, "9.90");
}

#[test]
fn case_25_a_chargeback_is_disputed_money_until_it_is_closed() {
    for (outcome, loss) in [(DisputeOutcome::Won, "0.00"), (DisputeOutcome::Lost, "500.00")] {
        let mut world = paid("500.00");
        world.confirm(1, "500.00");
        let capture_id = world.order(1).captures[0].id;
        world.read(1, chargeback(capture_id, "500.00"));
        assert_eq!((world.status(1), world.books.total(Disputed)), (OrderStatus::InDispute, yuan("500.00").into()));
        let evidence_sha256 = "e".repeat(64);
        world.read(1, ChargebackRepresented { channel: name("ums-pos"), case_no: "CB1".into(), evidence_sha256 });
        assert_eq!(world.status(1), OrderStatus::InDispute);
        world.read(1, dispute_closed("500.00", outcome, Bearer::Operator));
        assert_eq!(
            (world.books.total(Disputed), world.books.total(Loss)),
            (Balance::ZERO, yuan(loss).into()),
            "{outcome}"
        );
        assert_eq!(world.status(1), OrderStatus::Completed);
        assert_eq!(world.books.total(LoanRepaymentPayable), -Balance::from(yuan("500.00")), "the bank has booked it");
    }
}

/// The accounts of a card, a fee item and a contract are debited, so what they show goes down with them.
#[test]
fn case_25_a_lost_dispute_that_the_beneficiary_bears_is_taken_back_from_what_it_was_booked_to() {
    let lost = |beneficiary: &str| {
        let closed = dispute_closed("50.00", DisputeOutcome::Lost, Bearer::Beneficiary);
        ChargebackClosed { beneficiary: name(beneficiary), ..closed }
    };

    let mut world = topped_up("80.00");
    world.read(1, credited("80.00", CreditMode::Online)).read(1, lost("school-1"));
    let owner = format!("school-1/{}", world.stream);
    assert_eq!(world.state.card().unwrap().balance, yuan("30.00").into());
    assert_eq!(-world.books.balance(CampusCardLiability, &owner), yuan("30.00").into());
    // The value that a purchase by withholding was paid with was never on the card.
    world.read(2, ChargebackClosed { case_no: "CB2".into(), merchant: Some("canteen-1".into()), ..lost("school-1") });
    assert_eq!(world.state.card().unwrap().balance, yuan("30.00").into());
    assert_eq!(-world.books.balance(CampusCardLiability, &owner), yuan("30.00").into());
    assert_eq!(world.books.balance(CampusMerchantPayable, "school-1/canteen-1"), yuan("50.00").into());

    let mut world = student();
    world.read(1, fee_payment(&[("tuition", "80.00")])).read(1, paid_by("ejt", "e1", "80.00"));
    world.read(1, posted(1, "tuition", "80.00"));
    let owed = arrears(&world);
    let (fee_item, billing_year) = (Some("tuition".to_owned()), Some(2025));
    world.read(1, ChargebackClosed { fee_item, billing_year, ..lost("school-1") });
    assert_eq!(arrears(&world), owed + yuan("50.00"), "the student owes it again");
    assert_eq!(-world.books.balance(SchoolFeePayable, "school-1/tuition/2025"), yuan("30.00").into());

    let mut world = paid("80.00");
    world.confirm(1, "80.00").read(1, lost("cdb"));
    let owner = format!("cdb/{}", world.stream);
    assert_eq!(world.state.loan().unwrap().repaid, yuan("30.00").into());
    assert_eq!(-world.books.balance(LoanRepaymentPayable, &owner), yuan("30.00").into());
}

#[test]
fn case_26_a_payer_who_claims_to_have_paid_changes_nothing() {
    let mut world = student();
    world.read(1, fee_payment(&[("tuition", "400.00")])).read(1, PayerClaimRecorded { claim: Claim::Paid });
    assert!(matches!(world.wanted(1)[0].call, Call::QueryPayment { tries: 1, .. }));
    for tries in 1..=5 {
        world.read(
            1,
            PaymentOutcomeUnknown { attempt: 1, tries, response_code: "NOT_FOUND".into(), next_query_at: None },
        );
        assert_eq!(world.status(1), OrderStatus::PaymentUnknown, "not found may be too early");
    }
    world.wait(7200);
    assert_eq!((world.status(1), world.books.clone()), (OrderStatus::Expired, Default::default()));
    assert_eq!(arrears(&world), yuan("6400.00").into());
}

#[test]
fn case_27_a_payer_who_claims_a_problem_but_was_captured_is_posted() {
    let mut world = student();
    world.read(1, fee_payment(&[("tuition", "400.00")])).read(1, PayerClaimRecorded { claim: Claim::Problem });
    world.read(1, paid_by("ejt", "e1", "400.00")).read(1, posted(1, "tuition", "400.00"));
    let (code, number, check_code, amount) = ("61060125".into(), "1".into(), "a8f03c".into(), yuan("400.00"));
    world.read(1, FiscalReceiptIssued { code, number, check_code, amount });
    assert_eq!((world.status(1), arrears(&world)), (OrderStatus::Completed, yuan("6000.00").into()));
    assert_eq!(world.order(1).fiscal_receipts, yuan("400.00").into());
}
