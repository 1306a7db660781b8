//! BestPay's web gateway of 2011 (翼支付): a form with an MD5 of seven fields and a key. Only what is in those seven is read.

use chrono::{DateTime, FixedOffset};
use rules::business_day::shanghai;
use schemas::{Data, events::*};
use serde::{Deserialize, Serialize};

use super::{
    Answer, Channel, Fields, Notice, Own, Refused, SettingError, Settings, Told, Webhook, declined,
    fields::{compact_time, is_digits},
    needed,
};
use crate::signature::{
    Charset, Form, Secret,
    bestpay::{Merchant, Wording},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BestPayConfig {
    /// The merchant's key: a secret.
    pub key: String,
    #[serde(deserialize_with = "super::quoted_digits")]
    pub merchant_id: String,
    /// `web` or `mobile`: the two gateways sign the same fields under other names.
    pub wording: Wording,
    /// `gbk` or `utf-8`: in which character set the gateway writes RETNINFO.
    pub charset: Charset,
}

impl Default for BestPayConfig {
    fn default() -> Self {
        Self { key: String::new(), merchant_id: String::new(), wording: Wording::Web, charset: Charset::Gbk }
    }
}

struct BestPay {
    own: Own,
    merchant: Merchant,
    charset: Charset,
}

impl Settings for BestPayConfig {
    fn key(&self) -> &'static str {
        "key"
    }

    fn open(&self, own: Own) -> Result<Option<Webhook>, (&'static str, SettingError)> {
        if self.key.is_empty() {
            return Ok(None);
        }
        needed("merchant_id", &self.merchant_id)?;
        let key = Secret::new(&self.key).map_err(|error| ("key", error.into()))?;
        let merchant = Merchant { id: self.merchant_id.clone(), key, wording: self.wording };
        Ok(Some(Webhook::Notices(Box::new(BestPay { own, merchant, charset: self.charset }))))
    }

    fn secret(&mut self) -> Option<&mut String> {
        Some(&mut self.key)
    }
}

impl Channel for BestPay {
    fn own(&self) -> &Own {
        &self.own
    }

    /// The merchant's number is in what is signed, so a notice for another merchant has a wrong signature.
    fn read(&self, notice: &Notice<'_>) -> Result<Told, Refused> {
        let form = Form::parse(notice.body)?;
        self.merchant.verify(&form)?;
        let fields = Fields { form, charset: self.charset };
        let order = fields.order("ORDERSEQ")?;
        let at = paid_at(&fields.text("TRANDATE")?, &shanghai(&notice.now)).ok_or(Refused::invalid("TRANDATE"))?;
        let (code, number) = (fields.text("RETNCODE")?, fields.text("UPTRANSEQ")?);
        let amount = fields.fen("ORDERAMOUNT")?;
        let data: Data = match code.as_str() {
            PAID => self.own.captured(number.clone(), Method::Netbank, amount, at.date_naive()).into(),
            _ => declined(code, fields.optional("RETNINFO")?.unwrap_or_default()).into(),
        };
        let answer = Answer::text(format!("UPTRANSEQ_{number}"));
        Ok(Told { said: vec![self.own.fact(&order, at, data)], answer })
    }

    fn again(&self, _: Refused) -> Answer {
        Answer::text("FAIL")
    }
}

const PAID: &str = "0000";

/// `20110901083000`, or the day alone: then it was just now, if now is on that day, or else at its end.
fn paid_at(text: &str, now: &DateTime<FixedOffset>) -> Option<DateTime<FixedOffset>> {
    if text.len() != 8 || !is_digits(text) {
        return compact_time(text);
    }
    let end_of_day = compact_time(&format!("{text}235959"))?;
    let is_today = end_of_day.date_naive() == now.date_naive();
    Some(if is_today { *now } else { end_of_day })
}
