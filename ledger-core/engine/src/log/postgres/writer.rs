//! Appends to the table. One thread with one connection writes everything: while a transaction commits, the next one
//! fills, so many appends share one flush of the disk.

use std::{
    collections::{BTreeMap, HashMap},
    mem, thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use postgres::{Client, IsolationLevel, Row, Statement, Transaction, types::Type};
use tokio::sync::{mpsc, oneshot};

use super::{
    AppendError, CHANNEL, LogError, NewRecord, Position, Source, TIMESTAMP_TYPE, failed, passing, text, topics,
};
use crate::{
    log::{RECORD_BYTES_MAX, partition_of},
    postgres::{Copy, CopyError},
};

type Answer = Result<Position, AppendError>;

/// A transaction takes no further part once it has this much.
const TRANSACTION_RECORDS_MAX: usize = 5_000;
const TRANSACTION_BYTES_MAX: usize = 4 << 20;

/// Parts that wait for the writer; `append` pauses above it.
const QUEUE_PARTS_MAX: usize = 256;

/// How long the writer looks for a server that is away before it gives up a part as unknown.
const PATIENCE: Duration = Duration::from_secs(30);
const RETRY_DELAY_MIN: Duration = Duration::from_millis(20);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(1);

/// The handle of the writing thread, which ends when this is dropped.
pub(super) struct Writer {
    parts: mpsc::Sender<Part>,
}

/// Records of one append that go into one transaction.
struct Part {
    topic: String,
    records: Vec<NewRecord>,
    answer: oneshot::Sender<Vec<Answer>>,
}

impl Part {
    /// Its records, and their bytes.
    fn size(&self) -> (usize, usize) {
        (self.records.len(), self.records.iter().map(NewRecord::size).sum())
    }
}

impl Writer {
    pub(super) fn start(source: Source) -> Result<Self, LogError> {
        let (parts, incoming) = mpsc::channel(QUEUE_PARTS_MAX);
        let thread = thread::Builder::new().name("log writer".to_owned());
        let spawned = thread.spawn(move || Worker { source, connection: None, topics: HashMap::new() }.run(incoming));
        spawned.map_err(|error| LogError::Unavailable(error.to_string()))?;
        Ok(Self { parts })
    }

    pub(super) async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> =
            records.iter().map(|record| record.check_size(RECORD_BYTES_MAX).err().map(Err)).collect();
        let mut waiting = Vec::new();
        for records in parts(records, &answers) {
            let (answer, answered) = oneshot::channel();
            let count = records.len();
            // A writer that is gone drops the answer, which is found below.
            let _ = self.parts.send(Part { topic: topic.to_owned(), records, answer }).await;
            waiting.push((count, answered));
        }
        let mut written = Vec::with_capacity(answers.len());
        for (count, answered) in waiting {
            written.extend(answered.await.unwrap_or_else(|_| unknown(count, "the log's writer has stopped")));
        }
        let mut written = written.into_iter();
        let missing = || Err(AppendError::Unknown("no answer from the log's writer".to_owned()));
        answers.iter_mut().map(|refused| refused.take().or_else(|| written.next()).unwrap_or_else(missing)).collect()
    }
}

/// Cuts what was not refused into parts that fit a transaction.
fn parts(records: Vec<NewRecord>, refused: &[Option<Answer>]) -> Vec<Vec<NewRecord>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (record, _) in records.into_iter().zip(refused).filter(|(_, refused)| refused.is_none()) {
        bytes += record.size();
        part.push(record);
        if part.len() >= TRANSACTION_RECORDS_MAX || bytes >= TRANSACTION_BYTES_MAX {
            parts.push(mem::take(&mut part));
            bytes = 0;
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

fn unknown(count: usize, why: &str) -> Vec<Answer> {
    vec![Err(AppendError::Unknown(why.to_owned())); count]
}

/// Why a transaction did not end well.
enum Failure {
    /// Nothing of it is in the log, and another attempt may succeed.
    Again(String),
    /// Another attempt would end the same way.
    Refused(String),
    /// The server did not say whether it committed.
    Unknown(String),
}

impl Failure {
    /// A failure before the commit was sent.
    fn before_commit(error: &postgres::Error) -> Self {
        if passing(error) { Self::Again(text(error)) } else { Self::Refused(text(error)) }
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Postgres(error) => Self::before_commit(&error),
            CopyError::Value(error) => Self::Refused(error.to_string()),
        }
    }
}

struct Worker {
    source: Source,
    connection: Option<Connection>,
    /// Number and partitions of each topic; neither changes while the topic lives.
    topics: HashMap<String, (i32, i32)>,
}

impl Worker {
    fn run(mut self, mut incoming: mpsc::Receiver<Part>) {
        while let Some(first) = incoming.blocking_recv() {
            let (mut records, mut bytes) = first.size();
            let mut batch = vec![first];
            while records < TRANSACTION_RECORDS_MAX && bytes < TRANSACTION_BYTES_MAX {
                let Ok(part) = incoming.try_recv() else { break };
                let more = part.size();
                (records, bytes) = (records + more.0, bytes + more.1);
                batch.push(part);
            }
            self.answer(batch);
        }
    }

    /// Writes the parts in one transaction and answers each. Whoever stopped waiting is not told.
    fn answer(&mut self, mut batch: Vec<Part>) {
        let deadline = Instant::now() + PATIENCE;
        let mut delay = RETRY_DELAY_MIN;
        loop {
            let failure = match self.write(&mut batch) {
                Ok(positions) => {
                    let mut positions = positions.into_iter();
                    for part in batch {
                        let answers = positions.by_ref().take(part.records.len()).map(Ok).collect();
                        let _ = part.answer.send(answers);
                    }
                    return;
                }
                Err(failure) => failure,
            };
            // A connection that served a failed transaction may be broken; the next attempt gets a new one.
            self.connection = None;
            self.topics.clear();
            match failure {
                Failure::Again(why) if Instant::now() < deadline => {
                    tracing::warn!("the log's writer tries again: {why}");
                    thread::sleep(delay);
                    delay = (delay * 2).min(RETRY_DELAY_MAX);
                }
                Failure::Again(why) | Failure::Refused(why) | Failure::Unknown(why) => {
                    for part in batch {
                        let _ = part.answer.send(unknown(part.records.len(), &why));
                    }
                    return;
                }
            }
        }
    }

    /// Writes what can be written. Parts for a topic that is missing are answered here and leave the batch.
    fn write(&mut self, batch: &mut Vec<Part>) -> Result<Vec<Position>, Failure> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(&self.source)?),
        };
        for part in batch.iter() {
            if self.topics.contains_key(&part.topic) {
                continue;
            }
            match topics::find(&mut connection.client, &part.topic) {
                Ok(found) => drop(self.topics.insert(part.topic.clone(), found)),
                Err(LogError::Unavailable(why)) => return Err(Failure::Again(why)),
                Err(LogError::TopicMissing(_)) => {}
                Err(error) => return Err(Failure::Refused(error.to_string())),
            }
        }
        for part in batch.extract_if(.., |part| !self.topics.contains_key(&part.topic)) {
            let why = LogError::TopicMissing(part.topic).to_string();
            let _ = part.answer.send(unknown(part.records.len(), &why));
        }
        let placed = batch.iter().flat_map(|part| {
            let (topic_id, partitions) = self.topics.get(&part.topic).copied().unwrap_or_default();
            part.records.iter().map(move |record| {
                (Head { topic_id, partition: partition_of(record.key.as_bytes(), partitions) }, record)
            })
        });
        connection.append(&placed.collect::<Vec<_>>())
    }
}

/// A partition of a topic; heads are locked in this order, so that two writers never wait for each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    topic_id: i32,
    partition: i32,
}

/// What a locked head gives to the records that were waiting for it.
struct Given {
    offset: i64,
    time: DateTime<Utc>,
    /// The topic keeps its producers' time.
    producers_time: bool,
}

struct Connection {
    client: Client,
    lock: Statement,
    advance: Statement,
    copy: Statement,
}

/// An acknowledged append is on disk. Whoever waits for the heads looks after a while whether another append hangs.
const SESSION: &str = "
    SET idle_in_transaction_session_timeout = '10s';
    SET lock_timeout = '5s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Ends appends that have hung for so long that their process must be frozen. In the middle of a COPY no timeout of
/// Postgres does.
const END_HANGING: &str = "
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = current_setting('application_name')
      AND wait_event_type = 'Client' AND xact_start < clock_timestamp() - interval '10 seconds'";

const LOCK: &str = "
    SELECT FROM log.head WHERE (topic_id, partition) IN (SELECT * FROM unnest($1::int4[], $2::int4[]))
    ORDER BY topic_id, partition FOR UPDATE";

/// Runs under the locks, so the clock is read after whoever held them before has committed.
const ADVANCE: &str = "
    UPDATE log.head AS h
    SET next_offset = next_offset + wanted.records,
        last_timestamp = greatest(last_timestamp, date_trunc('milliseconds', clock_timestamp()))
    FROM unnest($1::int4[], $2::int4[], $3::int8[]) AS wanted(topic_id, partition, records) JOIN log.topic AS t USING (topic_id)
    WHERE h.topic_id = wanted.topic_id AND h.partition = wanted.partition
    RETURNING h.topic_id, h.partition, next_offset - wanted.records, last_timestamp,
              coalesce(t.settings ->> $4 = 'CreateTime', false), pg_notify($5, '')";

const COPY: &str =
    r#"COPY log.record (topic_id, partition, "offset", "timestamp", key, headers, value) FROM STDIN (FORMAT binary)"#;
const COPY_TYPES: &[Type] =
    &[Type::INT4, Type::INT4, Type::INT8, Type::TIMESTAMPTZ, Type::BYTEA, Type::BYTEA, Type::BYTEA];

impl Connection {
    fn open(source: &Source) -> Result<Self, Failure> {
        let mut client = source.connect("writer", SESSION).map_err(|error| match failed(&error) {
            LogError::Misconfigured(why) => Failure::Refused(why),
            error => Failure::Again(error.to_string()),
        })?;
        client.batch_execute(END_HANGING).map_err(|error| Failure::before_commit(&error))?;
        let mut prepare = |sql| client.prepare(sql).map_err(|error| Failure::before_commit(&error));
        let (lock, advance, copy) = (prepare(LOCK)?, prepare(ADVANCE)?, prepare(COPY)?);
        Ok(Self { client, lock, advance, copy })
    }

    /// One transaction: lock the heads, take offsets and time from them, copy the records in, commit.
    fn append(&mut self, records: &[(Head, &NewRecord)]) -> Result<Vec<Position>, Failure> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let mut wanted = BTreeMap::<Head, i64>::new();
        for (head, _) in records {
            *wanted.entry(*head).or_default() += 1;
        }
        // With a coarser isolation the heads could be older than the locks.
        let transaction = self.client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start();
        let mut transaction = transaction.map_err(|error| Failure::before_commit(&error))?;
        let given = advance(&mut transaction, &self.lock, &self.advance, &wanted)
            .map_err(|error| Failure::before_commit(&error))?;
        if given.len() < wanted.len() {
            return Err(Failure::Again("a topic was removed".to_owned()));
        }
        let positions = copy(&mut transaction, &self.copy, records, given)?;
        transaction
            .commit()
            .map_err(|error| Failure::Unknown(format!("the commit was not answered: {}", text(&error))))?;
        Ok(positions)
    }
}

fn advance(
    transaction: &mut Transaction<'_>,
    lock: &Statement,
    advance: &Statement,
    wanted: &BTreeMap<Head, i64>,
) -> Result<HashMap<(i32, i32), Given>, postgres::Error> {
    let topic_ids: Vec<i32> = wanted.keys().map(|head| head.topic_id).collect();
    let partitions: Vec<i32> = wanted.keys().map(|head| head.partition).collect();
    let records: Vec<i64> = wanted.values().copied().collect();
    transaction.execute(lock, &[&topic_ids, &partitions])?;
    let rows = transaction.query(advance, &[&topic_ids, &partitions, &records, &TIMESTAMP_TYPE, &CHANNEL])?;
    let given = |row: &Row| {
        ((row.get(0), row.get(1)), Given { offset: row.get(2), time: row.get(3), producers_time: row.get(4) })
    };
    Ok(rows.iter().map(given).collect())
}

/// Writes the records, and answers where each stands.
fn copy(
    transaction: &mut Transaction<'_>,
    statement: &Statement,
    records: &[(Head, &NewRecord)],
    mut given: HashMap<(i32, i32), Given>,
) -> Result<Vec<Position>, CopyError> {
    let mut copy = Copy::begin(transaction, statement, COPY_TYPES)?;
    let mut positions = Vec::with_capacity(records.len());
    for (head, record) in records {
        let Some(given) = given.get_mut(&(head.topic_id, head.partition)) else { continue };
        let position = Position { partition: head.partition, offset: given.offset };
        given.offset += 1;
        let time = record.timestamp.filter(|_| given.producers_time).and_then(whole_milliseconds).unwrap_or(given.time);
        let (key, headers) = (record.key.as_bytes(), record.headers.as_bytes());
        copy.write(&[&head.topic_id, &position.partition, &position.offset, &time, &key, &headers, &record.value])?;
        positions.push(position);
    }
    copy.finish()?;
    Ok(positions)
}

/// A producer's time, unless it is one that only a broken clock has; Postgres would refuse some of those.
fn whole_milliseconds(time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    const YEAR_10000_MS: i64 = 253_402_300_800_000;
    let time_ms = time.timestamp_millis();
    (0..YEAR_10000_MS).contains(&time_ms).then(|| DateTime::from_timestamp_millis(time_ms)).flatten()
}
