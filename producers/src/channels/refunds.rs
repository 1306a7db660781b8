//! What a channel says about a refund, where only the order tells what that means.

use chrono::{DateTime, FixedOffset, NaiveDate};
use rules::order::Order;
use schemas::{Amount, Data, Event, OrderId, events::*};
use uuid::Uuid;

use super::Own;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OfRefund {
    pub order: OrderId,
    pub refund_id: Uuid,
    pub at: DateTime<FixedOffset>,
    pub said: RefundSaid,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RefundSaid {
    /// All that has been refunded of a payment, this refund included.
    TotalSoFar { channel_txn_no: String, total: Amount, business_date: NaiveDate },
    /// Refused for good; the order knows at which try.
    Failed { code: String, message: String },
}

impl OfRefund {
    /// The fact, if it follows. Where it does not, the executor's own query decides.
    pub fn fact(&self, own: &Own, order: &Order) -> Option<Event> {
        let refund = order.refunds.get(&self.refund_id)?;
        let data: Data = match &self.said {
            RefundSaid::TotalSoFar { channel_txn_no, total, business_date } => {
                let is_meant = |capture: &&rules::order::Capture| {
                    capture.channel == own.name && capture.channel_txn_no == *channel_txn_no
                };
                let capture = order.captures.iter().find(is_meant)?;
                let others = order.refunds.iter().filter(|(id, _)| **id != self.refund_id);
                let of_the_same = others.filter(|(_, other)| other.capture_id == Some(capture.id));
                let before: Amount = of_the_same.map(|(_, other)| other.completed).sum();
                let fits = refund.capture_id == Some(capture.id) && before + refund.initiated == *total;
                let completed = || own.refunded(self.refund_id, refund.initiated, *business_date);
                fits.then(completed)?.into()
            }
            RefundSaid::Failed { code, message } => {
                let tries = Some(refund.submitted).filter(|tries| *tries > 0)?;
                let (code, message) = (code.clone(), message.clone());
                let evidence = Evidence::AsyncNotice;
                RefundFailed { refund_id: self.refund_id, tries, code, message, retryable: false, evidence }.into()
            }
        };
        Some(own.about(&self.order, self.at, data))
    }
}
