//! What a school does with money that was paid for it: its card host credits a card (增款), its fee system posts a payment
//! (入账). Neither interface is public, so these are ours; a school adapts to them, or puts an adapter before its systems.

use schemas::{
    Amount, OrderId, Stream,
    events::{CreditMode, FeeLine},
};
use serde::{Deserialize, Serialize};

use super::movement::{MovementResult, Reply};

/// `POST {card_host}/credits`. Which card that is, the host knows by the order, which it has seen before; or by the stream,
/// for which `POST /v1/streams` gives the one of a card number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreditOrder {
    pub credit_no: String,
    pub order_no: OrderId,
    pub card: Stream,
    pub amount: Amount,
}

/// The answer to a credit and to `GET {card_host}/credits/{credit_no}`, on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreditReply {
    pub result: MovementResult,
    /// Whether the value can be spent at once or must be written to the card first; `online` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CreditMode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ref: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_after: Option<Amount>,
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub message: String,
    /// Whether the same may succeed later; if not, the money goes back.
    #[serde(default)]
    pub retryable: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Credited {
    pub mode: CreditMode,
    pub host_ref: Option<String>,
    pub balance_after: Option<Amount>,
}

impl Reply for CreditReply {
    type Done = Credited;

    fn result(&self) -> MovementResult {
        self.result
    }

    fn refusal(&self) -> (&str, &str, bool) {
        (&self.code, &self.message, self.retryable)
    }

    fn done(self) -> Credited {
        let mode = self.mode.unwrap_or(CreditMode::Online);
        Credited { mode, host_ref: self.host_ref, balance_after: self.balance_after }
    }
}

/// `POST {school}/postings`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostingOrder {
    pub posting_no: String,
    pub order_no: OrderId,
    /// The student's fee account.
    pub account: Stream,
    pub lines: Vec<FeeLine>,
}

/// The answer to a posting and to `GET {school}/postings/{posting_no}`, on the wire. A line that is not listed was not
/// posted, and its money goes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostingReply {
    pub result: MovementResult,
    #[serde(default)]
    pub posted: Vec<PostedLine>,
    /// Why the others were not posted, or all of them.
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub retryable: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostedLine {
    pub line: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub school_ref: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    pub posted: Vec<PostedLine>,
    pub code: String,
    pub message: String,
}

impl Reply for PostingReply {
    type Done = Posted;

    fn result(&self) -> MovementResult {
        self.result
    }

    fn refusal(&self) -> (&str, &str, bool) {
        (&self.code, &self.message, self.retryable)
    }

    fn done(self) -> Posted {
        Posted { posted: self.posted, code: self.code, message: self.message }
    }
}
