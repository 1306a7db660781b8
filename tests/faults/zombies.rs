//! A lane that was frozen, and whose lease is over, changes nothing when it wakes.

use std::{
    io::Write as _,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use engine::{
    clock::Clock,
    log::{Log, NewRecord, TopicSpec},
    stream::{Batch, Handler, Lane, LaneConfig, Stop, StreamError},
};
use ledger::config::Config;
use postgres::{Client, Transaction};

use crate::{
    audit,
    fleet::Process,
    load::{self, Fate, Payment},
    world::{LEASE, World, eventually, hurried},
};

const PARTITIONS: i32 = 4;
const RECORDS: usize = 200;

/// Where a lane freezes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    /// Between two statements of a batch.
    BetweenStatements,
    /// While Postgres waits for the rows of a COPY.
    InsideCopy,
    /// The batch is committed; what follows a commit is not done yet.
    AfterCommit,
}

/// A frost that a lane runs into once, and stays in until it thaws.
#[derive(Default)]
struct Frost {
    frozen: AtomicBool,
    thawed: (Mutex<bool>, Condvar),
}

impl Frost {
    fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
        let mut thawed = self.thawed.0.lock().unwrap();
        while !*thawed {
            thawed = self.thawed.1.wait(thawed).unwrap();
        }
    }

    fn thaw(&self) {
        *self.thawed.0.lock().unwrap() = true;
        self.thawed.1.notify_all();
    }

    fn waits_until_frozen(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.frozen.load(Ordering::SeqCst) {
            assert!(Instant::now() < until, "the lane never froze");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Writes down which lane has applied which record.
struct Scribe {
    name: &'static str,
    freezes: Option<(Where, Arc<Frost>)>,
}

impl Scribe {
    fn freezes(&mut self, place: Where) {
        if let Some((_, frost)) = self.freezes.take_if(|(own, _)| *own == place) {
            frost.freeze();
        }
    }
}

impl Handler for Scribe {
    fn assigned(&mut self, _: &mut Client, _: &[i32]) -> Result<(), StreamError> {
        Ok(())
    }

    fn apply(&mut self, tx: &mut Transaction<'_>, batch: &Batch) -> Result<(), StreamError> {
        self.freezes(Where::BetweenStatements);
        let passing = |error: std::io::Error| StreamError::Passing(error.to_string());
        let mut copy = tx.copy_in("copy applied from stdin")?;
        for record in &batch.records {
            writeln!(copy, "{}\t{}\t{}", record.position.partition, record.position.offset, self.name)
                .map_err(passing)?;
        }
        copy.flush().map_err(passing)?;
        self.freezes(Where::InsideCopy);
        copy.finish()?;
        Ok(())
    }

    fn committed(&mut self, _: &mut Client) -> Result<(), StreamError> {
        self.freezes(Where::AfterCommit);
        Ok(())
    }

    fn reset(&mut self) {}
}

struct Bed {
    log: Arc<dyn Log>,
    url: String,
    topic: String,
    stop: Stop,
    lanes: Vec<thread::JoinHandle<()>>,
    client: Client,
}

impl Bed {
    fn new(config: Config) -> Self {
        let url = config.postgres_url;
        let mut client = engine::postgres::connect(&url, "zombies").unwrap();
        engine::postgres::migrate(&mut client, "engine", engine::MIGRATIONS).unwrap();
        client.batch_execute("create table applied (partition int, \"offset\" bigint, lane text)").unwrap();
        let log = engine::log::open(&config.log, &url).unwrap();
        let topic = config.topic_prefix + ".zombies";
        log.apply(&TopicSpec {
            name: topic.clone(),
            partitions: PARTITIONS,
            replication: 1,
            settings: Default::default(),
        })
        .unwrap();
        Self { log, url, topic, stop: Stop::default(), lanes: Vec::new(), client }
    }

    fn append(&self) {
        let record = |number: usize| NewRecord {
            key: format!("key-{number}"),
            headers: Default::default(),
            value: Vec::new(),
            timestamp: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let appended = runtime.block_on(self.log.append(&self.topic, (0..RECORDS).map(record).collect()));
        assert!(appended.iter().all(std::result::Result::is_ok));
    }

    fn lane(&mut self, name: &'static str, freezes: Option<(Where, Arc<Frost>)>) {
        let config =
            LaneConfig { lease: Duration::from_millis(500), ..LaneConfig::new("scribes", &self.topic, &self.url) };
        let lane = Lane::new(config, self.log.clone(), Clock::System, Scribe { name, freezes }, self.stop.clone());
        self.lanes.push(thread::spawn(move || lane.run().unwrap()));
    }

    /// Waits until so many records have been applied; each must have been applied once.
    fn has_applied(&mut self, count: usize) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let row = self
                .client
                .query_one("select count(*), count(distinct (partition, \"offset\")) from applied", &[])
                .unwrap();
            let (all, distinct): (i64, i64) = (row.get(0), row.get(1));
            assert_eq!(all, distinct, "a record was applied twice");
            if usize::try_from(all).unwrap() == count {
                return;
            }
            assert!(Instant::now() < until, "{all} of {count} records are applied");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn applied_by(&mut self, lane: &str) -> i64 {
        self.client.query_one("select count(*) from applied where lane = $1", &[&lane]).unwrap().get(0)
    }
}

/// A lane freezes in its first batch, another takes its partitions over, and the first one wakes.
async fn a_frozen_lane(place: Where) -> Result<()> {
    let config = ledger_tests::config().await?;
    tokio::task::spawn_blocking(move || {
        let (mut bed, frost) = (Bed::new(config), Arc::new(Frost::default()));
        bed.append();
        bed.lane("first", Some((place, frost.clone())));
        frost.waits_until_frozen();
        let committed = bed.applied_by("first");
        bed.lane("second", None);
        bed.append();
        bed.has_applied(2 * RECORDS);
        assert_eq!(bed.applied_by("first"), committed, "only what was committed before it froze");
        frost.thaw();
        thread::sleep(Duration::from_millis(500));
        assert_eq!(bed.applied_by("first"), committed, "it wrote nothing when it woke");
        bed.append();
        bed.has_applied(3 * RECORDS);
        // Once it is awake it has its share again.
        while bed.applied_by("first") == committed {
            thread::sleep(Duration::from_millis(300));
            bed.append();
        }
        bed.stop.stop();
        bed.lanes.drain(..).for_each(|lane| lane.join().unwrap());
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_freezes_inside_its_batch_writes_nothing_when_it_wakes() -> Result<()> {
    a_frozen_lane(Where::BetweenStatements).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_freezes_inside_a_copy_keeps_nobody_else_from_working() -> Result<()> {
    a_frozen_lane(Where::InsideCopy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_freezes_after_its_commit_writes_nothing_when_it_wakes() -> Result<()> {
    a_frozen_lane(Where::AfterCommit).await
}

/// Places so many orders; each is a handful of events.
async fn orders(world: &Arc<World>, numbers: std::ops::Range<usize>) -> Result<()> {
    let payments = numbers.map(|number| Payment::new(number, Fate::Booked, Default::default())).collect();
    load::pay_all(world, payments, Duration::ZERO).await?;
    Ok(())
}

/// Freezes the process while its backend is inside a transaction.
async fn freeze_inside_a_batch(world: &World, process: &Process, views: &str) -> Result<()> {
    let client = world.house.pool.get().await?;
    let sql = "select exists (select from pg_stat_activity where application_name = $1 and xact_start is not null)";
    let name = format!("ledger {views}");
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        if client.query_one(sql, &[&name]).await?.get(0) {
            process.freeze()?;
            // Its last statement may just have ended the transaction.
            tokio::time::sleep(Duration::from_millis(50)).await;
            if client.query_one(sql, &[&name]).await?.get(0) {
                return Ok(());
            }
            process.wake()?;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    anyhow::bail!("{} was never met inside a batch", process.name)
}

async fn views_are_at(world: &World, ends: &[i64]) -> Result<()> {
    let views = world.views().await?;
    eventually("the views are at the end", async || {
        Ok(engine::stream::progress(&world.house.pool, &views).await?.has_reached(ends))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_was_frozen_inside_a_batch_writes_nothing_when_it_wakes() -> Result<()> {
    const ORDERS: usize = 150;
    let world = Arc::new(World::open(hurried(ledger_tests::config().await?)).await?);
    let _others = ["door", "coordinator", "executor"].map(|role| world.process(role, role).unwrap());
    let first = world.process("projector-1", "projector")?;
    world.door_is_open().await?;
    let views = world.views().await?;
    world.is_held_by(&views, 1).await?;
    for round in 0..3 {
        let load = {
            let world = world.clone();
            tokio::spawn(async move { orders(&world, round * ORDERS..(round + 1) * ORDERS).await })
        };
        freeze_inside_a_batch(&world, &first, &views).await?;
        let mut second = world.process(&format!("projector-2-{round}"), "projector")?;
        load.await??;
        world.comes_to_rest(Duration::from_secs(60)).await?;
        world.is_held_by(&views, 1).await?;
        let before = audit::digests(&world).await?;
        first.wake()?;
        world.is_held_by(&views, 2).await.context("it shares the partitions again")?;
        assert_eq!(audit::digests(&world).await?, before, "it wrote nothing");
        second.terminate().await?;
        world.is_held_by(&views, 1).await?;
    }
    audit::views_equal_a_rebuild(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn projectors_share_the_partitions_and_hand_over_without_a_gap() -> Result<()> {
    const ORDERS: usize = 60;
    let world = Arc::new(World::open(hurried(ledger_tests::config().await?)).await?);
    let _others = ["door", "coordinator", "executor"].map(|role| world.process(role, role).unwrap());
    let mut first = world.process("projector-1", "projector")?;
    world.door_is_open().await?;
    let views = world.views().await?;
    world.is_held_by(&views, 1).await?;
    let load = {
        let world = world.clone();
        tokio::spawn(async move { orders(&world, 0..4 * ORDERS).await })
    };
    let mut second = world.process("projector-2", "projector")?;
    world.is_held_by(&views, 2).await?;
    // One that ends by itself lets go at once; one that is killed keeps its partitions for its lease.
    first.terminate().await?;
    let began = Instant::now();
    world.is_held_by(&views, 1).await?;
    let handed_over = began.elapsed();
    first.restart()?;
    world.is_held_by(&views, 2).await?;
    second.kill9()?;
    world.is_held_by(&views, 1).await?;
    second.restart()?;
    world.is_held_by(&views, 2).await?;
    load.await??;
    world.comes_to_rest(Duration::from_secs(60)).await?;
    views_are_at(&world, &world.house.ends().await?).await?;
    eprintln!("handed over in {handed_over:?}");
    ensure!(handed_over < LEASE * 3, "handed over only after {handed_over:?}");
    audit::views_equal_a_rebuild(&world).await
}

/// The log in Postgres hands out offsets under a lock, and a process can freeze while it holds it. No other log does.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_hangs_does_not_keep_others_from_appending_for_long() -> Result<()> {
    let world = World::open(Config { log: "postgres".to_owned(), ..ledger_tests::config().await? }).await?;
    let (frost, url) = (Arc::new(Frost::default()), world.house.postgres_url.clone());
    let frozen = {
        let frost = frost.clone();
        tokio::task::spawn_blocking(move || {
            let mut client = engine::postgres::connect(&url, "ledger log writer").unwrap();
            let mut tx = client.transaction().unwrap();
            tx.execute("select from log.head for update", &[]).unwrap();
            let copy = tx.copy_in("copy log.record from stdin").unwrap();
            frost.freeze();
            copy.finish().unwrap_err();
        })
    };
    tokio::task::spawn_blocking({
        let frost = frost.clone();
        move || frost.waits_until_frozen()
    })
    .await?;
    let record = NewRecord { key: "key".to_owned(), headers: Default::default(), value: Vec::new(), timestamp: None };
    let began = Instant::now();
    let answer = world.house.log.append(world.house.events_topic(), vec![record]).await.remove(0);
    let took = began.elapsed();
    frost.thaw();
    frozen.await?;
    eprintln!("appended after {took:?}: {answer:?}");
    assert!(answer.is_ok() && took < Duration::from_secs(25), "{took:?}: {answer:?}");
    Ok(())
}
