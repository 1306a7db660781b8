//! The fulfilment leg: whether the bank booked the repayment (开行侧核销).

use std::borrow::Cow;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Evidence, Payload, parts, words};
use crate::{Amount, Name};

/// The party that fulfils was asked for the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmationRequested {
    /// Who is asked, such as `cdb`.
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
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.target, subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount]
    }
    fn check(&self) -> Result<(), &'static str> {
        if self.amount.is_zero() { Err("the amount of a confirmation must be more than 0.00") } else { Ok(()) }
    }
}

/// The bank answered that it did not book the repayment: an explicit failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmationFailed {
    pub target: Name,
    pub tries: u8,
    pub code: String,
    pub message: String,
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

/// The bank does not know, or did not answer (查询结果不确定). Never a reason to refund.
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

/// An uncertain confirmation was settled, by the bank's file or by a person.
/// It never posts: on `confirmed` a `RepaymentConfirmed` follows.
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
    RevocationReason { BankUndid = "bank_undid" }
}

/// The bank undid a booking, in whole or in part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmationRevoked {
    pub target: Name,
    /// The bank's number of the undoing: it tells partial ones apart.
    pub revocation_no: String,
    pub amount: Amount,
    pub reason: RevocationReason,
    pub by: String,
}

impl Payload for ConfirmationRevoked {
    const TYPE: &'static str = "ledger.confirmation.revoked.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.target, subject, self.revocation_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount]
    }
}
