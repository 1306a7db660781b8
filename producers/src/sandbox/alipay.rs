//! Alipay, played: a gateway that takes signed forms and signs its answers, and that notifies until it hears `success`.
//! Its trades are the captures, debits and refunds of the one set of books.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
    routing::post,
};
use chrono::{DateTime, FixedOffset};
use schemas::{Amount, Name};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json, value::RawValue};

use super::{
    Outside, SandboxError, World,
    books::{Movement, MovementState, Told},
    delivery::deliver,
    keys,
    script::{Deed, Delivery, Kind, Refusal},
};
use crate::{
    calls::{DebitNo, MovementResult},
    signature::{Charset, Form, PrivateKey, PublicKey, alipay},
};

mod notices;

pub(super) fn routes() -> Router<Arc<Outside>> {
    Router::new().route("/alipay/gateway.do", post(gateway))
}

/// What Alipay signs with, and what it verifies our calls with.
#[derive(Debug)]
pub(super) struct Keys {
    signs: PrivateKey,
    ours: PublicKey,
}

impl Keys {
    pub fn read() -> Result<Self, SandboxError> {
        let signs = PrivateKey::read(keys::ALIPAY_PRIVATE)?;
        Ok(Self { signs, ours: PublicKey::read(keys::OURS_PUBLIC)? })
    }
}

/// What Alipay knows beside the books.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Trades that were never paid, and cannot be any more.
    closed: BTreeSet<DebitNo>,
    /// Agreements that have been signed, with the merchant's number for them.
    agreements: BTreeMap<String, String>,
    ended: BTreeSet<String>,
    /// Where a debit asked to be told of.
    notify_urls: BTreeMap<DebitNo, String>,
    /// Numbers of debits and refunds of which Alipay has told.
    told: BTreeSet<String>,
}

/// `biz_content`, as far as it is read.
#[derive(Debug, Deserialize)]
struct Content {
    #[serde(alias = "trade_no", deserialize_with = "number")]
    out_trade_no: DebitNo,
    #[serde(default)]
    out_request_no: String,
    total_amount: Option<Amount>,
    refund_amount: Option<Amount>,
    agreement_params: Option<AgreementParams>,
}

/// Ours, or Alipay's of a debit, which has ours in it.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DebitNo, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.strip_prefix('D').unwrap_or(&text).parse().map_err(de::Error::custom)
}

#[derive(Debug, Deserialize)]
struct AgreementParams {
    agreement_no: String,
}

/// A trade that was paid.
#[derive(Clone, Debug)]
struct Trade {
    channel: Name,
    number: DebitNo,
    trade_no: String,
    amount: Amount,
    paid_at: String,
}

async fn gateway(State(outside): State<Arc<Outside>>, RawQuery(query): RawQuery, body: Bytes) -> Response {
    // Without a charset in its address, the gateway takes the form for GBK, and the signature for wrong.
    let is_utf8 = query.as_deref().is_some_and(|query| query.split('&').any(|part| part == "charset=utf-8"));
    let form = Form::parse(&body).ok().filter(|form| {
        is_utf8
            && alipay::verify_request(form, &outside.alipay.ours).is_ok()
            && form.get("app_id") == Some(keys::APP_ID.as_bytes())
    });
    let Some(form) = form else {
        // Such an error is not signed.
        return Json(json!({ "error_response": error("40002", "isv.invalid-signature") })).into_response();
    };
    let method = form.text("method", Charset::Utf8).unwrap_or_default();
    let (node, delivery) = match content(&form) {
        Some(content) => outside.answer(&method, &content, &form),
        None => (refused("ACQ.INVALID_PARAMETER"), Delivery::Prompt),
    };
    let signed = alipay::sign_response(&method, &node.to_string(), &outside.alipay.signs);
    match signed.ok().and_then(|text| RawValue::from_string(text).ok()) {
        Some(answer) => deliver(delivery, answer).await,
        None => deliver(Delivery::Http500, ()).await,
    }
}

fn content(form: &Form) -> Option<Content> {
    serde_json::from_slice(form.get("biz_content")?).ok()
}

impl Outside {
    fn answer(self: &Arc<Self>, method: &str, content: &Content, form: &Form) -> (Value, Delivery) {
        let now = self.now();
        let (node, delivery) = self.change(|world| match method {
            "alipay.trade.pay" => {
                if let Ok(url) = form.text("notify_url", Charset::Utf8) {
                    world.alipay.notify_urls.insert(content.out_trade_no.clone(), url);
                }
                world.debit(content, &self.withholding_channel(), now)
            }
            "alipay.trade.query" => world.query(content, now),
            "alipay.trade.cancel" => world.cancel(content, now),
            "alipay.trade.refund" => world.refund(content, now),
            "alipay.trade.fastpay.refund.query" => world.refund_result(content, now),
            _ => (error("40002", "isv.invalid-method"), Delivery::Prompt),
        });
        self.tell_of(content);
        (node, delivery)
    }
}

impl World {
    fn debit(&mut self, content: &Content, channel: &Name, now: DateTime<FixedOffset>) -> (Value, Delivery) {
        let (order_no, number) = (&content.out_trade_no.order_no, content.out_trade_no.to_string());
        let (Some(amount), Some(agreement)) = (content.total_amount, &content.agreement_params) else {
            return (refused("ACQ.INVALID_PARAMETER"), Delivery::Prompt);
        };
        if self.alipay.closed.contains(&content.out_trade_no) {
            return (refused("ACQ.TRADE_HAS_CLOSE"), Delivery::Prompt);
        }
        let movement = Movement::new(order_no, channel, &agreement.agreement_no, amount);
        match self.books.repeated(Kind::Debit, &number, &movement) {
            Some(told) if told.result == MovementResult::Success => {
                (refused("ACQ.TRADE_HAS_SUCCESS"), Delivery::Prompt)
            }
            Some(told) => (self.debited(told, content), Delivery::Prompt),
            None => {
                let (mut deed, delivery) = self.scripts.movement(Kind::Debit, order_no.as_str()).parts();
                if self.alipay.ended.contains(&agreement.agreement_no) {
                    deed = refusal("ACQ.AGREEMENT_STATUS_NOT_NORMAL");
                }
                let told = self.books.act(Kind::Debit, &number, deed, now);
                (self.debited(told, content), delivery)
            }
        }
    }

    fn debited(&self, told: Told, content: &Content) -> Value {
        match told.result {
            MovementResult::Success => match self.trade(&content.out_trade_no) {
                Some(trade) => success(trade.facts(json!({ "gmt_payment": trade.paid_at }))),
                None => error("20000", "isp.unknow-error"),
            },
            MovementResult::Accepted | MovementResult::Processing => error("10003", ""),
            MovementResult::Refused if told.code == "AMOUNT_DIFFERS" => refused("ACQ.CONTEXT_INCONSISTENT"),
            MovementResult::Refused => refused(spelt(&told.code, "ACQ.BUYER_BALANCE_NOT_ENOUGH")),
            MovementResult::NotFound => error("20000", "isp.unknow-error"),
        }
    }

    fn query(&mut self, content: &Content, now: DateTime<FixedOffset>) -> (Value, Delivery) {
        let number = &content.out_trade_no;
        let order_no = number.order_no.as_str();
        let delivery = self.scripts.trade_query(order_no);
        if self.scripts.is_too_early(order_no) || self.scripts.of(order_no).hidden {
            return (refused("ACQ.TRADE_NOT_EXIST"), delivery);
        }
        let unpaid = |status: &str| json!({ "out_trade_no": number, "trade_status": status });
        let debit = self.books.result(Kind::Debit, &number.to_string(), now).result;
        let node = match self.trade(number) {
            Some(trade) => {
                let status = trade.status(self.books.refunded(&number.order_no));
                success(trade.facts(json!({ "trade_status": status, "send_pay_date": trade.paid_at })))
            }
            None if self.alipay.closed.contains(number) => success(unpaid("TRADE_CLOSED")),
            None if debit == MovementResult::NotFound => refused("ACQ.TRADE_NOT_EXIST"),
            None => success(unpaid("WAIT_BUYER_PAY")),
        };
        (node, delivery)
    }

    fn cancel(&mut self, content: &Content, now: DateTime<FixedOffset>) -> (Value, Delivery) {
        let number = &content.out_trade_no;
        let (deed, delivery) = self.scripts.cancel(number.order_no.as_str()).parts();
        let (mut node, again) = match deed {
            Deed::Do => (success(self.cancelled(number, now)), "N"),
            Deed::Refuse(Refusal { code, retryable: false }) => (refused(spelt(&code, "ACQ.CANCEL_NOT_ALLOWED")), "N"),
            Deed::Refuse(Refusal { code, .. }) => (refused(spelt(&code, "ACQ.SELLER_BALANCE_NOT_ENOUGH")), "Y"),
            Deed::Take { .. } | Deed::Lose => (refused("ACQ.SYSTEM_ERROR"), "Y"),
        };
        node["out_trade_no"] = number.to_string().into();
        node["retry_flag"] = again.into();
        (node, delivery)
    }

    /// What is paid goes back, and what is not paid is closed; of what is not there, nothing is told.
    fn cancelled(&mut self, number: &DebitNo, now: DateTime<FixedOffset>) -> Value {
        let Some(trade) = self.trade(number) else {
            let is_there = self.books.close(&number.to_string()) || self.alipay.closed.contains(number);
            if !is_there {
                return json!({});
            }
            self.alipay.closed.insert(number.clone());
            return json!({ "action": "close", "trade_no": trade_no(number) });
        };
        // Such a refund has the number of its trade.
        let back = Movement::new(&number.order_no, &trade.channel, &trade.trade_no, trade.amount);
        if self.books.repeated(Kind::Refund, &number.to_string(), &back).is_none() {
            self.books.act(Kind::Refund, &number.to_string(), Deed::Do, now);
        }
        json!({ "action": "refund", "trade_no": trade.trade_no })
    }

    fn refund(&mut self, content: &Content, now: DateTime<FixedOffset>) -> (Value, Delivery) {
        let (order_no, number) = (&content.out_trade_no.order_no, &content.out_request_no);
        let Some(trade) = self.trade(&content.out_trade_no) else {
            return (refused("ACQ.TRADE_NOT_EXIST"), Delivery::Prompt);
        };
        let Some(amount) = content.refund_amount.filter(|_| !number.is_empty()) else {
            return (refused("ACQ.INVALID_PARAMETER"), Delivery::Prompt);
        };
        let movement = Movement::new(order_no, &trade.channel, &trade.trade_no, amount);
        if let Some(told) = self.books.repeated(Kind::Refund, number, &movement) {
            // Whatever has moved, this call has not moved it.
            return (self.refunded(&told, &trade, "N"), Delivery::Prompt);
        }
        let (mut deed, delivery) = self.scripts.movement(Kind::Refund, order_no.as_str()).parts();
        if self.books.refunded(order_no) + amount > trade.amount {
            deed = refusal("ACQ.REASON_TRADE_REFUND_FEE_ERR");
        }
        let told = self.books.act(Kind::Refund, number, deed, now);
        (self.refunded(&told, &trade, "Y"), delivery)
    }

    fn refunded(&self, told: &Told, trade: &Trade, moved: &str) -> Value {
        let refund_fee = self.books.refunded(&trade.number.order_no);
        match told.result {
            MovementResult::Success => {
                let at = told.done_at.map(written);
                success(trade.facts(json!({ "fund_change": moved, "refund_fee": refund_fee, "gmt_refund_pay": at })))
            }
            MovementResult::Accepted | MovementResult::Processing => {
                success(trade.facts(json!({ "fund_change": "N", "refund_fee": refund_fee })))
            }
            MovementResult::Refused if told.code == "AMOUNT_DIFFERS" => refused("ACQ.DISCORDANT_REPEAT_REQUEST"),
            MovementResult::Refused if told.retryable => refused(spelt(&told.code, "ACQ.SELLER_BALANCE_NOT_ENOUGH")),
            MovementResult::Refused => refused(spelt(&told.code, "ACQ.TRADE_HAS_FINISHED")),
            MovementResult::NotFound => error("20000", "isp.unknow-error"),
        }
    }

    /// The code says only that the question was understood; without a refund there is nothing else.
    fn refund_result(&mut self, content: &Content, now: DateTime<FixedOffset>) -> (Value, Delivery) {
        let number = &content.out_request_no;
        let Some(trade) = self.trade(&content.out_trade_no) else {
            return (refused("ACQ.TRADE_NOT_EXIST"), Delivery::Prompt);
        };
        let delivery = self.scripts.refund_query(content.out_trade_no.order_no.as_str());
        let told = self.books.result(Kind::Refund, number, now);
        let refund = self.books.refunds.get(number).filter(|_| told.result == MovementResult::Success);
        let node = match refund {
            Some(refund) => success(trade.facts(json!({
                "out_request_no": number,
                "refund_amount": refund.amount,
                "refund_status": "REFUND_SUCCESS",
                "gmt_refund_pay": refund.done_at.map(written),
            }))),
            None => success(json!({})),
        };
        (node, delivery)
    }

    /// What has been paid for an order, by its payer or as a debit.
    fn trade(&self, number: &DebitNo) -> Option<Trade> {
        let captures = self.books.captures.get(&number.order_no).filter(|_| number.cancelled == 0);
        if let Some(capture) = captures.and_then(|captures| captures.first()) {
            return Some(Trade {
                channel: capture.channel.clone(),
                number: number.clone(),
                trade_no: capture.channel_txn_no.clone(),
                amount: capture.amount,
                paid_at: written(capture.captured_at),
            });
        }
        let debit = self.books.debits.get(&number.to_string()).filter(|debit| debit.state == MovementState::Done)?;
        Some(Trade {
            channel: debit.party.clone(),
            number: number.clone(),
            trade_no: trade_no(number),
            amount: debit.amount,
            paid_at: debit.done_at.map(written)?,
        })
    }
}

impl Trade {
    /// With what every answer about it says.
    fn facts(&self, mut facts: Value) -> Value {
        facts["out_trade_no"] = self.number.to_string().into();
        facts["trade_no"] = self.trade_no.as_str().into();
        facts["total_amount"] = self.amount.to_string().into();
        facts
    }

    /// A trade that went back in full is closed, as one is that was never paid.
    fn status(&self, refunded: Amount) -> &'static str {
        if refunded < self.amount { "TRADE_SUCCESS" } else { "TRADE_CLOSED" }
    }
}

/// Alipay's number of a debit.
fn trade_no(number: &DebitNo) -> String {
    format!("D{number}")
}

/// The times of trades, as Alipay writes them.
fn written(at: DateTime<FixedOffset>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

fn refusal(code: &str) -> Deed {
    Deed::Refuse(Refusal { code: code.to_owned(), retryable: true })
}

/// Scripts that are written for every channel have codes of their own.
fn spelt<'c>(code: &'c str, otherwise: &'c str) -> &'c str {
    if code.starts_with("ACQ.") { code } else { otherwise }
}

fn success(mut node: Value) -> Value {
    node["code"] = "10000".into();
    node["msg"] = "Success".into();
    node
}

fn refused(sub_code: &str) -> Value {
    error("40004", sub_code)
}

fn error(code: &str, sub_code: &str) -> Value {
    json!({ "code": code, "msg": "Played", "sub_code": sub_code, "sub_msg": sub_code })
}

#[cfg(test)]
mod tests;
