//! What each type of event refuses beyond the forms of its fields, and on which kinds of streams it stands.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

use ledger_schemas::{About, Data, Event, OrderId, Refusal, RefusalCode, Stream, StreamKind};
use serde_json::{Value, json};

const SETTLEMENT_BORNE: &str = include_str!("../golden/ledger.settlement.reported.v1/4-fees-borne-by-the-school.json");
const RECEIPT_OF_FEES: &str =
    include_str!("../golden/ledger.settlement.received.v1/4-straight-to-the-school-for-fees.json");
const REMITTANCE: &str = include_str!("../golden/ledger.funds.remitted.v1/3-to-the-fee-items-of-a-school.json");
const UPLOAD: &str = include_str!("../golden/ledger.offline-purchase.uploaded.v1/1-shown-by-campus-code.json");
const GIVEN_BACK: &str = include_str!("../golden/ledger.purchase.refunded.v1/1-in-part.json");
const FEES: &str = include_str!("../golden/ledger.fee-payment.requested.v1/1-dormitory-and-a-part-of-the-tuition.json");
const DEBITED_BACK: &str = include_str!("../golden/ledger.confirmation.revoked.v1/3-debited-back-from-the-card.json");
const UNPOSTED: &str = include_str!("../golden/ledger.confirmation.revoked.v1/4-unposted-by-the-school.json");
const RETURNED: &str = include_str!("../golden/ledger.confirmation.revoked.v1/5-returned-to-the-merchant.json");
const BANK_UNDID: &str = include_str!("../golden/ledger.confirmation.revoked.v1/1-in-full.json");
const DISPUTE: &str = include_str!("../golden/ledger.chargeback.closed.v1/3-lost-and-borne-by-the-school.json");
const GIVEN_UP: &str = include_str!("../golden/ledger.withholding.uncollected.v1/1-given-up.json");
const COPY: &str = include_str!("../golden/ledger.receipt.reprinted.v1/3-copy-with-its-hash.json");
const ADJUSTED: &str = include_str!("../golden/ledger.fee-item.adjusted.v1/1-reduced-by-a-scholarship.json");
const GRANTED: &str = include_str!("../golden/ledger.subsidy.granted.v1/1-for-a-month.json");
const ASSESSED: &str = include_str!("../golden/ledger.fee-item.assessed.v1/1-tuition-in-parts.json");
const REVERSAL: &str = include_str!("../golden/ledger.payment.reversed.v1/3-a-debit-by-withholding.json");
const SETTLEMENT: &str = include_str!("../golden/ledger.settlement.reported.v1/1-a-day.json");
const WRITTEN_OFF: &str =
    include_str!("../golden/ledger.reconciliation-break.resolved.v1/3-written-off-as-a-loss.json");
const CAPTURE: &str = include_str!("../golden/ledger.payment.captured.v1/1-card-on-a-terminal.json");

type Answer = Result<Event, Refusal>;

/// What a door says to a golden event after a change.
fn door(golden: &str, change: impl FnOnce(&mut Value)) -> Answer {
    let mut json: Value = serde_json::from_str(golden).unwrap();
    change(&mut json);
    Event::from_structured(json.to_string().as_bytes())
}

fn field(golden: &str, name: &str, value: impl Into<Value>) -> Answer {
    door(golden, |json| json["data"][name] = value.into())
}

fn nothing(golden: &str) -> Answer {
    field(golden, "amount", "0.00")
}

fn without(golden: &str, name: &str) -> Answer {
    door(golden, |json| drop(json["data"].as_object_mut().unwrap().remove(name)))
}

/// What a door says to the golden fee payment after a change of its lines.
fn lines(change: impl FnOnce(&mut Vec<Value>)) -> Answer {
    door(FEES, |json| change(json["data"]["lines"].as_array_mut().unwrap()))
}

/// What a door says to an item of a beneficiary that names these accounts.
fn item(golden: &str, list: &str, accounts: Value) -> Answer {
    door(golden, |json| {
        let amount = json["data"][list][0]["amount"].clone();
        json["data"][list][0] = accounts;
        json["data"][list][0]["amount"] = amount;
    })
}

#[rustfmt::skip]
fn broken_rules() -> Vec<(&'static str, Answer)> {
    vec![
        ("a capture of nothing", nothing(CAPTURE)),
        ("a merchant that no index takes", field(RETURNED, "merchant", "m".repeat(129))),
        ("a fee item that no index takes", field(UNPOSTED, "fee_item", "f".repeat(129))),
        ("a fee item of a dispute that no index takes", field(DISPUTE, "fee_item", "f".repeat(129))),
        ("an item for a merchant that no index takes", item(REMITTANCE, "items", json!({"merchant": "m".repeat(129)}))),
        ("a merchant of a debit that no index takes", field(GIVEN_UP, "merchant", "m".repeat(129))),
        ("a change of more than there is room for", field(ADJUSTED, "change", "-10000000000.00")),
        ("a whole card number", field(CAPTURE, "instrument_masked", "6228480402564890018")),
        ("a net that does not add up", field(SETTLEMENT, "net", "7085.81")),
        ("a carried_in that is owed to us", field(SETTLEMENT, "carried_in", "1.00")),
        ("fees that the school bears without saying in which accounts", without(SETTLEMENT_BORNE, "fee_items")),
        ("fees that nobody in particular bears", without(SETTLEMENT_BORNE, "beneficiary")),
        ("items of fees that add up to others", door(SETTLEMENT_BORNE, |json| json["data"]["fee_items"][0]["amount"] = "3.61".into())),
        ("items of fees that the operator bears", field(SETTLEMENT_BORNE, "fees_borne_by", "operator")),
        ("items of fees of which nobody says who bears them", without(SETTLEMENT_BORNE, "fees_borne_by")),
        ("an item of fees that names no account", item(SETTLEMENT_BORNE, "fee_items", json!({}))),
        ("items of a receipt on an account of ours", without(RECEIPT_OF_FEES, "straight_to")),
        ("items of a receipt that add up to something else", field(RECEIPT_OF_FEES, "amount", "3190.42")),
        ("an item of a receipt for a merchant", item(RECEIPT_OF_FEES, "items", json!({"merchant": "shop-1"}))),
        ("an item of a receipt without its year", item(RECEIPT_OF_FEES, "items", json!({"fee_item": "dorm"}))),
        ("a remittance that does not add up", field(REMITTANCE, "amount", "3200.01")),
        ("an item of a remittance that names no account", item(REMITTANCE, "items", json!({}))),
        ("an item of a remittance that names two accounts", item(REMITTANCE, "items", json!({"fee_item": "dorm", "billing_year": 2025, "merchant": "shop-1"}))),
        ("an item of a remittance that is a year alone", item(REMITTANCE, "items", json!({"billing_year": 2025}))),
        ("a campus code without its age", without(UPLOAD, "code_issued_at")),
        ("a purchase by withholding given back to the card", field(GIVEN_BACK, "funding", "withholding")),
        ("an adjustment by nothing", field(ADJUSTED, "change", "0.00")),
        ("a fee payment without lines", lines(Vec::clear)),
        ("a fee payment of 51 lines", lines(|lines| lines.resize(51, lines[0].clone()))),
        ("lines that are not counted from 1", lines(|lines| lines.swap(0, 1))),
        ("two lines for one item", lines(|lines| lines[1]["fee_item"] = "dorm".into())),
        ("a line of nothing", lines(|lines| lines[0]["amount"] = "0.00".into())),
        ("a line without an item", lines(|lines| lines[0]["fee_item"] = " ".into())),
        ("lines that add up to something else", field(FEES, "amount", "3200.01")),
        ("a booking that a bank undid of a top-up", field(DEBITED_BACK, "reason", "bank_undid")),
        ("a card debited back for a loan", field(BANK_UNDID, "reason", "card_debited_back")),
        ("a fee unposted on a card", field(DEBITED_BACK, "reason", "fee_unposted")),
        ("a purchase returned to a fee account", field(UNPOSTED, "reason", "purchase_returned")),
        ("a fee that is unposted from no item", without(UNPOSTED, "fee_item")),
        ("a fee that is unposted from no year", without(UNPOSTED, "billing_year")),
        ("a purchase that is returned to no merchant", without(RETURNED, "merchant")),
        ("a lost dispute that the school bears for no item", without(DISPUTE, "fee_item")),
        ("a reversal of money that names no capture", without(REVERSAL, "capture_id")),
        ("a reversal of a capture by nothing", nothing(REVERSAL)),
        ("a first copy", field(COPY, "copy_no", 1)),
        ("a write-off by one person, twice", field(WRITTEN_OFF, "approvers", json!(["finance-2", "finance-2"]))),
    ]
}

#[test]
fn an_event_that_breaks_a_rule_of_its_type_is_refused() {
    for (what, answer) in broken_rules() {
        let refusal = answer.err().unwrap_or_else(|| panic!("{what} was taken as an event"));
        assert_eq!(refusal.code, RefusalCode::InvalidData, "{what}: {refusal}");
    }
}

/// The texts with which the types of events refuse, as their source has them.
fn texts_of_the_rules() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/events");
    let sources = fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let texts = |source: String| -> Vec<String> {
        let refusals = source.split("Err(").skip(1).map(str::trim_start);
        refusals.filter_map(|rest| Some(rest.strip_prefix('"')?.split_once('"')?.0.to_owned())).collect()
    };
    sources.flat_map(texts).collect()
}

#[test]
fn every_rule_of_every_type_is_broken_above() {
    let refused = broken_rules().into_iter().filter_map(|(_, answer)| answer.err());
    let seen: BTreeSet<String> = refused.map(|refusal| refusal.detail).collect();
    assert_eq!(seen, texts_of_the_rules());
}

/// A reversal of what was never charged, the receipt of a batch that came to nothing, and what the coordinator alone says.
const MAY_BE_NOTHING: &[&str] = &[
    "ledger.payment.reversed.v1",
    "ledger.purchase.posted.v1",
    "ledger.refund.cancelled.v1",
    "ledger.refund.initiated.v1",
    "ledger.settlement.received.v1",
];

#[test]
fn an_amount_of_nothing_is_refused_by_every_type_that_does_not_stand_here() {
    let has_amount = |golden: &String| serde_json::from_str::<Value>(golden).unwrap()["data"].get("amount").is_some();
    let mut taken = BTreeSet::new();
    for event_type in Data::TYPES {
        for golden in golden_files(event_type).iter().filter(|golden| has_amount(golden)) {
            match nothing(golden) {
                Ok(_) => _ = taken.insert(*event_type),
                Err(refusal) => assert_eq!(refusal.code, RefusalCode::InvalidData, "{event_type}: {refusal}"),
            }
        }
    }
    assert_eq!(taken, BTreeSet::from_iter(MAY_BE_NOTHING.iter().copied()));
}

#[test]
fn a_fee_item_may_be_waived_down_to_nothing() {
    let assessed: Value = serde_json::from_str(ASSESSED).unwrap();
    let waived = format!("-{}", assessed["data"]["amount"].as_str().unwrap());
    field(ADJUSTED, "change", waived).unwrap();
}

/// Grants of nothing were taken once. Whoever reads such a log again must not stumble over them.
#[test]
fn a_rule_that_became_stricter_leaves_the_log_readable() {
    let event = Event::from_structured(GRANTED.as_bytes()).unwrap();
    let mut value: Value = serde_json::from_slice(&event.value()).unwrap();
    value["amount"] = "0.00".into();
    let headers = event.headers();
    let headers = || headers.iter().map(|(name, text)| (*name, text.as_bytes()));
    let (key, value) = (event.stream.as_str().as_bytes(), value.to_string());
    let read = Event::from_record(key, headers(), value.as_bytes()).unwrap();
    assert_eq!(read.id, event.id);
    let refused = Event::from_binary(headers(), value.as_bytes()).unwrap_err();
    assert_eq!(refused.code, RefusalCode::InvalidData);
}

fn golden_files(event_type: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(event_type);
    fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

/// Where an event of this type is said to stand, on a stream of this kind.
fn placed(event_type: &str, kind: StreamKind) -> Answer {
    let stream = Stream::new(kind, [7; 10]);
    let order = OrderId::new(&stream, [9; 8]).unwrap();
    door(&golden_files(event_type)[0], |json| {
        json["partitionkey"] = stream.as_str().into();
        json["subject"] =
            if Data::about_of(event_type) == Some(About::Stream) { stream.as_str() } else { order.as_str() }.into();
    })
}

#[test]
fn each_type_stands_on_streams_of_its_own_kinds_only() {
    for event_type in Data::TYPES {
        let of_a_channel = Data::about_of(event_type) == Some(About::Channel);
        for kind in StreamKind::ALL {
            let wrong = placed(event_type, *kind).is_err_and(|refusal| refusal.code == RefusalCode::WrongKey);
            let at_home = !of_a_channel && Data::kinds_of(event_type).contains(kind);
            assert_eq!(wrong, !at_home, "{event_type} on a stream of kind {kind}");
        }
    }
}

/// The kinds are written here once more, so that nobody widens them in passing.
#[test]
fn what_belongs_to_one_system_stands_on_no_stream_of_another() {
    for (kind, event_types) in [
        (
            StreamKind::Loan,
            &["repayment-enrolment.checked", "loan-contract.quoted", "repayment.requested", "repayment.confirmed"][..],
        ),
        (
            StreamKind::Card,
            &[
                "cardholder.linked",
                "cardholder.unlinked",
                "withholding-mandate.signed",
                "withholding-mandate.ended",
                "spending-limit.set",
                "card.suspended",
                "card.reinstated",
                "subsidy.granted",
                "top-up.requested",
                "card.credited",
                "card-value.loaded",
                "purchase.requested",
                "offline-purchase.uploaded",
                "offline-purchase.resolved",
                "purchase.posted",
                "purchase.refunded",
                "withholding.uncollected",
            ],
        ),
        (
            StreamKind::Fees,
            &[
                "fee-item.assessed",
                "fee-item.adjusted",
                "fee-payment.requested",
                "fee.posted",
                "fiscal-receipt.issued",
                "fiscal-receipt.reversed",
            ],
        ),
    ] {
        for event_type in event_types {
            assert_eq!(Data::kinds_of(&format!("ledger.{event_type}.v1")), [kind], "{event_type}");
        }
    }
}
