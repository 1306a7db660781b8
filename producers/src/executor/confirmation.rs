//! Asking the bank for the result of a repayment. A question changes nothing over there, so it is simply asked again
//! whenever its answer may have been lost.

use chrono::TimeDelta;
use rules::policy::Policy;
use schemas::{Amount, Data, Name, events::*};

use super::{Attempt, Next, Worker, doubling};
use crate::calls::{BankAnswer, RepaymentQuestion};

const AGAIN_FIRST: TimeDelta = TimeDelta::seconds(1);
const AGAIN_MOST: TimeDelta = TimeDelta::minutes(1);

#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    pub target: &'a Name,
    pub tries: u8,
    pub amount: Amount,
    pub channel_txn_no: &'a str,
}

impl Worker {
    pub(super) async fn query_confirmation(&self, attempt: Attempt<'_>, query: Query<'_>) -> Next {
        let question = RepaymentQuestion {
            order_no: attempt.payload.order_id.clone(),
            channel_txn_no: query.channel_txn_no.to_owned(),
            amount: query.amount,
        };
        let answer = self.calls.repayment_result(query.target, &question).await;
        let source = format!("/banks/{}", query.target);
        match self.append(attempt.payload, source, [query.outcome(answer, &self.policy)]).await {
            Ok(()) => Next::Finish,
            Err(error) => {
                let due_at = self.now() + doubling(AGAIN_FIRST, attempt.tries, AGAIN_MOST);
                Next::PutBack { due_at, why: error.to_string() }
            }
        }
    }
}

impl Query<'_> {
    /// What an answer means. A bank that does not answer has not said "no", unless the policy reads it that way.
    pub(super) fn outcome(&self, answer: BankAnswer, policy: &Policy) -> Data {
        let (target, tries, evidence) = (self.target.clone(), self.tries, Evidence::Query);
        match answer {
            BankAnswer::Booked { amount, bank_ref, booked_date, principal, interest } => {
                let amount = amount.unwrap_or(self.amount);
                RepaymentConfirmed { target, amount, bank_ref, booked_date, principal, interest, evidence }.into()
            }
            BankAnswer::Failed { code, message } => {
                ConfirmationFailed { target, tries, code, message, retryable: false, evidence }.into()
            }
            BankAnswer::Uncertain { code } => ConfirmationUncertain { target, tries, code, evidence }.into(),
            BankAnswer::Unreachable { code } if policy.failed_query_is_failure => {
                let message = "the result query failed".to_owned();
                ConfirmationFailed { target, tries, code, message, retryable: false, evidence }.into()
            }
            BankAnswer::Unreachable { code } => ConfirmationUncertain { target, tries, code, evidence }.into(),
        }
    }
}
