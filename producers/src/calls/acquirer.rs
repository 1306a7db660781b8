//! The acquirer's side: what was paid, refunds, and debits under a mandate.

use std::{fmt, str::FromStr};

use chrono::{DateTime, FixedOffset, NaiveDate};
use schemas::{Amount, Name, OrderId, events::Method};
use serde::{Deserialize, Serialize};

use super::movement::{MovementResult, Reply};

/// `POST {acquirer}/refunds`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefundOrder {
    pub refund_request_no: String,
    pub channel: Name,
    pub channel_txn_no: String,
    pub order_no: OrderId,
    pub amount: Amount,
}

/// The answer to a refund and to `GET {acquirer}/refunds/{refund_request_no}`, on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefundReply {
    pub result: MovementResult,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_no: Option<String>,
    /// The acquirer's accounting day of the refund.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_date: Option<NaiveDate>,
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub message: String,
    /// Whether the same refund may succeed later; a person looks at it when the acquirer does not say.
    #[serde(default)]
    pub retryable: bool,
}

/// The payer has the money back.
#[derive(Clone, Debug, PartialEq)]
pub struct Refunded {
    pub refund_no: Option<String>,
    pub counted: Option<Counted>,
}

/// In which of its days a channel counts something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Counted {
    /// As the channel says.
    On(NaiveDate),
    /// The channel says the time; the day follows from its cutover.
    At(DateTime<FixedOffset>),
}

impl Reply for RefundReply {
    type Done = Refunded;

    fn result(&self) -> MovementResult {
        self.result
    }

    fn refusal(&self) -> (&str, &str, bool) {
        (&self.code, &self.message, self.retryable)
    }

    fn done(self) -> Refunded {
        Refunded { refund_no: self.refund_no, counted: self.business_date.map(Counted::On) }
    }
}

/// What names a debit: the order, so that no purchase is debited twice, however often it is tried. A cancelled debit has used
/// its number up; the attempts that follow share another, such as `…_2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DebitNo {
    pub order_no: OrderId,
    /// The last attempt that was cancelled, 0 for none.
    pub cancelled: u16,
}

impl fmt::Display for DebitNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cancelled {
            0 => write!(f, "{}", self.order_no),
            cancelled => write!(f, "{}_{}", self.order_no, u32::from(cancelled) + 1),
        }
    }
}

impl FromStr for DebitNo {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (order_no, next) = text.split_once('_').unwrap_or((text, "1"));
        let cancelled = next.parse::<u32>().ok().and_then(|next| u16::try_from(next.checked_sub(1)?).ok());
        let (Ok(order_no), Some(cancelled)) = (order_no.parse(), cancelled) else { return Err("no number of a debit") };
        // It has one spelling.
        Some(Self { order_no, cancelled }).filter(|read| read.to_string() == text).ok_or("no number of a debit")
    }
}

impl TryFrom<String> for DebitNo {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DebitNo> for String {
    fn from(number: DebitNo) -> Self {
        number.to_string()
    }
}

/// `POST {acquirer}/debits`: take from the holder what was bought with the card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DebitOrder {
    pub debit_no: DebitNo,
    pub agreement_no: String,
    pub school: Name,
    pub merchant: String,
    pub amount: Amount,
}

/// The answer to a debit and to `GET {acquirer}/debits/{debit_no}`, on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DebitReply {
    pub result: MovementResult,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_txn_no: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_date: Option<NaiveDate>,
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub message: String,
}

/// The holder was debited.
#[derive(Clone, Debug, PartialEq)]
pub struct Debited {
    /// The channel's number; without one, the debit's own tells debits apart.
    pub channel_txn_no: Option<String>,
    pub counted: Option<Counted>,
}

/// How a debit ended, if it was not refused.
#[derive(Clone, Debug, PartialEq)]
pub enum DebitEnd {
    Taken(Debited),
    /// Taken, and all of it went back without a refund of ours.
    GivenBack(Debited),
    /// Nothing was taken, and nothing can be under this number any more.
    Closed,
}

impl Reply for DebitReply {
    type Done = DebitEnd;

    fn result(&self) -> MovementResult {
        self.result
    }

    fn refusal(&self) -> (&str, &str, bool) {
        (&self.code, &self.message, true)
    }

    fn done(self) -> DebitEnd {
        let counted = self.business_date.map(Counted::On);
        DebitEnd::Taken(Debited { channel_txn_no: self.channel_txn_no, counted })
    }
}

/// `GET {acquirer}/payments/{order_no}`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaymentReply {
    pub result: PaymentResult,
    #[serde(default)]
    pub captures: Vec<FoundCapture>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentResult {
    Captured,
    NotFound,
}

/// A capture as a query finds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoundCapture {
    pub channel: Name,
    pub channel_txn_no: String,
    pub method: Method,
    pub amount: Amount,
    /// Without one, the channel's cutover decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_date: Option<NaiveDate>,
    pub captured_at: DateTime<FixedOffset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Amount>,
}

/// What the channel says about the payment of an order, or that it says nothing. "Not found" may be too early, so it is no
/// "no" either.
#[derive(Clone, Debug, PartialEq)]
pub enum PaymentAnswer {
    Paid(Vec<FoundCapture>),
    Unknown { code: String },
}

impl From<PaymentReply> for PaymentAnswer {
    fn from(reply: PaymentReply) -> Self {
        // Nobody can say what a capture of nothing means.
        let sound = reply.captures.iter().all(|capture| !capture.amount.is_zero());
        match reply.result {
            PaymentResult::Captured if sound && !reply.captures.is_empty() => Self::Paid(reply.captures),
            PaymentResult::Captured => Self::Unknown { code: "CAPTURED_NOTHING".to_owned() },
            PaymentResult::NotFound => Self::Unknown { code: "NOT_FOUND".to_owned() },
        }
    }
}
