//! Alipay (支付宝): asynchronous notices of trades and agreements, as forms signed with RSA2.
//!
//! TRADE_CLOSED means either that nobody paid or that all of it was refunded, and a refund's notice tells the total that was
//! refunded so far: the times of payment and refund, and what the order knows, tell the cases apart.

use schemas::{Name, OrderId, RefusalCode, events::*};
use serde::{Deserialize, Serialize};

use super::{
    Answer, Channel, Event, Fields, Notice, OfRefund, Own, RefundSaid, Refused, Said, SettingError, Settings, Told,
    Webhook,
    fields::{self, refund_id},
    needed,
};
use crate::{
    calls::DebitNo,
    signature::{Charset, Form, PublicKey, alipay, key_text},
};

/// What an application at Alipay is known by.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlipayConfig {
    /// Alipay's public key for this application.
    pub public_key: String,
    #[serde(deserialize_with = "crate::calls::digits_or_number")]
    pub app_id: String,
    /// Whose money it is (2088…); not asked for when empty, because Alipay's key is the application's own.
    #[serde(deserialize_with = "crate::calls::digits_or_number")]
    pub seller_id: String,
}

/// The channel whose captures are debits under a mandate, and which hears of mandates.
const WITHHOLDING: &str = "alipay-withholding";

struct Alipay {
    own: Own,
    method: Method,
    config: AlipayConfig,
    key: PublicKey,
}

impl Settings for AlipayConfig {
    fn key(&self) -> &'static str {
        "public_key"
    }

    fn open(&self, own: Own) -> Result<Option<Webhook>, (&'static str, SettingError)> {
        if self.public_key.is_empty() {
            return Ok(None);
        }
        needed("app_id", &self.app_id)?;
        let key = PublicKey::read(&key_text(&self.public_key)).map_err(|error| ("public_key", error.into()))?;
        let method = if own.name.as_str() == WITHHOLDING { Method::Withholding } else { Method::Wallet };
        Ok(Some(Webhook::Notices(Box::new(Alipay { own, method, config: self.clone(), key }))))
    }
}

impl Channel for Alipay {
    fn own(&self) -> &Own {
        &self.own
    }

    fn read(&self, notice: &Notice<'_>) -> Result<Told, Refused> {
        let form = Form::parse(notice.body)?;
        alipay::verify_notice(&form, &self.key)?;
        let charset = form.get("charset").ok_or(Refused::at(RefusalCode::MissingField, "charset"))?;
        let charset = Charset::named(charset).ok_or(Refused::invalid("charset"))?;
        let fields = Fields { form, charset };
        fields.is_for("app_id", &self.config.app_id)?;
        let said = match fields.text("notify_type")?.as_str() {
            "trade_status_sync" => self.trade(&fields)?,
            "dut_user_sign" => self.signed(&fields)?,
            "dut_user_unsign" => self.ended(&fields)?,
            _ => return Err(Refused::invalid("notify_type")),
        };
        Ok(Told { said: said.into_iter().collect(), answer: Answer::text("success") })
    }

    fn again(&self, _: Refused) -> Answer {
        Answer::text("fail")
    }
}

impl Alipay {
    fn trade(&self, fields: &Fields) -> Result<Option<Said>, Refused> {
        if !self.config.seller_id.is_empty() {
            fields.is_for("seller_id", &self.config.seller_id)?;
        }
        let order = self.order(fields)?;
        let status = fields.text("trade_status")?;
        match status.as_str() {
            "TRADE_SUCCESS" | "TRADE_FINISHED" | "TRADE_CLOSED" if fields.has("gmt_refund") => {
                self.refunded(fields, order)
            }
            "TRADE_SUCCESS" | "TRADE_FINISHED" => self.paid(fields, &order).map(Some),
            "TRADE_CLOSED" if !fields.has("gmt_payment") => {
                let at = fields.time(if fields.has("gmt_close") { "gmt_close" } else { "notify_time" })?;
                Ok(Some(self.own.fact(&order, at, self.own.cancelled(status))))
            }
            // Not paid yet; or closed after it had been paid, of which the refund's own notice tells.
            "WAIT_BUYER_PAY" | "TRADE_CLOSED" => Ok(None),
            _ => Err(Refused::invalid("trade_status")),
        }
    }

    /// A debit after a cancelled one has a number of its own.
    fn order(&self, fields: &Fields) -> Result<OrderId, Refused> {
        let field = "out_trade_no";
        let number = fields.text(field)?;
        match number.parse::<DebitNo>() {
            Ok(debit) if self.method == Method::Withholding => Ok(debit.order_no),
            Ok(_) | Err(_) => fields::order(&number, field),
        }
    }

    fn paid(&self, fields: &Fields, order: &OrderId) -> Result<Said, Refused> {
        let at = fields.time("gmt_payment")?;
        let (number, amount) = (fields.text("trade_no")?, fields.yuan("total_amount")?);
        let captured = self.own.captured(number, self.method, amount, self.own.business_date(&at));
        Ok(self.own.fact(order, at, captured))
    }

    fn refunded(&self, fields: &Fields, order: OrderId) -> Result<Option<Said>, Refused> {
        let (at, total) = (fields.time("gmt_refund")?, fields.yuan("refund_fee")?);
        let channel_txn_no = fields.text("trade_no")?;
        let business_date = self.own.business_date(&at);
        let Some(refund_id) = fields.optional("out_biz_no")?.as_deref().and_then(refund_id) else {
            // The statement will show it, and a person has to say why.
            tracing::warn!(channel = %self.own.name, "a refund that the ledger did not ask for");
            return Ok(None);
        };
        let said = RefundSaid::TotalSoFar { channel_txn_no, total, business_date };
        Ok(Some(Said::OfRefund(OfRefund { order, refund_id, at, said })))
    }

    fn signed(&self, fields: &Fields) -> Result<Option<Said>, Refused> {
        let (channel, reference) = self.mandate(fields)?;
        if fields.text("status")? != "NORMAL" {
            return Ok(None);
        }
        let at = fields.time("sign_time")?;
        let data = WithholdingMandateSigned {
            channel,
            agreement_no: fields.text("agreement_no")?,
            external_agreement_no: Some(reference.to_string()),
            product_code: fields.text("personal_product_code")?,
        };
        Ok(Some(Said::Fact(Box::new(Event::about_stream(self.own.source(), &reference.stream(), at, data)))))
    }

    fn ended(&self, fields: &Fields) -> Result<Option<Said>, Refused> {
        let (channel, reference) = self.mandate(fields)?;
        let at = fields.time("unsign_time")?;
        // The notice does not say who ended it; it is the payer who can in Alipay.
        let ended_by = MandateEnder::Payer;
        let data = WithholdingMandateEnded { channel, agreement_no: fields.text("agreement_no")?, ended_by };
        Ok(Some(Said::Fact(Box::new(Event::about_stream(self.own.source(), &reference.stream(), at, data)))))
    }

    /// The number that we issued for the agreement carries the card.
    fn mandate(&self, fields: &Fields) -> Result<(Name, OrderId), Refused> {
        if self.method != Method::Withholding {
            return Err(Refused::at(RefusalCode::NotYours, "notify_type"));
        }
        let field = "external_agreement_no";
        Ok((self.own.name.clone(), fields::order(&fields.text(field)?, field)?))
    }
}
