//! What a reader promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use ledger_engine::log::{LogError, Reader, Record, partition_of};

use super::bed::{Bed, PATIENCE, assert_contiguous, at, beginnings, by_partition, number, numbered, read_on, record};

fn numbers(records: &[Record]) -> BTreeSet<usize> {
    records.iter().map(number).collect()
}

pub fn reading_resumes_where_another_reader_stopped(bed: &Bed) {
    let topic = bed.topic(3);
    bed.append(&topic, numbered(900, 30));
    let mut read = bed.read(&topic, &beginnings(3), 400);
    let mut next: BTreeMap<i32, i64> = (0..3).map(|partition| (partition, 0)).collect();
    for record in &read {
        next.insert(record.position.partition, record.position.offset + 1);
    }
    let from: Vec<_> = next.into_iter().map(|(partition, offset)| at(partition, offset)).collect();
    read.extend(bed.read(&topic, &from, 500));
    assert_eq!(read.len(), 900);
    assert_eq!(numbers(&read), (0..900).collect());
    assert_contiguous(&read, 0);
}

/// Two readers pass the partitions to each other while the log grows.
pub fn partitions_are_handed_over_without_a_gap(bed: &Bed) {
    const RECORDS: usize = 6_000;
    let topic = bed.topic(4);
    let mut readers = [bed.log.reader(&topic).unwrap(), bed.engine.connect().reader(&topic).unwrap()];
    let (mut next, mut read) = (vec![0_i64; 4], Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            for batch in numbered(RECORDS, 40).chunks(60) {
                bed.append(&topic, batch.to_vec());
            }
        });
        let deadline = Instant::now() + PATIENCE;
        let mut round = 0;
        while read.len() < RECORDS {
            assert!(Instant::now() < deadline, "{} of {RECORDS} records were read", read.len());
            round += 1;
            for (index, reader) in readers.iter_mut().enumerate() {
                let mine = (0..4).filter(|partition| (partition + round) as usize % 2 == index);
                let from: Vec<_> = mine.map(|partition| at(partition, next[partition as usize])).collect();
                reader.assign(&from).unwrap();
            }
            for reader in readers.iter_mut().chain([]) {
                for record in reader.poll(500, Duration::from_millis(150)).unwrap() {
                    next[record.position.partition as usize] = record.position.offset + 1;
                    read.push(record);
                }
            }
        }
    });
    assert_contiguous(&read, 0);
    assert_eq!(numbers(&read), (0..RECORDS).collect());
}

pub fn reading_starts_in_the_middle(bed: &Bed) {
    let topic = bed.topic(2);
    let positions = bed.append(&topic, numbered(400, 40));
    let ends = bed.log.ends(&topic).unwrap();
    let from = [at(0, ends[0] / 2), at(1, ends[1] - 1)];
    let read = bed.read(&topic, &from, (ends[0] - ends[0] / 2 + 1) as usize);
    for record in &read {
        assert!(record.position.offset >= from[record.position.partition as usize].offset);
        assert_eq!(positions[number(record)], record.position);
    }
    let partitions = by_partition(&read);
    assert_eq!((partitions[&0][0].position, partitions[&1][0].position), (from[0], from[1]));
}

pub fn an_assignment_replaces_the_one_before(bed: &Bed) {
    let topic = bed.topic(3);
    bed.append(&topic, numbered(3_000, 50));
    let mut reader = bed.log.reader(&topic).unwrap();
    assert!(reader.poll(10, Duration::ZERO).unwrap().is_empty(), "nothing is assigned yet");
    reader.assign(&beginnings(3)).unwrap();
    read_on(reader.as_mut(), 100);

    // Back to the beginning of one partition: nothing of the others that already lay ready may come.
    reader.assign(&[at(1, 0)]).unwrap();
    let again = read_on(reader.as_mut(), 50);
    assert!(again.iter().all(|record| record.position.partition == 1));
    assert_contiguous(&again, 0);
    // Forward.
    reader.assign(&[at(2, 100), at(1, 60)]).unwrap();
    let forward = by_partition(&read_on(reader.as_mut(), 1_000))
        .into_iter()
        .map(|(partition, records)| (partition, records[0].position.offset))
        .collect::<BTreeMap<_, _>>();
    assert!(
        forward.iter().all(|(partition, offset)| [(1, 60), (2, 100)].contains(&(*partition, *offset))),
        "{forward:?}"
    );

    reader.assign(&[]).unwrap();
    assert!(reader.poll(10, Duration::from_millis(300)).unwrap().is_empty());
}

pub fn an_offset_out_of_range_is_an_error_until_the_next_assignment(bed: &Bed) {
    let topic = bed.topic(2);
    let positions = bed.append(&topic, numbered(30, 30));
    let end = positions.iter().filter(|position| position.partition == 0).count() as i64;
    let mut reader = bed.log.reader(&topic).unwrap();
    for offset in [end + 1, end + 1_000_000, -1, -2] {
        reader.assign(&[at(0, offset)]).unwrap();
        let error = first_error(reader.as_mut());
        match &error {
            LogError::OutOfRange { position, first: 0, end: found }
                if *position == at(0, offset) && (*found == end || offset < 0) => {}
            other => panic!("{offset}: {other}"),
        }
        assert_eq!(reader.poll(10, Duration::ZERO).unwrap_err(), error, "it lasts");
    }
    // The end itself is where the next record will be.
    reader.assign(&[at(0, end)]).unwrap();
    assert!(reader.poll(10, Duration::from_millis(300)).unwrap().is_empty());
    reader.assign(&[at(0, end - 1)]).unwrap();
    assert_eq!(read_on(reader.as_mut(), 1)[0].position, at(0, end - 1));
}

fn first_error(reader: &mut dyn Reader) -> LogError {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match reader.poll(10, Duration::from_millis(200)) {
            Ok(records) => assert!(records.is_empty(), "{records:?}"),
            Err(LogError::Unavailable(_)) => {}
            Err(error) => return error,
        }
    }
    panic!("no error came");
}

pub fn a_new_record_is_seen_soon(bed: &Bed) {
    let topic = bed.topic(2);
    let mut reader = bed.log.reader(&topic).unwrap();
    reader.assign(&beginnings(2)).unwrap();
    let started = Instant::now();
    assert!(reader.poll(10, Duration::from_millis(400)).unwrap().is_empty());
    assert!(started.elapsed() < Duration::from_secs(2), "an empty poll ends in time");

    let mut latencies = Vec::new();
    for number in 0..60 {
        bed.append(&topic, vec![record(&format!("key-{number}"), number.to_string())]);
        let acknowledged = Instant::now();
        read_on(reader.as_mut(), 1);
        latencies.push(acknowledged.elapsed());
        thread::sleep(Duration::from_millis(5));
    }
    latencies.sort();
    // Generous, as other tests use the same two cores; the usual figure is a few milliseconds.
    assert!(latencies[54] < Duration::from_millis(100), "{latencies:?}");
}

/// A poll keeps no more than some megabytes, however many records it was asked for.
pub fn large_records_come_in_several_polls(bed: &Bed) {
    let topic = bed.topic(2);
    let large: Vec<_> = (0..60).map(|number| record(&format!("key-{number}"), vec![number; 500_000])).collect();
    bed.append(&topic, large);
    let mut reader = bed.log.reader(&topic).unwrap();
    reader.assign(&beginnings(2)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut read = Vec::new();
    while read.len() < 60 {
        assert!(Instant::now() < deadline);
        let polled = reader.poll(10_000, Duration::from_millis(200)).unwrap();
        assert!(polled.iter().map(|record| record.value.len()).sum::<usize>() < 10_000_000);
        read.extend(polled);
    }
    assert_contiguous(&read, 0);
    assert_eq!(read.iter().map(|record| record.value[0]).collect::<BTreeSet<_>>().len(), 60);
}

/// A partition with little waits no longer because another has much.
pub fn no_partition_starves(bed: &Bed) {
    let topic = bed.topic(2);
    let busy = (0..).map(|number| format!("busy-{number}")).find(|key| partition_of(key.as_bytes(), 2) == 0).unwrap();
    let quiet = (0..).map(|number| format!("quiet-{number}")).find(|key| partition_of(key.as_bytes(), 2) == 1).unwrap();
    // Noise, because Kafka counts compressed bytes.
    let noise = |seed: u64| {
        (0..300)
            .map(|i| (((seed * 300 + i) * (seed + 7)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
            .collect::<Vec<_>>()
    };
    for batch in 0..20 {
        bed.append(&topic, (0..1_000).map(|number| record(&busy, noise(batch * 1_000 + number))).collect());
    }
    bed.append(&topic, vec![record(&quiet, "here")]);

    let mut reader = bed.log.reader(&topic).unwrap();
    reader.assign(&beginnings(2)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut before = 0;
    loop {
        assert!(Instant::now() < deadline);
        let polled = reader.poll(100, Duration::from_millis(200)).unwrap();
        if polled.iter().any(|record| record.position.partition == 1) {
            break;
        }
        before += polled.len();
    }
    // Kafka gives each partition up to a megabyte in turn, the other engines take turns in each poll.
    assert!(before < 15_000, "{before} records came before");
}
