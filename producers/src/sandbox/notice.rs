//! How a channel tells the door of a payment: in its own protocol, signed with what the door verifies it with; or, where the
//! door has no key for it or one that is not played, as a CloudEvent with the channel's token.

use chrono::{DateTime, Utc};
use schemas::events::Method;
use serde_json::json;

use super::{Capture, Door, keys};
use crate::{
    channels::ChannelsConfig,
    signature::{Form, PrivateKey, Secret, bestpay::Merchant, chinaums, timestamped, unionpay},
};

pub(super) struct Notice {
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// The answer that counts; where none is named, any success.
    pub good: Option<String>,
}

impl Notice {
    pub fn of(capture: &Capture, channels: &ChannelsConfig, door: &Door, now: DateTime<Utc>) -> Self {
        let signed = match capture.channel.as_str() {
            "ums-pos" => ums(capture, channels),
            "unionpay-cqp" => unionpay(capture, channels),
            "bestpay-web" => bestpay(capture, channels),
            "ejt" => ejt(capture, channels, now),
            _ => None,
        };
        signed.unwrap_or_else(|| cloud_event(capture, door))
    }

    fn signed(capture: &Capture, content_type: &str, body: String, good: impl Into<String>) -> Self {
        let path = format!("/v1/notify/{}", capture.channel);
        Self { path, headers: vec![("content-type", content_type.to_owned())], body, good: Some(good.into()) }
    }

    fn form(capture: &Capture, form: &Form, good: impl Into<String>) -> Self {
        Self::signed(capture, "application/x-www-form-urlencoded", form.encode(), good)
    }
}

fn cloud_event(capture: &Capture, door: &Door) -> Notice {
    let mut headers = vec![("content-type", "application/cloudevents+json".to_owned())];
    headers.extend(door.tokens.get(&capture.channel).map(|token| ("authorization", format!("Bearer {token}"))));
    let body = capture.notice().to_structured().to_string();
    Notice { path: "/v1/events".to_owned(), headers, body, good: None }
}

fn ums(capture: &Capture, channels: &ChannelsConfig) -> Option<Notice> {
    let settings = &channels.ums_pos;
    let key = Secret::new(&settings.key).ok()?;
    let mut form = Form::new();
    form.push("mid", settings.merchant_ids.first()?)
        .push("merOrderId", format!("{}{}", settings.prefix, capture.order_no))
        .push("status", "TRADE_SUCCESS")
        .push("targetSys", if capture.method == Method::Card { "POS" } else { "Alipay 2.0" })
        .push("totalAmount", capture.amount.fen().to_string())
        .push("settleRefId", &capture.channel_txn_no)
        .push("settleDate", capture.business_date.to_string())
        .push("payTime", capture.captured_at.format("%Y-%m-%d %H:%M:%S").to_string());
    if let Some(terminal) = &capture.terminal {
        form.push("tid", &terminal.terminal_id);
    }
    chinaums::sign(&mut form, &key);
    Some(Notice::form(capture, &form, "SUCCESS"))
}

fn unionpay(capture: &Capture, channels: &ChannelsConfig) -> Option<Notice> {
    let settings = &channels.unionpay_cqp;
    if settings.certificates != [keys::UNIONPAY_CERTIFICATE] {
        return None;
    }
    let key = PrivateKey::read(keys::UNIONPAY_PRIVATE).ok()?;
    let mut form = Form::new();
    form.push("version", "5.1.0")
        .push("encoding", "UTF-8")
        .push("signPubKeyCert", keys::UNIONPAY_CERTIFICATE)
        .push("txnType", "01")
        .push("merId", &settings.merchant_id)
        .push("orderId", capture.order_no.as_str())
        .push("txnTime", capture.captured_at.format("%Y%m%d%H%M%S").to_string())
        .push("txnAmt", capture.amount.fen().to_string())
        .push("currencyCode", "156")
        .push("queryId", &capture.channel_txn_no)
        .push("settleDate", capture.business_date.format("%m%d").to_string())
        .push("respCode", "00");
    unionpay::sign(&mut form, &key).ok()?;
    Some(Notice::form(capture, &form, "ok"))
}

fn bestpay(capture: &Capture, channels: &ChannelsConfig) -> Option<Notice> {
    let settings = &channels.bestpay_web;
    let key = Secret::new(&settings.key).ok()?;
    let merchant = Merchant { id: settings.merchant_id.clone(), key, wording: settings.wording };
    let mut form = Form::new();
    form.push("UPTRANSEQ", &capture.channel_txn_no)
        .push("TRANDATE", capture.captured_at.format("%Y%m%d%H%M%S").to_string())
        .push("RETNCODE", "0000")
        .push("RETNINFO", "OK")
        .push("ORDERSEQ", capture.order_no.as_str())
        .push("ORDERAMOUNT", capture.amount.fen().to_string());
    merchant.sign(&mut form).ok()?;
    Some(Notice::form(capture, &form, format!("UPTRANSEQ_{}", capture.channel_txn_no)))
}

fn ejt(capture: &Capture, channels: &ChannelsConfig, now: DateTime<Utc>) -> Option<Notice> {
    let secret = Secret::new(&channels.ejt.0.secret).ok()?;
    let body = json!({
        "order_no": capture.order_no,
        "result": "success",
        "txn_no": capture.channel_txn_no,
        "amount": capture.amount,
        "paid_at": capture.captured_at,
        "business_date": capture.business_date,
        "method": capture.method,
    });
    let body = body.to_string();
    let signature = timestamped::sign(body.as_bytes(), &secret, now.timestamp());
    let mut notice = Notice::signed(capture, "application/json", body, r#"{"result":"success"}"#);
    notice.headers.push((timestamped::HEADER, signature));
    Some(notice)
}
