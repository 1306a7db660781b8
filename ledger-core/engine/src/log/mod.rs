//! The log behind one small trait. Kafka, a table in Postgres and memory stand behind it, and one contract suite
//! passes on all three.
//!
//! What every engine keeps: records with one key stay in order; an acknowledged append is there for good; an append
//! whose answer was lost is *unknown*, so the caller sends the same record again, and duplicates can stand in the log.

use std::{collections::BTreeMap, fmt, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
pub use schemas::Position;
use schemas::{Event, Refusal};

mod headers;
pub mod kafka;
pub mod memory;
mod open;
mod partition;
pub mod postgres;

pub use headers::Headers;
pub(crate) use open::percent_decoded;
pub use open::{check, open};
pub use partition::partition_of;

/// The largest record by [`NewRecord::size`], in bytes, on every engine: Kafka's default `max.message.bytes`.
pub const RECORD_BYTES_MAX: usize = 1_048_588;

/// A poll returns early once it has gathered this many bytes, so that a reader's memory stays bounded.
const POLL_BYTES_MAX: usize = 8 << 20;

/// A record to append. The key decides the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    pub key: String,
    pub headers: Headers,
    pub value: Vec<u8>,
    /// Only heeded where the topic keeps its producers' time (simulated days); otherwise the log's own clock counts.
    pub timestamp: Option<DateTime<Utc>>,
}

impl NewRecord {
    /// The bytes of a Kafka batch that holds only this record, uncompressed. A broker compares that with its limit, so
    /// the same record is too large on every engine.
    pub fn size(&self) -> usize {
        const BATCH_HEAD: usize = 61;
        // Attributes, the deltas of timestamp and offset, and the record's own length.
        const RECORD_HEAD: usize = 8;
        let sized = |bytes: usize| varint_size(bytes) + bytes;
        let header = |(name, value): (&str, &[u8])| sized(name.len()) + sized(value.len());
        BATCH_HEAD
            + RECORD_HEAD
            + sized(self.key.len())
            + sized(self.value.len())
            + varint_size(self.headers.iter().count())
            + self.headers.iter().map(header).sum::<usize>()
    }

    /// Refuses a record that no engine takes, before anything of it is sent.
    pub fn check_size(&self, max: usize) -> Result<(), AppendError> {
        let size = self.size();
        if size > max { Err(AppendError::TooLarge { size, max }) } else { Ok(()) }
    }
}

/// The bytes of a length in the zigzag encoding of the record format.
fn varint_size(length: usize) -> usize {
    let bits = usize::BITS - length.leading_zeros() + 1;
    bits.div_ceil(7) as usize
}

/// A record as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub position: Position,
    /// The log's time of the append, in milliseconds.
    pub timestamp: DateTime<Utc>,
    pub key: Vec<u8>,
    pub headers: Headers,
    pub value: Vec<u8>,
}

impl Record {
    /// The event that it is, or why it is none.
    pub fn event(&self) -> Result<Event, Refusal> {
        Event::from_record(&self.key, self.headers.iter(), &self.value)
    }
}

/// Every record from `starts` up to `ends`, each partition's in order. Blocks until it has read them all.
///
/// # Errors
/// The log does not answer, or `each` refuses a record.
pub fn read_to<E: From<LogError>>(
    log: &dyn Log,
    topic: &str,
    starts: &[i64],
    ends: &[i64],
    mut each: impl FnMut(Record) -> Result<(), E>,
) -> Result<(), E> {
    let spans = (0..).zip(starts.iter().zip(ends)).filter(|(_, (start, end))| start < end);
    let mut left: Vec<Position> = spans.map(|(partition, (start, _))| Position { partition, offset: *start }).collect();
    let mut reader = log.reader(topic)?;
    reader.assign(&left)?;
    while !left.is_empty() {
        for record in reader.poll(1000, Duration::from_millis(500))? {
            let position = record.position;
            let end = usize::try_from(position.partition).ok().and_then(|partition| ends.get(partition)).copied();
            let end = end.unwrap_or_default();
            if position.offset < end {
                each(record)?;
            }
            left.retain(|left| left.partition != position.partition || position.offset + 1 < end);
        }
    }
    Ok(())
}

/// Why one record was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Definitely not in the log, and never will be.
    #[error("the record has {size} bytes, the log takes {max}")]
    TooLarge { size: usize, max: usize },
    /// Perhaps in the log: send the same record again.
    #[error("not acknowledged, outcome unknown: {0}")]
    Unknown(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The engine does not answer; trying again may help.
    #[error("the log does not answer: {0}; see that it runs, and that LEDGER_LOG leads to it")]
    Unavailable(String),
    #[error("the log has no topic {0}; create it with `ledger topics apply`")]
    TopicMissing(String),
    /// The log no longer (or not yet) has the offset that was asked for. Nothing is ever reset in silence.
    #[error("offset {} of partition {} is out of range: the log has {first} to {end}; restore it, and let its topics keep everything", position.offset, position.partition)]
    OutOfRange { position: Position, first: i64, end: i64 },
    #[error("{0}")]
    Misconfigured(String),
}

/// How a topic should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    pub replication: i32,
    /// Settings under Kafka's names, such as `retention.ms`.
    pub settings: BTreeMap<String, String>,
}

/// How a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Names this very topic: another cluster or a topic made anew has another identity.
    pub identity: String,
    pub partitions: i32,
    /// Copies of each record; 1 where the engine has no such notion.
    pub replication: i32,
    /// Empty where the engine has no such notion.
    pub settings: BTreeMap<String, String>,
}

/// A log engine. All methods but `append` block, and are meant for threads of their own; `append` needs a tokio runtime
/// with its clock.
pub trait Log: Send + Sync + fmt::Debug {
    /// Appends records in order and answers, one by one, where each stands. Records of one key keep their order as
    /// long as all before them were acknowledged; from the first that was not, the caller repeats.
    fn append<'a>(
        &'a self,
        topic: &'a str,
        records: Vec<NewRecord>,
    ) -> BoxFuture<'a, Vec<Result<Position, AppendError>>>;

    /// A reader that starts with no partitions: see [`Reader::assign`].
    fn reader(&self, topic: &str) -> Result<Box<dyn Reader>, LogError>;

    /// The offset after the last record of every partition, read from the engine now.
    fn ends(&self, topic: &str) -> Result<Vec<i64>, LogError>;

    /// The first offset of every partition whose record is not older than `time`; the end where there is none.
    fn offsets_at(&self, topic: &str, time: DateTime<Utc>) -> Result<Vec<i64>, LogError>;

    fn describe(&self, topic: &str) -> Result<TopicInfo, LogError>;

    /// Creates the topic, or brings the settings of an existing one to `spec`. Partitions are never changed.
    fn apply(&self, spec: &TopicSpec) -> Result<(), LogError>;
}

/// Reads partitions, each from an offset of its own.
pub trait Reader: Send {
    /// Replaces the partitions that are read, and from where.
    fn assign(&mut self, from: &[Position]) -> Result<(), LogError>;

    /// At most `max` records (fewer if they are large), each partition's in order; waits up to `wait` for the first and
    /// takes what is ready. [`LogError::OutOfRange`] and [`LogError::TopicMissing`] last until the next `assign`;
    /// after [`LogError::Unavailable`] the next poll goes on where this one stood.
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Record>, LogError>;
}
