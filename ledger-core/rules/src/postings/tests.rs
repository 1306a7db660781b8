use std::{collections::BTreeSet, fs, path::Path};

use schemas::{About, Amount, Balance, Data, Event, OrderId, Stream, StreamKind, events::*};
use uuid::Uuid;

use super::{Leg, postings};
use crate::{
    order::Capture,
    reconciliation::{Books, channel_of},
    testing::*,
};

const LOAN: StreamKind = StreamKind::Loan;
const CARD: StreamKind = StreamKind::Card;
const FEES: StreamKind = StreamKind::Fees;

fn at() -> chrono::DateTime<chrono::FixedOffset> {
    chrono::DateTime::UNIX_EPOCH.fixed_offset()
}

/// An event about an order, or about the card or account as a whole.
fn on(kind: StreamKind, data: impl Into<Data>) -> Event {
    let (stream, data) = (Stream::new(kind, [1; 10]), data.into());
    match data.about() {
        About::Order => Event::about_order("/test", &OrderId::new(&stream, [1; 8]).unwrap(), at(), data),
        About::Stream => Event::about_stream("/test", &stream, at(), data),
        About::Channel => Event::about_channel("/test", &name("ums-pos"), at(), data),
    }
}

fn of_a_channel(data: impl Into<Data>) -> Event {
    on(LOAN, data)
}

/// `1110 ums-pos 100.00`; the order and its stream by these words.
fn legs(event: &Event) -> Vec<String> {
    let word = |owner: &str| owner.replace(event.stream.as_str(), "STREAM").replace(event.subject.as_str(), "ORDER");
    let text = |leg: Leg| format!("{} {} {}", leg.account.code.number(), word(&leg.account.owner), leg.amount);
    postings(event).into_iter().map(text).collect()
}

fn capture_of(method: Method) -> Capture {
    Capture {
        id: Uuid::from_u128(1),
        channel: name("ums-pos"),
        channel_txn_no: "t1".into(),
        method,
        amount: yuan("5.00"),
        business_date: "2025-03-10".parse().unwrap(),
        captured_at: at(),
        recorded_at: at().to_utc(),
    }
}

fn initiated(method: Option<Method>) -> RefundInitiated {
    RefundInitiated {
        refund_id: Uuid::from_u128(1),
        capture_id: Uuid::from_u128(1),
        channel: name("ums-pos"),
        amount: yuan("5.00"),
        reason: RefundReason::Customer,
        by: RefundOrigin::Saga,
        method,
    }
}

fn cancelled(method: Option<Method>) -> RefundCancelled {
    RefundCancelled { refund_id: Uuid::from_u128(1), amount: yuan("5.00"), reason: String::new(), method }
}

fn completed_with(fee_netted: Option<Amount>) -> RefundCompleted {
    RefundCompleted { fee_netted, ..completed(Uuid::from_u128(1), "ums-pos", "5.00") }
}

fn bounced() -> RefundReturned {
    RefundReturned {
        refund_id: Uuid::from_u128(1),
        channel: name("ums-pos"),
        amount: yuan("5.00"),
        return_no: "1".into(),
        reason: String::new(),
        business_date: "2025-03-10".parse().unwrap(),
    }
}

fn paid_manually() -> RefundPaidManually {
    RefundPaidManually {
        refund_id: Uuid::from_u128(1),
        bank_account: name("main"),
        bank_ref: "b".into(),
        amount: yuan("5.00"),
        approver: "finance-2".into(),
    }
}

fn bought(funding: Funding) -> PurchasePosted {
    PurchasePosted {
        school: name("school-1"),
        merchant: "canteen-1".into(),
        amount: yuan("5.00"),
        funding,
        consumed_on: "2025-03-10".parse().unwrap(),
        flags: Vec::new(),
        agreement_no: None,
    }
}

fn granted() -> SubsidyGranted {
    SubsidyGranted { grant_no: "1".into(), school: name("school-1"), amount: yuan("5.00"), period: "2025-03".into() }
}

fn lost(borne_by: Bearer) -> ChargebackClosed {
    let of_an_item = (Some("dorm".to_owned()), Some(2025));
    let closed = dispute_closed("5.00", DisputeOutcome::Lost, borne_by);
    ChargebackClosed { beneficiary: name("school-1"), fee_item: of_an_item.0, billing_year: of_an_item.1, ..closed }
}

/// A batch of 10.00 gross, with refunds that make its net what it is.
fn batch(net: &str, fees: &str) -> SettlementReported {
    let day = "2025-03-10".parse().unwrap();
    let (gross, fees, net) = (yuan("10.00"), yuan(fees), net.parse::<Balance>().unwrap());
    SettlementReported {
        channel: name("ums-pos"),
        batch_no: "1".into(),
        period_from: day,
        period_to: day,
        gross,
        refunds: (Balance::from(gross) - fees - net).debit(),
        chargebacks: Amount::ZERO,
        fees,
        fees_borne_by: None,
        beneficiary: None,
        fee_items: Vec::new(),
        carried_in: Balance::ZERO,
        net,
        transactions: 5,
    }
}

fn item(amount: &str) -> RemittedItem {
    RemittedItem { amount: yuan(amount), ..RemittedItem::default() }
}

fn of_fee(fee_item: &str, amount: &str) -> RemittedItem {
    RemittedItem { fee_item: Some(fee_item.into()), billing_year: Some(2025), ..item(amount) }
}

fn of_merchant(amount: &str) -> RemittedItem {
    RemittedItem { merchant: Some("canteen-1".into()), ..item(amount) }
}

fn borne_by_the_school(items: Vec<RemittedItem>) -> SettlementReported {
    let (fees_borne_by, beneficiary) = (Some(Bearer::Beneficiary), Some(name("school-1")));
    SettlementReported { fees_borne_by, beneficiary, fee_items: items, ..batch("5.00", "0.03") }
}

fn receipt(straight_to: Option<&str>, items: Vec<RemittedItem>) -> SettlementReceived {
    SettlementReceived {
        channel: name("ums-pos"),
        batch_no: "1".into(),
        bank_account: name("main"),
        bank_ref: "b".into(),
        value_date: "2025-03-11".parse().unwrap(),
        amount: yuan("5.00"),
        straight_to: straight_to.map(name),
        items,
    }
}

fn remitted(beneficiary: &str, items: Vec<RemittedItem>) -> FundsRemitted {
    FundsRemitted {
        beneficiary: name(beneficiary),
        bank_account: name("main"),
        bank_ref: "b".into(),
        value_date: "2025-03-12".parse().unwrap(),
        amount: yuan("5.00"),
        items,
    }
}

fn differs(class: ReconciliationClass, ours: Option<&str>, theirs: Option<&str>) -> ReconciliationBreakRaised {
    let balance = |text: &str| text.parse::<Balance>().unwrap();
    ReconciliationBreakRaised {
        break_id: Uuid::from_u128(1),
        occurrence: 1,
        channel: name("ums-pos"),
        statement_date: "2025-03-10".parse().unwrap(),
        revision: 1,
        class,
        side: Some(StatementSide::Payment),
        number: Some("t1".into()),
        line_no: None,
        order_no: None,
        transaction_id: None,
        ledger_amount: ours.map(balance),
        channel_amount: theirs.map(balance),
        grace_until: None,
    }
}

fn settled(class: ReconciliationClass, difference: &str, resolution: BreakResolution) -> ReconciliationBreakResolved {
    ReconciliationBreakResolved {
        break_id: Uuid::from_u128(1),
        occurrence: 1,
        channel: name("ums-pos"),
        class,
        difference: difference.parse().unwrap(),
        resolution,
        approvers: vec![name("finance-2"), name("finance-3")],
        until: None,
    }
}

const WITHHELD: Option<Method> = Some(Method::Withholding);

#[rustfmt::skip]
fn of_orders() -> Vec<(&'static str, Event, &'static [&'static str])> {
    use RevocationReason::*;
    let revoked = |target, reason, mode| ConfirmationRevoked { mode, ..revoked(target, reason, "1", "5.00") };
    vec![
        ("captured", on(LOAN, capture("t1", "5.00")), &["1110 ums-pos 5.00", "2010 ORDER -5.00"]),
        ("debited by withholding", on(CARD, debited("t1", "5.00")), &["1110 alipay-withholding 5.00", "1210 STREAM -5.00"]),
        ("reversed", on(LOAN, reversed(&capture_of(Method::Card))), &["2010 ORDER 5.00", "1110 ums-pos -5.00"]),
        ("a debit reversed", on(CARD, reversed(&capture_of(Method::Withholding))), &["1210 STREAM 5.00", "1110 ums-pos -5.00"]),
        ("nothing was charged", on(LOAN, nothing_charged("ums-pos", "t1")), &[]),
        ("booked", on(LOAN, confirmed("5.00")), &["2010 ORDER 5.00", "2110 cdb/STREAM -5.00"]),
        ("credited", on(CARD, credited("5.00", CreditMode::Online)), &["2010 ORDER 5.00", "2130 school-1/STREAM -5.00"]),
        ("credited, to be loaded", on(CARD, credited("5.00", CreditMode::PendingLoad)), &["2010 ORDER 5.00", "2131 school-1/STREAM -5.00"]),
        ("loaded", on(CARD, loaded("5.00", 1)), &["2131 school-1/STREAM 5.00", "2130 school-1/STREAM -5.00"]),
        ("posted to a fee", on(FEES, posted(1, "dorm", "5.00")), &["2010 ORDER 5.00", "2120 school-1/dorm/2025 -5.00"]),
        ("settled by a person", on(LOAN, ConfirmationResolved { target: name("cdb"), outcome: Resolution::Confirmed, evidence: Evidence::Manual, by: "x".into() }), &[]),
        ("undone by the bank", on(LOAN, revoked("cdb", BankUndid, None)), &["2110 cdb/STREAM 5.00", "2010 ORDER -5.00"]),
        ("debited back", on(CARD, revoked("school-1", CardDebitedBack, None)), &["2130 school-1/STREAM 5.00", "2010 ORDER -5.00"]),
        ("debited back before it was loaded", on(CARD, revoked("school-1", CardDebitedBack, Some(CreditMode::PendingLoad))), &["2131 school-1/STREAM 5.00", "2010 ORDER -5.00"]),
        ("a fee unposted", on(FEES, unposted("1", "dorm", "5.00")), &["2120 school-1/dorm/2025 5.00", "2010 ORDER -5.00"]),
        ("a fee unposted from no item", on(FEES, revoked("school-1", FeeUnposted, None)), &[]),
        ("a purchase returned", on(CARD, returned("1", "5.00")), &["2140 school-1/canteen-1 5.00", "1210 STREAM -5.00"]),
        ("bought with the card", on(CARD, bought(Funding::CardBalance)), &["2130 school-1/STREAM 5.00", "2140 school-1/canteen-1 -5.00"]),
        ("bought with a subsidy", on(CARD, bought(Funding::Subsidy)), &["2132 school-1/STREAM 5.00", "2140 school-1/canteen-1 -5.00"]),
        ("bought by withholding", on(CARD, bought(Funding::Withholding)), &["1210 STREAM 5.00", "2140 school-1/canteen-1 -5.00"]),
        ("uploaded and not yet posted", on(CARD, offline(&World::at("10:00:00"), "5.00", Funding::Withholding, 0)), &[]),
        ("given back to the card", on(CARD, given_back("1", "5.00", Funding::CardBalance)), &["2140 school-1/canteen-1 5.00", "2130 school-1/STREAM -5.00"]),
        ("given back to the subsidy", on(CARD, given_back("1", "5.00", Funding::Subsidy)), &["2140 school-1/canteen-1 5.00", "2132 school-1/STREAM -5.00"]),
        ("uncollected for now", on(CARD, WithholdingUncollected { bearer: None, ..given_up(yuan("5.00"), LossBearer::Operator) }), &[]),
        ("given up by the operator", on(CARD, given_up(yuan("5.00"), LossBearer::Operator)), &["5020 withholding 5.00", "1210 STREAM -5.00"]),
        ("given up by the merchant", on(CARD, given_up(yuan("5.00"), LossBearer::Merchant)), &["2140 school-1/canteen-1 5.00", "1210 STREAM -5.00"]),
        ("granted", on(CARD, granted()), &["1220 school-1 5.00", "2132 school-1/STREAM -5.00"]),
    ]
}

#[rustfmt::skip]
fn of_refunds_and_disputes() -> Vec<(&'static str, Event, &'static [&'static str])> {
    vec![
        ("a refund decided", on(LOAN, initiated(None)), &["2010 ORDER 5.00", "2210 ORDER -5.00"]),
        ("a refund of a debit decided", on(CARD, initiated(WITHHELD)), &["1210 STREAM 5.00", "2210 ORDER -5.00"]),
        ("a refund cancelled", on(LOAN, cancelled(None)), &["2210 ORDER 5.00", "2010 ORDER -5.00"]),
        ("a refund of a debit cancelled", on(CARD, cancelled(WITHHELD)), &["2210 ORDER 5.00", "1210 STREAM -5.00"]),
        ("a refund done", on(LOAN, completed_with(None)), &["2210 ORDER 5.00", "1110 ums-pos -5.00"]),
        ("a refund done, its fee given back", on(LOAN, completed_with(Some(yuan("0.01")))), &["2210 ORDER 5.00", "1110 ums-pos -5.00", "1110 ums-pos 0.01", "5010 ums-pos -0.01"]),
        ("a refund bounced", on(LOAN, bounced()), &["1110 ums-pos 5.00", "2210 ORDER -5.00"]),
        ("a refund paid by a person", on(LOAN, paid_manually()), &["2210 ORDER 5.00", "1010 main -5.00"]),
        ("disputed", on(LOAN, chargeback(Uuid::nil(), "5.00")), &["1330 CB1 5.00", "1110 ums-pos -5.00"]),
        ("a dispute won", on(LOAN, dispute_closed("5.00", DisputeOutcome::Won, Bearer::Operator)), &["1110 ums-pos 5.00", "1330 CB1 -5.00"]),
        ("a dispute lost by the operator", on(LOAN, lost(Bearer::Operator)), &["5020 chargeback 5.00", "1330 CB1 -5.00"]),
        ("a dispute about a loan lost by the bank", on(LOAN, lost(Bearer::Beneficiary)), &["2110 school-1/STREAM 5.00", "1330 CB1 -5.00"]),
        ("a dispute about a card lost by the school", on(CARD, lost(Bearer::Beneficiary)), &["2130 school-1/STREAM 5.00", "1330 CB1 -5.00"]),
        ("a dispute about a top-up that waits for its load", on(CARD, ChargebackClosed { mode: Some(CreditMode::PendingLoad), ..lost(Bearer::Beneficiary) }), &["2131 school-1/STREAM 5.00", "1330 CB1 -5.00"]),
        ("a dispute about a debit lost by the merchant", on(CARD, ChargebackClosed { merchant: Some("canteen-1".into()), ..lost(Bearer::Beneficiary) }), &["2140 school-1/canteen-1 5.00", "1330 CB1 -5.00"]),
        ("a dispute about a fee lost by the school", on(FEES, lost(Bearer::Beneficiary)), &["2120 school-1/dorm/2025 5.00", "1330 CB1 -5.00"]),
    ]
}

#[rustfmt::skip]
fn of_settlement() -> Vec<(&'static str, Event, &'static [&'static str])> {
    let contract = RemittedItem::of_contract(Stream::loan([1; 10]), yuan("5.00"));
    vec![
        ("settled", of_a_channel(batch("5.00", "0.03")), &["1120 ums-pos 5.00", "1110 ums-pos -5.00", "5010 ums-pos 0.03", "1110 ums-pos -0.03"]),
        ("settled with nothing to pay", of_a_channel(batch("-5.00", "0.03")), &["5010 ums-pos 0.03", "1110 ums-pos -0.03"]),
        ("settled, fees borne by fee items", of_a_channel(borne_by_the_school(vec![of_fee("dorm", "0.01"), of_fee("tuition", "0.02")])), &["1120 ums-pos 5.00", "1110 ums-pos -5.00", "2120 school-1/dorm/2025 0.01", "1110 ums-pos -0.01", "2120 school-1/tuition/2025 0.02", "1110 ums-pos -0.02"]),
        ("settled, fees borne by a merchant", of_a_channel(borne_by_the_school(vec![of_merchant("0.03")])), &["1120 ums-pos 5.00", "1110 ums-pos -5.00", "2140 school-1/canteen-1 0.03", "1110 ums-pos -0.03"]),
        ("received", of_a_channel(receipt(None, vec![])), &["1010 main 5.00", "1120 ums-pos -5.00"]),
        ("received by a school for its cards", of_a_channel(receipt(Some("school-1"), vec![])), &["1020 school-1 5.00", "1120 ums-pos -5.00"]),
        ("received by a school for fees", of_a_channel(receipt(Some("school-1"), vec![of_fee("dorm", "3.00"), of_fee("tuition", "2.00")])), &["2120 school-1/dorm/2025 3.00", "1120 ums-pos -3.00", "2120 school-1/tuition/2025 2.00", "1120 ums-pos -2.00"]),
        ("remitted to a bank", of_a_channel(remitted("cdb", vec![contract])), &["2110 cdb/loan:AEAQCAIBAEAQCAIB 5.00", "1010 main -5.00"]),
        ("remitted to fee items", of_a_channel(remitted("school-1", vec![of_fee("dorm", "3.00"), of_fee("tuition", "2.00")])), &["2120 school-1/dorm/2025 3.00", "1010 main -3.00", "2120 school-1/tuition/2025 2.00", "1010 main -2.00"]),
        ("remitted to a merchant", of_a_channel(remitted("school-1", vec![of_merchant("5.00")])), &["2140 school-1/canteen-1 5.00", "1010 main -5.00"]),
    ]
}

#[rustfmt::skip]
fn of_reconciliation() -> Vec<(&'static str, Event, &'static [&'static str])> {
    use {BreakResolution::*, ReconciliationClass::{AmountChannelOver, AmountChannelUnder, ControlTotal, DuplicateInChannel, MissingInChannel, MissingInLedger, UnknownOrder}};
    const OVER: &[&str] = &["1110 ums-pos 5.00", "2310 ums-pos -5.00"];
    const SHORT: &[&str] = &["1320 ums-pos 5.00", "1110 ums-pos -5.00"];
    const OVER_UNDONE: &[&str] = &["1110 ums-pos -5.00", "2310 ums-pos 5.00"];
    const SHORT_UNDONE: &[&str] = &["1320 ums-pos -5.00", "1110 ums-pos 5.00"];
    let in_time = ReconciliationClass::Timing;
    vec![
        ("under no order of ours", of_a_channel(differs(UnknownOrder, None, Some("5.00"))), OVER),
        ("a refund that we do not know", of_a_channel(differs(UnknownOrder, None, Some("-5.00"))), SHORT),
        ("under an order of ours alone", of_a_channel(differs(MissingInLedger, None, Some("5.00"))), OVER),
        ("more than ours", of_a_channel(differs(AmountChannelOver, Some("95.00"), Some("100.00"))), OVER),
        ("less than ours", of_a_channel(differs(AmountChannelUnder, Some("100.00"), Some("95.00"))), SHORT),
        ("missing at the channel", of_a_channel(differs(MissingInChannel, Some("5.00"), None)), SHORT),
        ("it may come later", of_a_channel(differs(in_time, Some("5.00"), None)), &[]),
        ("the same number again", of_a_channel(differs(DuplicateInChannel, None, Some("5.00"))), &[]),
        ("other totals than the file says", of_a_channel(differs(ControlTotal, Some("5.00"), Some("10.00"))), &[]),
        ("identified", of_a_channel(settled(UnknownOrder, "5.00", LateCapturePosted)), OVER_UNDONE),
        ("it goes back", of_a_channel(settled(UnknownOrder, "5.00", Refunded)), OVER_UNDONE),
        ("it came after all", of_a_channel(settled(MissingInChannel, "-5.00", Timing)), SHORT_UNDONE),
        ("corrected by the channel", of_a_channel(settled(AmountChannelUnder, "-5.00", ChannelCorrected)), SHORT_UNDONE),
        ("something else there", of_a_channel(settled(AmountChannelOver, "5.00", Superseded)), OVER_UNDONE),
        ("it came in time", of_a_channel(settled(in_time, "-5.00", Timing)), &[]),
        ("a surplus written off", of_a_channel(settled(UnknownOrder, "5.00", WrittenOff)), &["2310 ums-pos 5.00", "4010 reconciliation -5.00"]),
        ("a shortage written off", of_a_channel(settled(MissingInChannel, "-5.00", WrittenOff)), &["5020 reconciliation 5.00", "1320 ums-pos -5.00"]),
        ("a repeat written off", of_a_channel(settled(DuplicateInChannel, "5.00", WrittenOff)), &[]),
    ]
}

fn tables() -> impl Iterator<Item = (&'static str, Event, &'static [&'static str])> {
    of_orders().into_iter().chain(of_refunds_and_disputes()).chain(of_settlement()).chain(of_reconciliation())
}

#[test]
fn each_event_has_the_legs_that_it_should() {
    for (what, event, expected) in tables() {
        assert_eq!(legs(&event), expected, "{what}");
    }
}

#[test]
fn whatever_moves_a_channels_account_for_an_order_is_in_the_books_of_that_channel() {
    let moves = |event: &Event| legs(event).iter().any(|leg| leg.starts_with("1110"));
    let of_orders = golden().into_iter().filter(|event| event.stream.kind().is_some() && moves(event));
    let types: Vec<&str> = of_orders
        .inspect(|event| {
            let mut books = Books::default();
            books.apply(event);
            assert!(books != Books::default() && channel_of(&event.data).is_some(), "{event:?}");
        })
        .map(|event| event.data.event_type())
        .collect();
    assert!(types.len() > 6, "{types:?}");
}

/// Events as they are published.
fn golden() -> Vec<Event> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/golden");
    let entries = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let files = entries(&home).into_iter().flat_map(|folder| entries(&folder));
    files.map(|file| Event::from_structured(&fs::read(file).unwrap()).unwrap()).collect()
}

#[test]
fn every_type_that_posts_is_in_the_tables_and_balances() {
    let posting = |event: &Event| (!postings(event).is_empty()).then(|| event.data.event_type());
    let tested: BTreeSet<&str> = tables().filter_map(|(_, event, _)| posting(&event)).collect();
    let golden = golden();
    assert_eq!(golden.iter().filter_map(posting).collect::<BTreeSet<_>>(), tested);
    for event in golden {
        let sum: Balance = postings(&event).iter().map(|leg| leg.amount).sum();
        assert_eq!(sum, Balance::ZERO, "{}", event.data.event_type());
    }
}
