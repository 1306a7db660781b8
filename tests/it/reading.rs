//! What operators read over HTTP, and that a door stands before it.

use anyhow::Result;
use ledger::play::{Ask, Stage};
use reqwest::StatusCode;
use serde_json::Value;

async fn get(stage: &Stage, source: &str, path: &str) -> Result<(StatusCode, Value)> {
    let token = stage.house.client_token(&source.parse()?)?;
    let answer = stage.http.get(format!("{}{path}", stage.door_url)).bearer_auth(token).send().await?;
    assert!(answer.headers().contains_key("x-request-id"), "{path}");
    Ok((answer.status(), answer.json().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_read_the_reports_and_nobody_else_does() -> Result<()> {
    let stage = ledger_tests::stage_at("10:00:00").await?;
    let order = stage.accepted(&Ask::new("ums-pos", "K-1", "800.00", "slip-1")).await?;
    stage.rest().await?;
    let (status, answer) = get(&stage, "/operators/finance", &format!("/v1/orders/{order}")).await?;
    assert_eq!((status, answer["requested"].as_str()), (StatusCode::OK, Some("800.00")), "{answer}");
    let (_, answer) = get(&stage, "/operators/finance", "/v1/orders?status=awaiting_payment&limit=500").await?;
    assert_eq!(answer[0]["order_id"].as_str(), Some(order.as_str()), "{answer}");
    let (_, answer) = get(&stage, "/operators/finance", "/v1/balances").await?;
    assert_eq!(answer["position"]["gap"].as_str(), Some("0.00"), "{answer}");
    let (status, answer) = get(&stage, "/channels/ums-pos", "/v1/orders").await?;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::FORBIDDEN, Some("NOT_YOURS")));
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_refused_by_name() -> Result<()> {
    let stage = ledger_tests::stage_at("10:00:00").await?;
    let unknown = "/v1/orders/LAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (path, code) in [
        ("/v1/orders?limit=0", "INVALID_QUERY"),
        ("/v1/orders?limit=501", "INVALID_QUERY"),
        ("/v1/orders?limit=many", "INVALID_QUERY"),
        ("/v1/orders?limit=1&limit=2", "INVALID_QUERY"),
        ("/v1/orders?status=done", "INVALID_QUERY"),
        ("/v1/orders?status=%00", "INVALID_QUERY"),
        ("/v1/orders?postion=0:0", "INVALID_QUERY"),
        ("/v1/balances?position=%2B0:0", "INVALID_POSITION"),
        (unknown, "ORDER_NOT_FOUND"),
        ("/v1/orders/%00", "ORDER_NOT_FOUND"),
        ("/v1/orders/%FF", "ORDER_NOT_FOUND"),
    ] {
        let (status, answer) = get(&stage, "/operators/finance", path).await?;
        assert_eq!(answer["code"].as_str(), Some(code), "{path}");
        assert_eq!(answer["status"].as_u64(), Some(status.as_u16().into()), "{path}");
    }
    let posted = stage.http.post(format!("{}/v1/orders", stage.door_url)).send().await?;
    assert_eq!(posted.json::<Value>().await?["code"].as_str(), Some("METHOD_NOT_ALLOWED"));
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_all_this_needs_no_token() -> Result<()> {
    let stage = ledger_tests::stage_at("10:00:00").await?;
    let answer = stage.http.get(format!("{}/v1/openapi.json", stage.door_url)).send().await?;
    assert_eq!((answer.status(), answer.json().await?), (StatusCode::OK, ledger::openapi::document()));
    stage.close().await
}
