//! What the executor asks of the outside, over HTTP: the result of a repayment at the bank, and refunds at the acquirer.
//!
//! Only an answer that can be read counts. A time-out, a broken connection, a 5xx or a page of some gateway says nothing
//! about what happened over there, so it is never taken for a "no".

use std::{path::PathBuf, time::Duration};

use engine::{
    postgres::explain,
    tls::{TlsError, Trust},
};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect::Policy};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::http;

mod acquirer;
mod bank;

pub use acquirer::{RefundAnswer, RefundOrder, RefundReply, RefundResult};
pub use bank::{BankAnswer, BankReply, BankResult, RepaymentQuestion};

/// The header that carries the name of a call, the same on every repeat.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Answers are a few lines of JSON; more than this is somebody else's page.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// The addresses have no default: nobody is called by accident.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallsConfig {
    pub bank_url: String,
    pub acquirer_url: String,
    /// How long an answer may take, in milliseconds, connecting included.
    pub timeout_ms: u64,
    /// A PEM file with authorities whose certificates count beside those that the system trusts; empty for none.
    pub ca_file: PathBuf,
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
            timeout_ms: 10_000,
            ca_file: PathBuf::new(),
        }
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CallsError {
    #[error(
        "{url:?} is not the address of an HTTP service; set calls.bank_url and calls.acquirer_url (LEDGER_CALLS__BANK_URL, LEDGER_CALLS__ACQUIRER_URL), or try `ledger up --sandbox`"
    )]
    Url { url: String },
    #[error("calls.ca_file (LEDGER_CALLS__CA_FILE) cannot be used")]
    Tls(#[from] TlsError),
    #[error("the HTTP client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
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
}

impl NoAnswer {
    fn code(&self) -> String {
        match self {
            Self::Timeout => "TIMEOUT".to_owned(),
            Self::Connection(_) => "CONNECTION".to_owned(),
            Self::Status(status) => format!("HTTP_{status}"),
            Self::Unreadable(_) => "UNREADABLE".to_owned(),
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
}

impl Calls {
    /// # Errors
    /// An address is none, or the file of authorities cannot be used. Nobody is called yet.
    pub fn new(mut config: CallsConfig) -> Result<Self, CallsError> {
        for url in [&mut config.bank_url, &mut config.acquirer_url] {
            if !Url::parse(url).is_ok_and(|url| url.has_host()) {
                return Err(CallsError::Url { url: url.clone() });
            }
            url.truncate(url.trim_end_matches('/').len());
        }
        let mut trust = Trust::system();
        if !config.ca_file.as_os_str().is_empty() {
            trust = trust.and_file(&config.ca_file)?;
        }
        // A redirect is no answer.
        let http = http::client(trust)?.timeout(config.timeout()).redirect(Policy::none()).build()?;
        Ok(Self { http, config })
    }

    pub fn config(&self) -> &CallsConfig {
        &self.config
    }

    /// Asks the bank whether it booked a repayment. Asking changes nothing, so it may be asked again.
    pub async fn repayment_result(&self, question: &RepaymentQuestion) -> BankAnswer {
        let request = self.http.post(format!("{}/repayment-results", self.config.bank_url)).json(question);
        match answer::<BankReply>(request).await {
            Ok(reply) => reply.into(),
            Err(why) => {
                tracing::warn!(order = %question.order_no, %why, "the bank did not answer");
                BankAnswer::Unreachable { code: why.code() }
            }
        }
    }

    /// Sends a refund. The same request number may be sent again: the acquirer moves the money once.
    pub async fn refund(&self, order: &RefundOrder) -> RefundAnswer {
        let url = format!("{}/refunds", self.config.acquirer_url);
        let request = self.http.post(url).header(IDEMPOTENCY_KEY, &order.refund_request_no).json(order);
        match answer::<RefundReply>(request).await {
            Ok(reply) => reply.answers_the_order(),
            Err(why) => RefundAnswer::Unknown { why: why.to_string() },
        }
    }

    /// Asks what became of a refund. Asking moves no money.
    pub async fn refund_result(&self, refund_request_no: &str) -> RefundAnswer {
        let request = self.http.get(format!("{}/refunds/{refund_request_no}", self.config.acquirer_url));
        match answer::<RefundReply>(request).await {
            Ok(reply) => reply.answers_the_query(),
            Err(why) => RefundAnswer::Unknown { why: why.to_string() },
        }
    }
}

async fn answer<R: DeserializeOwned>(request: RequestBuilder) -> Result<R, NoAnswer> {
    let response = request.send().await?;
    let status = response.status();
    if status.is_server_error() || status.is_redirection() {
        return Err(NoAnswer::Status(status.as_u16()));
    }
    let body = read(response).await?;
    serde_json::from_slice(&body).map_err(|error| unreadable(status, &error))
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
fn unreadable(status: StatusCode, error: &serde_json::Error) -> NoAnswer {
    if status.is_success() { NoAnswer::Unreadable(error.to_string()) } else { NoAnswer::Status(status.as_u16()) }
}

#[cfg(test)]
mod tests;
