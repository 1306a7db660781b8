use std::{sync::Arc, thread};

use chrono::DateTime;
use engine::{
    clock::Clock,
    log::{
        Log, NewRecord, RECORD_BYTES_MAX,
        memory::{Faults, MemoryLog},
    },
    postgres::connect,
    stream::{Lane, LaneConfig, Stop},
};
use schemas::{Data, OrderId, Stream, events::InboxRecordRejected};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::*;
use crate::door::tests::bed::{TOPIC, database, event, memory_log, records};

const INBOX: &str = "ledger.in.ums-pos";

struct Bed {
    url: String,
    log: MemoryLog,
    runtime: Runtime,
}

impl Bed {
    fn new() -> Self {
        Self { url: database(), log: memory_log(&[TOPIC, INBOX]), runtime: Runtime::new().unwrap() }
    }

    fn inbox(&self) -> Inbox {
        let publisher = Publisher::new(Arc::new(self.log.clone()), TOPIC, Clock::System);
        let inbox = Inbox::new("ums-pos".parse().unwrap(), INBOX, publisher, self.runtime.handle().clone());
        Inbox { patience: Duration::from_millis(900), ..inbox }
    }

    /// One batch in one transaction.
    fn apply(&self, records: Vec<Record>) -> Result<(), StreamError> {
        let mut client = connect(&self.url, "tests").unwrap();
        let mut tx = client.transaction().unwrap();
        self.inbox().apply(&mut tx, &Batch { records, ..Batch::default() })?;
        tx.commit().map_err(StreamError::from)
    }

    fn events(&self) -> Vec<Event> {
        records(&self.log, TOPIC).iter().map(event).collect()
    }

    fn rejections(&self) -> Vec<InboxRecordRejected> {
        let rejected = |event: Event| match event.data {
            Data::InboxRecordRejected(data) => Some(data),
            _ => None,
        };
        self.events().into_iter().filter_map(rejected).collect()
    }

    /// The code under which this record alone is refused.
    fn refused(&self, record: Record) -> String {
        let before = self.events().len();
        self.apply(vec![record]).unwrap();
        assert_eq!(self.events().len(), before + 1, "its rejection, and nothing else");
        self.rejections().pop().unwrap().code
    }
}

fn record(offset: i64, headers: &[(&str, &str)], value: &[u8]) -> Record {
    Record {
        position: Position { partition: 1, offset },
        timestamp: DateTime::UNIX_EPOCH,
        key: b"a key of the channel's own".to_vec(),
        headers: headers.iter().copied().collect(),
        value: value.to_vec(),
    }
}

fn order() -> OrderId {
    OrderId::new(&Stream::loan([1; 10]), [1; 8]).unwrap()
}

fn data(txn: &str, amount: &str) -> Value {
    json!({
        "channel": "ums-pos", "channel_txn_no": txn, "method": "card", "amount": amount,
        "business_date": "2025-03-10", "evidence": "async_notice",
    })
}

fn structured(offset: i64, event: &Value) -> Record {
    record(offset, &[("content-type", "application/cloudevents+json; charset=UTF-8")], event.to_string().as_bytes())
}

fn envelope(event_type: &str, source: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": "x", "type": event_type, "source": source, "subject": order(),
        "time": "2025-03-10T10:00:00+08:00", "data": data,
    })
}

fn capture(offset: i64, txn: &str, amount: &str) -> Record {
    structured(offset, &envelope("ledger.payment.captured.v1", "/channels/ums-pos", data(txn, amount)))
}

/// The same in binary mode.
fn binary(offset: i64, value: &[u8]) -> Record {
    let order = order();
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", "the publisher's own"),
        ("ce_type", "ledger.payment.captured.v1"),
        ("ce_source", "/channels/ums-pos"),
        ("ce_subject", order.as_str()),
        ("ce_time", "2025-03-10T10:00:00+08:00"),
        ("content-type", "application/json"),
    ];
    record(offset, &headers, value)
}

#[test]
fn both_modes_of_cloud_events_are_taken_and_are_one_fact() {
    let bed = Bed::new();
    bed.apply(vec![binary(0, data("t1", "1.00").to_string().as_bytes()), capture(1, "t2", "2.00")]).unwrap();
    let events = bed.events();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].stream, order().stream(), "under the ledger's key, not the channel's");
    bed.apply(vec![capture(2, "t1", "1.00")]).unwrap();
    assert_eq!(bed.events().len(), 2);
}

#[test]
fn a_bad_record_is_kept_as_a_rejection_and_keeps_no_good_one_back() {
    let bed = Bed::new();
    let mut records = vec![capture(0, "t1", "1.00"), record(1, &[], b"\xff\x00"), capture(2, "t2", "2.00")];
    records[1].timestamp = DateTime::parse_from_rfc3339("2025-03-10T16:00:00Z").unwrap().to_utc();
    bed.apply(records).unwrap();
    assert_eq!(bed.events().len(), 3);
    let rejected = bed.events().into_iter().find(|event| event.source == "/ledger/inbox").unwrap();
    assert_eq!(rejected.stream.as_str(), "channel:ums-pos");
    assert_eq!(rejected.occurred_at.to_rfc3339(), "2025-03-11T00:00:00+08:00");
    let kept = bed.rejections().remove(0);
    assert_eq!((kept.topic.as_str(), kept.partition, kept.offset), (INBOX, 1, 1));
    assert_eq!((kept.code.as_str(), kept.bytes_len), ("INVALID_ENVELOPE", 2));
    assert_eq!(kept.bytes_sha256, "ea5dbf9596d187e9500f23e9a680109475341cf4e81f7e043f7d97152c10772f");
}

#[test]
fn nothing_personal_of_a_refused_record_comes_into_the_log() {
    let bed = Bed::new();
    let person = r#"{"id_number":"11010519491231002X","name":"Zhang San","amount":"Zhang San","method":"Zhang San""#;
    for value in
        [person.to_owned(), format!("{person}}}"), person.replace("\"name\"", "\"channel\"") + ",\"amount\":\"1.00\"}"]
    {
        bed.refused(binary(0, value.as_bytes()));
    }
    let log = records(&bed.log, TOPIC);
    let written: Vec<String> = log.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect();
    assert!(
        written.len() == 3 && written.iter().all(|text| !text.contains("11010519") && !text.contains("Zhang")),
        "{written:?}"
    );
}

#[test]
fn invalid_envelope_a_record_in_neither_mode_is_rejected() {
    let bed = Bed::new();
    assert_eq!(bed.refused(record(0, &[("content-type", "application/json")], b"{}")), "INVALID_ENVELOPE");
    let batch = [("content-type", "application/cloudevents-batch+json")];
    assert_eq!(bed.refused(record(1, &batch, b"[]")), "INVALID_ENVELOPE");
    let mut record = binary(2, b"{}");
    record.headers = record.headers.iter().filter(|(name, _)| *name != "ce_specversion").collect();
    assert_eq!(bed.refused(record), "INVALID_ENVELOPE");
}

#[test]
fn broken_json_is_rejected() {
    let bed = Bed::new();
    assert_eq!(bed.refused(binary(0, b"")), "BROKEN_JSON", "a tombstone");
    assert_eq!(bed.refused(binary(1, format!("{} x", data("t1", "1.00")).as_bytes())), "BROKEN_JSON");
}

#[test]
fn unknown_type_and_fields_are_rejected() {
    let bed = Bed::new();
    let event = envelope("ledger.unheard.of.v1", "/channels/ums-pos", json!({}));
    assert_eq!(bed.refused(structured(0, &event)), "UNKNOWN_TYPE");
    let mut misspelt = data("t1", "1.00");
    misspelt["fe"] = "0.10".into();
    assert_eq!(bed.refused(binary(1, misspelt.to_string().as_bytes())), "UNKNOWN_FIELD");
}

#[test]
fn not_yours_an_inbox_takes_only_what_its_channel_may_report() {
    let bed = Bed::new();
    let of_another = envelope("ledger.payment.captured.v1", "/channels/unionpay-cqp", data("t1", "1.00"));
    assert_eq!(bed.refused(structured(0, &of_another)), "NOT_YOURS");
    let mut named = data("t1", "1.00");
    named["channel"] = "unionpay-cqp".into();
    assert_eq!(bed.refused(binary(1, named.to_string().as_bytes())), "NOT_YOURS");
    let accepted = json!({ "expires_at": "2025-03-10T10:02:00+08:00" });
    let decision = envelope("ledger.order.accepted.v1", "/channels/ums-pos", accepted);
    assert_eq!(bed.refused(structured(2, &decision)), "NOT_YOURS");
}

#[test]
fn too_large_a_record_that_the_log_would_not_take_is_rejected() {
    let bed = Bed::new();
    let message = "x".repeat(RECORD_BYTES_MAX);
    let data = json!({ "attempt": 1, "response_code": "51", "message": message, "evidence": "sync_response" });
    let declined = envelope("ledger.payment.declined.v1", "/channels/ums-pos", data);
    assert_eq!(bed.refused(structured(0, &declined)), "TOO_LARGE");
}

/// A record that is refused under this code; none where no record of an inbox can be.
fn refused_under(code: RefusalCode) -> Option<Record> {
    let typed = |event_type| envelope(event_type, "/channels/ums-pos", data("t2", "1.00"));
    let with = |name: &str, value: Value| {
        let mut data = data("t2", "1.00");
        data[name] = value;
        binary(1, data.to_string().as_bytes())
    };
    Some(match code {
        RefusalCode::BrokenJson => binary(1, b"{"),
        RefusalCode::InvalidEnvelope => record(1, &[], b"{}"),
        RefusalCode::UnknownType => structured(1, &typed("ledger.unheard.of.v1")),
        RefusalCode::UnknownSchemaVersion => structured(1, &typed("ledger.payment.captured.v9")),
        RefusalCode::MissingField => binary(1, b"{}"),
        RefusalCode::InvalidAmount => with("amount", "1.0".into()),
        RefusalCode::InvalidData => with("amount", "0.00".into()),
        RefusalCode::UnknownField => with("fe", "0.10".into()),
        RefusalCode::WrongKey => {
            let mut event = typed("ledger.payment.captured.v1");
            event["partitionkey"] = Stream::loan([2; 10]).as_str().into();
            structured(1, &event)
        }
        // The id is derived from the fact, whatever a channel calls it.
        RefusalCode::WrongId => return None,
        RefusalCode::TooLarge => with("instrument_masked", "*".repeat(RECORD_BYTES_MAX).into()),
        RefusalCode::NotYours => with("channel", "unionpay-cqp".into()),
        RefusalCode::ConflictingRepeat => capture(1, "t1", "2.00"),
    })
}

#[test]
fn each_refusal_of_an_inbox_has_its_code() {
    let bed = Bed::new();
    bed.apply(vec![capture(0, "t1", "1.00")]).unwrap();
    for code in RefusalCode::ALL {
        if let Some(record) = refused_under(*code) {
            assert_eq!(bed.refused(record), code.as_str());
        }
    }
}

#[test]
fn the_same_fact_again_is_not_appended_again() {
    let bed = Bed::new();
    bed.apply(vec![capture(0, "t1", "1.00"), capture(1, "t1", "1.00")]).unwrap();
    bed.apply(vec![capture(2, "t1", "1.00")]).unwrap();
    assert_eq!(bed.events().len(), 1);
}

#[test]
fn conflicting_repeat_the_same_fact_with_other_content_is_rejected() {
    let bed = Bed::new();
    bed.apply(vec![capture(0, "t1", "1.00"), capture(1, "t1", "2.00")]).unwrap();
    assert_eq!(bed.rejections().remove(0).code, "CONFLICTING_REPEAT");
    assert_eq!(bed.refused(capture(2, "t1", "3.00")), "CONFLICTING_REPEAT");
}

#[test]
fn the_fence_stays_while_the_log_does_not_acknowledge() {
    let bed = Bed::new();
    bed.log.crash();
    assert!(matches!(bed.apply(vec![capture(0, "t1", "1.00")]), Err(StreamError::Passing(_))));
    bed.log.resume();
    bed.apply(vec![capture(0, "t1", "1.00")]).unwrap();
    assert_eq!(bed.events().len(), 1);
}

#[test]
fn lost_answers_lose_nothing_and_keep_the_order_of_each_stream() {
    let bed = Bed::new();
    bed.log.set_faults(Faults { lost_answers: 50, lost_records: 50, ..Faults::default() });
    let records: Vec<Record> = (0..20).map(|n| capture(n, &format!("t{n}"), "1.00")).collect();
    while bed.apply(records.clone()).is_err() {}
    let sent: Vec<Uuid> = records.iter().map(|record| read::event(record).unwrap().id).collect();
    let mut stand: Vec<Uuid> = Vec::new();
    for event in bed.events() {
        stand.retain(|id| *id != event.id);
        stand.push(event.id);
    }
    assert_eq!(stand, sent, "by the last that stands of each, all are there and in order");
}

#[test]
fn a_lane_brings_the_inbox_to_the_log_once() {
    let bed = Bed::new();
    let sent: Vec<NewRecord> = (0..30)
        .map(|n| {
            let Record { headers, value, .. } = capture(0, &format!("t{n}"), "1.00");
            NewRecord { key: format!("k{n}"), headers, value, timestamp: None }
        })
        .collect();
    for round in 1..=2 {
        let appended = bed.runtime.block_on(bed.log.append(INBOX, sent.clone()));
        assert!(appended.iter().all(Result::is_ok));
        run_lane(&bed, 30 * round);
        assert_eq!(bed.events().len(), 30, "the second round only repeats");
    }
}

/// Runs a lane until its fence has moved past `count` records.
fn run_lane(bed: &Bed, count: i64) {
    let (stop, inbox) = (Stop::default(), bed.inbox());
    let mut config = LaneConfig::new(inbox.projection(), INBOX, &bed.url);
    config.batch_max = 7;
    let lane = Lane::new(config, Arc::new(bed.log.clone()), Clock::System, inbox, stop.clone());
    let lane = thread::spawn(move || lane.run());
    let mut client = connect(&bed.url, "tests").unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let sql = "select coalesce(sum(next_offset), 0)::bigint from engine.fence where projection = 'inbox:ums-pos'";
    while client.query_one(sql, &[]).unwrap().get::<_, i64>(0) < count {
        assert!(Instant::now() < until, "the lane does not come to its end");
        thread::sleep(Duration::from_millis(10));
    }
    stop.stop();
    lane.join().unwrap().unwrap();
}
