//! `POST /v1/events`: one CloudEvent in JSON, or a batch. A bad event of a batch keeps no good one back.

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use schemas::{Event, Refusal, RefusalCode, Stream};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    Door, Problem, Source, authority,
    caller::Caller,
    ingest::{Outcome, ingest},
    known::{self, OrderError},
    problem::DoorCode,
    trace,
};
use crate::publisher::check;

/// Where an event stands in the log.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Appended {
    /// The derived id of the fact, whatever id the publisher sent.
    pub id: Uuid,
    /// Partition and offset. A reader can wait until its views include this position.
    #[schemars(regex(pattern = "^[0-9]+:[0-9]+$"), example = "3:1204")]
    pub position: String,
    pub stream: Stream,
}

/// What became of one event of a batch, in the batch's order.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ItemResult {
    Appended(Appended),
    Refused(Problem),
}

pub async fn post(
    State(door): State<Door>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let is_batch = is_batch(&headers)?;
    let body = whole(body)?;
    let trace = trace::traceparent(&headers);
    let texts: Vec<&[u8]> = if is_batch { split(&body)? } else { vec![&body] };
    let read = texts.into_iter().map(|text| accept(text, &caller, &door, trace.as_deref())).collect();
    let read = check_orders(&door, read).await.map_err(unavailable)?;
    let mut answers = answer_each(&door, read).await?;
    match answers.pop() {
        Some((status, item)) if !is_batch => Ok(match item {
            ItemResult::Appended(appended) => (status, Json(appended)).into_response(),
            ItemResult::Refused(problem) => problem.into_response(),
        }),
        last => {
            answers.extend(last);
            Ok(answer_all(answers))
        }
    }
}

fn is_batch(headers: &HeaderMap) -> Result<bool, Problem> {
    let full = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = full.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/cloudevents+json" | "application/json" => Ok(false),
        "application/cloudevents-batch+json" => Ok(true),
        _ => Err(Problem::door(
            DoorCode::UnsupportedMediaType,
            "send application/cloudevents+json, application/json or application/cloudevents-batch+json",
        )),
    }
}

/// The body, unless it was cut off or is too large.
pub fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Refusal::new(RefusalCode::TooLarge, "the body is too large; send less at a time").into()
        }
        _ => Problem::door(DoorCode::BodyUnreadable, "send it again"),
    })
}

fn split(body: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            Refusal::new(RefusalCode::InvalidEnvelope, "a batch is a JSON array of events")
        }
        _ => Refusal::new(RefusalCode::BrokenJson, error),
    })?;
    Ok(items.into_iter().map(|item| item.get().as_bytes()).collect())
}

/// An event that this caller may append, in whose name.
pub(super) fn accept(
    text: &[u8],
    caller: &Caller,
    door: &Door,
    trace: Option<&str>,
) -> Result<(Source, Event), Refusal> {
    let mut event = Event::from_structured(text)?;
    let source = caller.source(&event.source)?;
    authority::check(source, &event)?;
    if event.traceparent.is_none() {
        event.traceparent = trace.map(str::to_owned);
    }
    check(&event, door.publisher.clock())?;
    Ok((source.clone(), event))
}

/// Refuses what is said about orders of others.
pub(super) async fn check_orders(
    door: &Door,
    read: Vec<Result<(Source, Event), Refusal>>,
) -> Result<Vec<Result<Event, Refusal>>, OrderError> {
    let keys: Vec<&str> =
        read.iter().flatten().filter_map(|(source, event)| authority::order_to_look_at(source, event)).collect();
    let orders = known::orders(&door.pool, &keys).await?;
    let check = |(source, event): (Source, Event)| authority::check_orders(&source, &event, &orders).map(|()| event);
    Ok(read.into_iter().map(|event| event.and_then(check)).collect())
}

/// Appends the good ones, and answers all in their order.
async fn answer_each(door: &Door, read: Vec<Result<Event, Refusal>>) -> Result<Vec<(StatusCode, ItemResult)>, Problem> {
    let good: Vec<Event> = read.iter().filter_map(|event| event.as_ref().ok()).cloned().collect();
    let outcomes = ingest(door, &good).await.map_err(unavailable)?;
    let mut outcomes = good.iter().zip(outcomes);
    let answer = |event: Result<Event, Refusal>| match event {
        Err(refusal) => item_refused(refusal.into()),
        Ok(_) => outcomes.next().map_or_else(|| item_refused(unknown()), |(event, outcome)| item(event, outcome)),
    };
    Ok(read.into_iter().map(answer).collect())
}

fn item(event: &Event, outcome: Outcome) -> (StatusCode, ItemResult) {
    let (status, position) = match outcome {
        Outcome::Appended(position) => (StatusCode::CREATED, position),
        Outcome::Repeated(position) => (StatusCode::OK, position),
        Outcome::Refused(refusal) => return item_refused(refusal.into()),
        Outcome::Unknown => return item_refused(unknown()),
    };
    let appended = Appended { id: event.id, position: position.to_string(), stream: event.stream.clone() };
    (status, ItemResult::Appended(appended))
}

fn item_refused(problem: Problem) -> (StatusCode, ItemResult) {
    (problem.status(), ItemResult::Refused(problem))
}

/// One status for all: an unknown outcome asks for a repeat of the batch, which harms nothing; a refusal does not.
fn answer_all(answers: Vec<(StatusCode, ItemResult)>) -> Response {
    let has = |wanted: StatusCode| answers.iter().any(|(status, _)| *status == wanted);
    let status = if has(StatusCode::SERVICE_UNAVAILABLE) {
        StatusCode::SERVICE_UNAVAILABLE
    } else if answers.iter().any(|(status, _)| !status.is_success()) {
        StatusCode::UNPROCESSABLE_ENTITY
    } else if has(StatusCode::CREATED) {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let items: Vec<ItemResult> = answers.into_iter().map(|(_, item)| item).collect();
    (status, Json(items)).into_response()
}

pub fn unknown() -> Problem {
    Problem::door(DoorCode::OutcomeUnknown, "the log did not acknowledge in time: repeat with the same content")
}

pub fn unavailable(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "a request could not be served");
    Problem::door(DoorCode::Unavailable, "nothing was appended; try again")
}
