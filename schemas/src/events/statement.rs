//! Statements (对账文件): what a channel's file of a day says, line by line, and where it differs from the ledger (差异).

use std::borrow::Cow;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{About, Payload, parts, positive, words};
use crate::{Amount, Balance, Name, StreamKind};

/// The channel's statement of a day was read, all its lines included, which the log has before this. What is told later for
/// the same day is its next revision, and takes the place of the one before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChannelStatementReceived {
    pub channel: Name,
    #[serde(deserialize_with = "crate::calendar::date")]
    pub statement_date: NaiveDate,
    /// From 1.
    pub revision: u16,
    /// Derived from the file and from how it was read: its lines have the same.
    pub statement_id: Uuid,
    pub file_name: String,
    /// Of the whole file, in hexadecimal.
    pub sha256: String,
    pub lines: u32,
    /// What its lines add up to.
    pub payments: Amount,
    pub refunds: Amount,
    /// How many lines the file itself says it has, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_lines: Option<u32>,
    /// Payments less refunds, as the file itself says, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_net: Option<Balance>,
}

impl Payload for ChannelStatementReceived {
    const TYPE: &'static str = "ledger.channel-statement.received.v1";
    const ABOUT: About = About::Channel;
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.channel, self.statement_date, self.revision]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.statement_id]
    }
}

words! {
    /// Which way the money of a line went.
    StatementSide {
        Payment = "payment",
        Refund = "refund",
    }
}

impl StatementSide {
    /// What came in counts as positive, what went back as negative.
    pub fn signed(self, amount: Amount) -> Balance {
        match self {
            Self::Payment => amount.into(),
            Self::Refund => -Balance::from(amount),
        }
    }
}

/// A line of a statement: what the channel says about one payment or refund. Whether it is one of ours follows from its
/// number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatementLineReceived {
    pub channel: Name,
    #[serde(deserialize_with = "crate::calendar::date")]
    pub statement_date: NaiveDate,
    pub statement_id: Uuid,
    /// Of the file, from 1, its heading included.
    pub line_no: u32,
    pub side: StatementSide,
    /// The channel's number of the payment, or the number of the refund.
    pub number: String,
    pub amount: Amount,
    /// Negative where the channel gives a fee back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Balance>,
    /// As the channel has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_no: Option<String>,
}

impl StatementLineReceived {
    /// What came in counts as positive, what went back as negative.
    pub fn signed(&self) -> Balance {
        self.side.signed(self.amount)
    }
}

impl Payload for StatementLineReceived {
    const TYPE: &'static str = "ledger.statement-line.received.v1";
    const ABOUT: About = About::Channel;
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.statement_id, self.line_no]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.channel, self.side, self.number, self.amount]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        positive(self.amount)
    }
}

words! {
    /// How the ledger and a channel's statement differ. 长款 and 短款 are used either way in the field, so the side is named.
    ReconciliationClass {
        /// Ours, and not in the statement of its day; it may come in that of one of the next days.
        Timing = "timing",
        /// Ours, and in no statement although its time is over.
        MissingInChannel = "missing_in_channel",
        /// In the statement under a number that has the form of our orders, and not in the ledger.
        MissingInLedger = "missing_in_ledger",
        /// In the statement under no such number.
        UnknownOrder = "unknown_order",
        /// The channel has more than the ledger.
        AmountChannelOver = "amount_channel_over",
        /// The channel has less than the ledger.
        AmountChannelUnder = "amount_channel_under",
        /// The same number again: one number is one payment, so the repeat is no money.
        DuplicateInChannel = "duplicate_in_channel",
        /// The lines are not what the file itself says that they add up to.
        ControlTotal = "control_total",
    }
}

impl ReconciliationClass {
    /// Whether the difference is money that one side has and the other has not.
    pub fn is_money(self) -> bool {
        match self {
            Self::MissingInChannel
            | Self::MissingInLedger
            | Self::UnknownOrder
            | Self::AmountChannelOver
            | Self::AmountChannelUnder => true,
            Self::Timing | Self::DuplicateInChannel | Self::ControlTotal => false,
        }
    }
}

/// The ledger and a channel's statement differ. Payments count as positive, refunds as negative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReconciliationBreakRaised {
    /// Derived from channel, day, side and number, or transaction: what differs there again is the same break.
    pub break_id: Uuid,
    /// How often it has been raised, this time included.
    pub occurrence: u16,
    pub channel: Name,
    /// The day of the statement; of what is in none, the day in whose statement it should be.
    #[serde(deserialize_with = "crate::calendar::date")]
    pub statement_date: NaiveDate,
    /// Of the statement of that day.
    pub revision: u16,
    pub class: ReconciliationClass,
    /// Absent where the statement as a whole differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<StatementSide>,
    /// The channel's number of the payment, or the number of the refund.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_no: Option<u32>,
    /// The capture or refund of the ledger that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<Uuid>,
    /// As the ledger has it, or else as the statement has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_no: Option<String>,
    /// Absent where the ledger has none. Of a control total: what the lines add up to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_amount: Option<Balance>,
    /// Absent where the channel has none. Of a control total: what the file says that they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_amount: Option<Balance>,
    /// The last day in whose statement it may still come.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::calendar::optional_date")]
    pub grace_until: Option<NaiveDate>,
}

impl ReconciliationBreakRaised {
    /// What the channel has beyond the ledger.
    pub fn difference(&self) -> Balance {
        self.channel_amount.unwrap_or_default() - self.ledger_amount.unwrap_or_default()
    }
}

impl Payload for ReconciliationBreakRaised {
    const TYPE: &'static str = "ledger.reconciliation-break.raised.v1";
    const ABOUT: About = About::Channel;
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.break_id, self.occurrence]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        parts![self.channel, self.class, self.difference(), text(&self.number), text(&self.order_no)]
    }
}

words! {
    /// How a break ended.
    BreakResolution {
        /// The channel had it in the statement of a later day.
        Timing = "timing",
        /// The ledger has posted what it had not: the capture, the refund, or a reversal.
        LateCapturePosted = "late_capture_posted",
        /// Nobody identified it: it was posted to an order of nobody, and goes back to whoever paid.
        Refunded = "refunded",
        /// Two persons took it as a loss, or as income.
        WrittenOff = "written_off",
        /// The channel put it right: in a statement that it issued again, or as a person was told.
        ChannelCorrected = "channel_corrected",
        /// Something else differs there now, and has been raised.
        Superseded = "superseded",
    }
}

/// A break ended. It carries what it undoes, so that its postings need nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReconciliationBreakResolved {
    pub break_id: Uuid,
    /// Which occurrence of the break it ends.
    pub occurrence: u16,
    pub channel: Name,
    pub class: ReconciliationClass,
    /// What the channel had beyond the ledger.
    pub difference: Balance,
    pub resolution: BreakResolution,
    /// Persons, by opaque names; empty where a statement settled it by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<Name>,
    /// Of what the channel has promised to put right: the last day in whose statement it may do so. Then it is raised again.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::calendar::optional_date")]
    pub until: Option<NaiveDate>,
}

impl Payload for ReconciliationBreakResolved {
    const TYPE: &'static str = "ledger.reconciliation-break.resolved.v1";
    const ABOUT: About = About::Channel;
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.break_id, self.occurrence]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.channel, self.class, self.difference, self.resolution]
    }
    fn check(&self, _: Option<StreamKind>) -> Result<(), &'static str> {
        let two = self.approvers.iter().any(|other| self.approvers.first() != Some(other));
        match self.resolution == BreakResolution::WrittenOff && !two {
            true => Err("a write-off names two approvers"),
            false => Ok(()),
        }
    }
}
