//! Refunds: each with its order, what became of it, and what it waits for.

use engine::stream::StreamError;
use postgres::{Transaction, types::Type};
use rules::refund::Refund;
use uuid::Uuid;

use super::Table;
use crate::projector::State;

pub(super) const TABLE: Table = Table {
    name: "refunds",
    ddl: "create table refunds (
        refund_id uuid, order_id text, partition int not null, capture_id uuid, channel text, status text not null, reason text,
        asked_fen bigint, initiated_fen bigint not null, refunded_fen bigint not null, open_fen bigint not null,
        refusal text, primary key (order_id, refund_id))",
};

type Row<'a> = (&'a str, i32, &'a Uuid, &'a Refund);

pub(super) fn write(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    let orders = state.orders.changed();
    let mut rows: Vec<Row<'_>> = orders
        .flat_map(|(key, row)| row.state.refunds.iter().map(move |(id, refund)| (key, row.partition(), id, refund)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable_by_key(|(order, _, id, _)| (*order, **id));
    columns!(
        &rows,
        tx,
        "insert into refunds select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict (order_id, refund_id) do update set capture_id = excluded.capture_id, channel = excluded.channel,
           status = excluded.status, reason = excluded.reason, asked_fen = excluded.asked_fen,
           initiated_fen = excluded.initiated_fen, refunded_fen = excluded.refunded_fen, open_fen = excluded.open_fen,
           refusal = excluded.refusal",
        (refund_id: UUID_ARRAY = |row: &Row<'_>| *row.2),
        (order_id: TEXT_ARRAY = |row: &Row<'_>| row.0.to_owned()),
        (partition: INT4_ARRAY = |row: &Row<'_>| row.1),
        (capture_id: UUID_ARRAY = |row: &Row<'_>| row.3.capture_id),
        (channel: TEXT_ARRAY = |row: &Row<'_>| row.3.channel.as_ref().map(ToString::to_string)),
        (status: TEXT_ARRAY = |row: &Row<'_>| row.3.track().as_str()),
        (reason: TEXT_ARRAY = |row: &Row<'_>| row.3.reason.map(|reason| reason.as_str())),
        (asked: INT8_ARRAY = |row: &Row<'_>| row.3.asked.as_ref().map(|asked| asked.amount.fen())),
        (initiated: INT8_ARRAY = |row: &Row<'_>| row.3.initiated.fen()),
        (refunded: INT8_ARRAY = |row: &Row<'_>| row.3.refunded().fen()),
        (open: INT8_ARRAY = |row: &Row<'_>| row.3.open().fen()),
        (refusal: TEXT_ARRAY = |row: &Row<'_>| row.3.rejected.map(|reason| reason.as_str())),
    )?;
    Ok(())
}
