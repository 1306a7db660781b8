//! What is kept of a record that is refused: where it stood, why, and its bytes up to a limit.

use data_encoding::BASE64;
use engine::log::Record;
use rules::business_day::shanghai;
use schemas::{
    Event, Name, Refusal,
    events::{InboxRecordRejected, REJECTED_BYTES_MAX},
};

const SOURCE: &str = "/ledger/inbox";

pub fn event(channel: &Name, topic: &str, received: &Record, refusal: &Refusal) -> Event {
    let kept = received.value.len().min(REJECTED_BYTES_MAX);
    let data = InboxRecordRejected {
        topic: topic.to_owned(),
        partition: received.position.partition,
        offset: received.position.offset,
        code: refusal.code.to_string(),
        detail: refusal.detail.clone(),
        bytes_base64: BASE64.encode(&received.value[..kept]),
        bytes_len: received.value.len() as u64,
    };
    Event::about_channel(SOURCE, channel, shanghai(&received.timestamp), data)
}
