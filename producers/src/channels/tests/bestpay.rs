use schemas::{Data, StreamKind, events::*};

use super::*;
use crate::signature::{
    Charset, Secret,
    bestpay::{Merchant, Wording},
};

const WEB: &str = "bestpay-web";

const USUAL: &[(&str, &str)] = &[
    ("UPTRANSEQ", "20250310000001"),
    ("TRANDATE", "20250310"),
    ("RETNCODE", "0000"),
    ("RETNINFO", "OK"),
    ("ORDERREQTRANSEQ", "2025031000000101"),
    ("ORDERSEQ", "CAEAQCAIBAEAQCAIBAEAQCAIBAEAQC"),
    ("ORDERAMOUNT", "10000"),
    ("PRODUCTAMOUNT", "10000"),
    ("ATTACHAMOUNT", "0"),
    ("CURTYPE", "RMB"),
    ("ENCODETYPE", "1"),
];

fn merchant(id: &str, key: &str, wording: Wording) -> Merchant {
    Merchant { id: id.into(), key: Secret::new(key).unwrap(), wording }
}

fn signed(mut form: Form) -> Form {
    merchant("0250000001", BESTPAY_KEY, Wording::Web).sign(&mut form).unwrap();
    form
}

fn notice(changed: &[(&str, &str)]) -> String {
    signed(form(USUAL, changed)).encode()
}

fn expected(at: &str, data: impl Into<Data>) -> [Event; 1] {
    [Event::about_order("/channels/bestpay-web", &order(StreamKind::Card), time(at), data)]
}

fn captured(day: &str) -> PaymentCaptured {
    PaymentCaptured {
        channel: WEB.parse().unwrap(),
        channel_txn_no: "20250310000001".into(),
        method: Method::Netbank,
        amount: "100.00".parse().unwrap(),
        business_date: day.parse().unwrap(),
        fee: None,
        instrument_masked: None,
        terminal: None,
        evidence: Evidence::AsyncNotice,
    }
}

#[test]
fn a_payment_is_captured_and_answered_with_its_own_number() {
    let told = read(WEB, &notice(&[])).unwrap();
    assert_eq!(text(&told), "UPTRANSEQ_20250310000001");
    assert_eq!(facts(told), expected("2025-03-10T10:00:00+08:00", captured("2025-03-10")), "today, and now");
}

#[test]
fn the_day_is_the_gateways_and_the_time_as_close_as_it_tells() {
    let events = facts(read(WEB, &notice(&[("TRANDATE", "20250309")])).unwrap());
    assert_eq!(events, expected("2025-03-09T23:59:59+08:00", captured("2025-03-09")));
    let events = facts(read(WEB, &notice(&[("TRANDATE", "20250309235958")])).unwrap());
    assert_eq!(events, expected("2025-03-09T23:59:58+08:00", captured("2025-03-09")));
    for none in ["2025-03-10", "20251310", "202503100930", "+2025031"] {
        assert_eq!(why(read(WEB, &notice(&[("TRANDATE", none)]))), ("INVALID_DATA", "TRANDATE"), "{none}");
    }
}

#[test]
fn every_other_code_is_a_decline_and_is_answered_alike() {
    let mut form = form(USUAL, &[("RETNCODE", "1003")]);
    form.push("RETNINFO", Charset::Gbk.encode("余额不足").unwrap());
    let told = read(WEB, &signed(form).encode()).unwrap();
    assert_eq!(text(&told), "UPTRANSEQ_20250310000001");
    let (response_code, message) = ("1003".to_owned(), "余额不足".to_owned());
    let declined = PaymentDeclined { attempt: 1, response_code, message, evidence: Evidence::AsyncNotice };
    assert_eq!(facts(told), expected("2025-03-10T10:00:00+08:00", declined));
}

#[test]
fn text_in_another_character_set_than_the_one_agreed_on_is_refused() {
    let mut form = form(USUAL, &[("RETNCODE", "1003")]);
    form.push("RETNINFO", [0x81]);
    assert_eq!(why(read(WEB, &signed(form).encode())), ("INVALID_DATA", "RETNINFO"));
}

#[test]
fn only_what_is_signed_is_read() {
    let good = signed(form(USUAL, &[]));
    for field in ["ORDERREQTRANSEQ", "PRODUCTAMOUNT", "ATTACHAMOUNT", "CURTYPE", "ENCODETYPE", "BANKID", "ATTACH"] {
        let mut copy = good.clone();
        copy.push(field, "999");
        assert_eq!(facts(read(WEB, &copy.encode()).unwrap())[0].data, captured("2025-03-10").into(), "{field}");
    }
}

#[test]
fn a_tampered_byte_a_wrong_key_and_another_merchant_are_noticed() {
    let is_signed = |name: &str| {
        let signed = ["UPTRANSEQ", "TRANDATE", "RETNCODE", "RETNINFO", "ORDERSEQ", "ORDERAMOUNT"];
        signed.contains(&name)
    };
    let usual: Vec<(&str, &str)> = USUAL.iter().copied().filter(|(name, _)| is_signed(name)).collect();
    refuses_each_tampered_byte(WEB, &signed(form(&usual, &[])));
    for other in [
        merchant("0250000001", "ANOTHER-KEY", Wording::Web),
        merchant("0250000002", BESTPAY_KEY, Wording::Web),
        merchant("0250000001", BESTPAY_KEY, Wording::Mobile),
    ] {
        let mut form = form(USUAL, &[]);
        other.sign(&mut form).unwrap();
        assert_eq!(why(read(WEB, &form.encode())), ("BAD_SIGNATURE", ""));
    }
}

#[test]
fn what_others_signed_verifies_and_is_not_about_an_order_of_ours() {
    assert_eq!(why(read(WEB, &vector("bestpay", "web"))), ("UNKNOWN_ORDER", "ORDERSEQ"));
    assert_eq!(why(read(WEB, &vector("bestpay", "mobile"))), ("BAD_SIGNATURE", ""));
}

#[test]
fn a_field_that_is_missing_or_malformed_is_named() {
    let good = signed(form(USUAL, &[]));
    for field in ["UPTRANSEQ", "TRANDATE", "RETNCODE", "ORDERSEQ", "ORDERAMOUNT", "SIGN"] {
        let mut copy = good.clone();
        copy.push(field, "");
        assert_eq!(why(read(WEB, &copy.encode())), ("BAD_SIGNATURE", field), "without it nothing can be verified");
    }
    for amount in ["100.00", "+10000", "-1", " 10000", "100.000"] {
        assert_eq!(why(read(WEB, &notice(&[("ORDERAMOUNT", amount)]))), ("INVALID_AMOUNT", "ORDERAMOUNT"), "{amount}");
    }
}
