//! Refunds: asked for by people and channels, initiated by the coordinator alone, carried out by the executor.

use std::borrow::Cow;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{About, Evidence, Method, Payload, parts, positive, words};
use crate::{Amount, Name, StreamKind};

words! {
    /// Why money goes back. Data only: a refund is identified by its capture and slot.
    RefundReason {
        ConfirmationFailed = "confirmation_failed",
        DuplicateCapture = "duplicate_capture",
        AmountMismatch = "amount_mismatch",
        LateCapture = "late_capture",
        /// The channel could not undo the payment.
        ReversalFailed = "reversal_failed",
        /// Money arrived for an order that had been refused.
        OrderRejected = "order_rejected",
        /// Only the channel's statement knows the payment, and nobody has said whose it is.
        UnknownOrder = "unknown_order",
        Customer = "customer",
        Dispute = "dispute",
    }
}

words! {
    /// Who asked for a refund.
    RefundOrigin { Saga = "saga", Customer = "customer", Operator = "operator", File = "file" }
}

/// A person or a channel asks for a refund.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundRequested {
    pub refund_id: Uuid,
    pub capture_id: Uuid,
    pub amount: Amount,
    pub reason: RefundReason,
    pub by: RefundOrigin,
}

impl Payload for RefundRequested {
    const TYPE: &'static str = "ledger.refund.requested.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.refund_id]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.capture_id, self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

words! {
    /// Why a refund is refused.
    RefundRejectionReason {
        /// More than is left of the capture.
        AboveRefundable = "ABOVE_REFUNDABLE",
        /// The order has no such capture.
        CaptureNotFound = "CAPTURE_NOT_FOUND",
        /// The bank has booked it; the booking must be revoked first.
        AlreadyFulfilled = "ALREADY_FULFILLED",
        /// The id is the one of the ledger's own refund.
        ReservedId = "RESERVED_ID",
        /// The bank's answer is still open or uncertain.
        OutcomeOpen = "OUTCOME_OPEN",
    }
}

/// The coordinator refused a refund that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundRejected {
    pub refund_id: Uuid,
    pub reason: RefundRejectionReason,
    pub message: String,
}

impl Payload for RefundRejected {
    const TYPE: &'static str = "ledger.refund.rejected.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.refund_id]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.reason]
    }
}

/// The coordinator decided that money goes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundInitiated {
    pub refund_id: Uuid,
    pub capture_id: Uuid,
    pub channel: Name,
    pub amount: Amount,
    pub reason: RefundReason,
    pub by: RefundOrigin,
    /// `withholding` where the money is owed out of the holder's receivable; absent everywhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
}

impl Payload for RefundInitiated {
    const TYPE: &'static str = "ledger.refund.initiated.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.refund_id]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.capture_id, self.amount]
    }
}

/// The refund is about to be sent to the channel: from here on it cannot be cancelled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundSubmitted {
    pub refund_id: Uuid,
    /// The number that names this refund to the channel, the same on every try.
    pub refund_request_no: String,
    /// Which try this is, from 1.
    pub tries: u8,
}

impl Payload for RefundSubmitted {
    const TYPE: &'static str = "ledger.refund.submitted.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.refund_id, self.tries]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.refund_request_no]
    }
}

/// The payer has the money back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundCompleted {
    pub refund_id: Uuid,
    pub channel: Name,
    pub amount: Amount,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_refund_no: Option<String>,
    /// The fee that the channel gave back inside this refund; absent when settlement gives it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_netted: Option<Amount>,
    #[serde(deserialize_with = "crate::calendar::date")]
    pub business_date: NaiveDate,
    pub evidence: Evidence,
}

impl Payload for RefundCompleted {
    const TYPE: &'static str = "ledger.refund.completed.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.refund_id]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.channel, self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

/// The channel definitely did not refund on this try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundFailed {
    pub refund_id: Uuid,
    pub tries: u8,
    pub code: String,
    pub message: String,
    pub retryable: bool,
    pub evidence: Evidence,
}

impl Payload for RefundFailed {
    const TYPE: &'static str = "ledger.refund.failed.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.refund_id, self.tries]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.retryable]
    }
}

/// A completed refund bounced: the money came back to the channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundReturned {
    pub refund_id: Uuid,
    pub channel: Name,
    pub amount: Amount,
    pub return_no: String,
    pub reason: String,
    #[serde(deserialize_with = "crate::calendar::date")]
    pub business_date: NaiveDate,
}

impl Payload for RefundReturned {
    const TYPE: &'static str = "ledger.refund.returned.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.refund_id, self.return_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.channel, self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

/// The bank confirmed after all, before the refund was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundCancelled {
    pub refund_id: Uuid,
    pub amount: Amount,
    pub reason: String,
    /// As in the `RefundInitiated` that it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
}

impl Payload for RefundCancelled {
    const TYPE: &'static str = "ledger.refund.cancelled.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.refund_id]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount]
    }
}

/// The refund cannot go through the channel; a person must pay it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundEscalated {
    pub refund_id: Uuid,
    pub case_no: String,
    pub reason: String,
}

impl Payload for RefundEscalated {
    const TYPE: &'static str = "ledger.refund.escalated.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.refund_id]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

/// A person paid the refund from a bank account of ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundPaidManually {
    pub refund_id: Uuid,
    /// Our account that paid.
    pub bank_account: Name,
    pub bank_ref: String,
    pub amount: Amount,
    pub approver: String,
}

impl Payload for RefundPaidManually {
    const TYPE: &'static str = "ledger.refund.paid-manually.v1";
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.refund_id]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.bank_account, self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

/// Refunds were written to a file for a channel that has no other way (退款文本).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RefundFileExported {
    pub channel: Name,
    pub file_name: String,
    /// Of the whole file, in hexadecimal.
    pub sha256: String,
    pub lines: u32,
    pub total: Amount,
}

impl Payload for RefundFileExported {
    const TYPE: &'static str = "ledger.refund-file.exported.v1";
    const ABOUT: About = About::Channel;
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.channel, self.file_name]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.sha256, self.lines, self.total]
    }
}
