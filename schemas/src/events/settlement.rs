//! Settlement: what the channel reports it will pay, what the bank received, what was passed on.

use std::borrow::Cow;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{About, Bearer, Payload, named, of_one_event, parts};
use crate::{Amount, Balance, Name, Stream, StreamKind};

/// The channel reported a settlement batch:
/// net = gross − refunds − chargebacks − fees + carried_in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SettlementReported {
    pub channel: Name,
    pub batch_no: String,
    #[serde(deserialize_with = "crate::calendar::date")]
    pub period_from: NaiveDate,
    #[serde(deserialize_with = "crate::calendar::date")]
    pub period_to: NaiveDate,
    pub gross: Amount,
    pub refunds: Amount,
    pub chargebacks: Amount,
    pub fees: Amount,
    /// Who bears the fees; the operator if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fees_borne_by: Option<Bearer>,
    /// The beneficiary, and what it bears of the fees in each of its accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beneficiary: Option<Name>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fee_items: Vec<RemittedItem>,
    /// A negative net of earlier batches that this one makes good; zero or less.
    pub carried_in: Balance,
    /// A negative net is not paid but carried into the next batch.
    pub net: Balance,
    pub transactions: u32,
}

impl Payload for SettlementReported {
    const TYPE: &'static str = "ledger.settlement.reported.v1";
    const ABOUT: About = About::Channel;
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.channel, self.batch_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.gross, self.refunds, self.chargebacks, self.fees, self.carried_in, self.net]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        if self.carried_in > Balance::ZERO {
            return Err("carried_in may not be positive");
        }
        of_one_event(self.carried_in)?;
        let net = Balance::from(self.gross) - self.refunds - self.chargebacks - self.fees + self.carried_in;
        if net != self.net {
            return Err("net must be gross - refunds - chargebacks - fees + carried_in");
        }
        let borne = self.fee_items.iter().map(|item| item.amount).sum::<Amount>();
        match (self.fees_borne_by, &self.beneficiary) {
            (Some(Bearer::Beneficiary), Some(_)) if borne == self.fees => check_items(&self.fee_items),
            (Some(Bearer::Beneficiary), _) => {
                Err("fees that a beneficiary bears are told by account: beneficiary and fee_items")
            }
            (Some(Bearer::Operator) | None, _) if self.fee_items.is_empty() => Ok(()),
            (Some(Bearer::Operator) | None, _) => Err("fee_items are for fees that a beneficiary bears"),
        }
    }
}

/// The net of a batch arrived: on a bank account of ours, or straight at the school.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SettlementReceived {
    pub channel: Name,
    pub batch_no: String,
    pub bank_account: Name,
    pub bank_ref: String,
    #[serde(deserialize_with = "crate::calendar::date")]
    pub value_date: NaiveDate,
    pub amount: Amount,
    /// The school whose account it is, if it is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub straight_to: Option<Name>,
    /// What the school has got by this for fee items; empty for stored value, which it then holds for the cards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<RemittedItem>,
}

impl Payload for SettlementReceived {
    const TYPE: &'static str = "ledger.settlement.received.v1";
    const ABOUT: About = About::Channel;
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.bank_account, self.bank_ref]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.channel, self.batch_no, self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        if self.items.is_empty() {
            return Ok(());
        }
        if self.straight_to.is_none() {
            return Err("items are for money that goes straight to a school");
        }
        if self.items.iter().any(|item| item.fee_item.is_none()) {
            return Err("money that goes straight to a school pays fee items");
        }
        adds_up(&self.items, self.amount)
    }
}

/// What one account of a beneficiary gets or bears: a loan contract, a fee item of a year, or a merchant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RemittedItem {
    /// The contract, by its stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Stream>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_item: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_year: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<String>,
    pub amount: Amount,
}

impl RemittedItem {
    pub fn of_contract(contract: Stream, amount: Amount) -> Self {
        Self { contract: Some(contract), amount, ..Self::default() }
    }
}

fn check_items(items: &[RemittedItem]) -> Result<(), &'static str> {
    let names_one = |item: &RemittedItem| {
        let of_an_item = item.fee_item.is_some() && item.billing_year.is_some();
        matches!(
            (&item.contract, &item.fee_item, &item.billing_year, &item.merchant),
            (Some(_), None, None, None) | (None, None, None, Some(_))
        ) || (of_an_item && item.contract.is_none() && item.merchant.is_none())
    };
    if items.iter().all(names_one) {
        named(items.iter().flat_map(|item| [item.fee_item.as_deref(), item.merchant.as_deref()]))
    } else {
        Err("an item names a contract, a fee_item with its billing_year, or a merchant")
    }
}

fn adds_up(items: &[RemittedItem], amount: Amount) -> Result<(), &'static str> {
    if items.iter().map(|item| item.amount).sum::<Amount>() != amount {
        return Err("the items of a remittance must add up to its amount");
    }
    check_items(items)
}

/// Money was passed on to the beneficiary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FundsRemitted {
    pub beneficiary: Name,
    pub bank_account: Name,
    pub bank_ref: String,
    #[serde(deserialize_with = "crate::calendar::date")]
    pub value_date: NaiveDate,
    pub amount: Amount,
    pub items: Vec<RemittedItem>,
}

impl Payload for FundsRemitted {
    const TYPE: &'static str = "ledger.funds.remitted.v1";
    const ABOUT: About = About::Channel;
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.bank_account, self.bank_ref]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.beneficiary, self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        adds_up(&self.items, self.amount)
    }
}
