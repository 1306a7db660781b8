//! What a door refused from an inbox topic, kept so that nothing is lost.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{About, Payload, parts};

/// At most this much of a refused record is kept.
pub const REJECTED_BYTES_MAX: usize = 8 * 1024;

/// A record of an inbox topic was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InboxRecordRejected {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// The refusal's code, the same that the HTTP door answers.
    pub code: String,
    pub detail: String,
    /// The record's value in base 64, cut off at 8 KiB.
    pub bytes_base64: String,
    /// How long the value was, in bytes.
    pub bytes_len: u64,
}

impl Payload for InboxRecordRejected {
    const TYPE: &'static str = "ledger.inbox-record.rejected.v1";
    const ABOUT: About = About::Channel;
    fn natural_key<'a>(&'a self, _: &'a str) -> Vec<Cow<'a, str>> {
        parts![self.topic, self.partition, self.offset]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![self.code]
    }
}
