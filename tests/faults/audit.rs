//! What must be true when everything has come to rest: the outside's books, the log and the views agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use engine::{log::Record, stream::Stop};
use producers::sandbox::{Books, MovementState};
use projections::{
    digest::{TableDigest, digest},
    generation::Generation,
    rebuild::Rebuild,
    report::{self, PositionReport},
};
use rules::order::Order;
use schemas::{Amount, Balance, Event, OrderId, Position};
use uuid::Uuid;

use crate::{
    load::{Fate, Paid},
    world::World,
};

pub async fn every_notice_is_acknowledged(world: &World, paid: &[Paid], patience: Duration) -> Result<()> {
    let until = Instant::now() + patience;
    loop {
        let books = world.sandbox.books();
        let acknowledged =
            |paid: &Paid| books.captures[&paid.order].iter().map(|capture| capture.notices_acknowledged).sum::<u32>();
        let Some(waiting) = paid.iter().find(|paid| acknowledged(paid) < paid.notices) else { return Ok(()) };
        ensure!(Instant::now() < until, "the door was not told of {waiting:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub async fn everything_is_right(world: &Arc<World>, paid: &[Paid]) -> Result<()> {
    nobody_is_refunded_twice_or_not_at_all(&world.sandbox.books(), paid);
    let log = world.log().await?;
    every_acknowledged_request_is_in_the_log(&log, paid);
    every_order_was_decided_once(&log, paid);
    every_order_ended_right(world, paid).await?;
    the_books_are_balanced(world).await?;
    nothing_is_left_over(world).await?;
    world.nobody_panicked()?;
    views_equal_a_rebuild(world).await
}

fn nobody_is_refunded_twice_or_not_at_all(books: &Books, paid: &[Paid]) {
    for order in paid {
        let due = if order.fate == Fate::Failed { order.amount } else { Amount::ZERO };
        assert_eq!(books.refunded(&order.order), due, "{order:?}");
        let refunds: Vec<_> = books.refunds_of(&order.order).collect();
        assert_eq!(refunds.len(), usize::from(order.fate == Fate::Failed), "one request number: {order:?}");
        assert!(refunds.iter().all(|refund| refund.state == MovementState::Done), "{refunds:?}");
    }
    let known: BTreeSet<&OrderId> = paid.iter().map(|order| &order.order).collect();
    assert!(books.refunds.values().all(|refund| known.contains(&refund.order_no)));
    let calls: u32 = books.refunds.values().map(|refund| refund.calls).sum();
    let queries: u32 = books.repayments.values().map(|repayment| repayment.queries).sum();
    eprintln!("{} refunds, sent {calls} times; the bank was asked {queries} times", books.refunds.len());
}

pub fn event(record: &Record) -> Event {
    record.event().unwrap()
}

/// Positions are without a gap, and each answer of the door names the place of its own request.
fn every_acknowledged_request_is_in_the_log(log: &[Record], paid: &[Paid]) {
    let mut next = BTreeMap::<i32, i64>::new();
    for record in log {
        let next = next.entry(record.position.partition).or_default();
        assert_eq!(record.position.offset, *next);
        *next += 1;
    }
    let stored: BTreeMap<Position, &Record> = log.iter().map(|record| (record.position, record)).collect();
    for order in paid {
        let Some(position) = order.position else { continue };
        let request = event(stored[&position]);
        assert_eq!(
            (request.subject.as_str(), request.data.event_type()),
            (order.order.as_str(), "ledger.repayment.requested.v1")
        );
    }
}

/// Duplicates may stand in the log; they are one event by their id.
fn every_order_was_decided_once(log: &[Record], paid: &[Paid]) {
    let mut ids = BTreeMap::<(String, &'static str), BTreeSet<Uuid>>::new();
    let mut all = 0;
    for event in log.iter().map(event) {
        all += 1;
        ids.entry((event.subject.clone(), event.data.event_type())).or_default().insert(event.id);
    }
    let facts: usize = ids.values().map(BTreeSet::len).sum();
    eprintln!("{facts} events, of which {} stand in the log more than once or were sent again", all - facts);
    for order in paid {
        let count = |name: &'static str| ids.get(&(order.order.to_string(), name)).map_or(0, BTreeSet::len);
        let refunds = usize::from(order.fate == Fate::Failed);
        let found = [
            count("ledger.order.accepted.v1"),
            count("ledger.order.rejected.v1"),
            count("ledger.order.expired.v1"),
            count("ledger.payment.captured.v1"),
            count("ledger.refund.initiated.v1"),
            count("ledger.refund.completed.v1"),
            count("ledger.refund.cancelled.v1"),
            count("ledger.refund.escalated.v1"),
            count("ledger.repayment.confirmed.v1"),
        ];
        assert_eq!(found, [1, 0, 0, 1, refunds, refunds, 0, 0, usize::from(order.fate == Fate::Booked)], "{order:?}");
    }
}

/// The views and the coordinator fold the same log to the same end.
async fn every_order_ended_right(world: &World, paid: &[Paid]) -> Result<()> {
    let client = world.house.pool.get().await?;
    let shown = client.query("select order_id, status, refund from finance.orders", &[]).await?;
    let shown: BTreeMap<String, (String, String)> =
        shown.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    let known = client.query("select key, state from coordinator.orders", &[]).await?;
    let known: BTreeMap<String, String> = known.iter().map(|row| (row.get(0), row.get(1))).collect();
    for order in paid {
        let expected = match order.fate {
            Fate::Booked => ("completed", "none"),
            Fate::Failed => ("refunded", "completed"),
            Fate::Uncertain => ("uncertain", "none"),
        };
        let (status, refund) = shown.get(order.order.as_str()).with_context(|| format!("{order:?} is not shown"))?;
        assert_eq!((status.as_str(), refund.as_str()), expected, "{order:?}");
        let state = known.get(order.order.as_str()).with_context(|| format!("{order:?} is not known"))?;
        assert_eq!(serde_json::from_str::<Order>(state)?.status().as_str(), expected.0, "{order:?}");
    }
    assert_eq!((shown.len(), known.len()), (paid.len(), paid.len()), "no order that nobody asked for");
    Ok(())
}

pub async fn the_books_are_balanced(world: &World) -> Result<()> {
    let balances = report::balances(&world.house.pool).await?;
    let sum = balances.iter().map(|row| row.balance.parse::<Balance>()).sum::<Result<Balance, _>>()?;
    assert_eq!(sum, Balance::ZERO, "the trial balance");
    the_position_agrees(&report::position(&world.house.pool).await?);
    Ok(())
}

pub fn the_position_agrees(position: &PositionReport) {
    let [held, located, gap] =
        [&position.held, &position.located, &position.gap].map(|text| text.parse::<Balance>().unwrap());
    assert_eq!(located + gap, held);
}

pub async fn nothing_is_left_over(world: &World) -> Result<()> {
    let client = world.house.pool.get().await?;
    for table in ["finance.dead_letters", "finance.breaks", "coordinator.outbox"] {
        let left: i64 = client.query_one(&format!("select count(*) from {table}"), &[]).await?.get(0);
        assert_eq!(left, 0, "{table}");
    }
    let sql = "select count(*) from engine.task where state not in ('done', 'cancelled')";
    assert_eq!(client.query_one(sql, &[]).await?.get::<_, i64>(0), 0, "every task is done");
    Ok(())
}

/// Every table of the views that are shown.
pub async fn digests(world: &World) -> Result<BTreeMap<&'static str, TableDigest>> {
    let digests = |client: &mut postgres::Client| {
        let live = Generation::active(client)?;
        Ok(digest(client, &live)?)
    };
    world.house.with_client("faults", digests).await
}

pub async fn views_equal_a_rebuild(world: &World) -> Result<()> {
    let house = &world.house;
    let rebuild = Rebuild {
        log: house.log.clone(),
        topic: house.events_topic().to_owned(),
        postgres_url: house.postgres_url.clone(),
        policy: house.config.policy.clone(),
        stop: Stop::default(),
    };
    let rebuilt = house.with_client("ledger rebuild", move |client| Ok(rebuild.run(client)?)).await?;
    assert_eq!(rebuilt.differences, vec![]);
    assert_eq!(rebuilt.compared_at, house.ends().await?, "the live views are at the end of the log");
    Ok(())
}
