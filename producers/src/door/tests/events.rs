use axum::http::StatusCode;
use engine::log::memory::Faults;
use schemas::{OrderId, Stream};
use serde_json::{Value, json};

use super::bed::Bed;

fn order() -> OrderId {
    OrderId::new(&Stream::loan([1; 10]), [1; 8]).unwrap()
}

/// A capture as `/channels/ums-pos` reports it.
fn capture(txn: &str, amount: &str) -> Value {
    json!({
        "specversion": "1.0", "id": "whatever", "type": "ledger.payment.captured.v1", "source": "/channels/ums-pos",
        "subject": order(), "time": "2025-03-10T10:00:00+08:00",
        "data": {
            "channel": "ums-pos", "channel_txn_no": txn, "method": "card", "amount": amount,
            "business_date": "2025-03-10", "evidence": "async_notice",
        },
    })
}

/// A capture with one place changed.
fn changed(pointer: &str, value: Value) -> Value {
    let mut event = capture("t1", "800.00");
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    event.pointer_mut(parent).unwrap()[name] = value;
    event
}

/// What `pos` is told about an event that must be refused; nothing may reach the log.
async fn refused(event: &Value) -> (u16, String) {
    let bed = Bed::without_postgres();
    let (status, answer) = bed.post_event("pos", event).await;
    assert!(bed.events().is_empty());
    (status.as_u16(), answer["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_acknowledged_event_is_answered_with_its_position() {
    let bed = Bed::new().await;
    let (status, answer) = bed.post_event("pos", &capture("t1", "800.00")).await;
    assert_eq!(status, StatusCode::CREATED);
    let events = bed.events();
    assert_eq!(events.len(), 1);
    assert_eq!(answer["id"], events[0].id.to_string(), "the id is the fact's own");
    assert_eq!(answer["stream"], order().stream().as_str());
    assert!(answer["position"].as_str().unwrap().parse::<schemas::Position>().is_ok());
}

#[tokio::test]
async fn the_trace_of_the_request_is_carried_on() {
    let bed = Bed::new().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("content-type", "application/json"), ("traceparent", trace)];
    bed.post("pos", "/v1/events", &headers, capture("t1", "1.00").to_string()).await;
    let own = "00-11111111111111111111111111111111-2222222222222222-01";
    let mut event = capture("t2", "1.00");
    event["traceparent"] = own.into();
    bed.post("pos", "/v1/events", &headers, event.to_string()).await;
    let traces: Vec<Option<String>> = bed.events().into_iter().map(|event| event.traceparent).collect();
    assert_eq!(traces, [Some(trace.to_owned()), Some(own.to_owned())]);
}

#[tokio::test]
async fn the_same_fact_again_is_acknowledged_where_it_stands() {
    let bed = Bed::new().await;
    let (_, first) = bed.post_event("pos", &capture("t1", "800.00")).await;
    let mut again = capture("t1", "800.00");
    again["id"] = "another".into();
    again["time"] = "2025-03-10T10:05:00+08:00".into();
    again["data"]["evidence"] = "query".into();
    let (status, second) = bed.post_event("pos", &again).await;
    assert_eq!((status, &second), (StatusCode::OK, &first));
    assert_eq!(bed.events().len(), 1);
}

#[tokio::test]
async fn conflicting_repeat_the_same_fact_with_other_content_is_refused() {
    let bed = Bed::new().await;
    bed.post_event("pos", &capture("t1", "800.00")).await;
    let (status, answer) = bed.post_event("pos", &capture("t1", "900.00")).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::CONFLICT, Some("CONFLICTING_REPEAT")));
    assert_eq!(bed.events().len(), 1);
}

#[tokio::test]
async fn of_two_conflicting_reports_at_once_one_is_refused() {
    let bed = Bed::new().await;
    for n in 0..20 {
        let (one, other) = (capture(&format!("t{n}"), "1.00"), capture(&format!("t{n}"), "2.00"));
        let ((a, _), (b, _)) = tokio::join!(bed.post_event("pos", &one), bed.post_event("pos", &other));
        assert_eq!([a.min(b), a.max(b)], [StatusCode::CREATED, StatusCode::CONFLICT]);
    }
    assert_eq!(bed.events().len(), 20);
}

#[tokio::test]
async fn what_was_not_acknowledged_is_unknown_and_is_appended_again() {
    let bed = Bed::new().await;
    bed.log.set_faults(Faults { lost_answers: 1000, ..Faults::default() });
    let (status, answer) = bed.post_event("pos", &capture("t1", "800.00")).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("OUTCOME_UNKNOWN")));
    bed.log.set_faults(Faults::default());
    let (status, _) = bed.post_event("pos", &capture("t1", "800.00")).await;
    assert_eq!(status, StatusCode::CREATED);
    let events = bed.events();
    assert_eq!((events.len(), events[0].id), (2, events[1].id), "a duplicate with one id, which every fold ignores");
    let (status, _) = bed.post_event("pos", &capture("t1", "800.00")).await;
    assert_eq!((status, bed.events().len()), (StatusCode::OK, 2));
}

#[tokio::test]
async fn what_never_came_into_the_log_keeps_no_other_report_out() {
    let bed = Bed::new().await;
    bed.log.set_faults(Faults { lost_records: 1000, ..Faults::default() });
    let (status, _) = bed.post_event("pos", &capture("t1", "800.00")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    bed.log.set_faults(Faults::default());
    let (status, _) = bed.post_event("pos", &capture("t1", "80.00")).await;
    assert_eq!(status, StatusCode::CONFLICT, "the first one may be on its way");
    bed.execute("update door.event set seen_at = seen_at - interval '11 minutes'").await;
    let (status, _) = bed.post_event("pos", &capture("t1", "80.00")).await;
    assert_eq!((status, bed.events().len()), (StatusCode::CREATED, 1));
    let (status, answer) = bed.post_event("pos", &capture("t1", "800.00")).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::CONFLICT, Some("CONFLICTING_REPEAT")));
}

#[tokio::test]
async fn without_postgres_nothing_is_appended() {
    let bed = Bed::without_postgres();
    let (status, answer) = bed.post_event("pos", &capture("t1", "800.00")).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("UNAVAILABLE")));
    assert!(bed.events().is_empty());
}

#[tokio::test]
async fn a_bad_event_of_a_batch_keeps_no_good_one_back() {
    let bed = Bed::new().await;
    let batch = [
        capture("t1", "1.00"),
        changed("/type", "ledger.unheard.of.v1".into()),
        capture("t2", "2.00"),
        capture("t1", "1.00"),
        capture("t2", "3.00"),
    ];
    let (status, answer) = bed.post_batch("pos", &batch).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let words: Vec<&str> =
        answer.as_array().unwrap().iter().map(|item| item["code"].as_str().unwrap_or("appended")).collect();
    assert_eq!(words, ["appended", "UNKNOWN_TYPE", "appended", "appended", "CONFLICTING_REPEAT"]);
    assert_eq!(answer[0], answer[3], "a twin in the batch is the same fact");
    assert_eq!(bed.events().len(), 2);
}

#[tokio::test]
async fn a_batch_of_good_events_is_created_and_its_repeat_acknowledged() {
    let bed = Bed::new().await;
    let batch: Vec<Value> = (0..50).map(|n| capture(&format!("t{n}"), "1.00")).collect();
    let (status, first) = bed.post_batch("pos", &batch).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(bed.post_batch("pos", &batch).await, (StatusCode::OK, first));
    assert_eq!(bed.post_batch("pos", &[]).await, (StatusCode::OK, json!([])));
    assert_eq!(bed.events().len(), 50);
}

#[tokio::test]
async fn a_batch_with_an_unknown_outcome_asks_for_a_repeat() {
    let bed = Bed::new().await;
    bed.log.crash();
    let batch = [capture("t1", "1.00"), changed("/type", "ledger.unheard.of.v1".into())];
    let (status, answer) = bed.post_batch("pos", &batch).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!([&answer[0]["code"], &answer[1]["code"]], ["OUTCOME_UNKNOWN", "UNKNOWN_TYPE"]);
}

#[tokio::test]
async fn broken_json_is_refused() {
    let bed = Bed::without_postgres();
    for (content_type, body) in [("application/cloudevents+json", "{"), ("application/cloudevents-batch+json", "[{")] {
        let (status, answer) = bed.post("pos", "/v1/events", &[("content-type", content_type)], body).await;
        assert_eq!((status, answer["code"].as_str()), (StatusCode::BAD_REQUEST, Some("BROKEN_JSON")));
    }
}

#[tokio::test]
async fn invalid_envelope_a_missing_attribute_is_refused() {
    assert_eq!(refused(&changed("/time", Value::Null)).await, (422, "INVALID_ENVELOPE".into()));
}

#[tokio::test]
async fn invalid_envelope_a_batch_is_an_array() {
    let bed = Bed::without_postgres();
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let (status, answer) = bed.post("pos", "/v1/events", &headers, capture("t1", "1.00").to_string()).await;
    assert_eq!((status.as_u16(), answer["code"].as_str()), (422, Some("INVALID_ENVELOPE")));
}

#[tokio::test]
async fn unknown_type_is_refused() {
    assert_eq!(refused(&changed("/type", "ledger.unheard.of.v1".into())).await, (422, "UNKNOWN_TYPE".into()));
}

#[tokio::test]
async fn unknown_schema_version_is_refused() {
    let event = changed("/type", "ledger.payment.captured.v9".into());
    assert_eq!(refused(&event).await, (422, "UNKNOWN_SCHEMA_VERSION".into()));
}

#[tokio::test]
async fn missing_field_is_refused() {
    let mut event = capture("t1", "1.00");
    event["data"].as_object_mut().unwrap().remove("amount");
    assert_eq!(refused(&event).await, (422, "MISSING_FIELD".into()));
}

#[tokio::test]
async fn invalid_amount_is_refused() {
    assert_eq!(refused(&changed("/data/amount", "8.0".into())).await, (422, "INVALID_AMOUNT".into()));
}

#[tokio::test]
async fn invalid_data_a_capture_of_nothing_is_refused() {
    assert_eq!(refused(&changed("/data/amount", "0.00".into())).await, (422, "INVALID_DATA".into()));
}

#[tokio::test]
async fn invalid_data_what_is_still_to_come_is_refused() {
    assert_eq!(refused(&changed("/time", "2099-03-10T10:00:00+08:00".into())).await, (422, "INVALID_DATA".into()));
}

#[tokio::test]
async fn unknown_field_a_misspelt_one_is_refused() {
    assert_eq!(refused(&changed("/data/fe", "0.10".into())).await, (422, "UNKNOWN_FIELD".into()));
}

#[tokio::test]
async fn wrong_key_a_stream_that_is_not_the_orders_is_refused() {
    let event = changed("/partitionkey", Stream::loan([2; 10]).as_str().into());
    assert_eq!(refused(&event).await, (422, "WRONG_KEY".into()));
}

#[tokio::test]
async fn not_yours_a_source_of_somebody_else_is_refused() {
    for source in ["/channels/unionpay-cqp", "/operators/li", "/ledger/coordinator", "x"] {
        assert_eq!(refused(&changed("/source", source.into())).await, (403, "NOT_YOURS".into()), "{source}");
    }
}

#[tokio::test]
async fn not_yours_a_channel_named_in_the_data_is_refused() {
    assert_eq!(refused(&changed("/data/channel", "unionpay-cqp".into())).await, (403, "NOT_YOURS".into()));
}

#[tokio::test]
async fn not_yours_a_decision_of_the_ledger_is_refused() {
    let mut event = changed("/type", "ledger.order.accepted.v1".into());
    event["data"] = json!({ "expires_at": "2025-03-10T10:02:00+08:00" });
    assert_eq!(refused(&event).await, (403, "NOT_YOURS".into()));
}

#[tokio::test]
async fn not_yours_a_debit_is_decided_by_the_ledger() {
    for (method, status) in [("withholding", 403), ("card", 201)] {
        let mut event = changed("/type", "ledger.payment.initiated.v1".into());
        event["data"] = json!({ "attempt": 2, "method": method, "amount": "9999.00" });
        let bed = Bed::new().await;
        assert_eq!(bed.post_event("pos", &event).await.0.as_u16(), status, "{method}");
    }
}

/// A decline with a message of so many bytes.
fn decline(message_bytes: usize) -> Value {
    let mut event = changed("/type", "ledger.payment.declined.v1".into());
    let message = "x".repeat(message_bytes);
    event["data"] = json!({ "attempt": 1, "response_code": "51", "message": message, "evidence": "sync_response" });
    event
}

#[tokio::test]
async fn too_large_a_record_that_the_log_does_not_take_is_refused() {
    assert_eq!(refused(&decline(1 << 20)).await, (413, "TOO_LARGE".into()));
}

#[tokio::test]
async fn too_large_a_body_above_the_limit_is_refused() {
    assert_eq!(refused(&decline(3 << 20)).await, (413, "TOO_LARGE".into()));
}

#[tokio::test]
async fn a_client_speaks_for_each_of_its_sources() {
    let bed = Bed::new().await;
    let mut event = capture("t1", "1.00");
    event["source"] = "/channels/unionpay-cqp".into();
    event["data"]["channel"] = "unionpay-cqp".into();
    assert_eq!(bed.post_event("acquirer", &event).await.0, StatusCode::CREATED);
    assert_eq!(bed.post_event("acquirer", &capture("t1", "1.00")).await.0, StatusCode::CREATED);
}
