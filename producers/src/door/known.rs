//! The facts that the doors have seen: so that a repeat is acknowledged and not appended again, and the same fact with
//! other content is refused while its sender is still there to hear it. Old rows may be deleted at any time, because
//! every fold ignores duplicates; here they only cost room.
//!
//! All SQL of the doors stands here.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::{Pool, tokio_postgres::Row};
use engine::{log::Position, postgres::QueryError, stream::StreamError};
use postgres::{Transaction, types::Type};
use rules::order::Order;
use schemas::{Event, OrderId};
use uuid::Uuid;

/// What is known of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub digest: Uuid,
    /// `None`: perhaps in the log, or not yet.
    pub position: Option<Position>,
}

pub type KnownFacts = HashMap<Uuid, Known>;

/// The update makes Postgres wait for whoever writes the same row just now, and return what that one wrote. A report that
/// was never acknowledged keeps no other one out for ever, only for longer than any producer tries to send it; should
/// it be in the log after all, the first there stands and the other is shown as a break. The order of the ids keeps two
/// batches from waiting for each other.
const NOTE: &str = "insert into door.event as e (id, digest) select * from unnest($1, $2) as v (id, digest) order by id
    on conflict (id) do update set digest =
      case when e.partition is null and e.seen_at < now() - interval '10 minutes' then excluded.digest else e.digest end
    returning id, digest, partition, \"offset\"";
const NOTE_TYPES: [Type; 2] = [Type::UUID_ARRAY, Type::UUID_ARRAY];

const PLACE: &str = "update door.event e set partition = v.partition, \"offset\" = v.\"offset\"
    from unnest($1, $2, $3) as v (id, partition, \"offset\") where e.id = v.id";
const PLACE_TYPES: [Type; 3] = [Type::UUID_ARRAY, Type::INT4_ARRAY, Type::INT8_ARRAY];

/// Each id once, with the digest of its first report.
fn ids_and_digests<'a>(events: impl IntoIterator<Item = &'a Event>) -> (Vec<Uuid>, Vec<Uuid>) {
    let mut digests = BTreeMap::new();
    for event in events {
        digests.entry(event.id).or_insert_with(|| event.business_digest());
    }
    digests.into_iter().unzip()
}

fn read(rows: Vec<Row>) -> KnownFacts {
    let known = |row: &Row| {
        let position: Option<i32> = row.get(2);
        let position = position.zip(row.get(3)).map(|(partition, offset)| Position { partition, offset });
        (row.get(0), Known { digest: row.get(1), position })
    };
    rows.iter().map(known).collect()
}

/// In the order of the ids, as they were noted.
fn columns(places: &[(Uuid, Position)]) -> (Vec<Uuid>, Vec<i32>, Vec<i64>) {
    let mut places = places.to_vec();
    places.sort_unstable_by_key(|(id, _)| *id);
    let ids = places.iter().map(|(id, _)| *id).collect();
    let partitions = places.iter().map(|(_, position)| position.partition).collect();
    (ids, partitions, places.iter().map(|(_, position)| position.offset).collect())
}

/// Takes note of these facts, and answers what was known of each before (or is now).
pub async fn note<'a>(pool: &Pool, events: impl IntoIterator<Item = &'a Event>) -> Result<KnownFacts, QueryError> {
    let (ids, digests) = ids_and_digests(events);
    if ids.is_empty() {
        return Ok(KnownFacts::new());
    }
    let client = pool.get().await?;
    let statement = client.prepare_typed_cached(NOTE, &NOTE_TYPES).await?;
    Ok(read(client.query(&statement, &[&ids, &digests]).await?))
}

/// As [`note`], inside a transaction.
pub fn note_in<'a>(
    tx: &mut Transaction<'_>,
    events: impl IntoIterator<Item = &'a Event>,
) -> Result<KnownFacts, postgres::Error> {
    let (ids, digests) = ids_and_digests(events);
    if ids.is_empty() {
        return Ok(KnownFacts::new());
    }
    let [id_type, digest_type] = NOTE_TYPES;
    Ok(read(tx.query_typed(NOTE, &[(&ids, id_type), (&digests, digest_type)])?))
}

/// Where the log has these facts.
pub async fn place(pool: &Pool, places: &[(Uuid, Position)]) -> Result<(), QueryError> {
    if places.is_empty() {
        return Ok(());
    }
    let (ids, partitions, offsets) = columns(places);
    let client = pool.get().await?;
    let statement = client.prepare_typed_cached(PLACE, &PLACE_TYPES).await?;
    client.execute(&statement, &[&ids, &partitions, &offsets]).await?;
    Ok(())
}

/// As [`place`], inside a transaction.
pub fn place_in(tx: &mut Transaction<'_>, places: &[(Uuid, Position)]) -> Result<(), postgres::Error> {
    if places.is_empty() {
        return Ok(());
    }
    let (ids, partitions, offsets) = columns(places);
    let [id_type, partition_type, offset_type] = PLACE_TYPES;
    tx.execute_typed(PLACE, &[(&ids, id_type), (&partitions, partition_type), (&offsets, offset_type)])?;
    Ok(())
}

/// Takes note of an idempotency key. False when its owner used it with another request.
pub async fn note_request(
    pool: &Pool,
    owner: &str,
    key: &str,
    digest: Uuid,
    order: &OrderId,
) -> Result<bool, QueryError> {
    let sql = "insert into door.request (client, key, digest, order_id) values ($1, $2, $3, $4)
               on conflict (client, key) do update set digest = door.request.digest returning digest";
    let client = pool.get().await?;
    let statement = client.prepare_typed_cached(sql, &[Type::TEXT, Type::TEXT, Type::UUID, Type::TEXT]).await?;
    let row = client.query_one(&statement, &[&owner, &key, &digest, &order.as_str()]).await?;
    Ok(row.get::<_, Uuid>(0) == digest)
}

/// Whether one of these has asked for this order.
pub async fn has_asked(pool: &Pool, owners: &[String], order: &OrderId) -> Result<bool, QueryError> {
    let sql = "select exists (select from door.request where order_id = $1 and client = any($2))";
    let client = pool.get().await?;
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_one(&statement, &[&order.as_str(), &owners]).await?.get(0))
}

const ORDERS: &str = "select key, state from coordinator.orders where key = any($1)";

pub type Orders = HashMap<String, Order>;

fn read_orders(rows: &[Row]) -> Result<Orders, serde_json::Error> {
    rows.iter().map(|row| Ok((row.get(0), serde_json::from_str(row.get(1))?))).collect()
}

/// What the coordinator knows of an order.
pub async fn order(pool: &Pool, order: &OrderId) -> Result<Option<Order>, OrderError> {
    Ok(orders(pool, &[order.as_str()]).await?.remove(order.as_str()))
}

/// What the coordinator knows of these orders.
pub async fn orders(pool: &Pool, keys: &[&str]) -> Result<Orders, OrderError> {
    if keys.is_empty() {
        return Ok(Orders::new());
    }
    let client = pool.get().await.map_err(QueryError::from)?;
    let statement = client.prepare_typed_cached(ORDERS, &[Type::TEXT_ARRAY]).await.map_err(QueryError::from)?;
    let rows = client.query(&statement, &[&keys]).await.map_err(QueryError::from)?;
    Ok(read_orders(&rows)?)
}

/// As [`orders`], inside a transaction.
pub fn orders_in(tx: &mut Transaction<'_>, keys: &[&str]) -> Result<Orders, StreamError> {
    if keys.is_empty() {
        return Ok(Orders::new());
    }
    read_orders(&tx.query_typed(ORDERS, &[(&keys, Type::TEXT_ARRAY)])?)
        .map_err(|error| StreamError::Fatal(OrderError::from(error).to_string()))
}

#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error(transparent)]
    Postgres(#[from] QueryError),
    #[error(
        "the coordinator's row of this order cannot be read ({0}); make it anew with `ledger rebuild --coordinator`"
    )]
    Unreadable(#[from] serde_json::Error),
}

/// Deletes what was seen longer than `days` ago; answers how many rows that were.
pub async fn forget(pool: &Pool, days: i32) -> Result<u64, QueryError> {
    let client = pool.get().await?;
    let mut gone = 0;
    for table in ["door.event", "door.request"] {
        let sql = format!("delete from {table} where seen_at < now() - make_interval(days => $1)");
        gone += client.execute(&sql, &[&days]).await?;
    }
    Ok(gone)
}

pub async fn is_reachable(pool: &Pool) -> Result<(), QueryError> {
    pool.get().await?.simple_query("select 1").await?;
    Ok(())
}
