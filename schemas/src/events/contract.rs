//! What the bank answers about a student and a loan contract before an order exists.

use std::borrow::Cow;

use chrono::{DateTime, FixedOffset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{About, Payload, parts, words};
use crate::{Amount, Name, StreamKind};

words! {
    /// Whether the student has signed up for repay-any-time (随时还款签约).
    Enrolment { Enrolled = "enrolled", NotEnrolled = "not_enrolled" }
}

/// The bank answered whether the student is enrolled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RepaymentEnrolmentChecked {
    /// The enquiry's own number at the channel.
    pub enquiry_no: String,
    /// The student, by an opaque id.
    pub student: Uuid,
    pub bank: Name,
    pub result: Enrolment,
    #[serde(deserialize_with = "crate::calendar::time")]
    pub checked_at: DateTime<FixedOffset>,
}

impl Payload for RepaymentEnrolmentChecked {
    const TYPE: &'static str = "ledger.repayment-enrolment.checked.v1";
    const ABOUT: About = About::Stream;
    const KINDS: &'static [StreamKind] = &[StreamKind::Loan];
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.bank, subject, self.enquiry_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.student, self.result]
    }
}

/// The bank quoted a loan contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoanContractQuoted {
    /// The enquiry's own number at the channel.
    pub enquiry_no: String,
    pub bank: Name,
    pub contract_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outstanding: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue: Option<Amount>,
    #[serde(deserialize_with = "crate::calendar::time")]
    pub as_of: DateTime<FixedOffset>,
}

impl Payload for LoanContractQuoted {
    const TYPE: &'static str = "ledger.loan-contract.quoted.v1";
    const ABOUT: About = About::Stream;
    const KINDS: &'static [StreamKind] = &[StreamKind::Loan];
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.bank, subject, self.enquiry_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.contract_type]
    }
}
