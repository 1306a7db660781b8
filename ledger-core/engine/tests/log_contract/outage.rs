//! The engine is killed and comes back while somebody appends and somebody reads.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ledger_engine::log::{AppendError, LogError, Position, Record};

use super::bed::{Bed, assert_contiguous, beginnings, number, record};

const PARTITIONS: i32 = 3;
const APPENDERS: usize = 4;

/// An outage with its recovery may take this long.
const PATIENCE: Duration = Duration::from_secs(180);

/// The door waits no longer for an answer.
const APPEND_PATIENCE: Duration = Duration::from_secs(3);

/// What an appender knows at the end.
struct Sent {
    key: String,
    acknowledged: Vec<(Position, usize)>,
    unknown: usize,
}

/// Runs `outage` while four appenders send numbers, each repeating a number until it is acknowledged, and one reader
/// follows. Afterwards every acknowledged record stands where it was answered, each number is there at least once, the
/// numbers of a key first appear in order, and the reader has seen all of it without a gap.
pub fn nothing_is_lost_while(bed: &Bed, outage: impl FnOnce() + Send) {
    let topic = bed.topic(PARTITIONS);
    let (stop, all_sent) = (AtomicBool::new(false), AtomicBool::new(false));
    let (sent, followed) = thread::scope(|scope| {
        let (topic, stop) = (&topic, &stop);
        let append = |appender| scope.spawn(move || append_until(bed, topic, appender, stop));
        let appenders: Vec<_> = (0..APPENDERS).map(append).collect();
        let follower = scope.spawn(|| follow_until_end(bed, topic, &all_sent));
        thread::sleep(Duration::from_millis(500));
        // The others end even if the outage fails.
        let over = catch_unwind(AssertUnwindSafe(outage));
        thread::sleep(Duration::from_millis(500));
        stop.store(true, Ordering::SeqCst);
        let sent: Vec<_> = appenders.into_iter().map(|appender| appender.join()).collect();
        all_sent.store(true, Ordering::SeqCst);
        let followed = follower.join();
        over.unwrap_or_else(|panic| resume_unwind(panic));
        (sent.into_iter().map(Result::unwrap).collect::<Vec<Sent>>(), followed.unwrap())
    });

    assert_contiguous(&followed, 0);
    let stored: BTreeMap<Position, &Record> = followed.iter().map(|record| (record.position, record)).collect();
    assert_eq!(stored.len(), followed.len(), "nothing was read twice");
    for Sent { key, acknowledged, unknown } in &sent {
        println!("{key}: {} acknowledged, {unknown} answers unknown", acknowledged.len());
        assert!(!acknowledged.is_empty());
        for (position, sent) in acknowledged {
            let record = stored[position];
            assert_eq!((&record.key[..], number(record)), (key.as_bytes(), *sent));
        }
        let mut next = 0;
        for record in followed.iter().filter(|record| record.key == key.as_bytes()) {
            assert!(number(record) <= next, "{} came before {next}", number(record));
            next = next.max(number(record) + 1);
        }
        assert!(next >= acknowledged.len(), "every number is there");
    }
}

fn append_until(bed: &Bed, topic: &str, appender: usize, stop: &AtomicBool) -> Sent {
    let mut sent = Sent { key: format!("appender-{appender}"), acknowledged: Vec::new(), unknown: 0 };
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        loop {
            assert!(Instant::now() < deadline, "{} of {} is never acknowledged", number, sent.key);
            let append = bed.log.append(topic, vec![record(&sent.key, number.to_string())]);
            let in_time = bed.run(async { tokio::time::timeout(APPEND_PATIENCE, append).await });
            match in_time
                .map_or_else(|late| Err(AppendError::Unknown(late.to_string())), |mut answers| answers.remove(0))
            {
                Ok(position) => break sent.acknowledged.push((position, number)),
                Err(AppendError::Unknown(_)) => {
                    sent.unknown += 1;
                    thread::sleep(Duration::from_millis(20));
                }
                Err(error) => panic!("{error}"),
            }
        }
        if stop.load(Ordering::SeqCst) {
            break;
        }
    }
    sent
}

/// Follows the log until it has come to the end of what was sent.
fn follow_until_end(bed: &Bed, topic: &str, all_sent: &AtomicBool) -> Vec<Record> {
    let mut reader = bed.log.reader(topic).unwrap();
    reader.assign(&beginnings(PARTITIONS)).unwrap();
    let mut records = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "the log is not read to its end");
        match reader.poll(500, Duration::from_millis(200)) {
            Ok(polled) => records.extend(polled),
            Err(LogError::Unavailable(_)) => thread::sleep(Duration::from_millis(10)),
            Err(error) => panic!("{error}"),
        }
        let all = |ends: Vec<i64>| ends.iter().sum::<i64>() == records.len() as i64;
        if all_sent.load(Ordering::SeqCst) && bed.log.ends(topic).is_ok_and(all) {
            return records;
        }
    }
}
