//! The log in memory, for seeded simulation. One thread with one seed sees the same records, the same lost answers and
//! the same reading order in every run. Nothing blocks.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

use super::{
    AppendError, Log, LogError, NewRecord, POLL_BYTES_MAX, Position, RECORD_BYTES_MAX, Reader, Record, TopicInfo,
    TopicSpec, partition_of,
};
use crate::clock::Clock;

/// How often something goes wrong with a record, each in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The record is in the log, the answer is lost.
    pub lost_answers: u32,
    /// Neither record nor answer.
    pub lost_records: u32,
    /// The record is in the log twice.
    pub duplicates: u32,
    /// The answer is lost and the record comes later, behind records that were appended after it.
    pub late_records: u32,
    /// A poll returns only some of what is ready.
    pub short_polls: u32,
}

/// A log that all its clones share.
#[derive(Clone)]
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
}

struct State {
    clock: Clock,
    random: Random,
    faults: Faults,
    up: bool,
    topics: BTreeMap<String, Topic>,
    /// Counts the topics ever made: a topic made anew has another identity.
    topics_made: u64,
    /// Records on their way whose senders have given up.
    late: Vec<(String, NewRecord)>,
}

struct Topic {
    identity: u64,
    settings: BTreeMap<String, String>,
    partitions: Vec<Vec<Record>>,
}

impl MemoryLog {
    pub fn new(seed: u64, clock: Clock) -> Self {
        let state = State {
            clock,
            random: Random(seed),
            faults: Faults::default(),
            up: true,
            topics: BTreeMap::new(),
            topics_made: 0,
            late: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// From now on things go wrong this often; all zero heals everything.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// The engine is away: nothing answers, and what was on its way is lost. Acknowledged records stay.
    pub fn crash(&self) {
        let mut state = self.state();
        state.up = false;
        state.late.clear();
    }

    pub fn resume(&self) {
        self.state().up = true;
    }

    /// Removes a topic with its records.
    pub fn remove(&self, topic: &str) {
        self.state().topics.remove(topic);
    }

    /// Late records arrive now.
    pub fn deliver_late(&self) {
        self.state().deliver(|_| true);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").finish_non_exhaustive()
    }
}

impl State {
    fn topic(&self, name: &str) -> Result<&Topic, LogError> {
        if !self.up {
            return Err(LogError::Unavailable("crashed by the simulation".to_owned()));
        }
        self.topics.get(name).ok_or_else(|| LogError::TopicMissing(name.to_owned()))
    }

    fn append(&mut self, topic: &str, record: NewRecord) -> Result<Position, AppendError> {
        record.check_size(RECORD_BYTES_MAX)?;
        let lost = |what: &str| Err(AppendError::Unknown(what.to_owned()));
        self.topic(topic).map_err(|error| AppendError::Unknown(error.to_string()))?;
        if self.random.happens(self.faults.lost_records) {
            return lost("the record was lost");
        }
        if self.random.happens(self.faults.late_records) {
            self.late.push((topic.to_owned(), record));
            return lost("the record is late");
        }
        let twice = self.random.happens(self.faults.duplicates).then(|| record.clone());
        let position = self.store(topic, record)?;
        if let Some(record) = twice {
            self.store(topic, record)?;
        }
        if self.random.happens(self.faults.lost_answers) { lost("the answer was lost") } else { Ok(position) }
    }

    fn store(&mut self, topic: &str, record: NewRecord) -> Result<Position, AppendError> {
        let now = self.clock.now();
        let missing = || AppendError::Unknown(LogError::TopicMissing(topic.to_owned()).to_string());
        self.topics.get_mut(topic).ok_or_else(missing).map(|topic| topic.store(record, now))
    }

    /// Stores the late records that `arrives` picks.
    fn deliver(&mut self, mut arrives: impl FnMut(&mut Random) -> bool) {
        for (topic, record) in mem::take(&mut self.late) {
            if arrives(&mut self.random) {
                // Its topic may be gone by now; nobody waits for the answer.
                let _ = self.store(&topic, record);
            } else {
                self.late.push((topic, record));
            }
        }
    }
}

impl Topic {
    fn keeps_producers_time(&self) -> bool {
        self.settings.get("message.timestamp.type").is_some_and(|kind| kind == "CreateTime")
    }

    fn store(&mut self, record: NewRecord, now: DateTime<Utc>) -> Position {
        let keeps_producers_time = self.keeps_producers_time();
        let partition = partition_of(record.key.as_bytes(), self.partitions.len() as i32);
        let records = &mut self.partitions[partition as usize];
        let position = Position { partition, offset: records.len() as i64 };
        // The log's clock never goes back within a partition.
        let logs_time = || records.last().map_or(now, |last| last.timestamp.max(now));
        let timestamp = match record.timestamp.and_then(|time| DateTime::from_timestamp_millis(time.timestamp_millis()))
        {
            Some(producers) if keeps_producers_time => producers,
            _ if keeps_producers_time => now,
            _ => logs_time(),
        };
        records.push(Record {
            position,
            timestamp,
            key: record.key.into_bytes(),
            headers: record.headers,
            value: record.value,
        });
        position
    }
}

impl Log for MemoryLog {
    fn append<'a>(
        &'a self,
        topic: &'a str,
        records: Vec<NewRecord>,
    ) -> BoxFuture<'a, Vec<Result<Position, AppendError>>> {
        Box::pin(async move {
            let mut state = self.state();
            let answers = records.into_iter().map(|record| state.append(topic, record)).collect();
            // What was late before may arrive behind this.
            state.deliver(|random| random.happens(500));
            answers
        })
    }

    fn reader(&self, topic: &str) -> Result<Box<dyn Reader>, LogError> {
        self.state().topic(topic)?;
        Ok(Box::new(MemoryReader {
            log: self.clone(),
            topic: topic.to_owned(),
            identity: None,
            next: BTreeMap::new(),
            failed: None,
        }))
    }

    fn ends(&self, topic: &str) -> Result<Vec<i64>, LogError> {
        Ok(self.state().topic(topic)?.partitions.iter().map(|records| records.len() as i64).collect())
    }

    fn offsets_at(&self, topic: &str, time: DateTime<Utc>) -> Result<Vec<i64>, LogError> {
        let first = |records: &Vec<Record>| {
            records.iter().position(|record| record.timestamp >= time).unwrap_or(records.len()) as i64
        };
        Ok(self.state().topic(topic)?.partitions.iter().map(first).collect())
    }

    fn describe(&self, topic: &str) -> Result<TopicInfo, LogError> {
        let state = self.state();
        let topic = state.topic(topic)?;
        Ok(TopicInfo {
            identity: format!("memory:{}", topic.identity),
            partitions: topic.partitions.len() as i32,
            replication: 1,
            settings: topic.settings.clone(),
        })
    }

    fn apply(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let mut state = self.state();
        match state.topic(&spec.name).map(|topic| topic.partitions.len() as i32) {
            Err(LogError::TopicMissing(_)) if spec.partitions > 0 => {
                state.topics_made += 1;
                let partitions = (0..spec.partitions).map(|_| Vec::new()).collect();
                let topic = Topic { identity: state.topics_made, settings: spec.settings.clone(), partitions };
                state.topics.insert(spec.name.clone(), topic);
            }
            Ok(partitions) if partitions == spec.partitions => {
                if let Some(topic) = state.topics.get_mut(&spec.name) {
                    topic.settings.extend(spec.settings.clone());
                }
            }
            Ok(_) | Err(LogError::TopicMissing(_)) => {
                return Err(LogError::Misconfigured(format!(
                    "topic {} cannot have {} partitions",
                    spec.name, spec.partitions
                )));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

struct MemoryReader {
    log: MemoryLog,
    topic: String,
    /// The topic's since the assignment.
    identity: Option<u64>,
    next: BTreeMap<i32, i64>,
    /// An error that lasts until the next assignment.
    failed: Option<LogError>,
}

impl MemoryReader {
    fn look(&mut self, max: usize) -> Result<Vec<Record>, LogError> {
        let mut state = self.log.state();
        let State { random, faults, topics, up, .. } = &mut *state;
        if !*up {
            return Err(LogError::Unavailable("crashed by the simulation".to_owned()));
        }
        let Some(identity) = self.identity else { return Ok(Vec::new()) };
        let topic = topics.get(&self.topic).filter(|topic| topic.identity == identity);
        let topic = topic.ok_or_else(|| LogError::TopicMissing(self.topic.clone()))?;
        let max = if random.happens(faults.short_polls) { random.below(max as u64 + 1) as usize } else { max };
        let mut partitions: Vec<(&i32, &mut i64)> = self.next.iter_mut().collect();
        if !partitions.is_empty() {
            let first = random.below(partitions.len() as u64) as usize;
            partitions.rotate_left(first);
        }
        let (mut read, mut bytes) = (Vec::new(), 0);
        for (&partition, offset) in partitions {
            let records = topic.partitions.get(partition as usize).map_or(&[][..], Vec::as_slice);
            let out_of_range = || LogError::OutOfRange {
                position: Position { partition, offset: *offset },
                first: 0,
                end: records.len() as i64,
            };
            let ready =
                usize::try_from(*offset).ok().and_then(|offset| records.get(offset..)).ok_or_else(out_of_range)?;
            for record in ready {
                if read.len() >= max || bytes >= POLL_BYTES_MAX {
                    return Ok(read);
                }
                bytes += record.value.len();
                read.push(record.clone());
                *offset += 1;
            }
        }
        Ok(read)
    }
}

impl Reader for MemoryReader {
    fn assign(&mut self, from: &[Position]) -> Result<(), LogError> {
        self.failed = None;
        self.identity = None;
        self.next = from.iter().map(|position| (position.partition, position.offset)).collect();
        self.identity = Some(self.log.state().topic(&self.topic)?.identity);
        Ok(())
    }

    /// Never waits: in a simulation nobody else could run meanwhile.
    fn poll(&mut self, max: usize, _wait: Duration) -> Result<Vec<Record>, LogError> {
        if let Some(lasting) = &self.failed {
            return Err(lasting.clone());
        }
        self.look(max).inspect_err(|error| {
            if matches!(error, LogError::OutOfRange { .. } | LogError::TopicMissing(_)) {
                self.failed = Some(error.clone());
            }
        })
    }
}

/// A seeded generator (SplitMix64), so that a run can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn happens(&mut self, thousandths: u32) -> bool {
        self.below(1000) < u64::from(thousandths)
    }
}
