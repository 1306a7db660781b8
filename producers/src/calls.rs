//! What the executor asks of the outside, over HTTP: the result of a repayment at the bank; payments, debits and refunds at
//! the channels; credits at the card host; postings at the school.
//!
//! Only an answer that can be read counts. A time-out, a broken connection, a 5xx or a page of some gateway says nothing
//! about what happened over there, so it is never taken for a "no".

use std::{fmt, path::PathBuf, time::Duration};

use engine::{
    postgres::explain,
    tls::{TlsError, Trust},
};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect::Policy};
use rules::coordinator::Call;
use schemas::{Name, OrderId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use self::alipay::Alipay;
use crate::{
    http,
    signature::{KeyError, SignatureError},
};

mod acquirer;
mod alipay;
mod bank;
mod fulfilment;
mod movement;

pub use acquirer::{
    Counted, DebitEnd, DebitNo, DebitOrder, DebitReply, Debited, FoundCapture, PaymentAnswer, PaymentReply,
    PaymentResult, RefundOrder, RefundReply, Refunded,
};
pub use alipay::AlipayConfig;
pub(crate) use alipay::digits_or_number;
pub use bank::{BankAnswer, BankReply, BankResult, RepaymentQuestion};
pub use fulfilment::{CreditOrder, CreditReply, Credited, Posted, PostedLine, PostingOrder, PostingReply};
pub use movement::{Movement, MovementResult, Reply};

/// The header that carries the name of a call, the same on every repeat.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Answers are a few lines of JSON; more than this is somebody else's page.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// The addresses have no default: nobody is called by accident. `{name}` in an address stands for the name of the channel
/// or school that is called, where there are several.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallsConfig {
    /// Result queries of repayments.
    pub bank_url: String,
    /// Payment queries, debits and refunds, but for those that go to Alipay.
    pub acquirer_url: String,
    /// Credits of cards.
    pub card_host_url: String,
    /// Postings of fees.
    pub school_url: String,
    /// How long an answer may take, in milliseconds, connecting included.
    pub timeout_ms: u64,
    /// A PEM file with authorities whose certificates count beside those that the system trusts; empty for none.
    pub ca_file: PathBuf,
    /// The channels `alipay-mini` and `alipay-withholding`, by Alipay's own protocol.
    pub alipay: AlipayConfig,
}

impl Default for CallsConfig {
    fn default() -> Self {
        Self::new("", "")
    }
}

impl CallsConfig {
    pub fn new(bank_url: impl Into<String>, acquirer_url: impl Into<String>) -> Self {
        Self {
            bank_url: bank_url.into(),
            acquirer_url: acquirer_url.into(),
            card_host_url: String::new(),
            school_url: String::new(),
            timeout_ms: 10_000,
            ca_file: PathBuf::new(),
            alipay: AlipayConfig::default(),
        }
    }

    /// The addresses of those who are called, each with the name of its setting.
    pub fn addresses(&mut self) -> impl Iterator<Item = (&'static str, &mut String)> {
        [
            ("calls.bank_url", &mut self.bank_url),
            ("calls.acquirer_url", &mut self.acquirer_url),
            ("calls.alipay.gateway_url", &mut self.alipay.gateway_url),
            ("calls.card_host_url", &mut self.card_host_url),
            ("calls.school_url", &mut self.school_url),
        ]
        .into_iter()
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CallsError {
    #[error(
        "{url:?} is not the address of an HTTP service; set {setting} ({variable}), or try `ledger up --sandbox`",
        variable = variable(setting)
    )]
    Url { url: String, setting: &'static str },
    #[error(
        "nobody can be called: set calls.bank_url, calls.acquirer_url, calls.alipay.gateway_url, calls.card_host_url or calls.school_url (LEDGER_CALLS__BANK_URL and so on), or try `ledger up --sandbox`"
    )]
    Nobody,
    #[error("set {setting} ({variable}) as well", variable = variable(setting))]
    Missing { setting: &'static str },
    #[error(
        "{setting} ({variable}) is neither a key nor the path of a file with one",
        variable = variable(setting)
    )]
    Key { setting: &'static str, source: KeyError },
    #[error("calls.ca_file (LEDGER_CALLS__CA_FILE) cannot be used")]
    Tls(#[from] TlsError),
    #[error("the HTTP client cannot be built")]
    Client(#[from] reqwest::Error),
}

/// How the environment names a setting.
fn variable(setting: &str) -> String {
    format!("LEDGER_{}", setting.to_uppercase().replace('.', "__"))
}

/// Nobody has been told where to call; nothing has gone out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("set {setting} ({})", variable(setting))]
pub struct NoAddress {
    setting: &'static str,
}

/// Why a call has no answer that counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum NoAnswer {
    #[error("no answer in time")]
    Timeout,
    #[error("the connection broke: {0}")]
    Connection(String),
    #[error("the answer was HTTP {0}")]
    Status(u16),
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
    #[error("the answer is not signed as it must be: {0}")]
    Signature(#[from] SignatureError),
}

impl NoAnswer {
    fn code(&self) -> String {
        match self {
            Self::Timeout => "TIMEOUT".to_owned(),
            Self::Connection(_) => "CONNECTION".to_owned(),
            Self::Status(status) => format!("HTTP_{status}"),
            Self::Unreadable(_) => "UNREADABLE".to_owned(),
            Self::Signature(_) => "SIGNATURE".to_owned(),
        }
    }
}

impl From<reqwest::Error> for NoAnswer {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() { Self::Timeout } else { Self::Connection(explain(&error.without_url())) }
    }
}

/// The outside, as far as we call it.
#[derive(Clone, Debug)]
pub struct Calls {
    http: Client,
    config: CallsConfig,
    alipay: Option<Alipay>,
}

impl Calls {
    /// # Errors
    /// An address is none, or the file of authorities cannot be used. Nobody is called yet.
    pub fn new(mut config: CallsConfig) -> Result<Self, CallsError> {
        let mut known = 0;
        for (setting, url) in config.addresses().filter(|(_, url)| !url.is_empty()) {
            if !Url::parse(&url.replace(NAME, "name"))
                .is_ok_and(|url| url.has_host() && url.scheme().starts_with("http"))
            {
                return Err(CallsError::Url { url: url.clone(), setting });
            }
            url.truncate(url.trim_end_matches('/').len());
            known += 1;
        }
        if known == 0 {
            return Err(CallsError::Nobody);
        }
        let mut trust = Trust::system();
        if !config.ca_file.as_os_str().is_empty() {
            trust = trust.and_file(&config.ca_file)?;
        }
        // A redirect is no answer.
        let http = http::client(trust)?.timeout(config.timeout()).redirect(Policy::none()).build()?;
        let alipay = Alipay::new(http.clone(), &config.alipay)?;
        Ok(Self { http, config, alipay })
    }

    /// The gateway of a channel that speaks Alipay's protocol; the others are called at the acquirer's address.
    fn alipay(&self, channel: &Name) -> Option<&Alipay> {
        self.alipay.as_ref().filter(|alipay| alipay.has(channel))
    }

    pub fn config(&self) -> &CallsConfig {
        &self.config
    }

    /// Whether an address is known for a call.
    ///
    /// # Errors
    /// None is: the setting that would say it.
    pub fn check(&self, call: &Call) -> Result<(), NoAddress> {
        let (url, setting) = match call {
            Call::QueryConfirmation { .. } => (&self.config.bank_url, "calls.bank_url"),
            Call::CreditCard { .. } => (&self.config.card_host_url, "calls.card_host_url"),
            Call::PostFees { .. } => (&self.config.school_url, "calls.school_url"),
            Call::QueryPayment { channel, .. } | Call::Debit { channel, .. } | Call::Refund { channel, .. } => {
                if self.alipay(channel).is_some() {
                    return Ok(());
                }
                (&self.config.acquirer_url, "calls.acquirer_url")
            }
        };
        if url.is_empty() { Err(NoAddress { setting }) } else { Ok(()) }
    }

    /// Asks the bank whether it booked a repayment. Asking changes nothing, so it may be asked again.
    pub async fn repayment_result(&self, bank: &Name, question: &RepaymentQuestion) -> BankAnswer {
        let request = self.http.post(address(&self.config.bank_url, bank, "repayment-results")).json(question);
        match answer::<BankReply>(request).await {
            Ok(reply) => reply.into(),
            Err(why) => {
                tracing::warn!(order = %question.order_no, %why, "the bank did not answer");
                BankAnswer::Unreachable { code: why.code() }
            }
        }
    }

    /// Asks a channel what has been paid of an order. Asking changes nothing.
    pub async fn payment(&self, channel: &Name, order_no: &OrderId) -> PaymentAnswer {
        if let Some(alipay) = self.alipay(channel) {
            return alipay.payment(channel, order_no).await;
        }
        let request = self.http.get(address(&self.config.acquirer_url, channel, &format!("payments/{order_no}")));
        match answer::<PaymentReply>(request).await {
            Ok(reply) => reply.into(),
            Err(why) => PaymentAnswer::Unknown { code: why.code() },
        }
    }

    /// Sends a refund. The same request number may be sent again: the acquirer moves the money once.
    pub async fn refund(&self, order: &RefundOrder) -> Movement<Refunded> {
        if let Some(alipay) = self.alipay(&order.channel) {
            return alipay.refund(order).await;
        }
        let url = address(&self.config.acquirer_url, &order.channel, "refunds");
        self.order::<RefundReply>(url, &order.refund_request_no, order).await
    }

    /// Asks what became of a refund. Asking moves no money.
    pub async fn refund_result(&self, order: &RefundOrder) -> Movement<Refunded> {
        if let Some(alipay) = self.alipay(&order.channel) {
            return alipay.refund_result(order).await;
        }
        let path = format!("refunds/{}", order.refund_request_no);
        self.question::<RefundReply>(address(&self.config.acquirer_url, &order.channel, &path)).await
    }

    /// Debits a holder. Sent again under the same number, the money moves once.
    pub async fn debit(&self, channel: &Name, order: &DebitOrder) -> Movement<DebitEnd> {
        if let Some(alipay) = self.alipay(channel) {
            return alipay.debit(channel, order).await;
        }
        let url = address(&self.config.acquirer_url, channel, "debits");
        self.order::<DebitReply>(url, &order.debit_no.to_string(), order).await
    }

    pub async fn debit_result(&self, channel: &Name, order: &DebitOrder) -> Movement<DebitEnd> {
        if let Some(alipay) = self.alipay(channel) {
            return alipay.debit_result(order).await;
        }
        let path = format!("debits/{}", order.debit_no);
        self.question::<DebitReply>(address(&self.config.acquirer_url, channel, &path)).await
    }

    /// Undoes a debit of which nothing could be learnt, whatever became of it; nothing where the channel has no such call.
    /// Sent again under the same number, it is undone once.
    pub async fn cancel_debit(&self, channel: &Name, order: &DebitOrder) -> Option<Movement<DebitEnd>> {
        Some(self.alipay(channel)?.cancel(order).await)
    }

    /// Lets a card host credit a card. Sent again under the same number, it credits once.
    pub async fn credit(&self, school: &Name, order: &CreditOrder) -> Movement<Credited> {
        let url = address(&self.config.card_host_url, school, "credits");
        self.order::<CreditReply>(url, &order.credit_no, order).await
    }

    pub async fn credit_result(&self, school: &Name, credit_no: &str) -> Movement<Credited> {
        let url = address(&self.config.card_host_url, school, &format!("credits/{credit_no}"));
        self.question::<CreditReply>(url).await
    }

    /// Lets a school post a payment to its fee items. Sent again under the same number, it posts once.
    pub async fn post_fees(&self, school: &Name, order: &PostingOrder) -> Movement<Posted> {
        let url = address(&self.config.school_url, school, "postings");
        self.order::<PostingReply>(url, &order.posting_no, order).await
    }

    pub async fn posting_result(&self, school: &Name, posting_no: &str) -> Movement<Posted> {
        let url = address(&self.config.school_url, school, &format!("postings/{posting_no}"));
        self.question::<PostingReply>(url).await
    }

    async fn order<R: Reply>(&self, url: String, key: &str, order: &impl Serialize) -> Movement<R::Done> {
        let request = self.http.post(url).header(IDEMPOTENCY_KEY, key).json(order);
        match answer::<R>(request).await {
            Ok(reply) => movement::of_an_order(reply),
            Err(why) => Movement::Unknown { why: why.to_string(), code: why.code() },
        }
    }

    async fn question<R: Reply>(&self, url: String) -> Movement<R::Done> {
        match answer::<R>(self.http.get(url)).await {
            Ok(reply) => movement::of_a_question(reply),
            Err(why) => Movement::Unknown { why: why.to_string(), code: why.code() },
        }
    }
}

/// What an address holds in place of the name of whom it belongs to.
const NAME: &str = "{name}";

fn address(url: &str, party: &Name, path: &str) -> String {
    format!("{}/{path}", url.replace(NAME, party.as_str()))
}

async fn answer<R: DeserializeOwned>(request: RequestBuilder) -> Result<R, NoAnswer> {
    let (status, body) = body(request).await?;
    serde_json::from_slice(&body).map_err(|error| unreadable(status, &error))
}

async fn body(request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), NoAnswer> {
    let response = request.send().await?;
    let status = response.status();
    if status.is_server_error() || status.is_redirection() {
        return Err(NoAnswer::Status(status.as_u16()));
    }
    Ok((status, read(response).await?))
}

async fn read(mut response: Response) -> Result<Vec<u8>, NoAnswer> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(NoAnswer::Unreadable(format!("it is longer than {ANSWER_BYTES_MAX} bytes")));
        }
    }
    Ok(body)
}

/// A refusal counts in its own words only: a bare 404 may come from a wrong address, a bare 429 from a gateway.
fn unreadable(status: StatusCode, error: &impl fmt::Display) -> NoAnswer {
    if status.is_success() { NoAnswer::Unreadable(error.to_string()) } else { NoAnswer::Status(status.as_u16()) }
}

#[cfg(test)]
mod tests;
