//! Topics: their ends, their times, their identity and their settings.

use std::{thread, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use ledger_engine::log::{AppendError, LogError, NewRecord, Record, TopicSpec};

use super::bed::{Bed, beginnings, by_partition, numbered, record};

pub fn ends_count_the_records(bed: &Bed) {
    let topic = bed.topic(12);
    assert_eq!(bed.log.ends(&topic).unwrap(), vec![0; 12]);
    for appended in 1..=5 {
        let positions = bed.append(&topic, numbered(100, 100));
        let ends = bed.log.ends(&topic).unwrap();
        assert_eq!(ends.iter().sum::<i64>(), appended * 100);
        assert!(
            positions.iter().all(|position| position.offset < ends[position.partition as usize]),
            "what was answered is before the end"
        );
    }
}

pub fn offsets_are_found_by_time(bed: &Bed) {
    let topic = bed.topic(3);
    for batch in numbered(300, 50).chunks(30) {
        bed.append(&topic, batch.to_vec());
        thread::sleep(Duration::from_millis(8));
    }
    let records = bed.read(&topic, &beginnings(3), 300);
    let mut times: Vec<DateTime<Utc>> = records.iter().map(|record| record.timestamp).collect();
    times.sort();
    times.dedup();
    assert!(times.len() > 1 || times.len() == 1 && bed.log.describe(&topic).unwrap().identity.starts_with("memory"));
    let instants = times.iter().flat_map(|time| [*time, *time + TimeDelta::microseconds(1)]);
    for time in instants.chain([DateTime::UNIX_EPOCH, times[0] - TimeDelta::days(1), Utc::now() + TimeDelta::days(1)]) {
        assert_eq!(bed.log.offsets_at(&topic, time).unwrap(), expected_offsets(&records, 3, time), "{time}");
    }
}

fn expected_offsets(records: &[Record], partitions: i32, time: DateTime<Utc>) -> Vec<i64> {
    let by_partition = by_partition(records);
    let first = |partition| {
        let records = by_partition.get(&partition).map_or(&[][..], Vec::as_slice);
        records.iter().position(|record| record.timestamp >= time).unwrap_or(records.len()) as i64
    };
    (0..partitions).map(first).collect()
}

pub fn a_missing_topic_is_named(bed: &Bed) {
    let missing = LogError::TopicMissing("no.such.topic".to_owned());
    assert_eq!(bed.log.ends("no.such.topic").unwrap_err(), missing);
    assert_eq!(bed.log.offsets_at("no.such.topic", Utc::now()).unwrap_err(), missing);
    assert_eq!(bed.log.describe("no.such.topic").unwrap_err(), missing);
    assert_eq!(bed.log.reader("no.such.topic").err().unwrap(), missing);
    let answers = bed.try_append("no.such.topic", numbered(2, 2));
    assert_eq!(answers, vec![Err(AppendError::Unknown(missing.to_string())); 2]);
}

pub fn a_topic_made_anew_has_another_identity(bed: &Bed) {
    let spec = bed.spec(2, &[("message.timestamp.type", "LogAppendTime")]);
    bed.log.apply(&spec).unwrap();
    bed.append(&spec.name, numbered(10, 10));
    let old = bed.log.describe(&spec.name).unwrap().identity;
    assert_eq!(bed.engine.connect().describe(&spec.name).unwrap().identity, old, "it is the same for all and for ever");

    bed.engine.remove(&spec.name);
    assert_eq!(bed.engine.connect().describe(&spec.name).unwrap_err(), LogError::TopicMissing(spec.name.clone()));
    bed.log.apply(&spec).unwrap();
    let new = bed.log.describe(&spec.name).unwrap().identity;
    assert_ne!(new, old);
    assert_eq!(bed.engine.connect().ends(&spec.name).unwrap(), [0, 0]);
    // Who appended before goes on, after some unknown outcomes at most.
    let answers = bed.try_append(&spec.name, vec![record("key", "again")]);
    if answers[0].is_err() {
        bed.append(&spec.name, vec![record("key", "again")]);
    }
    assert_ne!(bed.log.describe(&bed.topic(2)).unwrap().identity, new, "another topic has another identity");
}

pub fn the_log_has_its_own_clock(bed: &Bed) {
    let topic = bed.topic(1);
    let before = Utc::now() - TimeDelta::seconds(1);
    for number in 0..20 {
        let timestamp = Some(DateTime::UNIX_EPOCH + TimeDelta::days(20_000 - number));
        bed.append(&topic, vec![NewRecord { timestamp, ..record("key", "") }]);
    }
    let read = bed.read(&topic, &beginnings(1), 20);
    assert!(read.is_sorted_by_key(|record| record.timestamp), "it never goes back");
    assert!(read.iter().all(|record| (before..Utc::now() + TimeDelta::seconds(1)).contains(&record.timestamp)));
}

pub fn producers_time_is_kept_where_the_topic_says_so(bed: &Bed) {
    let spec = bed.spec(1, &[("message.timestamp.type", "CreateTime")]);
    bed.log.apply(&spec).unwrap();
    let start = DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
    let minutes = [0, 30, 10, 40];
    let timed = |minute: &i64| NewRecord { timestamp: Some(start + TimeDelta::minutes(*minute)), ..record("key", "") };
    bed.append(&spec.name, minutes.iter().map(timed).collect());
    bed.append(&spec.name, vec![record("key", "now")]);

    let read = bed.read(&spec.name, &beginnings(1), 5);
    for (record, minute) in read.iter().zip(minutes) {
        assert_eq!(record.timestamp, start + TimeDelta::minutes(minute));
    }
    assert!((Utc::now() - read[4].timestamp).abs() < TimeDelta::seconds(10), "without one, the time of the append");
    for (minute, offset) in [(-1, 0), (0, 0), (5, 1), (30, 1), (31, 3), (41, 4)] {
        assert_eq!(
            bed.log.offsets_at(&spec.name, start + TimeDelta::minutes(minute)).unwrap(),
            [offset],
            "minute {minute}"
        );
    }
}

pub fn applying_again_changes_settings_but_never_partitions(bed: &Bed) {
    let spec = bed.spec(3, &[("message.timestamp.type", "LogAppendTime"), ("retention.ms", "-1")]);
    bed.log.apply(&spec).unwrap();
    let made = bed.log.describe(&spec.name).unwrap();
    assert_eq!((made.partitions, made.replication), (3, bed.engine.replication()));
    assert_settings(bed, &spec, &[("message.timestamp.type", "LogAppendTime"), ("retention.ms", "-1")]);

    bed.log.apply(&spec).unwrap();
    let changed = TopicSpec {
        settings: [("retention.bytes".to_owned(), "-1".to_owned()), ("retention.ms".to_owned(), "86400000".to_owned())]
            .into(),
        ..spec.clone()
    };
    bed.log.apply(&changed).unwrap();
    assert_settings(
        bed,
        &spec,
        &[("message.timestamp.type", "LogAppendTime"), ("retention.ms", "86400000"), ("retention.bytes", "-1")],
    );
    assert_eq!(bed.log.describe(&spec.name).unwrap().identity, made.identity);

    for partitions in [2, 4, 0] {
        let error = bed.log.apply(&TopicSpec { partitions, ..spec.clone() }).unwrap_err();
        assert!(matches!(&error, LogError::Misconfigured(text) if text.contains(&spec.name)), "{error}");
    }
    assert_settings(bed, &spec, &[("retention.ms", "86400000")]);
    assert_eq!(bed.log.ends(&spec.name).unwrap(), [0; 3]);
}

fn assert_settings(bed: &Bed, spec: &TopicSpec, wanted: &[(&str, &str)]) {
    let has = |settings: &std::collections::BTreeMap<String, String>| {
        wanted.iter().all(|(name, value)| settings.get(*name).is_some_and(|is| is == value))
    };
    // A broker learns of a change a moment after it was answered.
    for _ in 0..50 {
        if has(&bed.log.describe(&spec.name).unwrap().settings) {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("{:?} does not have {wanted:?}", bed.log.describe(&spec.name).unwrap().settings);
}
