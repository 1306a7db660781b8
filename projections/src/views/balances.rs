//! Balances: what each account holds, kept for each partition so that no row is hot; a public view adds them up.
//!
//! A row exists exactly while its balance is not zero. So the table does not depend on how the log was cut into
//! batches, and the thousands of clearing accounts of finished orders take no room.

use std::collections::BTreeMap;

use engine::stream::StreamError;
use postgres::{Transaction, types::Type};
use schemas::Balance;

use super::Table;
use crate::projector::State;

pub(super) const TABLE: Table = Table {
    name: "balances",
    ddl: "create table balances (
        account int, owner text, partition int, amount_fen bigint not null, primary key (account, owner, partition))",
};

type Key<'a> = (u16, &'a str, i32);

pub(super) fn write(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    let mut sums = BTreeMap::<Key<'_>, Balance>::new();
    for (read, legs) in &state.news.fresh {
        for leg in legs {
            let key = (leg.account.code.number(), leg.account.owner.as_str(), read.position.partition);
            *sums.entry(key).or_default() += leg.amount;
        }
    }
    let sums: Vec<(Key<'_>, Balance)> = sums.into_iter().filter(|(_, sum)| !sum.is_zero()).collect();
    if sums.is_empty() {
        return Ok(());
    }
    type Sum<'a> = (Key<'a>, Balance);
    columns!(
        &sums,
        tx,
        "insert into balances as b select * from unnest($1, $2, $3, $4)
         on conflict (account, owner, partition) do update set amount_fen = b.amount_fen + excluded.amount_fen",
        (account: INT4_ARRAY = |(key, _): &Sum<'_>| i32::from(key.0)),
        (owner: TEXT_ARRAY = |(key, _): &Sum<'_>| key.1.to_owned()),
        (partition: INT4_ARRAY = |(key, _): &Sum<'_>| key.2),
        (amount: INT8_ARRAY = |(_, sum): &Sum<'_>| sum.fen()),
    )?;
    columns!(
        &sums,
        tx,
        "delete from balances b using unnest($1, $2, $3) as v (account, owner, partition)
         where b.account = v.account and b.owner = v.owner and b.partition = v.partition and b.amount_fen = 0",
        (account: INT4_ARRAY = |(key, _): &Sum<'_>| i32::from(key.0)),
        (owner: TEXT_ARRAY = |(key, _): &Sum<'_>| key.1.to_owned()),
        (partition: INT4_ARRAY = |(key, _): &Sum<'_>| key.2),
    )?;
    Ok(())
}
