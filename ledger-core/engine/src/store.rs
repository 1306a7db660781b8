//! Rows that a stream folds into: a state under a key, and which events have gone into it.
//!
//! A batch loads the rows that it touches in one query, folds in memory, and writes each changed row once. Rows stay
//! in memory for the next batches; the fence keeps that copy coherent, because no other lane can write them meanwhile.
//! The history of a row is what makes duplicates in the log harmless: an event goes into its row once.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use postgres::{
    GenericClient, Statement, Transaction,
    types::{Kind, ToSql, Type},
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{postgres::Copy, stream::StreamError};

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
    due_at: Option<DateTime<Utc>>,
    partition: i32,
    history: Vec<Seen>,
    /// Whether the table has it, in this form or an earlier one.
    stored: bool,
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
            // Not worth a write: whoever forgets it will only read the decision back once more.
            None => {
                seen.offset = Some(offset);
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

    pub fn set_due(&mut self, due_at: Option<DateTime<Utc>>) {
        self.changed |= self.due_at != due_at;
        self.due_at = due_at;
    }

    pub fn history(&self) -> &[Seen] {
        &self.history
    }

    pub fn partition(&self) -> i32 {
        self.partition
    }
}

fn short(digest: Uuid) -> u64 {
    digest.as_u64_pair().0
}

/// A column that says in SQL what the state of a row means.
pub struct Column<S> {
    name: &'static str,
    declaration: &'static str,
    value: Box<Value<S>>,
    values: Box<Values<S>>,
}

type Value<S> = dyn Fn(&str, &Row<S>) -> Box<dyn ToSql + Sync> + Send;
/// One value for each row, as an array of SQL.
type Values<S> = dyn Fn(&[(&str, &Row<S>)]) -> Box<dyn ToSql + Sync> + Send;

impl<S> Column<S> {
    /// `declaration` is its type as SQL says it, such as `text not null`.
    pub fn new<T>(name: &'static str, declaration: &'static str, value: fn(&str, &Row<S>) -> T) -> Self
    where
        S: 'static,
        T: ToSql + Sync + 'static,
    {
        let values = move |rows: &[(&str, &Row<S>)]| -> Box<dyn ToSql + Sync> {
            Box::new(rows.iter().map(|(key, row)| value(key, row)).collect::<Vec<T>>())
        };
        let value = move |key: &str, row: &Row<S>| -> Box<dyn ToSql + Sync> { Box::new(value(key, row)) };
        Self { name, declaration, value: Box::new(value), values: Box::new(values) }
    }

    fn sql_type(&self) -> &str {
        self.declaration.split(' ').next().unwrap_or_default()
    }
}

/// The rows of one table, which has a key, a partition, a due time, a history, a state, and columns of its own.
pub struct Store<S> {
    table: String,
    columns: Vec<Column<S>>,
    /// Boxed, because a table of states of a kilobyte each is dear to grow.
    rows: HashMap<String, Box<Row<S>>, RandomState>,
    batch: u64,
    rows_kept: usize,
    /// No row falls due before.
    next_due: Option<DateTime<Utc>>,
    /// The statement that writes, of the connection in use.
    upsert: Option<Statement>,
}

impl<S: Serialize + DeserializeOwned + Default> Store<S> {
    pub fn new(table: impl Into<String>, columns: Vec<Column<S>>, rows_kept: usize) -> Self {
        let (rows, table) = (HashMap::default(), table.into());
        Self { table, columns, rows, batch: 0, rows_kept, next_due: None, upsert: None }
    }

    /// How its table is made. A page with some room lets the next version of a row stay beside this one; more room than for
    /// one of them costs more than it saves.
    pub fn table_ddl(&self) -> String {
        let columns: String = self.columns.iter().map(|c| format!(", {} {}", c.name, c.declaration)).collect();
        format!(
            "create table {} (key text collate \"C\" primary key, partition int not null, due_at timestamptz, history bytea not null,
             state text not null{columns}) with (fillfactor = 80)",
            self.table
        )
    }

    /// The columns in the order in which values are given.
    fn names(&self) -> String {
        let own: String = self.columns.iter().map(|column| format!(", {}", column.name)).collect();
        format!("key, partition, due_at, history, state{own}")
    }

    /// An upsert although the rows are there: it goes by the key, whatever the planner believes of the table.
    fn upsert_sql(&self) -> String {
        let (own, names) = (&self.columns, self.names());
        let set: String = own.iter().map(|column| format!(", {0} = excluded.{0}", column.name)).collect();
        let arrays: String = (6..).zip(own).map(|(n, column)| format!(", ${n}::{}[]", column.sql_type())).collect();
        format!(
            "insert into {} ({names})
             select * from unnest($1::text[], $2::int[], $3::timestamptz[], $4::bytea[], $5::text[]{arrays})
             on conflict (key) do update
             set due_at = excluded.due_at, history = excluded.history, state = excluded.state{set}",
            self.table
        )
    }

    /// Begins a batch: forgets rows that the last ones have not touched. From here on, what is in memory stays there.
    pub fn begin_batch(&mut self) {
        self.batch += 1;
        if self.rows.len() > self.rows_kept {
            let recent = self.batch.saturating_sub(2);
            self.rows.retain(|_, row| row.touched >= recent);
        }
        if self.rows.len() > self.rows_kept {
            self.rows.clear();
        }
    }

    /// Brings the rows of these keys into memory; keys without a row are left out.
    pub fn load<'a>(
        &mut self,
        client: &mut impl GenericClient,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), StreamError> {
        let mut missing: Vec<&str> = keys.into_iter().filter(|key| !self.rows.contains_key(*key)).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let sql = format!("select key, partition, due_at, history, state from {} where key = any($1)", self.table);
        for row in client.query_typed(&sql, &[(&missing, Type::TEXT_ARRAY)])? {
            let state: &str = row.get(4);
            let loaded = Row {
                state: serde_json::from_str(state).map_err(|error| unreadable(&self.table, row.get(0), &error))?,
                due_at: row.get(2),
                partition: row.get(1),
                history: decode(row.get(3)),
                stored: true,
                changed: false,
                touched: self.batch,
            };
            self.rows.insert(row.get(0), Box::new(loaded));
        }
        Ok(())
    }

    /// The row of a key that has been loaded; made anew on `partition` when there was none.
    pub fn row(&mut self, key: &str, partition: i32) -> &mut Row<S> {
        let new = || Box::new(Row { partition, changed: true, ..Row::default() });
        let row = self.rows.entry(key.to_owned()).or_insert_with(new);
        row.touched = self.batch;
        row
    }

    pub fn get(&self, key: &str) -> Option<&Row<S>> {
        self.rows.get(key).map(|row| &**row)
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

    /// False when no row can be due at these times, so that nobody has to ask.
    pub fn may_be_due(&self, log_times: &BTreeMap<i32, DateTime<Utc>>) -> bool {
        log_times.values().any(|time| self.next_due.is_some_and(|due| due <= *time))
    }

    /// No row falls due before this time. It may be too early, because rows change their minds.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.next_due
    }

    /// Asks the table when the next row of these partitions falls due.
    pub fn look_up_next_due(&mut self, client: &mut impl GenericClient, partitions: &[i32]) -> Result<(), StreamError> {
        let sql = format!("select min(due_at) from {} where partition = any($1) and due_at is not null", self.table);
        self.next_due = client.query_one(&sql, &[&partitions])?.get(0);
        Ok(())
    }

    /// Keys and rows that have changed since the last write.
    pub fn changed(&self) -> impl Iterator<Item = (&str, &Row<S>)> {
        self.rows.iter().filter(|(_, row)| row.changed).map(|(key, row)| (key.as_str(), &**row))
    }

    /// Writes every changed row, in the order of the keys. New ones are copied in, which is cheaper.
    pub fn write(&mut self, tx: &mut Transaction<'_>) -> Result<(), StreamError> {
        let mut changed: Vec<(&str, &Row<S>)> = self.changed().collect();
        if changed.is_empty() {
            return Ok(());
        }
        changed.sort_unstable_by_key(|(key, _)| *key);
        let upsert = match &self.upsert {
            Some(upsert) => upsert.clone(),
            None => tx.prepare(&self.upsert_sql())?,
        };
        let (known, new): (Vec<_>, Vec<_>) = changed.iter().partition(|(_, row)| row.stored);
        if !new.is_empty() {
            self.insert(tx, &new, &upsert)?;
        }
        for rows in known.chunks(ROWS_AT_ONCE) {
            self.update(tx, rows, &upsert)?;
        }
        let due = changed.iter().filter_map(|(_, row)| row.due_at);
        (self.next_due, self.upsert) = (due.chain(self.next_due).min(), Some(upsert));
        for row in self.rows.values_mut() {
            (row.stored, row.changed) = (true, false);
        }
        Ok(())
    }

    fn insert(
        &self,
        tx: &mut Transaction<'_>,
        rows: &[(&str, &Row<S>)],
        upsert: &Statement,
    ) -> Result<(), StreamError> {
        let types: Vec<Type> = upsert.params().iter().filter_map(element).collect();
        let sql = format!("copy {} ({}) from stdin binary", self.table, self.names());
        let mut copy = Copy::begin(tx, &sql, &types)?;
        for (key, row) in rows {
            let (history, state) = (encode(&row.history), self.to_json(key, row)?);
            let own: Vec<_> = self.columns.iter().map(|column| (column.value)(key, row)).collect();
            let mut values: Vec<&(dyn ToSql + Sync)> = vec![key, &row.partition, &row.due_at, &history, &state];
            values.extend(own.iter().map(|value| &**value));
            copy.write(&values)?;
        }
        copy.finish()?;
        Ok(())
    }

    fn update(
        &self,
        tx: &mut Transaction<'_>,
        rows: &[(&str, &Row<S>)],
        upsert: &Statement,
    ) -> Result<(), StreamError> {
        let keys: Vec<&str> = rows.iter().map(|(key, _)| *key).collect();
        let partitions: Vec<i32> = rows.iter().map(|(_, row)| row.partition).collect();
        let due: Vec<Option<DateTime<Utc>>> = rows.iter().map(|(_, row)| row.due_at).collect();
        let histories: Vec<Vec<u8>> = rows.iter().map(|(_, row)| encode(&row.history)).collect();
        let states: Vec<String> = rows.iter().map(|(key, row)| self.to_json(key, row)).collect::<Result<_, _>>()?;
        let own: Vec<_> = self.columns.iter().map(|column| (column.values)(rows)).collect();
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&keys, &partitions, &due, &histories, &states];
        values.extend(own.iter().map(|column| &**column));
        tx.execute(upsert, &values)?;
        Ok(())
    }

    fn to_json(&self, key: &str, row: &Row<S>) -> Result<String, StreamError> {
        to_json(&row.state).map_err(|error| unreadable(&self.table, key, &error))
    }

    /// Forgets everything, also the connection that was in use.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.upsert = None;
    }
}

/// The type whose array this is.
fn element(array: &Type) -> Option<Type> {
    if let Kind::Array(element) = array.kind() { Some(element.clone()) } else { None }
}

/// Rows of one statement. A batch has thousands, and all at once would take megabytes on both sides.
const ROWS_AT_ONCE: usize = 500;

/// Room for most states, so that their text need not grow.
const STATE_BYTES: usize = 1536;

fn to_json(state: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = Vec::with_capacity(STATE_BYTES);
    serde_json::to_writer(&mut text, state)?;
    String::from_utf8(text).map_err(serde::ser::Error::custom)
}

/// A row that an older version wrote in another form: a rebuild makes it anew.
fn unreadable(table: &str, key: &str, error: &serde_json::Error) -> StreamError {
    StreamError::Fatal(format!(
        "the row {key} of {table} cannot be read ({error}); make it anew with `ledger rebuild`, or `ledger rebuild --coordinator` for the coordinator's"
    ))
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
