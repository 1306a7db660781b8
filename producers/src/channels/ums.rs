//! China UMS (银联商务): notices of terminals and QR codes, as forms or JSON signed with SHA-256 and a key.
//!
//! TRADE_CLOSED means that nobody paid, that the payment failed, or that all of it was refunded: the refund's own status and
//! the time of the payment tell them apart.

use rules::business_day::shanghai;
use schemas::{OrderId, RefusalCode, events::*};
use serde::{Deserialize, Serialize};

use super::{
    Answer, Channel, Fields, Notice, OfRefund, Own, RefundSaid, Refused, Said, SettingError, Settings, Told, Webhook,
    fields::{self, refund_id},
    needed,
};
use crate::signature::{Charset, Form, Secret, chinaums};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UmsConfig {
    /// The key of communication (通讯密钥): a secret.
    pub key: String,
    /// Our merchant numbers (mid): one for each place where terminals stand.
    pub merchant_ids: Vec<String>,
    /// The four digits (msgSrcId) with which every order number at China UMS begins.
    #[serde(deserialize_with = "super::quoted_digits")]
    pub prefix: String,
}

struct Ums {
    own: Own,
    merchant_ids: Vec<String>,
    prefix: String,
    key: Secret,
}

impl Settings for UmsConfig {
    fn key(&self) -> &'static str {
        "key"
    }

    fn open(&self, own: Own) -> Result<Option<Webhook>, (&'static str, SettingError)> {
        if self.key.is_empty() {
            return Ok(None);
        }
        needed("merchant_ids", &self.merchant_ids.concat())?;
        needed("prefix", &self.prefix)?;
        let key = Secret::new(&self.key).map_err(|error| ("key", error.into()))?;
        let (merchant_ids, prefix) = (self.merchant_ids.clone(), self.prefix.clone());
        Ok(Some(Webhook::Notices(Box::new(Ums { own, merchant_ids, prefix, key }))))
    }

    fn secret(&mut self) -> Option<&mut String> {
        Some(&mut self.key)
    }
}

impl Channel for Ums {
    fn own(&self) -> &Own {
        &self.own
    }

    fn read(&self, notice: &Notice<'_>) -> Result<Told, Refused> {
        let form = if notice.is_json() { Form::from_json(notice.body)? } else { Form::parse(notice.body)? };
        chinaums::verify(&form, &self.key)?;
        let fields = Fields { form, charset: Charset::Utf8 };
        if !self.merchant_ids.contains(&fields.text("mid")?) {
            return Err(Refused::at(RefusalCode::NotYours, "mid"));
        }
        let order = fields::order(&self.without_prefix(&fields, "merOrderId")?, "merOrderId")?;
        let status = fields.text("status")?;
        let said = match status.as_str() {
            "TRADE_SUCCESS" => Some(self.paid(&fields, &order)?),
            "TRADE_REFUND" | "TRADE_CLOSED" if fields.has("refundStatus") => self.refund(&fields, order, notice)?,
            "TRADE_CLOSED" if !fields.has("payTime") => {
                Some(self.own.fact(&order, shanghai(&notice.now), self.own.cancelled(status)))
            }
            // Nothing is known of money yet; or closed after it had been paid, of which the refund's own notice tells.
            "NEW_ORDER" | "UNKNOWN" | "WAIT_BUYER_PAY" | "TRADE_REFUND" | "TRADE_CLOSED" => None,
            _ => return Err(Refused::invalid("status")),
        };
        Ok(Told { said: said.into_iter().collect(), answer: Answer::text("SUCCESS") })
    }

    fn again(&self, _: Refused) -> Answer {
        Answer::text("FAILED")
    }
}

/// The systems behind which a card was read; every other one is a wallet whose code was scanned.
const CARD_SYSTEMS: &[&str] = &["ACP", "POS"];

impl Ums {
    /// A number of ours at China UMS begins with four digits of theirs.
    fn without_prefix(&self, fields: &Fields, field: &'static str) -> Result<String, Refused> {
        let text = fields.text(field)?;
        Ok(text.strip_prefix(&self.prefix).unwrap_or_default().to_owned())
    }

    fn paid(&self, fields: &Fields, order: &OrderId) -> Result<Said, Refused> {
        let at = fields.time("payTime")?;
        let system = fields.optional("targetSys")?;
        let is_card = system.as_deref().is_none_or(|system| CARD_SYSTEMS.contains(&system));
        let merchant_id = fields.text("mid")?;
        let terminal = fields.optional("tid")?.map(|terminal_id| Terminal {
            merchant_id,
            terminal_id,
            batch_no: None,
            trace_no: None,
            reference_no: None,
        });
        let number = ["settleRefId", "seqId", "targetOrderId"].into_iter().find(|field| fields.has(field));
        let channel_txn_no = fields.text(number.unwrap_or("settleRefId"))?;
        let method = if is_card { Method::Card } else { Method::QrB2c };
        let business_date = self.settle_date(fields)?.unwrap_or_else(|| self.own.business_date(&at));
        let captured = self.own.captured(channel_txn_no, method, fields.fen("totalAmount")?, business_date);
        let captured = PaymentCaptured { terminal, ..captured };
        Ok(self.own.fact(order, at, captured))
    }

    fn settle_date(&self, fields: &Fields) -> Result<Option<chrono::NaiveDate>, Refused> {
        let date = fields.optional("settleDate")?;
        date.map(|text| schemas::parse_date(&text).ok_or(Refused::invalid("settleDate"))).transpose()
    }

    fn refund(&self, fields: &Fields, order: OrderId, notice: &Notice<'_>) -> Result<Option<Said>, Refused> {
        let number = self.without_prefix(fields, "refundOrderId")?;
        let refund_id = refund_id(&number).ok_or(Refused::invalid("refundOrderId"))?;
        let is_told = fields.has("refundPayTime");
        let at = if is_told { fields.time("refundPayTime")? } else { shanghai(&notice.now) };
        let status = fields.text("refundStatus")?;
        match status.as_str() {
            "SUCCESS" => {
                let amount = fields.fen("refundAmount")?;
                let completed = RefundCompleted {
                    channel_refund_no: fields.optional("refundTargetOrderId")?,
                    ..self.own.refunded(refund_id, amount, self.own.business_date(&at))
                };
                Ok(Some(self.own.fact(&order, at, completed)))
            }
            "FAIL" => {
                let said = RefundSaid::Failed { code: status, message: String::new() };
                Ok(Some(Said::OfRefund(OfRefund { order, refund_id, at, said })))
            }
            "PROCESSING" | "UNKNOWN" => Ok(None),
            _ => Err(Refused::invalid("refundStatus")),
        }
    }
}
