//! Who may report what. A source says who speaks, the table says which types that kind of speaker may report, and the
//! party that the data names must be the speaker itself. What the ledger decides or does, nobody may report.

use std::{fmt, str::FromStr};

use rules::order::Order;
use schemas::{
    About, Data, Event, Name, Refusal, RefusalCode, Stream,
    events::{self as e, Method, Payload, RefundOrigin},
};
use serde::{Deserialize, Serialize};

use super::known::Orders;

/// Who reports, as it stands in an event's `source`: `/channels/ums-pos`, `/banks/cdb`, `/operators/li`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Source {
    pub role: Role,
    pub name: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Collects money from payers.
    Channel,
    /// Books repayments.
    Bank,
    /// Runs the card host and the fee system.
    School,
    /// A person of ours, by an opaque name.
    Operator,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a source is /channels/<name>, /banks/<name>, /schools/<name> or /operators/<name>")]
pub struct SourceError;

impl Role {
    const ALL: &[Self] = &[Self::Channel, Self::Bank, Self::School, Self::Operator];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Bank => "bank",
            Self::School => "school",
            Self::Operator => "operator",
        }
    }

    /// The first step of a source.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Channel => "channels",
            Self::Bank => "banks",
            Self::School => "schools",
            Self::Operator => "operators",
        }
    }
}

impl Source {
    pub fn channel(name: Name) -> Self {
        Self { role: Role::Channel, name }
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (folder, name) = text.strip_prefix('/').and_then(|path| path.split_once('/')).ok_or(SourceError)?;
        let role = Role::ALL.iter().copied().find(|role| role.folder() == folder).ok_or(SourceError)?;
        Ok(Self { role, name: name.parse().map_err(|_| SourceError)? })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}", self.role.folder(), self.name)
    }
}

impl TryFrom<String> for Source {
    type Error = SourceError;

    fn try_from(text: String) -> Result<Self, SourceError> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

const CHANNEL: &[Role] = &[Role::Channel];
const BANK: &[Role] = &[Role::Bank];
const OPERATOR: &[Role] = &[Role::Operator];
const SCHOOL: &[Role] = &[Role::School];
const CHANNEL_BANK: &[Role] = &[Role::Channel, Role::Bank];
const CHANNEL_SCHOOL: &[Role] = &[Role::Channel, Role::School];
const CHANNEL_OPERATOR: &[Role] = &[Role::Channel, Role::Operator];
const BANK_SCHOOL: &[Role] = &[Role::Bank, Role::School];
const BANK_SCHOOL_OPERATOR: &[Role] = &[Role::Bank, Role::School, Role::Operator];
/// Decisions of the coordinator and acts of the executor and the doors.
const LEDGER_ONLY: &[Role] = &[];

/// Who may report each type, in the order of the catalogue. Whoever collects the money may not say that the bank
/// booked it, and nobody but the ledger decides.
pub const REPORTERS: &[(&str, &[Role])] = &[
    (e::RepaymentEnrolmentChecked::TYPE, CHANNEL_BANK),
    (e::LoanContractQuoted::TYPE, CHANNEL_BANK),
    (e::CardholderLinked::TYPE, CHANNEL_SCHOOL),
    (e::CardholderUnlinked::TYPE, CHANNEL_SCHOOL),
    (e::WithholdingMandateSigned::TYPE, CHANNEL),
    (e::WithholdingMandateEnded::TYPE, CHANNEL),
    (e::SpendingLimitSet::TYPE, CHANNEL_SCHOOL),
    (e::CardSuspended::TYPE, CHANNEL_SCHOOL),
    (e::CardReinstated::TYPE, CHANNEL_SCHOOL),
    (e::SubsidyGranted::TYPE, SCHOOL),
    (e::FeeItemAssessed::TYPE, SCHOOL),
    (e::FeeItemAdjusted::TYPE, SCHOOL),
    // Asked for at doors of their own, which derive the order and its stream from the contract, card or student.
    (e::RepaymentRequested::TYPE, LEDGER_ONLY),
    (e::TopUpRequested::TYPE, LEDGER_ONLY),
    (e::FeePaymentRequested::TYPE, LEDGER_ONLY),
    (e::PurchaseRequested::TYPE, LEDGER_ONLY),
    (e::OfflinePurchaseUploaded::TYPE, LEDGER_ONLY),
    (e::OrderAccepted::TYPE, LEDGER_ONLY),
    (e::OrderRejected::TYPE, LEDGER_ONLY),
    (e::OrderExpired::TYPE, LEDGER_ONLY),
    (e::OrderCancelled::TYPE, CHANNEL_OPERATOR),
    (e::PayerClaimRecorded::TYPE, CHANNEL),
    (e::PaymentInitiated::TYPE, CHANNEL),
    (e::PaymentCaptured::TYPE, CHANNEL),
    (e::PaymentDeclined::TYPE, CHANNEL),
    (e::PaymentOutcomeUnknown::TYPE, CHANNEL),
    (e::PaymentReversed::TYPE, CHANNEL),
    (e::PaymentReversalFailed::TYPE, CHANNEL),
    (e::ChargebackReceived::TYPE, CHANNEL),
    (e::ChargebackRepresented::TYPE, CHANNEL_OPERATOR),
    (e::ChargebackClosed::TYPE, CHANNEL_OPERATOR),
    (e::ConfirmationRequested::TYPE, LEDGER_ONLY),
    (e::RepaymentConfirmed::TYPE, BANK),
    (e::CardCredited::TYPE, SCHOOL),
    (e::CardValueLoaded::TYPE, SCHOOL),
    (e::FeePosted::TYPE, SCHOOL),
    (e::ConfirmationFailed::TYPE, BANK_SCHOOL),
    (e::ConfirmationUncertain::TYPE, BANK_SCHOOL),
    (e::ConfirmationResolved::TYPE, BANK_SCHOOL_OPERATOR),
    (e::ConfirmationRevoked::TYPE, BANK_SCHOOL_OPERATOR),
    (e::OfflinePurchaseResolved::TYPE, OPERATOR),
    (e::PurchasePosted::TYPE, LEDGER_ONLY),
    (e::PurchaseRefunded::TYPE, CHANNEL_SCHOOL),
    (e::WithholdingUncollected::TYPE, OPERATOR),
    (e::ReceiptPrinted::TYPE, CHANNEL),
    (e::ReceiptReprinted::TYPE, CHANNEL),
    (e::FiscalReceiptIssued::TYPE, CHANNEL_SCHOOL),
    (e::FiscalReceiptReversed::TYPE, CHANNEL_SCHOOL),
    (e::RefundRequested::TYPE, CHANNEL_OPERATOR),
    (e::RefundRejected::TYPE, LEDGER_ONLY),
    (e::RefundInitiated::TYPE, LEDGER_ONLY),
    (e::RefundSubmitted::TYPE, LEDGER_ONLY),
    (e::RefundCompleted::TYPE, CHANNEL),
    (e::RefundFailed::TYPE, CHANNEL),
    (e::RefundReturned::TYPE, CHANNEL),
    (e::RefundCancelled::TYPE, LEDGER_ONLY),
    (e::RefundEscalated::TYPE, LEDGER_ONLY),
    (e::RefundPaidManually::TYPE, OPERATOR),
    (e::RefundFileExported::TYPE, LEDGER_ONLY),
    (e::SettlementReported::TYPE, CHANNEL_OPERATOR),
    (e::SettlementReceived::TYPE, OPERATOR),
    (e::FundsRemitted::TYPE, OPERATOR),
    (e::ChannelStatementReceived::TYPE, LEDGER_ONLY),
    (e::StatementLineReceived::TYPE, LEDGER_ONLY),
    (e::ReconciliationBreakRaised::TYPE, LEDGER_ONLY),
    (e::ReconciliationBreakResolved::TYPE, LEDGER_ONLY),
    (e::InboxRecordRejected::TYPE, LEDGER_ONLY),
    (e::DeadLetterResolved::TYPE, OPERATOR),
];

/// Whether this source may report this event.
pub fn check(source: &Source, event: &Event) -> Result<(), Refusal> {
    let event_type = event.data.event_type();
    let reporters = REPORTERS.iter().find(|(name, _)| *name == event_type).map_or(LEDGER_ONLY, |(_, roles)| *roles);
    if !reporters.contains(&source.role) {
        return Err(not_yours(match (reporters, asked_for_at(&event.data)) {
            ([], Some(path)) => format!("this is asked for with POST {path}, which makes the order"),
            ([], None) => format!("{event_type} is the ledger's own; nobody reports it"),
            _ => format!("{source} may not report {event_type}"),
        }));
    }
    let named = party_named(source.role, &event.data);
    if let Some(other) = named.filter(|name| source.role != Role::Operator && **name != source.name) {
        return Err(not_yours(format!("{source} may not report for {other}")));
    }
    check_refund_origin(source, &event.data)?;
    if matches!(&event.data, Data::WithholdingUncollected(data) if data.bearer.is_none()) {
        return Err(not_yours("who gives a debit up names the bearer; the rest is the ledger's to say".to_owned()));
    }
    if matches!(&event.data, Data::PaymentInitiated(data) if data.method == Method::Withholding) {
        return Err(not_yours(
            "a debit is the ledger's to decide; whether it was taken is the channel's to say".to_owned(),
        ));
    }
    check_stream(source, event, named)
}

/// Where a request is made, which no event can make.
pub(super) fn asked_for_at(data: &Data) -> Option<&'static str> {
    match data {
        Data::RepaymentRequested(_) => Some("/v1/loan-repayments"),
        Data::TopUpRequested(_) => Some("/v1/card-top-ups"),
        Data::FeePaymentRequested(_) => Some("/v1/fee-payments"),
        Data::PurchaseRequested(_) => Some("/v1/purchases"),
        Data::OfflinePurchaseUploaded(_) => Some("/v1/offline-purchases"),
        _ => None,
    }
}

/// The order that an event is about, if the order says whether the speaker has to do with it.
pub fn order_to_look_at<'a>(source: &Source, event: &'a Event) -> Option<&'a str> {
    let says_itself = match &event.data {
        // A copy of a slip is no evidence, whoever brings it.
        Data::ChargebackRepresented(_) => false,
        _ => source.role == Role::Operator,
    };
    (event.data.about() == About::Order && !says_itself).then_some(&event.subject)
}

/// Whether this source may say this of the order it is about, among these that are known.
pub fn check_orders(source: &Source, event: &Event, orders: &Orders) -> Result<(), Refusal> {
    let order = order_to_look_at(source, event).and_then(|key| orders.get(key));
    order.map_or(Ok(()), |order| check_order(source, event, order))
}

/// A channel speaks about captures and refunds of its own, and about orders that were asked for or paid through it; a
/// bank or school about money for itself. Of what nobody knows yet, nobody can say.
fn check_order(source: &Source, event: &Event, order: &Order) -> Result<(), Refusal> {
    if let Data::ChargebackRepresented(data) = &event.data
        && order.copies.contains(&data.evidence_sha256.to_ascii_lowercase())
    {
        let detail = "this is a reprinted slip, which no issuer takes as evidence; find the slip that was signed";
        return Err(Refusal::new(RefusalCode::InvalidData, detail));
    }
    if let Data::PaymentCaptured(data) = &event.data {
        // Money that came in says so by itself, once: the same transaction told at another channel is no second payment.
        let mut others = order.captures.iter().filter(|known| known.channel != data.channel);
        return match others.find(|known| known.channel_txn_no == data.channel_txn_no) {
            Some(known) => Err(not_yours(format!("{} was paid through {}", known.channel_txn_no, known.channel))),
            None => Ok(()),
        };
    }
    let request = order.request.as_ref().map(|request| &request.data);
    let own = match source.role {
        Role::Operator => true,
        Role::Bank | Role::School => request.is_none_or(|request| *request.beneficiary() == source.name),
        Role::Channel => match channel_of(order, &event.data) {
            Some(channel) => *channel == source.name,
            None => {
                let paid = order.captures.iter().map(|capture| &capture.channel);
                let mut channels = paid.chain(request.map(|request| request.channel())).peekable();
                channels.peek().is_none() || channels.any(|channel| *channel == source.name)
            }
        },
    };
    if own { Ok(()) } else { Err(not_yours(format!("this is not for {source} to say"))) }
}

/// Whose capture or refund an event is about, if the order knows it.
fn channel_of<'a>(order: &'a Order, data: &Data) -> Option<&'a Name> {
    let refund = |id| order.refunds.get(&id)?.channel.as_ref();
    let capture = |id| Some(&order.captures.iter().find(|capture| capture.id == id)?.channel);
    match data {
        Data::PaymentReversed(data) => capture(data.capture_id?),
        Data::ChargebackReceived(data) => capture(data.capture_id),
        Data::RefundRequested(data) => capture(data.capture_id),
        Data::RefundCompleted(data) => refund(data.refund_id),
        Data::RefundFailed(data) => refund(data.refund_id),
        Data::RefundReturned(data) => refund(data.refund_id),
        _ => None,
    }
}

fn not_yours(detail: String) -> Refusal {
    Refusal::new(RefusalCode::NotYours, detail)
}

/// The channel, bank or school that the data speaks for.
fn party_named(role: Role, data: &Data) -> Option<&Name> {
    match data {
        // A channel passes on what the bank answered; a bank speaks for itself.
        Data::RepaymentEnrolmentChecked(data) => (role == Role::Bank).then_some(&data.bank),
        Data::LoanContractQuoted(data) => (role == Role::Bank).then_some(&data.bank),
        // A channel says on which school's card; a school speaks for itself.
        Data::CardholderLinked(data) => (role == Role::School).then_some(&data.school),
        Data::CardholderUnlinked(data) => (role == Role::School).then_some(&data.school),
        Data::SpendingLimitSet(data) => (role == Role::School).then_some(&data.school),
        Data::CardSuspended(data) => (role == Role::School).then_some(&data.school),
        Data::CardReinstated(data) => (role == Role::School).then_some(&data.school),
        Data::PurchaseRefunded(data) => (role == Role::School).then_some(&data.school),
        Data::SubsidyGranted(data) => Some(&data.school),
        Data::FeeItemAssessed(data) => Some(&data.school),
        Data::FeeItemAdjusted(data) => Some(&data.school),
        Data::WithholdingMandateSigned(data) => Some(&data.channel),
        Data::WithholdingMandateEnded(data) => Some(&data.channel),
        Data::RepaymentRequested(data) => Some(&data.channel),
        Data::TopUpRequested(data) => Some(&data.channel),
        Data::FeePaymentRequested(data) => Some(&data.channel),
        Data::PurchaseRequested(data) => Some(&data.channel),
        Data::OfflinePurchaseUploaded(data) => Some(&data.channel),
        Data::CardCredited(data) => Some(&data.target),
        Data::CardValueLoaded(data) => Some(&data.target),
        Data::FeePosted(data) => Some(&data.target),
        Data::RefundFileExported(data) => Some(&data.channel),
        Data::PaymentCaptured(data) => Some(&data.channel),
        Data::PaymentReversed(data) => Some(&data.channel),
        Data::ChargebackReceived(data) => Some(&data.channel),
        Data::ChargebackRepresented(data) => Some(&data.channel),
        Data::ChargebackClosed(data) => Some(&data.channel),
        Data::RepaymentConfirmed(data) => Some(&data.target),
        Data::ConfirmationRequested(data) => Some(&data.target),
        Data::ConfirmationFailed(data) => Some(&data.target),
        Data::ConfirmationUncertain(data) => Some(&data.target),
        Data::ConfirmationResolved(data) => Some(&data.target),
        Data::ConfirmationRevoked(data) => Some(&data.target),
        Data::RefundInitiated(data) => Some(&data.channel),
        Data::RefundCompleted(data) => Some(&data.channel),
        Data::RefundReturned(data) => Some(&data.channel),
        Data::SettlementReported(data) => Some(&data.channel),
        Data::SettlementReceived(data) => Some(&data.channel),
        Data::FundsRemitted(data) => Some(&data.beneficiary),
        Data::ChannelStatementReceived(data) => Some(&data.channel),
        Data::StatementLineReceived(data) => Some(&data.channel),
        Data::ReconciliationBreakRaised(data) => Some(&data.channel),
        Data::ReconciliationBreakResolved(data) => Some(&data.channel),
        Data::OrderAccepted(_)
        | Data::OrderRejected(_)
        | Data::OrderExpired(_)
        | Data::OrderCancelled(_)
        | Data::PaymentInitiated(_)
        | Data::PaymentDeclined(_)
        | Data::PaymentOutcomeUnknown(_)
        | Data::PaymentReversalFailed(_)
        | Data::ReceiptPrinted(_)
        | Data::ReceiptReprinted(_)
        | Data::FiscalReceiptIssued(_)
        | Data::FiscalReceiptReversed(_)
        | Data::PayerClaimRecorded(_)
        | Data::PurchasePosted(_)
        | Data::OfflinePurchaseResolved(_)
        | Data::WithholdingUncollected(_)
        | Data::RefundRequested(_)
        | Data::RefundRejected(_)
        | Data::RefundSubmitted(_)
        | Data::RefundFailed(_)
        | Data::RefundCancelled(_)
        | Data::RefundEscalated(_)
        | Data::RefundPaidManually(_)
        | Data::InboxRecordRejected(_)
        | Data::DeadLetterResolved(_) => None,
    }
}

/// A refund is asked for in one's own name: nobody speaks for the saga, and no channel for an operator.
fn check_refund_origin(source: &Source, data: &Data) -> Result<(), Refusal> {
    let Data::RefundRequested(data) = data else { return Ok(()) };
    match data.by {
        RefundOrigin::Customer | RefundOrigin::File => Ok(()),
        RefundOrigin::Operator if source.role == Role::Operator => Ok(()),
        RefundOrigin::Operator | RefundOrigin::Saga => {
            Err(not_yours(format!("{source} may not ask for a refund by {}", data.by)))
        }
    }
}

/// What is about a party as a whole stands on that party's stream, so that all of it stays in order.
fn check_stream(source: &Source, event: &Event, named: Option<&Name>) -> Result<(), Refusal> {
    match event.data.about() {
        About::Order | About::Stream => Ok(()),
        About::Channel => {
            let stream = Stream::channel(named.unwrap_or(&source.name));
            if event.stream == stream {
                return Ok(());
            }
            Err(Refusal::new(RefusalCode::WrongKey, format!("this belongs on the stream {stream}")))
        }
    }
}

#[cfg(test)]
mod tests;
