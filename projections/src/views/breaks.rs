//! Breaks: combinations that may not last. Those of an order or contract follow from its state and go away with it;
//! a conflicting repeat stays.

use chrono::{DateTime, Utc};
use engine::stream::StreamError;
use postgres::{Transaction, types::Type};
use rules::{
    breaks::{BreakClass, breaks_of},
    contract::LoanContract,
    policy::Policy,
};

use super::Table;
use crate::projector::State;

pub(super) const TABLE: Table = Table {
    name: "breaks",
    ddl: "create table breaks (
        subject text, class text, detail text, partition int not null, amount_fen bigint, grace_until timestamptz,
        primary key (subject, class, detail))",
};

struct Found {
    subject: String,
    class: BreakClass,
    detail: String,
    partition: i32,
    amount_fen: Option<i64>,
    grace_until: Option<DateTime<Utc>>,
}

pub(super) fn write(tx: &mut Transaction<'_>, state: &State, policy: &Policy) -> Result<(), StreamError> {
    let mut found = Vec::new();
    let mut looked_at = Vec::new();
    for (order_id, row) in state.orders.changed() {
        looked_at.push(order_id.to_owned());
        found.extend(breaks_of(&row.state, policy).into_iter().map(|found| Found {
            subject: order_id.to_owned(),
            class: found.class,
            detail: String::new(),
            partition: row.partition(),
            amount_fen: Some(found.amount.fen()),
            grace_until: Some(found.grace_until),
        }));
    }
    for (stream, row) in state.streams.contracts.changed() {
        looked_at.push(stream.to_owned());
        let crowded = row.state.loan().into_iter().flat_map(LoanContract::crowded_days);
        found.extend(crowded.map(|day| Found {
            subject: stream.to_owned(),
            class: BreakClass::SecondRepaymentOfTheDay,
            detail: day.to_string(),
            partition: row.partition(),
            amount_fen: None,
            grace_until: None,
        }));
    }
    found.extend(state.news.conflicts.iter().map(|read| Found {
        subject: read.event.subject.clone(),
        class: BreakClass::ConflictingRepeat,
        detail: format!("{} at {}", read.event.id, read.position),
        partition: read.position.partition,
        amount_fen: None,
        grace_until: None,
    }));
    tx.execute_typed(
        "delete from breaks where subject = any($1) and class <> $2",
        &[(&looked_at, Type::TEXT_ARRAY), (&BreakClass::ConflictingRepeat.as_str(), Type::TEXT)],
    )?;
    if found.is_empty() {
        return Ok(());
    }
    columns!(
        &found,
        tx,
        "insert into breaks select * from unnest($1, $2, $3, $4, $5, $6) on conflict do nothing",
        (subject: TEXT_ARRAY = |found: &Found| found.subject.clone()),
        (class: TEXT_ARRAY = |found: &Found| found.class.as_str()),
        (detail: TEXT_ARRAY = |found: &Found| found.detail.clone()),
        (partition: INT4_ARRAY = |found: &Found| found.partition),
        (amount: INT8_ARRAY = |found: &Found| found.amount_fen),
        (grace: TIMESTAMPTZ_ARRAY = |found: &Found| found.grace_until),
    )?;
    Ok(())
}
