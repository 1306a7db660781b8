//! `POST /v1/notify/{channel}`: what a channel tells in its own protocol (`channels/`), through the same gates as everybody's
//! events. The signature is the authority, so there is no token.
//!
//! The channel hears that all is well only when the log has acknowledged all that it said; anything else makes it say it
//! again. Why is in our log line, as a code and the name of a field, and never with a value of the notice.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{
        Path, State,
        rejection::{BytesRejection, PathRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use rules::order::Admission;
use schemas::{Event, OrderId, Refusal};
use serde_json::{Value, json};

use super::{
    Door, DoorCode, Problem, Source,
    caller::Caller,
    events::{accept, check_orders, whole},
    ingest::{Outcome, ingest},
    known, purchases,
    requests::{answer_until, judged, register},
    trace,
};
use crate::channels::{Answer, CampusPos, Channel, Channels, Notice, Refused, Said, Webhook};

/// The webhooks of the channels that have keys.
pub fn router(door: Door, channels: Channels) -> Router {
    Router::new().route("/v1/notify/{channel}", post(notified)).with_state((door, Arc::new(channels)))
}

async fn notified(
    State((door, channels)): State<(Door, Arc<Channels>)>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let no_webhook = |detail: &str| Problem::door(DoorCode::NotFound, detail).into_response();
    let name = path.map(|Path(name)| name).unwrap_or_default();
    let webhook = match channels.get(&name) {
        Some(Ok(webhook)) => webhook,
        Some(Err(setting)) => return no_webhook(&format!("this channel has no key here; set {setting}")),
        None => return no_webhook("there is no channel of this name"),
    };
    let body = match whole(body) {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let notice = Notice { headers: &headers, body: &body, now: door.publisher.clock().now() };
    let (status, answer) = match webhook {
        Webhook::Notices(channel) => match take(&door, channel.as_ref(), &notice).await {
            Ok(answer) => (StatusCode::OK, answer),
            Err(refused) => (refused.code.status(), channel.again(logged(refused))),
        },
        Webhook::Uploads(terminals) => match upload(&door, terminals, &notice).await {
            Ok(answered) => answered,
            Err(refused) => (refused.code.status(), Answer::refused(logged(refused))),
        },
    };
    (status, [(header::CONTENT_TYPE, answer.content_type)], answer.text).into_response()
}

fn logged(refused: Refused) -> Refused {
    tracing::warn!(code = refused.code.as_str(), field = refused.field, "a notice was not taken");
    refused
}

/// Appends what a notice says, and gives the channel's good answer once the log has it.
async fn take(door: &Door, channel: &dyn Channel, notice: &Notice<'_>) -> Result<Answer, Refused> {
    let told = channel.read(notice)?;
    let caller = Caller::signed(channel.own().name.clone());
    let trace = trace::traceparent(notice.headers);
    let mut read: Vec<Result<(Source, Event), Refusal>> = Vec::with_capacity(told.said.len());
    for said in told.said {
        if let Some(event) = fact(door, channel, said).await? {
            let text = event.to_structured().to_string();
            read.push(accept(text.as_bytes(), &caller, door, trace.as_deref()));
        }
    }
    let checked = check_orders(door, read).await.map_err(unavailable)?;
    // All of what a notice says or nothing: it has one answer.
    let events: Vec<Event> = checked.into_iter().collect::<Result<_, _>>()?;
    for outcome in ingest(door, &events).await.map_err(unavailable)? {
        match outcome {
            Outcome::Appended(_) | Outcome::Repeated(_) => {}
            Outcome::Refused(refusal) => return Err(refusal.into()),
            Outcome::Unknown => return Err(Refused::door(DoorCode::OutcomeUnknown)),
        }
    }
    Ok(told.answer)
}

/// What was said, as an event; nothing where it does not follow from what is known of the order.
async fn fact(door: &Door, channel: &dyn Channel, said: Said) -> Result<Option<Event>, Refused> {
    match said {
        Said::Fact(event) => Ok(Some(*event)),
        Said::OfRefund(said) => {
            let order = known::order(&door.pool, &said.order).await.map_err(unavailable)?;
            Ok(order.and_then(|order| said.fact(channel.own(), &order)))
        }
    }
}

fn unavailable(error: impl std::fmt::Display) -> Refused {
    tracing::error!(%error, "a notice could not be taken");
    Refused::door(DoorCode::Unavailable)
}

/// What terminals ask for and upload. Each has an answer of its own, in their order.
async fn upload(door: &Door, terminals: &CampusPos, notice: &Notice<'_>) -> Result<(StatusCode, Answer), Refused> {
    let caller = Caller::signed(terminals.own.name.clone());
    let mut read: Vec<Result<(OrderId, Event), Problem>> = Vec::new();
    let upload = terminals.read(notice)?;
    let requests = upload.requests().map(|text| purchases::online(door, &caller, text));
    let asked = requests.chain(upload.purchases().map(|text| purchases::offline(door, &caller, text)));
    for asked in asked {
        read.push(match asked {
            Ok((key, asked)) => register(door, &caller, &key, notice.headers, asked).await,
            Err(refusal) => Err(refusal.into()),
        });
    }
    let events: Vec<Event> = read.iter().flatten().map(|(_, event)| event.clone()).collect();
    let mut outcomes = ingest(door, &events).await.map_err(unavailable)?.into_iter();
    let until = answer_until(door);
    let (mut worst, mut answers) = (StatusCode::OK, Vec::with_capacity(read.len()));
    for read in read {
        let taken = match read {
            Err(problem) => Err(problem),
            Ok((order, _)) => match outcomes.next() {
                Some(Outcome::Appended(_) | Outcome::Repeated(_)) => Ok(order),
                Some(Outcome::Refused(refusal)) => Err(refusal.into()),
                Some(Outcome::Unknown) | None => Err(super::events::unknown()),
            },
        };
        answers.push(match taken {
            Ok(order) => became(judged(door, &order, until).await, &order),
            Err(problem) => {
                worst = worst.max(problem.status());
                tracing::warn!(code = problem.code(), "a purchase was not taken");
                let status = if problem.status().is_server_error() { "unknown" } else { "refused" };
                json!({ "status": status, "code": problem.code(), "detail": problem.detail() })
            }
        });
    }
    let purchases = answers.split_off(upload.requests().count());
    Ok((worst, Answer::json(&json!({ "requests": answers, "purchases": purchases }))))
}

/// What became of a purchase that the log has.
fn became(admission: Option<Admission>, order: &OrderId) -> Value {
    match admission {
        Some(Admission::Accepted { .. } | Admission::Posted) => json!({ "status": "accepted", "order_id": order }),
        Some(Admission::Rejected { reason }) => json!({ "status": "rejected", "order_id": order, "code": reason }),
        None => json!({ "status": "pending", "order_id": order }),
    }
}
