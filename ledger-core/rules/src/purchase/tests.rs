use chrono::TimeDelta;
use schemas::{Balance, StreamKind, events::*};

use crate::{
    accounts::AccountCode::*,
    breaks::{BreakClass, breaks_of},
    business_day::shanghai,
    coordinator::{Call, Wanted},
    order::OrderStatus,
    policy::WindowFrom,
    testing::{
        World, asked_back, completed, debited, declined, ended, given_back, given_up, mandate, name, nothing_charged,
        offline, purchase, returned, reversed, yuan,
    },
};

fn card(time: &str) -> World {
    World::of(StreamKind::Card, time)
}

fn debt(world: &World) -> Balance {
    world.books.total(WithholdingReceivable)
}

fn refused(world: &World, number: u8) -> Option<RejectionReason> {
    world.order(number).rejection()
}

fn limit(world: &World, daily: &str) -> SpendingLimitSet {
    SpendingLimitSet {
        setting_no: "S1".into(),
        school: name("school-1"),
        daily_limit: Some(yuan(daily)),
        set_by: LimitSetter::Parent,
        effective_from: shanghai(&world.now),
    }
}

#[test]
fn a_purchase_from_the_cards_value_is_owed_to_the_merchant() {
    let mut world = card("12:00:00");
    world.read(1, purchase("20.00", Funding::CardBalance));
    assert_eq!(world.status(1), OrderStatus::Completed);
    assert_eq!(world.books.balance(CampusMerchantPayable, "school-1/canteen-1"), -Balance::from(yuan("20.00")));
    assert_eq!(world.state.card().unwrap().balance, -Balance::from(yuan("20.00")));
    world.read(1, given_back("r1", "20.00", Funding::CardBalance));
    assert_eq!((world.status(1), world.books.clone()), (OrderStatus::Refunded, Default::default()));
}

#[test]
fn spending_above_the_daily_limit_is_refused_online_and_flagged_offline() {
    let mut world = card("12:00:00");
    let set = limit(&world, "30.00");
    world.told(set).read(1, purchase("22.00", Funding::CardBalance)).read(2, purchase("9.00", Funding::CardBalance));
    assert_eq!(refused(&world, 2), Some(RejectionReason::SpendingLimit));
    let upload = offline(&world, "9.00", Funding::CardBalance, 0);
    world.read(3, upload);
    let order = world.order(3).purchase.as_ref().unwrap();
    assert_eq!(order.posted.as_ref().unwrap().flags, [PurchaseFlag::AboveLimit]);
    world.wait(24 * 3600).read(4, purchase("9.00", Funding::CardBalance));
    assert_eq!(refused(&world, 4), None, "another day");
}

#[test]
fn a_card_whose_loss_was_reported_buys_nothing() {
    let mut world = card("12:00:00");
    let report = CardSuspended {
        report_no: "L1".into(),
        school: name("school-1"),
        reason: SuspensionReason::Loss,
        effective_at: shanghai(&world.now),
    };
    world.told(report).read(1, purchase("5.00", Funding::CardBalance));
    assert_eq!(refused(&world, 1), Some(RejectionReason::CardSuspended));
    let upload = offline(&world, "5.00", Funding::CardBalance, 0);
    world.read(2, upload);
    let posted = world.order(2).purchase.as_ref().unwrap().posted.as_ref().unwrap();
    assert_eq!(posted.flags, [PurchaseFlag::CardSuspended], "it was bought, so the fact is kept");
    let found = CardReinstated { report_no: "L1".into(), school: name("school-1"), effective_at: shanghai(&world.now) };
    world.told(found).read(3, purchase("5.00", Funding::CardBalance));
    assert_eq!(refused(&world, 3), None);
}

#[test]
fn withholding_needs_a_mandate() {
    let mut world = card("12:00:00");
    world.read(1, purchase("12.50", Funding::Withholding));
    assert_eq!(refused(&world, 1), Some(RejectionReason::NoMandate));
    world.told(mandate()).told(ended()).read(2, purchase("12.50", Funding::Withholding));
    assert_eq!(refused(&world, 2), Some(RejectionReason::NoMandate));
}

#[test]
fn a_swipe_is_debited_at_alipay_and_the_cards_value_stays() {
    let mut world = card("12:00:00");
    world.told(mandate()).read(1, purchase("12.50", Funding::Withholding));
    assert_eq!((world.status(1), debt(&world)), (OrderStatus::AwaitingDebit, yuan("12.50").into()));
    let wanted = world.wanted(1);
    assert!(
        matches!(&wanted[..], [wanted] if matches!(&wanted.call, Call::Debit { attempt: 1, agreement_no, .. } if agreement_no == "M1"))
    );
    world.read(1, debited("a1", "12.50"));
    assert_eq!((world.status(1), debt(&world)), (OrderStatus::Completed, Balance::ZERO));
    assert_eq!(world.state.card().unwrap().balance, Balance::ZERO);
    assert_eq!(world.books.balance(CampusMerchantPayable, "school-1/canteen-1"), -Balance::from(yuan("12.50")));
    assert!(world.wanted(1).is_empty() && breaks_of(world.order(1), &world.policy).is_empty());
}

#[test]
fn a_debit_is_stopped_once_nothing_is_owed_and_stands_for_what_was_decided_until_then() {
    let mut world = card("12:00:00");
    world.told(mandate()).read(1, purchase("12.50", Funding::Withholding));
    let wanted = |world: &World| match &world.wanted(1)[..] {
        [Wanted { call: Call::Debit { amount, .. }, stopped, .. }] => (amount.to_string(), *stopped),
        other => panic!("{other:?}"),
    };
    assert_eq!(wanted(&world), ("12.50".to_owned(), false));
    world.read(1, returned("r1", "2.50"));
    assert_eq!(wanted(&world), ("12.50".to_owned(), false), "its number stands for this amount");
    world.read(1, returned("r2", "10.00"));
    assert_eq!((wanted(&world), world.status(1)), (("12.50".to_owned(), true), OrderStatus::Refunded));
    world.read(1, debited("a1", "12.50"));
    assert_eq!((world.status(1), debt(&world)), (OrderStatus::RefundPending, -Balance::from(yuan("12.50"))));
}

#[test]
fn a_holder_is_debited_through_the_channel_that_the_policy_names() {
    for through in ["alipay-withholding", "another"] {
        let mut world = card("12:00:00");
        world.policy.withholding_channel = name(through);
        world.told(mandate()).read(1, purchase("12.50", Funding::Withholding));
        let wanted = world.wanted(1);
        let [wanted] = wanted.as_slice() else { panic!("{wanted:?}") };
        assert!(matches!(&wanted.call, Call::Debit { channel, .. } if *channel == name(through)), "{wanted:?}");
    }
}

#[test]
fn what_is_given_up_is_borne_by_whom_a_person_names() {
    for (bearer, account) in [(LossBearer::Operator, Loss), (LossBearer::Merchant, CampusMerchantPayable)] {
        let mut world = card("12:00:00");
        world.policy.withholding_retry_s.clear();
        world.told(mandate()).read(1, purchase("12.50", Funding::Withholding)).read(1, declined(1));
        world.read(1, given_up(yuan("12.50"), bearer));
        assert_eq!((debt(&world), world.status(1)), (Balance::ZERO, OrderStatus::Completed));
        let expected = if account == Loss { yuan("12.50").into() } else { Balance::ZERO };
        assert_eq!(world.books.total(account), expected);
    }
}

#[test]
fn late_purchases_count_at_the_operators_risk_where_the_policy_says_so_and_else_wait_for_a_person() {
    for (at_operators_risk, flags, status) in [
        (true, Some(vec![PurchaseFlag::OutsideWindow]), OrderStatus::AwaitingDebit),
        (false, None, OrderStatus::Rejected),
    ] {
        let mut world = card("12:00:00");
        world.policy.offline.late_at_operators_risk = at_operators_risk;
        let upload = offline(world.told(mandate()), "15.00", Funding::Withholding, 26 * 3600);
        world.read(1, upload);
        let posted = world.order(1).purchase.as_ref().and_then(|purchase| purchase.posted.clone());
        assert_eq!((posted.map(|posted| posted.flags), world.status(1)), (flags, status));
        assert_eq!(refused(&world, 1), (!at_operators_risk).then_some(RejectionReason::CodeExpired));
    }
}

#[test]
fn the_window_is_counted_from_the_code_or_from_the_terminals_last_contact() {
    for (window_from, refused_with) in
        [(WindowFrom::CodeIssued, Some(RejectionReason::CodeExpired)), (WindowFrom::TerminalOnline, None)]
    {
        let mut world = card("12:00:00");
        world.policy.offline.window_from = window_from;
        let mut upload = offline(&world, "15.00", Funding::Withholding, 26 * 3600);
        upload.terminal_online_at = Some(shanghai(&world.now) - TimeDelta::hours(1));
        world.told(mandate()).read(1, upload);
        assert_eq!(refused(&world, 1), refused_with, "{window_from:?}");
    }
}

#[test]
fn a_purchase_without_any_mandate_is_uncollected_at_once() {
    let mut world = card("12:00:00");
    let upload = offline(&world, "9.90", Funding::Withholding, 3600);
    world.read(1, upload);
    assert_eq!((world.count("payment.initiated"), world.status(1)), (0, OrderStatus::Uncollected));
}

#[test]
fn a_second_debit_of_one_purchase_goes_back() {
    let mut world = card("12:00:00");
    world.told(mandate()).read(1, purchase("12.50", Funding::Withholding));
    world.read(1, debited("a1", "12.50")).read(1, debited("a2", "12.50"));
    assert_eq!((world.count("refund.initiated"), world.order(1).refund_open()), (1, yuan("12.50")));
    assert_eq!(debt(&world), Balance::ZERO, "it is owed out of what the holder had been debited");
}

#[test]
fn a_returned_purchase_goes_back_to_the_payer_by_a_refund_that_somebody_asks_for() {
    let mut world = card("12:00:00");
    world.told(mandate()).read(1, purchase("12.50", Funding::Withholding)).read(1, debited("a1", "12.50"));
    let asked = asked_back(7, world.order(1).captures[0].id, "12.50");
    world.read(1, returned("1", "12.50")).read(1, asked);
    assert_eq!(world.status(1), OrderStatus::RefundPending);
    assert_eq!((debt(&world), world.books.total(CampusMerchantPayable)), (Balance::ZERO, Balance::ZERO));
}

#[test]
fn a_purchase_that_was_asked_for_online_and_then_made_offline_is_one_in_either_order_of_report() {
    for upload_first in [true, false] {
        let mut world = card("12:00:00");
        let upload = offline(world.told(mandate()), "15.00", Funding::Withholding, 26 * 3600);
        let set = limit(&world, "10.00");
        world.told(set);
        let online = purchase("15.00", Funding::Withholding);
        if upload_first {
            world.read(1, upload).read(1, online);
        } else {
            world.read(1, online).read(1, upload);
        }
        assert_eq!((world.status(1), world.count("purchase.posted")), (OrderStatus::Rejected, 0));
        assert_eq!(breaks_of(world.order(1), &world.policy)[0].class, BreakClass::LateOfflinePurchase);
        world.read(1, OfflinePurchaseResolved { outcome: LatePurchaseOutcome::Accepted, by: "operator-1".into() });
        assert_eq!(
            (world.status(1), world.count("purchase.posted")),
            (OrderStatus::AwaitingDebit, 1),
            "{upload_first}"
        );
    }
}

#[test]
fn a_returned_purchase_counts_as_refunded_once_the_money_has_gone_back() {
    let mut world = card("12:00:00");
    world.told(mandate()).read(1, purchase("12.50", Funding::Withholding)).read(1, debited("a1", "12.50"));
    world.read(1, returned("1", "12.50"));
    assert_eq!((world.status(1), world.count("refund")), (OrderStatus::RefundPending, 0));
    let asked = asked_back(7, world.order(1).captures[0].id, "12.50");
    let refund = asked.refund_id;
    world.read(1, asked).read(1, completed(refund, "alipay-withholding", "12.50"));
    assert_eq!((world.status(1), world.books.clone()), (OrderStatus::Refunded, Default::default()));
}

#[test]
fn what_is_debited_after_it_was_given_up_is_to_go_back() {
    let mut world = card("12:00:00");
    world.policy.withholding_retry_s.clear();
    world.told(mandate()).read(1, purchase("12.50", Funding::Withholding)).read(1, declined(1));
    world.read(1, given_up(yuan("12.50"), LossBearer::Operator)).read(1, debited("a1", "12.50"));
    assert_eq!((world.status(1), debt(&world)), (OrderStatus::RefundPending, -Balance::from(yuan("12.50"))));
}

#[test]
fn a_debit_of_a_purchase_that_was_refused_goes_back() {
    let mut world = card("12:00:00");
    world.read(1, purchase("12.50", Funding::Withholding)).read(1, debited("a1", "12.50"));
    assert_eq!(refused(&world, 1), Some(RejectionReason::NoMandate));
    assert_eq!(world.order(1).refund_open(), yuan("12.50"));
    assert_eq!(world.order(1).refunds.values().next().unwrap().reason, Some(RefundReason::OrderRejected));
}

#[test]
fn a_debit_of_a_late_purchase_waits_for_the_person_who_decides_about_it() {
    for (outcome, back) in [(LatePurchaseOutcome::Accepted, "0.00"), (LatePurchaseOutcome::MerchantBears, "15.00")] {
        let mut world = card("12:00:00");
        let upload = offline(world.told(mandate()), "15.00", Funding::Withholding, 26 * 3600);
        world.read(1, upload).read(1, debited("a1", "15.00"));
        assert_eq!(world.count("refund"), 0);
        world.read(1, OfflinePurchaseResolved { outcome, by: "operator-1".into() });
        assert_eq!((world.order(1).refund_open(), world.count("payment.initiated")), (yuan(back), 0), "{outcome}");
    }
}

#[test]
fn what_a_debit_gave_back_is_owed_again() {
    let mut world = card("12:00:00");
    world.told(mandate()).read(1, purchase("12.50", Funding::Withholding));
    world.read(1, debited("a1", "12.50")).read(1, debited("a2", "12.50"));
    let undone = reversed(&world.order(1).captures[0]);
    world.read(1, undone);
    assert_eq!((world.order(1).refund_open(), debt(&world)), (yuan("12.50"), yuan("12.50").into()));
    let receivable = world.order(1).purchase.as_ref().unwrap().receivable(world.order(1));
    assert_eq!((receivable, world.status(1)), (debt(&world), OrderStatus::Uncollected));
}

#[test]
fn a_debit_that_the_channel_undid_is_uncollected_and_a_person_sees_it() {
    let mut world = card("12:00:00");
    world.told(mandate()).read(1, purchase("12.50", Funding::Withholding)).read(1, debited("a1", "12.50"));
    let undone = reversed(&world.order(1).captures[0]);
    world.read(1, undone);
    assert_eq!((world.status(1), debt(&world)), (OrderStatus::Uncollected, yuan("12.50").into()));
    assert!(world.wanted(1).is_empty());
}

#[test]
fn a_debit_that_was_cancelled_before_it_charged_anything_is_tried_again_like_a_declined_one() {
    let mut world = card("12:00:00");
    world.told(mandate()).read(1, purchase("12.50", Funding::Withholding));
    world.read(1, nothing_charged("alipay-withholding", "a1")).wait(3599);
    assert_eq!((world.count("payment.initiated"), world.wanted(1)), (1, vec![]));
    world.wait(1);
    assert!(matches!(&world.wanted(1)[..], [wanted] if matches!(wanted.call, Call::Debit { attempt: 2, .. })));
    assert_eq!((world.status(1), debt(&world)), (OrderStatus::AwaitingDebit, yuan("12.50").into()));
}

#[test]
fn attempts_after_a_cancelled_one_share_a_number_that_is_not_used_up() {
    let mut world = card("12:00:00");
    world.policy.withholding_retry_s = vec![60; 3];
    world.told(mandate()).read(1, purchase("12.50", Funding::Withholding)).read(1, declined(1));
    let number = |world: &World| match &world.wanted(1)[..] {
        [Wanted { call: Call::Debit { attempt, cancelled, .. }, .. }] => (*attempt, *cancelled),
        other => panic!("{other:?}"),
    };
    assert_eq!(number(world.wait(60)), (2, 0), "a declined debit leaves its number");
    world.read(1, PaymentReversed { attempt: 2, ..nothing_charged("alipay-withholding", "a1") });
    assert_eq!(number(world.wait(60)), (3, 2));
    world.read(1, declined(3));
    assert_eq!(number(world.wait(60)), (4, 2));
    world.read(1, debited("a2", "12.50"));
    assert_eq!((world.status(1), debt(&world)), (OrderStatus::Completed, Balance::ZERO));
}

#[test]
fn a_debit_that_was_cancelled_after_it_was_taken_leaves_nothing_and_goes_to_a_person() {
    for notice_first in [true, false] {
        let mut world = card("12:00:00");
        world.told(mandate()).read(1, purchase("12.50", Funding::Withholding));
        let mut debited_before = card("12:00:00");
        debited_before.told(mandate()).read(1, purchase("12.50", Funding::Withholding)).read(1, debited("a1", "12.50"));
        let undone = reversed(&debited_before.order(1).captures[0]);
        if notice_first {
            world.read(1, debited("a1", "12.50")).read(1, undone);
        } else {
            world.read(1, undone).read(1, debited("a1", "12.50"));
        }
        assert_eq!((world.status(1), debt(&world)), (OrderStatus::Uncollected, yuan("12.50").into()));
        assert_eq!((world.books.total(ChannelReceivable), world.count("refund")), (Balance::ZERO, 0));
        assert!(world.wanted(1).is_empty());
    }
}

#[test]
fn a_debit_that_is_told_as_paid_after_it_was_closed_pays_for_the_purchase_and_a_second_one_goes_back() {
    let mut world = card("12:00:00");
    world.told(mandate()).read(1, purchase("12.50", Funding::Withholding));
    world.read(1, nothing_charged("alipay-withholding", "a1")).read(1, debited("a1", "12.50"));
    assert_eq!((world.status(1), world.count("payment.initiated")), (OrderStatus::Completed, 1));
    assert!(world.wait(3600).wanted(1).is_empty());
    world.read(1, debited("a2", "12.50"));
    assert_eq!((world.count("refund.initiated"), world.order(1).refund_open()), (1, yuan("12.50")));
}

#[test]
fn what_a_debit_did_not_take_is_uncollected() {
    let mut world = card("12:00:00");
    world.told(mandate()).read(1, purchase("12.50", Funding::Withholding)).read(1, debited("a1", "5.00"));
    assert_eq!((world.status(1), debt(&world)), (OrderStatus::Uncollected, yuan("7.50").into()));
    assert!(world.wanted(1).is_empty(), "no second debit under the same number");
}
