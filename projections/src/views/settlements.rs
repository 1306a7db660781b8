//! Settlements: what each batch of a channel says and brought, and what the ledger expects of each day.

use std::collections::{BTreeMap, BTreeSet};

use engine::{store::Column, stream::StreamError};
use postgres::{Transaction, types::Type};
use rules::{
    policy::{Policy, SettlesTo},
    settlement::{DayTotals, SettlementBatch, day_totals, period_of},
};
use schemas::{
    Name,
    events::{Bearer, SettlementReceived},
};

use super::{Table, last_offset};
use crate::projector::State;

pub(crate) const BATCHES: &str = "settlement_batches";

/// Kept for each partition, because a channel's money comes in through all of them; a public view adds them up.
pub(super) const DAYS: Table = Table {
    name: "channel_days",
    ddl: "create table channel_days (
        partition int, channel text, business_date date, captured_fen bigint not null, reversed_fen bigint not null,
        refunded_fen bigint not null, charged_back_fen bigint not null, transactions bigint not null,
        fees_fen bigint not null, fees_borne_by text not null, settles_to text not null, period_from date not null,
        period_to date not null, primary key (partition, channel, business_date))",
};

#[rustfmt::skip]
pub(crate) fn batch_columns() -> Vec<Column<SettlementBatch>> {
    vec![
        Column::new("last_offset", "bigint not null", |_, row| last_offset(row)),
        Column::new("channel", "text not null", |key, _| key.split_once('/').map_or(key, |parts| parts.0).to_owned()),
        Column::new("batch_no", "text not null", |key, _| key.split_once('/').map_or(key, |parts| parts.1).to_owned()),
        Column::new("period_from", "date", |_, row| row.state.reported.as_ref().map(|r| r.period_from)),
        Column::new("period_to", "date", |_, row| row.state.reported.as_ref().map(|r| r.period_to)),
        Column::new("gross_fen", "bigint", |_, row| row.state.reported.as_ref().map(|r| r.gross.fen())),
        Column::new("refunds_fen", "bigint", |_, row| row.state.reported.as_ref().map(|r| r.refunds.fen())),
        Column::new("chargebacks_fen", "bigint", |_, row| row.state.reported.as_ref().map(|r| r.chargebacks.fen())),
        Column::new("fees_fen", "bigint", |_, row| row.state.reported.as_ref().map(|r| r.fees.fen())),
        Column::new("fees_borne_by", "text", |_, row| {
            row.state.reported.as_ref().map(|r| r.fees_borne_by.unwrap_or(Bearer::Operator).as_str())
        }),
        Column::new("carried_in_fen", "bigint", |_, row| row.state.reported.as_ref().map(|r| r.carried_in.fen())),
        Column::new("net_fen", "bigint", |_, row| row.state.reported.as_ref().map(|r| r.net.fen())),
        Column::new("transactions", "int", |_, row| {
            row.state.reported.as_ref().map(|r| i32::try_from(r.transactions).unwrap_or(i32::MAX))
        }),
        Column::new("received_fen", "bigint not null", |_, row| row.state.received().fen()),
        Column::new("bank_refs", "text", |_, row| {
            let refs: Vec<&str> = row.state.received.iter().map(|r| r.bank_ref.as_str()).collect();
            (!refs.is_empty()).then(|| refs.join(", "))
        }),
        Column::new("paid_to", "text", |_, row| {
            let paid_to = |r: &SettlementReceived| r.straight_to.as_ref().map_or("us", Name::as_str).to_owned();
            let paid_to: BTreeSet<String> = row.state.received.iter().map(paid_to).collect();
            (!paid_to.is_empty()).then(|| paid_to.into_iter().collect::<Vec<_>>().join(", "))
        }),
    ]
}

pub(super) fn write_days(tx: &mut Transaction<'_>, state: &State, policy: &Policy) -> Result<(), StreamError> {
    let mut days = BTreeMap::<_, DayTotals>::new();
    for (read, _) in &state.news.fresh {
        if let Some((channel, date, totals)) = day_totals(&read.event, policy) {
            days.entry((read.position.partition, channel.clone(), date)).or_default().add(totals);
        }
    }
    if days.is_empty() {
        return Ok(());
    }
    type Key = (i32, Name, chrono::NaiveDate);
    type Day<'a> = (&'a Key, &'a DayTotals);
    let terms = |key: &Key| policy.terms(&key.1);
    let days: Vec<Day<'_>> = days.iter().collect();
    columns!(
        &days,
        tx,
        "insert into channel_days as d select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         on conflict (partition, channel, business_date) do update set
           captured_fen = d.captured_fen + excluded.captured_fen, reversed_fen = d.reversed_fen + excluded.reversed_fen,
           refunded_fen = d.refunded_fen + excluded.refunded_fen,
           charged_back_fen = d.charged_back_fen + excluded.charged_back_fen,
           transactions = d.transactions + excluded.transactions, fees_fen = d.fees_fen + excluded.fees_fen",
        (partition: INT4_ARRAY = |(key, _): &Day<'_>| key.0),
        (channel: TEXT_ARRAY = |(key, _): &Day<'_>| key.1.to_string()),
        (date: DATE_ARRAY = |(key, _): &Day<'_>| key.2),
        (captured: INT8_ARRAY = |(_, totals): &Day<'_>| totals.captured.fen()),
        (reversed: INT8_ARRAY = |(_, totals): &Day<'_>| totals.reversed.fen()),
        (refunded: INT8_ARRAY = |(_, totals): &Day<'_>| totals.refunded.fen()),
        (charged_back: INT8_ARRAY = |(_, totals): &Day<'_>| totals.charged_back.fen()),
        (transactions: INT8_ARRAY = |(_, totals): &Day<'_>| totals.transactions),
        (fees: INT8_ARRAY = |(_, totals): &Day<'_>| totals.fees.fen()),
        (borne_by: TEXT_ARRAY = |(key, _): &Day<'_>| terms(key).fees_borne_by.as_str()),
        (settles_to: TEXT_ARRAY = |(key, _): &Day<'_>| match terms(key).settles_to {
            SettlesTo::Us => "us",
            SettlesTo::School => "school",
        }),
        (period_from: DATE_ARRAY = |(key, _): &Day<'_>| period_of(key.2, terms(key).cycle).0),
        (period_to: DATE_ARRAY = |(key, _): &Day<'_>| period_of(key.2, terms(key).cycle).1),
    )?;
    Ok(())
}
