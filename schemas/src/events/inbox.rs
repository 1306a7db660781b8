//! What a door refused from an inbox topic. The record itself stays in that topic for as long as the topic keeps it: a
//! record that is not understood may hold anything, also what must not stand in a log that is never changed.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{About, Payload, parts};

/// A record of an inbox topic was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InboxRecordRejected {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// The refusal's code, the same that the HTTP door answers.
    pub code: String,
    pub detail: String,
    /// SHA-256 of the record's value, in hexadecimal.
    pub bytes_sha256: String,
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
