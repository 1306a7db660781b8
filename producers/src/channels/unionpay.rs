//! UnionPay Cloud QuickPass (云闪付): back-end notices of ACP 5.1.0, as forms signed with RSA.
//!
//! A refund or void has an order number of its own, and its notice does not tell the payment's. So whoever sends one puts
//! the ledger's order number into `reqReserved`, which comes back in the notice.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate};
use schemas::{Data, OrderId, event_id, events::*};
use serde::{Deserialize, Serialize};

use super::{
    ATTEMPT, Answer, Channel, Fields, Notice, OfRefund, Own, RefundSaid, Refused, Said, SettingError, Settings, Told,
    Webhook, declined,
    fields::{is_digits, refund_id},
    needed,
};
use crate::signature::{Charset, Form, key_text, unionpay};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnionPayConfig {
    /// UnionPay's signing certificates; old and new stand side by side while it changes over.
    pub certificates: Vec<String>,
    /// Our merchant number (merId).
    #[serde(deserialize_with = "super::quoted_digits")]
    pub merchant_id: String,
}

struct UnionPay {
    own: Own,
    merchant_id: String,
    keys: unionpay::Keys,
}

impl Settings for UnionPayConfig {
    fn key(&self) -> &'static str {
        "certificates"
    }

    fn open(&self, own: Own) -> Result<Option<Webhook>, (&'static str, SettingError)> {
        if self.certificates.is_empty() {
            return Ok(None);
        }
        needed("merchant_id", &self.merchant_id)?;
        let add = |keys: unionpay::Keys, given: &String| keys.and_certificate(&key_text(given));
        let keys = self.certificates.iter().try_fold(unionpay::Keys::new(), add);
        let keys = keys.map_err(|error| ("certificates", error.into()))?;
        Ok(Some(Webhook::Notices(Box::new(UnionPay { own, merchant_id: self.merchant_id.clone(), keys }))))
    }
}

/// What a response code says about a transaction.
enum Outcome {
    Done,
    /// Ask later.
    Unknown,
    Failed,
}

impl Channel for UnionPay {
    fn own(&self) -> &Own {
        &self.own
    }

    fn read(&self, notice: &Notice<'_>) -> Result<Told, Refused> {
        let form = Form::parse(notice.body)?;
        unionpay::verify(&form, &self.keys)?;
        let charset = form.get("encoding").map_or(Some(Charset::Utf8), Charset::named);
        let fields = Fields { form, charset: charset.ok_or(Refused::invalid("encoding"))? };
        fields.is_for("merId", &self.merchant_id)?;
        if fields.optional("currencyCode")?.is_some_and(|currency| currency != YUAN) {
            return Err(Refused::invalid("currencyCode"));
        }
        let code = fields.text("respCode")?;
        let outcome = match code.as_str() {
            // A6: done, but not all of it as it should be.
            "00" | "A6" => Outcome::Done,
            "03" | "04" | "05" => Outcome::Unknown,
            _ => Outcome::Failed,
        };
        let at = fields.compact_time("txnTime")?;
        let said = match fields.text("txnType")?.as_str() {
            "01" => Some(self.payment(&fields, outcome, code, at)?),
            // Of a refund they say that it may still be done.
            "04" if ["01", "12", "34", "60"].contains(&&*code) => self.refund(&fields, Outcome::Unknown, code, at)?,
            "04" => self.refund(&fields, outcome, code, at)?,
            "31" => self.reversal(&fields, outcome, code, ReversalReason::CancelApi, at)?,
            "99" => self.reversal(&fields, outcome, code, ReversalReason::Timeout, at)?,
            _ => return Err(Refused::invalid("txnType")),
        };
        Ok(Told { said: said.into_iter().collect(), answer: Answer::text("ok") })
    }

    /// Whatever is not answered with 200 is sent again.
    fn again(&self, _: Refused) -> Answer {
        Answer::text("fail")
    }
}

const YUAN: &str = "156";

/// Of all that has to do with another transaction: in which field the payment's order number stands.
const ORDER_OF_THE_PAYMENT: &str = "reqReserved";

impl UnionPay {
    fn payment(
        &self,
        fields: &Fields,
        outcome: Outcome,
        code: String,
        at: DateTime<FixedOffset>,
    ) -> Result<Said, Refused> {
        let order = fields.order("orderId")?;
        let data: Data = match outcome {
            Outcome::Done => self.capture(fields, fields.text("queryId")?, at)?.into(),
            Outcome::Unknown => {
                PaymentOutcomeUnknown { attempt: ATTEMPT, tries: 0, response_code: code, next_query_at: None }.into()
            }
            Outcome::Failed => declined(code, fields.optional("respMsg")?.unwrap_or_default()).into(),
        };
        Ok(self.own.fact(&order, at, data))
    }

    fn capture(
        &self,
        fields: &Fields,
        channel_txn_no: String,
        at: DateTime<FixedOffset>,
    ) -> Result<PaymentCaptured, Refused> {
        let (amount, business_date) = (fields.fen("txnAmt")?, self.business_date(fields, &at)?);
        Ok(self.own.captured(channel_txn_no, Method::Cqp, amount, business_date))
    }

    fn refund(
        &self,
        fields: &Fields,
        outcome: Outcome,
        code: String,
        at: DateTime<FixedOffset>,
    ) -> Result<Option<Said>, Refused> {
        let order = fields.order(ORDER_OF_THE_PAYMENT)?;
        let refund_id = refund_id(&fields.text("orderId")?).ok_or(Refused::invalid("orderId"))?;
        Ok(match outcome {
            Outcome::Done => {
                let (amount, business_date) = (fields.fen("txnAmt")?, self.business_date(fields, &at)?);
                let completed = RefundCompleted {
                    channel_refund_no: Some(fields.text("queryId")?),
                    ..self.own.refunded(refund_id, amount, business_date)
                };
                Some(self.own.fact(&order, at, completed))
            }
            Outcome::Unknown => None,
            Outcome::Failed => {
                let message = fields.optional("respMsg")?.unwrap_or_default();
                Some(Said::OfRefund(OfRefund { order, refund_id, at, said: RefundSaid::Failed { code, message } }))
            }
        })
    }

    fn reversal(
        &self,
        fields: &Fields,
        outcome: Outcome,
        code: String,
        reason: ReversalReason,
        at: DateTime<FixedOffset>,
    ) -> Result<Option<Said>, Refused> {
        let order: OrderId = fields.order(ORDER_OF_THE_PAYMENT)?;
        match outcome {
            Outcome::Done => {}
            Outcome::Unknown => return Ok(None),
            Outcome::Failed => {
                let failed = PaymentReversalFailed { attempt: ATTEMPT, tries: 1, code, retryable: false };
                return Ok(Some(self.own.fact(&order, at, failed)));
            }
        }
        // Without its number nobody could say which money it was.
        let undone = self.capture(fields, fields.text("origQryId")?, at)?;
        let (amount, business_date) = (undone.amount, undone.business_date);
        let data = PaymentReversed {
            channel: self.own.name.clone(),
            attempt: ATTEMPT,
            capture_id: Some(event_id(&undone.into(), order.as_str())),
            amount,
            reason,
            method: None,
            channel_txn_no: fields.text("queryId")?,
            business_date,
            evidence: Evidence::AsyncNotice,
        };
        Ok(Some(self.own.fact(&order, at, data)))
    }

    /// `settleDate` has month and day alone: of the years around the transaction's, the one that brings it closest.
    fn business_date(&self, fields: &Fields, at: &DateTime<FixedOffset>) -> Result<NaiveDate, Refused> {
        let Some(text) = fields.optional("settleDate")? else { return Ok(self.own.business_date(at)) };
        let day = at.date_naive();
        let (month, of_month) = match text.len() == 4 && is_digits(&text) {
            true => (text[..2].parse().unwrap_or(0), text[2..].parse().unwrap_or(0)),
            false => (0, 0),
        };
        let years = [day.year(), day.year() - 1, day.year() + 1];
        let dates = years.into_iter().filter_map(|year| NaiveDate::from_ymd_opt(year, month, of_month));
        dates.min_by_key(|date| date.signed_duration_since(day).abs()).ok_or(Refused::invalid("settleDate"))
    }
}
