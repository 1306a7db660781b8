#![allow(clippy::unwrap_used)]

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::extract::Path;
use engine::clock::Clock;
use schemas::{OrderId, Stream, StreamKind};
use tokio::net::TcpListener;

use super::*;
use crate::{
    calls::{Calls, CallsConfig, DebitEnd, DebitOrder, Movement as Answer, RefundOrder},
    channels::ChannelsConfig,
    sandbox::{Capture, Door, MoveStep, NoticeStep, PaymentRequest, Sandbox, SandboxConfig, Script},
};

fn order_no(number: u8) -> OrderId {
    OrderId::new(&Stream::new(StreamKind::Card, [1; 10]), [number; 8]).unwrap()
}

fn mini() -> Name {
    "alipay-mini".parse().unwrap()
}

/// A door that hears notices with their channels, and says `success` from the given one on.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(String, Form)>>>);

impl Heard {
    async fn door(&self, success_from: usize) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = self.clone();
        let hear = move |Path(channel): Path<String>, body: Bytes| async move {
            let form = Form::parse(&body).unwrap();
            alipay::verify_notice(&form, &PublicKey::read(keys::ALIPAY_PUBLIC).unwrap()).unwrap();
            let mut heard = heard.0.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push((channel, form));
            if heard.len() >= success_from { "success" } else { "fail" }
        };
        let app = Router::new().route("/v1/notify/{channel}", post(hear));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Door { url, tokens: BTreeMap::new() }
    }

    fn all(&self) -> Vec<(String, Form)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn wait_for(&self, count: usize) -> Vec<(String, Form)> {
        for _ in 0..500 {
            if self.all().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // One too many would come soon.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(self.all().len(), count);
        self.all()
    }
}

async fn sandbox(heard: &Heard, success_from: usize) -> (Sandbox, Calls) {
    let channels = keys::channels(ChannelsConfig::default());
    let config = SandboxConfig { alipay_minute_ms: 1, channels, ..SandboxConfig::default() };
    let sandbox = Sandbox::start("127.0.0.1:0".parse().unwrap(), config, Clock::System).await.unwrap();
    sandbox.set_door(heard.door(success_from).await);
    let config = CallsConfig { alipay: sandbox.alipay_config(), ..CallsConfig::default() };
    (sandbox, Calls::new(config).unwrap())
}

fn pay(sandbox: &Sandbox, number: u8) -> Capture {
    let request = json!({"order_no": order_no(number), "channel": "alipay-mini", "method": "wallet", "amount": "8.00"});
    sandbox.pay(serde_json::from_value::<PaymentRequest>(request).unwrap())
}

fn refund(number: u8, request_no: &str, amount: &str) -> RefundOrder {
    RefundOrder {
        refund_request_no: request_no.to_owned(),
        channel: mini(),
        channel_txn_no: String::new(),
        order_no: order_no(number),
        amount: amount.parse().unwrap(),
    }
}

fn debit(number: u8) -> DebitOrder {
    DebitOrder {
        debit_no: DebitNo { order_no: order_no(number), cancelled: 0 },
        agreement_no: "agreement-1".to_owned(),
        school: "school-1".parse().unwrap(),
        merchant: "食堂".to_owned(),
        amount: "12.50".parse().unwrap(),
    }
}

fn text(form: &Form, field: &'static str) -> String {
    form.text(field, Charset::Utf8).unwrap_or_default()
}

#[tokio::test]
async fn a_payment_is_told_eight_times_if_nobody_says_success() {
    let heard = Heard::default();
    let (sandbox, _) = sandbox(&heard, usize::MAX).await;
    let capture = pay(&sandbox, 1);
    let notices = heard.wait_for(8).await;
    // One notice, eight times.
    assert!(notices.iter().all(|notice| *notice == notices[0]));
    let (channel, form) = &notices[0];
    assert_eq!((channel.as_str(), text(form, "notify_type").as_str()), ("alipay-mini", "trade_status_sync"));
    assert_eq!((text(form, "out_trade_no"), text(form, "trade_no")), (order_no(1).to_string(), capture.channel_txn_no));
    assert_eq!((text(form, "trade_status").as_str(), text(form, "total_amount").as_str()), ("TRADE_SUCCESS", "8.00"));
    assert_eq!((text(form, "app_id").as_str(), text(form, "seller_id").as_str()), (keys::APP_ID, keys::SELLER_ID));
    let there = &sandbox.books().captures[&order_no(1)][0];
    assert_eq!((there.notices_sent, there.notices_acknowledged), (8, 0));
}

#[tokio::test]
async fn a_payment_is_told_until_success_and_as_often_as_its_script_says() {
    let heard = Heard::default();
    let (sandbox, _) = sandbox(&heard, 3).await;
    let script = |notice| Script { notice: Some(notice), ..Script::default() };
    sandbox.set_script(&order_no(1), script(NoticeStep::Never));
    pay(&sandbox, 1);
    sandbox.set_script(&order_no(2), script(NoticeStep::Twice));
    pay(&sandbox, 2);
    let notices = heard.wait_for(4).await;
    assert!(notices.iter().all(|(_, form)| text(form, "out_trade_no") == order_no(2).as_str()));
    assert_eq!(sandbox.books().captures[&order_no(2)][0].notices_acknowledged, 2);
}

#[tokio::test]
async fn refunds_are_told_with_the_total_and_the_last_one_closes_the_trade() {
    let heard = Heard::default();
    let (sandbox, calls) = sandbox(&heard, 0).await;
    pay(&sandbox, 1);
    heard.wait_for(1).await;
    assert!(matches!(calls.refund(&refund(1, "R1", "3.00")).await, Answer::Done(_)));
    heard.wait_for(2).await;
    assert!(matches!(calls.refund(&refund(1, "R2", "5.00")).await, Answer::Done(_)));
    let told: Vec<_> = heard.wait_for(3).await[1..]
        .iter()
        .map(|(_, form)| ["out_biz_no", "refund_fee", "trade_status"].map(|field| text(form, field)))
        .collect();
    assert_eq!(told, [["R1", "3.00", "TRADE_SUCCESS"], ["R2", "8.00", "TRADE_CLOSED"]]);
    // Again: this call moves nothing, and there is nothing new to tell.
    assert_eq!(calls.refund(&refund(1, "R2", "5.00")).await, Answer::UnderWay);
    assert!(
        matches!(calls.refund(&refund(1, "R2", "4.00")).await, Answer::Unknown { code, .. } if code.contains("DISCORDANT"))
    );
    assert!(matches!(calls.refund(&refund(1, "R3", "0.01")).await, Answer::Refused { retryable: false, .. }));
    heard.wait_for(3).await;
    assert_eq!(sandbox.books().refunded(&order_no(1)), "8.00".parse().unwrap());
}

#[tokio::test]
async fn a_trade_that_nobody_paid_is_closed_as_well() {
    let heard = Heard::default();
    let (sandbox, calls) = sandbox(&heard, 0).await;
    sandbox.close_trade(&mini(), &order_no(1), "8.00".parse().unwrap());
    let (_, form) = &heard.wait_for(1).await[0];
    assert_eq!((text(form, "trade_status").as_str(), text(form, "total_amount").as_str()), ("TRADE_CLOSED", "8.00"));
    assert_eq!((form.get("gmt_payment"), form.get("gmt_refund")), (None, None));
    let answer = calls.debit_result(&mini(), &debit(1)).await;
    assert_eq!(answer, Answer::Done(DebitEnd::Closed));
    pay(&sandbox, 2);
    sandbox.close_trade(&mini(), &order_no(2), "8.00".parse().unwrap());
    assert_eq!(text(&heard.wait_for(2).await[1].1, "trade_status"), "TRADE_SUCCESS");
}

#[tokio::test]
async fn a_debit_is_told_where_its_call_says() {
    let heard = Heard::default();
    let (sandbox, calls) = sandbox(&heard, 0).await;
    let channel = "alipay-withholding".parse().unwrap();
    let taken = vec![MoveStep::Accepted { processing: 0 }];
    sandbox.set_script(&order_no(1), Script { debits: taken, ..Script::default() });
    assert_eq!(calls.debit(&channel, &debit(1)).await, Answer::UnderWay);
    assert!(heard.all().is_empty());
    assert!(matches!(calls.debit_result(&channel, &debit(1)).await, Answer::Done(_)));
    let (told, form) = &heard.wait_for(1).await[0];
    assert_eq!((told.as_str(), text(form, "trade_no")), ("alipay-withholding", format!("D{}", order_no(1))));
    let back = RefundOrder { channel, channel_txn_no: format!("D{}", order_no(1)), ..refund(1, "R1", "12.50") };
    assert!(matches!(calls.refund(&back).await, Answer::Done(_)));
    let (told, form) = &heard.wait_for(2).await[1];
    assert_eq!((told.as_str(), text(form, "trade_status").as_str()), ("alipay-withholding", "TRADE_CLOSED"));
    // A question does not tell by whom it was given back.
    let end = calls.debit_result(&back.channel, &debit(1)).await;
    assert!(matches!(end, Answer::Done(DebitEnd::GivenBack(_))), "{end:?}");
}

#[tokio::test]
async fn a_cancel_closes_what_is_not_paid_gives_back_what_is_and_says_nothing_of_what_is_not_there() {
    let heard = Heard::default();
    let (sandbox, calls) = sandbox(&heard, 0).await;
    let channel: Name = "alipay-withholding".parse().unwrap();
    assert_eq!(calls.cancel_debit(&channel, &debit(1)).await, Some(Answer::NotKnown));

    let waits = vec![MoveStep::Accepted { processing: 0 }];
    sandbox.set_script(&order_no(2), Script { debits: waits, ..Script::default() });
    assert_eq!(calls.debit(&channel, &debit(2)).await, Answer::UnderWay);
    for _ in 0..2 {
        assert_eq!(calls.cancel_debit(&channel, &debit(2)).await, Some(Answer::Done(DebitEnd::Closed)));
    }
    assert_eq!(calls.debit(&channel, &debit(2)).await, Answer::UnderWay);
    assert_eq!(calls.debit_result(&channel, &debit(2)).await, Answer::Done(DebitEnd::Closed));

    assert!(matches!(calls.debit(&channel, &debit(3)).await, Answer::Done(DebitEnd::Taken(_))));
    for _ in 0..2 {
        let answer = calls.cancel_debit(&channel, &debit(3)).await;
        let Some(Answer::Done(DebitEnd::GivenBack(back))) = answer else { panic!("{answer:?}") };
        assert_eq!(back.channel_txn_no, Some(format!("D{}", order_no(3))));
        assert!(back.counted.is_some());
    }
    assert_eq!(sandbox.books().refunded(&order_no(3)), "12.50".parse().unwrap());
    assert_eq!(heard.wait_for(1).await.len(), 1, "the debit's own notice");

    let refused = |retryable: bool| match retryable {
        true => MoveStep::RefuseRetryable { code: "BUSY".to_owned() },
        false => MoveStep::RefuseFinal { code: "ACQ.TRADE_CANCEL_TIME_OUT".to_owned() },
    };
    sandbox.set_script(&order_no(4), Script { cancels: vec![refused(true), refused(false)], ..Script::default() });
    assert_eq!(calls.cancel_debit(&channel, &debit(4)).await, Some(Answer::UnderWay));
    let answer = calls.cancel_debit(&channel, &debit(4)).await;
    assert!(matches!(answer, Some(Answer::Refused { .. })), "{answer:?}");
}

#[tokio::test]
async fn agreements_are_told_when_they_are_signed_and_when_they_end() {
    let heard = Heard::default();
    let (sandbox, _) = sandbox(&heard, 0).await;
    sandbox.sign_mandate("card-1", "agreement-1").await;
    heard.wait_for(1).await;
    sandbox.end_mandate("agreement-1").await;
    let notices = heard.wait_for(2).await;
    let told: Vec<_> = notices
        .iter()
        .map(|(_, form)| ["notify_type", "status", "agreement_no", "external_agreement_no"].map(|f| text(form, f)))
        .collect();
    assert_eq!(
        told,
        [["dut_user_sign", "NORMAL", "agreement-1", "card-1"], ["dut_user_unsign", "UNSIGN", "agreement-1", "card-1"],]
    );
}

#[tokio::test]
async fn a_call_that_is_not_signed_by_us_or_names_no_charset_gets_an_unsigned_error() {
    let (sandbox, _) = sandbox(&Heard::default(), 0).await;
    let config = sandbox.alipay_config();
    let http = crate::http::client(engine::tls::Trust::nobody()).unwrap().build().unwrap();
    let mut form = Form::new();
    form.push("app_id", keys::APP_ID).push("method", "alipay.trade.query").push("biz_content", "{}");
    let mut forged = form.clone();
    alipay::sign_request(&mut form, &PrivateKey::read(&config.private_key).unwrap()).unwrap();
    alipay::sign_request(&mut forged, &PrivateKey::read(keys::ALIPAY_PRIVATE).unwrap()).unwrap();
    let utf8 = format!("{}?charset=utf-8", config.gateway_url);
    for (url, form, answer) in [
        (&config.gateway_url, &form, "isv.invalid-signature"),
        (&utf8, &forged, "isv.invalid-signature"),
        (&utf8, &form, "ACQ.INVALID_PARAMETER"),
    ] {
        let body = http.post(url).body(form.encode()).send().await.unwrap().text().await.unwrap();
        assert!(body.contains(answer), "{body}");
        assert_eq!(body.contains("\"sign\""), answer == "ACQ.INVALID_PARAMETER");
    }
}
