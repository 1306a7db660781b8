//! `POST /v1/loan-repayments`: a channel asks for a repayment (还款申请), and hears whether it is admitted.
//!
//! What is personal in the request is turned into opaque tokens before anything is written or logged.

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
    requests::{Asked, Payer, Personal, Request, channel, person},
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

impl Request for RepaymentRequest {
    /// The contract is named by its stream: the bank's reference may be a personal number, a masked one would not tell
    /// two contracts apart, and remittances name contracts in the same way.
    fn asked(self, door: &Door, caller: &Caller) -> Result<Asked, Problem> {
        let channel = channel(caller, self.channel)?;
        let student = person(door, &self.student.id_number)?;
        let payer = self.payer.map(|payer| payer.id(door)).transpose()?;
        let bank =
            self.bank.map_or_else(|| CDB.parse(), Ok).map_err(|error| Refusal::new(RefusalCode::InvalidData, error))?;
        let reference = self.contract.reference.number("the contract's reference")?;
        let stream = door.tokens.stream(StreamKind::Loan, bank.as_str(), reference);
        let data = RepaymentRequested {
            channel: channel.clone(),
            beneficiary: bank,
            student,
            contract: stream.to_string(),
            contract_type: self.contract.kind,
            amount: self.amount,
            method: self.method,
            enrolment: self.enrolment,
            quote: self.quote,
            consent: self.consent,
            payer: payer.filter(|payer| *payer != student),
            merchant_id: self.merchant_id,
            terminal_id: self.terminal_id,
        };
        Ok(Asked { stream, channel, data: data.into(), at: self.requested_at })
    }
}
