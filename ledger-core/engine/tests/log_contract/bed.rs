//! What a case works with: a log, topics of its own, and short ways to append and read.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use ledger_engine::log::{AppendError, Log, NewRecord, Position, Reader, Record, TopicSpec};

/// What the suite needs of an engine beside its log.
pub trait Engine: Send + Sync {
    /// The log, as one more process would open it.
    fn connect(&self) -> Arc<dyn Log>;

    /// Removes a topic with its records, which no engine's log offers.
    fn remove(&self, topic: &str);

    /// Copies of each record.
    fn replication(&self) -> i32 {
        1
    }
}

/// Nothing in the suite takes this long, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Bed {
    pub log: Arc<dyn Log>,
    pub engine: Box<dyn Engine>,
    case: &'static str,
    runtime: tokio::runtime::Runtime,
}

impl Bed {
    pub fn new(case: &'static str, engine: Box<dyn Engine>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { log: engine.connect(), engine, case, runtime }
    }

    /// A topic that nobody else uses.
    pub fn topic(&self, partitions: i32) -> String {
        let spec = self.spec(partitions, &[("message.timestamp.type", "LogAppendTime")]);
        self.log.apply(&spec).unwrap();
        spec.name
    }

    pub fn spec(&self, partitions: i32, settings: &[(&str, &str)]) -> TopicSpec {
        static TOPICS: AtomicU32 = AtomicU32::new(0);
        let started_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let name = format!("{}.{started_ms}.{}", self.case, TOPICS.fetch_add(1, Ordering::Relaxed));
        let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        TopicSpec { name, partitions, replication: self.engine.replication(), settings }
    }

    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Appends and answers as the log does.
    pub fn try_append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Result<Position, AppendError>> {
        self.run(self.log.append(topic, records))
    }

    /// Appends what the log has to take.
    pub fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Position> {
        self.try_append(topic, records).into_iter().map(Result::unwrap).collect()
    }

    /// Reads `count` records of `topic` from the given positions on.
    pub fn read(&self, topic: &str, from: &[Position], count: usize) -> Vec<Record> {
        let mut reader = self.log.reader(topic).unwrap();
        reader.assign(from).unwrap();
        read_on(reader.as_mut(), count)
    }
}

/// Reads `count` records with polls of changing sizes; more than that would be a record too many.
pub fn read_on(reader: &mut dyn Reader, count: usize) -> Vec<Record> {
    let deadline = Instant::now() + PATIENCE;
    let mut records = Vec::new();
    while records.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records were read", records.len());
        let max = (count - records.len()).min(1 + records.len() % 700);
        let polled = reader.poll(max, Duration::from_millis(200)).unwrap();
        assert!(polled.len() <= max);
        records.extend(polled);
    }
    records
}

pub fn at(partition: i32, offset: i64) -> Position {
    Position { partition, offset }
}

/// Every partition from its beginning.
pub fn beginnings(partitions: i32) -> Vec<Position> {
    (0..partitions).map(|partition| at(partition, 0)).collect()
}

pub fn record(key: &str, value: impl Into<Vec<u8>>) -> NewRecord {
    NewRecord { key: key.to_owned(), headers: Default::default(), value: value.into(), timestamp: None }
}

/// `count` records with the numbers from 0 as values, spread over `keys` keys.
pub fn numbered(count: usize, keys: usize) -> Vec<NewRecord> {
    (0..count).map(|number| record(&format!("key-{}", number % keys), number.to_string())).collect()
}

pub fn number(record: &Record) -> usize {
    std::str::from_utf8(&record.value).unwrap().parse().unwrap()
}

pub fn by_partition(records: &[Record]) -> BTreeMap<i32, Vec<&Record>> {
    let mut partitions = BTreeMap::<i32, Vec<&Record>>::new();
    for record in records {
        partitions.entry(record.position.partition).or_default().push(record);
    }
    partitions
}

/// The records of each partition have the offsets from `first` on, one after the other.
pub fn assert_contiguous(records: &[Record], first: i64) {
    for (partition, records) in by_partition(records) {
        for (offset, record) in (first..).zip(records) {
            assert_eq!(record.position, at(partition, offset));
        }
    }
}
