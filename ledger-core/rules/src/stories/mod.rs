//! Random stories of every system: whatever happens to orders, in whatever order it is told, the invariants hold.

use std::collections::BTreeSet;

use fastrand::Rng;
use schemas::{Amount, Balance, Data, Event, StreamKind, events::*};
use uuid::Uuid;

use crate::{
    accounts::AccountCode::*,
    coordinator::{Call, unwanted_calls, wanted_calls},
    invariants::{order_agrees_with_books, refunds_stay_within_captures},
    order::OrderStatus,
    testing::World,
};

mod card;
mod fees;
mod loan;
mod money;
mod views;

use views::project;

/// Each story has so many orders, of one contract, card or fee account.
const ORDERS: u8 = 8;
const HAPPENINGS: usize = 80;
const PERMUTATIONS: usize = 20;
/// Stories of each system: more than 10,000 orders in all.
const STORIES: u64 = 420;

/// Everything that happened to one contract, card or fee account.
fn story(kind: StreamKind, seed: u64) -> World {
    let mut random = Rng::with_seed(seed);
    let mut world = World::of(kind, "09:00:00");
    world.refunds_claimed = random.bool();
    match kind {
        StreamKind::Loan => loan::begin(&mut world, &mut random),
        StreamKind::Card => card::begin(&mut world, &mut random),
        StreamKind::Fees => fees::begin(&mut world, &mut random),
    }
    for _ in 0..HAPPENINGS {
        let number = random.u8(..ORDERS);
        match kind {
            StreamKind::Loan => loan::something_happens(&mut world, number, &mut random),
            StreamKind::Card => card::something_happens(&mut world, number, &mut random),
            StreamKind::Fees => fees::something_happens(&mut world, number, &mut random),
        }
    }
    world
}

fn stories(count: u64) -> impl Iterator<Item = (String, World)> {
    let each =
        move |kind: &'static StreamKind| (0..count).map(move |seed| (format!("{kind} {seed}"), story(*kind, seed)));
    StreamKind::ALL.iter().flat_map(each)
}

/// What was told of an order, for whoever reads of a failure.
fn tale(world: &World, order: &str) -> String {
    let told = world.log.iter().filter(|event| event.subject == order);
    told.map(|event| format!("\n{} {:?}", event.occurred_at.time(), event.data)).collect()
}

#[test]
fn any_order_of_arrival_gives_the_same_views_journal_and_balances() {
    let mut orders = 0;
    for (what, world) in stories(STORIES) {
        orders += world.orders.len();
        let expected = project(&world.log, &world);
        let mut random = Rng::with_seed(world.log.len() as u64);
        for _ in 0..PERMUTATIONS {
            let repeats: Vec<&Event> = world.log.iter().filter(|_| random.u8(..10) == 0).collect();
            let mut shuffled: Vec<&Event> = world.log.iter().chain(repeats).collect();
            random.shuffle(&mut shuffled);
            assert_eq!(project(shuffled, &world), expected, "story {what}");
        }
    }
    assert!(orders >= 10_000, "{orders} orders");
}

#[test]
fn every_capture_is_accounted_for_and_never_refunded_beyond_itself() {
    for (what, world) in stories(STORIES) {
        for number in 0..ORDERS {
            let id = world.order_id(number);
            let Some(order) = world.orders.get(&id) else { continue };
            assert!(refunds_stay_within_captures(order), "story {what}: {}", tale(&world, id.as_str()));
            let applied = order.confirmation.standing();
            // What the holder of a card owes has a test of its own.
            if world.stream.kind() == Some(StreamKind::Card) && card::buys(number) {
                continue;
            }
            let agrees = order_agrees_with_books(order, id.as_str(), &world.books, applied);
            assert!(agrees, "story {what}: {}", tale(&world, id.as_str()));
            let shown = matches!(order.status(), OrderStatus::Exception | OrderStatus::InDispute);
            let over_used = !order.captures.is_empty() && applied + order.refunded() > order.net_captured();
            assert!(
                !over_used || shown,
                "story {what}: {:?} hides a contradiction: {}",
                order.status(),
                tale(&world, id.as_str())
            );
        }
    }
}

/// What the holder owes for a purchase, event by event: what was posted to withholding, less what was undone, debited and
/// given up; debits that were reversed or are refunded count no more.
fn owed_for(log: &[Event], order: &str) -> Balance {
    let owed = |event: &Event| match &event.data {
        Data::PurchasePosted(data) if data.funding == Funding::Withholding => Balance::from(data.amount),
        Data::PaymentReversed(data) => data.amount.into(),
        Data::RefundInitiated(data) => data.amount.into(),
        Data::PaymentCaptured(data) => -Balance::from(data.amount),
        Data::RefundCancelled(data) => -Balance::from(data.amount),
        Data::ConfirmationRevoked(data) if data.merchant.is_some() => -Balance::from(data.amount),
        Data::WithholdingUncollected(data) if data.bearer.is_some() => -Balance::from(data.amount),
        _ => Balance::ZERO,
    };
    log.iter().filter(|event| event.subject == order).map(owed).sum()
}

#[test]
fn what_the_holder_of_a_card_owes_is_what_was_posted_and_neither_debited_nor_undone_nor_given_up() {
    for (what, world) in stories(STORIES).filter(|(_, world)| world.stream.kind() == Some(StreamKind::Card)) {
        let mut all = Balance::ZERO;
        for number in (0..ORDERS).filter(|number| card::buys(*number)) {
            let id = world.order_id(number);
            let owed = owed_for(&world.log, id.as_str());
            all += owed;
            let Some(order) = world.orders.get(&id) else { continue };
            if let Some(purchase) = order.purchase.as_ref().filter(|_| order.confirmation.confirmed.is_some()) {
                let tale = tale(&world, id.as_str());
                assert_eq!(purchase.receivable(order), owed, "story {what}: {tale}");
                let settled = [OrderStatus::Completed, OrderStatus::PartiallyRefunded, OrderStatus::Refunded];
                let status = order.status();
                assert!(
                    owed == Balance::ZERO || !settled.contains(&status),
                    "story {what}: {owed} and {status}: {tale}"
                );
            }
        }
        assert_eq!(world.books.total(WithholdingReceivable), all, "story {what}");
    }
}

#[test]
fn cards_and_fee_items_hold_what_the_books_hold() {
    for (what, world) in stories(STORIES) {
        if let Some(card) = world.state.card() {
            let owner = format!("school-1/{}", world.stream);
            let held =
                [CampusCardLiability, CardPendingLoad, SubsidyLiability].map(|code| -world.books.balance(code, &owner));
            assert_eq!([card.balance, card.pending_load, card.subsidy], held, "story {what}");
        }
        for item in world.state.fees().into_iter().flat_map(|account| account.items.values()) {
            let owner = format!("school-1/{}/{}", item.fee_item, item.billing_year);
            assert_eq!(item.posted, -world.books.balance(SchoolFeePayable, &owner), "story {what}: {owner}");
        }
        if let Some(contract) = world.state.loan() {
            assert_eq!(contract.repaid, -world.books.total(LoanRepaymentPayable), "story {what}");
        }
        let position = world.books.position();
        assert_eq!(position.located + position.gap, position.held, "story {what}");
    }
}

/// A definite failure, a refusal, a duplicate, a wrong amount, or a person who asked.
fn has_a_reason(refund: &RefundInitiated, before: &[&Data]) -> bool {
    let told = |what: &dyn Fn(&Data) -> bool| before.iter().any(|data| what(data));
    let captured: Vec<Amount> = before
        .iter()
        .filter_map(|data| if let Data::PaymentCaptured(capture) = data { Some(capture.amount) } else { None })
        .collect();
    let requested = before.iter().find_map(|data| match data {
        Data::RepaymentRequested(data) => Some(data.amount),
        Data::TopUpRequested(data) => Some(data.amount),
        Data::FeePaymentRequested(data) => Some(data.amount),
        Data::PurchaseRequested(data) => Some(data.amount),
        Data::OfflinePurchaseUploaded(data) => Some(data.amount),
        _ => None,
    });
    let failed = told(&|data| {
        matches!(data, Data::ConfirmationFailed(failed) if !failed.retryable)
            || matches!(data, Data::ConfirmationResolved(resolved) if resolved.outcome == Resolution::Failed)
    });
    match refund.reason {
        RefundReason::DuplicateCapture => captured.len() > 1,
        RefundReason::AmountMismatch => captured.iter().any(|amount| Some(*amount) != requested),
        RefundReason::ConfirmationFailed | RefundReason::LateCapture => failed,
        RefundReason::ReversalFailed => {
            told(&|data| matches!(data, Data::PaymentReversalFailed(failed) if !failed.retryable))
        }
        RefundReason::OrderRejected => told(&|data| matches!(data, Data::OrderRejected(_))),
        RefundReason::Customer | RefundReason::Dispute | RefundReason::UnknownOrder => {
            told(&|data| matches!(data, Data::RefundRequested(asked) if asked.refund_id == refund.refund_id))
        }
    }
}

/// What the issuer has taken back of a capture, unless it gave it up.
fn charged_back(capture: Uuid, before: &[&Data]) -> Amount {
    let won = |case: &str| {
        before.iter().any(|data| {
            matches!(data, Data::ChargebackClosed(closed)
                if closed.case_no == case && closed.outcome == DisputeOutcome::Won)
        })
    };
    let taken = before.iter().filter_map(|data| match data {
        Data::ChargebackReceived(data) if data.capture_id == capture && !won(&data.case_no) => Some(data.amount),
        _ => None,
    });
    taken.sum()
}

#[test]
fn no_refund_is_initiated_without_a_reason_in_the_log_or_twice_or_of_disputed_money() {
    let mut refunds = 0;
    for (what, world) in stories(STORIES) {
        let mut refunded = BTreeSet::<Uuid>::new();
        for (place, event) in world.log.iter().enumerate() {
            if let Data::RefundInitiated(refund) = &event.data {
                let of_the_order = world.log[..place].iter().filter(|before| before.subject == event.subject);
                let before: Vec<&Data> = of_the_order.map(|before| &before.data).collect();
                assert!(has_a_reason(refund, &before), "story {what}: {refund:?}");
                assert!(refunded.insert(refund.refund_id), "story {what}: {refund:?} twice");
                let charged_back = charged_back(refund.capture_id, &before);
                let capture = world.log.iter().find(|event| event.id == refund.capture_id);
                let whole = capture.map(|event| match &event.data {
                    Data::PaymentCaptured(capture) => capture.amount,
                    _ => Amount::ZERO,
                });
                assert!(Some(refund.amount + charged_back) <= whole, "story {what}: {refund:?} and {charged_back}");
                refunds += 1;
            }
        }
    }
    assert!(refunds > 1_000, "{refunds} refunds");
}

#[test]
fn no_call_is_wanted_twice_or_wanted_and_withdrawn_and_none_is_for_more_than_there_is() {
    let mut calls = 0;
    for (what, world) in stories(STORIES) {
        for (id, order) in &world.orders {
            let mut keys: BTreeSet<String> = unwanted_calls(order).into_iter().collect();
            for wanted in wanted_calls(id, order, &world.policy) {
                calls += 1;
                assert!(keys.insert(wanted.key.clone()), "story {what}: {wanted:?}: {}", tale(&world, id.as_str()));
                let most = match &wanted.call {
                    Call::QueryPayment { .. } => continue,
                    Call::Debit { .. } => order.purchase.as_ref().unwrap().posted.as_ref().unwrap().amount.into(),
                    Call::QueryConfirmation { .. }
                    | Call::CreditCard { .. }
                    | Call::PostFees { .. }
                    | Call::Refund { .. } => order.captured().into(),
                };
                assert!(amount_of(&wanted.call) <= most, "story {what}: {wanted:?}: {}", tale(&world, id.as_str()));
            }
        }
    }
    assert!(calls > 1_000, "{calls} calls");
}

fn amount_of(call: &Call) -> Balance {
    match call {
        Call::QueryPayment { .. } => Balance::ZERO,
        Call::PostFees { lines, .. } => lines.iter().map(|line| line.amount).sum::<Amount>().into(),
        Call::QueryConfirmation { amount, .. }
        | Call::CreditCard { amount, .. }
        | Call::Debit { amount, .. }
        | Call::Refund { amount, .. } => (*amount).into(),
    }
}

/// What is never told proves nothing.
#[test]
fn some_order_of_the_stories_ends_in_every_status() {
    let seen: BTreeSet<OrderStatus> =
        stories(STORIES).flat_map(|(_, world)| world.orders.into_values().map(|order| order.status())).collect();
    let missing: Vec<&OrderStatus> = OrderStatus::ALL.iter().filter(|status| !seen.contains(status)).collect();
    assert!(missing.is_empty(), "no order ends as {missing:?}");
}

#[test]
fn orders_and_refunds_of_the_stories_are_refused_for_every_reason() {
    let (mut orders, mut refunds) = (BTreeSet::new(), BTreeSet::new());
    for (_, world) in stories(STORIES) {
        for order in world.orders.values() {
            orders.extend(order.rejection().map(RejectionReason::as_str));
            refunds
                .extend(order.refunds.values().filter_map(|refund| refund.rejected.map(RefundRejectionReason::as_str)));
        }
    }
    assert_eq!(orders, RejectionReason::ALL.iter().map(|reason| reason.as_str()).collect());
    assert_eq!(refunds, RefundRejectionReason::ALL.iter().map(|reason| reason.as_str()).collect());
}

#[test]
fn the_stories_tell_of_every_type_that_can_happen_to_a_stream() {
    let told: BTreeSet<&str> = stories(40)
        .flat_map(|(_, world)| world.log.iter().map(|event| event.data.event_type()).collect::<Vec<_>>())
        .collect();
    // Those about channels as a whole, and records that cannot be read.
    let elsewhere =
        ["dead-letter", "inbox-record", "refund-file", "settlement", "funds", "statement", "reconciliation-break"];
    let missing: Vec<&&str> = Data::TYPES
        .iter()
        .filter(|event_type| !told.contains(**event_type) && !elsewhere.iter().any(|part| event_type.contains(part)))
        .collect();
    assert!(missing.is_empty(), "no story tells of {missing:?}");
}
