//! `POST /v1/purchases`: a terminal that is online asks whether a card may buy. `POST /v1/offline-purchases`: one that was
//! not uploads what was bought meanwhile (脱机消费).
//!
//! The terminal's own count is the idempotency key: the same count of the same terminal is the same purchase.

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::HeaderMap,
    response::Response,
};
use chrono::{DateTime, FixedOffset};
use rules::business_day::shanghai;
use schemars::JsonSchema;
use schemas::{
    Amount, Name, Refusal, Stream, StreamKind,
    events::{Funding, OfflinePurchaseUploaded, PurchaseRequested},
};
use serde::Deserialize;

use super::{
    Door, Problem,
    caller::Caller,
    events::whole,
    json,
    requests::{Asked, answer, channel},
    top_ups::Card,
};

/// A request to buy.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct PurchaseRequest {
    /// The channel that asks; may be left out by a client that has only one.
    channel: Option<Name>,
    school: Name,
    card: Card,
    /// Canteen or shop, by the school's number.
    merchant: String,
    amount: Amount,
    funding: Funding,
    terminal: String,
    /// The terminal's own count: the same number is the same purchase.
    terminal_seq: u64,
    /// When it was asked, by the terminal's clock; now if it is left out.
    requested_at: Option<DateTime<FixedOffset>>,
}

/// A purchase that was made while the terminal was offline.
// The first fields are those of the request above: a part that is flattened in would hide misspelt fields.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct OfflinePurchase {
    /// The channel that asks; may be left out by a client that has only one.
    channel: Option<Name>,
    school: Name,
    card: Card,
    /// Canteen or shop, by the school's number.
    merchant: String,
    amount: Amount,
    funding: Funding,
    terminal: String,
    /// The terminal's own count: the same number is the same purchase.
    terminal_seq: u64,
    /// When it was made, by the terminal's clock.
    occurred_at: DateTime<FixedOffset>,
    /// The campus code that was shown, and when it had last been refreshed.
    code_id: Option<String>,
    code_issued_at: Option<DateTime<FixedOffset>>,
    /// When the terminal had last been online.
    terminal_online_at: Option<DateTime<FixedOffset>>,
}

pub async fn post(
    State(door): State<Door>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (key, asked) = online(&door, &caller, &whole(body)?)?;
    answer(&door, &caller, &key, &headers, asked).await
}

/// A request to buy, and the key that names it.
pub(super) fn online(door: &Door, caller: &Caller, json: &[u8]) -> Result<(String, Asked), Refusal> {
    let request: PurchaseRequest = json::read(json)?;
    let channel = channel(caller, request.channel)?;
    let stream = stream(door, &request.school, &request.card)?;
    let key = key(&request.school, &request.terminal, request.terminal_seq);
    let data = PurchaseRequested {
        channel: channel.clone(),
        school: request.school,
        merchant: request.merchant,
        amount: request.amount,
        funding: request.funding,
        terminal: request.terminal,
        terminal_seq: request.terminal_seq,
    };
    Ok((key, Asked { stream, channel, data: data.into(), at: request.requested_at }))
}

pub async fn post_offline(
    State(door): State<Door>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (key, asked) = offline(&door, &caller, &whole(body)?)?;
    answer(&door, &caller, &key, &headers, asked).await
}

/// An offline purchase, and the key that names it.
pub(super) fn offline(door: &Door, caller: &Caller, json: &[u8]) -> Result<(String, Asked), Refusal> {
    let request: OfflinePurchase = json::read(json)?;
    let channel = channel(caller, request.channel)?;
    let stream = stream(door, &request.school, &request.card)?;
    let key = key(&request.school, &request.terminal, request.terminal_seq);
    let data = OfflinePurchaseUploaded {
        channel: channel.clone(),
        school: request.school,
        merchant: request.merchant,
        amount: request.amount,
        funding: request.funding,
        terminal: request.terminal,
        terminal_seq: request.terminal_seq,
        code_id: request.code_id,
        code_issued_at: request.code_issued_at,
        terminal_online_at: request.terminal_online_at,
        uploaded_at: shanghai(&door.publisher.clock().now()),
    };
    Ok((key, Asked { stream, channel, data: data.into(), at: Some(request.occurred_at) }))
}

fn stream(door: &Door, school: &Name, card: &Card) -> Result<Stream, Refusal> {
    Ok(door.tokens.stream(StreamKind::Card, school.as_str(), card.number.number("the card's number")?))
}

/// The same count of the same terminal is the same purchase.
fn key(school: &Name, terminal: &str, terminal_seq: u64) -> String {
    format!("{school}/{terminal}/{terminal_seq}")
}
