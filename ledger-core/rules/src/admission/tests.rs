use chrono::NaiveTime;
use schemas::events::{Enrolment, RejectionReason, Resolution};

use crate::{
    order::OrderStatus,
    policy::{Blackout, Window},
    testing::{World, request, yuan},
};

fn refused(world: &World, number: u8) -> Option<RejectionReason> {
    world.order(number).rejection()
}

#[test]
fn a_student_who_is_not_enrolled_is_refused() {
    let mut world = World::at("10:00:00");
    let mut data = request("100.00");
    data.enrolment.result = Enrolment::NotEnrolled;
    world.read(1, data);
    assert_eq!(refused(&world, 1), Some(RejectionReason::NotEnrolled));
    assert_eq!(world.status(1), OrderStatus::Rejected);
    assert_eq!(world.books, Default::default(), "a refusal posts nothing");
}

#[test]
fn a_loan_that_the_bank_does_not_know_is_refused() {
    let mut world = World::at("10:00:00");
    let mut data = request("100.00");
    data.quote.found = false;
    assert_eq!(refused(world.read(1, data), 1), Some(RejectionReason::LoanNotFound));
}

#[test]
fn more_than_is_owed_is_refused() {
    let mut world = World::at("10:00:00");
    let mut data = request("100.01");
    data.quote.outstanding = Some(yuan("100.00"));
    assert_eq!(refused(world.read(1, data), 1), Some(RejectionReason::AboveOutstanding));
}

#[test]
fn a_request_in_flight_keeps_others_out_for_two_minutes() {
    let mut world = World::at("10:00:00");
    world.request(1, "100.00").wait(90).request(2, "100.00");
    assert_eq!(refused(&world, 2), Some(RejectionReason::InFlight));
    world.wait(35).request(3, "100.00");
    assert_eq!(refused(&world, 3), None);
    assert_eq!((world.status(1), world.status(3)), (OrderStatus::Expired, OrderStatus::AwaitingPayment));
}

#[test]
fn what_is_due_expires_before_a_request_is_judged() {
    let mut world = World::at("10:00:00");
    world.request(1, "100.00");
    world.now += chrono::TimeDelta::seconds(120);
    world.request(2, "100.00");
    assert_eq!(refused(&world, 2), None);
}

#[test]
fn a_contract_is_repaid_once_a_day() {
    let mut world = World::at("10:00:00");
    world.policy.booking_lock = false;
    world.request(1, "100.00").capture(1, "t1", "100.00").confirm(1, "100.00").wait(600).request(2, "50.00");
    assert_eq!(refused(&world, 2), Some(RejectionReason::DailyLimit));
    world.wait(14 * 3600).request(3, "50.00");
    assert_eq!(refused(&world, 3), None, "it is past midnight in Shanghai");
}

#[test]
fn the_booking_lock_keeps_the_contract_closed_until_it_is_booked_where_the_policy_says_so() {
    for (booking_lock, reason) in [(true, Some(RejectionReason::BookingLock)), (false, None)] {
        let mut world = World::at("10:00:00");
        world.policy.booking_lock = booking_lock;
        world.request(1, "100.00").capture(1, "t1", "100.00").confirm(1, "100.00").wait(24 * 3600).request(2, "50.00");
        assert_eq!(refused(&world, 2), reason);
        // Where the second one was admitted, it has lapsed by now.
        world.wait(24 * 3600).request(3, "50.00");
        assert_eq!(refused(&world, 3), None);
    }
}

#[test]
fn an_uncertain_repayment_uses_up_the_day_unless_the_policy_says_otherwise() {
    for (uses_the_day, today, tomorrow) in
        [(true, Some(RejectionReason::DailyLimit), Some(RejectionReason::BookingLock)), (false, None, None)]
    {
        let mut world = World::at("10:00:00");
        world.policy.uncertain_uses_the_day = uses_the_day;
        world.request(1, "100.00").capture(1, "t1", "100.00").uncertain(1, 1).wait(1).request(2, "50.00");
        assert_eq!(refused(&world, 2), today);
        world.wait(24 * 3600).request(3, "50.00");
        assert_eq!(refused(&world, 3), tomorrow, "the bank may still book it");
    }
}

#[test]
fn money_that_waits_for_the_bank_keeps_the_contract_in_flight() {
    let mut world = World::at("10:00:00");
    world.request(1, "100.00").capture(1, "t1", "100.00").wait(3600).request(2, "50.00");
    assert_eq!(refused(&world, 2), Some(RejectionReason::InFlight));
}

#[test]
fn money_that_was_there_first_keeps_its_own_request_from_nothing() {
    let mut world = World::at("10:00:00");
    world.capture(1, "t1", "100.00").capture(2, "t2", "50.00").request(1, "100.00").request(2, "50.00");
    assert_eq!((refused(&world, 1), refused(&world, 2)), (None, Some(RejectionReason::InFlight)));
    assert_eq!(world.status(1), OrderStatus::PaidUnconfirmed);
}

#[test]
fn a_failed_repayment_gives_the_day_back() {
    let mut world = World::at("10:00:00");
    world
        .request(1, "100.00")
        .capture(1, "t1", "100.00")
        .uncertain(1, 1)
        .resolve(1, Resolution::Failed)
        .wait(1)
        .request(2, "50.00");
    assert_eq!(refused(&world, 2), None);
}

#[test]
fn the_bank_can_close_hours_and_the_end_of_the_month() {
    let time = |text: &str| text.parse::<NaiveTime>().unwrap();
    let blackout =
        Blackout { daily: vec![Window { from: time("23:00:00"), until: time("00:00:00") }], last_days_of_month: 5 };
    for (wait_s, closed) in
        [(0, false), (3600, true), (7200, false), (15 * 86_400 + 7200, false), (16 * 86_400 + 7200, true)]
    {
        let mut world = World::at("22:00:00");
        world.policy.blackout = blackout.clone();
        world.wait(wait_s).request(1, "1.00");
        assert_eq!(
            refused(&world, 1),
            closed.then_some(RejectionReason::BlackoutWindow),
            "{wait_s} s after 22:00 on the 10th"
        );
    }
}
