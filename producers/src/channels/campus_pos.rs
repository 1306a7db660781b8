//! Terminals on campus (校园POS): they ask whether a card may buy, and upload what was bought while they were offline, as JSON
//! under a signed time.
//!
//! How such terminals speak is not public: the signature is our own (`signature/timestamped.rs`), each request has the
//! fields of `POST /v1/purchases`, and each purchase those of `POST /v1/offline-purchases`. A terminal signs when it
//! uploads, not when it sells.

use schemas::RefusalCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Notice, Own, Refused, SettingError, Settings, Webhook,
    timed::{Timed, TimedConfig},
};
use crate::door::read_json;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CampusPosConfig(pub TimedConfig);

pub(crate) struct CampusPos {
    pub own: Own,
    signature: Timed,
}

impl Settings for CampusPosConfig {
    fn key(&self) -> &'static str {
        "secret"
    }

    fn open(&self, own: Own) -> Result<Option<Webhook>, (&'static str, SettingError)> {
        Ok(self.0.open()?.map(|signature| Webhook::Uploads(CampusPos { own, signature })))
    }

    fn secret(&mut self) -> Option<&mut String> {
        Some(&mut self.0.secret)
    }
}

/// What a terminal asks for now, and what it sold while it was offline.
#[derive(Deserialize)]
pub(crate) struct Upload<'n> {
    #[serde(borrow)]
    requests: Option<Vec<&'n RawValue>>,
    #[serde(borrow)]
    purchases: Option<Vec<&'n RawValue>>,
}

impl<'n> Upload<'n> {
    /// Each as it is spelt: a bad one keeps no good one back.
    pub fn requests(&self) -> impl Iterator<Item = &'n [u8]> {
        self.requests.iter().flatten().map(|request| request.get().as_bytes())
    }

    pub fn purchases(&self) -> impl Iterator<Item = &'n [u8]> {
        self.purchases.iter().flatten().map(|purchase| purchase.get().as_bytes())
    }
}

impl CampusPos {
    /// # Errors
    /// The upload as a whole is not taken.
    pub fn read<'n>(&self, notice: &Notice<'n>) -> Result<Upload<'n>, Refused> {
        self.signature.verify(notice)?;
        let upload: Upload<'n> = read_json(notice.body)?;
        match upload.requests.is_some() || upload.purchases.is_some() {
            true => Ok(upload),
            false => Err(Refused::at(RefusalCode::MissingField, "purchases")),
        }
    }
}
