//! `POST /v1/loan-repayments`: a channel asks for a repayment (还款申请), and hears whether it is admitted.
//!
//! What is personal in the request is turned into opaque tokens before anything is written or logged.

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::HeaderMap,
    response::Response,
};
use chrono::{DateTime, FixedOffset};
use schemars::JsonSchema;
use schemas::{
    Amount, Name, Refusal, RefusalCode, StreamKind,
    events::{Consent, ContractAnswer, EnrolmentAnswer, Method, RepaymentRequested},
};
use serde::Deserialize;

use super::{
    Door, Problem,
    caller::Caller,
    events::whole,
    json,
    requests::{Asked, Payer, Personal, answer, channel, idempotency_key, person},
};

/// China Development Bank (国家开发银行).
const CDB: &str = "cdb";

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
struct Contract {
    /// The contract's number at the bank. Only a keyed hash of it is kept.
    #[schemars(length(min = 1))]
    reference: Personal,
    #[serde(rename = "type")]
    kind: String,
}

pub async fn post(
    State(door): State<Door>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let request: RepaymentRequest = json::read(&whole(body)?)?;
    let asked = asked(&door, &caller, request)?;
    answer(&door, &caller, key, &headers, asked).await
}

/// The contract is named by its stream: the bank's reference may be a personal number, a masked one would not tell two
/// contracts apart, and remittances name contracts in the same way.
fn asked(door: &Door, caller: &Caller, request: RepaymentRequest) -> Result<Asked, Problem> {
    let channel = channel(caller, request.channel)?;
    let student = person(door, &request.student.id_number)?;
    let payer = request.payer.map(|payer| payer.id(door)).transpose()?;
    let bank =
        request.bank.map_or_else(|| CDB.parse(), Ok).map_err(|error| Refusal::new(RefusalCode::InvalidData, error))?;
    let reference = request.contract.reference.number("the contract's reference")?;
    let stream = door.tokens.stream(StreamKind::Loan, bank.as_str(), reference);
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
    Ok(Asked { stream, channel, data: data.into(), at: request.requested_at })
}
