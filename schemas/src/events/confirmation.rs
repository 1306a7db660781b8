//! The fulfilment leg: whether the bank booked the repayment (开行侧核销), the card was credited (增款), the fee was posted
//! (入账).

use std::borrow::Cow;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Evidence, Payload, named, parts, positive, words};
use crate::{Amount, Name, StreamKind};

/// The party that fulfils was asked for the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmationRequested {
    /// Who is asked: the bank, or the school for its card host and its fee system.
    pub target: Name,
    /// Which try this is, from 1.
    pub tries: u8,
}

impl Payload for ConfirmationRequested {
    const TYPE: &'static str = "ledger.confirmation.requested.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.target, subject, self.tries]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

/// The bank booked the repayment (还款成功). Counted once per order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RepaymentConfirmed {
    /// The bank that booked.
    pub target: Name,
    pub amount: Amount,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank_ref: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::calendar::optional_date")]
    pub booked_date: Option<NaiveDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interest: Option<Amount>,
    pub evidence: Evidence,
}

impl Payload for RepaymentConfirmed {
    const TYPE: &'static str = "ledger.repayment.confirmed.v1";
    const KINDS: &'static [StreamKind] = &[StreamKind::Loan];
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.target, subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

words! {
    /// Whether credited value can be spent at once.
    CreditMode {
        Online = "online",
        /// It must be written to the card first, at a load terminal (增补款圈存机具).
        PendingLoad = "pending_load",
    }
}

/// The card host took a top-up into its books (增款). Counted once per order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CardCredited {
    /// The school whose host credited.
    pub target: Name,
    pub amount: Amount,
    pub mode: CreditMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ref: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_after: Option<Amount>,
    pub evidence: Evidence,
}

impl Payload for CardCredited {
    const TYPE: &'static str = "ledger.card.credited.v1";
    const KINDS: &'static [StreamKind] = &[StreamKind::Card];
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.target, subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount, self.mode]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

/// A load terminal wrote a top-up to the card (圈存). Counted once per order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CardValueLoaded {
    pub target: Name,
    pub amount: Amount,
    pub load_terminal: String,
    /// The card's own count of loads.
    pub card_counter: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_on_card: Option<Amount>,
}

impl Payload for CardValueLoaded {
    const TYPE: &'static str = "ledger.card-value.loaded.v1";
    const KINDS: &'static [StreamKind] = &[StreamKind::Card];
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.target, subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

/// The school posted a payment to a fee item. Counted once per line of the order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeePosted {
    /// The school that posted.
    pub target: Name,
    pub line: u16,
    pub fee_item: String,
    pub billing_year: u16,
    pub amount: Amount,
    /// What is still owed on the item, where the school says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub school_ref: Option<String>,
    pub evidence: Evidence,
}

impl Payload for FeePosted {
    const TYPE: &'static str = "ledger.fee.posted.v1";
    const KINDS: &'static [StreamKind] = &[StreamKind::Fees];
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.target, subject, self.line]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.fee_item, self.billing_year, self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

/// Whoever fulfils answered that it was not done: an explicit failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmationFailed {
    pub target: Name,
    pub tries: u8,
    pub code: String,
    pub message: String,
    /// The same may succeed later, so it is tried again before the money goes back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retryable: bool,
    pub evidence: Evidence,
}

impl Payload for ConfirmationFailed {
    const TYPE: &'static str = "ledger.confirmation.failed.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.target, subject, self.tries]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

/// Whoever fulfils does not know, or did not answer (查询结果不确定). Never a reason to refund.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmationUncertain {
    pub target: Name,
    pub tries: u8,
    pub code: String,
    pub evidence: Evidence,
}

impl Payload for ConfirmationUncertain {
    const TYPE: &'static str = "ledger.confirmation.uncertain.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.target, subject, self.tries]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

words! {
    /// How an uncertain confirmation was settled.
    Resolution { Confirmed = "confirmed", Failed = "failed" }
}

/// An uncertain confirmation was settled, by a file or by a person.
/// It never posts: on `confirmed` the `RepaymentConfirmed`, `CardCredited` or `FeePosted` follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmationResolved {
    pub target: Name,
    pub outcome: Resolution,
    pub evidence: Evidence,
    /// Who settled it: a file or an operator, by an opaque reference.
    pub by: String,
}

impl Payload for ConfirmationResolved {
    const TYPE: &'static str = "ledger.confirmation.resolved.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.target, subject, self.outcome]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

words! {
    /// Why a booking was undone.
    RevocationReason {
        BankUndid = "bank_undid",
        /// The card host took the value off the card again.
        CardDebitedBack = "card_debited_back",
        /// The school took the payment off the item again.
        FeeUnposted = "fee_unposted",
        /// The merchant gave back what had been bought and debited by withholding.
        PurchaseReturned = "purchase_returned",
    }
}

/// A booking was undone, in whole or in part, so that its money is the payer's again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmationRevoked {
    pub target: Name,
    /// The number of the undoing at the bank or school: it tells partial ones apart.
    pub revocation_no: String,
    pub amount: Amount,
    pub reason: RevocationReason,
    pub by: String,
    /// For a top-up: whether it was still waiting to be loaded. `online` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CreditMode>,
    /// For a fee: the item and year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_item: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_year: Option<u16>,
    /// For a purchase: the merchant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<String>,
}

impl Payload for ConfirmationRevoked {
    const TYPE: &'static str = "ledger.confirmation.revoked.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.target, subject, self.revocation_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount]
    }
    fn check(&self, on: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)?;
        named([self.fee_item.as_deref(), self.merchant.as_deref()])?;
        let of_an_item = self.fee_item.is_some() && self.billing_year.is_some();
        match (self.reason, on) {
            (RevocationReason::BankUndid, Some(StreamKind::Loan))
            | (RevocationReason::CardDebitedBack, Some(StreamKind::Card)) => Ok(()),
            (RevocationReason::FeeUnposted, Some(StreamKind::Fees)) if of_an_item => Ok(()),
            (RevocationReason::FeeUnposted, Some(StreamKind::Fees)) => {
                Err("a fee that is unposted names its fee_item and billing_year")
            }
            (RevocationReason::PurchaseReturned, Some(StreamKind::Card)) if self.merchant.is_some() => Ok(()),
            (RevocationReason::PurchaseReturned, Some(StreamKind::Card)) => {
                Err("a purchase that is returned names its merchant")
            }
            _ => Err("this reason belongs to an order of another kind"),
        }
    }
}
