use schemas::{Balance, StreamKind, events::*};

use crate::{
    accounts::AccountCode::*,
    coordinator::{Call, When, wanted_calls},
    order::{OrderStatus, PaymentTrack},
    testing::{World, asked_back, credited, declined, failed, loaded, name, paid_by, revoked, top_up, yuan},
};

fn paid(asked: &str, amount: &str) -> World {
    let mut world = World::of(StreamKind::Card, "10:00:00");
    world.read(1, top_up(asked)).read(1, by_bestpay("b1", amount));
    world
}

fn by_bestpay(txn: &str, amount: &str) -> PaymentCaptured {
    paid_by("bestpay-web", txn, amount)
}

fn on_card(world: &World) -> [Balance; 2] {
    [CampusCardLiability, CardPendingLoad].map(|code| -world.books.total(code))
}

#[test]
fn each_refusal_of_a_top_up_has_its_code() {
    let refusal = |change: &dyn Fn(&mut World, &mut TopUpRequested)| {
        let mut world = World::of(StreamKind::Card, "10:00:00");
        let mut request = top_up("50.00");
        change(&mut world, &mut request);
        world.read(1, request).order(1).rejection()
    };
    assert_eq!(refusal(&|_, _| ()), None);
    assert_eq!(refusal(&|_, request| request.card.found = false), Some(RejectionReason::CardNotFound));
    assert_eq!(refusal(&|_, request| request.card.name_matches = false), Some(RejectionReason::NameMismatch));
    let not_verified = |_: &mut World, request: &mut TopUpRequested| {
        let checked_at = request.card.checked_at;
        request.identity = Some(IdentityAnswer { verified: false, method: LinkMethod::AlipayRealname, checked_at });
    };
    assert_eq!(refusal(&not_verified), Some(RejectionReason::IdentityNotVerified));
    for (school, reason) in [("school-1", None), ("other", Some(RejectionReason::SchoolNotEnabled))] {
        assert_eq!(refusal(&|world, _| world.policy.top_up_schools = vec![name(school)]), reason);
    }
}

#[test]
fn a_paid_top_up_asks_the_card_host_to_credit_and_is_on_the_card_then() {
    let mut world = paid("50.00", "50.00");
    assert!(matches!(&world.wanted(1)[..], [wanted] if matches!(wanted.call, Call::CreditCard { tries: 1, .. })));
    world.read(1, credited("50.00", CreditMode::Online));
    assert_eq!((world.status(1), on_card(&world)), (OrderStatus::Completed, [yuan("50.00").into(), Balance::ZERO]));
    assert_eq!(world.state.card().unwrap().balance, yuan("50.00").into());
    assert!(world.wanted(1).is_empty());
}

#[test]
fn an_offline_card_is_credited_when_a_load_terminal_has_written_it() {
    let mut world = paid("60.00", "60.00");
    world.read(1, credited("60.00", CreditMode::PendingLoad));
    assert_eq!((world.status(1), on_card(&world)), (OrderStatus::AwaitingLoad, [Balance::ZERO, yuan("60.00").into()]));
    world.read(1, loaded("60.00", 7)).read(1, loaded("60.00", 8));
    assert_eq!((world.status(1), on_card(&world)), (OrderStatus::Completed, [yuan("60.00").into(), Balance::ZERO]));
}

#[test]
fn a_final_refusal_waits_on_2210_for_the_refund_file() {
    let mut world = paid("200.00", "200.00");
    world.read(1, failed("school-1", 1, false));
    assert_eq!(world.books.total(RefundPayable), -Balance::from(yuan("200.00")));
    let wanted = world.wanted(1);
    assert!(matches!(&wanted[..], [wanted] if wanted.when == When::ByFile), "{wanted:?}");
    world.policy.refund_by_file.clear();
    assert_eq!(world.wanted(1)[0].when, When::Now, "a channel with an interface is called");
}

#[test]
fn less_is_credited_as_it_came_and_more_goes_back() {
    let mut world = paid("100.00", "99.00");
    let Call::CreditCard { amount, .. } = world.wanted(1)[0].call else { panic!("no credit is wanted") };
    assert_eq!(amount, yuan("99.00"));
    world.read(1, credited("99.00", CreditMode::Online));
    assert_eq!((world.status(1), world.count("refund")), (OrderStatus::Completed, 0));

    let mut world = paid("100.00", "101.00");
    world.read(1, credited("100.00", CreditMode::Online));
    assert_eq!((world.order(1).refund_open(), on_card(&world)[0]), (yuan("1.00"), yuan("100.00").into()));
    world.submit(1, "b1", 1).complete(1, "b1", "1.00");
    assert_eq!(world.status(1), OrderStatus::Completed);
}

#[test]
fn a_second_payment_goes_back() {
    let mut world = paid("50.00", "50.00");
    world.read(1, by_bestpay("b2", "50.00")).read(1, credited("50.00", CreditMode::Online));
    assert_eq!((world.count("refund.initiated"), world.order(1).refund_open()), (1, yuan("50.00")));
}

#[test]
fn a_top_up_that_is_not_paid_lapses_and_a_late_payment_is_credited_all_the_same() {
    let mut world = World::of(StreamKind::Card, "10:00:00");
    world.read(1, top_up("50.00")).wait(1800);
    assert_eq!(world.status(1), OrderStatus::Expired);
    world.read(1, by_bestpay("b1", "50.00")).read(1, credited("50.00", CreditMode::Online));
    assert_eq!(world.status(1), OrderStatus::Completed);
}

#[test]
fn parts_of_a_top_up_are_refunded_once_each_and_never_more_than_is_left() {
    let mut world = paid("100.00", "100.00");
    world.read(1, credited("100.00", CreditMode::Online));
    let capture = world.order(1).captures[0].id;
    let debited_back = |number, amount| revoked("school-1", RevocationReason::CardDebitedBack, number, amount);
    for _ in 0..2 {
        world.read(1, debited_back("1", "30.00")).read(1, asked_back(1, capture, "30.00"));
    }
    assert_eq!((world.count("refund.initiated"), on_card(&world)[0]), (1, yuan("70.00").into()));
    world.read(1, debited_back("2", "30.00")).read(1, asked_back(2, capture, "30.00"));
    assert_eq!((world.count("refund.initiated"), on_card(&world)[0]), (2, yuan("40.00").into()));
    world.read(1, asked_back(3, capture, "50.00"));
    let rejected = world.order(1).refunds[&uuid::Uuid::from_u128(3)].rejected;
    assert_eq!(rejected, Some(RefundRejectionReason::AboveRefundable));
}

#[test]
fn a_subsidy_is_restricted_value_of_its_own_and_counts_once() {
    let mut world = World::of(StreamKind::Card, "10:00:00");
    let grant = SubsidyGranted {
        grant_no: "G1".into(),
        school: name("school-1"),
        amount: yuan("100.00"),
        period: "2025-03".into(),
    };
    world.told(grant.clone()).told(grant).read(1, crate::testing::purchase("15.00", Funding::Subsidy));
    let card = world.state.card().unwrap();
    assert_eq!((card.subsidy, card.balance), (yuan("85.00").into(), Balance::ZERO));
    assert_eq!(world.books.total(SubsidyLiability), -Balance::from(yuan("85.00")));
    assert_eq!(world.books.balance(SubsidyReceivable, "school-1"), yuan("100.00").into());
}

#[test]
fn a_decline_ends_the_questions_until_somebody_says_something_again() {
    let mut world = World::of(StreamKind::Card, "10:00:00");
    world.read(1, top_up("50.00")).read(1, PayerClaimRecorded { claim: Claim::Paid });
    world.wait(1);
    world.read(1, declined(1));
    assert_eq!((world.status(1), world.wanted(1)), (OrderStatus::Declined, vec![]));
    world.wait(1);
    // A second try, whose notice was lost.
    world.read(1, PayerClaimRecorded { claim: Claim::Problem });
    assert!(matches!(world.wanted(1)[0].call, Call::QueryPayment { tries: 1, .. }));
    world.read(1, by_bestpay("b2", "50.00"));
    assert_eq!((world.status(1), world.count("confirmation.requested")), (OrderStatus::PaidUnconfirmed, 1));
}

#[test]
fn what_the_channel_says_without_proof_is_asked_about_on_schedule_until_the_order_lapses() {
    let mut world = World::of(StreamKind::Card, "10:00:00");
    world.read(1, top_up("50.00"));
    assert!(world.wanted(1).is_empty(), "nobody has said anything yet");
    world.read(1, PayerClaimRecorded { claim: Claim::Paid });
    let wanted = world.wanted(1);
    assert!(
        matches!(&wanted[..], [wanted] if matches!(wanted.call, Call::QueryPayment { tries: 1, .. })),
        "{wanted:?}"
    );
    assert_eq!(wanted[0].when, When::NotBefore(world.now));
    // Two orders of one session may have one correlation; each is asked about.
    let of_another = wanted_calls(&world.order_id(2), world.order(1), &world.policy);
    assert_ne!(of_another[0].key, wanted[0].key);
    let unknown =
        PaymentOutcomeUnknown { attempt: 1, tries: 1, response_code: "NOT_FOUND".into(), next_query_at: None };
    world.read(1, unknown);
    let wanted = world.wanted(1);
    assert!(matches!(wanted[0].call, Call::QueryPayment { tries: 2, .. }));
    world.wait(1800);
    assert_eq!((world.status(1), world.wanted(1)), (OrderStatus::Expired, vec![]));
    assert_eq!(world.order(1).payment_track(), PaymentTrack::Unknown, "nobody has said that nothing was taken");
    assert_eq!(world.books, Default::default());
    // It was, after all.
    world.read(1, by_bestpay("b1", "50.00"));
    assert_eq!((world.status(1), world.count("confirmation.requested")), (OrderStatus::PaidUnconfirmed, 1));
}

#[test]
fn sums_of_the_largest_amounts_are_read_back_as_they_were_written() {
    const MOST: &str = "9999999999.99";
    let mut world = paid(MOST, MOST);
    world.read(1, credited(MOST, CreditMode::PendingLoad)).read(1, by_bestpay("b2", MOST));
    let capture = world.order(1).captures[0].id;
    for number in 1..=2_u128 {
        let grant_no = number.to_string();
        world.told(SubsidyGranted { grant_no, school: name("school-1"), amount: yuan(MOST), period: "2025-03".into() });
        world.read(1, revoked("school-1", RevocationReason::CardDebitedBack, &number.to_string(), MOST));
        world.read(1, asked_back(number, capture, MOST));
        world
            .read(2, crate::testing::purchase(MOST, Funding::Subsidy))
            .read(3, crate::testing::purchase(MOST, Funding::Subsidy));
    }
    let state = serde_json::to_string(&world.state).unwrap();
    assert_eq!(serde_json::from_str::<crate::stream::StreamState>(&state).unwrap(), world.state, "{state}");
    for order in world.orders.values() {
        let state = serde_json::to_string(order).unwrap();
        assert_eq!(serde_json::from_str::<crate::order::Order>(&state).unwrap(), *order, "{state}");
    }
}

#[test]
fn a_doubt_about_which_nobody_could_ask_before_the_order_lapsed_stays_one() {
    let mut world = World::of(StreamKind::Card, "10:00:00");
    let doubt = PaymentOutcomeUnknown { attempt: 1, tries: 0, response_code: "90".into(), next_query_at: None };
    world.read(1, top_up("50.00")).read(1, doubt.clone()).wait(1800);
    assert_eq!((world.status(1), world.order(1).expired_at), (OrderStatus::PaymentUnknown, Some(world.now)));
    world.read(1, PaymentOutcomeUnknown { tries: 1, ..doubt });
    assert_eq!(world.status(1), OrderStatus::Expired);
}
