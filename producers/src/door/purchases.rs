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
    Amount, Data, Name, Refusal, StreamKind,
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

/// What a terminal sells to whom.
#[derive(Debug, Deserialize, JsonSchema)]
struct Sale {
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
}

/// A request to buy.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct PurchaseRequest {
    #[serde(flatten)]
    sale: Sale,
    /// When it was asked, by the terminal's clock; now if it is left out.
    requested_at: Option<DateTime<FixedOffset>>,
}

/// A purchase that was made while the terminal was offline.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct OfflinePurchase {
    #[serde(flatten)]
    sale: Sale,
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
    let request: PurchaseRequest = json::read(&whole(body)?)?;
    let at = request.requested_at;
    let (key, asked) = sell(&door, &caller, request.sale, at, |channel, sale| {
        PurchaseRequested {
            channel,
            school: sale.school,
            merchant: sale.merchant,
            amount: sale.amount,
            funding: sale.funding,
            terminal: sale.terminal,
            terminal_seq: sale.terminal_seq,
        }
        .into()
    })?;
    answer(&door, &caller, &key, &headers, asked).await
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
    let OfflinePurchase { sale, occurred_at, code_id, code_issued_at, terminal_online_at } = request;
    let uploaded_at = shanghai(&door.publisher.clock().now());
    sell(door, caller, sale, Some(occurred_at), |channel, sale| {
        OfflinePurchaseUploaded {
            channel,
            school: sale.school,
            merchant: sale.merchant,
            amount: sale.amount,
            funding: sale.funding,
            terminal: sale.terminal,
            terminal_seq: sale.terminal_seq,
            code_id,
            code_issued_at,
            terminal_online_at,
            uploaded_at,
        }
        .into()
    })
}

fn sell(
    door: &Door,
    caller: &Caller,
    mut sale: Sale,
    at: Option<DateTime<FixedOffset>>,
    data: impl FnOnce(Name, Sale) -> Data,
) -> Result<(String, Asked), Refusal> {
    let channel = channel(caller, sale.channel.take())?;
    let number = sale.card.number.number("the card's number")?;
    let stream = door.tokens.stream(StreamKind::Card, sale.school.as_str(), number);
    let key = format!("{}/{}/{}", sale.school, sale.terminal, sale.terminal_seq);
    Ok((key, Asked { stream, channel: channel.clone(), data: data(channel, sale), at }))
}
