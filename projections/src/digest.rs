//! Digests of whole tables, for telling whether two generations hold the same.

use std::collections::BTreeMap;

use postgres::{Error, GenericClient};
use schemas::Balance;

use crate::generation::Generation;

/// Rows and content of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDigest {
    pub rows: i64,
    /// The sum of a hash of each row: it does not depend on their order.
    pub content: String,
}

/// Every table that a generation has, as one snapshot when called inside a repeatable-read transaction.
pub fn digest(
    client: &mut impl GenericClient,
    generation: &Generation,
) -> Result<BTreeMap<&'static str, TableDigest>, Error> {
    let missing = generation.missing_tables(client)?;
    Generation::tables()
        .filter(|table| !missing.contains(table))
        .map(|table| {
            let sql = format!(
                "select count(*), coalesce(sum(('x' || left(md5(t::text), 15))::bit(60)::bigint), 0)::text from {}.{table} t",
                generation.schema()
            );
            let row = client.query_one(&sql, &[])?;
            Ok((table, TableDigest { rows: row.get(0), content: row.get(1) }))
        })
        .collect()
}

/// What each account of a generation holds, of all its owners together.
pub fn balances(client: &mut impl GenericClient, generation: &Generation) -> Result<BTreeMap<i32, Balance>, Error> {
    if generation.missing_tables(client)?.contains(&"balances") {
        return Ok(BTreeMap::new());
    }
    let sql = format!("select account, sum(amount_fen)::bigint from {}.balances group by account", generation.schema());
    Ok(client.query(&sql, &[])?.iter().map(|row| (row.get(0), Balance::from_fen(row.get(1)))).collect())
}
