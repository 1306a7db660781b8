//! Spending on campus (校园消费): asked for at a terminal, or reported after it was offline; posted by the coordinator; and
//! for withholding, debited afterwards (先享后付).

use std::borrow::Cow;

use chrono::{DateTime, FixedOffset, NaiveDate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Payload, named, parts, positive, words};
use crate::{Amount, Name, StreamKind};

const CARD: &[StreamKind] = &[StreamKind::Card];

words! {
    /// What pays for a purchase.
    Funding {
        CardBalance = "card_balance",
        /// The restricted value that the school granted (补助).
        Subsidy = "subsidy",
        /// A debit at Alipay that follows the purchase (代扣).
        Withholding = "withholding",
    }
}

/// A terminal that is online asks whether a card may buy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PurchaseRequested {
    pub channel: Name,
    pub school: Name,
    /// Canteen or shop, by the school's number.
    pub merchant: String,
    pub amount: Amount,
    pub funding: Funding,
    pub terminal: String,
    /// The terminal's own count: it tells purchases apart.
    pub terminal_seq: u64,
}

impl Payload for PurchaseRequested {
    const TYPE: &'static str = "ledger.purchase.requested.v1";
    const KINDS: &'static [StreamKind] = CARD;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.channel, self.school, self.merchant, self.amount, self.funding, self.terminal, self.terminal_seq]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

/// A terminal that had been offline uploads what was bought there. `time` says when that was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OfflinePurchaseUploaded {
    pub channel: Name,
    pub school: Name,
    pub merchant: String,
    pub amount: Amount,
    /// `withholding` for a campus code (校园码), the card's own value for a card that was read.
    pub funding: Funding,
    pub terminal: String,
    pub terminal_seq: u64,
    /// The campus code that was shown, and when it had last been refreshed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::calendar::optional_time")]
    pub code_issued_at: Option<DateTime<FixedOffset>>,
    /// When the terminal had last been online.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::calendar::optional_time")]
    pub terminal_online_at: Option<DateTime<FixedOffset>>,
    #[serde(deserialize_with = "crate::calendar::time")]
    pub uploaded_at: DateTime<FixedOffset>,
}

impl Payload for OfflinePurchaseUploaded {
    const TYPE: &'static str = "ledger.offline-purchase.uploaded.v1";
    const KINDS: &'static [StreamKind] = CARD;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.channel, self.school, self.merchant, self.amount, self.funding, self.terminal, self.terminal_seq]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        if self.funding == Funding::Withholding && self.code_issued_at.is_none() {
            return Err("a purchase by campus code says when the code was issued (code_issued_at)");
        }
        positive(self.amount)
    }
}

words! {
    /// What a person decided about a purchase outside of the offline window.
    LatePurchaseOutcome {
        /// It counts: the holder is debited.
        Accepted = "accepted",
        /// It does not: the merchant bears it.
        MerchantBears = "merchant_bears",
    }
}

/// A person decided about a purchase that was made outside of the offline window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OfflinePurchaseResolved {
    pub outcome: LatePurchaseOutcome,
    /// Who decided, by an opaque reference.
    pub by: String,
}

impl Payload for OfflinePurchaseResolved {
    const TYPE: &'static str = "ledger.offline-purchase.resolved.v1";
    const KINDS: &'static [StreamKind] = CARD;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.outcome]
    }
}

words! {
    /// What is odd about a purchase that counts all the same.
    PurchaseFlag {
        /// The card had spent more than it may that day.
        AboveLimit = "above_limit",
        /// The loss of the card had been reported: disputed.
        CardSuspended = "card_suspended",
        /// It was uploaded long after it was made.
        UploadLag = "upload_lag",
        /// It was outside of the offline window.
        OutsideWindow = "outside_window",
    }
}

/// The coordinator let a purchase count: the merchant is owed its amount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PurchasePosted {
    pub school: Name,
    pub merchant: String,
    pub amount: Amount,
    pub funding: Funding,
    /// The business day on which it was made, which may be before it became known.
    #[serde(deserialize_with = "crate::calendar::date")]
    pub consumed_on: NaiveDate,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<PurchaseFlag>,
    /// The agreement under which the holder is debited, for withholding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement_no: Option<String>,
}

impl Payload for PurchasePosted {
    const TYPE: &'static str = "ledger.purchase.posted.v1";
    const KINDS: &'static [StreamKind] = CARD;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.school, self.merchant, self.amount, self.funding]
    }
}

/// The merchant gave back what was bought with the card's own value; it is on the card again. What was debited by
/// withholding goes back to the payer's account instead: a `ConfirmationRevoked`, then a refund.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PurchaseRefunded {
    /// The refund's own number at the school: it tells partial ones apart.
    pub refund_no: String,
    pub school: Name,
    pub merchant: String,
    pub amount: Amount,
    pub funding: Funding,
}

impl Payload for PurchaseRefunded {
    const TYPE: &'static str = "ledger.purchase.refunded.v1";
    const KINDS: &'static [StreamKind] = CARD;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.school, subject, self.refund_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.merchant, self.amount, self.funding]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        if self.funding == Funding::Withholding {
            return Err("what was debited by withholding goes back by a ConfirmationRevoked and a refund");
        }
        positive(self.amount)
    }
}

words! {
    /// Who bears what could not be collected.
    LossBearer { Operator = "operator", Merchant = "merchant" }
}

/// A purchase could not be debited. Without a bearer it stays a receivable and keeps the holder from further
/// withholding; with one, a person has given it up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WithholdingUncollected {
    pub school: Name,
    pub merchant: String,
    pub amount: Amount,
    /// How often the debit was tried.
    pub tries: u16,
    /// The channel's last answer.
    pub last_code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<LossBearer>,
}

impl Payload for WithholdingUncollected {
    const TYPE: &'static str = "ledger.withholding.uncollected.v1";
    const KINDS: &'static [StreamKind] = CARD;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject, if self.bearer.is_some() { "given_up" } else { "open" }]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount, self.bearer.map(LossBearer::as_str).unwrap_or_default()]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        named([Some(&*self.merchant)])?;
        positive(self.amount)
    }
}
