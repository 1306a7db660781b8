//! The documents that follow from the code: a JSON Schema for every type of event, and the AsyncAPI document of the
//! topics. They are files in the tree so that others can read them without building anything, and a test keeps every
//! file equal to what is made here: no document can say something else than the code does.

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Map, Value, json};

use crate::{
    About, Data, Name, NameError, OrderId, Stream,
    topics::{Topic, Topics},
};

const TOLERANCE: &str = "A door refuses fields that are not listed here, because a misspelt one would be lost in \
                         silence. A reader of the log must pass over them, because a newer writer may add some.";

/// A declaration that the documents rest on cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GeneratedError {
    #[error("topics.toml cannot be read")]
    Topics(#[from] toml::de::Error),
    #[error("the placeholder of a channel's name is no name")]
    Placeholder(#[from] NameError),
}

/// A file that follows from the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Where it stands, below the folder of this crate.
    pub path: String,
    pub text: String,
}

impl Document {
    fn new(path: String, mut json: Value) -> Self {
        // Whether maps keep their order depends on features that other crates of a build ask for.
        json.sort_all_objects();
        Self { path, text: format!("{json:#}\n") }
    }
}

/// Every document, in the order of the catalogue.
pub fn documents() -> Result<Vec<Document>, GeneratedError> {
    let schema = |event_type: &&str| {
        event_schema(event_type).map(|schema| Document::new(format!("json/{event_type}.json"), schema))
    };
    let mut documents: Vec<Document> = Data::TYPES.iter().filter_map(schema).collect();
    documents.push(Document::new("asyncapi.json".to_owned(), asyncapi()?));
    Ok(documents)
}

/// The JSON Schema of a whole CloudEvent of this type in structured mode, as a door takes it; the schema of its data
/// alone is `#/$defs/data`. `None` when the catalogue has no such type.
pub fn event_schema(event_type: &str) -> Option<Value> {
    let about = Data::about_of(event_type)?;
    let mut generator = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(close)).into_generator();
    let mut data = data_schema(event_type, &mut generator)?;
    let (title, doc) = (text(&data, "title"), text(&data, "description"));
    data.insert("description".to_owned(), format!("{doc} {TOLERANCE}").into());
    let (subject, partition_key) = place(event_type, about, &mut generator);
    let mut definitions = generator.take_definitions(true);
    definitions.insert("data".to_owned(), data.to_value());
    Some(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:ledger:schema:{event_type}"),
        "title": title,
        "description": format!("{doc} The whole CloudEvent in structured mode; its data alone is #/$defs/data."),
        "type": "object",
        "properties": attributes(event_type, subject, partition_key),
        "required": required(about),
        "$defs": definitions,
    }))
}

/// A closed object: the door refuses other fields.
pub fn close(schema: &mut Schema) {
    if schema.get("properties").is_some() {
        schema.insert("additionalProperties".to_owned(), false.into());
    }
}

/// The schema of a type's data, without the definitions that it refers to: the generator keeps those.
fn data_schema(event_type: &str, generator: &mut SchemaGenerator) -> Option<Schema> {
    let mut schema = Data::schema_of(event_type, generator)?;
    for root_only in ["$schema", "$defs", "components"] {
        schema.remove(root_only);
    }
    Some(schema)
}

fn text(schema: &Schema, keyword: &str) -> String {
    schema.get(keyword).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn required(about: About) -> Vec<&'static str> {
    vec!["specversion", "id", "type", "source", "time", required_place(about), "data"]
}

/// Which attribute tells where an event belongs.
pub fn required_place(about: About) -> &'static str {
    match about {
        About::Order => "subject",
        About::Stream | About::Channel => "partitionkey",
    }
}

/// The attributes of the envelope. It is open: CloudEvents lets everybody add extensions.
fn attributes(event_type: &str, subject: Value, partition_key: Value) -> Value {
    json!({
        "specversion": { "const": "1.0" },
        "type": { "const": event_type },
        "id": {
            "type": "string", "minLength": 1,
            "description": "In the log a UUIDv5 that is derived from the fact, so that a repeat has the same one. \
                            A door replaces the publisher's own."
        },
        "source": {
            "type": "string", "format": "uri-reference", "minLength": 1,
            "description": "Who reports it: /channels/<name>, /banks/<name>, /operators/<name> or /ledger/<role>"
        },
        "subject": subject,
        "time": {
            "type": "string", "format": "date-time", "pattern": "(Z|[+-][0-9]{2}:[0-9]{2})$",
            "description": "When it happened, by the source's clock, with its offset"
        },
        "datacontenttype": { "type": ["string", "null"], "pattern": "^application/json" },
        "partitionkey": partition_key,
        "correlationid": {
            "type": ["string", "null"], "format": "uuid", "description": "The journey it belongs to"
        },
        "causationid": {
            "type": ["string", "null"], "format": "uuid", "description": "The event that caused it"
        },
        "traceparent": { "type": ["string", "null"], "description": "W3C trace context" },
        "data": { "$ref": "#/$defs/data" },
    })
}

/// The schemas of subject and partition key by the type of the event and what it is about.
pub fn place(event_type: &str, about: About, generator: &mut SchemaGenerator) -> (Value, Value) {
    let kinds = Data::kinds_of(event_type);
    let stream = |pattern: &str, generator: &mut SchemaGenerator| {
        let mut schema = generator.subschema_for::<Stream>();
        schema.insert("pattern".to_owned(), pattern.into());
        schema.to_value()
    };
    let words: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let of_these_kinds = format!("^({}):", words.join("|"));
    match about {
        About::Order => {
            let letters: String = kinds.iter().map(|kind| kind.letter()).collect();
            let mut order = generator.subschema_for::<OrderId>();
            order.insert("pattern".to_owned(), format!("^[{letters}][A-Z2-7]{{29}}$").into());
            (
                described(order, "The order"),
                json!({ "anyOf": [stream(&of_these_kinds, generator), { "type": "null" }],
                        "description": "The stream that the order number carries; may be left out" }),
            )
        }
        About::Stream => (
            json!({ "type": ["string", "null"], "description": "The stream, as in partitionkey; may be left out" }),
            stream(&of_these_kinds, generator),
        ),
        About::Channel => (
            json!({ "type": ["string", "null"], "description": "Made of the fact by the ledger; may be left out" }),
            stream("^channel:", generator),
        ),
    }
}

fn described(mut schema: Schema, description: &str) -> Value {
    schema.insert("description".to_owned(), description.into());
    schema.to_value()
}

/// The AsyncAPI document: which topics there are, how a record is laid out, and what each type of event says.
/// It speaks to readers of the log, so its objects are open.
pub fn asyncapi() -> Result<Value, GeneratedError> {
    let mut generator = SchemaSettings::draft07()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let key = inlined::<Stream>();
    let mut messages = Map::new();
    let mut payloads = Map::new();
    for event_type in Data::TYPES {
        let Some(payload) = data_schema(event_type, &mut generator) else { continue };
        messages.insert((*event_type).to_owned(), message(event_type, &payload, &key));
        payloads.insert(text(&payload, "title"), payload.to_value());
    }
    payloads.insert("Headers".to_owned(), headers());
    payloads.extend(generator.take_definitions(true));
    Ok(json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Ledger events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The log of an event-sourced ledger for education payments. Records are CloudEvents 1.0 \
                            in binary mode. Data only ever grows by optional fields; what cannot be said that way gets \
                            a new version of the type. Readers pass over fields that they do not know.",
        },
        "defaultContentType": crate::CONTENT_TYPE,
        "channels": channels(&messages)?,
        "operations": operations(),
        "components": { "messages": messages, "schemas": payloads },
    }))
}

/// A schema without references, for places where tools do not follow them.
fn inlined<T: schemars::JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().subschema_for::<T>().to_value()
}

fn message(event_type: &str, payload: &Schema, key: &Value) -> Value {
    let title = text(payload, "title");
    json!({
        "name": event_type,
        "title": title,
        "summary": text(payload, "description"),
        "contentType": crate::CONTENT_TYPE,
        "headers": { "allOf": [
            { "$ref": "#/components/schemas/Headers" },
            { "type": "object", "properties": { "ce_type": { "const": event_type } } },
        ] },
        "payload": { "$ref": format!("#/components/schemas/{title}") },
        "correlationId": { "location": "$message.header#/ce_correlationid" },
        "bindings": { "kafka": { "key": key, "bindingVersion": "0.5.0" } },
    })
}

/// The headers of a record: the attributes of CloudEvents, each with its prefix.
fn headers() -> Value {
    let uuid = |description: &str| json!({ "type": "string", "format": "uuid", "description": description });
    json!({
        "type": "object",
        "description": "CloudEvents 1.0, Kafka binding, binary mode. All values are UTF-8.",
        "properties": {
            "ce_specversion": { "const": "1.0" },
            "ce_id": uuid("UUIDv5, derived from the fact: records with the same id are the same fact, and count once"),
            "ce_type": { "type": "string", "description": "The type of the event, with its version" },
            "ce_source": { "type": "string", "format": "uri-reference", "description": "Who reports it" },
            "ce_subject": { "type": "string", "description": "The order, contract or batch that it is about" },
            "ce_time": { "type": "string", "format": "date-time", "description": "When it happened" },
            "ce_partitionkey": { "type": "string", "description": "The stream, which is also the key of the record" },
            "ce_correlationid": uuid("The journey it belongs to"),
            "ce_causationid": uuid("The event that caused it"),
            "ce_traceparent": { "type": "string", "description": "W3C trace context" },
            "content-type": { "const": crate::CONTENT_TYPE },
        },
        "required": [
            "ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "ce_partitionkey",
            "content-type",
        ],
    })
}

fn channels(messages: &Map<String, Value>) -> Result<Value, GeneratedError> {
    let topics = Topics::declared("ledger")?;
    let any_channel: Name = "channel".parse()?;
    let (events, inbox) = (topics.events(), topics.inbox(&any_channel));
    let messages: Map<String, Value> = messages
        .keys()
        .map(|event_type| (event_type.clone(), json!({ "$ref": format!("#/components/messages/{event_type}") })))
        .collect();
    Ok(json!({
        "events": {
            "address": events.name,
            "title": "Every fact and decision, for ever",
            "description": "Keyed by stream, so that what belongs to one contract stays in order. Only the ledger \
                            writes it. The same fact can stand in it twice, with the same ce_id: a reader counts it \
                            once.",
            "messages": messages,
            "bindings": { "kafka": kafka_topic(events) },
        },
        "inbox": {
            "address": inbox.name.replace(any_channel.as_str(), "{channel}"),
            "title": "What a channel sends in",
            "description": "One topic for each channel, which alone may write it. The ledger checks a record as \
                            strictly as its HTTP door does (unknown fields are refused, and so are types that are not \
                            the channel's to report) and appends the event under its derived id. What it refuses it \
                            keeps as ledger.inbox-record.rejected.v1.",
            "parameters": { "channel": { "description": "The name of the channel, such as ums-pos" } },
            "messages": messages,
            "bindings": { "kafka": kafka_topic(&inbox) },
        },
    }))
}

fn kafka_topic(topic: &Topic) -> Value {
    let setting = |(name, value): (&String, &String)| {
        let value = match name.as_str() {
            "cleanup.policy" => json!(value.split(',').collect::<Vec<_>>()),
            _ => value.parse::<i64>().map_or_else(|_| json!(value), |number| json!(number)),
        };
        (name.clone(), value)
    };
    json!({
        "partitions": topic.partitions,
        "replicas": topic.replication,
        "topicConfiguration": topic.settings.iter().map(setting).collect::<Map<String, Value>>(),
        "bindingVersion": "0.5.0",
    })
}

fn operations() -> Value {
    json!({
        "append": operation("send", "events", "The ledger appends a fact or a decision."),
        "fold": operation("receive", "events", "The ledger and its readers fold the log into tables."),
        "admit": operation("receive", "inbox", "The ledger takes in what a channel sends."),
    })
}

fn operation(action: &str, channel: &str, summary: &str) -> Value {
    let channel = format!("#/channels/{channel}");
    json!({ "action": action, "channel": { "$ref": channel }, "summary": summary })
}
