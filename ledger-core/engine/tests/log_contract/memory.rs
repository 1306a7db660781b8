//! The engine for simulations, and what only it can do: go wrong on purpose, in the same way for the same seed.

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use chrono::{TimeDelta, Utc};
use ledger_engine::clock::Clock;
use ledger_engine::log::{
    AppendError, Log, LogError, Position,
    memory::{Faults, MemoryLog},
};

use super::{
    bed::{Bed, Engine, beginnings, number, numbered},
    outage::nothing_is_lost_while,
};

pub struct Memory {
    log: MemoryLog,
    clock: Clock,
}

impl Memory {
    pub fn new() -> Self {
        let clock = Clock::simulated(Utc::now());
        Self { log: MemoryLog::new(7, clock.clone()), clock }
    }
}

impl Engine for Memory {
    fn connect(&self) -> Arc<dyn Log> {
        Arc::new(self.log.clone())
    }

    fn remove(&self, topic: &str) {
        self.log.remove(topic);
    }
}

#[test]
fn the_engine_goes_away_and_comes_back() {
    let memory = Memory::new();
    let log = memory.log.clone();
    log.set_faults(Faults { lost_answers: 20, lost_records: 20, duplicates: 20, ..Faults::default() });
    nothing_is_lost_while(&Bed::new("outage", Box::new(memory)), move || {
        for _ in 0..3 {
            log.crash();
            thread::sleep(Duration::from_millis(50));
            log.resume();
            thread::sleep(Duration::from_millis(50));
        }
    });
}

const EVERYTHING: Faults =
    Faults { lost_answers: 100, lost_records: 100, duplicates: 100, late_records: 100, short_polls: 300 };

type Answers = Vec<Result<Position, AppendError>>;

/// Appends with all faults, and answers what came of it and in which order it was read.
fn faulty_run(seed: u64) -> (Answers, Vec<usize>) {
    let clock = Clock::simulated(Utc::now());
    let memory = Memory { log: MemoryLog::new(seed, clock.clone()), clock };
    let log = memory.log.clone();
    let bed = Bed::new("faults", Box::new(memory));
    let topic = bed.topic(3);
    log.set_faults(EVERYTHING);
    let answers = numbered(500, 25).chunks(10).flat_map(|batch| bed.try_append(&topic, batch.to_vec())).collect();
    log.deliver_late();
    let stored: i64 = log.ends(&topic).unwrap().iter().sum();
    let read = bed.read(&topic, &beginnings(3), stored as usize);
    (answers, read.iter().map(number).collect())
}

#[test]
fn one_seed_is_one_story() {
    assert_eq!(faulty_run(1), faulty_run(1));
    assert_ne!(faulty_run(1), faulty_run(2));
}

#[test]
fn every_fault_happens_and_no_acknowledged_record_is_lost() {
    let (answers, read) = faulty_run(3);
    let mut times = BTreeMap::<usize, usize>::new();
    for number in &read {
        *times.entry(*number).or_default() += 1;
    }
    for (number, answer) in answers.iter().enumerate() {
        assert!(answer.is_err() || times.contains_key(&number), "{number} was acknowledged");
    }
    let unknown = |wanted: &str| {
        answers.iter().filter(|answer| matches!(answer, Err(AppendError::Unknown(why)) if why.contains(wanted))).count()
    };
    assert!(unknown("answer was lost") > 20 && unknown("record was lost") > 20 && unknown("late") > 20);
    assert!(times.values().filter(|count| **count > 1).count() > 20, "duplicates");
    let lost = answers.iter().enumerate().filter(|(number, _)| !times.contains_key(number)).count();
    assert_eq!(lost, unknown("record was lost"), "late records have arrived");
    let late_order = numbered(500, 25).len() == answers.len() && !read.is_sorted();
    assert!(late_order);
}

#[test]
fn a_crashed_log_does_not_answer() {
    let memory = Memory::new();
    let (log, clock) = (memory.log.clone(), memory.clock.clone());
    let bed = Bed::new("crash", Box::new(memory));
    let topic = bed.topic(1);
    bed.append(&topic, numbered(3, 1));
    let mut reader = log.reader(&topic).unwrap();
    reader.assign(&beginnings(1)).unwrap();
    log.crash();
    assert!(matches!(bed.try_append(&topic, numbered(1, 1))[0], Err(AppendError::Unknown(_))));
    assert!(matches!(log.ends(&topic), Err(LogError::Unavailable(_))));
    assert!(matches!(reader.poll(1, Duration::ZERO), Err(LogError::Unavailable(_))));

    log.resume();
    clock.advance(TimeDelta::minutes(5));
    let later = bed.append(&topic, numbered(1, 1));
    assert_eq!(later[0].offset, 3, "the record sent meanwhile is not there");
    let read = super::bed::read_on(reader.as_mut(), 4);
    assert_eq!(read[3].timestamp - read[2].timestamp, TimeDelta::minutes(5), "the clock is the simulation's");
}
