//! School fees (学费): what a student owes by item and year, what is asked to be paid of it, and the fiscal e-receipt.

use std::{borrow::Cow, collections::BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{About, Consent, Method, Payload, of_one_event, parts, positive};
use crate::{Amount, Balance, Name, StreamKind};

const FEES: &[StreamKind] = &[StreamKind::Fees];
/// More items than a student has in a year.
const LINES_MAX: usize = 50;

/// The school charged a fee item (收费项目).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeeItemAssessed {
    pub school: Name,
    /// The student, by an opaque id.
    pub student: Uuid,
    /// The school's code of the item, such as `tuition` or `dorm`.
    pub fee_item: String,
    pub billing_year: u16,
    pub amount: Amount,
    /// Whether it may be paid in parts (分期).
    pub instalments_allowed: bool,
}

impl Payload for FeeItemAssessed {
    const TYPE: &'static str = "ledger.fee-item.assessed.v1";
    const ABOUT: About = About::Stream;
    const KINDS: &'static [StreamKind] = FEES;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.school, subject, self.fee_item, self.billing_year]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount, self.instalments_allowed, self.student]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

/// The school changed what is owed on an item: a reduction, a waiver, a correction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeeItemAdjusted {
    /// The adjustment's own number at the school.
    pub adjustment_no: String,
    pub school: Name,
    pub fee_item: String,
    pub billing_year: u16,
    /// What is added to the item; negative for a reduction.
    pub change: Balance,
    pub reason: String,
}

impl Payload for FeeItemAdjusted {
    const TYPE: &'static str = "ledger.fee-item.adjusted.v1";
    const ABOUT: About = About::Stream;
    const KINDS: &'static [StreamKind] = FEES;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.school, subject, self.adjustment_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.fee_item, self.billing_year, self.change]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        if self.change.is_zero() {
            return Err("the change of a fee item may not be 0.00");
        }
        of_one_event(self.change)
    }
}

/// What a payment is to pay of one item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeeLine {
    /// From 1.
    pub line: u16,
    pub fee_item: String,
    pub billing_year: u16,
    pub amount: Amount,
}

/// A payment of fee items was requested (网上缴费).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeePaymentRequested {
    pub channel: Name,
    pub school: Name,
    /// The student, by an opaque id.
    pub student: Uuid,
    /// What is paid in all.
    pub amount: Amount,
    pub lines: Vec<FeeLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// The payer's agreement to the terms of online payment (协议).
    pub consent: Consent,
    /// Who pays, if it is not the student; opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<Uuid>,
}

impl Payload for FeePaymentRequested {
    const TYPE: &'static str = "ledger.fee-payment.requested.v1";
    const KINDS: &'static [StreamKind] = FEES;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        let mut fields = parts![self.channel, self.school, self.student, self.amount];
        let lines = self.lines.iter();
        fields.extend(lines.flat_map(|line| parts![line.line, line.fee_item, line.billing_year, line.amount]));
        fields
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        if !(1..=LINES_MAX).contains(&self.lines.len()) {
            return Err("a fee payment has 1 to 50 lines");
        }
        if !self.lines.iter().map(|line| usize::from(line.line)).eq(1..=self.lines.len()) {
            return Err("the lines of a fee payment are counted from 1");
        }
        let items: BTreeSet<_> = self.lines.iter().map(|line| (&line.fee_item, line.billing_year)).collect();
        if items.len() < self.lines.len() {
            return Err("a fee payment names each item once");
        }
        if self.lines.iter().any(|line| line.amount.is_zero() || line.fee_item.trim().is_empty()) {
            return Err("each line names an item and an amount of more than 0.00");
        }
        if self.lines.iter().map(|line| line.amount).sum::<Amount>() != self.amount {
            return Err("the lines of a fee payment must add up to its amount");
        }
        Ok(())
    }
}

/// A fiscal e-receipt was issued for a payment (财政电子票据). It may come days later and decides nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FiscalReceiptIssued {
    /// 票据代码.
    pub code: String,
    /// 票据号码.
    pub number: String,
    /// 校验码, with which anybody can verify it.
    pub check_code: String,
    pub amount: Amount,
}

impl Payload for FiscalReceiptIssued {
    const TYPE: &'static str = "ledger.fiscal-receipt.issued.v1";
    const KINDS: &'static [StreamKind] = FEES;
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.code, self.number]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

/// A fiscal e-receipt was taken back by a red one (红冲), after a refund.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FiscalReceiptReversed {
    /// Code and number of the red receipt.
    pub code: String,
    pub number: String,
    /// Code and number of the receipt that it takes back.
    pub reverses_code: String,
    pub reverses_number: String,
    pub amount: Amount,
}

impl Payload for FiscalReceiptReversed {
    const TYPE: &'static str = "ledger.fiscal-receipt.reversed.v1";
    const KINDS: &'static [StreamKind] = FEES;
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.code, self.number]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.reverses_code, self.reverses_number, self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}
