//! What an append promises.

use std::collections::{BTreeMap, BTreeSet};

use ledger_engine::log::{AppendError, NewRecord, RECORD_BYTES_MAX, partition_of};

use super::bed::{Bed, assert_contiguous, beginnings, by_partition, number, numbered, record};

pub fn records_of_one_key_keep_their_order(bed: &Bed) {
    let topic = bed.topic(3);
    for batch in numbered(6_000, 20).chunks(70) {
        bed.append(&topic, batch.to_vec());
    }
    let records = bed.read(&topic, &beginnings(3), 6_000);
    let mut last = BTreeMap::new();
    for record in &records {
        let before = last.insert(record.key.clone(), number(record));
        assert!(before < Some(number(record)), "{before:?} before {record:?}");
    }
    assert_eq!(last.len(), 20);
}

pub fn positions_are_contiguous_and_as_answered(bed: &Bed) {
    let topic = bed.topic(4);
    let records = numbered(1_000, 17);
    let mut positions = bed.append(&topic, records[..400].to_vec());
    positions.extend(bed.append(&topic, records[400..].to_vec()));
    let answered: BTreeMap<_, _> = positions.iter().zip(&records).collect();
    assert_eq!(answered.len(), 1_000);

    let read = bed.read(&topic, &beginnings(4), 1_000);
    assert_contiguous(&read, 0);
    for record in &read {
        assert_eq!(record.value, answered[&record.position].value);
    }
}

pub fn records_come_back_as_they_were(bed: &Bed) {
    let topic = bed.topic(1);
    let headers: [(&str, &[u8]); 4] = [("b", b"2"), ("a", b"1"), ("b", &[0, 255, 0]), ("empty", b"")];
    let appended = vec![
        NewRecord {
            key: "loan:学费".to_owned(),
            headers: headers.into_iter().collect(),
            value: "{\"amount\":\"12.50\"}".into(),
            timestamp: None,
        },
        record("", ""),
        record("bytes", (0..=255).collect::<Vec<u8>>()),
    ];
    bed.append(&topic, appended.clone());
    let read = bed.read(&topic, &beginnings(1), 3);
    for (appended, read) in appended.iter().zip(&read) {
        assert_eq!(
            (appended.key.as_bytes(), &appended.headers, &appended.value),
            (&read.key[..], &read.headers, &read.value)
        );
        assert_eq!(read.timestamp.timestamp_subsec_micros() % 1000, 0, "whole milliseconds");
    }
}

/// The log does not know events; whoever folds them ignores the second.
pub fn a_repeated_append_stands_twice(bed: &Bed) {
    let topic = bed.topic(2);
    let first = bed.append(&topic, vec![record("key", "same")]);
    let second = bed.append(&topic, vec![record("key", "same")]);
    assert_eq!((second[0].partition, second[0].offset), (first[0].partition, first[0].offset + 1));
    let read = bed.read(&topic, &first, 2);
    assert_eq!(read[0].value, read[1].value);
}

pub fn the_key_decides_the_partition(bed: &Bed) {
    let topic = bed.topic(12);
    let keys: Vec<String> = (0..500).map(|number| format!("loan:{:x}", number * 7919)).collect();
    let positions = bed.append(&topic, keys.iter().map(|key| record(key, "")).collect());
    for (key, position) in keys.iter().zip(&positions) {
        assert_eq!(position.partition, partition_of(key.as_bytes(), 12), "{key}");
    }
    assert_eq!(positions.iter().map(|position| position.partition).collect::<BTreeSet<_>>().len(), 12);
}

pub fn a_huge_record_is_refused_and_the_largest_is_taken(bed: &Bed) {
    let topic = bed.topic(1);
    let empty = NewRecord { headers: [("name", [1; 100])].into_iter().collect(), ..record("key", "") };
    // Nothing that a compression could make smaller. The length of the value itself takes two bytes more.
    let noise: Vec<u8> =
        (0..RECORD_BYTES_MAX as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect();
    let largest = NewRecord { value: noise[..RECORD_BYTES_MAX - empty.size() - 2].to_vec(), ..empty.clone() };
    assert_eq!(largest.size(), RECORD_BYTES_MAX);
    let huge = NewRecord { value: noise[..largest.value.len() + 1].to_vec(), ..empty };

    let answers = bed.try_append(&topic, vec![record("key", "before"), huge, record("key", "after"), largest.clone()]);
    assert_eq!(answers[1], Err(AppendError::TooLarge { size: RECORD_BYTES_MAX + 1, max: RECORD_BYTES_MAX }));
    assert!(answers[1].as_ref().unwrap_err().to_string().contains("1048589 bytes"));
    let offsets: Vec<i64> = [0, 2, 3].iter().map(|index| answers[*index].as_ref().unwrap().offset).collect();
    assert_eq!(offsets, [0, 1, 2]);
    let read = bed.read(&topic, &beginnings(1), 3);
    assert_eq!((&read[1].value[..], &read[2].value), (&b"after"[..], &largest.value));
}

/// Two processes with eight tasks each; every task has a key and sends batch after batch.
pub fn many_appenders_lose_nothing(bed: &Bed) {
    const BATCHES: usize = 30;
    const RECORDS: usize = 20;
    let topic = bed.topic(5);
    let logs = [bed.log.clone(), bed.engine.connect()];
    let appenders = (0..16).map(|appender| {
        let (log, topic) = (logs[appender % 2].clone(), topic.clone());
        async move {
            let mut positions = Vec::new();
            for batch in 0..BATCHES {
                let numbers = batch * RECORDS..(batch + 1) * RECORDS;
                let records =
                    numbers.map(|number| record(&format!("appender-{appender}"), number.to_string())).collect();
                positions.extend(log.append(&topic, records).await.into_iter().map(Result::unwrap));
            }
            positions
        }
    });
    let answered: Vec<_> = bed.run(async { futures_util::future::join_all(appenders.map(tokio::spawn)).await });
    let answered: BTreeSet<_> = answered.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(answered.len(), 16 * BATCHES * RECORDS, "each position is given once");

    let read = bed.read(&topic, &beginnings(5), answered.len());
    assert_contiguous(&read, 0);
    let mut next = BTreeMap::<&[u8], usize>::new();
    for record in by_partition(&read).into_values().flatten() {
        let next = next.entry(&record.key).or_default();
        assert_eq!(number(record), *next, "{:?}", record.position);
        *next += 1;
    }
    let ends: i64 = bed.log.ends(&topic).unwrap().into_iter().sum();
    assert_eq!(ends as usize, answered.len());
}

pub fn nothing_to_append_is_answered_at_once(bed: &Bed) {
    let topic = bed.topic(1);
    assert!(bed.append(&topic, Vec::new()).is_empty());
}
