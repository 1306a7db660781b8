//! The catalogue: every type of event, one file per concept.
//!
//! To add a type: write its struct with a [`Payload`] impl in the file of its concept and name it in the
//! list below. Its schema, golden file and place in the AsyncAPI document follow from that.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{AMOUNT_MAX_FEN, Amount, Balance, StreamKind, event::IDENTITY_CHARS_MAX};

mod card;
mod confirmation;
mod contract;
mod dead_letter;
mod fee;
mod inbox;
mod mandate;
mod order;
mod payment;
mod purchase;
mod receipt;
mod refund;
mod settlement;
mod statement;

pub use {
    card::*, confirmation::*, contract::*, dead_letter::*, fee::*, inbox::*, mandate::*, order::*, payment::*,
    purchase::*, receipt::*, refund::*, settlement::*, statement::*,
};

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// An order: the subject is its number, the stream is the one that the number carries.
    Order,
    /// A loan contract, a card or a fee account as a whole: subject and stream are the same.
    Stream,
    /// A channel or party as a whole: the stream is `channel:<name>`, the subject is made of the natural key.
    Channel,
}

/// What every type of event says about itself.
pub trait Payload: Serialize + DeserializeOwned + JsonSchema {
    /// The CloudEvents type, with its version: `ledger.payment.captured.v1`.
    const TYPE: &'static str;

    /// What kind of thing the event is about; decides its subject and its stream.
    const ABOUT: About = About::Order;

    /// The kinds of streams on which it may stand, unless it is about a channel.
    const KINDS: &'static [StreamKind] = StreamKind::ALL;

    /// What makes this fact the same fact again, whoever reports it and on whatever evidence.
    /// `subject` is the order (or batch) that the event is about.
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>>;

    /// What two reports of the same fact must agree on. Times, evidence and optional detail do not count.
    fn business_fields(&self) -> Vec<Cow<'_, str>>;

    /// Rules that types and patterns cannot express, asked where events come in. `on` is the kind of its stream, `None`
    /// for that of a channel.
    fn check(&self, _on: Option<StreamKind>) -> Result<(), &'static str> {
        Ok(())
    }
}

/// What names an account or an item goes into indexes, and a text that no index takes would stop a view.
fn named<'a>(names: impl IntoIterator<Item = Option<&'a str>>) -> Result<(), &'static str> {
    let fits = |name: &str| name.chars().count() <= IDENTITY_CHARS_MAX;
    match names.into_iter().flatten().all(fits) {
        true => Ok(()),
        false => Err("the name of a merchant or fee item has at most 128 characters"),
    }
}

/// What one event changes is limited like an amount; only sums of many are not.
fn of_one_event(sum: Balance) -> Result<(), &'static str> {
    match sum.fen().unsigned_abs() > AMOUNT_MAX_FEN.unsigned_abs() {
        true => Err("a sum of one event may not exceed 9999999999.99 yuan"),
        false => Ok(()),
    }
}

/// Nothing is no fact, and would take the number of one.
fn positive(amount: Amount) -> Result<(), &'static str> {
    if amount.is_zero() { Err("the amount must be more than 0.00") } else { Ok(()) }
}

macro_rules! catalogue {
    ($($type:ident),+ $(,)?) => {
        /// The data of an event, one variant per type.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Data {
            $($type($type)),+
        }

        impl Data {
            /// Every type in the catalogue, in reading order.
            pub const TYPES: &[&str] = &[$($type::TYPE),+];

            pub fn event_type(&self) -> &'static str {
                match self { $(Self::$type(_) => $type::TYPE),+ }
            }

            pub fn about(&self) -> About {
                match self { $(Self::$type(_) => $type::ABOUT),+ }
            }

            /// What events of the named type are about; `None` when the catalogue has no such type.
            pub fn about_of(event_type: &str) -> Option<About> {
                match event_type {
                    $($type::TYPE => Some($type::ABOUT),)+
                    _ => None,
                }
            }

            pub(crate) fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
                match self { $(Self::$type(data) => data.natural_key(subject)),+ }
            }

            pub(crate) fn business_fields(&self) -> Vec<Cow<'_, str>> {
                match self { $(Self::$type(data) => data.business_fields()),+ }
            }

            /// On which kinds of streams events of the named type may stand.
            pub fn kinds_of(event_type: &str) -> &'static [StreamKind] {
                match event_type {
                    $($type::TYPE => $type::KINDS,)+
                    _ => &[],
                }
            }

            pub(crate) fn check(&self, on: Option<StreamKind>) -> Result<(), &'static str> {
                match self { $(Self::$type(data) => data.check(on)),+ }
            }

            /// Reads `json` as the named type; `None` when the catalogue has no such type.
            pub(crate) fn read<'de, D: serde::Deserializer<'de>>(event_type: &str, json: D) -> Option<Result<Self, D::Error>> {
                match event_type {
                    $($type::TYPE => Some(<$type as serde::Deserialize>::deserialize(json).map(Self::$type)),)+
                    _ => None,
                }
            }

            /// The JSON Schema of a type's data.
            pub fn schema_of(event_type: &str, generator: &mut schemars::SchemaGenerator) -> Option<schemars::Schema> {
                match event_type {
                    $($type::TYPE => Some(generator.root_schema_for::<$type>()),)+
                    _ => None,
                }
            }
        }

        impl Serialize for Data {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$type(data) => data.serialize(serializer)),+ }
            }
        }

        $(impl From<$type> for Data {
            fn from(data: $type) -> Self {
                Self::$type(data)
            }
        })+
    };
}

catalogue! {
    RepaymentEnrolmentChecked, LoanContractQuoted,
    CardholderLinked, CardholderUnlinked, WithholdingMandateSigned, WithholdingMandateEnded,
    SpendingLimitSet, CardSuspended, CardReinstated, SubsidyGranted, FeeItemAssessed, FeeItemAdjusted,
    RepaymentRequested, TopUpRequested, FeePaymentRequested, PurchaseRequested, OfflinePurchaseUploaded,
    OrderAccepted, OrderRejected, OrderExpired, OrderCancelled, PayerClaimRecorded,
    PaymentInitiated, PaymentCaptured, PaymentDeclined, PaymentOutcomeUnknown, PaymentReversed, PaymentReversalFailed,
    ChargebackReceived, ChargebackRepresented, ChargebackClosed,
    ConfirmationRequested, RepaymentConfirmed, CardCredited, CardValueLoaded, FeePosted, ConfirmationFailed, ConfirmationUncertain, ConfirmationResolved, ConfirmationRevoked,
    OfflinePurchaseResolved, PurchasePosted, PurchaseRefunded, WithholdingUncollected,
    ReceiptPrinted, ReceiptReprinted, FiscalReceiptIssued, FiscalReceiptReversed,
    RefundRequested, RefundRejected, RefundInitiated, RefundSubmitted, RefundCompleted, RefundFailed, RefundReturned,
    RefundCancelled, RefundEscalated, RefundPaidManually, RefundFileExported,
    SettlementReported, SettlementReceived, FundsRemitted,
    ChannelStatementReceived, StatementLineReceived, ReconciliationBreakRaised, ReconciliationBreakResolved,
    InboxRecordRejected, DeadLetterResolved,
}

/// A natural key or business field made of displayable parts.
macro_rules! parts {
    ($($part:expr),* $(,)?) => { vec![$(std::borrow::Cow::Owned($part.to_string())),*] };
}
pub(crate) use parts;

/// An enum whose words are the same on the wire, in SQL and on the screen.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What a report rests on.
    Evidence {
        SyncResponse = "sync_response",
        AsyncNotice = "async_notice",
        Query = "query",
        Statement = "statement",
        Manual = "manual",
    }
}
