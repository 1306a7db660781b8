//! What each event does to the books. The legs depend on the event's own fields only, never on what came before, so
//! that the books add up to the same in any order of arrival; an impossible order shows up as a debit on the payer's
//! clearing account instead of needing a rule of its own.

use schemas::{
    Amount, Balance, Data, Event,
    events::{Bearer, DisputeOutcome, SettlementReported},
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
    let contract = |beneficiary: &dyn std::fmt::Display| format!("{beneficiary}/{}", event.stream);
    match &event.data {
        Data::PaymentCaptured(data) => {
            transfer(data.amount, (ChannelReceivable, &data.channel), (PayerClearing, order()))
        }
        Data::PaymentReversed(data) => {
            transfer(data.amount, (PayerClearing, order()), (ChannelReceivable, &data.channel))
        }
        Data::RepaymentConfirmed(data) => {
            transfer(data.amount, (PayerClearing, order()), (LoanRepaymentPayable, contract(&data.target)))
        }
        Data::ConfirmationRevoked(data) => {
            transfer(data.amount, (LoanRepaymentPayable, contract(&data.target)), (PayerClearing, order()))
        }
        Data::RefundInitiated(data) => transfer(data.amount, (PayerClearing, order()), (RefundPayable, order())),
        Data::RefundCancelled(data) => transfer(data.amount, (RefundPayable, order()), (PayerClearing, order())),
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
        Data::ChargebackReceived(data) => {
            transfer(data.amount, (Disputed, &data.case_no), (ChannelReceivable, &data.channel))
        }
        Data::ChargebackClosed(data) => match (data.outcome, data.borne_by) {
            (DisputeOutcome::Won, _) => {
                transfer(data.amount, (ChannelReceivable, &data.channel), (Disputed, &data.case_no))
            }
            (DisputeOutcome::Lost, Bearer::Operator) => {
                transfer(data.amount, (Loss, "chargeback"), (Disputed, &data.case_no))
            }
            (DisputeOutcome::Lost, Bearer::Beneficiary) => {
                transfer(data.amount, (LoanRepaymentPayable, contract(&data.beneficiary)), (Disputed, &data.case_no))
            }
        },
        Data::SettlementReported(data) => settlement(data),
        Data::SettlementReceived(data) => {
            transfer(data.amount, (BankSettlement, &data.bank_account), (SettlementInTransit, &data.channel))
        }
        Data::FundsRemitted(data) => {
            let items = data.items.iter().flat_map(|item| {
                let payable = format!("{}/{}", data.beneficiary, item.contract);
                transfer(item.amount, (LoanRepaymentPayable, payable), (BankSettlement, &data.bank_account))
            });
            items.collect()
        }
        // No money moves; a ConfirmationResolved is followed by the event that posts.
        Data::RepaymentEnrolmentChecked(_)
        | Data::LoanContractQuoted(_)
        | Data::DeadLetterResolved(_)
        | Data::RepaymentRequested(_)
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
        | Data::RefundRequested(_)
        | Data::RefundRejected(_)
        | Data::RefundSubmitted(_)
        | Data::RefundFailed(_)
        | Data::RefundEscalated(_)
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

/// What will be paid goes in transit, the fee is the operator's expense; a negative net stays on the channel's account
/// and is set off against the next batch.
fn settlement(data: &SettlementReported) -> Vec<Leg> {
    let mut legs = transfer(data.net.debit(), (SettlementInTransit, &data.channel), (ChannelReceivable, &data.channel));
    legs.extend(transfer(data.fees, (ChannelFeeExpense, &data.channel), (ChannelReceivable, &data.channel)));
    legs
}

#[cfg(test)]
mod tests;
