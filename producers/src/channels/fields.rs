//! The fields of a verified form, each read strictly: an amount, a time or a number has one spelling, whoever signed it.

use chrono::{DateTime, FixedOffset};
use rules::refund::Refund;
use schemas::{Amount, OrderId, RefusalCode};
use uuid::Uuid;

use super::{Code, DoorCode, Refused};
use crate::signature::{Charset, Form, FormError};

pub(super) struct Fields {
    pub form: Form,
    pub charset: Charset,
}

impl Fields {
    pub fn text(&self, field: &'static str) -> Result<String, Refused> {
        Ok(self.form.text(field, self.charset)?)
    }

    pub fn optional(&self, field: &'static str) -> Result<Option<String>, Refused> {
        match self.form.text(field, self.charset) {
            Ok(text) => Ok(Some(text)),
            Err(FormError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Empty fields count as missing.
    pub fn has(&self, field: &str) -> bool {
        self.form.get(field).is_some_and(|value| !value.is_empty())
    }

    /// A field that says for whom the notice is.
    pub fn is_for(&self, field: &'static str, us: &str) -> Result<(), Refused> {
        if self.text(field)? == us { Ok(()) } else { Err(Refused::at(RefusalCode::NotYours, field)) }
    }

    /// `88.88`.
    pub fn yuan(&self, field: &'static str) -> Result<Amount, Refused> {
        self.text(field)?.parse().map_err(|_| Refused::at(RefusalCode::InvalidAmount, field))
    }

    /// `8888`.
    pub fn fen(&self, field: &'static str) -> Result<Amount, Refused> {
        let text = self.text(field)?;
        let fen = Some(text).filter(|text| is_digits(text)).and_then(|text| text.parse().ok());
        fen.and_then(|fen| Amount::from_fen(fen).ok()).ok_or(Refused::at(RefusalCode::InvalidAmount, field))
    }

    /// An order number of ours.
    pub fn order(&self, field: &'static str) -> Result<OrderId, Refused> {
        order(&self.text(field)?, field)
    }

    /// China's time, `2026-03-01 08:30:00`, perhaps with a fraction.
    pub fn time(&self, field: &'static str) -> Result<DateTime<FixedOffset>, Refused> {
        let text = self.text(field)?;
        let (date, time) = text.split_once(' ').ok_or(Refused::invalid(field))?;
        DateTime::parse_from_rfc3339(&format!("{date}T{time}+08:00")).map_err(|_| Refused::invalid(field))
    }

    /// China's time, `20260301083000`.
    pub fn compact_time(&self, field: &'static str) -> Result<DateTime<FixedOffset>, Refused> {
        compact_time(&self.text(field)?).ok_or(Refused::invalid(field))
    }
}

pub(super) fn order(text: &str, field: &'static str) -> Result<OrderId, Refused> {
    let unknown = Refused { code: Code::Door(DoorCode::UnknownOrder), field: Some(field) };
    text.parse().map_err(|_| unknown)
}

pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn compact_time(text: &str) -> Option<DateTime<FixedOffset>> {
    if text.len() != 14 || !is_digits(text) {
        return None;
    }
    let part = |from: usize, to: usize| &text[from..to];
    let (date, time) =
        ([part(0, 4), part(4, 6), part(6, 8)].join("-"), [part(8, 10), part(10, 12), part(12, 14)].join(":"));
    DateTime::parse_from_rfc3339(&format!("{date}T{time}+08:00")).ok()
}

/// The refund that a number of ours names to the channel.
pub(super) fn refund_id(request_no: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(request_no.strip_prefix('R')?).ok()?;
    (Refund::request_no(id) == request_no).then_some(id)
}
