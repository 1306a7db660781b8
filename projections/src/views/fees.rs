//! Fees: what each student owes by item and year, what was paid of it, and what a payment under way has in hand.

use engine::{
    store::{Column, Row},
    stream::StreamError,
};
use postgres::{Transaction, types::Type};
use rules::{
    fees::{FeeAccount, FeeItem},
    stream::StreamState,
};

use super::Table;
use crate::projector::State;

pub(crate) const ACCOUNTS: &str = "fee_accounts";

pub(super) const ITEMS: Table = Table {
    name: "fee_items",
    ddl: "create table fee_items (
        stream text, fee_item text, billing_year int, partition int not null, assessed_fen bigint, adjusted_fen bigint not null,
        posted_fen bigint not null, in_hand_fen bigint not null, instalments_allowed boolean not null,
        primary key (stream, fee_item, billing_year))",
};

fn account<T>(row: &Row<StreamState>, value: impl Fn(&FeeAccount) -> T) -> Option<T> {
    row.state.fees().map(value)
}

#[rustfmt::skip]
pub(crate) fn account_columns() -> Vec<Column<StreamState>> {
    vec![
        Column::new("school", "text", |_, row| account(row, |a| a.school.as_ref().map(ToString::to_string)).flatten()),
        Column::new("student", "uuid", |_, row| account(row, |a| a.student).flatten()),
        Column::new("arrears_fen", "bigint not null", |_, row| account(row, |a| a.arrears().fen()).unwrap_or(0)),
        Column::new("unread", "int not null", |_, row| super::unread(&row.state)),
    ]
}

struct Item<'a> {
    stream: &'a str,
    partition: i32,
    item: &'a FeeItem,
    in_hand_fen: i64,
}

/// An item never goes away once it is known, so rows are only ever added and changed.
pub(super) fn write(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    let accounts =
        state.streams.fee_accounts.changed().filter_map(|(key, row)| Some((key, row.partition(), row.state.fees()?)));
    let mut items: Vec<Item<'_>> = accounts
        .flat_map(|(stream, partition, account)| {
            account.items.values().map(move |item| Item {
                stream,
                partition,
                item,
                in_hand_fen: account.in_hand(item).fen(),
            })
        })
        .collect();
    if items.is_empty() {
        return Ok(());
    }
    items.sort_unstable_by_key(|row| (row.stream, &row.item.fee_item, row.item.billing_year));
    columns!(
        &items,
        tx,
        "insert into fee_items select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (stream, fee_item, billing_year) do update set assessed_fen = excluded.assessed_fen,
           adjusted_fen = excluded.adjusted_fen, posted_fen = excluded.posted_fen, in_hand_fen = excluded.in_hand_fen,
           instalments_allowed = excluded.instalments_allowed",
        (stream: TEXT_ARRAY = |row: &Item<'_>| row.stream.to_owned()),
        (fee_item: TEXT_ARRAY = |row: &Item<'_>| row.item.fee_item.clone()),
        (billing_year: INT4_ARRAY = |row: &Item<'_>| i32::from(row.item.billing_year)),
        (partition: INT4_ARRAY = |row: &Item<'_>| row.partition),
        (assessed: INT8_ARRAY = |row: &Item<'_>| row.item.assessed.map(|amount| amount.fen())),
        (adjusted: INT8_ARRAY = |row: &Item<'_>| row.item.adjusted.fen()),
        (posted: INT8_ARRAY = |row: &Item<'_>| row.item.posted.fen()),
        (in_hand: INT8_ARRAY = |row: &Item<'_>| row.in_hand_fen),
        (instalments: BOOL_ARRAY = |row: &Item<'_>| row.item.instalments_allowed),
    )?;
    Ok(())
}
