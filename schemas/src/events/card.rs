//! A campus card (校园卡): who holds it, what it may spend, what was put on it.

use std::borrow::Cow;

use chrono::{DateTime, FixedOffset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{About, Method, Payload, parts, positive, words};
use crate::{Amount, Name, StreamKind};

const CARD: &[StreamKind] = &[StreamKind::Card];

words! {
    /// How a person was found to be the holder of a card.
    LinkMethod {
        /// By Alipay's own verified identity (支付宝实名制).
        AlipayRealname = "alipay_realname",
        /// By name, student number and the card's password (输入个人信息认证).
        Entered = "entered",
    }
}

/// A user of a channel was linked to a card (校园卡认证).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CardholderLinked {
    /// The link's own number at the channel.
    pub link_no: String,
    /// The school that issued the card.
    pub school: Name,
    /// The user, by an opaque id.
    pub holder: Uuid,
    pub method: LinkMethod,
}

impl Payload for CardholderLinked {
    const TYPE: &'static str = "ledger.cardholder.linked.v1";
    const ABOUT: About = About::Stream;
    const KINDS: &'static [StreamKind] = CARD;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.school, subject, self.link_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.holder]
    }
}

/// A user was unlinked from a card (解绑校园卡).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CardholderUnlinked {
    /// The number of the link that ended.
    pub link_no: String,
    pub school: Name,
}

impl Payload for CardholderUnlinked {
    const TYPE: &'static str = "ledger.cardholder.unlinked.v1";
    const ABOUT: About = About::Stream;
    const KINDS: &'static [StreamKind] = CARD;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.school, subject, self.link_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

words! {
    /// Who limits what a card may spend.
    LimitSetter { Parent = "parent", Teacher = "teacher" }
}

/// A parent or an authorised teacher set what the card may spend a day (每日消费额度).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpendingLimitSet {
    /// The setting's own number at the school.
    pub setting_no: String,
    pub school: Name,
    /// What may be spent a day; absent when the limit was lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily_limit: Option<Amount>,
    pub set_by: LimitSetter,
    #[serde(deserialize_with = "crate::calendar::time")]
    pub effective_from: DateTime<FixedOffset>,
}

impl Payload for SpendingLimitSet {
    const TYPE: &'static str = "ledger.spending-limit.set.v1";
    const ABOUT: About = About::Stream;
    const KINDS: &'static [StreamKind] = CARD;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.school, subject, self.setting_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.daily_limit.map(|limit| limit.to_string()).unwrap_or_default()]
    }
}

words! {
    /// Why a card was suspended.
    SuspensionReason { Loss = "loss" }
}

/// The loss of a card was reported (挂失): what is bought with it afterwards is disputed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CardSuspended {
    pub report_no: String,
    pub school: Name,
    pub reason: SuspensionReason,
    #[serde(deserialize_with = "crate::calendar::time")]
    pub effective_at: DateTime<FixedOffset>,
}

impl Payload for CardSuspended {
    const TYPE: &'static str = "ledger.card.suspended.v1";
    const ABOUT: About = About::Stream;
    const KINDS: &'static [StreamKind] = CARD;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.school, subject, self.report_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

/// A suspended card may be used again (解挂).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CardReinstated {
    /// The number of the report that ended.
    pub report_no: String,
    pub school: Name,
    #[serde(deserialize_with = "crate::calendar::time")]
    pub effective_at: DateTime<FixedOffset>,
}

impl Payload for CardReinstated {
    const TYPE: &'static str = "ledger.card.reinstated.v1";
    const ABOUT: About = About::Stream;
    const KINDS: &'static [StreamKind] = CARD;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.school, subject, self.report_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

/// The school granted a subsidy (补助): value that can only be spent on its campus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SubsidyGranted {
    /// The grant's own number at the school.
    pub grant_no: String,
    pub school: Name,
    pub amount: Amount,
    /// What it is for, such as `2025-03`.
    pub period: String,
}

impl Payload for SubsidyGranted {
    const TYPE: &'static str = "ledger.subsidy.granted.v1";
    const ABOUT: About = About::Stream;
    const KINDS: &'static [StreamKind] = CARD;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.school, subject, self.grant_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

/// The card host's answer about the card on which a top-up rests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CardAnswer {
    /// Whether there is such a card.
    pub found: bool,
    /// Whether the name that was given is the holder's.
    pub name_matches: bool,
    #[serde(deserialize_with = "crate::calendar::time")]
    pub checked_at: DateTime<FixedOffset>,
}

/// Whether the payer was found to be who they say, where the channel asks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IdentityAnswer {
    pub verified: bool,
    pub method: LinkMethod,
    #[serde(deserialize_with = "crate::calendar::time")]
    pub checked_at: DateTime<FixedOffset>,
}

/// A top-up of a card was requested (充值).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopUpRequested {
    pub channel: Name,
    /// The school that issued the card.
    pub school: Name,
    pub amount: Amount,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    pub card: CardAnswer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityAnswer>,
    /// Who pays, if it is not the holder, such as a parent; opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<Uuid>,
}

impl Payload for TopUpRequested {
    const TYPE: &'static str = "ledger.top-up.requested.v1";
    const KINDS: &'static [StreamKind] = CARD;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.channel, self.school, self.amount, self.card.found, self.card.name_matches]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}
