//! The journal: every leg of every posting, only ever appended.

use chrono::{DateTime, Utc};
use engine::{postgres::Copy, stream::StreamError};
use postgres::{Transaction, types::Type};

use super::Table;
use crate::projector::State;

pub(super) const TABLE: Table = Table {
    name: "journal",
    ddl: "create table journal (
        partition int, \"offset\" bigint, leg smallint, event_id uuid not null, event_type text not null, subject text not null,
        account int not null, owner text not null, amount_fen bigint not null, occurred_at timestamptz not null,
        recorded_at timestamptz not null, primary key (partition, \"offset\", leg))",
};

pub(super) const INDEXES: &[&str] = &[
    // Without payer_clearing (2010), whose owners are the orders: they are found by their subject.
    "create index if not exists journal_account on journal (account, owner) where account <> 2010",
    "create index if not exists journal_subject on journal (subject)",
];

const TYPES: &[Type] = &[
    Type::INT4,
    Type::INT8,
    Type::INT2,
    Type::UUID,
    Type::TEXT,
    Type::TEXT,
    Type::INT4,
    Type::TEXT,
    Type::INT8,
    Type::TIMESTAMPTZ,
    Type::TIMESTAMPTZ,
];

pub(super) fn write(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    if state.news.fresh.iter().all(|(_, legs)| legs.is_empty()) {
        return Ok(());
    }
    let mut copy = Copy::begin(tx, "copy journal from stdin binary", TYPES)?;
    for (read, legs) in &state.news.fresh {
        for (number, leg) in (0_i16..).zip(legs) {
            let occurred_at: DateTime<Utc> = read.event.occurred_at.to_utc();
            copy.write(&[
                &read.position.partition,
                &read.position.offset,
                &number,
                &read.event.id,
                &read.event.data.event_type(),
                &read.event.subject,
                &i32::from(leg.account.code.number()),
                &leg.account.owner,
                &leg.amount.fen(),
                &occurred_at,
                &read.recorded_at,
            ])?;
        }
    }
    copy.finish()?;
    Ok(())
}
