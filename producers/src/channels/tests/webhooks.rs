//! What goes over the wire: answers to the byte, and nothing good before the log has acknowledged.

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use engine::log::memory::Faults;
use schemas::{Data, StreamKind};
use uuid::Uuid;

use super::*;
use crate::{
    door::tests::bed::Bed,
    signature::{
        Charset, Secret, alipay,
        bestpay::{Merchant, Wording},
        chinaums, timestamped, unionpay,
    },
};

/// Status, content type and body.
pub async fn notify(
    bed: &Bed,
    channel: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> (StatusCode, String, String) {
    let mut request = Request::post(format!("/v1/notify/{channel}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = bed.send(request.body(Body::from(body.as_ref().to_vec())).unwrap()).await;
    let status = response.status();
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, content_type, String::from_utf8(body.to_vec()).unwrap())
}

/// Good notices of every channel about a payment of this amount in yuan and fen, with their headers.
fn payments(yuan: &str, fen: &str) -> Vec<(&'static str, String, String)> {
    let card = order(StreamKind::Card);
    let mut trade = form(
        &[
            ("app_id", "2021000000000001"),
            ("notify_type", "trade_status_sync"),
            ("charset", "utf-8"),
            ("seller_id", "2088000000000001"),
            ("trade_no", "t1"),
            ("out_trade_no", card.as_str()),
            ("total_amount", yuan),
            ("trade_status", "TRADE_SUCCESS"),
            ("gmt_payment", "2025-03-10 09:30:00"),
        ],
        &[],
    );
    alipay::sign_notice(&mut trade, &channel_signs()).unwrap();
    let mut acp = form(
        &[
            ("certId", "69026276696"),
            ("txnType", "01"),
            ("merId", "898310000000001"),
            ("orderId", card.as_str()),
            ("txnTime", "20250310093000"),
            ("txnAmt", fen),
            ("queryId", "q1"),
            ("respCode", "00"),
        ],
        &[],
    );
    unionpay::sign(&mut acp, &channel_signs()).unwrap();
    let number = format!("3194{card}");
    let mut ums = form(
        &[
            ("mid", "898340149000005"),
            ("merOrderId", &number),
            ("status", "TRADE_SUCCESS"),
            ("totalAmount", fen),
            ("settleRefId", "s1"),
            ("payTime", "2025-03-10 09:30:00"),
        ],
        &[],
    );
    chinaums::sign(&mut ums, &Secret::new(UMS_KEY).unwrap());
    let mut gateway = form(
        &[
            ("UPTRANSEQ", "u1"),
            ("TRANDATE", "20250310093000"),
            ("RETNCODE", "0000"),
            ("ORDERSEQ", card.as_str()),
            ("ORDERAMOUNT", fen),
        ],
        &[],
    );
    let key = Secret::new(BESTPAY_KEY).unwrap();
    Merchant { id: "0250000001".into(), key, wording: Wording::Web }.sign(&mut gateway).unwrap();
    let fees = json!({
        "order_no": order(StreamKind::Fees), "result": "success", "txn_no": "e1", "amount": yuan,
        "paid_at": "2025-03-10T09:30:00+08:00",
    })
    .to_string();
    let signature = timestamped::sign(fees.as_bytes(), &Secret::new(SECRET).unwrap(), now().timestamp());
    vec![
        ("alipay-mini", trade.encode(), String::new()),
        ("alipay-withholding", trade.encode(), String::new()),
        ("unionpay-cqp", acp.encode(), String::new()),
        ("ums-pos", ums.encode(), String::new()),
        ("bestpay-web", gateway.encode(), String::new()),
        ("ejt", fees, signature),
    ]
}

const GOOD: [(&str, &str); 6] = [
    ("text/plain", "success"),
    ("text/plain", "success"),
    ("text/plain", "ok"),
    ("text/plain", "SUCCESS"),
    ("text/plain", "UPTRANSEQ_u1"),
    ("application/json", r#"{"result":"success"}"#),
];

fn again(code: &str) -> [String; 6] {
    let json = json!({ "result": "refused", "code": code }).to_string();
    ["fail", "fail", "fail", "FAILED", "FAIL", &json].map(str::to_owned)
}

#[tokio::test]
async fn each_channel_hears_what_it_expects_and_a_replay_is_answered_alike() {
    let bed = Bed::new().await;
    for _ in 0..3 {
        for ((channel, body, signature), (content_type, text)) in payments("1.00", "100").iter().zip(GOOD) {
            let answer = notify(&bed, channel, &[("x-signature", signature)], body).await;
            assert_eq!(answer, (StatusCode::OK, content_type.to_owned(), text.to_owned()), "{channel}");
        }
        assert_eq!(bed.events().len(), 6, "one fact each, however often it is told");
    }
}

#[tokio::test]
async fn nothing_good_is_answered_before_the_log_has_acknowledged() {
    let bed = Bed::new().await;
    bed.log.set_faults(Faults { lost_answers: 1000, ..Faults::default() });
    for ((channel, body, signature), text) in payments("1.00", "100").iter().zip(again("OUTCOME_UNKNOWN")) {
        let (status, _, answer) = notify(&bed, channel, &[("x-signature", signature)], body).await;
        assert_eq!((status, answer), (StatusCode::SERVICE_UNAVAILABLE, text), "{channel}");
    }
    bed.log.set_faults(Faults::default());
    for (channel, body, signature) in payments("1.00", "100") {
        assert_eq!(notify(&bed, channel, &[("x-signature", &signature)], &body).await.0, StatusCode::OK, "{channel}");
    }
}

#[tokio::test]
async fn without_postgres_nothing_is_appended_and_the_channel_tells_it_again() {
    let bed = Bed::without_postgres();
    for ((channel, body, signature), text) in payments("1.00", "100").iter().zip(again("UNAVAILABLE")) {
        let (status, _, answer) = notify(&bed, channel, &[("x-signature", signature)], body).await;
        assert_eq!((status, answer), (StatusCode::SERVICE_UNAVAILABLE, text), "{channel}");
    }
    assert!(bed.events().is_empty());
}

#[tokio::test]
async fn the_same_transaction_with_another_amount_is_refused() {
    let bed = Bed::new().await;
    for (channel, body, signature) in payments("1.00", "100") {
        notify(&bed, channel, &[("x-signature", &signature)], &body).await;
    }
    for ((channel, body, signature), text) in payments("2.00", "200").iter().zip(again("CONFLICTING_REPEAT")) {
        let (status, _, answer) = notify(&bed, channel, &[("x-signature", signature)], body).await;
        assert_eq!((status, answer), (StatusCode::CONFLICT, text), "{channel}");
    }
    assert_eq!(bed.events().len(), 6);
}

#[tokio::test]
async fn a_payment_of_nothing_passes_no_gate() {
    let bed = Bed::without_postgres();
    for ((channel, body, signature), text) in payments("0.00", "0").iter().zip(again("INVALID_DATA")) {
        let (status, _, answer) = notify(&bed, channel, &[("x-signature", signature)], body).await;
        assert_eq!((status, answer), (StatusCode::UNPROCESSABLE_ENTITY, text), "{channel}");
    }
}

#[tokio::test]
async fn a_wrong_signature_is_unauthorized_and_tells_nothing_of_the_notice() {
    let bed = Bed::without_postgres();
    for ((channel, body, _), text) in payments("1.00", "100").iter().zip(again("BAD_SIGNATURE")) {
        let tampered = body.replace("t1", "t2").replace("q1", "q2").replace("s1", "s2").replace("u1", "u2");
        let signature = format!("t={},v1=00", now().timestamp());
        let (status, _, answer) = notify(&bed, channel, &[("x-signature", &signature)], &tampered).await;
        assert_eq!((status, answer), (StatusCode::UNAUTHORIZED, text), "{channel}");
    }
    assert!(bed.events().is_empty());
}

#[tokio::test]
async fn a_signed_body_that_is_not_utf_8_is_refused_by_name() {
    let bed = Bed::without_postgres();
    let fees = json!({
        "order_no": order(StreamKind::Fees), "result": "success", "txn_no": "交易", "amount": "1.00",
        "paid_at": "2025-03-10T09:30:00+08:00",
    });
    let sale = json!({
        "school": "school-1", "card": { "number": "20231234" }, "merchant": "食堂", "amount": "9.90",
        "funding": "card_balance", "terminal": "T1", "terminal_seq": 1, "occurred_at": "2025-03-09T18:00:00+08:00",
    });
    for (channel, body) in [("ejt", fees), ("campus-pos", json!({ "purchases": [sale] }))] {
        let body = Charset::Gbk.encode(&body.to_string()).unwrap();
        let signature = timestamped::sign(&body, &Secret::new(SECRET).unwrap(), now().timestamp());
        let (status, _, answer) = notify(&bed, channel, &[("x-signature", &signature)], body).await;
        let refused = json!({ "result": "refused", "code": "INVALID_DATA" }).to_string();
        assert_eq!((status, answer), (StatusCode::UNPROCESSABLE_ENTITY, refused), "{channel}");
    }
}

#[tokio::test]
async fn a_channel_that_is_none_has_no_webhook() {
    let bed = Bed::without_postgres();
    let (status, content_type, _) = notify(&bed, "wechat", &[], "").await;
    assert_eq!((status, content_type.as_str()), (StatusCode::NOT_FOUND, "application/problem+json"));
}

#[tokio::test]
async fn what_another_channel_was_paid_is_not_for_this_one_to_say() {
    let bed = Bed::new().await;
    let number = order(StreamKind::Card);
    put(&bed, &number, &refunded_order("ums-pos", &number, "s1", &[])).await;
    let mut closed = form(
        &[
            ("app_id", "2021000000000001"),
            ("notify_type", "trade_status_sync"),
            ("notify_time", "2025-03-10 09:30:00"),
            ("charset", "utf-8"),
            ("seller_id", "2088000000000001"),
            ("out_trade_no", number.as_str()),
            ("trade_status", "TRADE_CLOSED"),
        ],
        &[],
    );
    alipay::sign_notice(&mut closed, &channel_signs()).unwrap();
    let (status, _, answer) = notify(&bed, "alipay-mini", &[], &closed.encode()).await;
    assert_eq!((status, answer.as_str()), (StatusCode::FORBIDDEN, "fail"));
    assert!(bed.events().is_empty());
}

#[tokio::test]
async fn a_refund_is_completed_by_what_the_order_knows() {
    let (bed, number, id) = (Bed::new().await, order(StreamKind::Card), Uuid::from_u128(1));
    let request_no = Refund::request_no(id);
    let refund = |total: &str| {
        let usual = [
            ("app_id", "2021000000000001"),
            ("notify_type", "trade_status_sync"),
            ("charset", "utf-8"),
            ("seller_id", "2088000000000001"),
            ("trade_no", "t1"),
            ("out_trade_no", number.as_str()),
            ("trade_status", "TRADE_SUCCESS"),
            ("gmt_refund", "2025-03-10 09:40:00"),
            ("refund_fee", total),
            ("out_biz_no", request_no.as_str()),
        ];
        let mut form = form(&usual, &[]);
        alipay::sign_notice(&mut form, &channel_signs()).unwrap();
        form.encode()
    };
    let good = (StatusCode::OK, "text/plain".to_owned(), "success".to_owned());
    assert_eq!(notify(&bed, "alipay-mini", &[], &refund("30.00")).await, good, "the order is not known yet");
    put(&bed, &number, &refunded_order("alipay-mini", &number, "t1", &[(id, "30.00", false)])).await;
    assert_eq!(notify(&bed, "alipay-mini", &[], &refund("29.00")).await, good, "it does not fit");
    assert!(bed.events().is_empty());
    for _ in 0..2 {
        assert_eq!(notify(&bed, "alipay-mini", &[], &refund("30.00")).await, good);
        let events = bed.events();
        assert_eq!(events.len(), 1);
        let Data::RefundCompleted(data) = &events[0].data else { panic!() };
        assert_eq!((data.refund_id, data.amount.to_string().as_str()), (id, "30.00"));
    }
}

/// The coordinator's row of an order.
async fn put(bed: &Bed, number: &OrderId, order: &Order) {
    let sql = "insert into coordinator.orders (key, partition, history, state) values ($1, 0, '', $2)";
    let state = serde_json::to_string(order).unwrap();
    bed.pool.get().await.unwrap().execute(sql, &[&number.as_str(), &state]).await.unwrap();
}
