use schemas::{Data, StreamKind, events::*};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::*;
use crate::signature::{Secret, chinaums};

const POS: &str = "ums-pos";

const USUAL: &[(&str, &str)] = &[
    ("mid", "898340149000005"),
    ("tid", "88880001"),
    ("merOrderId", "3194LAEAQCAIBAEAQCAIBAEAQCAIBAEAQC"),
    ("status", "TRADE_SUCCESS"),
    ("totalAmount", "500000"),
    ("settleRefId", "00466201244N"),
    ("seqId", "00466201245N"),
    ("targetOrderId", "4200000001"),
    ("settleDate", "2025-03-10"),
    ("payTime", "2025-03-10 09:30:00"),
    ("billFunds", "现金:500000"),
];

fn signed(mut form: Form) -> Form {
    chinaums::sign(&mut form, &Secret::new(UMS_KEY).unwrap());
    form
}

fn notice(changed: &[(&str, &str)]) -> String {
    signed(form(USUAL, changed)).encode()
}

fn captured() -> PaymentCaptured {
    PaymentCaptured {
        channel: POS.parse().unwrap(),
        channel_txn_no: "00466201244N".into(),
        method: Method::Card,
        amount: "5000.00".parse().unwrap(),
        business_date: "2025-03-10".parse().unwrap(),
        fee: None,
        instrument_masked: None,
        terminal: Some(Terminal {
            merchant_id: "898340149000005".into(),
            terminal_id: "88880001".into(),
            batch_no: None,
            trace_no: None,
            reference_no: None,
        }),
        evidence: Evidence::AsyncNotice,
    }
}

fn expected(at: &str, data: impl Into<Data>) -> [Event; 1] {
    [Event::about_order("/channels/ums-pos", &order(StreamKind::Loan), time(at), data)]
}

fn refund(id: Uuid, status: &str, changed: &[(&str, &str)]) -> String {
    let number = format!("3194{}", Refund::request_no(id));
    let refund = [
        ("status", "TRADE_REFUND"),
        ("refundOrderId", number.as_str()),
        ("refundStatus", status),
        ("refundAmount", "30000"),
        ("refundTargetOrderId", "5000000001"),
        ("refundPayTime", "2025-03-10 09:45:00"),
    ];
    let usual = [USUAL, &refund[..]].concat();
    signed(form(&usual, changed)).encode()
}

#[test]
fn a_payment_at_a_terminal_is_captured() {
    let told = read(POS, &notice(&[])).unwrap();
    assert_eq!(text(&told), "SUCCESS");
    assert_eq!(facts(told), expected("2025-03-10T09:30:00+08:00", captured()));
}

#[test]
fn a_scanned_wallet_is_told_by_its_system_and_a_card_without_one() {
    for (system, method) in [("Alipay 2.0", Method::QrB2c), ("WXPay", Method::QrB2c), ("ACP", Method::Card)] {
        let events = facts(read(POS, &notice(&[("targetSys", system)])).unwrap());
        assert_eq!(events, expected("2025-03-10T09:30:00+08:00", PaymentCaptured { method, ..captured() }), "{system}");
    }
}

#[test]
fn the_first_of_three_numbers_tells_captures_apart() {
    let number = |changed: &[(&str, &str)]| match &facts(read(POS, &notice(changed)).unwrap())[0].data {
        Data::PaymentCaptured(data) => data.channel_txn_no.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(number(&[("settleRefId", "")]), "00466201245N");
    assert_eq!(number(&[("settleRefId", ""), ("seqId", "")]), "4200000001");
    let none = notice(&[("settleRefId", ""), ("seqId", ""), ("targetOrderId", "")]);
    assert_eq!(why(read(POS, &none)), ("MISSING_FIELD", "settleRefId"));
}

#[test]
fn json_says_the_same_as_a_form() {
    let mut form = signed(form(USUAL, &[]));
    form.push("totalAmount", "500000");
    let mut body: Map<String, Value> = Map::new();
    for (name, value) in form.iter() {
        let (name, value) = (str::from_utf8(name).unwrap(), str::from_utf8(value).unwrap());
        let value = if name == "totalAmount" { 500_000.into() } else { value.into() };
        body.insert(name.to_owned(), value);
    }
    let headers = [("content-type", "application/json; charset=utf-8".to_owned())];
    let told = read_at(POS, &headers, Value::from(body).to_string().as_bytes(), now()).unwrap();
    assert_eq!(facts(told), expected("2025-03-10T09:30:00+08:00", captured()));
    assert_eq!(why(read_at(POS, &headers, b"{", now())), ("BROKEN_JSON", ""));
    assert_eq!(why(read_at(POS, &headers, br#"{"a":{}}"#, now())), ("INVALID_DATA", ""), "nested");
}

#[test]
fn what_says_nothing_about_money_is_answered_well() {
    for status in ["NEW_ORDER", "UNKNOWN", "WAIT_BUYER_PAY", "TRADE_REFUND", "TRADE_CLOSED"] {
        let told = read(POS, &notice(&[("status", status)])).unwrap();
        assert_eq!((text(&told), &told.said[..]), ("SUCCESS", &[][..]), "{status}");
    }
    assert_eq!(why(read(POS, &notice(&[("status", "PAID")]))), ("INVALID_DATA", "status"));
}

#[test]
fn closed_means_cancelled_or_refunded() {
    let closed = notice(&[("status", "TRADE_CLOSED"), ("payTime", "")]);
    let cancelled = OrderCancelled { by: POS.parse().unwrap(), reason: "TRADE_CLOSED".into() };
    assert_eq!(facts(read(POS, &closed).unwrap()), expected("2025-03-10T10:00:00+08:00", cancelled));

    let id = Uuid::from_u128(9);
    let closed = refund(id, "SUCCESS", &[("status", "TRADE_CLOSED")]);
    let Data::RefundCompleted(data) = facts(read(POS, &closed).unwrap()).remove(0).data else { panic!() };
    assert_eq!(data.refund_id, id);
}

#[test]
fn a_refund_is_completed_failed_or_still_under_way() {
    let id = Uuid::from_u128(9);
    let completed = RefundCompleted {
        refund_id: id,
        channel: POS.parse().unwrap(),
        amount: "300.00".parse().unwrap(),
        channel_refund_no: Some("5000000001".into()),
        fee_netted: None,
        business_date: "2025-03-10".parse().unwrap(),
        evidence: Evidence::AsyncNotice,
    };
    let events = facts(read(POS, &refund(id, "SUCCESS", &[])).unwrap());
    assert_eq!(events, expected("2025-03-10T09:45:00+08:00", completed));

    let order = refunded_order(POS, &order(StreamKind::Loan), "00466201244N", &[(id, "100.00", false)]);
    let failed = of_refund(POS, read(POS, &refund(id, "FAIL", &[])).unwrap(), &order).unwrap();
    let Data::RefundFailed(data) = failed.data else { panic!() };
    assert_eq!((data.refund_id, data.tries, data.retryable), (id, 2, false));

    for status in ["PROCESSING", "UNKNOWN"] {
        assert_eq!(read(POS, &refund(id, status, &[])).unwrap().said, []);
    }
    assert_eq!(why(read(POS, &refund(id, "DONE", &[]))), ("INVALID_DATA", "refundStatus"));
    let other = refund(id, "SUCCESS", &[("refundOrderId", "3194R1")]);
    assert_eq!(why(read(POS, &other)), ("INVALID_DATA", "refundOrderId"));
}

#[test]
fn a_tampered_byte_a_wrong_key_and_md5_are_refused() {
    refuses_each_tampered_byte(POS, &signed(form(USUAL, &[])));
    let mut form = form(USUAL, &[]);
    chinaums::sign(&mut form, &Secret::new("another key").unwrap());
    assert_eq!(why(read(POS, &form.encode())), ("BAD_SIGNATURE", ""));
    let mut form = signed(super::form(USUAL, &[]));
    form.push("signType", "MD5");
    assert_eq!(why(read(POS, &form.encode())), ("BAD_SIGNATURE", "signType"));
}

#[test]
fn what_others_signed_verifies_and_is_not_about_an_order_of_ours() {
    let headers = [("content-type", "application/json".to_owned())];
    for name in ["json", "json_in_utf8"] {
        let body = vector("chinaums", name);
        assert_eq!(why(read_at(POS, &headers, body.as_bytes(), now())), ("UNKNOWN_ORDER", "merOrderId"), "{name}");
    }
    assert_eq!(why(read(POS, &vector("chinaums", "form"))), ("UNKNOWN_ORDER", "merOrderId"));
}

#[test]
fn what_is_for_others_is_refused() {
    assert_eq!(why(read(POS, &notice(&[("mid", "898340149000006")]))), ("NOT_YOURS", "mid"));
    for number in ["3195LAEAQCAIBAEAQCAIBAEAQCAIBAEAQC", "LAEAQCAIBAEAQCAIBAEAQCAIBAEAQC", "3194"] {
        assert_eq!(why(read(POS, &notice(&[("merOrderId", number)]))), ("UNKNOWN_ORDER", "merOrderId"), "{number}");
    }
}

#[test]
fn a_field_that_is_missing_or_malformed_is_named() {
    for field in ["mid", "merOrderId", "status", "totalAmount", "payTime"] {
        assert_eq!(why(read(POS, &notice(&[(field, "")]))), ("MISSING_FIELD", field));
    }
    for amount in ["5000.00", "+500000", "-1", " 500000", "5000.000"] {
        assert_eq!(why(read(POS, &notice(&[("totalAmount", amount)]))), ("INVALID_AMOUNT", "totalAmount"));
    }
    assert_eq!(why(read(POS, &notice(&[("settleDate", "20250310")]))), ("INVALID_DATA", "settleDate"));
}
