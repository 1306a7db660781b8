//! The acquirer's side of a refund. The request number names it: sent again under the same number, the money moves
//! once.

use chrono::NaiveDate;
use schemas::{Amount, Name, OrderId};
use serde::{Deserialize, Serialize};

/// `POST {acquirer}/refunds`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefundOrder {
    pub refund_request_no: String,
    pub channel: Name,
    pub channel_txn_no: String,
    pub order_no: OrderId,
    pub amount: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundResult {
    Success,
    Accepted,
    Processing,
    Refused,
    NotFound,
}

/// The answer to a refund and to `GET {acquirer}/refunds/{refund_request_no}`, on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefundReply {
    pub result: RefundResult,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_no: Option<String>,
    /// The acquirer's accounting day of the refund.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_date: Option<NaiveDate>,
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub message: String,
    /// Whether the same refund may succeed later; a person looks at it when the acquirer does not say.
    #[serde(default)]
    pub retryable: bool,
}

/// What the acquirer says about a refund, or that it says nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum RefundAnswer {
    Completed {
        refund_no: Option<String>,
        business_date: Option<NaiveDate>,
    },
    /// Taken, and not yet done.
    Accepted,
    Processing,
    /// Definitely not refunded.
    Refused {
        code: String,
        message: String,
        retryable: bool,
    },
    /// Only a query says so: the acquirer has no such request.
    NotKnown,
    /// Perhaps refunded, perhaps not.
    Unknown {
        why: String,
    },
}

impl RefundReply {
    pub(super) fn answers_the_order(self) -> RefundAnswer {
        match self.result {
            RefundResult::Success => self.completed(),
            RefundResult::Accepted | RefundResult::Processing => RefundAnswer::Accepted,
            RefundResult::Refused => self.refused(),
            RefundResult::NotFound => {
                RefundAnswer::Unknown { why: "a refund was answered with \"not found\"".to_owned() }
            }
        }
    }

    pub(super) fn answers_the_query(self) -> RefundAnswer {
        match self.result {
            RefundResult::Success => self.completed(),
            RefundResult::Accepted | RefundResult::Processing => RefundAnswer::Processing,
            RefundResult::Refused => self.refused(),
            RefundResult::NotFound => RefundAnswer::NotKnown,
        }
    }

    fn completed(self) -> RefundAnswer {
        RefundAnswer::Completed { refund_no: self.refund_no, business_date: self.business_date }
    }

    fn refused(self) -> RefundAnswer {
        RefundAnswer::Refused { code: self.code, message: self.message, retryable: self.retryable }
    }
}
