//! Orders: one row for each attempt to pay, with its totals, tracks and status.

use engine::{store::Row, stream::StreamError};
use postgres::{Transaction, types::Type};
use rules::order::Order;
use schemas::OrderId;

use super::{Table, last_offset};
use crate::projector::State;

pub(super) const TABLE: Table = Table {
    name: "orders",
    ddl: "create table orders (
        order_id text primary key, partition int not null, last_offset bigint not null, stream text not null,
        channel text, beneficiary text, student uuid, contract text,
        status text not null, payment text not null, fulfilment text not null, refund text not null, reason text,
        requested_fen bigint not null, captured_fen bigint not null, reversed_fen bigint not null,
        confirmed_fen bigint not null, refunded_fen bigint not null, refund_open_fen bigint not null,
        charged_back_fen bigint not null,
        requested_at timestamptz, expires_at timestamptz, captured_at timestamptz, confirmed_at timestamptz,
        business_date date, bank_ref text)",
    indexes: &["create index orders_status on orders (status)", "create index orders_stream on orders (stream)"],
};

/// Why an order is where it is, in the word that staff would look up.
fn reason_of(order: &Order) -> Option<String> {
    let refund = || order.refunds.values().find_map(|refund| refund.reason.filter(|_| !refund.initiated.is_zero()));
    order
        .rejection()
        .map(|reason| reason.to_string())
        .or_else(|| refund().map(|reason| reason.to_string()))
        .or_else(|| order.confirmation.failed.clone())
        .or_else(|| order.confirmation.uncertain.clone())
        .or_else(|| order.declined.clone())
}

type Changed<'a> = (&'a str, &'a Row<Order>);

pub(super) fn write(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    let mut changed: Vec<Changed<'_>> = state.orders.changed().collect();
    if changed.is_empty() {
        return Ok(());
    }
    changed.sort_unstable_by_key(|(key, _)| *key);
    columns!(
        &changed,
        tx,
        "insert into orders select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
           $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)
         on conflict (order_id) do update set last_offset = excluded.last_offset, channel = excluded.channel,
           beneficiary = excluded.beneficiary, student = excluded.student, contract = excluded.contract,
           status = excluded.status, payment = excluded.payment, fulfilment = excluded.fulfilment,
           refund = excluded.refund, reason = excluded.reason, requested_fen = excluded.requested_fen,
           captured_fen = excluded.captured_fen, reversed_fen = excluded.reversed_fen,
           confirmed_fen = excluded.confirmed_fen, refunded_fen = excluded.refunded_fen,
           refund_open_fen = excluded.refund_open_fen, charged_back_fen = excluded.charged_back_fen,
           requested_at = excluded.requested_at, expires_at = excluded.expires_at, captured_at = excluded.captured_at,
           confirmed_at = excluded.confirmed_at, business_date = excluded.business_date, bank_ref = excluded.bank_ref",
        (order_id: TEXT_ARRAY = |(key, _): &Changed<'_>| key.to_string()),
        (partition: INT4_ARRAY = |(_, row): &Changed<'_>| row.partition()),
        (offset: INT8_ARRAY = |(_, row): &Changed<'_>| last_offset(row)),
        (stream: TEXT_ARRAY = |(key, _): &Changed<'_>| key.parse::<OrderId>().map(|id| id.stream().to_string()).unwrap_or_default()),
        (channel: TEXT_ARRAY = |(_, row): &Changed<'_>| channel_of(&row.state)),
        (beneficiary: TEXT_ARRAY = |(_, row): &Changed<'_>| row.state.request.as_ref().map(|r| r.data.beneficiary.to_string())),
        (student: UUID_ARRAY = |(_, row): &Changed<'_>| row.state.request.as_ref().map(|r| r.data.student)),
        (contract: TEXT_ARRAY = |(_, row): &Changed<'_>| row.state.request.as_ref().map(|r| r.data.contract.clone())),
        (status: TEXT_ARRAY = |(_, row): &Changed<'_>| row.state.status().as_str()),
        (payment: TEXT_ARRAY = |(_, row): &Changed<'_>| row.state.payment_track().as_str()),
        (fulfilment: TEXT_ARRAY = |(_, row): &Changed<'_>| row.state.fulfilment_track().as_str()),
        (refund: TEXT_ARRAY = |(_, row): &Changed<'_>| row.state.refund_track().as_str()),
        (reason: TEXT_ARRAY = |(_, row): &Changed<'_>| reason_of(&row.state)),
        (requested: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.requested().fen()),
        (captured: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.captured().fen()),
        (reversed: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.reversed().fen()),
        (confirmed: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.confirmation.standing().fen()),
        (refunded: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.refunded().fen()),
        (refund_open: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.refund_open().fen()),
        (charged_back: INT8_ARRAY = |(_, row): &Changed<'_>| row.state.charged_back().fen()),
        (requested_at: TIMESTAMPTZ_ARRAY = |(_, row): &Changed<'_>| row.state.request.as_ref().map(|r| r.recorded_at)),
        (expires_at: TIMESTAMPTZ_ARRAY = |(_, row): &Changed<'_>| row.state.accepted_until()),
        (captured_at: TIMESTAMPTZ_ARRAY = |(_, row): &Changed<'_>| row.state.captures.first().map(|c| c.captured_at.to_utc())),
        (confirmed_at: TIMESTAMPTZ_ARRAY = |(_, row): &Changed<'_>| row.state.confirmation.confirmed_at),
        (business_date: DATE_ARRAY = |(_, row): &Changed<'_>| row.state.captures.first().map(|c| c.business_date)),
        (bank_ref: TEXT_ARRAY = |(_, row): &Changed<'_>| row.state.confirmation.bank_ref.clone()),
    )?;
    Ok(())
}

fn channel_of(order: &Order) -> Option<String> {
    let requested = order.request.as_ref().map(|request| &request.data.channel);
    requested.or(order.captures.first().map(|capture| &capture.channel)).map(ToString::to_string)
}
