//! Withholding (代扣): the holder's permission to debit Alipay for what was bought with the card.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{About, Payload, parts, words};
use crate::{Name, StreamKind};

/// The holder agreed to be debited without a password (免密支付签约).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WithholdingMandateSigned {
    pub channel: Name,
    /// The channel's number of the agreement.
    pub agreement_no: String,
    /// The number that was issued for it, which carries the card's stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_agreement_no: Option<String>,
    /// Such as `GENERAL_WITHHOLDING`.
    pub product_code: String,
}

impl Payload for WithholdingMandateSigned {
    const TYPE: &'static str = "ledger.withholding-mandate.signed.v1";
    const ABOUT: About = About::Stream;
    const KINDS: &'static [StreamKind] = &[StreamKind::Card];
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.channel, subject, self.agreement_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

words! {
    /// Who ended a mandate.
    MandateEnder { Payer = "payer", Channel = "channel", School = "school" }
}

/// The mandate ended (解约): what was bought before may still be debited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WithholdingMandateEnded {
    pub channel: Name,
    pub agreement_no: String,
    pub ended_by: MandateEnder,
}

impl Payload for WithholdingMandateEnded {
    const TYPE: &'static str = "ledger.withholding-mandate.ended.v1";
    const ABOUT: About = About::Stream;
    const KINDS: &'static [StreamKind] = &[StreamKind::Card];
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.channel, subject, self.agreement_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}
