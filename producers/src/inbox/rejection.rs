//! What is kept of a record that is refused: where it stands, why, and how to know it again.

use data_encoding::HEXLOWER;
use engine::log::Record;
use rules::business_day::shanghai;
use schemas::{Event, Name, Refusal, events::InboxRecordRejected};
use sha2::{Digest, Sha256};

const SOURCE: &str = "/ledger/inbox";

pub fn event(channel: &Name, topic: &str, received: &Record, refusal: &Refusal) -> Event {
    let data = InboxRecordRejected {
        topic: topic.to_owned(),
        partition: received.position.partition,
        offset: received.position.offset,
        code: refusal.code.to_string(),
        detail: without_values(&refusal.detail),
        bytes_sha256: HEXLOWER.encode(&Sha256::digest(&received.value)),
        bytes_len: received.value.len() as u64,
    };
    Event::about_channel(SOURCE, channel, shanghai(&received.timestamp), data)
}

/// A refusal may quote what it found, and that may be anything, also something personal.
fn without_values(detail: &str) -> String {
    let detail = &detail.replace("\\\"", "");
    let quoted = |text: &str| {
        text.split('"').enumerate().map(|(n, part)| if n % 2 == 1 { "…" } else { part }).collect::<Vec<_>>().join("\"")
    };
    match detail.split_once("variant `").and_then(|(before, rest)| Some((before, rest.rsplit_once("`, expected")?.1))) {
        Some((before, after)) => quoted(&format!("{before}variant …, expected{after}")),
        None => quoted(detail),
    }
}
