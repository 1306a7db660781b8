//! The OpenAPI document of the door, and of what others serve through it. Its schemas are those of the types that the door reads and writes; only the paths
//! are written out here.
//!
//! This is composed by hand: `aide` is an alpha wherever it fits this version of schemars, and `utoipa` has a schema
//! derive of its own, so that every type of the catalogue would need a second one.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings, transform::RecursiveTransform};
use schemas::{
    Data,
    generated::{close, place, required_place},
};
use serde_json::{Map, Value, json};

use super::{
    Problem,
    authority::REPORTERS,
    events::{Appended, ItemResult},
    fee_payments::FeePaymentRequest,
    health::Ready,
    purchases::{OfflinePurchase, PurchaseRequest},
    repayments::RepaymentRequest,
    requests::OrderAnswer,
    streams::{StreamAnswer, StreamQuestion},
    top_ups::TopUpRequest,
};

const DEFINITIONS: &str = "/components/schemas";

/// An event to show.
const EVENT: &str = include_str!("../../../schemas/golden/ledger.payment.captured.v1/1-card-on-a-terminal.json");

/// The document: OpenAPI 3.1, whose dialect is JSON Schema 2020-12. `others` are paths that are served through the door.
pub fn document(others: impl FnOnce(&mut SchemaGenerator) -> Value) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = DEFINITIONS.into();
        settings.meta_schema = None;
    });
    // What is asked is closed: the door refuses fields that it does not know. What is answered may grow.
    let mut asked = settings.clone().with_transform(RecursiveTransform(close)).into_generator();
    let mut answered = settings.into_generator();
    let event = cloud_event(&mut asked);
    let mut paths = paths(&mut asked, &mut answered);
    add_paths(&mut paths, others(&mut answered), &refused(&mut answered));
    let mut components: Map<String, Value> = answered.take_definitions(true);
    components.extend(asked.take_definitions(true));
    components.extend(event);
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ledger",
            "version": "1",
            "description": "Reports and requests of channels, banks and operators, appended to the ledger, and reports \
                            from its books. Whatever was answered with 201 is in the log. Repeating a request never \
                            does harm.",
        },
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "schemas": components,
        },
    });
    // Whether maps keep their order depends on features that other crates of a build ask for.
    document.sort_all_objects();
    document
}

/// The envelope with every type that somebody may report, and the schemas of their data by name.
fn cloud_event(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut types = Vec::new();
    for (event_type, roles) in REPORTERS.iter().filter(|(_, roles)| !roles.is_empty()) {
        let Some(mut data) = Data::schema_of(event_type, generator) else { continue };
        // The schema is a root of its own with all definitions; those are shared here.
        data.remove("components");
        let Some(Value::String(name)) = data.remove("title") else { continue };
        let Some(about) = Data::about_of(event_type) else { continue };
        let (subject, partition_key) = place(event_type, about, generator);
        let reporters: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
        let folders: Vec<&str> = roles.iter().map(|role| role.folder()).collect();
        types.push(json!({
            "title": event_type,
            "description": format!("Reported by: {}", reporters.join(", ")),
            "required": [required_place(about)],
            "properties": {
                "type": { "const": event_type },
                "source": { "pattern": format!("^/({})/[a-z][a-z0-9-]{{0,31}}$", folders.join("|")) },
                "subject": subject,
                "partitionkey": partition_key,
                "data": reference(&name),
            },
        }));
        schemas.insert(name, data.to_value());
    }
    let text = |description: &str| json!({ "type": "string", "minLength": 1, "description": description });
    let optional = |description: &str| json!({ "type": ["string", "null"], "description": description });
    let uuid = |description: &str| json!({ "type": ["string", "null"], "format": "uuid", "description": description });
    let envelope = json!({
        "type": "object",
        "description": "An event as CloudEvents 1.0 JSON",
        "required": ["specversion", "id", "type", "source", "time", "data"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": text("The publisher's own id; the ledger replaces it with the one that the fact has"),
            "type": text("One of the types below"),
            "source": text("Who reports: /channels/<name>, /banks/<name>, /schools/<name> or /operators/<name>"),
            "subject": { "description": "The order number, for a type that is about an order" },
            "time": { "type": "string", "format": "date-time", "description": "When it happened, by the source's clock" },
            "partitionkey": { "description": "The stream; may be left out where the subject is an order number" },
            "correlationid": uuid("The journey it belongs to"),
            "causationid": uuid("The event that caused it"),
            "traceparent": optional("W3C trace context; the request's header counts where it is left out"),
            "data": { "type": "object" },
        },
        "oneOf": types,
    });
    schemas.insert("CloudEvent".to_owned(), envelope);
    schemas
}

/// Adds paths of others; the door refuses there as it does on its own.
fn add_paths(paths: &mut Value, others: Value, refused: &Value) {
    let Value::Object(others) = others else { return };
    for (path, mut item) in others {
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            operation["responses"]["default"] = refused.clone();
        }
        paths[path] = item;
    }
}

/// Any problem of the door.
fn refused(generator: &mut SchemaGenerator) -> Value {
    json!({
        "description": "A problem; its `code` says which",
        "content": { "application/problem+json": { "schema": schema_of::<Problem>(generator) } },
    })
}

fn paths(asked: &mut SchemaGenerator, generator: &mut SchemaGenerator) -> Value {
    let appended = schema_of::<Appended>(generator);
    let items = json!({ "type": "array", "items": schema_of::<ItemResult>(generator) });
    let problem = schema_of::<Problem>(generator);
    let refused = refused(generator);
    let one_or_all = |description: &str| answer(description, &json!({ "oneOf": [appended, items] }));
    let event = reference("CloudEvent");
    let shown: Value = serde_json::from_str(EVENT).unwrap_or_default();
    let mut paths = json!({
        "/v1/events": { "post": {
            "operationId": "appendEvents",
            "summary": "Append one event, or a batch of which each event is taken or refused by itself",
            "requestBody": { "required": true, "content": {
                "application/cloudevents+json": { "schema": event, "example": shown },
                "application/json": { "schema": event, "example": shown },
                "application/cloudevents-batch+json": {
                    "schema": { "type": "array", "items": event }, "example": [shown],
                },
            } },
            "responses": {
                "201": one_or_all("Appended: the log has acknowledged it"),
                "200": one_or_all("A repeat: the log has had it, at this position"),
                "422": {
                    "description": "Refused, or a batch of which some were refused",
                    "content": {
                        "application/problem+json": { "schema": problem },
                        "application/json": { "schema": items },
                    },
                },
                "503": {
                    "description": "OUTCOME_UNKNOWN: repeat with the same content. UNAVAILABLE: nothing was appended",
                    "content": {
                        "application/problem+json": { "schema": problem },
                        "application/json": { "schema": items },
                    },
                },
                "default": refused,
            },
        } },
        "/v1/openapi.json": { "get": {
            "operationId": "getOpenApi",
            "summary": "This document",
            "security": [],
            "responses": { "200": { "description": "OpenAPI 3.1", "content": { "application/json": {} } } },
        } },
        "/healthz": { "get": {
            "operationId": "isAlive",
            "summary": "The process lives",
            "security": [],
            "responses": { "204": { "description": "It does" } },
        } },
        "/readyz": { "get": {
            "operationId": "isReady",
            "summary": "The log and Postgres answer",
            "security": [],
            "responses": { "200": answer("They do", &schema_of::<Ready>(generator)), "default": refused },
        } },
        "/v1/streams": { "post": {
            "operationId": "nameStream",
            "summary": "Which stream a contract, a card or a student's fees have; nothing is written",
            "parameters": [{
                "name": "Idempotency-Key", "in": "header",
                "description": "Asks for a reference too; the same key gives the same one",
                "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
            }],
            "requestBody": { "required": true, "content": { "application/json": {
                "schema": schema_of::<StreamQuestion>(asked),
                "example": { "kind": "card", "party": "school-1", "number": "20231234" },
            } } },
            "responses": {
                "200": answer("How the log names it", &schema_of::<StreamAnswer>(generator)),
                "default": refused,
            },
        } },
        "/v1/notify/{channel}": notify(&problem),
    });
    for request in requests(asked) {
        let order = schema_of::<OrderAnswer>(generator);
        let (all, one) = request.paths(&order, &refused);
        paths[request.path] = all;
        paths[format!("{}/{{order_id}}", request.path)] = one;
    }
    paths
}

/// What channels say and hear there is theirs.
fn notify(problem: &Value) -> Value {
    let text = json!({ "schema": { "type": "string" } });
    let any = json!({ "schema": {} });
    json!({ "post": {
        "operationId": "notify",
        "summary": "For channels that speak a protocol of their own, each of which has a page in docs/channels",
        "security": [],
        "parameters": [{ "name": "channel", "in": "path", "required": true, "schema": { "type": "string" } }],
        "requestBody": { "required": true, "content": {
            "application/x-www-form-urlencoded": { "schema": { "type": "object" } },
            "application/json": any,
        } },
        "responses": {
            "200": {
                "description": "The log has it: what the channel expects to hear",
                "content": { "text/plain": text, "application/json": any },
            },
            "default": {
                "description": "What makes the channel say it again; a problem where there is no such webhook",
                "content": {
                    "text/plain": text,
                    "application/json": any,
                    "application/problem+json": { "schema": problem },
                },
            },
        },
    } })
}

/// A request for an order, as it is described.
struct Described {
    path: &'static str,
    /// Of operations: `LoanRepayment` in `requestLoanRepayment`.
    name: &'static str,
    summary: &'static str,
    /// Whether a header names the request; a terminal's own count does elsewhere.
    has_key: bool,
    schema: Value,
    example: Value,
}

impl Described {
    fn paths(&self, order: &Value, refused: &Value) -> (Value, Value) {
        let key = json!({
            "name": "Idempotency-Key", "in": "header", "required": true,
            "description": "Names this request: a repeat with the same key and content gets the same order",
            "schema": { "type": "string", "minLength": 1, "maxLength": 128 }, "example": "slip-0001",
        });
        let all = json!({ "post": {
            "operationId": format!("request{}", self.name),
            "summary": self.summary,
            "parameters": if self.has_key { vec![key] } else { Vec::new() },
            "requestBody": { "required": true, "content": {
                "application/json": { "schema": self.schema, "example": self.example },
            } },
            "responses": {
                "201": answer("Accepted: the order may be paid until it expires, or the purchase counts", order),
                "200": answer("A repeat of an accepted request", order),
                "202": answer("In the log, and not judged yet: ask at `link`", order),
                "default": refused,
            },
        } });
        let one = json!({ "get": {
            "operationId": format!("get{}", self.name),
            "summary": "Where it stands",
            "parameters": [{ "name": "order_id", "in": "path", "required": true, "schema": { "type": "string" } }],
            "responses": { "200": answer("The order", order), "default": refused },
        } });
        (all, one)
    }
}

fn requests(asked: &mut SchemaGenerator) -> [Described; 5] {
    let at = "2025-03-10T10:14:50+08:00";
    let consent = json!({ "version": "2025-01", "consented_at": at });
    let sale = json!({
        "school": "school-1", "card": { "number": "20231234" }, "merchant": "canteen-1", "amount": "12.50",
        "funding": "card_balance", "terminal": "T1", "terminal_seq": 7,
    });
    let mut offline = sale.clone();
    offline["occurred_at"] = at.into();
    [
        Described {
            path: "/v1/loan-repayments",
            name: "LoanRepayment",
            summary: "Ask for a repayment of a student loan, and hear whether it is admitted",
            has_key: true,
            schema: schema_of::<RepaymentRequest>(asked),
            example: json!({
                "student": { "id_number": "11010519491231002X" },
                "contract": { "reference": "K-2025-1", "type": "origin" },
                "amount": "800.00",
                "enrolment": { "result": "enrolled", "checked_at": at },
                "quote": { "found": true, "outstanding": "5000.00", "as_of": at },
                "consent": consent,
            }),
        },
        Described {
            path: "/v1/card-top-ups",
            name: "CardTopUp",
            summary: "Ask for a top-up of a campus card",
            has_key: true,
            schema: schema_of::<TopUpRequest>(asked),
            example: json!({
                "school": "school-1", "card": { "number": "20231234" }, "amount": "50.00", "method": "netbank",
                "check": { "found": true, "name_matches": true, "checked_at": at },
            }),
        },
        Described {
            path: "/v1/fee-payments",
            name: "FeePayment",
            summary: "Ask for a payment of a student's fees, one or more items at once",
            has_key: true,
            schema: schema_of::<FeePaymentRequest>(asked),
            example: json!({
                "school": "school-1", "student": { "number": "2023001" }, "amount": "3200.00",
                "lines": [
                    { "fee_item": "dorm", "billing_year": 2025, "amount": "1200.00" },
                    { "fee_item": "tuition", "billing_year": 2025, "amount": "2000.00" },
                ],
                "consent": consent,
            }),
        },
        Described {
            path: "/v1/purchases",
            name: "Purchase",
            summary: "Ask whether a card may buy; the terminal's own count names the purchase",
            has_key: false,
            schema: schema_of::<PurchaseRequest>(asked),
            example: sale,
        },
        Described {
            path: "/v1/offline-purchases",
            name: "OfflinePurchase",
            summary: "Upload a purchase that was made while the terminal was offline",
            has_key: false,
            schema: schema_of::<OfflinePurchase>(asked),
            example: offline,
        },
    ]
}

fn answer(description: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#{DEFINITIONS}/{name}") })
}

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_somebody_may_report_is_offered() {
        let document = document(|_| json!({}));
        let offered = document.pointer("/components/schemas/CloudEvent/oneOf").and_then(Value::as_array).unwrap();
        let has = |name: &str| offered.iter().any(|branch| branch["title"] == name);
        assert!(has("ledger.payment.captured.v1"));
        assert!(!has("ledger.refund.initiated.v1"));
    }
}
