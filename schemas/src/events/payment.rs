//! The money leg: what the channel did with the payer's money.

use std::borrow::Cow;

use chrono::{DateTime, FixedOffset, NaiveDate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CreditMode, Evidence, Method, Payload, named, parts, positive, words};
use crate::{Amount, Name, StreamKind};

/// A payment was started at the channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentInitiated {
    /// The attempt within its order, from 1.
    pub attempt: u16,
    pub method: Method,
    pub amount: Amount,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_order_no: Option<String>,
}

impl Payload for PaymentInitiated {
    const TYPE: &'static str = "ledger.payment.initiated.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject, self.attempt]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

/// Where a card or code was presented.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Terminal {
    /// Merchant number (15 characters).
    pub merchant_id: String,
    /// Terminal number (8 characters).
    pub terminal_id: String,
    /// Batch number of the terminal's sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_no: Option<String>,
    /// Voucher or trace number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_no: Option<String>,
    /// Retrieval reference number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_no: Option<String>,
}

/// The channel took money from the payer (交易成功). The id of this event is the id of the capture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentCaptured {
    pub channel: Name,
    /// The channel's own number of the transaction: it tells captures apart.
    pub channel_txn_no: String,
    pub method: Method,
    pub amount: Amount,
    /// The channel's accounting day.
    #[serde(deserialize_with = "crate::calendar::date")]
    pub business_date: NaiveDate,
    /// The channel's fee, where it is told with the capture; settlement decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Amount>,
    /// First six and last four digits at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrument_masked: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Terminal>,
    pub evidence: Evidence,
}

/// A masked card shows at most ten digits; a number with more would be a personal one.
fn shows_a_whole_number(masked: &str) -> bool {
    masked.bytes().filter(u8::is_ascii_digit).count() > 10
}

impl Payload for PaymentCaptured {
    const TYPE: &'static str = "ledger.payment.captured.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.channel, self.channel_txn_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        if self.instrument_masked.as_deref().is_some_and(shows_a_whole_number) {
            return Err("instrument_masked shows more than ten digits");
        }
        positive(self.amount)
    }
}

/// The channel refused the payment; no money was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentDeclined {
    pub attempt: u16,
    pub response_code: String,
    pub message: String,
    pub evidence: Evidence,
}

impl Payload for PaymentDeclined {
    const TYPE: &'static str = "ledger.payment.declined.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject, self.attempt]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

/// Nobody knows yet whether money was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentOutcomeUnknown {
    pub attempt: u16,
    /// How often the channel has been asked so far.
    pub tries: u8,
    pub response_code: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::calendar::optional_time")]
    pub next_query_at: Option<DateTime<FixedOffset>>,
}

impl Payload for PaymentOutcomeUnknown {
    const TYPE: &'static str = "ledger.payment.outcome-unknown.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject, self.attempt, self.tries]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

words! {
    /// Why a payment was reversed.
    ReversalReason {
        Timeout = "timeout",
        /// The operator synchronised an abnormal transaction (同步处理进行冲正).
        OperatorSync = "operator_sync",
        CancelApi = "cancel_api",
    }
}

/// The channel undid a payment in full (冲正).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentReversed {
    pub channel: Name,
    pub attempt: u16,
    /// The capture that was undone; absent when nothing had been charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_id: Option<Uuid>,
    /// The full captured amount, or 0.00 when the channel had charged nothing.
    pub amount: Amount,
    pub reason: ReversalReason,
    /// How the payer had paid; must be told for a debit by withholding, whose money was the receivable's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    pub channel_txn_no: String,
    #[serde(deserialize_with = "crate::calendar::date")]
    pub business_date: NaiveDate,
    pub evidence: Evidence,
}

impl Payload for PaymentReversed {
    const TYPE: &'static str = "ledger.payment.reversed.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.channel, subject, self.channel_txn_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        match (self.capture_id, self.amount.is_zero()) {
            (None, false) => Err("a reversal of money must name the capture_id that it undoes"),
            (Some(_), true) => Err("a reversal of a capture is always in full, so its amount may not be 0.00"),
            (None, true) | (Some(_), false) => Ok(()),
        }
    }
}

/// The channel did not undo the payment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PaymentReversalFailed {
    pub attempt: u16,
    /// Which try this was, from 1.
    pub tries: u8,
    pub code: String,
    pub retryable: bool,
}

impl Payload for PaymentReversalFailed {
    const TYPE: &'static str = "ledger.payment.reversal-failed.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject, self.attempt, self.tries]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.code]
    }
}

/// The card issuer took a captured amount back (退单); the money is disputed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChargebackReceived {
    pub channel: Name,
    pub case_no: String,
    pub capture_id: Uuid,
    pub amount: Amount,
    pub reason_code: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::calendar::optional_time")]
    pub due_at: Option<DateTime<FixedOffset>>,
    #[serde(deserialize_with = "crate::calendar::date")]
    pub business_date: NaiveDate,
}

impl Payload for ChargebackReceived {
    const TYPE: &'static str = "ledger.chargeback.received.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.channel, self.case_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.capture_id, self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

/// We answered a chargeback with evidence (再请款).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChargebackRepresented {
    pub channel: Name,
    pub case_no: String,
    /// SHA-256 of the evidence, in hexadecimal. A reprinted slip is not accepted as evidence.
    pub evidence_sha256: String,
}

impl Payload for ChargebackRepresented {
    const TYPE: &'static str = "ledger.chargeback.represented.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.channel, self.case_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

words! {
    /// How a dispute ended for us.
    DisputeOutcome { Won = "won", Lost = "lost" }
}

words! {
    /// Who bears a lost dispute or a fee.
    Bearer { Operator = "operator", Beneficiary = "beneficiary" }
}

/// A chargeback was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChargebackClosed {
    pub channel: Name,
    pub case_no: String,
    pub amount: Amount,
    pub outcome: DisputeOutcome,
    /// Who bears it when it is lost.
    pub borne_by: Bearer,
    /// The bank or school that the order's money was for.
    pub beneficiary: Name,
    /// For a top-up: whether it was still waiting to be loaded. `online` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CreditMode>,
    /// For a fee that the school bears: the item and year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_item: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_year: Option<u16>,
    /// For a purchase whose debit was disputed: the merchant, where it is the one that bears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<String>,
    #[serde(deserialize_with = "crate::calendar::date")]
    pub business_date: NaiveDate,
}

impl ChargebackClosed {
    /// What a lost dispute takes back from the beneficiary; nothing if it was won, or is the operator's loss.
    pub fn borne_by_beneficiary(&self) -> Amount {
        match (self.outcome, self.borne_by) {
            (DisputeOutcome::Lost, Bearer::Beneficiary) => self.amount,
            (DisputeOutcome::Lost, Bearer::Operator) | (DisputeOutcome::Won, _) => Amount::ZERO,
        }
    }
}

impl Payload for ChargebackClosed {
    const TYPE: &'static str = "ledger.chargeback.closed.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.channel, self.case_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount, self.outcome, self.borne_by]
    }
    fn check(&self, on: Option<StreamKind>) -> Result<(), &'static str> {
        let of_an_item = self.fee_item.is_some() && self.billing_year.is_some();
        if on == Some(StreamKind::Fees) && self.borne_by == Bearer::Beneficiary && !of_an_item {
            return Err("a lost dispute that the school bears names its fee_item and billing_year");
        }
        named([self.fee_item.as_deref(), self.merchant.as_deref()])?;
        positive(self.amount)
    }
}
