//! Breaks: combinations that may not last. Those of an order or contract follow from its state and go away with it;
//! those between the ledger and a channel's statement are raised and ended by events; a conflicting repeat stays.

use chrono::{DateTime, Utc};
use engine::stream::StreamError;
use postgres::{Transaction, types::Type};
use rules::{
    breaks::{BreakClass, breaks_of},
    business_day,
    contract::LoanContract,
    policy::Policy,
};
use schemas::{Balance, Data, events::ReconciliationBreakRaised};

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
    class: &'static str,
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
            class: found.class.as_str(),
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
            class: BreakClass::SecondRepaymentOfTheDay.as_str(),
            detail: day.to_string(),
            partition: row.partition(),
            amount_fen: None,
            grace_until: None,
        }));
    }
    found.extend(state.news.conflicts.iter().map(|read| Found {
        subject: read.event.subject.clone(),
        class: BreakClass::ConflictingRepeat.as_str(),
        detail: format!("{} at {}", read.event.id, read.position),
        partition: read.position.partition,
        amount_fen: None,
        grace_until: None,
    }));
    // Both events have one subject: the break, and which occurrence of it.
    for (read, _) in &state.news.fresh {
        let subject = &read.event.subject;
        match &read.event.data {
            Data::ReconciliationBreakRaised(data) => found.push(Found {
                subject: subject.clone(),
                class: data.class.as_str(),
                detail: detail(data),
                partition: read.position.partition,
                amount_fen: Some(data.difference().fen()),
                grace_until: data.grace_until.map(|day| business_day::end(day).to_utc()),
            }),
            Data::ReconciliationBreakResolved(_) => {
                found.retain(|raised| raised.subject != *subject);
                looked_at.push(subject.clone());
            }
            _ => {}
        }
    }
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
        (class: TEXT_ARRAY = |found: &Found| found.class),
        (detail: TEXT_ARRAY = |found: &Found| found.detail.clone()),
        (partition: INT4_ARRAY = |found: &Found| found.partition),
        (amount: INT8_ARRAY = |found: &Found| found.amount_fen),
        (grace: TIMESTAMPTZ_ARRAY = |found: &Found| found.grace_until),
    )?;
    Ok(())
}

/// `bestpay-web 2025-03-17, payment B7, order C…: ours 100.00, theirs 99.00`
fn detail(raised: &ReconciliationBreakRaised) -> String {
    let mut text = format!("{} {}", raised.channel, raised.statement_date);
    if let (Some(side), Some(number)) = (raised.side, &raised.number) {
        text += &format!(", {side} {number}");
    }
    if let Some(order_no) = &raised.order_no {
        text += &format!(", order {order_no}");
    }
    let amount = |amount: Option<Balance>| amount.map_or("none".to_owned(), |amount| amount.to_string());
    text + &format!(": ours {}, theirs {}", amount(raised.ledger_amount), amount(raised.channel_amount))
}
