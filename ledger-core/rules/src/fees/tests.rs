use schemas::{Balance, StreamKind, events::*};

use crate::{
    accounts::AccountCode::*,
    coordinator::Call,
    order::OrderStatus,
    testing::{World, asked_back, assessed, failed, fee_payment, name, paid_by, posted, unposted, yuan},
};

/// A student who owes 1,200 for the dormitory, in full, and 5,200 of tuition, in parts.
fn student() -> World {
    let mut world = World::of(StreamKind::Fees, "10:00:00");
    world.told(assessed("dorm", "1200.00", false)).told(assessed("tuition", "5200.00", true));
    world
}

fn by_ejt(txn: &str, amount: &str) -> PaymentCaptured {
    paid_by("ejt", txn, amount)
}

fn arrears(world: &World) -> Balance {
    world.state.fees().unwrap().arrears()
}

fn refused(world: &World, number: u8) -> Option<RejectionReason> {
    world.order(number).rejection()
}

#[test]
fn several_items_are_paid_at_once_and_each_is_posted() {
    let mut world = student();
    assert_eq!(arrears(&world), yuan("6400.00").into());
    world.read(1, fee_payment(&[("dorm", "1200.00"), ("tuition", "2000.00")])).read(1, by_ejt("e1", "3200.00"));
    let wanted = world.wanted(1);
    assert!(
        matches!(&wanted[..], [wanted] if matches!(&wanted.call, Call::PostFees { lines, .. } if lines.len() == 2))
    );
    world.read(1, posted(1, "dorm", "1200.00"));
    assert_eq!(world.status(1), OrderStatus::PaidUnconfirmed, "a line is missing");
    world.read(1, posted(2, "tuition", "2000.00"));
    assert_eq!((world.status(1), arrears(&world)), (OrderStatus::Completed, yuan("3200.00").into()));
    assert_eq!(world.books.balance(SchoolFeePayable, "school-1/dorm/2025"), -Balance::from(yuan("1200.00")));
    assert_eq!(world.books.balance(SchoolFeePayable, "school-1/tuition/2025"), -Balance::from(yuan("2000.00")));
}

#[test]
fn each_refusal_of_a_fee_payment_has_its_code() {
    let mut world = student();
    for (number, lines, reason) in [
        (1, [("dorm", "600.00")], Some(RejectionReason::InstalmentNotAllowed)),
        (2, [("dorm", "1200.01")], Some(RejectionReason::ItemNotPayable)),
        (3, [("books", "400.00")], Some(RejectionReason::ItemNotPayable)),
        (4, [("tuition", "2000.00")], None),
    ] {
        world.read(number, fee_payment(&lines));
        assert_eq!(refused(&world, number), reason, "{lines:?}");
    }
}

#[test]
fn what_another_payment_has_in_hand_cannot_be_paid_until_that_has_lapsed() {
    let mut world = student();
    world.read(1, fee_payment(&[("tuition", "5000.00")])).read(2, fee_payment(&[("tuition", "300.00")]));
    assert_eq!(refused(&world, 2), Some(RejectionReason::ItemNotPayable));
    world.now += chrono::TimeDelta::seconds(7200);
    world.read(3, fee_payment(&[("tuition", "300.00")]));
    assert_eq!((world.status(1), refused(&world, 3)), (OrderStatus::Expired, None));
}

#[test]
fn money_that_was_there_first_is_not_in_the_way_of_its_own_payment() {
    let mut world = student();
    world.read(1, by_ejt("t1", "5000.00")).read(1, fee_payment(&[("tuition", "5000.00")]));
    assert_eq!((refused(&world, 1), world.status(1)), (None, OrderStatus::PaidUnconfirmed));
}

#[test]
fn a_reduction_lowers_what_is_owed_and_counts_once() {
    let mut world = student();
    let reduced = FeeItemAdjusted {
        adjustment_no: "A1".into(),
        school: name("school-1"),
        fee_item: "tuition".into(),
        billing_year: 2025,
        change: "-1200.00".parse().unwrap(),
        reason: "scholarship".into(),
    };
    world.told(reduced.clone()).told(reduced);
    assert_eq!(arrears(&world), yuan("5200.00").into());
}

#[test]
fn two_payments_of_one_order_are_one_posting_and_one_refund() {
    let mut world = student();
    world.read(1, fee_payment(&[("tuition", "400.00")]));
    world.read(1, by_ejt("e1", "400.00")).read(1, by_ejt("e2", "400.00")).read(1, by_ejt("e2", "400.00"));
    world.read(1, posted(1, "tuition", "400.00"));
    assert_eq!((world.count("refund.initiated"), world.order(1).refund_open()), (1, yuan("400.00")));
    assert_eq!(arrears(&world), yuan("6000.00").into());
}

#[test]
fn less_is_posted_to_an_item_in_parts_and_refunded_where_it_must_be_paid_in_full() {
    let mut world = student();
    world.read(1, fee_payment(&[("tuition", "400.00")])).read(1, by_ejt("e1", "399.00"));
    assert!(matches!(&world.wanted(1)[0].call, Call::PostFees { lines, .. } if lines[0].amount == yuan("399.00")));
    world.read(1, posted(1, "tuition", "399.00"));
    assert_eq!(world.status(1), OrderStatus::Completed);
    world.read(2, fee_payment(&[("dorm", "1200.00")])).read(2, by_ejt("e2", "1199.00"));
    assert_eq!((world.order(2).refund_open(), world.count("confirmation.requested")), (yuan("1199.00"), 1));
}

#[test]
fn more_than_was_asked_for_goes_back_once_the_rest_is_posted() {
    let mut world = student();
    world.read(1, fee_payment(&[("dorm", "1200.00")])).read(1, by_ejt("e1", "1250.00"));
    assert_eq!(world.count("refund"), 0);
    world.read(1, posted(1, "dorm", "1200.00"));
    assert_eq!(world.order(1).refund_open(), yuan("50.00"));
}

#[test]
fn a_line_that_the_school_refuses_goes_back_and_the_others_stay() {
    let mut world = student();
    world.read(1, fee_payment(&[("dorm", "1200.00"), ("tuition", "2000.00")])).read(1, by_ejt("e1", "3200.00"));
    world.read(1, posted(1, "dorm", "1200.00")).read(1, failed("school-1", 1, false));
    assert_eq!(world.order(1).refund_open(), yuan("2000.00"));
    assert_eq!(arrears(&world), yuan("5200.00").into());
}

#[test]
fn a_person_who_says_that_it_was_posted_settles_every_line() {
    let mut world = student();
    world.read(1, fee_payment(&[("dorm", "1200.00"), ("tuition", "2000.00")])).read(1, by_ejt("e1", "3200.00"));
    world.resolve(1, Resolution::Confirmed);
    assert_eq!((world.count("fee.posted"), world.status(1)), (2, OrderStatus::Completed));
}

#[test]
fn a_fee_that_is_unposted_is_owed_again_and_can_be_refunded() {
    let mut world = student();
    world.read(1, fee_payment(&[("tuition", "400.00")])).read(1, by_ejt("e1", "400.00"));
    world.read(1, posted(1, "tuition", "400.00"));
    let asked = asked_back(1, world.order(1).captures[0].id, "400.00");
    world.read(1, unposted("1", "tuition", "400.00")).read(1, asked);
    assert_eq!((arrears(&world), world.order(1).refund_open()), (yuan("6400.00").into(), yuan("400.00")));
}
