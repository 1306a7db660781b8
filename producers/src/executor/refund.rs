//! Sending a refund to its channel. It moves money, so the log has it as submitted before it goes out, and an outcome
//! that is not known is asked for. It is sent again only when the channel does not know it after the settling time,
//! under the same number and with the same amount.

use chrono::{NaiveDate, TimeDelta};
use rules::business_day::business_day;
use schemas::{Amount, Data, Name, events::*};
use uuid::Uuid;

use super::{Attempt, Next, SOURCE, Worker, doubling};
use crate::calls::{RefundAnswer, RefundOrder};

const QUERY_AGAIN_MOST: TimeDelta = TimeDelta::minutes(10);
/// Asking more often than this would only be a burden to the channel, whatever the policy says.
const QUERY_AGAIN_LEAST: TimeDelta = TimeDelta::milliseconds(100);

#[derive(Clone, Copy, Debug)]
pub(super) struct Refund<'a> {
    pub id: Uuid,
    pub tries: u8,
    pub amount: Amount,
    pub channel: &'a Name,
    pub channel_txn_no: &'a str,
}

impl Worker {
    pub(super) async fn refund<E: std::fmt::Display>(
        &self,
        attempt: Attempt<'_>,
        refund: Refund<'_>,
        submit: impl Future<Output = Result<bool, E>>,
    ) -> Next {
        if attempt.unknown {
            match self.calls.refund_result(&refund.request_no()).await {
                // A rebuild made this task, so the refund may be on its way at this moment: no "no" counts yet.
                RefundAnswer::NotKnown | RefundAnswer::Refused { .. } if attempt.tries == 0 => {
                    return self.ask_later(attempt, "it may still be on its way".to_owned());
                }
                // Every earlier claim was left alone for the settling time at least, by its due time or by its lease.
                RefundAnswer::NotKnown => {}
                answer => return self.settle(attempt, refund, answer, Evidence::Query).await,
            }
        }
        // From here on the refund cannot be cancelled, even if the acknowledgement is lost: so it is unknown by then.
        if let Err(error) = self.append(attempt.payload, SOURCE.to_owned(), refund.submitted()).await {
            return self.ask_later(attempt, error.to_string());
        }
        match submit.await {
            Ok(true) => {}
            Ok(false) => return Next::Drop,
            Err(error) => return self.ask_later(attempt, error.to_string()),
        }
        let answer = self.calls.refund(&refund.order(attempt)).await;
        self.settle(attempt, refund, answer, Evidence::SyncResponse).await
    }

    /// Appends the outcome, if the channel has told one.
    async fn settle(&self, attempt: Attempt<'_>, refund: Refund<'_>, answer: RefundAnswer, evidence: Evidence) -> Next {
        match refund.outcome(answer, evidence, business_day(&self.now())) {
            Ok(outcome) => match self.append(attempt.payload, refund.source(), outcome).await {
                Ok(()) => Next::Finish,
                Err(error) => self.ask_later(attempt, error.to_string()),
            },
            Err(why) => self.ask_later(attempt, why),
        }
    }

    /// Asks not before the settling time, and then less and less often.
    fn ask_later(&self, attempt: Attempt<'_>, why: String) -> Next {
        let settling = TimeDelta::seconds(self.policy.refund_settling_s.into()).max(QUERY_AGAIN_LEAST);
        Next::LeaveUnknown { due_at: self.now() + doubling(settling, attempt.tries, QUERY_AGAIN_MOST), why }
    }
}

impl Refund<'_> {
    fn request_no(&self) -> String {
        rules::refund::Refund::request_no(self.id)
    }

    /// Who says what became of it.
    fn source(&self) -> String {
        format!("/channels/{}", self.channel)
    }

    fn submitted(&self) -> RefundSubmitted {
        RefundSubmitted { refund_id: self.id, refund_request_no: self.request_no(), tries: self.tries }
    }

    fn order(&self, attempt: Attempt<'_>) -> RefundOrder {
        RefundOrder {
            refund_request_no: self.request_no(),
            channel: self.channel.clone(),
            channel_txn_no: self.channel_txn_no.to_owned(),
            order_no: attempt.payload.order_id.clone(),
            amount: self.amount,
        }
    }

    /// The event that an answer stands for, or why there is none yet.
    pub(super) fn outcome(&self, answer: RefundAnswer, evidence: Evidence, today: NaiveDate) -> Result<Data, String> {
        match answer {
            RefundAnswer::Completed { refund_no, business_date } => Ok(RefundCompleted {
                refund_id: self.id,
                channel: self.channel.clone(),
                amount: self.amount,
                channel_refund_no: refund_no,
                fee_netted: None,
                business_date: business_date.unwrap_or(today),
                evidence,
            }
            .into()),
            RefundAnswer::Refused { code, message, retryable } => {
                Ok(RefundFailed { refund_id: self.id, tries: self.tries, code, message, retryable, evidence }.into())
            }
            RefundAnswer::Accepted => Err("the channel has taken it".to_owned()),
            RefundAnswer::Processing => Err("the channel is at it".to_owned()),
            RefundAnswer::NotKnown => Err("the channel does not know it".to_owned()),
            RefundAnswer::Unknown { why } => Err(why),
        }
    }
}
