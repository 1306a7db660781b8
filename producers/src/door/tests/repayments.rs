use std::time::Duration;

use axum::http::StatusCode;
use chrono::DateTime;
use rules::order::{Admission, Order};
use schemas::{
    Data, OrderId, StreamKind,
    events::{RejectionReason, RepaymentRequested},
};
use serde_json::{Value, json};

use super::bed::{Bed, TOPIC, records};

const STUDENT: &str = "11010519491231002X";

fn body() -> Value {
    json!({
        "student": { "id_number": STUDENT, "name": "张三" },
        "contract": { "reference": "K-4711", "type": "origin" },
        "amount": "800.00",
        "method": "card",
        "enrolment": { "result": "enrolled", "checked_at": "2025-03-10T09:59:50+08:00" },
        "quote": { "found": true, "outstanding": "5000.00", "as_of": "2025-03-10T09:59:50+08:00" },
        "consent": { "version": "2025-01", "consented_at": "2025-03-10T09:59:40+08:00" },
    })
}

/// The standard request with one place changed.
fn changed(pointer: &str, value: Value) -> Value {
    let mut body = body();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value;
    body
}

async fn ask(bed: &Bed, client: &str, key: &str, body: &Value) -> (StatusCode, Value) {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    bed.post(client, "/v1/loan-repayments", &headers, body.to_string()).await
}

/// What `pos` is told about a request that must be refused; nothing may reach the log.
async fn refused(body: &Value) -> (u16, String) {
    let bed = Bed::without_postgres();
    let (status, answer) = ask(&bed, "pos", "1", body).await;
    assert!(bed.events().is_empty());
    assert!(!answer.to_string().contains(STUDENT), "{answer}");
    (status.as_u16(), answer["code"].as_str().unwrap().to_owned())
}

fn order(bed: &Bed, key: &str) -> OrderId {
    bed.tokens.order(&bed.tokens.stream(StreamKind::Loan, "cdb", "K-4711"), "pos", key).unwrap()
}

fn accepted() -> Admission {
    Admission::Accepted { expires_at: DateTime::parse_from_rfc3339("2025-03-10T10:02:00+08:00").unwrap() }
}

/// The coordinator's row of an order, as the coordinator would write it.
async fn judge(bed: &Bed, key: &str, admission: Admission) {
    let request = bed.events().into_iter().find_map(|event| match event.data {
        Data::RepaymentRequested(data) => Some(rules::order::Request {
            data: rules::order::RequestData::Repayment(data),
            occurred_at: event.occurred_at,
            recorded_at: event.occurred_at.to_utc(),
        }),
        _ => None,
    });
    let state = serde_json::to_string(&Order { request, admission: Some(admission), ..Order::default() }).unwrap();
    let sql = "insert into coordinator.orders (key, partition, history, state) values ($1, 0, '', $2)";
    bed.pool.get().await.unwrap().execute(sql, &[&order(bed, key).as_str(), &state]).await.unwrap();
}

fn requested(bed: &Bed) -> RepaymentRequested {
    match bed.events().remove(0).data {
        Data::RepaymentRequested(data) => data,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_admitted_request_is_answered_with_its_order() {
    let bed = Bed::new().await;
    judge(&bed, "1", accepted()).await;
    let (status, answer) = ask(&bed, "pos", "1", &body()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(answer["order_id"], order(&bed, "1").as_str());
    assert_eq!(
        (answer["status"].as_str(), answer["expires_at"].as_str()),
        (Some("accepted"), Some("2025-03-10T10:02:00+08:00"))
    );
    assert!(answer["position"].as_str().unwrap().parse::<schemas::Position>().is_ok());
    let event = bed.events().remove(0);
    assert_eq!((event.source.as_str(), event.subject.as_str()), ("/channels/ums-pos", order(&bed, "1").as_str()));
    assert_eq!(event.occurred_at.to_rfc3339(), "2025-03-10T10:00:00+08:00", "now, as nothing else was said");
}

#[tokio::test]
async fn nothing_personal_is_kept() {
    let bed = Bed::new().await;
    let mut body = body();
    body["payer"] = json!({ "id_number": "440524188001010014" });
    ask(&bed, "pos", "1", &body).await;
    let data = requested(&bed);
    assert_eq!(
        data.contract,
        bed.tokens.stream(StreamKind::Loan, "cdb", "K-4711").to_string(),
        "the contract is named by its stream"
    );
    assert_eq!(data.student, bed.tokens.person(STUDENT));
    assert_eq!(data.payer, Some(bed.tokens.person("440524188001010014")));
    let tables = "select string_agg(t::text, ' ') from (select e::text from door.event e union all
                  select r::text from door.request r) t";
    let mut kept: String = bed.pool.get().await.unwrap().query_one(tables, &[]).await.unwrap().get(0);
    for record in records(&bed.log, TOPIC) {
        kept.push_str(&String::from_utf8_lossy(&record.value));
        record.headers.iter().for_each(|(_, value)| kept.push_str(&String::from_utf8_lossy(value)));
    }
    for personal in [STUDENT, "440524188001010014", "张三", "K-4711"] {
        assert!(!kept.contains(personal), "{personal} in {kept}");
    }
}

#[tokio::test]
async fn a_student_is_the_same_in_lower_case() {
    let bed = Bed::new().await;
    ask(&bed, "pos", "1", &changed("/student/id_number", STUDENT.to_lowercase().into())).await;
    assert_eq!(requested(&bed).student, bed.tokens.person(STUDENT));
}

#[tokio::test]
async fn a_student_who_pays_is_no_other_payer() {
    let bed = Bed::new().await;
    ask(&bed, "pos", "1", &changed("/payer", json!({ "id_number": STUDENT }))).await;
    assert_eq!(requested(&bed).payer, None);
}

#[tokio::test]
async fn invalid_id_number_a_wrong_check_character_is_refused() {
    for number in ["110105194912310021", "", "身份证"] {
        let body = changed("/student/id_number", number.into());
        assert_eq!(refused(&body).await, (422, "INVALID_ID_NUMBER".into()), "{number}");
    }
    let body = changed("/payer", json!({ "id_number": "110105194912310021" }));
    assert_eq!(refused(&body).await, (422, "INVALID_ID_NUMBER".into()));
}

#[tokio::test]
async fn invalid_data_a_number_is_given_as_text_and_never_repeated() {
    let (status, code) = refused(&changed("/student/id_number", json!([STUDENT]))).await;
    assert_eq!((status, code.as_str()), (422, "INVALID_DATA"));
}

#[tokio::test]
async fn invalid_data_nothing_to_repay_is_refused() {
    assert_eq!(refused(&changed("/amount", "0.00".into())).await, (422, "INVALID_DATA".into()));
}

#[tokio::test]
async fn invalid_data_a_contract_without_a_number_is_refused() {
    assert_eq!(refused(&changed("/contract/reference", " ".into())).await, (422, "INVALID_DATA".into()));
}

#[tokio::test]
async fn invalid_amount_is_refused() {
    assert_eq!(refused(&changed("/amount", "800".into())).await, (422, "INVALID_AMOUNT".into()));
}

#[tokio::test]
async fn missing_field_is_refused() {
    let mut body = body();
    body.as_object_mut().unwrap().remove("consent");
    assert_eq!(refused(&body).await, (422, "MISSING_FIELD".into()));
}

#[tokio::test]
async fn unknown_field_a_misspelt_one_is_refused() {
    assert_eq!(refused(&changed("/quote/outstandin", "1.00".into())).await, (422, "UNKNOWN_FIELD".into()));
}

#[tokio::test]
async fn idempotency_key_missing_is_refused() {
    let bed = Bed::without_postgres();
    let long = "k".repeat(129);
    for headers in [&[][..], &[("idempotency-key", "")], &[("idempotency-key", long.as_str())]] {
        let (status, answer) = bed.post("pos", "/v1/loan-repayments", headers, body().to_string()).await;
        assert_eq!((status.as_u16(), answer["code"].as_str()), (400, Some("IDEMPOTENCY_KEY_MISSING")));
    }
}

#[tokio::test]
async fn the_same_request_again_gets_the_same_order() {
    let bed = Bed::new().await;
    judge(&bed, "1", accepted()).await;
    let (_, first) = ask(&bed, "pos", "1", &body()).await;
    let (status, second) = ask(&bed, "pos", "1", &body()).await;
    assert_eq!((status, second), (StatusCode::OK, first));
    assert_eq!(bed.events().len(), 1);
}

#[tokio::test]
async fn idempotency_key_reused_for_another_request_is_refused() {
    let bed = Bed::new().await;
    ask(&bed, "pos", "1", &body()).await;
    for other in [changed("/amount", "900.00".into()), changed("/contract/reference", "K-4712".into())] {
        let (status, answer) = ask(&bed, "pos", "1", &other).await;
        assert_eq!((status.as_u16(), answer["code"].as_str()), (409, Some("IDEMPOTENCY_KEY_REUSED")));
    }
    assert_eq!(bed.events().len(), 1);
    ask(&bed, "acquirer", "1", &changed("/channel", "ums-pos".into())).await;
    assert_eq!(bed.events().len(), 2, "a key belongs to one client");
}

#[tokio::test]
async fn each_rejection_is_a_problem_with_its_code() {
    let bed = Bed::new().await;
    for reason in RejectionReason::ALL {
        judge(&bed, reason.as_str(), Admission::Rejected { reason: *reason }).await;
        let (status, answer) = ask(&bed, "pos", reason.as_str(), &body()).await;
        // What stands in the way for now, and what the request lacks.
        let expected = match reason {
            RejectionReason::InFlight
            | RejectionReason::DailyLimit
            | RejectionReason::BookingLock
            | RejectionReason::BlackoutWindow
            | RejectionReason::CardSuspended
            | RejectionReason::SpendingLimit
            | RejectionReason::NoMandate
            | RejectionReason::MandateBlocked => 409,
            _ => 422,
        };
        assert_eq!((status.as_u16(), answer["code"].as_str()), (expected, Some(reason.as_str())));
        assert_eq!(answer["order_id"], order(&bed, reason.as_str()).as_str());
        assert!(answer["position"].is_string());
    }
}

#[tokio::test]
async fn the_door_waits_for_the_coordinator() {
    let bed = Bed::new().await;
    let request = body();
    let (judged, (status, answer)) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            judge(&bed, "1", accepted()).await;
        },
        ask(&bed, "pos", "1", &request)
    );
    let () = judged;
    assert_eq!((status, answer["status"].as_str()), (StatusCode::CREATED, Some("accepted")));
}

#[tokio::test]
async fn a_request_that_is_not_judged_in_time_can_be_asked_for_later() {
    let bed = Bed::new().await;
    let (status, answer) = ask(&bed, "pos", "1", &body()).await;
    assert_eq!((status, answer["status"].as_str()), (StatusCode::ACCEPTED, Some("pending")));
    let link = answer["link"].as_str().unwrap().to_owned();
    assert_eq!(bed.get("pos", &link).await.1["status"], "pending");
    assert_eq!(bed.get("cdb", &link).await.0, StatusCode::NOT_FOUND);
    judge(&bed, "1", accepted()).await;
    let (status, answer) = bed.get("pos", &link).await;
    assert_eq!((status, answer["status"].as_str()), (StatusCode::OK, Some("accepted")));
    assert_eq!(answer["order_status"], "awaiting_payment");
    assert_eq!(bed.get("li", &link).await.0, StatusCode::OK, "operators may look");
    assert_eq!(bed.get("cdb", &link).await.0, StatusCode::NOT_FOUND, "others may not");
    assert_eq!(bed.get("pos", "/v1/loan-repayments/x").await.1["code"], "NOT_FOUND");
}

#[tokio::test]
async fn a_rejected_request_can_be_asked_for_too() {
    let bed = Bed::new().await;
    ask(&bed, "pos", "1", &body()).await;
    judge(&bed, "1", Admission::Rejected { reason: RejectionReason::InFlight }).await;
    let (_, answer) = bed.get("pos", &format!("/v1/loan-repayments/{}", order(&bed, "1"))).await;
    assert_eq!((answer["status"].as_str(), answer["code"].as_str()), (Some("rejected"), Some("IN_FLIGHT")));
}

#[tokio::test]
async fn a_request_that_was_not_acknowledged_is_unknown() {
    let bed = Bed::new().await;
    bed.log.crash();
    let (status, answer) = ask(&bed, "pos", "1", &body()).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (503, Some("OUTCOME_UNKNOWN")));
    bed.log.resume();
    judge(&bed, "1", accepted()).await;
    assert_eq!(ask(&bed, "pos", "1", &body()).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn not_yours_only_a_channel_asks_for_itself() {
    assert_eq!(refused(&changed("/channel", "unionpay-cqp".into())).await, (403, "NOT_YOURS".into()));
    let bed = Bed::new().await;
    for client in ["cdb", "li"] {
        assert_eq!(ask(&bed, client, "1", &body()).await.1["code"], "NOT_YOURS");
    }
    let (status, answer) = ask(&bed, "acquirer", "1", &body()).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (422, Some("MISSING_FIELD")), "which of its channels?");
    ask(&bed, "acquirer", "1", &changed("/channel", "unionpay-cqp".into())).await;
    assert_eq!(requested(&bed).channel.as_str(), "unionpay-cqp");
}

#[tokio::test]
async fn too_large_a_body_above_the_limit_is_refused() {
    assert_eq!(refused(&changed("/merchant_id", "9".repeat(3 << 20).into())).await, (413, "TOO_LARGE".into()));
}
