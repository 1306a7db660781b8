//! What channels share whose own scheme is not public: a secret, and a time that is signed with the body.

use serde::{Deserialize, Serialize};

use super::{Notice, Refused, SettingError};
use crate::signature::{Secret, timestamped};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimedConfig {
    pub secret: String,
    /// How far a signature's time may be from ours, in seconds.
    pub tolerance_s: u32,
}

impl Default for TimedConfig {
    fn default() -> Self {
        Self { secret: String::new(), tolerance_s: 300 }
    }
}

impl TimedConfig {
    pub(super) fn open(&self) -> Result<Option<Timed>, (&'static str, SettingError)> {
        if self.secret.is_empty() {
            return Ok(None);
        }
        let secret = Secret::new(&self.secret).map_err(|error| ("secret", error.into()))?;
        Ok(Some(Timed { secret, tolerance_s: self.tolerance_s }))
    }
}

pub(crate) struct Timed {
    secret: Secret,
    tolerance_s: u32,
}

impl Timed {
    pub fn verify(&self, notice: &Notice<'_>) -> Result<(), Refused> {
        let signature = notice.header(timestamped::HEADER);
        let now_s = notice.now.timestamp();
        Ok(timestamped::verify(signature, notice.body, &self.secret, now_s, self.tolerance_s)?)
    }
}
