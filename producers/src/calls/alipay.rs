//! Alipay's gateway (支付宝开放平台): refunds, debits under a mandate (代扣) and their cancelling (撤销),
//! and questions about them and about payments.
//!
//! Every call is a signed form, and nothing is believed that Alipay has not signed. Numbers of ours name orders and
//! refunds, the same on every attempt, so that Alipay moves the money once.

use std::fmt;

use chrono::{DateTime, Utc};
use reqwest::{Client, Url, header::CONTENT_TYPE};
use rules::business_day::shanghai;
use schemas::{Name, OrderId, events::Method};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use self::answer::{Answer, nothing};
use super::{
    CallsError, DebitEnd, DebitNo, DebitOrder, Debited, FoundCapture, Movement, NAME, NoAnswer, PaymentAnswer,
    PaymentReply, PaymentResult, RefundOrder, Refunded, body, unreadable,
};
use crate::signature::{Form, PrivateKey, PublicKey, SignatureError, alipay, key_text};

mod answer;

const MINI: &str = "alipay-mini";
const WITHHOLDING: &str = "alipay-withholding";

const PAY: &str = "alipay.trade.pay";
const QUERY: &str = "alipay.trade.query";
const CANCEL: &str = "alipay.trade.cancel";
const REFUND: &str = "alipay.trade.refund";
const REFUND_QUERY: &str = "alipay.trade.fastpay.refund.query";

/// Alipay refuses a title with one of these.
const NOT_IN_A_TITLE: [char; 3] = ['/', '=', '&'];

/// Keys are PEM or bare Base64 as Alipay's console shows it, or the path of a file with either.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlipayConfig {
    /// `https://openapi.alipay.com/gateway.do`; while it is empty, Alipay's channels are called at the acquirer's address.
    pub gateway_url: String,
    #[serde(deserialize_with = "digits_or_number")]
    pub app_id: String,
    /// Ours, with which we sign.
    pub private_key: String,
    /// Alipay's, not the one that belongs to ours.
    pub public_key: String,
    /// Where Alipay tells of debits, with `{name}` for the channel; empty for nowhere.
    pub notify_url: String,
    /// What the merchant has contracted for debits: `GENERAL_WITHHOLDING` or `CYCLE_PAY_AUTH`.
    pub product_code: String,
    /// Some contracts want `deduct_pay` in a debit, others nothing.
    pub scene: String,
}

impl Default for AlipayConfig {
    fn default() -> Self {
        Self {
            gateway_url: String::new(),
            app_id: String::new(),
            private_key: String::new(),
            public_key: String::new(),
            notify_url: String::new(),
            product_code: "GENERAL_WITHHOLDING".to_owned(),
            scene: String::new(),
        }
    }
}

/// The environment gives what is all digits as a number. Alipay's never begin with a zero, which would be lost.
pub(crate) fn digits_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Digits {
        Text(String),
        Number(u64),
    }
    Ok(match Digits::deserialize(deserializer)? {
        Digits::Text(text) => text,
        Digits::Number(number) => number.to_string(),
    })
}

/// The private key is secret.
impl fmt::Debug for AlipayConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gateway_url, app_id, .. } = self;
        f.debug_struct("AlipayConfig").field("gateway_url", gateway_url).field("app_id", app_id).finish_non_exhaustive()
    }
}

/// The gateway, as far as we call it.
#[derive(Clone, Debug)]
pub(super) struct Alipay {
    http: Client,
    url: Url,
    private_key: PrivateKey,
    public_key: PublicKey,
    config: AlipayConfig,
}

impl Alipay {
    /// Nothing where it is not configured.
    pub fn new(http: Client, config: &AlipayConfig) -> Result<Option<Self>, CallsError> {
        let AlipayConfig { gateway_url, app_id, private_key, public_key, .. } = config;
        if gateway_url.is_empty() {
            return Ok(None);
        }
        let refused = |_| CallsError::Url { url: gateway_url.clone(), setting: "calls.alipay.gateway_url" };
        let mut url = Url::parse(gateway_url).map_err(refused)?;
        // Without this, the gateway takes the form for GBK.
        url.query_pairs_mut().append_pair("charset", "utf-8");
        if app_id.is_empty() {
            return Err(CallsError::Missing { setting: "calls.alipay.app_id" });
        }
        let key = |setting| move |source| CallsError::Key { setting, source };
        let private_key = PrivateKey::read(&key_text(private_key)).map_err(key("calls.alipay.private_key"))?;
        let public_key = PublicKey::read(&key_text(public_key)).map_err(key("calls.alipay.public_key"))?;
        Ok(Some(Self { http, url, private_key, public_key, config: config.clone() }))
    }

    pub fn has(&self, channel: &Name) -> bool {
        [MINI, WITHHOLDING].contains(&channel.as_str())
    }

    /// Number and amount are the same on every attempt, as Alipay asks (重试时请务必保证退款请求号和退款金额一致).
    pub async fn refund(&self, order: &RefundOrder) -> Movement<Refunded> {
        let mut content = of_trade(order);
        content["refund_amount"] = order.amount.to_string().into();
        match self.call(REFUND, &content, None).await {
            Ok(answer) => answer.refund(order),
            Err(why) => nothing(&why),
        }
    }

    pub async fn refund_result(&self, order: &RefundOrder) -> Movement<Refunded> {
        let mut content = of_trade(order);
        content["query_options"] = json!(["gmt_refund_pay"]);
        match self.call(REFUND_QUERY, &content, None).await {
            Ok(answer) => answer.refund_result(order),
            Err(why) => nothing(&why),
        }
    }

    /// The number is the trade's, on every attempt until the trade is cancelled: Alipay takes the money of a trade once.
    pub async fn debit(&self, channel: &Name, order: &DebitOrder) -> Movement<DebitEnd> {
        let mut content = json!({
            "out_trade_no": order.debit_no,
            "product_code": self.config.product_code,
            "subject": order.merchant.replace(NOT_IN_A_TITLE, " "),
            "total_amount": order.amount,
            "agreement_params": { "agreement_no": order.agreement_no },
        });
        if !self.config.scene.is_empty() {
            content["scene"] = self.config.scene.as_str().into();
        }
        match self.call(PAY, &content, Some(channel)).await {
            Ok(answer) => answer.debit(order),
            Err(why) => nothing(&why),
        }
    }

    pub async fn debit_result(&self, order: &DebitOrder) -> Movement<DebitEnd> {
        match self.trade(&order.debit_no).await {
            Ok(answer) => answer.debit_result(order),
            Err(why) => nothing(&why),
        }
    }

    /// Alipay closes the trade if it was not paid, and gives the money back if it was; once, however often it is called.
    pub async fn cancel(&self, order: &DebitOrder) -> Movement<DebitEnd> {
        let answer = match self.call(CANCEL, &json!({ "out_trade_no": order.debit_no }), None).await {
            Ok(answer) => answer.cancel(order),
            Err(why) => nothing(&why),
        };
        let Movement::Done(DebitEnd::GivenBack(debited)) = answer else { return answer };
        // Only the question tells when it had been taken.
        let counted = match self.debit_result(order).await {
            Movement::Done(DebitEnd::GivenBack(found)) => found.counted,
            _ => None,
        };
        Movement::Done(DebitEnd::GivenBack(Debited { counted, ..debited }))
    }

    pub async fn payment(&self, channel: &Name, order_no: &OrderId) -> PaymentAnswer {
        let answer = match self.trade(&DebitNo { order_no: order_no.clone(), cancelled: 0 }).await {
            Ok(answer) => answer,
            Err(why) => return PaymentAnswer::Unknown { code: why.code() },
        };
        let Some((trade_no, amount)) = answer.payment(order_no) else {
            return PaymentAnswer::Unknown { code: answer.why_unpaid() };
        };
        // A trade that is paid was paid by now.
        let captured_at = answer.paid_at().unwrap_or_else(|| shanghai(&Utc::now()));
        let capture = FoundCapture {
            channel: channel.clone(),
            channel_txn_no: trade_no,
            method: if channel.as_str() == WITHHOLDING { Method::Withholding } else { Method::Wallet },
            amount,
            business_date: None,
            captured_at,
            fee: None,
        };
        PaymentReply { result: PaymentResult::Captured, captures: vec![capture] }.into()
    }

    async fn trade(&self, number: &DebitNo) -> Result<Answer, NoAnswer> {
        self.call(QUERY, &json!({ "out_trade_no": number }), None).await
    }

    /// Calls, and has what Alipay signed of the answer. `told` is the channel whose door is to hear of it later.
    async fn call(&self, method: &str, content: &Value, told: Option<&Name>) -> Result<Answer, NoAnswer> {
        // The gateway compares this time with its own clock, so it is the real one, whatever time the business plays.
        let form = self.request(method, content, told, Utc::now())?;
        let request = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let (status, body) = body(request.body(form.encode())).await?;
        let body = String::from_utf8(body).map_err(|_| unreadable(status, &"it is not UTF-8"))?;
        let signed = match alipay::verify_response(&body, method, &self.public_key) {
            Err(SignatureError::Form(error)) => return Err(unreadable(status, &error)),
            signed => signed?,
        };
        tracing::debug!(method, "Alipay has answered");
        serde_json::from_str(signed).map_err(|error| unreadable(status, &error))
    }

    fn request(
        &self,
        method: &str,
        content: &Value,
        told: Option<&Name>,
        now: DateTime<Utc>,
    ) -> Result<Form, SignatureError> {
        let mut form = Form::new();
        form.push("app_id", &self.config.app_id)
            .push("method", method)
            .push("format", "JSON")
            .push("charset", "utf-8")
            .push("timestamp", shanghai(&now).format("%Y-%m-%d %H:%M:%S").to_string())
            .push("version", "1.0")
            .push("biz_content", content.to_string());
        if let Some(channel) = told.filter(|_| !self.config.notify_url.is_empty()) {
            form.push("notify_url", self.config.notify_url.replace(NAME, channel.as_str()));
        }
        alipay::sign_request(&mut form, &self.private_key)?;
        Ok(form)
    }
}

/// A refund of a trade, by the number that names the trade for certain: debits of one order may have several of ours.
fn of_trade(order: &RefundOrder) -> Value {
    let mut content = json!({ "out_request_no": order.refund_request_no });
    if order.channel.as_str() == WITHHOLDING {
        content["trade_no"] = order.channel_txn_no.as_str().into();
    } else {
        content["out_trade_no"] = order.order_no.as_str().into();
    }
    content
}

#[cfg(test)]
mod tests;
