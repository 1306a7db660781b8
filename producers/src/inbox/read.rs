//! A record of an inbox topic as an event: CloudEvents in binary mode (`ce_` headers) or in structured mode (the whole
//! event is the value).

use engine::log::Record;
use schemas::{Event, Refusal, RefusalCode};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch";

pub fn event(record: &Record) -> Result<Event, Refusal> {
    let content_type = content_type(record);
    if content_type.starts_with(STRUCTURED) {
        return Event::from_structured(&record.value);
    }
    let refused = |detail: &str| Err(Refusal::new(RefusalCode::InvalidEnvelope, detail));
    if content_type.starts_with(BATCH) {
        return refused("a record holds one event, not a batch");
    }
    if record.headers.iter().all(|(name, _)| !name.starts_with("ce_")) {
        return refused("a record has ce_ headers, or the content-type application/cloudevents+json");
    }
    Event::from_binary(record.headers.iter(), &record.value)
}

fn content_type(record: &Record) -> String {
    let header = record.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    header.map(|(_, value)| String::from_utf8_lossy(value).to_ascii_lowercase()).unwrap_or_default()
}
