//! A request lapses by the log's time: an outage expires nobody falsely, and forgets nobody.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use fastrand::Rng;
use ledger::config::Config;
use producers::coordinator;
use schemas::{Data, Event, OrderId};
use uuid::Uuid;

use crate::{
    audit,
    engines::Engines,
    fleet::Process,
    load::{self, Fate, Payment},
    world::{World, eventually, hurried},
};

/// How long a request may wait for its payment in these tests.
const TTL: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

fn config(config: Config) -> Config {
    let mut config = hurried(config);
    config.policy.in_flight_ttl_s = u32::try_from(TTL.as_secs()).unwrap();
    // The door need not wait for a coordinator that is away.
    config.door.answer_timeout_ms = 500;
    config
}

fn payment(number: usize) -> Payment {
    Payment::new(number, Fate::Booked, Default::default())
}

/// Door, projector and executor, and the coordinator that the tests play with.
async fn start(world: &World) -> Result<(Vec<Process>, Process)> {
    let others = ["door", "projector", "executor"].map(|role| world.process(role, role));
    let coordinator = world.process("coordinator", "coordinator")?;
    world.door_is_open().await?;
    world.is_held_by(coordinator::PROJECTION, 1).await?;
    Ok((others.into_iter().collect::<Result<_>>()?, coordinator))
}

/// What the log says about the time of one order.
#[derive(Debug, Default)]
struct Story {
    expires_at: Option<DateTime<Utc>>,
    captured_at: Option<DateTime<Utc>>,
    /// A decision whose append was not acknowledged stands in the log twice, and is one.
    expired: BTreeSet<Uuid>,
}

impl Story {
    /// The payment was in the log before the request's time was over.
    fn is_in_time(&self) -> bool {
        self.captured_at.zip(self.expires_at).is_some_and(|(captured, expires)| captured < expires)
    }
}

async fn story(world: &World, order: &OrderId) -> Result<Story> {
    let mut story = Story::default();
    for record in world.log().await? {
        let event = audit::event(&record);
        if event.subject == order.as_str() {
            note(&mut story, &event, record.timestamp);
        }
    }
    Ok(story)
}

fn note(story: &mut Story, event: &Event, recorded_at: DateTime<Utc>) {
    match &event.data {
        Data::OrderAccepted(accepted) => story.expires_at = Some(accepted.expires_at.to_utc()),
        Data::PaymentCaptured(_) => story.captured_at = story.captured_at.or(Some(recorded_at)),
        Data::OrderExpired(_) => _ = story.expired.insert(event.id),
        _ => {}
    }
}

async fn status(world: &World, order: &OrderId) -> Result<String> {
    Ok(projections::report::find_order(&world.house.pool, order.as_str()).await?.context("the order is shown")?.status)
}

async fn ends_completed(world: &World, order: &OrderId) -> Result<()> {
    let story = story(world, order).await?;
    assert!(story.is_in_time(), "the test was too slow: {story:?}");
    assert_eq!((status(world, order).await?.as_str(), story.expired.len()), ("completed", 0), "{story:?}");
    Ok(())
}

async fn ends_expired(world: &World, order: &OrderId) -> Result<()> {
    let story = story(world, order).await?;
    assert_eq!((status(world, order).await?.as_str(), story.expired.len()), ("expired", 1), "{story:?}");
    Ok(())
}

async fn pay(world: &World, order: &OrderId, payment: &Payment) -> Result<()> {
    world.pay_and_tell(order, payment.channel, &payment.amount).await
}

/// Four orders across an absence of the coordinator: asked for before it or during it, paid in time or not at all.
async fn four_orders(
    world: &World,
    mut away: impl AsyncFnMut() -> Result<()>,
    back: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let (paid, unpaid) = (load::ask(world, &payment(1)).await?.0, load::ask(world, &payment(2)).await?.0);
    away().await?;
    pay(world, &paid, &payment(1)).await?;
    let later = load::request(world, &payment(3)).await?.0;
    pay(world, &later, &payment(3)).await?;
    let forgotten = load::request(world, &payment(4)).await?.0;
    tokio::time::sleep(TTL + Duration::from_secs(1)).await;
    back().await?;
    world.comes_to_rest(PATIENCE).await?;
    for order in [paid, later] {
        ends_completed(world, &order).await?;
    }
    for order in [unpaid, forgotten] {
        ends_expired(world, &order).await?;
    }
    audit::nothing_is_left_over(world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_was_killed_expires_nobody_falsely() -> Result<()> {
    let world = World::open(config(ledger_tests::config().await?)).await?;
    let (_others, mut coordinator) = start(&world).await?;
    let coordinator = std::cell::RefCell::new(&mut coordinator);
    four_orders(&world, async || coordinator.borrow_mut().kill9(), async || coordinator.borrow_mut().restart()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_was_frozen_expires_nobody_falsely() -> Result<()> {
    let world = World::open(config(ledger_tests::config().await?)).await?;
    let (_others, coordinator) = start(&world).await?;
    four_orders(&world, async || coordinator.freeze(), async || coordinator.wake()).await
}

/// The payment is in the log, and the log is gone before the coordinator has read it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_away_expires_nobody_falsely() -> Result<()> {
    let mut engines = Engines::start().await?;
    let world = World::open(config(engines.config())).await?;
    let (_others, coordinator) = start(&world).await?;
    let (paid, unpaid) = (load::ask(&world, &payment(1)).await?.0, load::ask(&world, &payment(2)).await?.0);
    coordinator.freeze()?;
    pay(&world, &paid, &payment(1)).await?;
    engines.take_log_away().await?;
    coordinator.wake()?;
    tokio::time::sleep(TTL + Duration::from_secs(1)).await;
    engines.bring_log_back().await?;
    eventually("the ledger goes on", async || Ok(world.house.ends().await.is_ok())).await?;
    world.comes_to_rest(PATIENCE).await?;
    ends_completed(&world, &paid).await?;
    ends_expired(&world, &unpaid).await?;
    audit::nothing_is_left_over(&world).await?;
    engines.done();
    Ok(())
}

/// An append has its time in the log before anybody can read it, and a slow disk may keep it in between for long. So it
/// is with the log in Postgres; a single broker of Kafka shows a record as soon as it has its time.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_being_appended_at_the_deadline_is_in_time() -> Result<()> {
    let world = World::open(Config { log: "postgres".to_owned(), ..config(ledger_tests::config().await?) }).await?;
    let (_others, _coordinator) = start(&world).await?;
    // On a busy machine the append may come too late to be kept waiting; then another order is tried.
    for number in 1..=10 {
        let order = load::ask(&world, &payment(number)).await?.0;
        // The order is told to be admitted before the log says so; that must not wait for the lock.
        world.house.come_to_rest(TTL).await?;
        let expires_at = story(&world, &order).await?.expires_at.context("the order is accepted")?;
        until(expires_at - Duration::from_millis(1_500)).await;
        let mut client = world.house.pool.get().await?;
        let appends = client.transaction().await?;
        // Appends get their time and then wait for this lock, for less than the writer's lock_timeout.
        appends.batch_execute("lock table log.record in share mode").await?;
        world.pay(&order, payment(number).channel, &payment(number).amount)?;
        until(expires_at + Duration::from_secs(1)).await;
        appends.rollback().await?;
        world.comes_to_rest(PATIENCE).await?;
        if story(&world, &order).await?.is_in_time() {
            return ends_completed(&world, &order).await;
        }
    }
    anyhow::bail!("in ten attempts no append began before the deadline");
}

async fn until(time: DateTime<Utc>) {
    tokio::time::sleep((time - Utc::now()).to_std().unwrap_or_default()).await;
}

/// Many orders are paid around their deadline while the coordinator comes and goes.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_expires_exactly_if_no_payment_is_in_the_log_in_time() -> Result<()> {
    const ORDERS: usize = 200;
    let mut dice = crate::dice("an_order_expires_exactly_if_no_payment_is_in_the_log_in_time");
    let world = Arc::new(World::open(config(ledger_tests::config().await?)).await?);
    let (_others, mut coordinator) = start(&world).await?;
    let payers: Vec<_> =
        (0..ORDERS).map(|number| tokio::spawn(pay_near_the_deadline(world.clone(), number, dice.fork()))).collect();
    let until = Instant::now() + TTL * 2;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(dice.u64(200..1_500))).await;
        let time = Duration::from_millis(dice.u64(0..2_500));
        if dice.bool() {
            coordinator.kill9()?;
            tokio::time::sleep(time).await;
            coordinator.restart()?;
        } else {
            coordinator.freeze()?;
            tokio::time::sleep(time).await;
            coordinator.wake()?;
        }
    }
    let mut orders = Vec::new();
    for payer in payers {
        orders.push(payer.await??);
    }
    world.is_held_by(coordinator::PROJECTION, 1).await?;
    world.comes_to_rest(PATIENCE).await?;
    let mut stories = std::collections::BTreeMap::<String, Story>::new();
    for record in world.log().await? {
        let event = audit::event(&record);
        note(stories.entry(event.subject.clone()).or_default(), &event, record.timestamp);
    }
    let in_time = orders.iter().filter(|order| stories[order.as_str()].is_in_time()).count();
    eprintln!("{in_time} of {ORDERS} payments were in time");
    for order in &orders {
        let story = &stories[order.as_str()];
        assert_eq!(story.expired.len(), usize::from(!story.is_in_time()), "{order}: {story:?}");
        assert_eq!(status(&world, order).await?, "completed", "a late payment asks the bank as well");
    }
    audit::nothing_is_left_over(&world).await
}

async fn pay_near_the_deadline(world: Arc<World>, number: usize, mut dice: Rng) -> Result<OrderId> {
    tokio::time::sleep(Duration::from_millis(dice.u64(0..3_000))).await;
    let payment = payment(number);
    let asked = Instant::now();
    let order = load::request(&world, &payment).await?.0;
    let near = TTL - Duration::from_millis(400) + Duration::from_millis(dice.u64(0..800));
    tokio::time::sleep(near.saturating_sub(asked.elapsed())).await;
    pay(&world, &order, &payment).await?;
    Ok(order)
}
