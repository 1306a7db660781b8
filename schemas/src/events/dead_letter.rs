//! What became of records that cannot be read.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{About, Payload, parts};

/// A person has dealt with a record of this stream that cannot be read: what it meant has been told by other events
/// since, or it meant nothing. The decisions about the stream's orders go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterResolved {
    /// Where the record stands in the log.
    pub partition: i32,
    pub offset: i64,
    /// What was found and done, in words.
    pub resolution: String,
}

impl Payload for DeadLetterResolved {
    const TYPE: &'static str = "ledger.dead-letter.resolved.v1";
    const ABOUT: About = About::Stream;
    fn natural_key<'a>(&'a self, subject: &'a str) -> Vec<Cow<'a, str>> {
        parts![subject, self.partition, self.offset]
    }
    fn business_fields(&self) -> Vec<Cow<'_, str>> {
        parts![]
    }
}
