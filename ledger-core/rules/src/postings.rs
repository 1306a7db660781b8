//! What each event does to the books. The legs depend on the event's own fields only, never on what came before, so
//! that the books add up to the same in any order of arrival; an impossible order shows up as a debit on the payer's
//! clearing account instead of needing a rule of its own.

use schemas::{
    Amount, Balance, Data, Event, Name, StreamKind,
    events::{
        Bearer, BreakResolution, ChargebackClosed, ConfirmationRevoked, CreditMode, DisputeOutcome, Funding,
        LossBearer, Method, PurchasePosted, ReconciliationBreakResolved, ReconciliationClass, RemittedItem,
        SettlementReceived, SettlementReported, WithholdingUncollected,
    },
};

use crate::accounts::{
    Account,
    AccountCode::{self, *},
};

/// One leg of a posting: debit positive, credit negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    pub account: Account,
    pub amount: Balance,
}

/// The legs of an event; they sum to zero, and there are none when no money moves.
pub fn postings(event: &Event) -> Vec<Leg> {
    let order = || event.subject.as_str();
    let held = |party: &Name| format!("{party}/{}", event.stream);
    match &event.data {
        Data::PaymentCaptured(data) => {
            transfer(data.amount, (ChannelReceivable, &data.channel), payers_money(event, Some(data.method)))
        }
        Data::PaymentReversed(data) => {
            transfer(data.amount, payers_money(event, data.method), (ChannelReceivable, &data.channel))
        }
        Data::RepaymentConfirmed(data) => {
            transfer(data.amount, (PayerClearing, order()), (LoanRepaymentPayable, held(&data.target)))
        }
        Data::CardCredited(data) => {
            transfer(data.amount, (PayerClearing, order()), (on_the_card(Some(data.mode)), held(&data.target)))
        }
        Data::CardValueLoaded(data) => {
            transfer(data.amount, (CardPendingLoad, held(&data.target)), (CampusCardLiability, held(&data.target)))
        }
        Data::FeePosted(data) => {
            let item = fee_item(&data.target, &data.fee_item, data.billing_year);
            transfer(data.amount, (PayerClearing, order()), (SchoolFeePayable, item))
        }
        Data::ConfirmationRevoked(data) => revoked(event, data),
        Data::RefundInitiated(data) => {
            transfer(data.amount, payers_money(event, data.method), (RefundPayable, order()))
        }
        Data::RefundCancelled(data) => {
            transfer(data.amount, (RefundPayable, order()), payers_money(event, data.method))
        }
        Data::RefundCompleted(data) => {
            let mut legs = transfer(data.amount, (RefundPayable, order()), (ChannelReceivable, &data.channel));
            legs.extend(transfer(
                data.fee_netted.unwrap_or_default(),
                (ChannelReceivable, &data.channel),
                (ChannelFeeExpense, &data.channel),
            ));
            legs
        }
        Data::RefundReturned(data) => {
            transfer(data.amount, (ChannelReceivable, &data.channel), (RefundPayable, order()))
        }
        Data::RefundPaidManually(data) => {
            transfer(data.amount, (RefundPayable, order()), (BankSettlement, &data.bank_account))
        }
        Data::PurchasePosted(data) => purchase(event, data),
        Data::PurchaseRefunded(data) => {
            let merchant = (CampusMerchantPayable, format!("{}/{}", data.school, data.merchant));
            transfer(data.amount, merchant, funded_by(event, &data.school, data.funding))
        }
        Data::WithholdingUncollected(data) => given_up(event, data),
        Data::SubsidyGranted(data) => {
            transfer(data.amount, (SubsidyReceivable, &data.school), (SubsidyLiability, held(&data.school)))
        }
        Data::ChargebackReceived(data) => {
            transfer(data.amount, (Disputed, &data.case_no), (ChannelReceivable, &data.channel))
        }
        Data::ChargebackClosed(data) => chargeback_closed(event, data),
        Data::SettlementReported(data) => settlement(data),
        Data::SettlementReceived(data) => received(data),
        Data::FundsRemitted(data) => {
            let legs = data.items.iter().flat_map(|item| {
                payable(&data.beneficiary, item).map_or_else(Vec::new, |payable| {
                    transfer(item.amount, payable, (BankSettlement, &data.bank_account))
                })
            });
            legs.collect()
        }
        Data::ReconciliationBreakRaised(data) => break_raised(&data.channel, data.class, data.difference()),
        Data::ReconciliationBreakResolved(data) => break_resolved(data),
        // No money moves; a ConfirmationResolved is followed by the event that posts.
        Data::RepaymentEnrolmentChecked(_)
        | Data::LoanContractQuoted(_)
        | Data::CardholderLinked(_)
        | Data::CardholderUnlinked(_)
        | Data::WithholdingMandateSigned(_)
        | Data::WithholdingMandateEnded(_)
        | Data::SpendingLimitSet(_)
        | Data::CardSuspended(_)
        | Data::CardReinstated(_)
        | Data::FeeItemAssessed(_)
        | Data::FeeItemAdjusted(_)
        | Data::DeadLetterResolved(_)
        | Data::RepaymentRequested(_)
        | Data::TopUpRequested(_)
        | Data::FeePaymentRequested(_)
        | Data::PurchaseRequested(_)
        | Data::OfflinePurchaseUploaded(_)
        | Data::OfflinePurchaseResolved(_)
        | Data::PayerClaimRecorded(_)
        | Data::OrderAccepted(_)
        | Data::OrderRejected(_)
        | Data::OrderExpired(_)
        | Data::OrderCancelled(_)
        | Data::PaymentInitiated(_)
        | Data::PaymentDeclined(_)
        | Data::PaymentOutcomeUnknown(_)
        | Data::PaymentReversalFailed(_)
        | Data::ChargebackRepresented(_)
        | Data::ConfirmationRequested(_)
        | Data::ConfirmationFailed(_)
        | Data::ConfirmationUncertain(_)
        | Data::ConfirmationResolved(_)
        | Data::ReceiptPrinted(_)
        | Data::ReceiptReprinted(_)
        | Data::FiscalReceiptIssued(_)
        | Data::FiscalReceiptReversed(_)
        | Data::RefundRequested(_)
        | Data::RefundRejected(_)
        | Data::RefundSubmitted(_)
        | Data::RefundFailed(_)
        | Data::RefundEscalated(_)
        | Data::RefundFileExported(_)
        | Data::ChannelStatementReceived(_)
        | Data::StatementLineReceived(_)
        | Data::InboxRecordRejected(_) => Vec::new(),
    }
}

/// Debit one account, credit another.
fn transfer(amount: Amount, debit: (AccountCode, impl ToString), credit: (AccountCode, impl ToString)) -> Vec<Leg> {
    if amount.is_zero() {
        return Vec::new();
    }
    let amount = Balance::from(amount);
    vec![
        Leg { account: Account::new(debit.0, debit.1.to_string()), amount },
        Leg { account: Account::new(credit.0, credit.1.to_string()), amount: -amount },
    ]
}

/// Where a payer's money stands while nothing has come of it: with the order; for a debit by withholding, whose purchase
/// was posted before, in what the holder of the card owes.
fn payers_money(event: &Event, method: Option<Method>) -> (AccountCode, String) {
    match method {
        Some(Method::Withholding) => (WithholdingReceivable, event.stream.to_string()),
        Some(_) | None => (PayerClearing, event.subject.clone()),
    }
}

fn on_the_card(mode: Option<CreditMode>) -> AccountCode {
    match mode {
        Some(CreditMode::PendingLoad) => CardPendingLoad,
        Some(CreditMode::Online) | None => CampusCardLiability,
    }
}

fn fee_item(school: &Name, fee_item: &str, billing_year: u16) -> String {
    format!("{school}/{fee_item}/{billing_year}")
}

/// The account of a beneficiary that an item names.
fn payable(beneficiary: &Name, item: &RemittedItem) -> Option<(AccountCode, String)> {
    match (&item.contract, &item.fee_item, item.billing_year, &item.merchant) {
        (Some(contract), ..) => Some((LoanRepaymentPayable, format!("{beneficiary}/{contract}"))),
        (None, Some(name), Some(year), _) => Some((SchoolFeePayable, fee_item(beneficiary, name, year))),
        (None, _, _, Some(merchant)) => Some((CampusMerchantPayable, format!("{beneficiary}/{merchant}"))),
        (None, _, _, None) => None,
    }
}

/// What was booked is the payer's again. An event that does not say to which item it was posted moves nothing.
fn revoked(event: &Event, data: &ConfirmationRevoked) -> Vec<Leg> {
    let held = format!("{}/{}", data.target, event.stream);
    let clearing = (PayerClearing, event.subject.clone());
    match (event.stream.kind(), &data.merchant, &data.fee_item, data.billing_year) {
        (Some(StreamKind::Loan), ..) => transfer(data.amount, (LoanRepaymentPayable, held), clearing),
        (Some(StreamKind::Card), Some(merchant), ..) => {
            let merchant = (CampusMerchantPayable, format!("{}/{merchant}", data.target));
            transfer(data.amount, merchant, (WithholdingReceivable, event.stream.to_string()))
        }
        (Some(StreamKind::Card), None, ..) => transfer(data.amount, (on_the_card(data.mode), held), clearing),
        (Some(StreamKind::Fees), _, Some(name), Some(year)) => {
            transfer(data.amount, (SchoolFeePayable, fee_item(&data.target, name, year)), clearing)
        }
        (Some(StreamKind::Fees), ..) | (None, ..) => Vec::new(),
    }
}

/// What pays for a purchase.
fn funded_by(event: &Event, school: &Name, funding: Funding) -> (AccountCode, String) {
    match funding {
        Funding::CardBalance => (CampusCardLiability, format!("{school}/{}", event.stream)),
        Funding::Subsidy => (SubsidyLiability, format!("{school}/{}", event.stream)),
        Funding::Withholding => (WithholdingReceivable, event.stream.to_string()),
    }
}

fn purchase(event: &Event, data: &PurchasePosted) -> Vec<Leg> {
    let merchant = (CampusMerchantPayable, format!("{}/{}", data.school, data.merchant));
    transfer(data.amount, funded_by(event, &data.school, data.funding), merchant)
}

/// While nobody is named who bears it, it stays a receivable.
fn given_up(event: &Event, data: &WithholdingUncollected) -> Vec<Leg> {
    let receivable = (WithholdingReceivable, event.stream.to_string());
    match data.bearer {
        None => Vec::new(),
        Some(LossBearer::Operator) => transfer(data.amount, (Loss, "withholding".to_owned()), receivable),
        Some(LossBearer::Merchant) => {
            let merchant = (CampusMerchantPayable, format!("{}/{}", data.school, data.merchant));
            transfer(data.amount, merchant, receivable)
        }
    }
}

fn chargeback_closed(event: &Event, data: &ChargebackClosed) -> Vec<Leg> {
    let disputed = (Disputed, data.case_no.clone());
    let held = format!("{}/{}", data.beneficiary, event.stream);
    let borne = match (data.outcome, data.borne_by, event.stream.kind()) {
        (DisputeOutcome::Won, ..) => Some((ChannelReceivable, data.channel.to_string())),
        (DisputeOutcome::Lost, Bearer::Operator, _) => Some((Loss, "chargeback".to_owned())),
        (DisputeOutcome::Lost, Bearer::Beneficiary, Some(StreamKind::Loan)) => Some((LoanRepaymentPayable, held)),
        (DisputeOutcome::Lost, Bearer::Beneficiary, Some(StreamKind::Card)) => Some(match &data.merchant {
            Some(merchant) => (CampusMerchantPayable, format!("{}/{merchant}", data.beneficiary)),
            None => (on_the_card(data.mode), held),
        }),
        (DisputeOutcome::Lost, Bearer::Beneficiary, Some(StreamKind::Fees)) => {
            let item = data.fee_item.as_ref().zip(data.billing_year);
            item.map(|(name, year)| (SchoolFeePayable, fee_item(&data.beneficiary, name, year)))
        }
        (DisputeOutcome::Lost, Bearer::Beneficiary, None) => None,
    };
    borne.map_or_else(Vec::new, |borne| transfer(data.amount, borne, disputed))
}

/// What will be paid goes in transit, the fee is the expense of whoever bears it; a negative net stays on the channel's
/// account and is set off against the next batch.
fn settlement(data: &SettlementReported) -> Vec<Leg> {
    let channel = (ChannelReceivable, &data.channel);
    let mut legs = transfer(data.net.debit(), (SettlementInTransit, &data.channel), channel);
    match (data.fees_borne_by, &data.beneficiary) {
        (Some(Bearer::Beneficiary), Some(beneficiary)) => {
            let borne = data.fee_items.iter().filter_map(|item| Some((item.amount, payable(beneficiary, item)?)));
            legs.extend(borne.flat_map(|(amount, payable)| transfer(amount, payable, channel)));
        }
        _ => legs.extend(transfer(data.fees, (ChannelFeeExpense, &data.channel), channel)),
    }
    legs
}

/// On an account of ours; or straight at the school, which then holds it for its cards or has been paid its fees.
fn received(data: &SettlementReceived) -> Vec<Leg> {
    let in_transit = (SettlementInTransit, &data.channel);
    match &data.straight_to {
        None => transfer(data.amount, (BankSettlement, &data.bank_account), in_transit),
        Some(school) if data.items.is_empty() => transfer(data.amount, (FloatHeldBySchool, school), in_transit),
        Some(school) => {
            let paid = data.items.iter().filter_map(|item| Some((item.amount, payable(school, item)?)));
            paid.flat_map(|(amount, payable)| transfer(amount, payable, in_transit)).collect()
        }
    }
}

/// What the channel has beyond the ledger is somebody's whom nobody knows yet; what it has less is looked for.
fn break_raised(channel: &Name, class: ReconciliationClass, difference: Balance) -> Vec<Leg> {
    if !class.is_money() {
        return Vec::new();
    }
    let mut legs = transfer(difference.debit(), (ChannelReceivable, channel), (SuspenseOver, channel));
    legs.extend(transfer(difference.credit(), (SuspenseShort, channel), (ChannelReceivable, channel)));
    legs
}

/// The legs of the break reversed; what is written off stays with the channel's account, and leaves the suspense.
fn break_resolved(data: &ReconciliationBreakResolved) -> Vec<Leg> {
    let (channel, difference) = (&data.channel, data.difference);
    if data.resolution != BreakResolution::WrittenOff {
        let legs = break_raised(channel, data.class, difference).into_iter();
        return legs.map(|leg| Leg { amount: -leg.amount, ..leg }).collect();
    }
    if !data.class.is_money() {
        return Vec::new();
    }
    let mut legs = transfer(difference.debit(), (SuspenseOver, channel.as_str()), (OtherIncome, "reconciliation"));
    legs.extend(transfer(difference.credit(), (Loss, "reconciliation"), (SuspenseShort, channel.as_str())));
    legs
}

#[cfg(test)]
mod tests;
