//! Slips and screens: what the payer was told. No money moves here.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Payload, parts, words};
use crate::StreamKind;

words! {
    /// Where the payer reads the result.
    Medium { Slip = "slip", Screen = "screen" }
}

words! {
    /// What the payer is told.
    ReceiptText {
        Success = "success",
        /// "Please ask the bank whether the repayment went through" (需联系开行确认).
        Uncertain = "uncertain",
        Refunded = "refunded",
    }
}

/// A slip was printed or a result shown, after the bank had answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptPrinted {
    pub medium: Medium,
    pub outcome_text: ReceiptText,
    /// SHA-256 of the slip, in hexadecimal: what a dispute may need as evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slip_sha256: Option<String>,
}

impl Payload for ReceiptPrinted {
    const TYPE: &'static str = "ledger.receipt.printed.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject, self.medium]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

/// A further copy was printed (重打印).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiptReprinted {
    pub medium: Medium,
    pub outcome_text: ReceiptText,
    /// The number of this copy, from 2.
    pub copy_no: u16,
    /// SHA-256 of this copy, in hexadecimal: a copy is no evidence in a dispute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slip_sha256: Option<String>,
}

impl Payload for ReceiptReprinted {
    const TYPE: &'static str = "ledger.receipt.reprinted.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject, self.medium, self.copy_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        if self.copy_no < 2 { Err("copies are counted from 2; the first is a ReceiptPrinted") } else { Ok(()) }
    }
}
