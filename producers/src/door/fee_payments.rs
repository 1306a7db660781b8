//! `POST /v1/fee-payments`: a channel asks for a payment of a student's fees, one or more items at once (网上缴费).

use chrono::{DateTime, FixedOffset};
use schemars::JsonSchema;
use schemas::{
    Amount, Name, StreamKind,
    events::{Consent, FeeLine, FeePaymentRequested, Method},
};
use serde::Deserialize;

use super::{
    Door, Problem,
    caller::Caller,
    requests::{Asked, Payer, Personal, Request, channel},
};

/// A request to pay fees.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct FeePaymentRequest {
    /// The channel that asks; may be left out by a client that has only one.
    channel: Option<Name>,
    school: Name,
    student: Student,
    /// What is paid in all: the lines add up to it.
    amount: Amount,
    #[schemars(length(min = 1, max = 50))]
    lines: Vec<Line>,
    method: Option<Method>,
    consent: Consent,
    /// Who pays, if it is not the student.
    payer: Option<Payer>,
    /// When the request was made, by the channel's clock; now if it is left out.
    requested_at: Option<DateTime<FixedOffset>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Student {
    /// The student's number at the school (学号). Only a keyed hash of it is kept.
    #[schemars(length(min = 1))]
    number: Personal,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Line {
    fee_item: String,
    billing_year: u16,
    amount: Amount,
}

impl Request for FeePaymentRequest {
    fn asked(self, door: &Door, caller: &Caller) -> Result<Asked, Problem> {
        let channel = channel(caller, self.channel)?;
        let number = self.student.number.number("the student's number")?;
        let school = self.school;
        let stream = door.tokens.stream(StreamKind::Fees, school.as_str(), number);
        let numbered = (1..).zip(self.lines);
        let lines = numbered.map(|(line, Line { fee_item, billing_year, amount })| FeeLine {
            line,
            fee_item,
            billing_year,
            amount,
        });
        let data = FeePaymentRequested {
            channel: channel.clone(),
            student: door.tokens.student(school.as_str(), number),
            school,
            amount: self.amount,
            lines: lines.collect(),
            method: self.method,
            consent: self.consent,
            payer: self.payer.map(|payer| payer.id(door)).transpose()?,
        };
        Ok(Asked { stream, channel, data: data.into(), at: self.requested_at })
    }
}
