//! What the scenarios of all systems look at: orders, their events, the books and the breaks.

use anyhow::{Context, Result};
use engine::log::read_to;
use ledger::{commands::demo, play::Stage};
use projections::report::{self, OrderReport};
use schemas::{Event, OrderId, Position};

pub(crate) async fn order(stage: &Stage, id: &OrderId) -> Result<OrderReport> {
    report::find_order(&stage.house.pool, id.as_str()).await?.context("the order has no row")
}

pub(crate) async fn status(stage: &Stage, id: &OrderId) -> Result<String> {
    Ok(order(stage, id).await?.status)
}

/// The balance of an account, of all its owners together.
pub(crate) async fn balance(stage: &Stage, account: i32) -> Result<String> {
    let balances = report::balances(&stage.house.pool).await?;
    let sum: schemas::Balance = balances
        .iter()
        .filter(|row| row.account == account)
        .map(|row| row.balance.parse::<schemas::Balance>())
        .sum::<Result<_, _>>()?;
    Ok(sum.to_string())
}

pub(crate) async fn balances<const N: usize>(stage: &Stage, accounts: [i32; N]) -> Result<Vec<String>> {
    let mut found = Vec::with_capacity(N);
    for account in accounts {
        found.push(balance(stage, account).await?);
    }
    Ok(found)
}

pub(crate) async fn timeline(stage: &Stage, id: &OrderId) -> Result<Vec<Event>> {
    let positions: Vec<Position> = projections::timeline::positions(&stage.house.pool, id).await?;
    let (log, topic) = (stage.house.log.clone(), stage.house.events_topic().to_owned());
    let read = tokio::task::spawn_blocking(move || projections::timeline::read(&*log, &topic, &positions)).await??;
    Ok(read.into_iter().map(|read| read.event).collect())
}

/// Everything that stands in the log, partition by partition.
pub(crate) async fn everything(stage: &Stage) -> Result<Vec<Event>> {
    let (log, topic, ends) =
        (stage.house.log.clone(), stage.house.events_topic().to_owned(), stage.house.ends().await?);
    let read = move || {
        let mut events = Vec::new();
        read_to(&*log, &topic, &vec![0; ends.len()], &ends, |record| {
            events.push(record.event()?);
            Ok::<_, anyhow::Error>(())
        })?;
        Ok(events)
    };
    tokio::task::spawn_blocking(read).await?
}

pub(crate) async fn count(stage: &Stage, id: &OrderId, event: &str) -> Result<usize> {
    Ok(timeline(stage, id).await?.iter().filter(|read| read.data.event_type().contains(event)).count())
}

pub(crate) async fn breaks(stage: &Stage) -> Result<Vec<String>> {
    let rows =
        stage.house.pool.get().await?.query("select class from finance.breaks where open order by class", &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Plays the worked day of a system, and checks every figure of it.
pub(crate) async fn the_worked_day_agrees(system: demo::System) -> Result<()> {
    let stage = Stage::open(ledger_tests::config().await?, demo::start_of_day()?).await?;
    let day = demo::play(&stage, system, |_| ()).await?;
    assert!(!day.checks.is_empty(), "a day without figures shows nothing");
    for check in &day.checks {
        assert!(check.agrees(), "{check:?}");
    }
    stage.close().await
}
