//! Channels that speak a protocol of their own: one file each, which verifies a notice, says in the ledger's words what
//! it says, and knows what the channel wants to hear. What they share is here; the HTTP side is `door/notify.rs`.
//!
//! A notice is verified over the bytes that came before anything is read from it. A refusal holds a code and the name of
//! a field and can hold nothing else, so that no value of a notice gets into a log or an answer.

use std::{collections::BTreeMap, fmt};

use axum::http::HeaderMap;
use chrono::{DateTime, FixedOffset, NaiveDate, Utc};
use rules::{
    policy::{ChannelTerms, Policy},
    settlement,
};
use schemas::{Amount, Data, Event, Name, OrderId, Refusal, RefusalCode, events::*};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::json;
use uuid::Uuid;

use crate::{
    door::{Code, DoorCode},
    signature::{FormError, KeyError, SignatureError},
};

mod alipay;
mod bestpay;
mod campus_pos;
mod ejt;
mod fields;
mod refunds;
mod timed;
mod ums;
mod unionpay;

pub(crate) use campus_pos::CampusPos;
use fields::Fields;
pub(crate) use refunds::{OfRefund, RefundSaid};

/// The settings of every channel with its name: a channel is a line here and a file.
macro_rules! channels {
    ($($field:ident = $name:literal: $config:ty;)+) => {
        /// Whose notices are taken, and how they are verified. A channel without its key has no webhook.
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct ChannelsConfig { $(pub $field: $config),+ }

        impl ChannelsConfig {
            fn all(&self) -> Vec<(&'static str, &'static str, &dyn Settings)> {
                vec![$(($name, stringify!($field), &self.$field)),+]
            }

            /// What must not be shown.
            pub fn secrets(&mut self) -> Vec<&mut String> {
                let mut secrets = Vec::new();
                $(secrets.extend(self.$field.secret());)+
                secrets
            }
        }
    };
}

channels! {
    alipay_mini = "alipay-mini": alipay::AlipayConfig;
    alipay_withholding = "alipay-withholding": alipay::AlipayConfig;
    unionpay_cqp = "unionpay-cqp": unionpay::UnionPayConfig;
    ums_pos = "ums-pos": ums::UmsConfig;
    bestpay_web = "bestpay-web": bestpay::BestPayConfig;
    campus_pos = "campus-pos": campus_pos::CampusPosConfig;
    ejt = "ejt": ejt::EjtConfig;
}

/// The settings of one channel.
pub(crate) trait Settings {
    /// The setting without which there is no webhook.
    fn key(&self) -> &'static str;

    /// # Errors
    /// The setting that cannot be used, and why.
    fn open(&self, own: Own) -> Result<Option<Webhook>, (&'static str, SettingError)>;

    fn secret(&mut self) -> Option<&mut String> {
        None
    }
}

/// Why a setting cannot be used. The setting's text stays out of it.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    #[error("{0}; it may also be the path of a file, from the folder in which the ledger is started")]
    Key(#[from] KeyError),
    #[error("it is empty: without it, notices for others would be taken for ours")]
    Empty,
}

#[derive(Debug, thiserror::Error)]
#[error("the setting {setting} cannot be used: {error}")]
pub struct ChannelsError {
    setting: String,
    error: SettingError,
}

/// As the environment spells it.
fn setting(channel: &str, field: &str) -> String {
    format!("LEDGER_CHANNELS__{channel}__{field}").to_uppercase()
}

/// Numbers that are text. The environment takes what has no quotes for a number, and its zeros in front would be lost.
fn quoted_digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let unquoted = r#"it is text and needs quotes of its own in the environment, as in '"0319"'"#;
    String::deserialize(deserializer).map_err(|_| de::Error::custom(unquoted))
}

/// Whom a notice has to be for.
fn needed(setting: &'static str, text: &str) -> Result<(), (&'static str, SettingError)> {
    if text.is_empty() { Err((setting, SettingError::Empty)) } else { Ok(()) }
}

/// The webhooks, by the last step of their paths.
pub struct Channels(BTreeMap<&'static str, Result<Webhook, String>>);

impl Channels {
    /// # Errors
    /// A key cannot be read, or something is missing beside it.
    pub fn open(config: &ChannelsConfig, policy: &Policy) -> Result<Self, ChannelsError> {
        let open = |(text, field, settings): (&'static str, &str, &dyn Settings)| {
            let Ok(name) = text.parse::<Name>() else { unreachable!() };
            let own = Own { terms: policy.terms(&name), name };
            let webhook =
                settings.open(own).map_err(|(name, error)| ChannelsError { setting: setting(field, name), error })?;
            Ok((text, webhook.ok_or_else(|| setting(field, settings.key()))))
        };
        Ok(Self(config.all().into_iter().map(open).collect::<Result<_, _>>()?))
    }

    #[cfg(test)]
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// The webhook of a channel, or the setting without which it has none; nothing for a name that is no channel's.
    pub(crate) fn get(&self, name: &str) -> Option<&Result<Webhook, String>> {
        self.0.get(name)
    }
}

/// What is done with what comes in.
pub(crate) enum Webhook {
    Notices(Box<dyn Channel>),
    /// Purchases, each of which is a request of its own.
    Uploads(campus_pos::CampusPos),
}

/// A channel that tells of payments.
pub(crate) trait Channel: Send + Sync {
    fn own(&self) -> &Own;

    /// What a notice says, once it is verified and found to be for us.
    ///
    /// # Errors
    /// It is not taken.
    fn read(&self, notice: &Notice<'_>) -> Result<Told, Refused>;

    /// What makes the channel send a notice again.
    fn again(&self, refused: Refused) -> Answer;
}

/// What came in.
pub(crate) struct Notice<'n> {
    pub headers: &'n HeaderMap,
    pub body: &'n [u8],
    pub now: DateTime<Utc>,
}

impl Notice<'_> {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn is_json(&self) -> bool {
        self.header("content-type").trim_start().to_ascii_lowercase().starts_with("application/json")
    }
}

/// What a notice says, and what is answered once the log has it.
#[derive(Debug)]
pub(crate) struct Told {
    pub said: Vec<Said>,
    pub answer: Answer,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Fact(Box<Event>),
    OfRefund(OfRefund),
}

/// What a channel wants to hear, to the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub content_type: &'static str,
    pub text: String,
}

impl Answer {
    fn text(text: impl Into<String>) -> Self {
        Self { content_type: "text/plain", text: text.into() }
    }

    pub fn json(body: &serde_json::Value) -> Self {
        Self { content_type: "application/json", text: body.to_string() }
    }

    /// For channels whose answers we may choose.
    pub fn refused(refused: Refused) -> Self {
        let mut body = json!({ "result": "refused", "code": refused.code.as_str() });
        if let Some(field) = refused.field {
            body["field"] = field.into();
        }
        Self::json(&body)
    }
}

/// The channel itself, as the ledger knows it.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub name: Name,
    pub terms: ChannelTerms,
}

impl Own {
    pub fn source(&self) -> String {
        format!("/channels/{}", self.name)
    }

    pub fn about(&self, order: &OrderId, at: DateTime<FixedOffset>, data: impl Into<Data>) -> Event {
        Event::about_order(self.source(), order, at, data)
    }

    fn fact(&self, order: &OrderId, at: DateTime<FixedOffset>, data: impl Into<Data>) -> Said {
        Said::Fact(Box::new(self.about(order, at, data)))
    }

    fn captured(
        &self,
        channel_txn_no: String,
        method: Method,
        amount: Amount,
        business_date: NaiveDate,
    ) -> PaymentCaptured {
        PaymentCaptured {
            channel: self.name.clone(),
            channel_txn_no,
            method,
            amount,
            business_date,
            fee: None,
            instrument_masked: None,
            terminal: None,
            evidence: Evidence::AsyncNotice,
        }
    }

    fn refunded(&self, refund_id: Uuid, amount: Amount, business_date: NaiveDate) -> RefundCompleted {
        RefundCompleted {
            refund_id,
            channel: self.name.clone(),
            amount,
            channel_refund_no: None,
            fee_netted: None,
            business_date,
            evidence: Evidence::AsyncNotice,
        }
    }

    fn cancelled(&self, reason: String) -> OrderCancelled {
        OrderCancelled { by: self.name.clone(), reason }
    }

    /// The accounting day, where the channel does not tell it.
    fn business_date(&self, at: &DateTime<FixedOffset>) -> NaiveDate {
        settlement::business_date(at, &self.terms)
    }
}

/// A notice does not count attempts. An order is paid in one attempt at these channels, or not at all.
const ATTEMPT: u16 = 1;

fn declined(response_code: String, message: String) -> PaymentDeclined {
    PaymentDeclined { attempt: ATTEMPT, response_code, message, evidence: Evidence::AsyncNotice }
}

/// Why a notice is not taken: a code, and the field that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub code: Code,
    pub field: Option<&'static str>,
}

impl Refused {
    fn at(code: RefusalCode, field: &'static str) -> Self {
        Self { code: Code::Event(code), field: Some(field) }
    }

    fn invalid(field: &'static str) -> Self {
        Self::at(RefusalCode::InvalidData, field)
    }

    pub fn door(code: DoorCode) -> Self {
        Self { code: Code::Door(code), field: None }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.as_str())?;
        self.field.map_or(Ok(()), |field| write!(f, " at {field}"))
    }
}

/// Its detail may quote the notice, and stays behind.
impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { code: Code::Event(refusal.code), field: None }
    }
}

impl From<FormError> for Refused {
    fn from(error: FormError) -> Self {
        match error {
            FormError::Missing { field } => Self::at(RefusalCode::MissingField, field),
            FormError::Undecodable { field, .. } => Self::invalid(field),
            FormError::Json => Self { code: Code::Event(RefusalCode::BrokenJson), field: None },
            FormError::Escape | FormError::Nul | FormError::Nameless | FormError::Repeated | FormError::Nested => {
                Self { code: Code::Event(RefusalCode::InvalidData), field: None }
            }
        }
    }
}

impl From<SignatureError> for Refused {
    fn from(error: SignatureError) -> Self {
        let bad = |field| Self { code: Code::Door(DoorCode::BadSignature), field };
        match error {
            SignatureError::Missing { field }
            | SignatureError::Malformed { field }
            | SignatureError::Unsupported { field } => bad(Some(field)),
            SignatureError::UnknownKey | SignatureError::Wrong | SignatureError::NotSigned => bad(None),
            SignatureError::TooOld | SignatureError::TooEarly => Self::door(DoorCode::SignedOutOfTime),
            SignatureError::Form(error) => error.into(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
