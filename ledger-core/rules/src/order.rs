//! An order: what has happened to one attempt to pay, as totals that add up in any order of arrival, and the one
//! status that follows from them. Late, early and repeated reports are never refused here; an odd combination shows
//! up as a status or a break.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, FixedOffset, NaiveDate};
use schemas::{Amount, Balance, Data, Event, Name, events::*};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{LogTime, confirmation::Confirmation, is_default, purchase::Purchase, refund::Refund};

mod status;

pub use status::{FulfilmentTrack, OrderStatus, PaymentTrack, RefundTrack};

/// Everything the log says about one order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admission: Option<Admission>,
    /// When it lapsed, by the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired_at: Option<LogTime>,
    #[serde(skip_serializing_if = "is_default")]
    pub cancelled: bool,
    /// The last attempt to pay.
    #[serde(skip_serializing_if = "is_default")]
    pub initiated: u16,
    /// When the payer last said anything about the payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<LogTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_unknown: Option<UnknownPayment>,
    /// The last attempt that was declined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declined: Option<Declined>,
    /// The last attempt that was cancelled before anything was charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncharged: Option<Declined>,
    /// In the order of the log: the first that stands funds the order.
    #[serde(skip_serializing_if = "is_default")]
    pub captures: Vec<Capture>,
    /// By the id of the capture that was undone.
    #[serde(skip_serializing_if = "is_default")]
    pub reversals: BTreeMap<Uuid, Balance>,
    /// A sync found that nothing had been charged.
    #[serde(skip_serializing_if = "is_default")]
    pub reversed_uncharged: bool,
    /// When the channel gave up undoing a payment (冲正失败).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reversal_failed_at: Option<LogTime>,
    pub confirmation: Confirmation,
    #[serde(skip_serializing_if = "is_default")]
    pub refunds: BTreeMap<Uuid, Refund>,
    /// By case number.
    #[serde(skip_serializing_if = "is_default")]
    pub chargebacks: BTreeMap<String, Chargeback>,
    /// How many slips and screens showed the result, copies included.
    #[serde(skip_serializing_if = "is_default")]
    pub receipts: u16,
    /// Since when a slip or screen says that it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_shown_at: Option<LogTime>,
    /// SHA-256 of copies of the slip, which are no evidence.
    #[serde(skip_serializing_if = "is_default")]
    pub copies: BTreeSet<String>,
    /// Fiscal e-receipts, less those that were taken back.
    #[serde(skip_serializing_if = "is_default")]
    pub fiscal_receipts: Balance,
    /// Of a fee payment with one line: whether its item could be paid in parts when it was admitted.
    #[serde(skip_serializing_if = "is_default")]
    pub instalments_allowed: bool,
    /// Of a purchase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purchase: Option<Box<Purchase>>,
    /// The journey that its events belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Uuid>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub data: RequestData,
    pub occurred_at: DateTime<FixedOffset>,
    pub recorded_at: LogTime,
}

/// What kind of order it is, and what its request says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestData {
    Repayment(RepaymentRequested),
    TopUp(TopUpRequested),
    FeePayment(FeePaymentRequested),
    Purchase(PurchaseRequested),
    OfflinePurchase(OfflinePurchaseUploaded),
}

impl RequestData {
    /// The word that reports show.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Repayment(_) => "loan_repayment",
            Self::TopUp(_) => "card_top_up",
            Self::FeePayment(_) => "fee_payment",
            Self::Purchase(_) | Self::OfflinePurchase(_) => "purchase",
        }
    }

    pub fn is_purchase(&self) -> bool {
        matches!(self, Self::Purchase(_) | Self::OfflinePurchase(_))
    }

    /// Whether its payer is led to a page of the channel.
    pub fn is_paid_on_a_page(&self) -> bool {
        matches!(self, Self::TopUp(_) | Self::FeePayment(_))
    }

    pub fn channel(&self) -> &Name {
        match self {
            Self::Repayment(data) => &data.channel,
            Self::TopUp(data) => &data.channel,
            Self::FeePayment(data) => &data.channel,
            Self::Purchase(data) => &data.channel,
            Self::OfflinePurchase(data) => &data.channel,
        }
    }

    /// The bank or school that the money is for.
    pub fn beneficiary(&self) -> &Name {
        match self {
            Self::Repayment(data) => &data.beneficiary,
            Self::TopUp(data) => &data.school,
            Self::FeePayment(data) => &data.school,
            Self::Purchase(data) => &data.school,
            Self::OfflinePurchase(data) => &data.school,
        }
    }

    pub fn amount(&self) -> Amount {
        match self {
            Self::Repayment(data) => data.amount,
            Self::TopUp(data) => data.amount,
            Self::FeePayment(data) => data.amount,
            Self::Purchase(data) => data.amount,
            Self::OfflinePurchase(data) => data.amount,
        }
    }

    /// The student, where the request names one.
    pub fn student(&self) -> Option<Uuid> {
        match self {
            Self::Repayment(data) => Some(data.student),
            Self::FeePayment(data) => Some(data.student),
            Self::TopUp(_) | Self::Purchase(_) | Self::OfflinePurchase(_) => None,
        }
    }
}

/// The coordinator's answer to the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    Accepted {
        expires_at: DateTime<FixedOffset>,
    },
    Rejected {
        reason: RejectionReason,
    },
    /// A purchase counts as soon as it is admitted.
    Posted,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Declined {
    pub attempt: u16,
    pub code: String,
    pub recorded_at: LogTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnknownPayment {
    /// How often the channel has been asked.
    pub tries: u8,
    pub recorded_at: LogTime,
}

/// Money that a channel took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// The id of the capture's event.
    pub id: Uuid,
    pub channel: Name,
    pub channel_txn_no: String,
    pub method: Method,
    pub amount: Amount,
    pub business_date: NaiveDate,
    pub captured_at: DateTime<FixedOffset>,
    pub recorded_at: LogTime,
}

/// A dispute about one capture; events may arrive in any order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Chargeback {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture_id: Option<Uuid>,
    #[serde(with = "schemas::total")]
    pub received: Amount,
    pub represented: bool,
    pub closed: Option<DisputeOutcome>,
}

impl Order {
    /// Adds one event that has not been added before.
    pub fn apply(&mut self, event: &Event, recorded_at: LogTime) {
        self.correlation_id = self.correlation_id.max(event.correlation_id);
        match &event.data {
            Data::RepaymentRequested(data) => self.ask(event, recorded_at, RequestData::Repayment(data.clone())),
            Data::TopUpRequested(data) => self.ask(event, recorded_at, RequestData::TopUp(data.clone())),
            Data::FeePaymentRequested(data) => {
                self.confirmation.lines_wanted = u16::try_from(data.lines.len()).unwrap_or(u16::MAX);
                self.ask(event, recorded_at, RequestData::FeePayment(data.clone()));
            }
            Data::PurchaseRequested(data) => self.ask(event, recorded_at, RequestData::Purchase(data.clone())),
            Data::OfflinePurchaseUploaded(data) => {
                self.ask(event, recorded_at, RequestData::OfflinePurchase(data.clone()));
            }
            Data::OrderAccepted(data) => {
                self.instalments_allowed = data.instalments_allowed;
                self.admit(Admission::Accepted { expires_at: data.expires_at });
            }
            Data::OrderRejected(data) => self.admit(Admission::Rejected { reason: data.reason }),
            Data::OrderExpired(_) => self.expired_at = Some(recorded_at),
            Data::OrderCancelled(_) => self.cancelled = true,
            Data::PayerClaimRecorded(_) => {
                self.claimed_at = self.claimed_at.max(Some(recorded_at));
            }

            Data::PaymentInitiated(data) => self.initiated = self.initiated.max(data.attempt),
            Data::PaymentCaptured(data) => self.captures.push(Capture {
                id: event.id,
                channel: data.channel.clone(),
                channel_txn_no: data.channel_txn_no.clone(),
                method: data.method,
                amount: data.amount,
                business_date: data.business_date,
                captured_at: event.occurred_at,
                recorded_at,
            }),
            Data::PaymentDeclined(data) => {
                let declined = Declined { attempt: data.attempt, code: data.response_code.clone(), recorded_at };
                self.declined = self.declined.take().max(Some(declined));
            }
            Data::PaymentOutcomeUnknown(data) => {
                self.payment_unknown =
                    self.payment_unknown.max(Some(UnknownPayment { tries: data.tries, recorded_at }));
            }
            Data::PaymentReversed(data) => match data.capture_id {
                Some(capture) => *self.reversals.entry(capture).or_default() += data.amount,
                None => {
                    self.reversed_uncharged = true;
                    let uncharged = Declined { attempt: data.attempt, code: data.reason.to_string(), recorded_at };
                    self.uncharged = self.uncharged.take().max(Some(uncharged));
                }
            },
            // While it is tried again, the payment stands.
            Data::PaymentReversalFailed(data) if data.retryable => {}
            Data::PaymentReversalFailed(_) => {
                self.reversal_failed_at = self.reversal_failed_at.max(Some(recorded_at));
            }
            Data::ChargebackReceived(data) => {
                let case = self.chargeback(&data.case_no);
                case.capture_id = Some(data.capture_id);
                case.received += data.amount;
            }
            Data::ChargebackRepresented(data) => self.chargeback(&data.case_no).represented = true,
            Data::ChargebackClosed(data) => self.chargeback(&data.case_no).closed = Some(data.outcome),

            Data::ConfirmationRequested(_)
            | Data::RepaymentConfirmed(_)
            | Data::CardCredited(_)
            | Data::CardValueLoaded(_)
            | Data::FeePosted(_)
            | Data::ConfirmationFailed(_)
            | Data::ConfirmationUncertain(_)
            | Data::ConfirmationResolved(_)
            | Data::ConfirmationRevoked(_) => self.confirmation.apply(&event.data, recorded_at),

            Data::PurchasePosted(_) => {
                self.confirmation.apply(&event.data, recorded_at);
                self.purchase().apply(&event.data);
                // A late purchase that a person let count was refused before.
                self.admission = Some(Admission::Posted);
            }
            Data::PurchaseRefunded(_) | Data::OfflinePurchaseResolved(_) | Data::WithholdingUncollected(_) => {
                self.purchase().apply(&event.data);
            }

            Data::ReceiptPrinted(data) => self.shown(data.outcome_text, recorded_at),
            Data::ReceiptReprinted(data) => {
                self.shown(data.outcome_text, recorded_at);
                self.copies.extend(data.slip_sha256.as_ref().map(|hash| hash.to_ascii_lowercase()));
            }
            Data::FiscalReceiptIssued(data) => self.fiscal_receipts += data.amount,
            Data::FiscalReceiptReversed(data) => self.fiscal_receipts -= data.amount,

            Data::RefundRequested(data) => self.refund(data.refund_id).apply(&event.data, recorded_at),
            Data::RefundRejected(data) => self.refund(data.refund_id).apply(&event.data, recorded_at),
            Data::RefundInitiated(data) => self.refund(data.refund_id).apply(&event.data, recorded_at),
            Data::RefundSubmitted(data) => self.refund(data.refund_id).apply(&event.data, recorded_at),
            Data::RefundCompleted(data) => self.refund(data.refund_id).apply(&event.data, recorded_at),
            Data::RefundFailed(data) => self.refund(data.refund_id).apply(&event.data, recorded_at),
            Data::RefundReturned(data) => self.refund(data.refund_id).apply(&event.data, recorded_at),
            Data::RefundCancelled(data) => self.refund(data.refund_id).apply(&event.data, recorded_at),
            Data::RefundEscalated(data) => self.refund(data.refund_id).apply(&event.data, recorded_at),
            Data::RefundPaidManually(data) => self.refund(data.refund_id).apply(&event.data, recorded_at),

            // About a stream or a channel as a whole: no order of ours changes.
            Data::RepaymentEnrolmentChecked(_)
            | Data::LoanContractQuoted(_)
            | Data::CardholderLinked(_)
            | Data::CardholderUnlinked(_)
            | Data::WithholdingMandateSigned(_)
            | Data::WithholdingMandateEnded(_)
            | Data::SpendingLimitSet(_)
            | Data::CardSuspended(_)
            | Data::CardReinstated(_)
            | Data::SubsidyGranted(_)
            | Data::FeeItemAssessed(_)
            | Data::FeeItemAdjusted(_)
            | Data::RefundFileExported(_)
            | Data::DeadLetterResolved(_)
            | Data::SettlementReported(_)
            | Data::SettlementReceived(_)
            | Data::FundsRemitted(_)
            | Data::ChannelStatementReceived(_)
            | Data::StatementLineReceived(_)
            | Data::ReconciliationBreakRaised(_)
            | Data::ReconciliationBreakResolved(_)
            | Data::InboxRecordRejected(_) => {}
        }
    }

    /// Whether its money is to go back by a refund because the channel could not undo the payment, and nobody has been asked
    /// to book, credit or post it yet.
    pub fn is_to_be_undone(&self) -> bool {
        self.reversal_failed_at.is_some() && self.confirmation.asked == 0
    }

    /// What is still to be debited for a purchase that counts already.
    pub fn receivable(&self) -> Balance {
        self.purchase.as_ref().map_or(Balance::ZERO, |purchase| purchase.receivable(self))
    }

    /// A purchase that was asked for online may be made offline, where no answer came; then it counts as that.
    fn ask(&mut self, event: &Event, recorded_at: LogTime, data: RequestData) {
        let was_made = |data: &RequestData| matches!(data, RequestData::OfflinePurchase(_));
        if was_made(&data) || !self.request.as_ref().is_some_and(|request| was_made(&request.data)) {
            self.request = Some(Request { data, occurred_at: event.occurred_at, recorded_at });
        }
        self.correlation_id = self.correlation_id.max(Some(event.id));
    }

    fn shown(&mut self, text: ReceiptText, recorded_at: LogTime) {
        self.receipts = self.receipts.saturating_add(1);
        if text == ReceiptText::Success {
            self.success_shown_at = Some(self.success_shown_at.map_or(recorded_at, |at| at.min(recorded_at)));
        }
    }

    /// The first decision for the slot wins.
    fn admit(&mut self, admission: Admission) {
        self.admission.get_or_insert(admission);
    }

    fn purchase(&mut self) -> &mut Purchase {
        self.purchase.get_or_insert_default()
    }

    fn refund(&mut self, id: Uuid) -> &mut Refund {
        self.refunds.entry(id).or_default()
    }

    fn chargeback(&mut self, case_no: &str) -> &mut Chargeback {
        self.chargebacks.entry(case_no.to_owned()).or_default()
    }

    pub fn requested(&self) -> Amount {
        self.request.as_ref().map_or(Amount::ZERO, |request| request.data.amount())
    }

    pub fn captured(&self) -> Amount {
        self.captures.iter().map(|capture| capture.amount).sum()
    }

    pub fn reversed(&self) -> Amount {
        self.reversals.values().copied().sum::<Balance>().debit()
    }

    /// What the payer has back, refunds that bounced left out.
    pub fn refunded(&self) -> Amount {
        self.refunds.values().map(Refund::refunded).sum()
    }

    /// Decided to go back, and still on its way.
    pub fn refund_open(&self) -> Amount {
        self.refunds.values().map(Refund::open).sum()
    }

    pub fn charged_back(&self) -> Amount {
        self.standing_chargebacks().map(|case| case.received).sum()
    }

    /// Taken back by the issuer: disputed, or lost.
    fn standing_chargebacks(&self) -> impl Iterator<Item = &Chargeback> {
        self.chargebacks.values().filter(|case| case.closed != Some(DisputeOutcome::Won))
    }

    /// When it lapses: it was admitted, and waits for its money.
    pub(crate) fn lapses_at(&self) -> Option<LogTime> {
        let over = self.expired_at.is_some()
            || self.cancelled
            || !self.captures.is_empty()
            || self.confirmation.standing() > Balance::ZERO;
        self.accepted_until().filter(|_| !over)
    }

    /// Captured and not reversed.
    pub fn net_captured(&self) -> Balance {
        self.captured() - self.reversed()
    }

    pub fn has_money(&self) -> bool {
        self.net_captured() > Balance::ZERO
    }

    fn reversed_of(&self, capture: Uuid) -> Amount {
        self.reversals.get(&capture).copied().unwrap_or_default().debit()
    }

    /// The captures that the channel has not undone, in the order of the log.
    pub fn standing_captures(&self) -> impl Iterator<Item = &Capture> {
        self.captures.iter().filter(|capture| capture.amount > self.reversed_of(capture.id))
    }

    /// The capture that pays for the order: the first that stands.
    pub fn funding_capture(&self) -> Option<&Capture> {
        self.standing_captures().next()
    }

    /// Whether any of its money is neither back with the payer nor on its way there, whichever capture the log has first.
    pub fn keeps_money(&self) -> bool {
        self.standing_captures().any(|capture| !self.refundable(capture).is_zero())
    }

    /// What is left of a capture for refunds: not reversed, not charged back, not refunded and not promised to a refund.
    pub fn refundable(&self, capture: &Capture) -> Amount {
        capture.amount.saturating_sub(self.reversed_of(capture.id)).saturating_sub(self.gone(capture))
    }

    /// Whether a capture's disputes and refunds come to more than itself.
    pub fn is_charged_back_beyond(&self, capture: &Capture) -> bool {
        let disputed = self.standing_chargebacks().any(|case| case.capture_id == Some(capture.id));
        disputed && self.gone(capture) > capture.amount.saturating_sub(self.reversed_of(capture.id))
    }

    fn gone(&self, capture: &Capture) -> Amount {
        let of_it = |id: Option<Uuid>| id == Some(capture.id);
        let refunds = self.refunds.values().filter(|refund| of_it(refund.capture_id)).map(Refund::committed);
        let disputed = self.standing_chargebacks().filter(|case| of_it(case.capture_id)).map(|case| case.received);
        refunds.chain(disputed).sum()
    }

    pub fn accepted_until(&self) -> Option<LogTime> {
        match self.admission {
            Some(Admission::Accepted { expires_at }) => Some(expires_at.to_utc()),
            Some(Admission::Rejected { .. } | Admission::Posted) | None => None,
        }
    }

    pub fn rejection(&self) -> Option<RejectionReason> {
        match self.admission {
            Some(Admission::Rejected { reason }) => Some(reason),
            Some(Admission::Accepted { .. } | Admission::Posted) | None => None,
        }
    }
}
