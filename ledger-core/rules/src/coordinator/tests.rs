use schemas::{Balance, Data, events::*};
use uuid::Uuid;

use super::Call;
use crate::{
    accounts::AccountCode::*,
    breaks::{BreakClass, breaks_of},
    order::OrderStatus,
    testing::{World, asked_back, chargeback, dispute_closed, name, reversed, revoked, yuan},
};

fn paid(amount: &str) -> World {
    let mut world = World::at("10:00:00");
    world.request(1, amount).capture(1, "t1", amount);
    world
}

#[test]
fn a_capture_is_followed_by_one_question_to_the_bank() {
    let world = paid("5000.00");
    assert_eq!(world.count("confirmation.requested"), 1);
    assert!(
        matches!(world.wanted(1).as_slice(), [wanted] if matches!(wanted.call, Call::QueryConfirmation { tries: 1, .. }))
    );
}

#[test]
fn a_confirmed_repayment_is_owed_to_the_bank() {
    let mut world = paid("5000.00");
    world.confirm(1, "5000.00");
    assert_eq!(world.status(1), OrderStatus::Completed);
    assert_eq!(world.books.total(LoanRepaymentPayable), -Balance::from(yuan("5000.00")));
    assert!(world.wanted(1).is_empty());
}

#[test]
fn uncertain_is_never_refunded_however_long_it_lasts() {
    let mut world = paid("300.00");
    world.uncertain(1, 1).wait(30 * 86_400);
    assert_eq!((world.status(1), world.count("refund")), (OrderStatus::Uncertain, 0));
    assert_eq!(world.books.balance(PayerClearing, world.order_id(1).as_str()), -Balance::from(yuan("300.00")));
}

#[test]
fn an_uncertain_answer_is_asked_again_on_schedule_and_then_left_to_people() {
    let mut world = paid("300.00");
    for (tries, wait) in [(1, 10), (2, 30), (3, 120), (4, 600)] {
        world.uncertain(1, tries).wait(wait - 1);
        assert_eq!(world.count("confirmation.requested"), usize::from(tries));
        world.wait(1);
        assert_eq!(world.count("confirmation.requested"), usize::from(tries) + 1);
    }
    world.uncertain(1, 5).wait(86_400);
    assert_eq!(world.count("confirmation.requested"), 5);
}

#[test]
fn a_person_settles_uncertain_as_booked() {
    let mut world = paid("300.00");
    world.uncertain(1, 1).resolve(1, Resolution::Confirmed);
    assert_eq!((world.status(1), world.count("repayment.confirmed")), (OrderStatus::Completed, 1));
    world.confirm(1, "300.00");
    assert_eq!(
        world.books.total(LoanRepaymentPayable),
        -Balance::from(yuan("300.00")),
        "the bank's own word is the same fact"
    );
}

#[test]
fn a_person_settles_uncertain_as_failed() {
    let mut world = paid("300.00");
    world.uncertain(1, 1).resolve(1, Resolution::Failed);
    assert_eq!(world.count("refund.initiated"), 1);
}

#[test]
fn a_refund_without_an_answer_is_unknown_until_a_person_is_called() {
    let mut world = paid("100.00");
    world.fail(1).submit(1, "t1", 1);
    assert!(matches!(world.wanted(1).as_slice(), [wanted] if wanted.submitted), "ask first, never send blindly");
    world.wait(86_399);
    assert_eq!(world.count("refund.escalated"), 0);
    world.wait(1);
    assert_eq!(world.count("refund.escalated"), 1);
}

#[test]
fn a_refund_that_was_sent_in_a_file_may_stay_without_an_answer_for_longer() {
    for (by_file, patience_s) in [(vec![], 24 * 3600), (vec![name("ums-pos")], 7 * 24 * 3600)] {
        let mut world = paid("100.00");
        world.policy.refund_by_file = by_file;
        world.fail(1).submit(1, "t1", 1).wait(patience_s - 1);
        assert_eq!(world.count("refund.escalated"), 0, "{patience_s}");
        world.wait(1);
        assert_eq!(world.count("refund.escalated"), 1, "{patience_s}");
    }
}

fn ask_for(world: &mut World, id: u128, amount: &str) {
    let capture_id = world.order(1).captures.first().map_or(Uuid::nil(), |capture| capture.id);
    world.read(1, asked_back(id, capture_id, amount));
}

fn refusal(world: &World, id: u128) -> Option<RefundRejectionReason> {
    world.order(1).refunds[&Uuid::from_u128(id)].rejected
}

#[test]
fn a_refund_above_the_capture_is_refused() {
    let mut world = paid("100.00");
    ask_for(&mut world, 1, "100.01");
    assert_eq!(refusal(&world, 1), Some(RefundRejectionReason::AboveRefundable));
}

#[test]
fn a_refund_while_the_outcome_is_open_is_refused() {
    let mut world = paid("100.00");
    ask_for(&mut world, 1, "10.00");
    assert_eq!(refusal(&world, 1), Some(RefundRejectionReason::OutcomeOpen));
    world.uncertain(1, 1);
    ask_for(&mut world, 2, "10.00");
    assert_eq!(refusal(&world, 2), Some(RefundRejectionReason::OutcomeOpen));
}

#[test]
fn a_refund_of_what_the_bank_has_booked_is_refused_until_it_is_revoked() {
    let mut world = paid("100.00");
    world.confirm(1, "100.00");
    ask_for(&mut world, 1, "30.00");
    assert_eq!(refusal(&world, 1), Some(RefundRejectionReason::AlreadyFulfilled));
    world.read(1, revoked("cdb", RevocationReason::BankUndid, "1", "30.00"));
    ask_for(&mut world, 2, "30.00");
    assert_eq!((refusal(&world, 2), world.order(1).refund_open()), (None, yuan("30.00")));
    ask_for(&mut world, 3, "30.00");
    assert_eq!(refusal(&world, 3), Some(RefundRejectionReason::AlreadyFulfilled));
}

#[test]
fn nobody_can_take_the_place_of_the_sagas_own_refund() {
    let mut world = paid("100.00");
    let own = world.refund_id(1, "t1").as_u128();
    ask_for(&mut world, own, "1.00");
    assert_eq!(refusal(&world, own), Some(RefundRejectionReason::ReservedId));
    world.fail(1);
    assert_eq!(world.order(1).refund_open(), yuan("100.00"));
}

#[test]
fn asking_under_the_sagas_number_for_another_capture_frees_nothing_for_a_second_refund() {
    let mut world = paid("100.00");
    world.capture(1, "t2", "100.00").fail(1);
    let (first, second) = (world.order(1).captures[0].id, world.order(1).captures[1].id);
    let own = world.refund_id(1, "t2").as_u128();
    world.read(1, asked_back(own, first, "10.00")).read(1, asked_back(9, second, "100.00"));
    assert_eq!(refusal(&world, 9), Some(RefundRejectionReason::AboveRefundable));
    assert_eq!((world.count("refund.initiated"), world.order(1).refund_open()), (2, yuan("200.00")));
}

#[test]
fn the_sagas_number_of_one_capture_is_reserved_for_requests_about_another() {
    let mut world = paid("100.00");
    world.confirm(1, "100.00").read(1, revoked("cdb", RevocationReason::BankUndid, "1", "100.00"));
    let (capture, own) = (world.order(1).captures[0].id, world.refund_id(1, "t1").as_u128());
    world.read(1, asked_back(own, Uuid::from_u128(7), "10.00"));
    assert_eq!(refusal(&world, own), Some(RefundRejectionReason::ReservedId));
    world.read(1, asked_back(8, capture, "100.00"));
    assert_eq!((refusal(&world, 8), world.order(1).refund_open()), (None, yuan("100.00")));
}

#[test]
fn money_that_was_charged_back_is_not_refunded_as_well_unless_the_dispute_is_won() {
    for (outcome, refunded) in [(DisputeOutcome::Lost, "0.00"), (DisputeOutcome::Won, "100.00")] {
        let mut world = paid("100.00");
        let capture = world.order(1).captures[0].id;
        world.read(1, chargeback(capture, "100.00")).fail(1);
        ask_for(&mut world, 1, "10.00");
        assert_eq!(refusal(&world, 1), Some(RefundRejectionReason::AboveRefundable));
        assert_eq!((world.count("refund.initiated"), world.status(1)), (0, OrderStatus::InDispute));
        world.read(1, dispute_closed("100.00", outcome, Bearer::Operator));
        assert_eq!(world.order(1).refund_open(), yuan(refunded), "{outcome}");
    }
}

#[test]
fn a_refund_that_was_not_sent_is_cancelled_when_the_payers_bank_takes_the_money_back() {
    for (outcome, asked) in [(DisputeOutcome::Lost, "0.00"), (DisputeOutcome::Won, "100.00")] {
        let mut world = paid("100.00");
        let capture = world.order(1).captures[0].id;
        world.fail(1);
        assert_eq!(world.order(1).refund_open(), yuan("100.00"));
        world.read(1, chargeback(capture, "100.00"));
        assert_eq!((world.count("refund.cancelled"), world.status(1)), (1, OrderStatus::InDispute));
        assert_eq!(world.order(1).refund_open(), yuan("0.00"));
        // Won, it is the payer's again, and a person sends it.
        world.read(1, dispute_closed("100.00", outcome, Bearer::Operator)).read(1, asked_back(1, capture, "100.00"));
        assert_eq!(world.order(1).refund_open(), yuan(asked), "{outcome}");
    }
}

#[test]
fn a_refund_that_was_sent_is_not_cancelled_by_a_dispute() {
    let mut world = paid("100.00");
    let capture = world.order(1).captures[0].id;
    world.fail(1).submit(1, "t1", 1).read(1, chargeback(capture, "100.00"));
    assert_eq!((world.count("refund.cancelled"), world.order(1).refund_open()), (0, yuan("100.00")));
}

#[test]
fn money_that_went_back_by_a_refund_and_by_a_lost_dispute_is_an_exception() {
    let mut world = paid("100.00");
    world.fail(1).submit(1, "t1", 1).complete(1, "t1", "100.00");
    let capture = world.order(1).captures[0].id;
    world
        .read(1, chargeback(capture, "100.00"))
        .read(1, dispute_closed("100.00", DisputeOutcome::Lost, Bearer::Operator));
    assert_eq!(world.status(1), OrderStatus::Exception);
}

#[test]
fn money_about_which_nobody_says_anything_becomes_a_break() {
    let mut world = paid("100.00");
    let breaks = breaks_of(world.order(1), &world.policy);
    let [found] = breaks.as_slice() else { panic!("{breaks:?}") };
    let day = chrono::TimeDelta::days(1);
    assert_eq!((found.class, found.grace_until), (BreakClass::ConfirmationOverdue, world.now + day));
    world.fail(1);
    assert!(breaks_of(world.order(1), &world.policy).is_empty());
}

#[test]
fn money_for_an_order_that_nobody_asked_for_becomes_a_break() {
    let mut world = World::at("10:00:00");
    world.capture(1, "t1", "100.00");
    let breaks = breaks_of(world.order(1), &world.policy);
    let [found] = breaks.as_slice() else { panic!("{breaks:?}") };
    assert_eq!((found.class, found.amount), (BreakClass::CaptureWithoutRequest, yuan("100.00")));
    assert_eq!(found.grace_until, world.now + chrono::TimeDelta::minutes(5));
    world.request(1, "100.00");
    let breaks = breaks_of(world.order(1), &world.policy);
    assert!(breaks.iter().all(|found| found.class == BreakClass::ConfirmationOverdue), "{breaks:?}");
}

#[test]
fn a_payment_that_was_refunded_and_reversed_as_well_is_a_break() {
    let mut world = paid("100.00");
    world.fail(1).submit(1, "t1", 1).complete(1, "t1", "100.00");
    assert!(breaks_of(world.order(1), &world.policy).is_empty());
    let undone = reversed(&world.order(1).captures[0]);
    world.read(1, undone);
    let breaks = breaks_of(world.order(1), &world.policy);
    let [found] = breaks.as_slice() else { panic!("{breaks:?}") };
    assert_eq!((found.class, found.amount), (BreakClass::RefundedTooMuch, yuan("100.00")));
}

#[test]
fn a_refund_of_an_unknown_capture_is_refused() {
    let mut world = World::at("10:00:00");
    world.request(1, "100.00");
    ask_for(&mut world, 1, "10.00");
    assert_eq!(refusal(&world, 1), Some(RefundRejectionReason::CaptureNotFound));
}

#[test]
fn money_on_a_rejected_order_goes_back_once_the_bank_says_no() {
    let mut world = World::at("10:00:00");
    let mut data = crate::testing::request("100.00");
    data.enrolment.result = Enrolment::NotEnrolled;
    world.read(1, data).capture(1, "t1", "100.00").fail(1);
    assert!(
        world.log.iter().any(
            |event| matches!(&event.data, Data::RefundInitiated(data) if data.reason == RefundReason::OrderRejected)
        )
    );
}

#[test]
fn every_step_may_be_repeated() {
    let mut world = paid("100.00");
    world
        .capture(1, "t2", "100.00")
        .fail(1)
        .submit(1, "t1", 1)
        .complete(1, "t1", "100.00")
        .submit(1, "t2", 1)
        .complete(1, "t2", "100.00");
    let (log, books) = (world.log.clone(), world.books.clone());
    for event in &log {
        world.read(1, event.data.clone());
    }
    assert_eq!((world.log.len(), world.books), (log.len(), books));
}
