#![allow(clippy::unwrap_used)]

use axum::{Router, http::StatusCode, routing::any};
use serde_json::Value;
use tokio::net::TcpListener;

use super::*;
use crate::{
    calls::{Calls, CallsConfig, Counted},
    sandbox::keys,
};

mod table;

const ORDER: &str = "CAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn mini() -> Name {
    MINI.parse().unwrap()
}

fn withholding() -> Name {
    WITHHOLDING.parse().unwrap()
}

fn refund_order() -> RefundOrder {
    RefundOrder {
        refund_request_no: "R1".to_owned(),
        channel: mini(),
        channel_txn_no: "T1".to_owned(),
        order_no: ORDER.parse().unwrap(),
        amount: "8.00".parse().unwrap(),
    }
}

fn debit_no(cancelled: u16) -> DebitNo {
    DebitNo { order_no: ORDER.parse().unwrap(), cancelled }
}

fn debit_order() -> DebitOrder {
    DebitOrder {
        debit_no: debit_no(0),
        agreement_no: "20265301000000000001".to_owned(),
        school: "school-1".parse().unwrap(),
        merchant: "第一食堂/3号窗".to_owned(),
        amount: "12.50".parse().unwrap(),
    }
}

fn config(gateway_url: &str) -> AlipayConfig {
    AlipayConfig {
        gateway_url: gateway_url.to_owned(),
        app_id: keys::APP_ID.to_owned(),
        private_key: keys::OURS_PRIVATE.to_owned(),
        public_key: keys::ALIPAY_PUBLIC.to_owned(),
        notify_url: "https://school.example/v1/notify/{name}".to_owned(),
        ..AlipayConfig::default()
    }
}

fn calls(alipay: AlipayConfig) -> Result<Calls, CallsError> {
    Calls::new(CallsConfig { alipay, timeout_ms: 500, ..CallsConfig::default() })
}

fn vector(name: &str) -> String {
    let vectors: Value = serde_json::from_str(include_str!("vectors/vectors.json")).unwrap();
    vectors[name].as_str().unwrap().to_owned()
}

/// Calls that get this answer, whatever they ask.
async fn answered(status: StatusCode, body: impl Into<Vec<u8>>) -> Calls {
    let (listener, body) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), body.into());
    let url = format!("http://{}/gateway.do", listener.local_addr().unwrap());
    let app = Router::new().fallback(any(move || async move { (status, body) }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    calls(config(&url)).unwrap()
}

fn signed(method: &str, node: &str, key: &str) -> String {
    alipay::sign_response(method, node, &PrivateKey::read(key).unwrap()).unwrap()
}

fn code<T>(answer: Movement<T>) -> String {
    match answer {
        Movement::Unknown { code, .. } => code,
        Movement::Done(_) | Movement::UnderWay | Movement::Refused { .. } | Movement::NotKnown => "known".to_owned(),
    }
}

#[test]
fn a_call_is_openssl_s_byte_for_byte() {
    let calls = calls(config("http://localhost/gateway.do")).unwrap();
    let content = json!({
        "out_trade_no": ORDER,
        "product_code": "GENERAL_WITHHOLDING",
        "subject": "第一食堂 3号窗",
        "total_amount": "12.50",
        "agreement_params": { "agreement_no": "20265301000000000001" },
    });
    let at = DateTime::parse_from_rfc3339("2026-03-01T00:31:00Z").unwrap().to_utc();
    let form = calls.alipay(&mini()).unwrap().request(PAY, &content, Some(&withholding()), at).unwrap();
    assert_eq!(form, Form::parse(vector("call").as_bytes()).unwrap());
}

#[tokio::test]
async fn an_answer_signed_by_openssl_is_believed() {
    let calls = answered(StatusCode::OK, vector("answer")).await;
    let debited = Debited {
        channel_txn_no: Some("2026030122001400000000000001".to_owned()),
        counted: Some(Counted::At("2026-03-01T23:59:59+08:00".parse().unwrap())),
    };
    assert_eq!(calls.debit(&withholding(), &debit_order()).await, Movement::Done(DebitEnd::Taken(debited)));
    let other = DebitOrder { amount: "12.51".parse().unwrap(), ..debit_order() };
    assert_eq!(code(calls.debit(&withholding(), &other).await), "CONTRADICTION");
}

#[tokio::test]
async fn what_alipay_has_not_signed_says_nothing() {
    let node = r#"{"code":"40004","sub_code":"ACQ.TRADE_HAS_FINISHED"}"#;
    let good = signed(REFUND, node, keys::ALIPAY_PRIVATE);
    let unsigned = format!(r#"{{"alipay_trade_refund_response":{node}}}"#);
    let repeated = good.replacen('{', &format!(r#"{{"alipay_trade_refund_response":{node},"#), 1);
    let error = r#"{"error_response":{"code":"40002","sub_code":"isv.invalid-signature"}}"#;
    for (body, expected) in [
        (good.clone(), "known"),
        (signed(REFUND, node, keys::OURS_PRIVATE), "SIGNATURE"),
        (good.replace("FINISHED", "FINISHER"), "SIGNATURE"),
        (unsigned, "SIGNATURE"),
        (error.to_owned(), "SIGNATURE"),
        (signed(REFUND_QUERY, node, keys::ALIPAY_PRIVATE), "SIGNATURE"),
        (repeated, "UNREADABLE"),
        ("<html>busy</html>".to_owned(), "UNREADABLE"),
        (signed(REFUND, "[]", keys::ALIPAY_PRIVATE), "UNREADABLE"),
        (signed(REFUND, r#"{"code":10000}"#, keys::ALIPAY_PRIVATE), "UNREADABLE"),
    ] {
        let calls = answered(StatusCode::OK, body.clone()).await;
        assert_eq!(code(calls.refund(&refund_order()).await), expected, "{body}");
    }
}

#[tokio::test]
async fn pages_of_gateways_and_silence_say_nothing() {
    // 系统繁忙 in GBK.
    let gbk = b"<html>\xcf\xb5\xcd\xb3\xb7\xb1\xc3\xa6</html>".to_vec();
    let good = signed(REFUND, r#"{"code":"40004","sub_code":"ACQ.TRADE_HAS_FINISHED"}"#, keys::ALIPAY_PRIVATE);
    for (status, body, expected) in [
        (StatusCode::OK, gbk.clone(), "UNREADABLE"),
        (StatusCode::FORBIDDEN, gbk, "HTTP_403"),
        (StatusCode::BAD_GATEWAY, good.clone().into_bytes(), "HTTP_502"),
        (StatusCode::TEMPORARY_REDIRECT, good.into_bytes(), "HTTP_307"),
    ] {
        let calls = answered(status, body).await;
        assert_eq!(code(calls.refund(&refund_order()).await), expected);
        assert_eq!(code(calls.debit(&withholding(), &debit_order()).await), expected);
        let unknown = PaymentAnswer::Unknown { code: expected.to_owned() };
        assert_eq!(calls.payment(&mini(), &ORDER.parse().unwrap()).await, unknown);
    }
    // Takes connections, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = calls(config(&format!("http://{}/gateway.do", listener.local_addr().unwrap()))).unwrap();
    assert_eq!(code(silent.refund(&refund_order()).await), "TIMEOUT");
    assert_eq!(code(silent.refund_result(&refund_order()).await), "TIMEOUT");
}

#[test]
fn the_number_of_a_debit_is_its_orders_until_one_was_cancelled() {
    for (cancelled, text) in [(0, ORDER.to_owned()), (1, format!("{ORDER}_2")), (u16::MAX, format!("{ORDER}_65536"))] {
        assert_eq!((debit_no(cancelled).to_string(), text.parse()), (text.clone(), Ok(debit_no(cancelled))));
        // Alipay takes letters, digits and underscores, 64 at the most.
        assert!(text.len() <= 64);
    }
    for other in ["", "_2", &ORDER[1..], "20250310_2"] {
        assert!(other.parse::<DebitNo>().is_err(), "{other}");
    }
    for other in ["_", "_0", "_1", "_02", "_+2", "_65537", "_2_2", "-2"] {
        assert!(format!("{ORDER}{other}").parse::<DebitNo>().is_err(), "{other}");
    }
}

#[test]
fn a_refund_of_a_debit_names_the_trade_as_alipay_does() {
    assert_eq!(of_trade(&refund_order()), json!({ "out_request_no": "R1", "out_trade_no": ORDER }));
    let of_a_debit = RefundOrder { channel: withholding(), ..refund_order() };
    assert_eq!(of_trade(&of_a_debit), json!({ "out_request_no": "R1", "trade_no": "T1" }));
}

#[test]
fn only_alipays_channels_go_to_its_gateway_and_only_where_it_is_configured() {
    let (mini, pos) = (mini(), "ums-pos".parse().unwrap());
    let known = calls(config("http://localhost/gateway.do")).unwrap();
    let query = |channel: &Name| rules::coordinator::Call::QueryPayment { channel: channel.clone(), tries: 1 };
    assert!(known.check(&query(&mini)).is_ok() && known.check(&query(&withholding())).is_ok());
    let missing = known.check(&query(&pos)).unwrap_err().to_string();
    assert!(missing.contains("calls.acquirer_url"), "{missing}");
    let acquirer = Calls::new(CallsConfig::new("", "http://localhost")).unwrap();
    assert!(acquirer.alipay(&mini).is_none() && acquirer.check(&query(&mini)).is_ok());
}

#[test]
fn what_is_missing_is_named() {
    let told = |alipay| calls(alipay).unwrap_err().to_string();
    let good = || config("http://localhost/gateway.do");
    for (wrong, named) in [
        (config("nonsense"), "calls.alipay.gateway_url (LEDGER_CALLS__ALIPAY__GATEWAY_URL)"),
        (config("ftp://localhost/gateway.do"), "calls.alipay.gateway_url"),
        (AlipayConfig { app_id: String::new(), ..good() }, "calls.alipay.app_id"),
        (AlipayConfig { private_key: "/no/such/file.pem".to_owned(), ..good() }, "calls.alipay.private_key"),
        (AlipayConfig { public_key: keys::OURS_PRIVATE.to_owned(), ..good() }, "calls.alipay.public_key"),
    ] {
        let told = told(wrong);
        assert!(told.contains(named), "{told}");
    }
    assert!(!format!("{:?}", good()).contains("PRIVATE"));
}

#[test]
fn keys_may_stand_in_files() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("ours.pem");
    std::fs::write(&file, keys::OURS_PRIVATE).unwrap();
    let private_key = file.to_string_lossy().into_owned();
    let bare: String = keys::ALIPAY_PUBLIC.lines().filter(|line| !line.starts_with("-----")).collect();
    let config = AlipayConfig { private_key, public_key: bare, ..config("http://localhost/gateway.do") };
    assert!(calls(config).is_ok());
}

#[test]
fn the_number_of_the_app_may_be_written_as_a_number() {
    for written in [json!({"app_id": 2021000000000000_u64}), json!({"app_id": "2021000000000000"})] {
        let read: AlipayConfig = serde_json::from_value(written).unwrap();
        assert_eq!((read.app_id.as_str(), read.product_code.as_str()), (keys::APP_ID, "GENERAL_WITHHOLDING"));
    }
}
