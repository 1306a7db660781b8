//! Rows that a stream folds into: a state under a key, and which events have gone into it.
//!
//! A batch loads the rows that it touches in one query, folds in memory, and writes each changed row once. Rows stay
//! in memory for the next batches; the fence keeps that copy coherent, because no other lane can write them meanwhile.
//! The history of a row is what makes duplicates in the log harmless: an event goes into its row once.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use postgres::{GenericClient, Transaction, types::Type};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::stream::StreamError;

/// One event that has gone into a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: Uuid,
    /// Start of the digest of what two reports of the fact must agree on.
    digest: u64,
    /// Where it stands in the log; `None` for a decision of our own that has not been read back.
    pub offset: Option<i64>,
}

/// What an event is to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fresh,
    /// A decision of our own comes back from the log for the first time; it has been folded already.
    ReadBack,
    /// The same fact again.
    Repeat,
    /// The same fact again with other business fields; the first report stands.
    Conflict,
}

#[derive(Clone, Debug, Default)]
pub struct Row<S> {
    pub state: S,
    /// When time alone calls for a look at this row.
    pub due_at: Option<DateTime<Utc>>,
    partition: i32,
    history: Vec<Seen>,
    changed: bool,
    touched: u64,
}

impl<S> Row<S> {
    /// Takes note of an event read at `offset`, and says what it is to this row.
    pub fn admit(&mut self, id: Uuid, digest: Uuid, offset: i64) -> Verdict {
        let digest = short(digest);
        let Some(seen) = self.history.iter_mut().find(|seen| seen.id == id) else {
            self.history.push(Seen { id, digest, offset: Some(offset) });
            self.changed = true;
            return Verdict::Fresh;
        };
        if seen.digest != digest {
            return Verdict::Conflict;
        }
        match seen.offset {
            Some(_) => Verdict::Repeat,
            None => {
                seen.offset = Some(offset);
                self.changed = true;
                Verdict::ReadBack
            }
        }
    }

    /// Takes note of a decision that is folded before it is in the log. False when it was taken before.
    pub fn decided(&mut self, id: Uuid, digest: Uuid) -> bool {
        let new = self.history.iter().all(|seen| seen.id != id);
        if new {
            self.history.push(Seen { id, digest: short(digest), offset: None });
            self.changed = true;
        }
        new
    }

    pub fn touch(&mut self) {
        self.changed = true;
    }

    pub fn history(&self) -> &[Seen] {
        &self.history
    }

    pub fn partition(&self) -> i32 {
        self.partition
    }

    pub fn is_changed(&self) -> bool {
        self.changed
    }
}

fn short(digest: Uuid) -> u64 {
    digest.as_u64_pair().0
}

/// The rows of one table. Its columns are those of [`table_ddl`].
pub struct Store<S> {
    table: String,
    rows: HashMap<String, Row<S>>,
    batch: u64,
    rows_kept: usize,
}

/// The table of a store. `index` is left out while a rebuild fills it.
pub fn table_ddl(table: &str) -> String {
    format!(
        "create table {table} (
           key text primary key, partition int not null, due_at timestamptz, history bytea not null, state text not null)"
    )
}

pub fn due_index_ddl(table: &str, index: &str) -> String {
    format!("create index {index} on {table} (partition, due_at) where due_at is not null")
}

impl<S: Serialize + DeserializeOwned + Default> Store<S> {
    pub fn new(table: impl Into<String>, rows_kept: usize) -> Self {
        Self { table: table.into(), rows: HashMap::new(), batch: 0, rows_kept }
    }

    /// Brings the rows of these keys into memory; keys without a row are left out.
    pub fn load<'a>(
        &mut self,
        client: &mut impl GenericClient,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), StreamError> {
        self.batch += 1;
        let mut missing: Vec<&str> = keys.into_iter().filter(|key| !self.rows.contains_key(*key)).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let statement = client.prepare_typed(
            &format!("select key, partition, due_at, history, state from {} where key = any($1)", self.table),
            &[Type::TEXT_ARRAY],
        )?;
        for row in client.query(&statement, &[&missing])? {
            let state: &str = row.get(4);
            let loaded = Row {
                state: serde_json::from_str(state).map_err(|error| unreadable(&self.table, row.get(0), &error))?,
                due_at: row.get(2),
                partition: row.get(1),
                history: decode(row.get(3)),
                changed: false,
                touched: self.batch,
            };
            self.rows.insert(row.get(0), loaded);
        }
        Ok(())
    }

    /// The row of a key that has been loaded; made anew on `partition` when there was none.
    pub fn row(&mut self, key: &str, partition: i32) -> &mut Row<S> {
        if !self.rows.contains_key(key) {
            self.rows.insert(key.to_owned(), Row { partition, ..Row::default() });
        }
        let batch = self.batch;
        let row = self.rows.entry(key.to_owned()).or_default();
        row.touched = batch;
        row
    }

    pub fn get(&self, key: &str) -> Option<&Row<S>> {
        self.rows.get(key)
    }

    /// Keys of at most `limit` rows whose time has come, each by the log time of its partition, the oldest first. Looks
    /// in Postgres, so everything in memory must be written.
    pub fn due(
        &self,
        client: &mut impl GenericClient,
        log_times: &BTreeMap<i32, DateTime<Utc>>,
        limit: i64,
    ) -> Result<Vec<String>, StreamError> {
        let (partitions, times): (Vec<i32>, Vec<DateTime<Utc>>) = log_times.iter().map(|(p, t)| (*p, *t)).unzip();
        let rows = client.query(
            &format!(
                "select s.key from unnest($1::int[], $2::timestamptz[]) as l (partition, log_time)
                 join {} s on s.partition = l.partition and s.due_at <= l.log_time order by s.due_at, s.key limit $3",
                self.table
            ),
            &[&partitions, &times, &limit],
        )?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// When the next row of these partitions falls due.
    pub fn next_due(
        &self,
        client: &mut impl GenericClient,
        partitions: &[i32],
    ) -> Result<Option<DateTime<Utc>>, StreamError> {
        let sql = format!("select min(due_at) from {} where partition = any($1) and due_at is not null", self.table);
        Ok(client.query_one(&sql, &[&partitions])?.get(0))
    }

    /// Keys and rows that have changed since the last write.
    pub fn changed(&self) -> impl Iterator<Item = (&str, &Row<S>)> {
        self.rows.iter().filter(|(_, row)| row.changed).map(|(key, row)| (key.as_str(), row))
    }

    /// Writes every changed row, in the order of the keys, and forgets rows that the last batches have not touched.
    pub fn write(&mut self, tx: &mut Transaction<'_>) -> Result<(), StreamError> {
        let mut changed: Vec<(&String, &mut Row<S>)> = self.rows.iter_mut().filter(|(_, row)| row.changed).collect();
        changed.sort_unstable_by_key(|(key, _)| *key);
        let keys: Vec<&str> = changed.iter().map(|(key, _)| key.as_str()).collect();
        let partitions: Vec<i32> = changed.iter().map(|(_, row)| row.partition).collect();
        let due: Vec<Option<DateTime<Utc>>> = changed.iter().map(|(_, row)| row.due_at).collect();
        let histories: Vec<Vec<u8>> = changed.iter().map(|(_, row)| encode(&row.history)).collect();
        let states: Vec<String> = changed
            .iter()
            .map(|(key, row)| serde_json::to_string(&row.state).map_err(|error| unreadable(&self.table, key, &error)))
            .collect::<Result<_, _>>()?;
        if !keys.is_empty() {
            let statement = tx.prepare_typed(
                &format!(
                    "insert into {} (key, partition, due_at, history, state)
                     select * from unnest($1, $2, $3, $4, $5)
                     on conflict (key) do update set due_at = excluded.due_at, history = excluded.history, state = excluded.state",
                    self.table
                ),
                &[Type::TEXT_ARRAY, Type::INT4_ARRAY, Type::TIMESTAMPTZ_ARRAY, Type::BYTEA_ARRAY, Type::TEXT_ARRAY],
            )?;
            tx.execute(&statement, &[&keys, &partitions, &due, &histories, &states])?;
        }
        for (_, row) in changed {
            row.changed = false;
        }
        self.forget_idle_rows();
        Ok(())
    }

    fn forget_idle_rows(&mut self) {
        if self.rows.len() > self.rows_kept {
            let recent = self.batch.saturating_sub(2);
            self.rows.retain(|_, row| row.touched > recent);
        }
        if self.rows.len() > self.rows_kept {
            self.rows.clear();
        }
    }

    pub fn clear(&mut self) {
        self.rows.clear();
    }
}

/// A row that an older version wrote in another form: a rebuild makes it anew.
fn unreadable(table: &str, key: &str, error: &serde_json::Error) -> StreamError {
    StreamError::Fatal(format!("the row {key} of {table} cannot be read ({error}); rebuild it"))
}

const SEEN_BYTES: usize = 32;

fn encode(history: &[Seen]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(history.len() * SEEN_BYTES);
    for seen in history {
        bytes.extend_from_slice(seen.id.as_bytes());
        bytes.extend_from_slice(&seen.digest.to_be_bytes());
        bytes.extend_from_slice(&seen.offset.unwrap_or(-1).to_be_bytes());
    }
    bytes
}

/// The history of a row as it stands in its table.
pub fn decode(bytes: &[u8]) -> Vec<Seen> {
    let (entries, _) = bytes.as_chunks::<SEEN_BYTES>();
    entries
        .iter()
        .map(|entry| {
            let part = |from: usize| u64::from_be_bytes(std::array::from_fn(|i| entry[from + i]));
            let offset = part(24).cast_signed();
            Seen {
                id: Uuid::from_bytes(std::array::from_fn(|i| entry[i])),
                digest: part(16),
                offset: (offset >= 0).then_some(offset),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_goes_into_its_row_once() {
        let mut row = Row::<()>::default();
        let (id, digest, other) = (Uuid::from_u128(1), Uuid::from_u128(2 << 64), Uuid::from_u128(3 << 64));
        assert_eq!(row.admit(id, digest, 7), Verdict::Fresh);
        assert_eq!(row.admit(id, digest, 9), Verdict::Repeat);
        assert_eq!(row.admit(id, other, 10), Verdict::Conflict);
        assert_eq!(row.history().len(), 1);
    }

    #[test]
    fn a_decision_is_recognised_when_it_comes_back() {
        let mut row = Row::<()>::default();
        let (id, digest) = (Uuid::from_u128(1), Uuid::from_u128(2 << 64));
        assert!(row.decided(id, digest));
        assert!(!row.decided(id, digest));
        assert_eq!(row.admit(id, digest, 4), Verdict::ReadBack);
        assert_eq!(row.admit(id, digest, 5), Verdict::Repeat);
    }

    #[test]
    fn a_history_survives_its_table() {
        let history = vec![
            Seen { id: Uuid::from_u128(1), digest: 2, offset: Some(i64::MAX) },
            Seen { id: Uuid::from_u128(3), digest: u64::MAX, offset: None },
        ];
        assert_eq!(decode(&encode(&history)), history);
    }
}
