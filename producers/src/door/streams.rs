//! `POST /v1/streams`: which stream a contract, a card or a student's fees have, for whoever reports facts about them with
//! `POST /v1/events`. Nothing is written: the answer follows from the number and the ledger's secret.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::HeaderMap,
};
use schemars::JsonSchema;
use schemas::{Name, OrderId, Stream, StreamKind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Door, Problem,
    caller::Caller,
    events::whole,
    json,
    requests::{Personal, idempotency_key},
};

/// A number, and whose it is.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct StreamQuestion {
    kind: StreamKind,
    /// The bank of the contract; the school of the card or student.
    party: Name,
    /// The number of contract, card or student. It is not kept.
    #[schemars(length(min = 1))]
    number: Personal,
}

/// How the log names it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StreamAnswer {
    /// The `partitionkey` of events about it.
    stream: Stream,
    /// For a card or a student's fees: the opaque id of the person whom the school knows by this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<Uuid>,
    /// With the header Idempotency-Key: a number that carries the stream, for an agreement or the like that somebody else
    /// keeps. The same key gives the same number.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<OrderId>,
}

pub async fn post(
    State(door): State<Door>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<StreamAnswer>, Problem> {
    let question: StreamQuestion = json::read(&whole(body)?)?;
    let number = question.number.number("the number")?;
    let stream = door.tokens.stream(question.kind, question.party.as_str(), number);
    let person = match question.kind {
        StreamKind::Loan => None,
        StreamKind::Card | StreamKind::Fees => Some(door.tokens.student(question.party.as_str(), number)),
    };
    let key = headers.contains_key("idempotency-key").then(|| idempotency_key(&headers)).transpose()?;
    let reference = key.and_then(|key| door.tokens.order(&stream, caller.name(), key));
    Ok(Json(StreamAnswer { stream, person, reference }))
}
