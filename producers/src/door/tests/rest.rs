//! Who may come in, what is not there, and whether the door is fit to work.

use std::io;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use futures_util::stream;
use serde_json::Value;

use super::bed::{Bed, read};
use crate::door::{known, openapi};

#[tokio::test]
async fn unauthorized_without_a_known_token() {
    let bed = Bed::without_postgres();
    for token in ["", "Bearer", "Bearer ", "Bearer nobody-token", "Bearer pos-toke", "Basic pos-token", "pos-token"] {
        let request = Request::post("/v1/events").header(header::AUTHORIZATION, token).body(Body::empty()).unwrap();
        let response = bed.send(request).await;
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
        let (status, answer) = read(response).await;
        assert_eq!((status, answer["code"].as_str()), (StatusCode::UNAUTHORIZED, Some("UNAUTHORIZED")), "{token}");
    }
}

#[tokio::test]
async fn unsupported_media_type_is_refused() {
    let bed = Bed::without_postgres();
    for content_type in ["text/plain", "application/xml", ""] {
        let (status, answer) = bed.post("pos", "/v1/events", &[("content-type", content_type)], "{}").await;
        assert_eq!((status.as_u16(), answer["code"].as_str()), (415, Some("UNSUPPORTED_MEDIA_TYPE")));
    }
}

#[tokio::test]
async fn body_unreadable_one_that_was_cut_off_is_refused() {
    for path in ["/v1/events", "/v1/loan-repayments"] {
        let bed = Bed::without_postgres();
        let cut_off = stream::iter([Ok("{"), Err(io::Error::from(io::ErrorKind::ConnectionReset))]);
        let headers = [("content-type", "application/json"), ("idempotency-key", "1")];
        let (status, answer) = bed.post("pos", path, &headers, Body::from_stream(cut_off)).await;
        assert_eq!((status, answer["code"].as_str()), (StatusCode::BAD_REQUEST, Some("BODY_UNREADABLE")), "{path}");
        assert!(bed.events().is_empty());
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_problems_too() {
    let bed = Bed::without_postgres();
    assert_eq!(bed.get("pos", "/v1/nothing").await.1["code"], "NOT_FOUND");
    assert_eq!(bed.get("pos", "/v1/events").await.1["code"], "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn every_answer_carries_a_request_id() {
    let bed = Bed::without_postgres();
    let request = Request::get("/healthz").header("x-request-id", "pos-7").body(Body::empty()).unwrap();
    assert_eq!(bed.send(request).await.headers()["x-request-id"], "pos-7");
    let request = Request::get("/healthz").body(Body::empty()).unwrap();
    assert_eq!(bed.send(request).await.headers()["x-request-id"].len(), 36);
}

#[tokio::test]
async fn the_door_is_ready_when_log_and_postgres_answer() {
    let bed = Bed::new().await;
    assert_eq!(bed.get("", "/healthz").await.0, StatusCode::NO_CONTENT);
    assert_eq!(bed.get("", "/readyz").await.0, StatusCode::OK);
    bed.log.crash();
    let (status, answer) = bed.get("", "/readyz").await;
    assert_eq!((status, answer["detail"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("the log does not answer")));
    assert_eq!(bed.get("", "/healthz").await.0, StatusCode::NO_CONTENT);
    let bed = Bed::without_postgres();
    assert_eq!(bed.get("", "/readyz").await.1["detail"], "Postgres does not answer");
}

#[tokio::test]
async fn what_the_description_shows_is_taken() {
    let document = openapi::document(|_| Value::Null);
    for (path, taken) in [("/v1/events", StatusCode::CREATED), ("/v1/loan-repayments", StatusCode::ACCEPTED)] {
        for (content_type, content) in document["paths"][path]["post"]["requestBody"]["content"].as_object().unwrap() {
            let (bed, headers) =
                (Bed::new().await, [("content-type", content_type.as_str()), ("idempotency-key", "1")]);
            let (status, answer) = bed.post("pos", path, &headers, content["example"].to_string()).await;
            assert_eq!(status, taken, "{path} {content_type}: {answer}");
        }
    }
}

#[tokio::test]
async fn old_facts_and_keys_are_forgotten() {
    let bed = Bed::new().await;
    bed.execute(
        "insert into door.event (id, digest, seen_at) select gen_random_uuid(), gen_random_uuid(), at
         from unnest(array[now(), now() - interval '29 days', now() - interval '31 days']) as v (at);
         insert into door.request (client, key, digest, order_id, seen_at)
         values ('pos', '1', gen_random_uuid(), 'L', now() - interval '31 days')",
    )
    .await;
    assert_eq!(known::forget(&bed.pool, 30).await.unwrap(), 2);
    assert_eq!(known::forget(&bed.pool, 30).await.unwrap(), 0);
}
