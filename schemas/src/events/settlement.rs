//! Settlement: what the channel reports it will pay, what the bank received, what was passed on.

use std::borrow::Cow;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{About, Payload, parts};
use crate::{Amount, Balance, Name, Stream};

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
    /// Borne by the operator.
    pub fees: Amount,
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
    fn check(&self) -> Result<(), &'static str> {
        if self.carried_in > Balance::ZERO {
            return Err("carried_in may not be positive");
        }
        let net = Balance::from(self.gross) - self.refunds - self.chargebacks - self.fees + self.carried_in;
        if net != self.net {
            return Err("net must be gross - refunds - chargebacks - fees + carried_in");
        }
        Ok(())
    }
}

/// The net of a batch arrived on a bank account of ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SettlementReceived {
    pub channel: Name,
    pub batch_no: String,
    pub bank_account: Name,
    pub bank_ref: String,
    #[serde(deserialize_with = "crate::calendar::date")]
    pub value_date: NaiveDate,
    pub amount: Amount,
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
}

/// What one contract gets out of a remittance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RemittedItem {
    /// The contract, by its stream.
    pub contract: Stream,
    pub amount: Amount,
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
    fn check(&self) -> Result<(), &'static str> {
        if self.items.iter().map(|item| item.amount).sum::<Amount>() != self.amount {
            return Err("the items of a remittance must add up to its amount");
        }
        Ok(())
    }
}
