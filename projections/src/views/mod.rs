//! One file per view: its table, and how it is written from what a batch has changed. Amounts stand in whole fen here;
//! the public views in `finance` show yuan.

use engine::{store::Row, stream::StreamError};
use postgres::Transaction;
use rules::{policy::Policy, stream::StreamState};

use crate::projector::State;

/// Gives rows to a statement column by column, in the order in which they come, in one trip to Postgres.
macro_rules! columns {
    ($rows:expr, $tx:expr, $sql:literal, $(($name:ident: $type:ident = $value:expr)),+ $(,)?) => {{
        $(let mut $name = Vec::with_capacity($rows.len());)+
        for row in $rows {
            $($name.push($value(row));)+
        }
        $tx.execute_typed($sql, &[$((&$name, Type::$type)),+])
    }};
}

mod balances;
mod breaks;
pub(crate) mod cards;
pub(crate) mod contract_status;
mod dead_letters;
pub(crate) mod fees;
mod journal;
mod mandates;
pub(crate) mod orders;
mod refunds;
pub(crate) mod settlements;

/// A table that is written from the events of a batch, or from what is true of a row now.
pub(crate) struct Table {
    pub name: &'static str,
    pub ddl: &'static str,
}

pub(crate) const TABLES: &[Table] = &[
    settlements::DAYS,
    journal::TABLE,
    balances::TABLE,
    breaks::TABLE,
    dead_letters::TABLE,
    refunds::TABLE,
    mandates::TABLE,
    fees::ITEMS,
];

/// The stores that the projector folds into. Most are views themselves: a row says what its state means.
pub(crate) const STORES: &[&str] =
    &[orders::NAME, contract_status::NAME, cards::NAME, fees::ACCOUNTS, settlements::BATCHES, CHANNEL_EVENTS];

/// Which events about channels as a whole have been seen.
pub(crate) const CHANNEL_EVENTS: &str = "channel_events";

/// Indexes that a rebuild leaves for last.
pub(crate) const INDEXES: &[&[&str]] = &[orders::INDEXES, journal::INDEXES];

/// Writes what the batch brought. Views read which rows have changed, so the stores are written afterwards.
pub(crate) fn write(tx: &mut Transaction<'_>, state: &State, policy: &Policy) -> Result<(), StreamError> {
    settlements::write_days(tx, state, policy)?;
    journal::write(tx, state)?;
    balances::write(tx, state)?;
    breaks::write(tx, state, policy)?;
    refunds::write(tx, state)?;
    mandates::write(tx, state)?;
    fees::write(tx, state)?;
    dead_letters::write(tx, state)
}

/// How many records of a stream cannot be read and wait for a person.
fn unread(state: &StreamState) -> i32 {
    i32::try_from(state.unread.len()).unwrap_or(i32::MAX)
}

/// Where the log last changed a row.
fn last_offset<S>(row: &Row<S>) -> i64 {
    row.history().iter().filter_map(|seen| seen.offset).max().unwrap_or(-1)
}
