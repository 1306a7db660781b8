//! Random stories: whatever happens to orders, in whatever order it is told, the invariants hold.

use std::collections::{BTreeMap, HashSet};

use schemas::{Balance, Data, Event, events::*};
use uuid::Uuid;

use crate::{
    LogTime,
    breaks::{BreakClass, breaks_of},
    contract::LoanContract,
    invariants::{Books, order_agrees_with_books, refunds_stay_within_captures},
    order::{FulfilmentTrack, Order, OrderStatus, PaymentTrack, RefundTrack},
    policy::Policy,
    postings::postings,
    settlement::{DayTotals, day_totals},
    testing::{World, name, yuan},
};

const AMOUNTS: [&str; 3] = ["100.00", "99.99", "250.00"];

/// One random thing that the outside reports about an order.
fn something_happens(world: &mut World, number: u8, random: &mut fastrand::Rng) {
    let amount = AMOUNTS[usize::from(random.u8(..10) == 0)];
    let captures = world.orders.get(&world.order_id(number)).map_or(Vec::new(), |order| order.captures.clone());
    let capture = (!captures.is_empty()).then(|| captures[random.usize(..captures.len())].clone());
    let refunds: Vec<Uuid> =
        world.orders.get(&world.order_id(number)).map_or(Vec::new(), |order| order.refunds.keys().copied().collect());
    let refund = (!refunds.is_empty()).then(|| refunds[random.usize(..refunds.len())]);
    let (tries, business_date) = (random.u8(1..4), "2025-03-10".parse().unwrap());
    match random.u8(..24) {
        0..=4 => world.request(number, "100.00"),
        5..=8 => world.capture(number, &format!("{number}-{}", random.u8(..3)), amount),
        9 => world.confirm(number, "100.00"),
        10 => world.fail(number),
        11 => world.uncertain(number, tries),
        12 => world.resolve(number, if random.bool() { Resolution::Confirmed } else { Resolution::Failed }),
        13 => world.read(
            number,
            PaymentDeclined {
                attempt: 1,
                response_code: "51".into(),
                message: String::new(),
                evidence: Evidence::Query,
            },
        ),
        14 => world.read(
            number,
            ReceiptPrinted { medium: Medium::Slip, outcome_text: ReceiptText::Success, slip_sha256: None },
        ),
        15 => world.wait(random.i64(0..200)),
        _ => match (capture, refund, random.u8(..8)) {
            (Some(capture), _, 0) => world.read(
                number,
                PaymentReversed {
                    channel: capture.channel,
                    attempt: 1,
                    capture_id: Some(capture.id),
                    amount: capture.amount,
                    reason: ReversalReason::OperatorSync,
                    method: None,
                    channel_txn_no: capture.channel_txn_no,
                    business_date,
                    evidence: Evidence::Query,
                },
            ),
            (Some(capture), _, 1) => world.read(
                number,
                RefundRequested {
                    refund_id: Uuid::from_u128(random.u128(..3) << 8 | u128::from(number)),
                    capture_id: capture.id,
                    amount: yuan(["10.00", "100.00", "100.01"][random.usize(..3)]),
                    reason: RefundReason::Customer,
                    by: RefundOrigin::Customer,
                },
            ),
            (Some(_), _, 2) => world.read(
                number,
                ConfirmationRevoked {
                    target: name("cdb"),
                    revocation_no: "1".into(),
                    amount: yuan("100.00"),
                    reason: RevocationReason::BankUndid,
                    by: "cdb".into(),
                    mode: None,
                    fee_item: None,
                    billing_year: None,
                    merchant: None,
                },
            ),
            (_, Some(refund_id), 3) => {
                world.read(number, RefundSubmitted { refund_id, refund_request_no: "r".into(), tries })
            }
            (_, Some(refund_id), 4) => world.read(
                number,
                RefundFailed {
                    refund_id,
                    tries,
                    code: "X".into(),
                    message: String::new(),
                    retryable: random.bool(),
                    evidence: Evidence::Query,
                },
            ),
            (_, Some(refund_id), 5) => {
                let amount = world.order(number).refunds[&refund_id].initiated;
                world.read(
                    number,
                    RefundCompleted {
                        refund_id,
                        channel: name("ums-pos"),
                        amount,
                        channel_refund_no: None,
                        fee_netted: None,
                        business_date,
                        evidence: Evidence::Query,
                    },
                )
            }
            _ => world,
        },
    };
}

/// A day with many orders on one contract, and everything that the log holds of it.
fn story(seed: u64) -> World {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::at("09:00:00");
    world.refunds_claimed = random.bool();
    for _ in 0..60 {
        let number = random.u8(..6);
        something_happens(&mut world, number, &mut random);
    }
    world
}

type Tracks = (OrderStatus, PaymentTrack, FulfilmentTrack, RefundTrack);

/// What views show, positions and times of recording left out.
#[derive(Debug, Default, PartialEq)]
struct Views {
    orders: BTreeMap<String, (Tracks, [Balance; 5], Vec<BreakClass>)>,
    repaid: Balance,
    books: Books,
    days: BTreeMap<String, DayTotals>,
    journal: Vec<(Uuid, Vec<String>)>,
}

/// Folds events in the order given, repeats left out.
fn project<'a>(events: impl IntoIterator<Item = &'a Event>, policy: &Policy) -> Views {
    let mut views = Views::default();
    let (mut orders, mut contract, mut seen) =
        (BTreeMap::<String, Order>::new(), LoanContract::default(), HashSet::new());
    for event in events {
        if !seen.insert(event.id) {
            continue;
        }
        let order = orders.entry(event.subject.clone()).or_default();
        let booked_before = order.confirmation.standing();
        order.apply(event, LogTime::UNIX_EPOCH);
        contract.apply(event);
        contract.note(&event.subject, order, booked_before);
        let legs = postings(event);
        views.journal.push((event.id, legs.iter().map(|leg| format!("{} {}", leg.account, leg.amount)).collect()));
        views.books.post(legs);
        if let Some((channel, date, totals)) = day_totals(event, policy) {
            views.days.entry(format!("{channel} {date}")).or_default().add(totals);
        }
    }
    views.journal.sort();
    views.repaid = contract.repaid;
    views.orders = orders
        .into_iter()
        .map(|(id, order)| {
            let totals = [
                order.captured().into(),
                order.reversed().into(),
                order.refunded().into(),
                order.refund_open().into(),
                order.confirmation.standing(),
            ];
            let breaks = breaks_of(&order, policy).into_iter().map(|found| found.class).collect();
            let tracks = (order.status(), order.payment_track(), order.fulfilment_track(), order.refund_track());
            (id, (tracks, totals, breaks))
        })
        .collect();
    views
}

#[test]
fn any_order_of_arrival_gives_the_same_views_journal_and_balances() {
    for seed in 0..150 {
        let world = story(seed);
        let expected = project(&world.log, &world.policy);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20 {
            let repeats: Vec<&Event> = world.log.iter().filter(|_| random.u8(..10) == 0).collect();
            let mut shuffled: Vec<&Event> = world.log.iter().chain(repeats).collect();
            random.shuffle(&mut shuffled);
            assert_eq!(project(shuffled, &world.policy), expected, "story {seed}");
        }
    }
}

#[test]
fn every_capture_is_accounted_for_and_never_refunded_beyond_itself() {
    for seed in 0..500 {
        let world = story(seed);
        for (id, order) in &world.orders {
            assert!(refunds_stay_within_captures(order), "story {seed}: {order:#?}");
            let applied = order.confirmation.standing();
            assert!(order_agrees_with_books(order, id.as_str(), &world.books, applied), "story {seed}: {order:#?}");
            let exception = order.status() == OrderStatus::Exception;
            let over_used = !order.captures.is_empty() && applied + order.refunded() > order.net_captured();
            assert!(!over_used || exception, "story {seed}: {:?} hides a contradiction", order.status());
        }
    }
}

/// A definite failure, a duplicate, a wrong amount, or a person who asked.
fn has_a_reason(refund: &RefundInitiated, subject: &str, before: &[Event]) -> bool {
    let told: Vec<&Data> = before.iter().filter(|event| event.subject == subject).map(|event| &event.data).collect();
    let captured: Vec<&PaymentCaptured> = told
        .iter()
        .filter_map(|data| if let Data::PaymentCaptured(capture) = data { Some(capture) } else { None })
        .collect();
    let failed = told.iter().any(|data| {
        matches!(data, Data::ConfirmationFailed(_))
            || matches!(data, Data::ConfirmationResolved(resolved) if resolved.outcome == Resolution::Failed)
    });
    let asked =
        told.iter().any(|data| matches!(data, Data::RefundRequested(asked) if asked.refund_id == refund.refund_id));
    match refund.reason {
        RefundReason::DuplicateCapture => captured.len() > 1,
        RefundReason::AmountMismatch => captured.iter().any(|capture| capture.amount != yuan("100.00")),
        RefundReason::ConfirmationFailed | RefundReason::LateCapture | RefundReason::OrderRejected => failed,
        RefundReason::Customer | RefundReason::Dispute => asked,
    }
}

#[test]
fn no_refund_is_initiated_without_a_reason_in_the_log_and_never_twice() {
    for seed in 0..500 {
        let world = story(seed);
        let mut refunded = HashSet::new();
        for (place, event) in world.log.iter().enumerate() {
            if let Data::RefundInitiated(refund) = &event.data {
                assert!(has_a_reason(refund, &event.subject, &world.log[..place]), "story {seed}: {refund:?}");
                assert!(refunded.insert(refund.refund_id), "story {seed}: {refund:?} twice");
            }
        }
    }
}
