//! An order: one attempt to pay, from the request to its admission or expiry.

use std::borrow::Cow;

use chrono::{DateTime, FixedOffset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Enrolment, Payload, parts, positive, words};
use crate::{Amount, Name, StreamKind};

words! {
    /// How the payer pays.
    Method {
        Card = "card",
        /// The merchant scans the payer's code (B扫C).
        QrB2c = "qr_b2c",
        /// The payer scans the merchant's code.
        QrC2b = "qr_c2b",
        /// UnionPay Cloud QuickPass (云闪付).
        Cqp = "cqp",
        /// Online banking (网银).
        Netbank = "netbank",
        /// The channel's own wallet.
        Wallet = "wallet",
        /// A debit under a mandate (代扣).
        Withholding = "withholding",
    }
}

/// The bank's answer to the enrolment enquiry on which a request rests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnrolmentAnswer {
    pub result: Enrolment,
    #[serde(deserialize_with = "crate::calendar::time")]
    pub checked_at: DateTime<FixedOffset>,
}

/// The bank's answer to the contract enquiry on which a request rests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContractAnswer {
    /// Whether the bank returned the contract at all.
    pub found: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outstanding: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue: Option<Amount>,
    #[serde(deserialize_with = "crate::calendar::time")]
    pub as_of: DateTime<FixedOffset>,
}

/// The payer's consent to the change of the repayment method (还款方式优化说明).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Consent {
    pub version: String,
    #[serde(deserialize_with = "crate::calendar::time")]
    pub consented_at: DateTime<FixedOffset>,
}

/// A repayment of a student loan was requested (还款申请).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RepaymentRequested {
    pub channel: Name,
    /// The creditor bank that the money is for.
    pub beneficiary: Name,
    /// The student, by an opaque id.
    pub student: Uuid,
    /// The contract's reference at the bank, opaque to us.
    pub contract: String,
    pub contract_type: String,
    pub amount: Amount,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    pub enrolment: EnrolmentAnswer,
    pub quote: ContractAnswer,
    pub consent: Consent,
    /// Who pays, if it is not the student; opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<Uuid>,
    /// Merchant number of the terminal, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal_id: Option<String>,
}

impl Payload for RepaymentRequested {
    const TYPE: &'static str = "ledger.repayment.requested.v1";
    const KINDS: &'static [StreamKind] = &[StreamKind::Loan];
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![
            self.channel,
            self.beneficiary,
            self.student,
            self.contract,
            self.amount,
            self.enrolment.result,
            self.quote.found
        ]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

/// The coordinator admitted a request: the order may be paid until it expires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderAccepted {
    /// When the order lapses if nothing has been paid, by the log's time.
    #[serde(deserialize_with = "crate::calendar::time")]
    pub expires_at: DateTime<FixedOffset>,
    /// Of a payment of one fee item: whether the item may be paid in parts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub instalments_allowed: bool,
}

impl Payload for OrderAccepted {
    const TYPE: &'static str = "ledger.order.accepted.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

words! {
    /// Why a request is not admitted: one code for each business "no".
    RejectionReason {
        /// The student has not signed up for repay-any-time (未完成随时还款签约).
        NotEnrolled = "NOT_ENROLLED",
        /// The bank knows no such loan (未查到贷款信息).
        LoanNotFound = "LOAN_NOT_FOUND",
        /// More than the bank says is owed.
        AboveOutstanding = "ABOVE_OUTSTANDING",
        /// Another request on this contract is in flight (还款申请在途).
        InFlight = "IN_FLIGHT",
        /// One repayment per student, contract and day.
        DailyLimit = "DAILY_LIMIT",
        /// The bank is still booking an earlier repayment of this contract.
        BookingLock = "BOOKING_LOCK",
        /// The bank takes no repayments at this hour or on this day.
        BlackoutWindow = "BLACKOUT_WINDOW",
        /// The school has no such card.
        CardNotFound = "CARD_NOT_FOUND",
        /// The name is not the holder's.
        NameMismatch = "NAME_MISMATCH",
        /// The payer was not found to be the holder (无法核实身份).
        IdentityNotVerified = "IDENTITY_NOT_VERIFIED",
        /// The school does not offer this (未开通).
        SchoolNotEnabled = "SCHOOL_NOT_ENABLED",
        /// The loss of the card was reported (已挂失).
        CardSuspended = "CARD_SUSPENDED",
        /// More than the card may spend a day.
        SpendingLimit = "SPENDING_LIMIT",
        /// No mandate to debit the holder (未签约代扣).
        NoMandate = "NO_MANDATE",
        /// An earlier debit could not be collected.
        MandateBlocked = "MANDATE_BLOCKED",
        /// The campus code was older than the offline window when it was used.
        CodeExpired = "CODE_EXPIRED",
        /// The item is not charged, is closed, or less is owed on it.
        ItemNotPayable = "ITEM_NOT_PAYABLE",
        /// The item must be paid in full.
        InstalmentNotAllowed = "INSTALMENT_NOT_ALLOWED",
    }
}

/// The coordinator refused a request; no money may follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderRejected {
    pub reason: RejectionReason,
    pub message: String,
}

impl Payload for OrderRejected {
    const TYPE: &'static str = "ledger.order.rejected.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.reason]
    }
}

words! {
    /// Which rule let an order lapse.
    ExpiryRule {
        /// Nothing was paid within the in-flight time (约2分钟).
        InFlightTtl = "in_flight_ttl",
        /// The channel closed the order.
        ChannelClose = "channel_close",
    }
}

/// An order lapsed without a payment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderExpired {
    pub rule: ExpiryRule,
    /// The time allowed, in seconds.
    pub ttl_s: u32,
}

impl Payload for OrderExpired {
    const TYPE: &'static str = "ledger.order.expired.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

/// The payer or an operator gave the order up before paying.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderCancelled {
    /// The role that cancelled, such as `payer` or `operator`.
    pub by: Name,
    pub reason: String,
}

impl Payload for OrderCancelled {
    const TYPE: &'static str = "ledger.order.cancelled.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}

words! {
    /// What a payer says about the payment.
    Claim {
        /// 付款已成功
        Paid = "paid",
        /// 付款出现问题
        Problem = "problem",
    }
}

/// The payer said how the payment went. It proves nothing: the channel is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PayerClaimRecorded {
    pub claim: Claim,
}

impl Payload for PayerClaimRecorded {
    const TYPE: &'static str = "ledger.payer-claim.recorded.v1";
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject, self.claim]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}
