//! Terminals on campus (校园POS): they upload what was bought while they were offline, as JSON under a signed time.
//!
//! How such terminals speak is not public: the signature is our own (`signature/timestamped.rs`), and each purchase has the
//! fields of `POST /v1/offline-purchases`. A terminal signs when it uploads, not when it sells.

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

#[derive(Deserialize)]
struct Upload<'n> {
    #[serde(borrow)]
    purchases: Vec<&'n RawValue>,
}

impl CampusPos {
    /// The purchases, each as it is spelt: a bad one keeps no good one back.
    ///
    /// # Errors
    /// The upload as a whole is not taken.
    pub fn read<'n>(&self, notice: &Notice<'n>) -> Result<Vec<&'n [u8]>, Refused> {
        self.signature.verify(notice)?;
        let upload: Upload<'n> = read_json(notice.body)?;
        Ok(upload.purchases.into_iter().map(|purchase| purchase.get().as_bytes()).collect())
    }
}
