#![allow(clippy::unwrap_used)]

use axum::{Router, http::StatusCode, routing::any};
use serde_json::json;

use super::*;

fn bank(reply: serde_json::Value) -> BankAnswer {
    serde_json::from_value::<BankReply>(reply).unwrap().into()
}

fn refund(reply: serde_json::Value) -> RefundReply {
    serde_json::from_value(reply).unwrap()
}

#[test]
fn a_question_is_written_as_the_bank_reads_it() {
    let order_no = format!("L{}", "A".repeat(29)).parse().unwrap();
    let question = RepaymentQuestion { order_no, channel_txn_no: "t1".to_owned(), amount: "800.00".parse().unwrap() };
    let wire = json!({"order_no": format!("L{}", "A".repeat(29)), "channel_txn_no": "t1", "amount": "800.00"});
    assert_eq!(serde_json::to_value(&question).unwrap(), wire);
}

#[test]
fn every_answer_of_the_bank_is_read() {
    let booked = bank(json!({"result": "booked", "code": "00", "message": "ok", "bank_ref": "B1",
        "booked_date": "2025-03-10", "principal": "790.00", "interest": "10.00"}));
    let BankAnswer::Booked { amount, bank_ref, booked_date, principal, interest } = booked else {
        panic!("{booked:?}")
    };
    assert_eq!((amount, bank_ref.as_deref()), (None, Some("B1")));
    assert_eq!(booked_date, "2025-03-10".parse().ok());
    assert_eq!((principal, interest), ("790.00".parse().ok(), "10.00".parse().ok()));
    assert_eq!(
        bank(json!({"result": "failed", "code": "E1", "message": "no"})),
        BankAnswer::Failed { code: "E1".to_owned(), message: "no".to_owned() }
    );
    assert_eq!(bank(json!({"result": "uncertain", "code": "U1"})), BankAnswer::Uncertain { code: "U1".to_owned() });
    let nothing = bank(json!({"result": "booked", "amount": "0.00"}));
    assert_eq!(nothing, BankAnswer::Unreachable { code: "BOOKED_NOTHING".to_owned() });
}

#[test]
fn only_a_query_can_say_that_a_refund_is_not_known() {
    let not_found = refund(json!({"result": "not_found"}));
    assert_eq!(not_found.clone().answers_the_query(), RefundAnswer::NotKnown);
    assert!(matches!(not_found.answers_the_order(), RefundAnswer::Unknown { .. }));
}

#[test]
fn a_refusal_without_a_word_about_retries_is_left_to_a_person() {
    let refused = refund(json!({"result": "refused", "code": "E9", "message": "closed"})).answers_the_order();
    let expected = RefundAnswer::Refused { code: "E9".to_owned(), message: "closed".to_owned(), retryable: false };
    assert_eq!(refused, expected);
}

/// The address of a service that answers everything in one way.
async fn service(status: StatusCode, body: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(any(move || async move { (status, [("location", "/elsewhere")], body) }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn what_is_no_answer_says_nothing_about_the_refund() {
    let page = "<html>busy</html>".to_owned();
    let refused = json!({"result": "refused", "code": "E1"}).to_string();
    for (status, body, code) in [
        (StatusCode::OK, page.clone(), "UNREADABLE"),
        (StatusCode::OK, r#"{"result": "surprising"}"#.to_owned(), "UNREADABLE"),
        (StatusCode::OK, " ".repeat(ANSWER_BYTES_MAX + 1), "UNREADABLE"),
        (StatusCode::NOT_FOUND, page.clone(), "HTTP_404"),
        (StatusCode::TOO_MANY_REQUESTS, page.clone(), "HTTP_429"),
        (StatusCode::TEMPORARY_REDIRECT, page.clone(), "HTTP_307"),
        (StatusCode::BAD_GATEWAY, page, "HTTP_502"),
        (StatusCode::BAD_GATEWAY, refused, "HTTP_502"),
    ] {
        let url = service(status, body).await;
        let calls = Calls::new(CallsConfig::new(&url, &url)).unwrap();
        assert!(matches!(calls.refund_result("R1").await, RefundAnswer::Unknown { .. }), "{code}");
        let order_no = format!("L{}", "A".repeat(29)).parse().unwrap();
        let question = RepaymentQuestion { order_no, channel_txn_no: "t1".to_owned(), amount: "1.00".parse().unwrap() };
        assert_eq!(calls.repayment_result(&question).await, BankAnswer::Unreachable { code: code.to_owned() });
    }
}

#[tokio::test]
async fn a_refusal_in_the_acquirers_own_words_counts_whatever_its_status() {
    let url =
        service(StatusCode::CONFLICT, json!({"result": "refused", "code": "E1", "retryable": true}).to_string()).await;
    let calls = Calls::new(CallsConfig::new(&url, &url)).unwrap();
    assert!(matches!(calls.refund_result("R1").await, RefundAnswer::Refused { retryable: true, .. }));
}

#[tokio::test]
async fn nobody_listening_is_no_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let calls = Calls::new(CallsConfig::new(&url, &url)).unwrap();
    assert!(matches!(calls.refund_result("R1").await, RefundAnswer::Unknown { .. }));
    assert!(matches!(Calls::new(CallsConfig::new("nonsense", &url)), Err(CallsError::Url { .. })));
}
