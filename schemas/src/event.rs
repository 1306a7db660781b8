//! The envelope: CloudEvents 1.0, in binary mode as a record of the log and in structured mode over HTTP.
//!
//! An event's id is derived from what the fact is, never from who reports it or when, so that the same fact has the
//! same id by notice, by query and by statement, and a repeat is recognised on every engine.

use std::fmt;

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    About, Data, OrderId, Stream,
    calendar::parse_time,
    events::words,
    upcast::{UPCASTERS, Upcaster, upcast},
};

mod read;

pub use read::json_refusal;
use read::*;

pub const CONTENT_TYPE: &str = "application/json";

/// The longest number or name by which a fact is known.
pub(crate) const IDENTITY_CHARS_MAX: usize = 128;

/// At most so much is said about a refusal.
const DETAIL_CHARS_MAX: usize = 400;

/// Chosen once: every event id is derived under it.
const ID_NAMESPACE: Uuid = Uuid::from_u128(0x6f1a_7f0e_93b4_4b55_8d0c_2d9c_51a0_6e1b);

/// A fact that happened, with its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Derived, see [`event_id`].
    pub id: Uuid,
    /// Who reports it: `/channels/ums-pos`, `/ledger/coordinator`.
    pub source: String,
    /// The order, contract or batch it is about.
    pub subject: String,
    /// What it stays in order with: the key of the record.
    pub stream: Stream,
    /// When it happened, by the source's clock.
    pub occurred_at: DateTime<FixedOffset>,
    /// The journey it belongs to.
    pub correlation_id: Option<Uuid>,
    /// The event that caused it.
    pub causation_id: Option<Uuid>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    pub data: Data,
}

/// Where a record stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// An event as the log has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub position: Position,
    /// When it was appended, by the log's clock.
    pub recorded_at: DateTime<Utc>,
    pub event: Event,
}

words! {
    /// Why a record or request is not taken as an event: one code for each reason.
    RefusalCode {
        /// The text is not JSON.
        BrokenJson = "BROKEN_JSON",
        /// A required CloudEvents attribute is missing or malformed.
        InvalidEnvelope = "INVALID_ENVELOPE",
        /// The catalogue has no such type.
        UnknownType = "UNKNOWN_TYPE",
        /// The type is known, but not in this version.
        UnknownSchemaVersion = "UNKNOWN_SCHEMA_VERSION",
        /// A required field of the data is missing.
        MissingField = "MISSING_FIELD",
        /// An amount is negative, too large, or not written with two decimals.
        InvalidAmount = "INVALID_AMOUNT",
        /// A field of the data has the wrong form or breaks a rule of its type.
        InvalidData = "INVALID_DATA",
        /// The data has a field that its type does not know.
        UnknownField = "UNKNOWN_FIELD",
        /// The key is not the stream that the subject belongs to.
        WrongKey = "WRONG_KEY",
        /// The id is not the one that the fact has.
        WrongId = "WRONG_ID",
        /// The record is larger than the log takes.
        TooLarge = "TOO_LARGE",
        /// This type or source belongs to somebody else.
        NotYours = "NOT_YOURS",
        /// The same fact was reported before with other business fields.
        ConflictingRepeat = "CONFLICTING_REPEAT",
    }
}

/// A named refusal of bad input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    pub code: RefusalCode,
    pub detail: String,
}

impl Refusal {
    /// The detail may quote the input, so it is cut off: a refusal must always fit where it is kept and answered.
    pub fn new(code: RefusalCode, detail: impl fmt::Display) -> Self {
        Self { code, detail: detail.to_string().chars().take(DETAIL_CHARS_MAX).collect() }
    }
}

/// The id of a fact: UUIDv5 over the type's name without its version and the natural key, each length-prefixed
/// so that no two tuples spell the same text.
pub fn event_id(data: &Data, subject: &str) -> Uuid {
    let name = data.event_type().rsplit_once(".v").map_or(data.event_type(), |(name, _)| name);
    let mut text = Vec::with_capacity(128);
    for part in std::iter::once(name.into()).chain(data.natural_key(subject)) {
        text.extend_from_slice(&(part.len() as u32).to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&ID_NAMESPACE, &text)
}

/// The subject of what is about a channel as a whole: its natural key.
fn channel_subject(data: &Data) -> String {
    data.natural_key("").join("/")
}

impl Event {
    /// An event about an order, on the order's own stream.
    pub fn about_order(
        source: impl Into<String>,
        order: &OrderId,
        occurred_at: DateTime<FixedOffset>,
        data: impl Into<Data>,
    ) -> Self {
        Self::new(source.into(), order.to_string(), order.stream(), occurred_at, data.into())
    }

    /// An event about a contract, a card or a fee account as a whole.
    pub fn about_stream(
        source: impl Into<String>,
        stream: &Stream,
        occurred_at: DateTime<FixedOffset>,
        data: impl Into<Data>,
    ) -> Self {
        Self::new(source.into(), stream.to_string(), stream.clone(), occurred_at, data.into())
    }

    /// An event about a channel or party as a whole.
    pub fn about_channel(
        source: impl Into<String>,
        channel: &crate::Name,
        occurred_at: DateTime<FixedOffset>,
        data: impl Into<Data>,
    ) -> Self {
        let data = data.into();
        Self::new(source.into(), channel_subject(&data), Stream::channel(channel), occurred_at, data)
    }

    fn new(source: String, subject: String, stream: Stream, occurred_at: DateTime<FixedOffset>, data: Data) -> Self {
        Self {
            id: event_id(&data, &subject),
            source,
            subject,
            stream,
            occurred_at,
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            data,
        }
    }

    /// What caused this event; it joins the cause's journey.
    pub fn caused_by(mut self, cause: &Event) -> Self {
        self.causation_id = Some(cause.id);
        self.correlation_id = Some(cause.correlation_id.unwrap_or(cause.id));
        self
    }

    /// The order this event is about, if it is about one.
    pub fn order(&self) -> Option<OrderId> {
        match self.data.about() {
            About::Order => self.subject.parse().ok(),
            About::Stream | About::Channel => None,
        }
    }

    /// A digest of what two reports of this fact must agree on.
    pub fn business_digest(&self) -> Uuid {
        let mut fields = self.data.business_fields();
        // One transaction told for two orders is no repeat.
        fields.push(self.subject.as_str().into());
        Uuid::new_v5(&self.id, fields.join("\u{1f}").as_bytes())
    }

    /// The record's headers, CloudEvents Kafka binding in binary mode; the key is the stream.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", self.id.to_string()),
            ("ce_type", self.data.event_type().to_owned()),
            ("ce_source", self.source.clone()),
            ("ce_subject", self.subject.clone()),
            ("ce_time", rfc3339(self.occurred_at)),
            ("ce_partitionkey", self.stream.to_string()),
            ("content-type", CONTENT_TYPE.to_owned()),
        ];
        headers.extend(self.correlation_id.map(|id| ("ce_correlationid", id.to_string())));
        headers.extend(self.causation_id.map(|id| ("ce_causationid", id.to_string())));
        headers.extend(self.traceparent.clone().map(|trace| ("ce_traceparent", trace)));
        headers
    }

    /// The record's value.
    pub fn value(&self) -> Vec<u8> {
        serde_json::to_vec(&self.data).unwrap_or_default()
    }

    /// Reads a record of the log. What is in the log was checked when it was appended, so the rules of its type are not
    /// asked again and unknown fields (of a newer writer) are passed over, but key and id must still be the ones of the
    /// fact.
    pub fn from_record<'a>(
        key: &[u8],
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        value: &[u8],
    ) -> Result<Self, Refusal> {
        let (attributes, value) = Attributes::of_record(headers, value)?;
        let stated_id = attributes.id;
        let event = attributes.into_event(value, Unknown::PassedOver)?;
        if event.stream.as_str().as_bytes() != key {
            return Err(Refusal::new(
                RefusalCode::WrongKey,
                format!("the key of this record must be {}", event.stream),
            ));
        }
        if stated_id != Some(event.id.hyphenated().encode_lower(&mut Uuid::encode_buffer())) {
            return Err(Refusal::new(RefusalCode::WrongId, format!("the id of this fact is {}", event.id)));
        }
        Ok(event)
    }

    /// Reads what a publisher sends in binary mode, as a record of an inbox topic. As in [`Event::from_structured`], the
    /// publisher's own `id` is replaced by the derived one and unknown fields are refused; the record's key is its own.
    pub fn from_binary<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        value: &[u8],
    ) -> Result<Self, Refusal> {
        let (attributes, value) = Attributes::of_record(headers, value)?;
        if attributes.specversion != Some("1.0") {
            return Err(Refusal::new(RefusalCode::InvalidEnvelope, "ce_specversion must be 1.0"));
        }
        attributes.into_event(value, Unknown::Refused)
    }

    /// Reads what a publisher sends: CloudEvents JSON. The publisher's own `id` is replaced by the derived one;
    /// unknown fields of the data are refused, because a misspelt field would be lost in silence.
    pub fn from_structured(json: &[u8]) -> Result<Self, Refusal> {
        if starts_an_array(json) {
            return Err(Refusal::new(RefusalCode::InvalidEnvelope, "an event is an object, not an array"));
        }
        let envelope: Structured<'_> = serde_json::from_slice(json).map_err(|error| {
            let code = match error.classify() {
                serde_json::error::Category::Data => RefusalCode::InvalidEnvelope,
                _ => RefusalCode::BrokenJson,
            };
            Refusal::new(code, error)
        })?;
        if envelope.specversion != "1.0" {
            return Err(Refusal::new(RefusalCode::InvalidEnvelope, "specversion must be \"1.0\""));
        }
        let Some(data) = envelope.data else {
            return Err(Refusal::new(RefusalCode::InvalidEnvelope, "the attribute data is missing"));
        };
        let attributes = Attributes {
            specversion: Some(&envelope.specversion),
            id: Some(&envelope.id),
            event_type: Some(&envelope.event_type),
            source: Some(&envelope.source),
            subject: envelope.subject.as_deref(),
            time: envelope.time.as_deref(),
            content_type: envelope.datacontenttype.as_deref(),
            partition_key: envelope.partitionkey.as_deref(),
            correlation_id: envelope.correlationid.as_deref(),
            causation_id: envelope.causationid.as_deref(),
            traceparent: envelope.traceparent.as_deref(),
        };
        attributes.into_event(data.get(), Unknown::Refused)
    }

    /// CloudEvents JSON.
    pub fn to_structured(&self) -> serde_json::Value {
        let mut json = serde_json::json!({
            "specversion": "1.0",
            "id": self.id,
            "type": self.data.event_type(),
            "source": self.source,
            "subject": self.subject,
            "time": rfc3339(self.occurred_at),
            "datacontenttype": CONTENT_TYPE,
            "partitionkey": self.stream,
            "data": self.data,
        });
        let optional = [
            ("correlationid", self.correlation_id.map(|id| id.to_string())),
            ("causationid", self.causation_id.map(|id| id.to_string())),
            ("traceparent", self.traceparent.clone()),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                json[name] = value.into();
            }
        }
        json
    }
}

impl Recorded {
    /// CloudEvents JSON with the log's time and position as extension attributes.
    pub fn to_structured(&self) -> serde_json::Value {
        let mut json = self.event.to_structured();
        json["recordedtime"] = rfc3339(self.recorded_at.fixed_offset()).into();
        json["logpartition"] = self.position.partition.into();
        // CloudEvents integers have 32 bits, an offset has 64.
        json["logoffset"] = self.position.offset.to_string().into();
        json
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl std::str::FromStr for Position {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            // Digits alone: numbers of Rust may have a sign.
            let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b':');
            let (partition, offset) = text.split_once(':').filter(|_| digits)?;
            Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        };
        parse().ok_or_else(|| format!("{text:?} is not a position such as 3:1204 (partition:offset)"))
    }
}

fn rfc3339(time: DateTime<FixedOffset>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
