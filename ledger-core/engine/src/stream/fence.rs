//! The fence: one row for each partition of a projection, with its next offset, its epoch and its lease.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use postgres::{Client, Transaction, types::Type};
use uuid::Uuid;

use super::{LaneConfig, StreamError};
use crate::{
    log::{Position, Record, TopicInfo},
    postgres::QueryError,
};

/// How long a batch of a lane that lost its lease may sit idle in its transaction before its backend is ended.
const ZOMBIE_PATIENCE_S: f64 = 3.0;

pub(super) fn application_name(projection: &str) -> String {
    format!("ledger {projection}")
}

#[derive(Debug)]
struct Held {
    epoch: i64,
    /// What Postgres has.
    committed: i64,
    /// What the batch in hand leads to.
    next: i64,
    log_time: DateTime<Utc>,
}

/// The partitions that one lane holds.
pub(super) struct Fence {
    worker: Uuid,
    projection: String,
    identity: String,
    partitions: usize,
    lease: Duration,
    held: BTreeMap<i32, Held>,
    tended: Option<Instant>,
}

impl Fence {
    /// Makes the rows where there are none, and refuses a log that is not the one they were made for.
    pub fn open(client: &mut Client, config: &LaneConfig, topic: &TopicInfo) -> Result<Self, StreamError> {
        // Only what is missing: an insert that meets a row would wait for a zombie that has it in its batch.
        client.execute(
            "insert into engine.fence (projection, partition, log_identity)
             select $1, p, $2 from generate_series(0, $3 - 1) p
             where not exists (select from engine.fence f where f.projection = $1 and f.partition = p)
             on conflict do nothing",
            &[&config.projection, &topic.identity, &topic.partitions],
        )?;
        check_log(client, &config.projection, &topic.identity)?;
        let known =
            client.query_one("select count(*) from engine.fence where projection = $1", &[&config.projection])?;
        let count: i64 = known.get(0);
        if count != i64::from(topic.partitions) {
            return Err(StreamError::Fatal(format!(
                "{} knows {count} partitions, the topic {} has {}: order depends on their number, which may never change: restore the topic, or set LEDGER_TOPIC_PREFIX and an empty database",
                config.projection, config.topic, topic.partitions
            )));
        }
        Ok(Self {
            worker: Uuid::new_v4(),
            projection: config.projection.clone(),
            identity: topic.identity.clone(),
            partitions: usize::try_from(topic.partitions).unwrap_or(0),
            lease: config.lease,
            held: BTreeMap::new(),
            tended: None,
        })
    }

    /// Renews the leases, and moves towards a fair share of the partitions. True when the share has changed.
    pub fn tend(&mut self, client: &mut Client) -> Result<bool, StreamError> {
        if self.tended.is_some_and(|at| at.elapsed() < self.lease / 5) {
            return Ok(false);
        }
        let first = self.tended.replace(Instant::now()).is_none();
        let workers = self.renew(client)?;
        let share = self.partitions.div_ceil(workers.max(1));
        let before = self.partitions();
        if self.held.len() > share {
            let surplus: Vec<i32> = self.held.keys().skip(share).copied().collect();
            self.give_back(client, &surplus)?;
        } else if self.held.len() < share {
            self.claim(client, share - self.held.len())?;
        }
        Ok(first || before != self.partitions())
    }

    /// Says that this worker lives; answers how many do.
    fn renew(&mut self, client: &mut Client) -> Result<usize, StreamError> {
        let lease_s = self.lease.as_secs_f64();
        let row = client.query_one(
            "with me as (
               insert into engine.worker (projection, id, seen_at) values ($1, $2, clock_timestamp())
               on conflict (projection, id) do update set seen_at = excluded.seen_at),
             gone as (
               delete from engine.worker where projection = $1 and id <> $2
                 and seen_at < clock_timestamp() - make_interval(secs => $3)),
             kept as (
               update engine.fence set lease_until = clock_timestamp() + make_interval(secs => $3)
               where projection = $1 and owner = $2 returning partition)
             select (select count(*) from engine.worker where projection = $1 and id <> $2
                       and seen_at >= clock_timestamp() - make_interval(secs => $3)),
                    (select coalesce(array_agg(partition), '{}') from kept)",
            &[&self.projection, &self.worker, &lease_s],
        )?;
        let (others, kept): (i64, Vec<i32>) = (row.get(0), row.get(1));
        if self.held.keys().any(|partition| !kept.contains(partition)) {
            return Err(StreamError::Fenced);
        }
        Ok(usize::try_from(others).unwrap_or(0) + 1)
    }

    /// Takes partitions that nobody holds. The update waits for nobody: a row that is locked is in the hands of a
    /// living batch, or of a zombie that is ended when it has sat there for too long.
    fn claim(&mut self, client: &mut Client, wanted: usize) -> Result<(), StreamError> {
        self.end_zombies(client)?;
        let rows = client.query(
            "update engine.fence set owner = $2, epoch = epoch + 1, backend_pid = pg_backend_pid(),
                    lease_until = clock_timestamp() + make_interval(secs => $3)
             where projection = $1 and partition in (
               select partition from engine.fence
               where projection = $1 and (owner is null or lease_until < clock_timestamp())
               order by partition limit $4 for update skip locked)
             returning partition, epoch, next_offset, log_time, log_identity",
            &[&self.projection, &self.worker, &self.lease.as_secs_f64(), &i64::try_from(wanted).unwrap_or(i64::MAX)],
        )?;
        for row in rows {
            let identity: String = row.get("log_identity");
            if identity != self.identity {
                return Err(StreamError::Passing("the fence was made anew".to_owned()));
            }
            let next: i64 = row.get("next_offset");
            let held = Held { epoch: row.get("epoch"), committed: next, next, log_time: row.get("log_time") };
            self.held.insert(row.get("partition"), held);
        }
        Ok(())
    }

    /// Ends backends that hold a fence row in a transaction in which nothing happens any more: they wait for a client
    /// that sends no next statement, no more rows of its COPY, or takes no more of an answer.
    fn end_zombies(&self, client: &mut Client) -> Result<(), StreamError> {
        client.execute(
            "select pg_terminate_backend(a.pid) from engine.fence f join pg_stat_activity a on a.pid = f.backend_pid
             where f.projection = $1 and f.lease_until < clock_timestamp() and a.application_name = $2
               and a.xact_start is not null and a.wait_event_type = 'Client'
               and a.state_change < clock_timestamp() - make_interval(secs => $3)",
            &[&self.projection, &application_name(&self.projection), &ZOMBIE_PATIENCE_S],
        )?;
        Ok(())
    }

    fn give_back(&mut self, client: &mut Client, partitions: &[i32]) -> Result<(), StreamError> {
        client.execute(
            "update engine.fence set owner = null, lease_until = null
             where projection = $1 and owner = $2 and partition = any($3)",
            &[&self.projection, &self.worker, &partitions],
        )?;
        self.held.retain(|partition, _| !partitions.contains(partition));
        Ok(())
    }

    /// Lets go of everything, so that others need not wait for the lease to run out.
    pub fn release(&mut self, client: &mut Client) -> Result<(), StreamError> {
        let all = self.partitions();
        self.give_back(client, &all)?;
        client.execute(
            "delete from engine.worker where projection = $1 and id = $2",
            &[&self.projection, &self.worker],
        )?;
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether everything before `until` has been read; only a lane that holds every partition can say so.
    pub fn has_reached(&self, until: &[i64]) -> bool {
        (0..).zip(until).all(|(partition, end)| self.held.get(&partition).is_some_and(|held| held.next >= *end))
    }

    pub fn partitions(&self) -> Vec<i32> {
        self.held.keys().copied().collect()
    }

    pub fn positions(&self) -> Vec<Position> {
        self.held.iter().map(|(partition, held)| Position { partition: *partition, offset: held.next }).collect()
    }

    pub fn log_times(&self) -> BTreeMap<i32, DateTime<Utc>> {
        self.held.iter().map(|(partition, held)| (*partition, held.log_time)).collect()
    }

    /// Takes note of what is about to be applied. Log time never goes back.
    pub fn read(&mut self, records: &[Record]) {
        for record in records {
            if let Some(held) = self.held.get_mut(&record.position.partition) {
                held.next = record.position.offset + 1;
                held.log_time = held.log_time.max(record.timestamp);
            }
        }
    }

    /// Takes note of ends that were fetched at `as_of`. True when any partition's log time has moved.
    pub fn reached(&mut self, ends: &[i64], as_of: DateTime<Utc>) -> bool {
        let mut moved = false;
        for (partition, held) in &mut self.held {
            let end = usize::try_from(*partition).ok().and_then(|index| ends.get(index));
            if end.is_some_and(|end| held.next >= *end) && held.log_time < as_of {
                held.log_time = as_of;
                moved = true;
            }
        }
        moved
    }

    /// The first statement of every batch: moves every partition that has something new, or finds out that another
    /// lane has it.
    pub fn advance(&mut self, tx: &mut Transaction<'_>) -> Result<(), StreamError> {
        let count = self.held.len();
        let mut columns = (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut next, mut times) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (partition, held) in &self.held {
            columns.0.push(*partition);
            columns.1.push(held.epoch);
            columns.2.push(held.committed);
            next.push(held.next);
            times.push(held.log_time);
        }
        let lease_s = self.lease.as_secs_f64();
        let moved = tx.execute_typed(
            "update engine.fence f set next_offset = v.next, log_time = v.log_time,
                    lease_until = clock_timestamp() + make_interval(secs => $7)
             from unnest($2, $3, $4, $5, $6) as v (partition, epoch, expected, next, log_time)
             where f.projection = $1 and f.partition = v.partition and f.epoch = v.epoch and f.next_offset = v.expected",
            &[
                (&self.projection, Type::TEXT),
                (&columns.0, Type::INT4_ARRAY),
                (&columns.1, Type::INT8_ARRAY),
                (&columns.2, Type::INT8_ARRAY),
                (&next, Type::INT8_ARRAY),
                (&times, Type::TIMESTAMPTZ_ARRAY),
                (&lease_s, Type::FLOAT8),
            ],
        )?;
        if moved != count as u64 {
            return Err(StreamError::Fenced);
        }
        for held in self.held.values_mut() {
            // Should the commit fail, the whole session is dropped and Postgres is asked again.
            held.committed = held.next;
        }
        Ok(())
    }
}

/// Refuses a log that is not the one from which the projection was built; offsets of one mean nothing in another.
pub fn check_log(client: &mut Client, projection: &str, identity: &str) -> Result<(), StreamError> {
    let sql = "select max(log_identity) from engine.fence where projection = $1 and log_identity <> $2";
    match client.query_one(sql, &[&projection, &identity])?.get::<_, Option<String>>(0) {
        None => Ok(()),
        Some(other) => Err(StreamError::Fatal(format!(
            "{projection} was built from the log {other}, but LEDGER_LOG and LEDGER_TOPIC_PREFIX now lead to another \
             log, {identity}: point them back; or choose another data folder (LEDGER_DATA_DIR) or database \
             (LEDGER_POSTGRES_URL) for this log, where everything is built anew from it"
        ))),
    }
}

/// How far a projection has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// By partition: the next offset to read.
    pub next_offsets: BTreeMap<i32, i64>,
}

impl Progress {
    pub fn includes(&self, position: Position) -> bool {
        self.next_offsets.get(&position.partition).is_some_and(|next| *next > position.offset)
    }

    /// How many records stand before `ends` that it has not read.
    pub fn behind(&self, ends: &[i64]) -> i64 {
        let next = |partition| self.next_offsets.get(&partition).copied().unwrap_or(0);
        (0..).zip(ends).map(|(partition, end)| (end - next(partition)).max(0)).sum()
    }

    pub fn has_reached(&self, ends: &[i64]) -> bool {
        self.behind(ends) == 0
    }
}

pub async fn progress(pool: &Pool, projection: &str) -> Result<Progress, QueryError> {
    let client = pool.get().await?;
    let statement =
        client.prepare_cached("select partition, next_offset from engine.fence where projection = $1").await?;
    let rows = client.query(&statement, &[&projection]).await?;
    Ok(Progress { next_offsets: rows.iter().map(|row| (row.get(0), row.get(1))).collect() })
}

/// How many partitions of a projection a living worker holds, and how many there are.
pub async fn held(pool: &Pool, projection: &str) -> Result<(i64, i64), QueryError> {
    let sql = "select count(*) filter (where lease_until > clock_timestamp()), count(*)
               from engine.fence where projection = $1";
    let row = pool.get().await?.query_one(sql, &[&projection]).await?;
    Ok((row.get(0), row.get(1)))
}

/// Waits until a projection includes what stands at `position`; false when `timeout` is over first.
pub async fn wait_until_applied(
    pool: &Pool,
    projection: &str,
    position: Position,
    timeout: Duration,
) -> Result<bool, QueryError> {
    let until = Instant::now() + timeout;
    loop {
        if progress(pool, projection).await?.includes(position) {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[cfg(test)]
mod tests;
