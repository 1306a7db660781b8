//! Settlements: what each batch of a channel says and brought, and what the ledger expects of each day.

use std::collections::BTreeMap;

use engine::{store::Row, stream::StreamError};
use postgres::{Transaction, types::Type};
use rules::settlement::{DayTotals, SettlementBatch, day_totals};

use super::{Table, last_offset};
use crate::projector::State;

pub(super) const BATCHES: Table = Table {
    name: "settlement_batches",
    ddl: "create table settlement_batches (
        key text primary key, partition int not null, last_offset bigint not null, channel text not null, batch_no text not null,
        period_from date, period_to date, gross_fen bigint, refunds_fen bigint, chargebacks_fen bigint, fees_fen bigint,
        carried_in_fen bigint, net_fen bigint, transactions int, received_fen bigint not null, bank_refs text)",
    indexes: &[],
};

/// Kept for each partition, because a channel's money comes in through all of them; a public view adds them up.
pub(super) const DAYS: Table = Table {
    name: "channel_days",
    ddl: "create table channel_days (
        partition int, channel text, business_date date, captured_fen bigint not null, reversed_fen bigint not null,
        refunded_fen bigint not null, charged_back_fen bigint not null, transactions bigint not null,
        primary key (partition, channel, business_date))",
    indexes: &[],
};

type Changed<'a> = (&'a str, &'a Row<SettlementBatch>);

pub(super) fn write(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    write_batches(tx, state)?;
    write_days(tx, state)
}

fn write_batches(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    let mut changed: Vec<Changed<'_>> = state.batches.changed().collect();
    if changed.is_empty() {
        return Ok(());
    }
    changed.sort_unstable_by_key(|(key, _)| *key);
    columns!(
        &changed,
        tx,
        "insert into settlement_batches
         select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         on conflict (key) do update set last_offset = excluded.last_offset, period_from = excluded.period_from,
           period_to = excluded.period_to, gross_fen = excluded.gross_fen, refunds_fen = excluded.refunds_fen,
           chargebacks_fen = excluded.chargebacks_fen, fees_fen = excluded.fees_fen,
           carried_in_fen = excluded.carried_in_fen, net_fen = excluded.net_fen, transactions = excluded.transactions,
           received_fen = excluded.received_fen, bank_refs = excluded.bank_refs",
        (key: TEXT_ARRAY = |(key, _): &Changed<'_>| key.to_string()),
        (partition: INT4_ARRAY = |(_, row): &Changed<'_>| row.partition()),
        (offset: INT8_ARRAY = |(_, row): &Changed<'_>| last_offset(row)),
        (channel: TEXT_ARRAY = |(key, _): &Changed<'_>| key.split_once('/').map_or(*key, |parts| parts.0).to_owned()),
        (batch_no: TEXT_ARRAY = |(key, _): &Changed<'_>| key.split_once('/').map_or(*key, |parts| parts.1).to_owned()),
        (from: DATE_ARRAY = |(_, row): &Changed<'_>| row.state.reported.as_ref().map(|r| r.period_from)),
        (to: DATE_ARRAY = |(_, row): &Changed<'_>| row.state.reported.as_ref().map(|r| r.period_to)),
        (gross: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.reported.as_ref().map(|r| r.gross.fen())),
        (refunds: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.reported.as_ref().map(|r| r.refunds.fen())),
        (chargebacks: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.reported.as_ref().map(|r| r.chargebacks.fen())),
        (fees: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.reported.as_ref().map(|r| r.fees.fen())),
        (carried_in: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.reported.as_ref().map(|r| r.carried_in.fen())),
        (net: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.reported.as_ref().map(|r| r.net.fen())),
        (transactions: INT4_ARRAY = |(_, row): &Changed<'_>| {
            row.state.reported.as_ref().map(|r| i32::try_from(r.transactions).unwrap_or(i32::MAX))
        }),
        (received: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.received().fen()),
        (bank_refs: TEXT_ARRAY = |(_, row): &Changed<'_>| {
            let refs: Vec<&str> = row.state.received.iter().map(|r| r.bank_ref.as_str()).collect();
            (!refs.is_empty()).then(|| refs.join(", "))
        }),
    )?;
    Ok(())
}

fn write_days(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    let mut days = BTreeMap::<_, DayTotals>::new();
    for (read, _) in &state.news.fresh {
        if let Some((channel, date, totals)) = day_totals(&read.event) {
            days.entry((read.position.partition, channel.to_string(), date)).or_default().add(totals);
        }
    }
    if days.is_empty() {
        return Ok(());
    }
    type Day<'a> = (&'a (i32, String, chrono::NaiveDate), &'a DayTotals);
    let days: Vec<Day<'_>> = days.iter().collect();
    columns!(
        &days,
        tx,
        "insert into channel_days as d select * from unnest($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (partition, channel, business_date) do update set
           captured_fen = d.captured_fen + excluded.captured_fen, reversed_fen = d.reversed_fen + excluded.reversed_fen,
           refunded_fen = d.refunded_fen + excluded.refunded_fen,
           charged_back_fen = d.charged_back_fen + excluded.charged_back_fen,
           transactions = d.transactions + excluded.transactions",
        (partition: INT4_ARRAY = |(key, _): &Day<'_>| key.0),
        (channel: TEXT_ARRAY = |(key, _): &Day<'_>| key.1.clone()),
        (date: DATE_ARRAY = |(key, _): &Day<'_>| key.2),
        (captured: INT8_ARRAY = |(_, totals): &Day<'_>| totals.captured.fen()),
        (reversed: INT8_ARRAY = |(_, totals): &Day<'_>| totals.reversed.fen()),
        (refunded: INT8_ARRAY = |(_, totals): &Day<'_>| totals.refunded.fen()),
        (charged_back: INT8_ARRAY = |(_, totals): &Day<'_>| totals.charged_back.fen()),
        (transactions: INT8_ARRAY = |(_, totals): &Day<'_>| totals.transactions),
    )?;
    Ok(())
}
