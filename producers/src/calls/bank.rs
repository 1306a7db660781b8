//! The bank's side of a repayment: whether it was booked (开行侧核销).

use chrono::NaiveDate;
use schemas::{Amount, OrderId};
use serde::{Deserialize, Serialize};

/// `POST {bank}/repayment-results`: what became of this repayment?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepaymentQuestion {
    pub order_no: OrderId,
    pub channel_txn_no: String,
    pub amount: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BankResult {
    Booked,
    Failed,
    Uncertain,
}

/// The answer on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BankReply {
    pub result: BankResult,
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub message: String,
    /// What was booked, where the bank says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank_ref: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booked_date: Option<NaiveDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Amount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interest: Option<Amount>,
}

/// What the bank says, or that it says nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum BankAnswer {
    Booked {
        /// What the bank booked, if it says so.
        amount: Option<Amount>,
        bank_ref: Option<String>,
        booked_date: Option<NaiveDate>,
        principal: Option<Amount>,
        interest: Option<Amount>,
    },
    /// An explicit "not booked".
    Failed {
        code: String,
        message: String,
    },
    Uncertain {
        code: String,
    },
    /// No answer that counts: a time-out, a broken connection, a 5xx, or one that cannot be read.
    Unreachable {
        code: String,
    },
}

impl From<BankReply> for BankAnswer {
    fn from(reply: BankReply) -> Self {
        let BankReply { result, code, message, amount, bank_ref, booked_date, principal, interest } = reply;
        match result {
            // Nobody can say what that means.
            BankResult::Booked if amount.is_some_and(Amount::is_zero) => {
                Self::Unreachable { code: "BOOKED_NOTHING".to_owned() }
            }
            BankResult::Booked => Self::Booked { amount, bank_ref, booked_date, principal, interest },
            BankResult::Failed => Self::Failed { code, message },
            BankResult::Uncertain => Self::Uncertain { code },
        }
    }
}
