//! `POST /v1/loan-repayments`: a channel asks for a repayment (还款申请), and hears whether it is admitted.
//!
//! What is personal in the request is turned into opaque tokens before anything is written or logged.

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
use chrono::{DateTime, FixedOffset};
use rules::{business_day::shanghai, id_number, order::Admission};
use schemars::JsonSchema;
use schemas::{
    Amount, Event, Name, OrderId, Position, Refusal, RefusalCode,
    events::{Consent, ContractAnswer, EnrolmentAnswer, Method, RejectionReason, RepaymentRequested},
};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
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

/// China Development Bank (国家开发银行).
const CDB: &str = "cdb";

/// Text about a person: used once and never kept, so it does not even show itself in an error.
struct Personal(String);

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

/// A request to repay a loan.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RepaymentRequest {
    /// The channel that asks; may be left out by a client that has only one.
    channel: Option<Name>,
    student: Student,
    contract: Contract,
    /// The creditor bank; `cdb` if it is left out.
    bank: Option<Name>,
    amount: Amount,
    method: Option<Method>,
    enrolment: EnrolmentAnswer,
    quote: ContractAnswer,
    consent: Consent,
    /// Who pays, if it is not the student.
    payer: Option<Payer>,
    merchant_id: Option<String>,
    terminal_id: Option<String>,
    /// When the request was made, by the channel's clock; now if it is left out.
    requested_at: Option<DateTime<FixedOffset>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Student {
    /// The number of the student's identity document. Only a keyed hash of it is kept.
    #[schemars(regex(pattern = "^[0-9A-Za-z]{6,30}$"))]
    id_number: Personal,
    /// Not kept.
    #[serde(rename = "name")]
    _name: Option<Personal>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Payer {
    #[schemars(regex(pattern = "^[0-9A-Za-z]{6,30}$"))]
    id_number: Personal,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Contract {
    /// The contract's number at the bank. Only a keyed hash of it is kept.
    #[schemars(length(min = 1))]
    reference: Personal,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Judgement {
    /// The ledger has the request and has not judged it yet.
    Pending,
    Accepted,
    Rejected,
}

/// What became of a repayment request.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Repayment {
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

impl Repayment {
    fn pending(order_id: OrderId) -> Self {
        let link = format!("/v1/loan-repayments/{order_id}");
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

pub async fn post(
    State(door): State<Door>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let request: RepaymentRequest = json::read(&whole(body)?)?;
    let (order, event) = event(&door, &caller, key, request, trace::traceparent(&headers))?;
    let digest = Uuid::new_v5(&event.id, &event.value());
    let same = known::note_request(&door.pool, caller.name(), key, digest, &order).await.map_err(unavailable)?;
    if !same {
        return Err(Problem::door(DoorCode::IdempotencyKeyReused, "use a new key for a new request"));
    }
    let (status, position) = append(&door, event).await?;
    let position = position.to_string();
    match judged(&door, &order).await {
        Some(Admission::Rejected { reason }) => {
            let problem = Problem::new(Code::Order(reason), format!("the order {order} was refused"));
            Err(problem.about_order(order, Some(position)))
        }
        Some(Admission::Accepted { expires_at }) => {
            let (accepted, expires_at) = (Judgement::Accepted, Some(expires_at));
            let answer =
                Repayment { status: accepted, expires_at, position: Some(position), ..Repayment::pending(order) };
            Ok(located(status, answer))
        }
        None => Ok(located(StatusCode::ACCEPTED, Repayment { position: Some(position), ..Repayment::pending(order) })),
    }
}

fn located(status: StatusCode, answer: Repayment) -> Response {
    (status, [(header::LOCATION, answer.link.clone())], Json(answer)).into_response()
}

fn idempotency_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if (1..=128).contains(&key.len()) {
        return Ok(key);
    }
    Err(Problem::door(
        DoorCode::IdempotencyKeyMissing,
        "1 to 128 characters, the same ones whenever this request is repeated",
    ))
}

/// The request as an event that names nobody, and its order.
///
/// The contract is named by its stream: the bank's reference may be a personal number, a masked one would not tell two
/// contracts apart, and remittances name contracts in the same way.
fn event(
    door: &Door,
    caller: &Caller,
    key: &str,
    request: RepaymentRequest,
    traceparent: Option<String>,
) -> Result<(OrderId, Event), Problem> {
    let channel = channel(caller, request.channel)?;
    let student = person(door, &request.student.id_number)?;
    let payer = request.payer.map(|payer| person(door, &payer.id_number)).transpose()?;
    let bank =
        request.bank.map_or_else(|| CDB.parse(), Ok).map_err(|error| Refusal::new(RefusalCode::InvalidData, error))?;
    let stream = door.tokens.loan(bank.as_str(), reference(&request.contract)?);
    let order = door.tokens.order(&stream, caller.name(), key).ok_or_else(|| unavailable("no order on this stream"))?;
    let data = RepaymentRequested {
        channel: channel.clone(),
        beneficiary: bank,
        student,
        contract: stream.to_string(),
        contract_type: request.contract.kind,
        amount: request.amount,
        method: request.method,
        enrolment: request.enrolment,
        quote: request.quote,
        consent: request.consent,
        payer: payer.filter(|payer| *payer != student),
        merchant_id: request.merchant_id,
        terminal_id: request.terminal_id,
    };
    let source = Source::channel(channel);
    let requested_at = request.requested_at.unwrap_or_else(|| shanghai(&door.publisher.clock().now()));
    let built = Event { traceparent, ..Event::about_order(source.to_string(), &order, requested_at, data) };
    // Through the same gate as everybody's events, so that no rule is checked in one place only.
    let event = Event::from_structured(built.to_structured().to_string().as_bytes())?;
    Ok((order, event))
}

fn channel(caller: &Caller, stated: Option<Name>) -> Result<Name, Refusal> {
    let mut own = caller.channels();
    let refused = |code, detail: &str| Refusal::new(code, detail);
    match (stated, own.next(), own.next()) {
        (Some(stated), ..) if caller.channels().any(|own| *own == stated) => Ok(stated),
        (Some(_), ..) => Err(refused(RefusalCode::NotYours, "this client does not speak for this channel")),
        (None, Some(only), None) => Ok(only.clone()),
        (None, Some(_), Some(_)) => {
            Err(refused(RefusalCode::MissingField, "missing field `channel`: this client has several"))
        }
        (None, None, _) => Err(refused(RefusalCode::NotYours, "repayments are asked for by channels")),
    }
}

fn person(door: &Door, typed: &Personal) -> Result<Uuid, Problem> {
    let number =
        id_number::normalise(&typed.0).map_err(|error| Problem::door(DoorCode::InvalidIdNumber, error.to_string()))?;
    Ok(door.tokens.person(&number))
}

fn reference(contract: &Contract) -> Result<&str, Refusal> {
    match contract.reference.0.trim() {
        "" => Err(Refusal::new(RefusalCode::InvalidData, "the contract's reference is empty")),
        text => Ok(text),
    }
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

/// The coordinator's answer, if it comes in time. The log has the request, so no trouble here changes that.
async fn judged(door: &Door, order: &OrderId) -> Option<Admission> {
    let until = Instant::now() + Duration::from_millis(door.config.answer_timeout_ms);
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

/// `GET /v1/loan-repayments/{order_id}`: for the channel that asked, and for operators.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Repayment>, Problem> {
    let not_found = || Problem::door(DoorCode::NotFound, "there is no such order of yours");
    let order_id: OrderId = path.ok().and_then(|Path(text)| text.parse().ok()).ok_or_else(not_found)?;
    let order = known::order(&door.pool, &order_id).await.map_err(unavailable)?;
    let Some((order, request)) = order.as_ref().and_then(|order| Some((order, order.request.as_ref()?))) else {
        let asked = known::has_asked(&door.pool, caller.name(), &order_id).await.map_err(unavailable)?;
        return if asked { Ok(Json(Repayment::pending(order_id))) } else { Err(not_found()) };
    };
    if !caller.is_operator() && caller.channels().all(|own| *own != request.data.channel) {
        return Err(not_found());
    }
    let mut answer = Repayment { order_status: Some(order.status().as_str()), ..Repayment::pending(order_id) };
    match order.admission {
        Some(Admission::Accepted { expires_at }) => {
            (answer.status, answer.expires_at) = (Judgement::Accepted, Some(expires_at));
        }
        Some(Admission::Rejected { reason }) => (answer.status, answer.code) = (Judgement::Rejected, Some(reason)),
        None => {}
    }
    Ok(Json(answer))
}
