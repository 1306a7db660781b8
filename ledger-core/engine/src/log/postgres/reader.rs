//! Reads partitions of the table from given offsets, on a connection of its own. It looks every 50 ms, or earlier when
//! an append notifies it; records are read up to the heads, so nothing half-written is ever seen.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use postgres::{Client, Row, Statement, fallible_iterator::FallibleIterator as _};

use super::{CHANNEL, LogError, Position, Reader, Source, failed, topics};
use crate::log::{Headers, POLL_BYTES_MAX, Record};

const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A server that is away is not asked more often than this.
const RETRY_DELAY: Duration = Duration::from_millis(200);

const HEADS: &str = "SELECT partition, next_offset FROM log.head WHERE topic_id = $1 AND partition = ANY($2)";

const RECORDS: &str = r#"
    SELECT r.partition, r."offset", r."timestamp", r.key, r.headers, r.value
    FROM unnest($2::int4[], $3::int8[], $4::int8[]) AS wanted(partition, first, beyond)
    CROSS JOIN LATERAL (
        SELECT * FROM log.record
        WHERE topic_id = $1 AND partition = wanted.partition AND "offset" >= wanted.first AND "offset" < wanted.beyond
        ORDER BY "offset"
    ) AS r"#;

pub(super) struct PostgresReader {
    source: Source,
    topic: String,
    connection: Option<Connection>,
    /// The topic's number since the assignment; a topic made anew has another.
    topic_id: Option<i32>,
    /// The offset that each assigned partition goes on from.
    next: BTreeMap<i32, i64>,
    /// How many polls there have been: each starts with another partition, so that none starves.
    polls: usize,
    /// The bytes of a record lately, so that a poll does not ask for more than it may keep.
    record_bytes: usize,
    /// An error that lasts until the next assignment.
    failed: Option<LogError>,
}

struct Connection {
    client: Client,
    heads: Statement,
    records: Statement,
}

/// A part of a partition that is to be read.
struct Range {
    position: Position,
    beyond: i64,
    /// The end of the partition.
    end: i64,
}

impl Connection {
    fn open(source: &Source) -> Result<Self, postgres::Error> {
        let mut client = source.connect("reader", &format!("LISTEN {CHANNEL}"))?;
        let (heads, records) = (client.prepare(HEADS)?, client.prepare(RECORDS)?);
        Ok(Self { client, heads, records })
    }

    /// Waits until an append notifies, or for `wait`.
    fn wait(&mut self, wait: Duration) -> Result<(), postgres::Error> {
        let mut notifications = self.client.notifications();
        notifications.timeout_iter(wait).next()?;
        // One look answers all that have come by now.
        while notifications.iter().next()?.is_some() {}
        Ok(())
    }
}

impl PostgresReader {
    pub(super) fn new(source: Source, topic: &str) -> Self {
        Self {
            source,
            topic: topic.to_owned(),
            connection: None,
            topic_id: None,
            next: BTreeMap::new(),
            polls: 0,
            record_bytes: 0,
            failed: None,
        }
    }

    fn connection(&mut self) -> Result<&mut Connection, LogError> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            none => Ok(none.insert(Connection::open(&self.source).map_err(|error| failed(&error))?)),
        }
    }

    /// What is there now, without waiting.
    fn look(&mut self, max: usize) -> Result<Vec<Record>, LogError> {
        let Some(topic_id) = self.topic_id else { return Ok(Vec::new()) };
        let partitions: Vec<i32> = self.next.keys().copied().collect();
        let connection = self.connection()?;
        let rows =
            connection.client.query(&connection.heads, &[&topic_id, &partitions]).map_err(|error| failed(&error))?;
        let heads: BTreeMap<i32, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let ranges = self.ranges(&heads, max)?;
        if ranges.is_empty() { Ok(Vec::new()) } else { self.read(topic_id, &ranges) }
    }

    /// Shares out `max` records among the partitions that have some.
    fn ranges(&mut self, heads: &BTreeMap<i32, i64>, max: usize) -> Result<Vec<Range>, LogError> {
        let mut behind = Vec::new();
        for (&partition, &offset) in &self.next {
            let position = Position { partition, offset };
            match heads.get(&partition) {
                None => return Err(LogError::TopicMissing(self.topic.clone())),
                Some(&end) if !(0..=end).contains(&offset) => {
                    return Err(LogError::OutOfRange { position, first: 0, end });
                }
                Some(&end) if end > offset => behind.push(Range { position, beyond: end, end }),
                Some(_) => {}
            }
        }
        self.polls = self.polls.wrapping_add(1);
        if !behind.is_empty() {
            let first = self.polls % behind.len();
            behind.rotate_left(first);
        }
        let mut left = (POLL_BYTES_MAX / self.record_bytes.max(1)).max(1).min(max);
        let mut partitions = behind.len();
        for range in &mut behind {
            let share = left.div_ceil(partitions) as i64;
            range.beyond = range.beyond.min(range.position.offset + share);
            left -= (range.beyond - range.position.offset) as usize;
            partitions -= 1;
        }
        behind.retain(|range| range.beyond > range.position.offset);
        Ok(behind)
    }

    fn read(&mut self, topic_id: i32, ranges: &[Range]) -> Result<Vec<Record>, LogError> {
        let partitions: Vec<i32> = ranges.iter().map(|range| range.position.partition).collect();
        let first: Vec<i64> = ranges.iter().map(|range| range.position.offset).collect();
        let beyond: Vec<i64> = ranges.iter().map(|range| range.beyond).collect();
        let connection = self.connection()?;
        let wanted: [&(dyn postgres::types::ToSql + Sync); 4] = [&topic_id, &partitions, &first, &beyond];
        let mut rows = connection.client.query_raw(&connection.records, wanted).map_err(|error| failed(&error))?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while bytes < POLL_BYTES_MAX {
            let Some(row) = rows.next().map_err(|error| failed(&error))? else { break };
            let record = record(&row)?;
            bytes += record.value.len() + record.key.len();
            records.push(record);
        }
        drop(rows);
        self.advance(ranges, &records, bytes < POLL_BYTES_MAX)?;
        self.record_bytes = bytes / records.len().max(1);
        Ok(records)
    }

    /// Moves on by what was read, if it has no gap. A record that is missing was removed behind the log's back.
    fn advance(&mut self, ranges: &[Range], records: &[Record], all_were_read: bool) -> Result<(), LogError> {
        let mut next: BTreeMap<i32, i64> =
            ranges.iter().map(|range| (range.position.partition, range.position.offset)).collect();
        let gap = |partition: i32, offset: i64, first: i64| {
            let end =
                ranges.iter().find(|range| range.position.partition == partition).map_or(first, |range| range.end);
            Err(LogError::OutOfRange { position: Position { partition, offset }, first, end })
        };
        for record in records {
            let Position { partition, offset } = record.position;
            match next.get_mut(&partition) {
                Some(expected) if *expected == offset => *expected += 1,
                Some(expected) => return gap(partition, *expected, offset),
                None => {}
            }
        }
        for range in ranges.iter().filter(|_| all_were_read) {
            match next.get(&range.position.partition) {
                Some(&reached) if reached < range.beyond => return gap(range.position.partition, reached, range.end),
                _ => {}
            }
        }
        self.next.extend(next);
        Ok(())
    }
}

impl Reader for PostgresReader {
    fn assign(&mut self, from: &[Position]) -> Result<(), LogError> {
        self.failed = None;
        self.topic_id = None;
        self.next = from.iter().map(|position| (position.partition, position.offset)).collect();
        let topic = self.topic.clone();
        let found = self.connection().and_then(|connection| topics::find(&mut connection.client, &topic));
        match found {
            Ok((topic_id, _)) => {
                self.topic_id = Some(topic_id);
                Ok(())
            }
            Err(error) => {
                self.connection = None;
                Err(error)
            }
        }
    }

    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Record>, LogError> {
        let deadline = Instant::now() + wait;
        if let Some(lasting) = &self.failed {
            return Err(lasting.clone());
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.look(max) {
                Ok(records) if !records.is_empty() || left.is_zero() => return Ok(records),
                Ok(_) => {}
                Err(error @ (LogError::OutOfRange { .. } | LogError::TopicMissing(_))) => {
                    self.failed = Some(error.clone());
                    return Err(error);
                }
                Err(error) => {
                    self.connection = None;
                    thread::sleep(left.min(RETRY_DELAY));
                    return Err(error);
                }
            }
            let waited = self.connection()?.wait(left.min(LOOK_INTERVAL));
            if waited.is_err() {
                // The next look reports it, if a new connection does not help.
                self.connection = None;
            }
        }
    }
}

fn record(row: &Row) -> Result<Record, LogError> {
    let position = Position { partition: row.get(0), offset: row.get(1) };
    let broken = || LogError::Misconfigured(format!("the headers at {position:?} are broken"));
    Ok(Record {
        position,
        timestamp: row.get(2),
        key: row.get(3),
        headers: Headers::from_bytes(row.get(4)).ok_or_else(broken)?,
        value: row.get(5),
    })
}
