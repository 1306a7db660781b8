//! Mandates: who may be debited for what is bought with a card (代扣签约).

use chrono::{DateTime, Utc};
use engine::stream::StreamError;
use postgres::{Transaction, types::Type};
use rules::card::Mandate;

use super::Table;
use crate::projector::State;

pub(super) const TABLE: Table = Table {
    name: "mandates",
    ddl: "create table mandates (
        card text, agreement_no text, partition int not null, channel text, product_code text, signed_at timestamptz,
        ended_at timestamptz, active boolean not null, primary key (card, agreement_no))",
};

/// A mandate as a row, with the card's stream, its partition and the number of the agreement.
type Row<'a> = (&'a str, i32, &'a str, &'a Mandate);

pub(super) fn write(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    let cards = state.streams.cards.changed().filter_map(|(key, row)| Some((key, row.partition(), row.state.card()?)));
    let mut rows: Vec<Row<'_>> = cards
        .flat_map(|(key, partition, card)| {
            card.mandates.iter().map(move |(number, mandate)| (key, partition, number.as_str(), mandate))
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable_by_key(|(card, _, number, _)| (*card, *number));
    let time = |time: Option<DateTime<chrono::FixedOffset>>| time.map(|time| -> DateTime<Utc> { time.to_utc() });
    columns!(
        &rows,
        tx,
        "insert into mandates select * from unnest($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (card, agreement_no) do update set channel = excluded.channel,
           product_code = excluded.product_code, signed_at = excluded.signed_at, ended_at = excluded.ended_at,
           active = excluded.active",
        (card: TEXT_ARRAY = |row: &Row<'_>| row.0.to_owned()),
        (agreement_no: TEXT_ARRAY = |row: &Row<'_>| row.2.to_owned()),
        (partition: INT4_ARRAY = |row: &Row<'_>| row.1),
        (channel: TEXT_ARRAY = |row: &Row<'_>| row.3.channel.as_ref().map(ToString::to_string)),
        (product_code: TEXT_ARRAY = |row: &Row<'_>| row.3.product_code.clone()),
        (signed_at: TIMESTAMPTZ_ARRAY = |row: &Row<'_>| time(row.3.signed_at)),
        (ended_at: TIMESTAMPTZ_ARRAY = |row: &Row<'_>| time(row.3.ended_at)),
        (active: BOOL_ARRAY = |row: &Row<'_>| row.3.is_active()),
    )?;
    Ok(())
}
