use axum::http::StatusCode;
use schemas::{Data, StreamKind};
use serde_json::{Value, json};

use super::{webhooks::notify, *};
use crate::{
    door::tests::bed::Bed,
    signature::{Secret, timestamped},
};

fn purchase(seq: u64) -> Value {
    json!({
        "school": "school-1", "card": { "number": "20231234" }, "merchant": "canteen-1", "amount": "9.90",
        "funding": "card_balance", "terminal": "T1", "terminal_seq": seq, "occurred_at": "2025-03-09T18:00:00+08:00",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut purchase = purchase(2);
    purchase[name] = value;
    purchase
}

async fn upload(bed: &Bed, purchases: &[Value]) -> (StatusCode, Value) {
    let body = json!({ "purchases": purchases }).to_string();
    let (status, _, answer) = upload_signed(bed, &body, SECRET, now().timestamp()).await;
    (status, serde_json::from_str(&answer).unwrap())
}

async fn upload_signed(bed: &Bed, body: &str, secret: &str, sent_s: i64) -> (StatusCode, String, String) {
    let signature = timestamped::sign(body.as_bytes(), &Secret::new(secret).unwrap(), sent_s);
    notify(bed, "campus-pos", &[("x-signature", &signature)], body).await
}

/// The status and code of what was not taken; words come with them.
fn said(answer: &Value) -> (&str, &str) {
    assert!(answer["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{answer}");
    (answer["status"].as_str().unwrap(), answer["code"].as_str().unwrap())
}

#[tokio::test]
async fn each_purchase_is_a_request_of_its_own() {
    let bed = Bed::new().await;
    let (status, answer) = upload(&bed, &[purchase(1), purchase(2)]).await;
    assert_eq!(status, StatusCode::OK);
    let events = bed.events();
    assert_eq!(events.len(), 2);
    let stream = bed.tokens.stream(StreamKind::Card, "school-1", "20231234");
    for (seq, event) in (1_u64..).zip(&events) {
        let key = format!("school-1/T1/{seq}");
        let order = bed.tokens.order(&stream, "/channels/campus-pos", &key).unwrap();
        let told = &answer["purchases"][usize::try_from(seq).unwrap() - 1];
        assert_eq!(*told, json!({ "status": "pending", "order_id": order }));
        assert_eq!((event.source.as_str(), event.subject.as_str()), ("/channels/campus-pos", order.as_str()));
        let Data::OfflinePurchaseUploaded(data) = &event.data else { panic!() };
        assert_eq!((data.terminal_seq, data.amount.to_string().as_str()), (seq, "9.90"));
        assert_eq!((event.occurred_at, data.uploaded_at.to_utc()), (time("2025-03-09T18:00:00+08:00"), now()));
    }
}

#[tokio::test]
async fn a_terminal_that_is_online_asks_under_the_same_signature() {
    let bed = Bed::new().await;
    let mut asked = purchase(1);
    asked.as_object_mut().unwrap().remove("occurred_at");
    let mut misspelt = asked.clone();
    misspelt["terminal"] = Value::Null;
    let body = json!({ "requests": [asked, misspelt], "purchases": [purchase(2)] }).to_string();
    let (status, _, answer) = upload_signed(&bed, &body, SECRET, now().timestamp()).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        (&answer["requests"][0]["status"], &answer["purchases"][0]["status"]),
        (&json!("pending"), &json!("pending"))
    );
    assert_eq!(said(&answer["requests"][1]), ("refused", "INVALID_DATA"));
    let types: Vec<_> = bed.events().iter().map(|event| event.data.event_type()).collect();
    assert_eq!(types, ["ledger.purchase.requested.v1", "ledger.offline-purchase.uploaded.v1"]);
}

#[tokio::test]
async fn the_same_count_of_the_same_terminal_is_the_same_purchase() {
    let bed = Bed::new().await;
    let (_, first) = upload(&bed, &[purchase(1), purchase(1)]).await;
    assert_eq!(first["purchases"][0], first["purchases"][1]);
    assert_eq!(upload(&bed, &[purchase(1)]).await.0, StatusCode::OK);
    assert_eq!(bed.events().len(), 1);
    let mut other = purchase(1);
    other["amount"] = "9.91".into();
    let (status, answer) = upload(&bed, &[other]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(said(&answer["purchases"][0]), ("refused", "IDEMPOTENCY_KEY_REUSED"));
}

#[tokio::test]
async fn a_bad_purchase_keeps_no_good_one_back() {
    let bed = Bed::new().await;
    let bad = [
        (with("amount", "9.9".into()), "INVALID_AMOUNT"),
        (with("amount", "0.00".into()), "INVALID_DATA"),
        (with("terminal_seq", Value::Null), "INVALID_DATA"),
        (with("channel", "ums-pos".into()), "NOT_YOURS"),
        (with("card", json!({ "number": " " })), "INVALID_DATA"),
        (with("funding", "withholding".into()), "INVALID_DATA"),
        (with("code_isued_at", "2025-03-24T09:00:00+08:00".into()), "UNKNOWN_FIELD"),
        (with("card", json!({ "number": "1", "nmae": "x" })), "UNKNOWN_FIELD"),
        (json!([]), "INVALID_DATA"),
    ];
    let purchases: Vec<Value> = bad.iter().map(|(purchase, _)| purchase.clone()).chain([purchase(1)]).collect();
    let (status, answer) = upload(&bed, &purchases).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    for (told, (_, code)) in answer["purchases"].as_array().unwrap().iter().zip(&bad) {
        assert_eq!(said(told), ("refused", *code));
    }
    assert_eq!(answer["purchases"][bad.len()]["status"], "pending");
    assert_eq!(bed.events().len(), 1);
}

#[tokio::test]
async fn what_the_log_does_not_acknowledge_is_unknown() {
    let bed = Bed::new().await;
    bed.log.crash();
    let (status, answer) = upload(&bed, &[purchase(1)]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(said(&answer["purchases"][0]), ("unknown", "OUTCOME_UNKNOWN"));
}

#[tokio::test]
async fn an_upload_that_is_not_signed_now_by_us_is_refused_as_a_whole() {
    let bed = Bed::without_postgres();
    let body = json!({ "purchases": [purchase(1)] }).to_string();
    let now_s = now().timestamp();
    for (secret, sent_s, code) in [("another", now_s, "BAD_SIGNATURE"), (SECRET, now_s - 301, "SIGNED_OUT_OF_TIME")] {
        let (status, content_type, answer) = upload_signed(&bed, &body, secret, sent_s).await;
        assert_eq!((status, content_type.as_str()), (StatusCode::UNAUTHORIZED, "application/json"));
        assert_eq!(answer, json!({ "result": "refused", "code": code }).to_string());
    }
    for (body, code) in [("{", "BROKEN_JSON"), ("{}", "MISSING_FIELD"), (r#"{"purchases":[],"x":1}"#, "UNKNOWN_FIELD")]
    {
        let (_, _, answer) = upload_signed(&bed, body, SECRET, now_s).await;
        assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["code"], code);
    }
    assert!(bed.events().is_empty());
}
