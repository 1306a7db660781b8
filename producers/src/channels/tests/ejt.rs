use schemas::{Data, StreamKind, events::*};
use serde_json::{Value, json};

use super::*;
use crate::signature::{Secret, timestamped};

const EJT: &str = "ejt";

fn success() -> Value {
    json!({
        "order_no": "FAEAQCAIBAEAQCAIBAEAQCAIBAEAQC", "result": "success", "txn_no": "E20250310-1",
        "amount": "3200.00", "paid_at": "2025-03-10T09:30:00+08:00",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut notice = success();
    notice[name] = value;
    notice
}

/// What is said, signed by `secret` at `sent_s`.
fn told_at(body: &str, secret: &str, sent_s: i64) -> Result<Told, Refused> {
    let signature = timestamped::sign(body.as_bytes(), &Secret::new(secret).unwrap(), sent_s);
    read_at(EJT, &[("x-signature", signature)], body.as_bytes(), now())
}

fn told(body: &Value) -> Result<Told, Refused> {
    told_at(&body.to_string(), SECRET, now().timestamp())
}

fn expected(at: &str, data: impl Into<Data>) -> Event {
    Event::about_order("/channels/ejt", &order(StreamKind::Fees), time(at), data)
}

fn captured() -> PaymentCaptured {
    PaymentCaptured {
        channel: EJT.parse().unwrap(),
        channel_txn_no: "E20250310-1".into(),
        method: Method::Netbank,
        amount: "3200.00".parse().unwrap(),
        business_date: "2025-03-10".parse().unwrap(),
        fee: None,
        instrument_masked: None,
        terminal: None,
        evidence: Evidence::AsyncNotice,
    }
}

#[test]
fn a_payment_is_captured_and_its_receipt_issued() {
    let paid = told(&success()).unwrap();
    assert_eq!(text(&paid), r#"{"result":"success"}"#);
    let at = "2025-03-10T09:30:00+08:00";
    assert_eq!(facts(paid), [expected(at, captured())]);

    let receipt = json!({ "code": "44010125", "number": "0001234567", "check_code": "a1b2c3" });
    let (code, number, check_code) = ("44010125".into(), "0001234567".into(), "a1b2c3".into());
    let issued = FiscalReceiptIssued { code, number, check_code, amount: "3200.00".parse().unwrap() };
    let events = facts(told(&with("receipt", receipt)).unwrap());
    assert_eq!(events, [expected(at, captured()), expected(at, issued)]);
}

#[test]
fn method_and_day_are_the_platforms_where_it_tells_them() {
    let mut notice = with("method", "qr_c2b".into());
    notice["business_date"] = "2025-03-11".into();
    let business_date = "2025-03-11".parse().unwrap();
    let data = PaymentCaptured { method: Method::QrC2b, business_date, ..captured() };
    assert_eq!(facts(told(&notice).unwrap()), [expected("2025-03-10T09:30:00+08:00", data)]);
}

#[test]
fn failed_is_a_decline_and_closed_cancels_the_order() {
    let result = |result: &str| json!({ "order_no": "FAEAQCAIBAEAQCAIBAEAQCAIBAEAQC", "result": result });
    let (response_code, evidence) = ("failed".to_owned(), Evidence::AsyncNotice);
    let declined = PaymentDeclined { attempt: 1, response_code, message: String::new(), evidence };
    let at = "2025-03-10T10:00:00+08:00";
    assert_eq!(facts(told(&result("failed")).unwrap()), [expected(at, declined)]);
    let cancelled = OrderCancelled { by: EJT.parse().unwrap(), reason: "closed".into() };
    assert_eq!(facts(told(&result("closed")).unwrap()), [expected(at, cancelled)]);
    let mut failed = result("failed");
    failed["receipt"] = json!({ "code": "1", "number": "2", "check_code": "3" });
    assert_eq!(why(told(&failed)), ("INVALID_DATA", "receipt"));
}

#[test]
fn a_tampered_byte_or_a_wrong_key_is_noticed() {
    let body = success().to_string();
    let signature = timestamped::sign(body.as_bytes(), &Secret::new(SECRET).unwrap(), now().timestamp());
    for at in 0..body.len() {
        let mut tampered = body.clone().into_bytes();
        tampered[at] ^= 1;
        let read = read_at(EJT, &[("x-signature", signature.clone())], &tampered, now());
        assert_eq!(why(read), ("BAD_SIGNATURE", ""), "[{at}]");
    }
    assert_eq!(why(told_at(&body, "another secret", now().timestamp())), ("BAD_SIGNATURE", ""));
    assert_eq!(why(read(EJT, &body)), ("BAD_SIGNATURE", "x-signature"));
}

#[test]
fn what_was_overheard_is_worth_nothing_after_the_tolerance() {
    let (body, now_s) = (success().to_string(), now().timestamp());
    assert!(told_at(&body, SECRET, now_s - 300).is_ok());
    assert_eq!(why(told_at(&body, SECRET, now_s - 301)), ("SIGNED_OUT_OF_TIME", ""));
    assert_eq!(why(told_at(&body, SECRET, now_s + 301)), ("SIGNED_OUT_OF_TIME", ""));
}

/// What the platform's contract will say is set, not written here: its secret, the tolerance of its clock, the end of its
/// accounting day.
#[test]
fn secret_tolerance_and_the_end_of_the_day_are_as_set() {
    let (body, sent_s) = (success().to_string(), now().timestamp() - 100);
    let said = |set: Value, cutover: &str| {
        let mut policy = Policy::default();
        policy.channels.get_mut(&EJT.parse::<schemas::Name>().unwrap()).unwrap().cutover = cutover.parse().unwrap();
        let channels = Channels::open(&serde_json::from_value(json!({ "ejt": set })).unwrap(), &policy).unwrap();
        let Some(Ok(Webhook::Notices(channel))) = channels.get(EJT) else { return Err(None) };
        let signature = timestamped::sign(body.as_bytes(), &Secret::new("of the platform").unwrap(), sent_s);
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-signature"), signature.parse().unwrap())]);
        let read = channel.read(&Notice { headers: &headers, body: body.as_bytes(), now: now() });
        match read.map(facts).map_err(|refused| Some(refused.code.as_str()))?.remove(0).data {
            Data::PaymentCaptured(data) => Ok(data.business_date.to_string()),
            other => panic!("{other:?}"),
        }
    };
    let set = |secret: &str, tolerance_s: u32| json!({ "secret": secret, "tolerance_s": tolerance_s });
    for (set, cutover, expected) in [
        (set("of the platform", 100), "00:00:00", Ok("2025-03-10")),
        (set("of the platform", 100), "09:00:00", Ok("2025-03-11")),
        (set("of the platform", 99), "00:00:00", Err(Some("SIGNED_OUT_OF_TIME"))),
        (set("of another", 100), "00:00:00", Err(Some("BAD_SIGNATURE"))),
        (set("", 100), "00:00:00", Err(None)),
    ] {
        assert_eq!(said(set.clone(), cutover), expected.map(str::to_owned), "{set} {cutover}");
    }
}

#[test]
fn a_field_that_is_missing_or_malformed_is_refused() {
    for field in ["txn_no", "amount", "paid_at"] {
        assert_eq!(why(told(&with(field, Value::Null))), ("MISSING_FIELD", field));
    }
    for amount in ["3200", "3200.000", "+3200.00", "-3200.00", " 3200.00"] {
        assert_eq!(why(told(&with("amount", amount.into()))).0, "INVALID_AMOUNT", "{amount}");
    }
    assert_eq!(why(told(&with("amount", 3200.into()))).0, "INVALID_AMOUNT");
    assert_eq!(why(told(&with("result", "paid".into()))).0, "INVALID_DATA");
    assert_eq!(why(told(&with("amuont", "3200.00".into()))).0, "UNKNOWN_FIELD");
    assert_eq!(why(told(&with("order_no", "20250310-1".into()))), ("UNKNOWN_ORDER", "order_no"));
    assert_eq!(why(told_at("{", SECRET, now().timestamp())), ("BROKEN_JSON", ""));
}
