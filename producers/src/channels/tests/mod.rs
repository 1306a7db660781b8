//! One file per channel: what each notice becomes, and what is refused by name.

mod alipay;
mod bestpay;
mod campus_pos;
pub(crate) mod documents;
mod ejt;
mod played;
mod settings;
mod ums;
mod unionpay;
mod webhooks;

use axum::http::{HeaderMap, HeaderName};
use chrono::{DateTime, FixedOffset, Utc};
use rules::{order::Order, policy::Policy, refund::Refund};
use schemas::{Amount, Data, Event, OrderId, Stream, StreamKind, event_id, events::*};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Channels, ChannelsConfig, Code, Notice, Own, Refused, Said, Told, Webhook};
use crate::signature::{Form, PrivateKey};

pub const UMS_KEY: &str = "a-key-of-china-ums-for-tests";
pub const BESTPAY_KEY: &str = "A-KEY-OF-BESTPAY-FOR-TESTS";
pub const SECRET: &str = "a secret of the school";

/// Every channel with a key for tests, and the merchants of the vectors.
pub fn config() -> ChannelsConfig {
    let alipay = json!({
        "public_key": include_str!("../../signature/vectors/keys/channel.public.pem"),
        "app_id": "2021000000000001",
        "seller_id": "2088000000000001",
    });
    let config = json!({
        "alipay_mini": alipay,
        "alipay_withholding": alipay,
        "unionpay_cqp": {
            "certificates": [include_str!("../../signature/vectors/keys/channel.certificate.pem")],
            "merchant_id": "898310000000001",
        },
        "ums_pos": { "key": UMS_KEY, "merchant_ids": ["898340149000005"], "prefix": "3194" },
        "bestpay_web": { "key": BESTPAY_KEY, "merchant_id": "0250000001" },
        "campus_pos": { "secret": SECRET },
        "ejt": { "secret": SECRET },
    });
    serde_json::from_value(config).unwrap()
}

pub fn channel_signs() -> PrivateKey {
    PrivateKey::read(include_str!("../../signature/vectors/keys/channel.pkcs8.pem")).unwrap()
}

pub fn other_signs() -> PrivateKey {
    PrivateKey::read(include_str!("../../signature/vectors/keys/other.pkcs8.pem")).unwrap()
}

pub fn vector(scheme: &str, name: &str) -> String {
    let vectors: Value = serde_json::from_str(include_str!("../../signature/vectors/vectors.json")).unwrap();
    vectors[scheme][name].as_str().unwrap().to_owned()
}

pub fn order(kind: StreamKind) -> OrderId {
    OrderId::new(&Stream::new(kind, [1; 10]), [1; 8]).unwrap()
}

pub fn time(text: &str) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(text).unwrap()
}

/// By the door's clock in tests.
pub fn now() -> DateTime<Utc> {
    time("2025-03-10T10:00:00+08:00").to_utc()
}

/// A form whose fields are those of `usual`, changed; an empty value takes a field away.
pub fn form(usual: &[(&str, &str)], changed: &[(&str, &str)]) -> Form {
    let mut form = Form::new();
    for (name, value) in usual.iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name)) {
        form.push(name, value);
    }
    for (name, value) in changed.iter().filter(|(_, value)| !value.is_empty()) {
        form.push(name, value);
    }
    form
}

/// What a channel says at `now`.
pub fn read_at(
    channel: &str,
    headers: &[(&'static str, String)],
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<Told, Refused> {
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
    let channels = Channels::open(&config(), &Policy::default()).unwrap();
    match channels.get(channel).unwrap().as_ref().unwrap() {
        Webhook::Notices(channel) => channel.read(&Notice { headers: &headers, body, now }),
        Webhook::Uploads(_) => panic!("{channel} uploads"),
    }
}

pub fn read(channel: &str, body: &str) -> Result<Told, Refused> {
    read_at(channel, &[], body.as_bytes(), now())
}

/// Its facts, whole.
pub fn facts(told: Told) -> Vec<Event> {
    let fact = |said| match said {
        Said::Fact(event) => *event,
        Said::OfRefund(said) => panic!("{said:?} is not whole"),
    };
    told.said.into_iter().map(fact).collect()
}

/// The code and the field of a refusal.
pub fn why(read: Result<Told, Refused>) -> (&'static str, &'static str) {
    let refused = read.unwrap_err();
    (refused.code.as_str(), refused.field.unwrap_or_default())
}

/// Changes every byte of every field, one after the other, and asks that each change be noticed.
pub fn refuses_each_tampered_byte(channel: &str, good: &Form) {
    assert!(read(channel, &good.encode()).is_ok());
    for (name, value) in good.iter() {
        for at in 0..value.len() {
            let mut tampered = value.to_vec();
            tampered[at] ^= 1;
            let mut copy = good.clone();
            copy.push(str::from_utf8(name).unwrap(), tampered);
            assert_eq!(
                why(read(channel, &copy.encode())).0,
                "BAD_SIGNATURE",
                "{}[{at}]",
                String::from_utf8_lossy(name)
            );
        }
    }
}

/// An order that was paid through `channel`, with refunds: whose id, of how much, and whether they have come through.
pub fn refunded_order(channel: &str, number: &OrderId, txn_no: &str, refunds: &[(Uuid, &str, bool)]) -> Order {
    let channel: schemas::Name = channel.parse().unwrap();
    let (at, mut order) = (time("2025-03-10T09:00:00+08:00"), Order::default());
    let captured: Data = PaymentCaptured {
        channel: channel.clone(),
        channel_txn_no: txn_no.to_owned(),
        method: Method::Wallet,
        amount: "100.00".parse().unwrap(),
        business_date: at.date_naive(),
        fee: None,
        instrument_masked: None,
        terminal: None,
        evidence: Evidence::AsyncNotice,
    }
    .into();
    let capture_id = event_id(&captured, number.as_str());
    let mut data = vec![captured];
    for (refund_id, amount, is_done) in refunds {
        let (refund_id, amount): (Uuid, Amount) = (*refund_id, amount.parse().unwrap());
        let (reason, by) = (RefundReason::Customer, RefundOrigin::Customer);
        let channel = channel.clone();
        let initiated = RefundInitiated { refund_id, capture_id, channel, amount, reason, by, method: None };
        let refund_request_no = Refund::request_no(refund_id);
        data.push(initiated.clone().into());
        data.push(RefundSubmitted { refund_id, refund_request_no, tries: 2 }.into());
        if *is_done {
            let completed = RefundCompleted {
                refund_id,
                channel: initiated.channel,
                amount,
                channel_refund_no: None,
                fee_netted: None,
                business_date: at.date_naive(),
                evidence: Evidence::Query,
            };
            data.push(completed.into());
        }
    }
    for data in data {
        order.apply(&Event::about_order("/tests", number, at, data), at.to_utc());
    }
    order
}

/// What is said of a refund, with what the order knows.
pub fn of_refund(channel: &str, told: Told, order: &Order) -> Option<Event> {
    let own = Own { name: channel.parse().unwrap(), terms: Policy::default().terms(&channel.parse().unwrap()) };
    match &told.said[..] {
        [Said::OfRefund(said)] => said.fact(&own, order),
        other => panic!("{other:?}"),
    }
}

pub fn text(told: &Told) -> &str {
    &told.answer.text
}
