use schemas::{Data, StreamKind, events::*};
use uuid::Uuid;

use super::*;
use crate::signature::{Charset, alipay};

const MINI: &str = "alipay-mini";
const WITHHOLDING: &str = "alipay-withholding";

const USUAL: &[(&str, &str)] = &[
    ("app_id", "2021000000000001"),
    ("notify_type", "trade_status_sync"),
    ("notify_id", "2025031000222090512000000000000001"),
    ("notify_time", "2025-03-10 09:31:00"),
    ("charset", "utf-8"),
    ("seller_id", "2088000000000001"),
    ("trade_no", "2025031022001400000000000001"),
    ("out_trade_no", "CAEAQCAIBAEAQCAIBAEAQCAIBAEAQC"),
    ("subject", "校园卡 & 充值 +100%=全额"),
    ("body", ""),
    ("total_amount", "100.00"),
    ("trade_status", "TRADE_SUCCESS"),
    ("gmt_payment", "2025-03-10 09:30:00"),
];

const MANDATE: &[(&str, &str)] = &[
    ("app_id", "2021000000000001"),
    ("notify_type", "dut_user_sign"),
    ("notify_time", "2025-03-10 09:31:00"),
    ("charset", "utf-8"),
    ("agreement_no", "20255310000000000001"),
    ("external_agreement_no", "CAEAQCAIBAEAQCAIBAEAQCAIBAEAQC"),
    ("personal_product_code", "GENERAL_WITHHOLDING_P"),
    ("sign_time", "2025-03-10 09:30:30"),
    ("status", "NORMAL"),
];

fn signed(mut form: Form) -> Form {
    alipay::sign_notice(&mut form, &channel_signs()).unwrap();
    form
}

fn notice(changed: &[(&str, &str)]) -> String {
    signed(form(USUAL, changed)).encode()
}

fn mandate(changed: &[(&str, &str)]) -> String {
    signed(form(MANDATE, changed)).encode()
}

fn refund(id: Uuid, total: &str) -> String {
    let number = Refund::request_no(id);
    notice(&[("gmt_refund", "2025-03-10 09:40:00.123"), ("refund_fee", total), ("out_biz_no", &number)])
}

fn captured(method: Method, channel: &str) -> Data {
    PaymentCaptured {
        channel: channel.parse().unwrap(),
        channel_txn_no: "2025031022001400000000000001".into(),
        method,
        amount: "100.00".parse().unwrap(),
        business_date: "2025-03-10".parse().unwrap(),
        fee: None,
        instrument_masked: None,
        terminal: None,
        evidence: Evidence::AsyncNotice,
    }
    .into()
}

#[test]
fn a_payment_is_captured_in_the_wallet_or_under_the_mandate_as_the_path_says() {
    for (channel, method) in [(MINI, Method::Wallet), (WITHHOLDING, Method::Withholding)] {
        for status in ["TRADE_SUCCESS", "TRADE_FINISHED"] {
            let told = read(channel, &notice(&[("trade_status", status)])).unwrap();
            assert_eq!(text(&told), "success");
            let events = facts(told);
            let at = time("2025-03-10T09:30:00+08:00");
            let source = format!("/channels/{channel}");
            let expected = Event::about_order(source, &order(StreamKind::Card), at, captured(method, channel));
            assert_eq!(events, [expected]);
        }
    }
}

#[test]
fn a_debit_after_a_cancelled_one_is_of_the_same_order_and_a_top_up_has_one_number() {
    let number = [("out_trade_no", "CAEAQCAIBAEAQCAIBAEAQCAIBAEAQC_2")];
    let events = facts(read(WITHHOLDING, &notice(&number)).unwrap());
    assert_eq!(events[0].subject, order(StreamKind::Card).as_str());
    assert_eq!(why(read(MINI, &notice(&number))), ("UNKNOWN_ORDER", "out_trade_no"));
    let other = notice(&[("out_trade_no", "CAEAQCAIBAEAQCAIBAEAQCAIBAEAQC_1")]);
    assert_eq!(why(read(WITHHOLDING, &other)), ("UNKNOWN_ORDER", "out_trade_no"));
}

#[test]
fn a_payment_just_before_midnight_belongs_to_its_own_day() {
    let events = facts(read(MINI, &notice(&[("gmt_payment", "2025-03-10 23:59:59")])).unwrap());
    let Data::PaymentCaptured(data) = &events[0].data else { panic!() };
    assert_eq!(data.business_date.to_string(), "2025-03-10");
}

#[test]
fn a_notice_in_gbk_is_verified_over_its_bytes() {
    let mut form = form(USUAL, &[("charset", "GBK")]);
    form.push("subject", Charset::Gbk.encode("校园卡充值").unwrap());
    assert_eq!(facts(read(MINI, &signed(form).encode()).unwrap()).len(), 1);
}

#[test]
fn a_charset_that_nobody_named_or_knows_is_refused() {
    assert_eq!(why(read(MINI, &notice(&[("charset", "big5")]))), ("INVALID_DATA", "charset"));
    assert_eq!(why(read(MINI, &notice(&[("charset", "")]))), ("MISSING_FIELD", "charset"));
    let mut form = form(USUAL, &[]);
    form.push("trade_no", Charset::Gbk.encode("交易").unwrap());
    assert_eq!(why(read(MINI, &signed(form).encode())), ("INVALID_DATA", "trade_no"));
}

#[test]
fn what_others_signed_verifies_and_is_not_about_an_order_of_ours() {
    let config = ChannelsConfig {
        alipay_mini: super::super::alipay::AlipayConfig { seller_id: String::new(), ..config().alipay_mini },
        ..config()
    };
    let channels = Channels::open(&config, &Policy::default()).unwrap();
    let Some(Ok(Webhook::Notices(channel))) = channels.get(MINI) else { panic!() };
    for (vector_name, why_refused) in [
        ("notice", ("UNKNOWN_ORDER", "out_trade_no")),
        ("notice_gbk", ("UNKNOWN_ORDER", "out_trade_no")),
        ("notice_with_empty_fields_signed", ("UNKNOWN_ORDER", "out_trade_no")),
        ("notice_of_another_key", ("BAD_SIGNATURE", "")),
    ] {
        let body = vector("alipay", vector_name);
        let notice = Notice { headers: &HeaderMap::new(), body: body.as_bytes(), now: now() };
        assert_eq!(why(channel.read(&notice)), why_refused, "{vector_name}");
    }
}

#[test]
fn a_tampered_byte_or_a_wrong_key_is_noticed() {
    refuses_each_tampered_byte(MINI, &signed(form(USUAL, &[])));
    let mut form = form(USUAL, &[]);
    alipay::sign_notice(&mut form, &other_signs()).unwrap();
    assert_eq!(why(read(MINI, &form.encode())), ("BAD_SIGNATURE", ""));
    assert_eq!(why(read(MINI, &super::form(USUAL, &[]).encode())), ("BAD_SIGNATURE", "sign_type"));
}

#[test]
fn a_notice_for_another_merchant_is_refused() {
    assert_eq!(why(read(MINI, &notice(&[("app_id", "2021000000000002")]))), ("NOT_YOURS", "app_id"));
    assert_eq!(why(read(MINI, &notice(&[("seller_id", "2088000000000002")]))), ("NOT_YOURS", "seller_id"));
    assert_eq!(why(read(MINI, &notice(&[("seller_id", "")]))), ("MISSING_FIELD", "seller_id"));
}

#[test]
fn a_field_that_is_missing_or_malformed_is_named() {
    for field in ["app_id", "notify_type", "out_trade_no", "trade_status", "gmt_payment", "trade_no", "total_amount"] {
        assert_eq!(why(read(MINI, &notice(&[(field, "")]))), ("MISSING_FIELD", field));
    }
    for amount in ["100", "100.000", "+100.00", "-100.00", " 100.00", "1 00.00", "1e2", "0100.00"] {
        assert_eq!(
            why(read(MINI, &notice(&[("total_amount", amount)]))),
            ("INVALID_AMOUNT", "total_amount"),
            "{amount}"
        );
    }
    for at in ["2025-03-10", "2025-3-10 09:30:00", "2025-03-10T09:30:00", "2025-13-10 09:30:00"] {
        assert_eq!(why(read(MINI, &notice(&[("gmt_payment", at)]))), ("INVALID_DATA", "gmt_payment"), "{at}");
    }
    assert_eq!(why(read(MINI, &notice(&[("out_trade_no", "20250310-1")]))), ("UNKNOWN_ORDER", "out_trade_no"));
    assert_eq!(why(read(MINI, &notice(&[("trade_status", "PAID")]))), ("INVALID_DATA", "trade_status"));
    assert_eq!(why(read(MINI, &notice(&[("notify_type", "other")]))), ("INVALID_DATA", "notify_type"));
}

#[test]
fn waiting_for_the_payer_says_nothing_about_money() {
    let told = read(MINI, &notice(&[("trade_status", "WAIT_BUYER_PAY"), ("gmt_payment", "")])).unwrap();
    assert_eq!((text(&told), &told.said[..]), ("success", &[][..]));
}

#[test]
fn closed_without_payment_cancels_the_order() {
    let closed = [("trade_status", "TRADE_CLOSED"), ("gmt_payment", ""), ("gmt_close", "2025-03-10 09:50:00")];
    let events = facts(read(MINI, &notice(&closed)).unwrap());
    let data = OrderCancelled { by: MINI.parse().unwrap(), reason: "TRADE_CLOSED".into() };
    let at = time("2025-03-10T09:50:00+08:00");
    assert_eq!(events, [Event::about_order("/channels/alipay-mini", &order(StreamKind::Card), at, data)]);
    let told = read(MINI, &notice(&[("trade_status", "TRADE_CLOSED")])).unwrap();
    assert_eq!(told.said, [], "it was paid, so it was refunded, of which the refund's own notice tells");
}

#[test]
fn closed_by_a_refund_completes_the_refund() {
    let id = Uuid::from_u128(1);
    let order =
        refunded_order(MINI, &order(StreamKind::Card), "2025031022001400000000000001", &[(id, "100.00", false)]);
    let number = Refund::request_no(id);
    let closed = [
        ("trade_status", "TRADE_CLOSED"),
        ("gmt_refund", "2025-03-10 09:40:00"),
        ("refund_fee", "100.00"),
        ("out_biz_no", &number),
    ];
    let event = of_refund(MINI, read(MINI, &notice(&closed)).unwrap(), &order).unwrap();
    let Data::RefundCompleted(data) = event.data else { panic!() };
    assert_eq!((data.refund_id, data.amount.to_string()), (id, "100.00".to_owned()));
}

#[test]
fn a_refund_is_completed_when_the_total_fits_what_was_refunded_before() {
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let txn = "2025031022001400000000000001";
    let order = refunded_order(MINI, &order(StreamKind::Card), txn, &[(one, "30.00", true), (two, "20.00", false)]);
    let event = of_refund(MINI, read(MINI, &refund(two, "50.00")).unwrap(), &order).unwrap();
    assert_eq!(event.occurred_at, time("2025-03-10T09:40:00.123+08:00"));
    let completed = RefundCompleted {
        refund_id: two,
        channel: MINI.parse().unwrap(),
        amount: "20.00".parse().unwrap(),
        channel_refund_no: None,
        fee_netted: None,
        business_date: "2025-03-10".parse().unwrap(),
        evidence: Evidence::AsyncNotice,
    };
    assert_eq!(event.data, Data::from(completed));
}

#[test]
fn a_refund_whose_total_does_not_fit_is_left_to_the_query() {
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let txn = "2025031022001400000000000001";
    let number = order(StreamKind::Card);
    let order = refunded_order(MINI, &number, txn, &[(one, "30.00", true), (two, "20.00", false)]);
    for total in ["20.00", "30.00", "49.99", "100.00"] {
        let told = read(MINI, &refund(two, total)).unwrap();
        assert_eq!(text(&told), "success");
        assert_eq!(of_refund(MINI, told, &order), None, "{total}");
    }
    let unheard_of = read(MINI, &refund(Uuid::from_u128(3), "50.00")).unwrap();
    assert_eq!(of_refund(MINI, unheard_of, &order), None);
    let of_another_payment = refunded_order(MINI, &number, "another", &[(two, "50.00", false)]);
    assert_eq!(of_refund(MINI, read(MINI, &refund(two, "50.00")).unwrap(), &of_another_payment), None);
}

#[test]
fn a_refund_that_is_not_ours_is_answered_well_and_says_nothing() {
    for number in ["R1", "2025031000000001", ""] {
        let by_others =
            notice(&[("gmt_refund", "2025-03-10 09:40:00"), ("refund_fee", "1.00"), ("out_biz_no", number)]);
        let told = read(MINI, &by_others).unwrap();
        assert_eq!((text(&told), &told.said[..]), ("success", &[][..]));
    }
}

#[test]
fn a_mandate_is_signed_on_the_card_that_its_number_carries() {
    let events = facts(read(WITHHOLDING, &mandate(&[])).unwrap());
    let data = WithholdingMandateSigned {
        channel: WITHHOLDING.parse().unwrap(),
        agreement_no: "20255310000000000001".into(),
        external_agreement_no: Some("CAEAQCAIBAEAQCAIBAEAQCAIBAEAQC".into()),
        product_code: "GENERAL_WITHHOLDING_P".into(),
    };
    let (stream, at) = (order(StreamKind::Card).stream(), time("2025-03-10T09:30:30+08:00"));
    assert_eq!(events, [Event::about_stream("/channels/alipay-withholding", &stream, at, data)]);
    assert_eq!(read(WITHHOLDING, &mandate(&[("status", "TEMP")])).unwrap().said, []);
}

#[test]
fn a_mandate_ends_on_the_same_card() {
    let ended = [("notify_type", "dut_user_unsign"), ("status", "UNSIGN"), ("unsign_time", "2025-03-11 08:00:00")];
    let events = facts(read(WITHHOLDING, &mandate(&ended)).unwrap());
    let (channel, agreement_no) = (WITHHOLDING.parse().unwrap(), "20255310000000000001".into());
    let data = WithholdingMandateEnded { channel, agreement_no, ended_by: MandateEnder::Payer };
    let (stream, at) = (order(StreamKind::Card).stream(), time("2025-03-11T08:00:00+08:00"));
    assert_eq!(events, [Event::about_stream("/channels/alipay-withholding", &stream, at, data)]);
}

#[test]
fn a_mandate_that_is_none_of_ours_is_refused() {
    let other = mandate(&[("external_agreement_no", "20250310-1")]);
    assert_eq!(why(read(WITHHOLDING, &other)), ("UNKNOWN_ORDER", "external_agreement_no"));
    assert_eq!(why(read(MINI, &mandate(&[]))), ("NOT_YOURS", "notify_type"), "it is told at the other path");
}
