//! Reading an event: from its attributes and the text of its data, with a named refusal for whatever is wrong.

use super::*;
use crate::StreamKind;

/// What to do with fields of the data that its type does not know.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Unknown {
    PassedOver,
    Refused,
}

#[derive(Deserialize)]
pub(super) struct Structured<'a> {
    pub(super) specversion: String,
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) event_type: String,
    pub(super) source: String,
    pub(super) subject: Option<String>,
    pub(super) time: Option<String>,
    pub(super) datacontenttype: Option<String>,
    pub(super) partitionkey: Option<String>,
    pub(super) correlationid: Option<String>,
    pub(super) causationid: Option<String>,
    pub(super) traceparent: Option<String>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
}

#[derive(Default)]
pub(super) struct Attributes<'a> {
    pub(super) specversion: Option<&'a str>,
    pub(super) id: Option<&'a str>,
    pub(super) event_type: Option<&'a str>,
    pub(super) source: Option<&'a str>,
    pub(super) subject: Option<&'a str>,
    pub(super) time: Option<&'a str>,
    pub(super) content_type: Option<&'a str>,
    pub(super) partition_key: Option<&'a str>,
    pub(super) correlation_id: Option<&'a str>,
    pub(super) causation_id: Option<&'a str>,
    pub(super) traceparent: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    /// The attributes that the headers of a record hold, and its value as text.
    pub(super) fn of_record<'v>(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        value: &'v [u8],
    ) -> Result<(Self, &'v str), Refusal> {
        let mut attributes = Self::default();
        let refusal = |name, wrong| Refusal::new(RefusalCode::InvalidEnvelope, format!("header ce_{name} {wrong}"));
        for (name, text) in headers {
            // The one attribute whose header has a name of its own. Others may add headers in any form.
            let is_content_type = name.eq_ignore_ascii_case("content-type");
            let Some(name) = name.strip_prefix("ce_").or(is_content_type.then_some("datacontenttype")) else {
                continue;
            };
            let text = std::str::from_utf8(text).map_err(|_| refusal(name, "is not UTF-8"))?;
            if attributes.set(name, text).is_some() {
                return Err(refusal(name, "stands twice"));
            }
        }
        let value = std::str::from_utf8(value).map_err(|error| Refusal::new(RefusalCode::BrokenJson, error))?;
        Ok((attributes, value))
    }

    /// Sets the named attribute and returns what it was before; extensions that we do not know are passed over.
    pub(super) fn set(&mut self, name: &str, text: &'a str) -> Option<&'a str> {
        let slot = match name {
            "specversion" => &mut self.specversion,
            "id" => &mut self.id,
            "type" => &mut self.event_type,
            "source" => &mut self.source,
            "subject" => &mut self.subject,
            "time" => &mut self.time,
            "datacontenttype" => &mut self.content_type,
            "partitionkey" => &mut self.partition_key,
            "correlationid" => &mut self.correlation_id,
            "causationid" => &mut self.causation_id,
            "traceparent" => &mut self.traceparent,
            _ => return None,
        };
        slot.replace(text)
    }

    pub(super) fn into_event(self, data: &str, unknown: Unknown) -> Result<Event, Refusal> {
        let envelope = |detail: String| Refusal::new(RefusalCode::InvalidEnvelope, detail);
        let required = |value: Option<&'a str>, name| {
            value.filter(|v| !v.is_empty()).ok_or_else(|| envelope(format!("the attribute {name} is missing")))
        };
        let uuid = |value: Option<&str>, name| {
            value.map(Uuid::parse_str).transpose().map_err(|_| envelope(format!("the attribute {name} is not a UUID")))
        };
        let event_type = required(self.event_type, "type")?;
        let source = required(self.source, "source")?;
        required(self.id, "id")?;
        let occurred_at = parse_time(required(self.time, "time")?)
            .ok_or_else(|| envelope("the attribute time is not an RFC 3339 time with its offset".to_owned()))?;
        if [self.source, self.traceparent].into_iter().flatten().any(|text| text.contains(char::is_control)) {
            return Err(envelope("an attribute may not have control characters".to_owned()));
        }
        if unknown == Unknown::Refused && self.content_type.is_some_and(|text| !text.starts_with(CONTENT_TYPE)) {
            return Err(envelope(format!("the attribute datacontenttype is not {CONTENT_TYPE}")));
        }
        let data = read_data(UPCASTERS, event_type, data, unknown)?;
        let (subject, stream) = self.place(&data)?;
        // At the gates alone: a rule that becomes stricter must not make a record unreadable that was let in before.
        if unknown == Unknown::Refused {
            data.check(stream.kind()).map_err(|detail| Refusal::new(RefusalCode::InvalidData, detail))?;
            check_identity(&data, &subject)?;
        }
        Ok(Event {
            correlation_id: uuid(self.correlation_id, "correlationid")?,
            causation_id: uuid(self.causation_id, "causationid")?,
            traceparent: self.traceparent.map(str::to_owned),
            ..Event::new(source.to_owned(), subject, stream, occurred_at, data)
        })
    }

    /// Subject and stream, and whether the two belong together.
    fn place(&self, data: &Data) -> Result<(String, Stream), Refusal> {
        let wrong_key = |detail: String| Refusal::new(RefusalCode::WrongKey, detail);
        let stated: Option<Stream> = self.partition_key.map(str::parse).transpose().map_err(wrong_key_from)?;
        let kinds = Data::kinds_of(data.event_type());
        match data.about() {
            About::Order => {
                let missing = "the attribute subject (the order number) is missing";
                let order: OrderId = self
                    .subject
                    .ok_or_else(|| Refusal::new(RefusalCode::InvalidEnvelope, missing))?
                    .parse()
                    .map_err(|error| Refusal::new(RefusalCode::InvalidEnvelope, error))?;
                let stream = order.stream();
                if stated.is_some_and(|stated| stated != stream) {
                    return Err(wrong_key(format!("the key of order {order} is {stream}")));
                }
                if !kinds.contains(&order.kind()) {
                    return Err(wrong_key(format!("this type belongs to orders of {}", words_of(kinds))));
                }
                Ok((order.to_string(), stream))
            }
            About::Stream => match stated.filter(|stream| stream.kind().is_some_and(|kind| kinds.contains(&kind))) {
                Some(stream) if self.subject.is_none_or(|subject| subject == stream.as_str()) => {
                    Ok((stream.to_string(), stream))
                }
                _ => Err(wrong_key(format!(
                    "this type belongs on a stream {}:<token>, which is also its subject",
                    words_of(kinds)
                ))),
            },
            About::Channel => match stated.filter(|stream| stream.kind().is_none()) {
                Some(stream) => Ok((channel_subject(data), stream)),
                None => {
                    Err(wrong_key("this type belongs on a channel:<name> stream: give it as partitionkey".to_owned()))
                }
            },
        }
    }
}

/// `loan|card`, as a refusal says it.
fn words_of(kinds: &[StreamKind]) -> String {
    kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join("|")
}

pub(super) fn wrong_key_from(error: crate::NameError) -> Refusal {
    Refusal::new(RefusalCode::WrongKey, error)
}

/// What tells facts apart stands in keys and indexes. A blank in a number would make two facts of one, an empty number
/// one of two, and a text that no index takes would stop a view.
pub(super) fn check_identity(data: &Data, subject: &str) -> Result<(), Refusal> {
    let sound = |part: &str| !part.is_empty() && part.trim() == part && !part.contains(char::is_control);
    let short = |part: &str| part.chars().count() <= IDENTITY_CHARS_MAX;
    let (key, fields) = (data.natural_key(subject), data.business_fields());
    if !key.iter().all(|part| sound(part)) {
        return Err(Refusal::new(
            RefusalCode::InvalidData,
            "what tells this fact from others may not be empty, begin or end with a blank, or have control characters",
        ));
    }
    if !key.iter().chain(&fields).all(|part| short(part)) {
        return Err(Refusal::new(
            RefusalCode::InvalidData,
            format!("what tells this fact from others has at most {IDENTITY_CHARS_MAX} characters"),
        ));
    }
    Ok(())
}

fn read_data(steps: &[Upcaster], event_type: &str, json: &str, unknown: Unknown) -> Result<Data, Refusal> {
    if starts_an_array(json.as_bytes()) {
        return Err(Refusal::new(RefusalCode::InvalidData, "the data is an object, not an array"));
    }
    if escapes_nul(json) {
        return Err(Refusal::new(RefusalCode::InvalidData, "the data may not have the character U+0000"));
    }
    let refusal = |error| json_refusal(&error, json.as_bytes());
    match upcast(steps, event_type, json).transpose().map_err(refusal)? {
        Some((event_type, lifted)) => read_fields(event_type, &lifted, unknown),
        None => read_fields(event_type, json, unknown),
    }
}

fn read_fields(event_type: &str, json: &str, unknown: Unknown) -> Result<Data, Refusal> {
    let refusal = |error| json_refusal(&error, json.as_bytes());
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let mut ignored = Vec::new();
    let mut note = |path: serde_ignored::Path<'_>| ignored.push(path.to_string());
    let read = match unknown {
        Unknown::PassedOver => Data::read(event_type, &mut deserializer),
        Unknown::Refused => Data::read(event_type, serde_ignored::Deserializer::new(&mut deserializer, &mut note)),
    };
    let data = read.ok_or_else(|| unknown_type(event_type))?.map_err(refusal)?;
    if !ignored.is_empty() {
        return Err(Refusal::new(
            RefusalCode::UnknownField,
            format!("{event_type} has no field {}", ignored.join(", ")),
        ));
    }
    deserializer.end().map_err(refusal)?;
    Ok(data)
}

/// Serde would read an array as an object's fields in the order in which our code happens to name them.
pub(super) fn starts_an_array(json: &[u8]) -> bool {
    json.trim_ascii_start().starts_with(b"[")
}

/// Whether a string holds U+0000: JSON can say it, Postgres cannot store it, and one such record would stop a view.
pub(super) fn escapes_nul(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let before = json[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        before % 2 == 0
    })
}

pub(super) fn unknown_type(event_type: &str) -> Refusal {
    let stem = |full: &str| full.rsplit_once(".v").map(|(stem, _)| stem.to_owned());
    match Data::TYPES.iter().find(|known| stem(known) == stem(event_type)) {
        Some(known) => Refusal::new(
            RefusalCode::UnknownSchemaVersion,
            format!("{event_type} is not known; the version in use is {known}"),
        ),
        None => Refusal::new(RefusalCode::UnknownType, format!("{:.120} is not a type of this ledger", event_type)),
    }
}

/// Why JSON could not be read as what it should be. Serde says it in words; the code is read off them, and tests hold
/// both together. It calls some misfits broken, such as a number for a word; whether `json` is broken only JSON itself
/// can tell.
pub fn json_refusal(error: &serde_json::Error, json: &[u8]) -> Refusal {
    let text = error.to_string();
    let code = if !error.is_data() && serde_json::from_slice::<IgnoredAny>(json).is_err() {
        RefusalCode::BrokenJson
    } else if text.starts_with("missing field") {
        RefusalCode::MissingField
    } else if text.starts_with("an amount") {
        RefusalCode::InvalidAmount
    } else {
        RefusalCode::InvalidData
    };
    Refusal::new(code, text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn old_data_is_lifted_before_it_is_read() {
        const STEPS: &[Upcaster] = &[Upcaster {
            from: "ledger.payment.initiated.v0",
            to: "ledger.payment.initiated.v1",
            lift: |mut data| {
                data["amount"] = json!(format!("{}.00", data["yuan"]));
                data.as_object_mut().and_then(|fields| fields.remove("yuan"));
                data
            },
        }];
        let read = |steps, yuan: &str| {
            let json = format!(r#"{{"attempt":1,"method":"card","yuan":{yuan}}}"#);
            read_data(steps, "ledger.payment.initiated.v0", &json, Unknown::Refused)
        };
        let Ok(Data::PaymentInitiated(data)) = read(STEPS, "800") else { panic!("it is not read") };
        assert_eq!(data.amount.to_string(), "800.00");
        assert_eq!(read(STEPS, "-1").unwrap_err().code, RefusalCode::InvalidAmount, "as strictly as what is new");
        assert_eq!(read(&[], "800").unwrap_err().code, RefusalCode::UnknownSchemaVersion);
    }
}
