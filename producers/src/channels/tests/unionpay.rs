use schemas::{Data, StreamKind, events::*};
use uuid::Uuid;

use super::*;
use crate::signature::{Charset, unionpay};

const CQP: &str = "unionpay-cqp";

const USUAL: &[(&str, &str)] = &[
    ("version", "5.1.0"),
    ("encoding", "UTF-8"),
    ("certId", "69026276696"),
    ("txnType", "01"),
    ("txnSubType", "01"),
    ("merId", "898310000000001"),
    ("orderId", "LAEAQCAIBAEAQCAIBAEAQCAIBAEAQC"),
    ("txnTime", "20250310093000"),
    ("txnAmt", "120000"),
    ("currencyCode", "156"),
    ("queryId", "952503100930001234568"),
    ("settleDate", "0311"),
    ("respCode", "00"),
    ("respMsg", "成功[0000000]"),
    ("accNo", "6226090000000048"),
    ("reqReserved", ""),
];

fn signed(mut form: Form) -> Form {
    unionpay::sign(&mut form, &channel_signs()).unwrap();
    form
}

fn notice(changed: &[(&str, &str)]) -> String {
    signed(form(USUAL, changed)).encode()
}

fn expected(data: impl Into<Data>) -> [Event; 1] {
    let at = time("2025-03-10T09:30:00+08:00");
    [Event::about_order("/channels/unionpay-cqp", &order(StreamKind::Loan), at, data)]
}

fn captured() -> PaymentCaptured {
    PaymentCaptured {
        channel: CQP.parse().unwrap(),
        channel_txn_no: "952503100930001234568".into(),
        method: Method::Cqp,
        amount: "1200.00".parse().unwrap(),
        business_date: "2025-03-11".parse().unwrap(),
        fee: None,
        instrument_masked: None,
        terminal: None,
        evidence: Evidence::AsyncNotice,
    }
}

/// A refund's notice: the number of the refund in the place of the order's, which comes back in `reqReserved`.
fn refund(id: Uuid, code: &str) -> String {
    let number = Refund::request_no(id);
    let order = "LAEAQCAIBAEAQCAIBAEAQCAIBAEAQC";
    notice(&[
        ("txnType", "04"),
        ("orderId", &number),
        ("reqReserved", order),
        ("origQryId", "952503100930001234568"),
        ("queryId", "952503101000001234569"),
        ("respCode", code),
    ])
}

fn reversal(changed: &[(&str, &str)]) -> String {
    let usual = [
        ("txnType", "31"),
        ("orderId", "20250310000001"),
        ("reqReserved", "LAEAQCAIBAEAQCAIBAEAQCAIBAEAQC"),
        ("origQryId", "952503100930001234568"),
        ("queryId", "952503101000001234570"),
    ];
    let all = form(&[USUAL, &usual[..]].concat(), changed);
    signed(all).encode()
}

#[test]
fn a_payment_is_captured_on_the_day_that_the_channel_tells() {
    for code in ["00", "A6"] {
        let told = read(CQP, &notice(&[("respCode", code)])).unwrap();
        assert_eq!(text(&told), "ok");
        assert_eq!(facts(told), expected(captured()));
    }
}

#[test]
fn the_year_of_the_settlement_is_the_closest_one() {
    for (at, told, day) in [
        ("20241231233000", "0101", "2025-01-01"),
        ("20250101000500", "1231", "2024-12-31"),
        ("20240228233000", "0229", "2024-02-29"),
        ("20250310093000", "0311", "2025-03-11"),
    ] {
        let events = facts(read(CQP, &notice(&[("txnTime", at), ("settleDate", told)])).unwrap());
        let Data::PaymentCaptured(data) = &events[0].data else { panic!() };
        assert_eq!(data.business_date.to_string(), day);
    }
    let events = facts(read(CQP, &notice(&[("settleDate", "")])).unwrap());
    let Data::PaymentCaptured(data) = &events[0].data else { panic!() };
    assert_eq!(data.business_date.to_string(), "2025-03-10", "by the terms of the channel where it tells none");
    for none in ["1332", "3", "03-1", "2025-03-11"] {
        assert_eq!(why(read(CQP, &notice(&[("settleDate", none)]))), ("INVALID_DATA", "settleDate"), "{none}");
    }
}

#[test]
fn a_declined_payment_is_declined_and_an_open_one_unknown() {
    let (response_code, message) = ("51".to_owned(), "余额不足".to_owned());
    let events = facts(read(CQP, &notice(&[("respCode", "51"), ("respMsg", "余额不足")])).unwrap());
    let evidence = Evidence::AsyncNotice;
    assert_eq!(events, expected(PaymentDeclined { attempt: 1, response_code, message, evidence }));
    for code in ["03", "04", "05"] {
        let events = facts(read(CQP, &notice(&[("respCode", code)])).unwrap());
        let response_code = code.to_owned();
        assert_eq!(
            events,
            expected(PaymentOutcomeUnknown { attempt: 1, tries: 0, response_code, next_query_at: None })
        );
    }
}

#[test]
fn text_is_read_in_the_character_set_that_the_notice_names() {
    let message = Charset::Gbk.encode("余额不足").unwrap();
    let declined = |encoding: &str| {
        let mut form = form(USUAL, &[("respCode", "51"), ("encoding", encoding)]);
        form.push("respMsg", &message);
        read(CQP, &signed(form).encode())
    };
    let Data::PaymentDeclined(data) = &facts(declined("GBK").unwrap())[0].data else { panic!() };
    assert_eq!(data.message, "余额不足");
    for utf_8 in ["UTF-8", ""] {
        assert_eq!(why(declined(utf_8)), ("INVALID_DATA", "respMsg"), "{utf_8}");
    }
    for field in ["merId", "orderId", "txnTime", "txnAmt", "queryId", "settleDate", "respCode", "txnType"] {
        let mut form = form(USUAL, &[]);
        form.push(field, &message);
        assert_eq!(why(read(CQP, &signed(form).encode())), ("INVALID_DATA", field));
    }
}

#[test]
fn a_refund_is_completed_on_the_order_that_comes_back() {
    let id = Uuid::from_u128(7);
    let events = facts(read(CQP, &refund(id, "00")).unwrap());
    let completed = RefundCompleted {
        refund_id: id,
        channel: CQP.parse().unwrap(),
        amount: "1200.00".parse().unwrap(),
        channel_refund_no: Some("952503101000001234569".into()),
        fee_netted: None,
        business_date: "2025-03-11".parse().unwrap(),
        evidence: Evidence::AsyncNotice,
    };
    assert_eq!(events, expected(completed));
}

#[test]
fn a_refund_that_failed_failed_at_its_last_try() {
    let id = Uuid::from_u128(7);
    let number = order(StreamKind::Loan);
    let order = refunded_order(CQP, &number, "952503100930001234568", &[(id, "100.00", false)]);
    let event = of_refund(CQP, read(CQP, &refund(id, "39")).unwrap(), &order).unwrap();
    let Data::RefundFailed(data) = event.data else { panic!() };
    assert_eq!((data.tries, data.code.as_str(), data.retryable), (2, "39", false));
    for code in ["03", "04", "05", "01", "12", "34", "60"] {
        assert_eq!(read(CQP, &refund(id, code)).unwrap().said, [], "{code}: not known yet");
    }
    assert_eq!(of_refund(CQP, read(CQP, &refund(Uuid::from_u128(8), "39")).unwrap(), &order), None);
}

#[test]
fn a_refund_of_a_number_that_is_not_ours_is_refused() {
    let other = notice(&[("txnType", "04"), ("reqReserved", "LAEAQCAIBAEAQCAIBAEAQCAIBAEAQC"), ("orderId", "R1")]);
    assert_eq!(why(read(CQP, &other)), ("INVALID_DATA", "orderId"));
}

#[test]
fn a_reversal_undoes_the_capture_that_it_names() {
    for (txn_type, reason) in [("31", ReversalReason::CancelApi), ("99", ReversalReason::Timeout)] {
        let events = facts(read(CQP, &reversal(&[("txnType", txn_type)])).unwrap());
        let reversed = PaymentReversed {
            channel: CQP.parse().unwrap(),
            attempt: 1,
            capture_id: Some(expected(captured())[0].id),
            amount: "1200.00".parse().unwrap(),
            reason,
            method: None,
            channel_txn_no: "952503101000001234570".into(),
            business_date: "2025-03-11".parse().unwrap(),
            evidence: Evidence::AsyncNotice,
        };
        assert_eq!(events, expected(reversed));
    }
    let failed = PaymentReversalFailed { attempt: 1, tries: 1, code: "25".into(), retryable: false };
    assert_eq!(facts(read(CQP, &reversal(&[("respCode", "25")])).unwrap()), expected(failed));
    assert_eq!(read(CQP, &reversal(&[("respCode", "03")])).unwrap().said, [], "not known yet");
    assert_eq!(why(read(CQP, &reversal(&[("origQryId", "")]))), ("MISSING_FIELD", "origQryId"));
}

#[test]
fn a_tampered_byte_a_wrong_key_and_an_unknown_certificate_are_noticed() {
    refuses_each_tampered_byte(CQP, &signed(form(USUAL, &[])));
    let mut form = form(USUAL, &[]);
    unionpay::sign(&mut form, &other_signs()).unwrap();
    assert_eq!(why(read(CQP, &form.encode())), ("BAD_SIGNATURE", ""));
    assert_eq!(why(read(CQP, &notice(&[("certId", "1")]))), ("BAD_SIGNATURE", ""));
}

#[test]
fn what_others_signed_verifies_and_is_not_about_an_order_of_ours() {
    // These vectors have no txnTime.
    for name in ["notice", "notice_gbk", "notice_with_certificate"] {
        assert_eq!(why(read(CQP, &vector("unionpay", name))), ("MISSING_FIELD", "txnTime"), "{name}");
    }
    assert_eq!(why(read(CQP, &vector("unionpay", "notice_of_another_key"))), ("BAD_SIGNATURE", ""));
    assert_eq!(why(read(CQP, &notice(&[("orderId", "202603010001")]))), ("UNKNOWN_ORDER", "orderId"));
}

#[test]
fn what_is_for_others_or_not_in_yuan_is_refused() {
    assert_eq!(why(read(CQP, &notice(&[("merId", "898310000000002")]))), ("NOT_YOURS", "merId"));
    assert_eq!(why(read(CQP, &notice(&[("currencyCode", "840")]))), ("INVALID_DATA", "currencyCode"));
    assert_eq!(why(read(CQP, &notice(&[("encoding", "EBCDIC")]))), ("INVALID_DATA", "encoding"));
    assert_eq!(why(read(CQP, &notice(&[("txnType", "02")]))), ("INVALID_DATA", "txnType"));
}

#[test]
fn a_field_that_is_missing_or_malformed_is_named() {
    for field in ["merId", "orderId", "txnTime", "txnAmt", "queryId", "respCode", "txnType"] {
        assert_eq!(why(read(CQP, &notice(&[(field, "")]))), ("MISSING_FIELD", field));
    }
    for amount in ["1200.00", "+120000", "-1", " 120000", "120 000", "9999999999999", "1e3"] {
        assert_eq!(why(read(CQP, &notice(&[("txnAmt", amount)]))), ("INVALID_AMOUNT", "txnAmt"), "{amount}");
    }
    for at in ["2025-03-10 09:30:00", "20251310093000", "202503100930"] {
        assert_eq!(why(read(CQP, &notice(&[("txnTime", at)]))), ("INVALID_DATA", "txnTime"), "{at}");
    }
}
