//! Campus cards: what is on each by the ledger's account, and what it may do.

use engine::store::{Column, Row};
use rules::{card::Card, stream::StreamState};

pub(crate) const NAME: &str = "cards";

fn card<T>(row: &Row<StreamState>, value: impl Fn(&Card) -> T) -> Option<T> {
    row.state.card().map(value)
}

#[rustfmt::skip]
pub(crate) fn columns() -> Vec<Column<StreamState>> {
    vec![
        Column::new("school", "text", |_, row| card(row, |c| c.school.as_ref().map(ToString::to_string)).flatten()),
        Column::new("holder", "uuid", |_, row| card(row, Card::holder).flatten()),
        Column::new("balance_fen", "bigint not null", |_, row| card(row, |c| c.balance.fen()).unwrap_or(0)),
        Column::new("pending_load_fen", "bigint not null", |_, row| card(row, |c| c.pending_load.fen()).unwrap_or(0)),
        Column::new("subsidy_fen", "bigint not null", |_, row| card(row, |c| c.subsidy.fen()).unwrap_or(0)),
        Column::new("daily_limit_fen", "bigint", |_, row| card(row, |c| c.newest_limit().map(|a| a.fen())).flatten()),
        Column::new("suspended", "boolean not null", |_, row| card(row, Card::is_suspended).unwrap_or(false)),
        Column::new("mandate", "text", |_, row| card(row, |c| c.mandate().map(str::to_owned)).flatten()),
        Column::new("uncollected", "int not null", |_, row| {
            card(row, |c| i32::try_from(c.uncollected.len()).unwrap_or(i32::MAX)).unwrap_or(0)
        }),
        Column::new("unread", "int not null", |_, row| super::unread(&row.state)),
    ]
}
