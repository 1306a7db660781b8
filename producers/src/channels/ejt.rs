//! E缴通, a public payment platform for fees: JSON under a signed time.
//!
//! Nothing about its interfaces is public. That its notices look like [`EjtNotice`], and are signed as
//! `signature/timestamped.rs` says, is our own assumption, and this is the one place to put it right.

use chrono::{DateTime, FixedOffset, NaiveDate};
use rules::business_day::shanghai;
use schemas::{Amount, RefusalCode, events::*};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Answer, Channel, Notice, Own, Refused, SettingError, Settings, Told, Webhook, declined, fields,
    timed::{Timed, TimedConfig},
};
use crate::door::read_json;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EjtConfig(pub TimedConfig);

struct Ejt {
    own: Own,
    signature: Timed,
}

impl Settings for EjtConfig {
    fn key(&self) -> &'static str {
        "secret"
    }

    fn open(&self, own: Own) -> Result<Option<Webhook>, (&'static str, SettingError)> {
        Ok(self.0.open()?.map(|signature| Webhook::Notices(Box::new(Ejt { own, signature }))))
    }

    fn secret(&mut self) -> Option<&mut String> {
        Some(&mut self.0.secret)
    }
}

/// What E缴通 sends, as far as anybody outside can say.
#[derive(Deserialize)]
struct EjtNotice {
    order_no: String,
    result: EjtResult,
    /// The platform's own number of the payment; the amount in yuan; when it was paid, with the offset. Of a success.
    txn_no: Option<String>,
    amount: Option<Amount>,
    paid_at: Option<DateTime<FixedOffset>>,
    /// The platform's accounting day, where it tells one.
    business_date: Option<NaiveDate>,
    method: Option<Method>,
    /// The fiscal e-receipt (财政电子票据) of a success, at once or in a notice of its own that repeats the rest.
    receipt: Option<EjtReceipt>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EjtResult {
    Success,
    Failed,
    Closed,
}

#[derive(Deserialize)]
struct EjtReceipt {
    code: String,
    number: String,
    check_code: String,
}

impl Channel for Ejt {
    fn own(&self) -> &Own {
        &self.own
    }

    fn read(&self, notice: &Notice<'_>) -> Result<Told, Refused> {
        self.signature.verify(notice)?;
        let told: EjtNotice = read_json(notice.body)?;
        let order = fields::order(&told.order_no, "order_no")?;
        if told.result != EjtResult::Success && told.receipt.is_some() {
            return Err(Refused::invalid("receipt"));
        }
        let at = told.paid_at.unwrap_or_else(|| shanghai(&notice.now));
        let fact = |data| self.own.fact(&order, at, data);
        let said = match told.result {
            EjtResult::Success => self.paid(told)?.into_iter().map(fact).collect(),
            EjtResult::Failed => vec![fact(declined("failed".to_owned(), String::new()).into())],
            EjtResult::Closed => vec![fact(self.own.cancelled("closed".to_owned()).into())],
        };
        Ok(Told { said, answer: Answer::json(&json!({ "result": "success" })) })
    }

    fn again(&self, refused: Refused) -> Answer {
        Answer::refused(refused)
    }
}

impl Ejt {
    fn paid(&self, told: EjtNotice) -> Result<Vec<schemas::Data>, Refused> {
        let missing = |field| Refused::at(RefusalCode::MissingField, field);
        let at = told.paid_at.ok_or(missing("paid_at"))?;
        let amount = told.amount.ok_or(missing("amount"))?;
        let number = told.txn_no.ok_or(missing("txn_no"))?;
        let business_date = told.business_date.unwrap_or_else(|| self.own.business_date(&at));
        let captured = self.own.captured(number, told.method.unwrap_or(Method::Netbank), amount, business_date);
        let receipt = told.receipt.map(|EjtReceipt { code, number, check_code }| {
            FiscalReceiptIssued { code, number, check_code, amount }.into()
        });
        Ok(std::iter::once(captured.into()).chain(receipt).collect())
    }
}
