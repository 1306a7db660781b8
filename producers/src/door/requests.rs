//! What all requests for an order share: one order number for each idempotency key, nothing personal in the log, and an
//! answer that waits for the coordinator's verdict.

use std::{fmt, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{
        Path, State,
        rejection::{BytesRejection, PathRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, FixedOffset, TimeDelta};
use rules::{business_day::shanghai, id_number, order::Admission};
use schemars::JsonSchema;
use schemas::{Data, Event, Name, OrderId, Position, Refusal, RefusalCode, Stream, events::RejectionReason};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Door, Problem, Source,
    caller::Caller,
    events::{unavailable, unknown, whole},
    ingest::{Outcome, ingest},
    json, known,
    problem::{Code, DoorCode},
    trace,
};
use crate::publisher::check_time;

/// Text about a person: used once and never kept, so it does not even show itself in an error.
pub(super) struct Personal(String);

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal")
    }
}

impl<'de> Deserialize<'de> for Personal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Serde's own message would repeat the value.
        String::deserialize(deserializer).map(Self).map_err(|_| D::Error::custom("numbers and names are given as text"))
    }
}

impl JsonSchema for Personal {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Personal".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "writeOnly": true })
    }
}

impl Personal {
    /// The number of a contract, card or student, as it is hashed.
    ///
    /// # Errors
    /// It is empty.
    pub fn number(&self, what: &str) -> Result<&str, Refusal> {
        match self.0.trim() {
            "" => Err(Refusal::new(RefusalCode::InvalidData, format!("{what} is empty"))),
            text => Ok(text),
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Payer {
    /// The number of the payer's identity document. Only a keyed hash of it is kept.
    #[schemars(regex(pattern = "^[0-9A-Za-z]{6,30}$"))]
    id_number: Personal,
}

impl Payer {
    pub fn id(&self, door: &Door) -> Result<Uuid, Problem> {
        person(door, &self.id_number)
    }
}

/// The opaque id of a person, by the number of their identity document.
pub(super) fn person(door: &Door, typed: &Personal) -> Result<Uuid, Problem> {
    let number =
        id_number::normalise(&typed.0).map_err(|error| Problem::door(DoorCode::InvalidIdNumber, error.to_string()))?;
    Ok(door.tokens.person(&number))
}

/// The channel in whose name a client asks; may be left out by one that has only one.
pub(super) fn channel(caller: &Caller, stated: Option<Name>) -> Result<Name, Refusal> {
    let mut own = caller.channels();
    let refused = |code, detail: &str| Refusal::new(code, detail);
    match (stated, own.next(), own.next()) {
        (Some(stated), ..) if caller.channels().any(|own| *own == stated) => Ok(stated),
        (Some(_), ..) => Err(refused(RefusalCode::NotYours, "this client does not speak for this channel")),
        (None, Some(only), None) => Ok(only.clone()),
        (None, Some(_), Some(_)) => {
            Err(refused(RefusalCode::MissingField, "missing field `channel`: this client has several"))
        }
        (None, None, _) => Err(refused(RefusalCode::NotYours, "orders are asked for by channels")),
    }
}

/// A request, before it is an event.
pub(super) struct Asked {
    pub stream: Stream,
    pub channel: Name,
    pub data: Data,
    /// By the channel's clock; now if it was left out.
    pub at: Option<DateTime<FixedOffset>>,
}

/// What channels ask for in the body of a request, and under its idempotency key.
pub(super) trait Request: DeserializeOwned {
    fn asked(self, door: &Door, caller: &Caller) -> Result<Asked, Problem>;
}

/// `POST /v1/loan-repayments` and the like.
pub(super) async fn post<R: Request>(
    State(door): State<Door>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let request: R = json::read(&whole(body)?)?;
    let asked = request.asked(&door, &caller)?;
    answer(&door, &caller, key, &headers, asked).await
}

/// Appends a request under the order number of its key, and answers what the coordinator says to it.
pub(super) async fn answer(
    door: &Door,
    caller: &Caller,
    key: &str,
    headers: &HeaderMap,
    asked: Asked,
) -> Result<Response, Problem> {
    let (order, event) = register(door, caller, key, headers, asked).await?;
    let link = link(&event.data, &order);
    let (status, position) = append(door, event).await?;
    let position = position.to_string();
    let pending = OrderAnswer { position: Some(position.clone()), ..OrderAnswer::pending(order.clone(), link) };
    match judged(door, &order, answer_until(door)).await {
        Some(Admission::Rejected { reason }) => {
            let problem = Problem::new(Code::Order(reason), format!("the order {order} was refused"));
            Err(problem.about_order(order, Some(position)))
        }
        Some(Admission::Accepted { expires_at }) => {
            Ok(located(status, OrderAnswer { status: Judgement::Accepted, expires_at: Some(expires_at), ..pending }))
        }
        Some(Admission::Posted) => Ok(located(status, OrderAnswer { status: Judgement::Accepted, ..pending })),
        None => Ok(located(StatusCode::ACCEPTED, pending)),
    }
}

/// A request as an event, and its order: the same key is the same request.
pub(super) async fn register(
    door: &Door,
    caller: &Caller,
    key: &str,
    headers: &HeaderMap,
    asked: Asked,
) -> Result<(OrderId, Event), Problem> {
    let owner = owner_of_key(caller, &asked);
    let (order, event) = event(door, &owner, key, headers, asked)?;
    let digest = match &event.data {
        // One purchase, whether it was asked for online, made offline after all, or both; the times are others each time.
        Data::PurchaseRequested(_) | Data::OfflinePurchaseUploaded(_) => {
            Event { id: Uuid::nil(), ..event.clone() }.business_digest()
        }
        _ => Uuid::new_v5(&event.id, &event.value()),
    };
    let same = known::note_request(&door.pool, &owner, key, digest, &order).await.map_err(unavailable)?;
    if same {
        return Ok((order, event));
    }
    Err(Problem::door(DoorCode::IdempotencyKeyReused, "use a new key for a new request"))
}

/// The header that names a request: the same key is the same request.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if (1..=128).contains(&key.len()) {
        return Ok(key);
    }
    Err(Problem::door(
        DoorCode::IdempotencyKeyMissing,
        "1 to 128 characters, the same ones whenever this request is repeated",
    ))
}

/// Whose key it is: a client's, for it chose the key; the channel's for a purchase, which the terminal's count names,
/// whichever way it comes in.
fn owner_of_key(caller: &Caller, asked: &Asked) -> String {
    match &asked.data {
        Data::PurchaseRequested(_) | Data::OfflinePurchaseUploaded(_) => {
            Source::channel(asked.channel.clone()).to_string()
        }
        _ => caller.name().to_owned(),
    }
}

fn owners_of_keys(caller: &Caller) -> Vec<String> {
    let channels = caller.channels().map(|channel| Source::channel(channel.clone()).to_string());
    channels.chain([caller.name().to_owned()]).collect()
}

/// A clock may be wrong by so much. One that is further ahead would judge by the limits of another day.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(10);

/// The request as an event that names nobody, and its order.
fn event(door: &Door, owner: &str, key: &str, headers: &HeaderMap, asked: Asked) -> Result<(OrderId, Event), Problem> {
    let order = door.tokens.order(&asked.stream, owner, key).ok_or_else(|| unavailable("no order on this stream"))?;
    let source = Source::channel(asked.channel).to_string();
    let clock = door.publisher.clock();
    let at = asked.at.unwrap_or_else(|| shanghai(&clock.now()));
    check_time(at, clock, AHEAD_MAX)?;
    let traceparent = trace::traceparent(headers);
    let built = Event { traceparent, ..Event::about_order(source, &order, at, asked.data) };
    // Through the same gate as everybody's events, so that no rule is checked in one place only.
    let event = Event::from_structured(built.to_structured().to_string().as_bytes())?;
    Ok((order, event))
}

async fn append(door: &Door, event: Event) -> Result<(StatusCode, Position), Problem> {
    let outcomes = ingest(door, &[event]).await.map_err(unavailable)?;
    match outcomes.into_iter().next() {
        Some(Outcome::Appended(position)) => Ok((StatusCode::CREATED, position)),
        Some(Outcome::Repeated(position)) => Ok((StatusCode::OK, position)),
        Some(Outcome::Refused(refusal)) => Err(refusal.into()),
        Some(Outcome::Unknown) | None => Err(unknown()),
    }
}

const POLL_PAUSE_MIN: Duration = Duration::from_millis(5);
const POLL_PAUSE_MAX: Duration = Duration::from_millis(100);

/// How long whoever asks now waits for the coordinator.
pub(super) fn answer_until(door: &Door) -> Instant {
    Instant::now() + Duration::from_millis(door.config.answer_timeout_ms)
}

/// The coordinator's answer, if it comes in time. The log has the request, so no trouble here changes that.
pub(super) async fn judged(door: &Door, order: &OrderId, until: Instant) -> Option<Admission> {
    let mut pause = POLL_PAUSE_MIN;
    loop {
        match known::order(&door.pool, order).await {
            Ok(known) => {
                if let Some(admission) = known.and_then(|order| order.admission) {
                    return Some(admission);
                }
            }
            Err(error) => tracing::warn!(%error, "the coordinator's answer could not be read"),
        }
        if Instant::now() + pause > until {
            return None;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(POLL_PAUSE_MAX);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Judgement {
    /// The ledger has the request and has not judged it yet.
    Pending,
    Accepted,
    Rejected,
}

/// What became of a request.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OrderAnswer {
    order_id: OrderId,
    status: Judgement,
    /// When the order lapses if nothing has been paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<FixedOffset>>,
    /// Why the request was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<RejectionReason>,
    /// Where the order stands by now, such as `awaiting_payment`, `uncertain` or `completed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    order_status: Option<&'static str>,
    /// Where the request stands in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// Where to ask again.
    link: String,
}

impl OrderAnswer {
    fn pending(order_id: OrderId, link: String) -> Self {
        Self {
            order_id,
            status: Judgement::Pending,
            expires_at: None,
            code: None,
            order_status: None,
            position: None,
            link,
        }
    }
}

fn located(status: StatusCode, answer: OrderAnswer) -> Response {
    (status, [(header::LOCATION, answer.link.clone())], Json(answer)).into_response()
}

/// Where an order of this kind is asked about.
fn link(data: &Data, order: &OrderId) -> String {
    let path = super::authority::asked_for_at(data).unwrap_or("/v1/orders");
    format!("{path}/{order}")
}

/// `GET /v1/loan-repayments/{order_id}` and the like: for the channel that asked, and for operators.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    uri: axum::http::Uri,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<OrderAnswer>, Problem> {
    let not_found = || Problem::door(DoorCode::NotFound, "there is no such order of yours");
    let order_id: OrderId = path.ok().and_then(|Path(text)| text.parse().ok()).ok_or_else(not_found)?;
    let order = known::order(&door.pool, &order_id).await.map_err(unavailable)?;
    let pending = OrderAnswer::pending(order_id.clone(), uri.path().to_owned());
    let Some((order, request)) = order.as_ref().and_then(|order| Some((order, order.request.as_ref()?))) else {
        let asked = known::has_asked(&door.pool, &owners_of_keys(&caller), &order_id).await.map_err(unavailable)?;
        return if asked { Ok(Json(pending)) } else { Err(not_found()) };
    };
    if !caller.is_operator() && caller.channels().all(|own| own != request.data.channel()) {
        return Err(not_found());
    }
    let mut answer = OrderAnswer { order_status: Some(order.status().as_str()), ..pending };
    match order.admission {
        Some(Admission::Accepted { expires_at }) => {
            (answer.status, answer.expires_at) = (Judgement::Accepted, Some(expires_at));
        }
        Some(Admission::Posted) => answer.status = Judgement::Accepted,
        Some(Admission::Rejected { reason }) => (answer.status, answer.code) = (Judgement::Rejected, Some(reason)),
        None => {}
    }
    Ok(Json(answer))
}
