#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use schemas::{Data, Event, Stream};
use serde_json::{Value, json};

use super::*;
use crate::calls::{PaymentReply, PaymentResult};

fn order_no(number: u8) -> OrderId {
    OrderId::new(&Stream::loan([1; 10]), [number; 8]).unwrap()
}

async fn sandbox() -> Sandbox {
    let addr = "127.0.0.1:0".parse().unwrap();
    Sandbox::start(addr, SandboxConfig::default(), Clock::System).await.unwrap()
}

fn payment(number: u8, amount: &str) -> PaymentRequest {
    let request = json!({"order_no": order_no(number), "channel": "ums-pos", "method": "card", "amount": amount});
    serde_json::from_value(request).unwrap()
}

fn client() -> reqwest::Client {
    http::client(Trust::nobody()).unwrap().timeout(Duration::from_millis(300)).build().unwrap()
}

async fn ask_bank(sandbox: &Sandbox, number: u8) -> Result<reqwest::Response, reqwest::Error> {
    let question = json!({"order_no": order_no(number), "channel_txn_no": "t1", "amount": "800.00"});
    client().post(format!("{}/repayment-results", sandbox.bank_url)).json(&question).send().await
}

#[tokio::test]
async fn the_bank_answers_as_its_script_says() {
    let sandbox = sandbox().await;
    let script = json!({"bank": ["failed", "uncertain", "http_500", "reset", "silent", "booked_but_silent", {"slow": {"ms": 50}}]});
    let url = format!("{}/sandbox/scripts/{}", sandbox.url, order_no(1));
    assert_eq!(client().put(url).json(&script).send().await.unwrap().status(), StatusCode::NO_CONTENT);

    for expected in ["failed", "uncertain"] {
        let answer: Value = ask_bank(&sandbox, 1).await.unwrap().json().await.unwrap();
        assert_eq!(answer["result"], expected);
    }
    assert_eq!(ask_bank(&sandbox, 1).await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    let reset = ask_bank(&sandbox, 1).await.unwrap_err();
    assert!(reset.is_request() && !reset.is_timeout(), "{reset:?}");
    assert!(ask_bank(&sandbox, 1).await.unwrap_err().is_timeout());
    assert_eq!(sandbox.books().repayments[&order_no(1)].booked, None);
    assert!(ask_bank(&sandbox, 1).await.unwrap_err().is_timeout());
    assert_eq!(sandbox.books().repayments[&order_no(1)].booked, "800.00".parse().ok());
    let answer: Value = ask_bank(&sandbox, 1).await.unwrap().json().await.unwrap();
    assert_eq!((&answer["result"], &answer["amount"]), (&json!("booked"), &json!("800.00")));
    assert_eq!(sandbox.books().repayments[&order_no(1)].queries, 7);
}

/// A door that refuses its first notice, and keeps the others with their tokens.
async fn door() -> (String, Arc<Mutex<Vec<(String, Event)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken: Arc<Mutex<Vec<(String, Event)>>> = Arc::default();
    let (kept, calls) = (Arc::clone(&taken), Arc::new(AtomicU32::new(0)));
    let app = Router::new().route(
        "/v1/events",
        post(move |headers: HeaderMap, body: Bytes| async move {
            if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            let token = headers["authorization"].to_str().unwrap().to_owned();
            kept.lock().unwrap().push((token, Event::from_structured(&body).unwrap()));
            StatusCode::CREATED
        }),
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, taken)
}

async fn until(what: impl Fn() -> bool) {
    for _ in 0..500 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came true");
}

#[tokio::test]
async fn a_capture_is_told_until_the_door_acknowledges_it() {
    let sandbox = sandbox().await;
    let (url, taken) = door().await;
    sandbox.set_door(Door { url, tokens: [("ums-pos".parse().unwrap(), "secret".to_owned())].into() });
    let twice = Script { notice: Some(NoticeStep::Twice), ..Script::default() };
    sandbox.set_script(&order_no(1), twice);
    let capture = sandbox.pay(payment(1, "1200.00"));
    assert_eq!(capture.fee, "2.40".parse().ok());
    until(|| taken.lock().unwrap().len() == 2).await;

    let taken = taken.lock().unwrap().clone();
    assert_eq!(taken[0], taken[1]);
    let (token, event) = &taken[0];
    assert_eq!((token.as_str(), event.source.as_str()), ("Bearer secret", "/channels/ums-pos"));
    assert_eq!(event.order(), Some(order_no(1)));
    let Data::PaymentCaptured(data) = &event.data else { panic!("{event:?}") };
    assert_eq!((data.amount, &data.channel_txn_no), (capture.amount, &capture.channel_txn_no));
    until(|| sandbox.books().captures[&order_no(1)][0].notices_acknowledged == 2).await;
    assert_eq!(sandbox.books().captures[&order_no(1)][0].notices_sent, 3);
}

#[tokio::test]
async fn a_door_with_keys_that_are_not_played_hears_cloud_events() {
    let mut channels = ChannelsConfig::default();
    "another".clone_into(&mut channels.alipay_mini.public_key);
    channels.unionpay_cqp.certificates = vec!["another".to_owned()];
    let config = SandboxConfig { channels: keys::channels(channels), ..SandboxConfig::default() };
    let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), config, Clock::System).await.unwrap();
    let (url, taken) = door().await;
    let names = ["alipay-mini", "unionpay-cqp"].map(|name| name.parse::<Name>().unwrap());
    let tokens = names.iter().map(|name| (name.clone(), "secret".to_owned())).collect();
    sandbox.set_door(Door { url, tokens });
    for (number, channel) in (1..).zip(names) {
        sandbox.pay(PaymentRequest { channel, ..payment(number, "8.00") });
    }
    until(|| taken.lock().unwrap().len() == 2).await;
}

#[tokio::test]
async fn notices_may_be_late_or_never_come() {
    let sandbox = sandbox().await;
    let (url, taken) = door().await;
    sandbox.set_door(Door { url, tokens: [("ums-pos".parse().unwrap(), "secret".to_owned())].into() });
    let script = |notice| Script { notice: Some(notice), ..Script::default() };
    sandbox.set_script(&order_no(1), script(NoticeStep::Never));
    sandbox.set_script(&order_no(2), script(NoticeStep::Late { ms: 200 }));
    sandbox.pay(payment(1, "1.00"));
    sandbox.pay(payment(2, "2.00"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(sandbox.books().captures[&order_no(2)][0].notices_sent, 0);
    until(|| !taken.lock().unwrap().is_empty()).await;
    assert_eq!(taken.lock().unwrap()[0].1.order(), Some(order_no(2)));
    assert_eq!(sandbox.books().captures[&order_no(1)][0].notices_sent, 0);
}

#[tokio::test]
async fn a_payment_is_found_by_its_order_and_told_once_per_transaction() {
    let sandbox = sandbox().await;
    let url = format!("{}/payments", sandbox.acquirer_url);
    let query = async || -> PaymentReply {
        client().get(format!("{url}/{}", order_no(1))).send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(query().await, PaymentReply { result: PaymentResult::NotFound, captures: Vec::new() });
    let request = PaymentRequest { channel_txn_no: Some("t1".to_owned()), ..payment(1, "5.00") };
    for _ in 0..2 {
        assert!(client().post(&url).json(&request).send().await.unwrap().status().is_success());
    }
    sandbox.pay(payment(1, "5.00"));
    let reply = query().await;
    assert_eq!((reply.result, reply.captures.len()), (PaymentResult::Captured, 2));
    let books: Books =
        client().get(format!("{}/sandbox/books", sandbox.url)).send().await.unwrap().json().await.unwrap();
    assert_eq!(books, sandbox.books());
}
