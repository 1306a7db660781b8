//! The storm: while 2,000 orders run, every role and every engine is killed or frozen again and again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use fastrand::Rng;
use projections::report;
use rustix::process::Signal;

use crate::{
    audit,
    engines::{Engines, Kafka},
    fleet::{Death, Process},
    load::{self, Paid, Payment},
    world::{LEASE, World, hurried},
};

const ORDERS: usize = 2_000;
const LOAD: Duration = Duration::from_secs(45);
const STORM: Duration = Duration::from_secs(50);
/// At this time everything is killed at once.
const POWER_CUT: Duration = Duration::from_secs(25);
/// From the end of the storm until nothing is under way any more.
const CALM: Duration = Duration::from_secs(60);

/// Two of each, so that there is somebody to take over; one door, because its address is one.
const FLEET: [(&str, &str); 7] = [
    ("door", "door"),
    ("projector-1", "projector"),
    ("projector-2", "projector"),
    ("coordinator-1", "coordinator"),
    ("coordinator-2", "coordinator"),
    ("executor-1", "executor"),
    ("executor-2", "executor"),
];

/// What happens to a process, and when.
#[derive(Clone, Copy, Debug)]
struct Fault {
    at: Duration,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// `kill -9`, and after a while it is started again.
    Kill { away: Duration },
    /// SIGSTOP, then SIGCONT.
    Freeze { time: Duration },
}

impl Kind {
    fn time(self) -> Duration {
        let (Self::Kill { away: time } | Self::Freeze { time }) = self;
        time
    }
}

#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    freezes: usize,
    /// Ended by themselves before they were at work, because an engine was away: how often, by their last line.
    failed_starts: BTreeMap<String, usize>,
    /// Ended by themselves at work: nothing that passes may do that.
    deaths: Vec<Death>,
}

fn ms(dice: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(dice.u64(from..to))
}

/// Some are shorter than the lease, most are longer.
fn freeze(dice: &mut Rng) -> Kind {
    Kind::Freeze { time: ms(dice, 1_000, 5_000) + LEASE / 4 }
}

/// Faults of one process, one after the other.
fn timeline(dice: &mut Rng) -> Vec<Fault> {
    let mut faults = vec![Fault { at: POWER_CUT, kind: Kind::Kill { away: ms(dice, 500, 3_000) } }];
    let mut at = ms(dice, 500, 5_000);
    while at < STORM {
        let kind = if dice.bool() { Kind::Kill { away: ms(dice, 0, 1_500) } } else { freeze(dice) };
        faults.push(Fault { at, kind });
        at += kind.time() + ms(dice, 1_000, 6_000);
    }
    in_order(faults)
}

/// Faults of an engine: in turns it is frozen for longer than a broker's session (3 s, see `kafka.sh`), and killed, which
/// it comes back from by itself.
fn faults_of_an_engine(dice: &mut Rng) -> Vec<Fault> {
    let killed = Kind::Kill { away: Duration::ZERO };
    let mut faults = vec![Fault { at: POWER_CUT, kind: killed }];
    let mut at = ms(dice, 3_000, 9_000);
    while at < STORM {
        let frozen = Kind::Freeze { time: ms(dice, 3_500, 6_500) };
        let kind = if faults.len() % 2 == 1 { frozen } else { killed };
        faults.push(Fault { at, kind });
        at += kind.time() + ms(dice, 6_000, 14_000);
    }
    in_order(faults)
}

/// Nothing may last into the power cut, so that all do have it at once.
fn in_order(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.retain(|fault| fault.at >= POWER_CUT || fault.at + fault.kind.time() <= POWER_CUT);
    faults.sort_by_key(|fault| fault.at);
    faults
}

/// Does what the timeline says, and starts the process again whenever it has ended, as whoever runs it would.
async fn torment(mut process: Process, faults: Vec<Fault>, over: Arc<AtomicBool>) -> Result<Tally> {
    let (mut tally, began) = (Tally::default(), Instant::now());
    let mut faults = faults.into_iter().peekable();
    while !over.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Some(death) = process.death()? {
            if death.at_work {
                tally.deaths.push(death)
            } else {
                let last = death.last_words.lines().last().unwrap_or_default().to_owned();
                *tally.failed_starts.entry(last).or_default() += 1;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            process.restart()?;
        }
        match faults.next_if(|fault| fault.at <= began.elapsed()).map(|fault| fault.kind) {
            Some(Kind::Kill { away }) => {
                process.kill9()?;
                tally.kills += 1;
                tokio::time::sleep(away).await;
                process.restart()?;
            }
            Some(Kind::Freeze { time }) => {
                process.freeze()?;
                tally.freezes += 1;
                tokio::time::sleep(time).await;
                process.wake()?;
            }
            None => {}
        }
    }
    Ok(tally)
}

async fn torment_postgres(engines: Arc<Engines>, faults: Vec<Fault>) -> Tally {
    let (began, mut tally) = (Instant::now(), Tally::default());
    for Fault { at, kind } in faults {
        tokio::time::sleep(at.saturating_sub(began.elapsed())).await;
        match kind {
            Kind::Kill { .. } => {
                engines.kill_postgres();
                tally.kills += 1;
            }
            Kind::Freeze { time } => {
                tally.freezes += usize::from(engines.signal_postgres(Signal::STOP));
                tokio::time::sleep(time).await;
                engines.signal_postgres(Signal::CONT);
            }
        }
    }
    tally
}

async fn torment_kafka(kafka: Option<Kafka>, faults: Vec<Fault>) -> Result<Tally> {
    let (began, mut tally) = (Instant::now(), Tally::default());
    let Some(kafka) = kafka else { return Ok(tally) };
    for Fault { at, kind } in faults {
        tokio::time::sleep(at.saturating_sub(began.elapsed())).await;
        // It may have been away for longer than until the next fault.
        if began.elapsed() >= STORM {
            break;
        }
        match kind {
            Kind::Kill { .. } => {
                kafka.kill().await?;
                kafka.resume().await?;
                tally.kills += 1;
            }
            Kind::Freeze { time } => {
                kafka.freeze().await?;
                tokio::time::sleep(time).await;
                kafka.wake().await?;
                tally.freezes += 1;
            }
        }
    }
    Ok(tally)
}

/// Looks at the books again and again while they are written, and answers how often it saw them.
async fn watch_the_books(world: Arc<World>, over: Arc<AtomicBool>) -> usize {
    let mut seen = 0;
    while !over.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Postgres may be away.
        if let Ok(position) = report::position(&world.house.pool).await {
            audit::the_position_agrees(&position);
            seen += 1;
        }
    }
    seen
}

async fn comes_to_rest(world: &World, paid: &[Paid]) -> Result<()> {
    audit::every_notice_is_acknowledged(world, paid, CALM).await?;
    world.comes_to_rest(CALM).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_or_frozen_every_order_ends_right() -> Result<()> {
    let mut dice = crate::dice("whatever_is_killed_or_frozen_every_order_ends_right");
    let engines = Arc::new(Engines::start().await?);
    let world = Arc::new(World::open(hurried(engines.config())).await?);
    let over = Arc::new(AtomicBool::new(false));
    let mut fleet = Vec::new();
    for (name, role) in FLEET {
        fleet.push(tokio::spawn(torment(world.process(name, role)?, timeline(&mut dice), over.clone())));
    }
    world.door_is_open().await?;
    let postgres = tokio::spawn(torment_postgres(engines.clone(), faults_of_an_engine(&mut dice)));
    let kafka = tokio::spawn(torment_kafka(engines.kafka(), faults_of_an_engine(&mut dice)));
    let books = tokio::spawn(watch_the_books(world.clone(), over.clone()));
    let payments = (0..ORDERS).map(|number| Payment::draw(number, &mut dice)).collect();
    let began = Instant::now();
    // Whichever fails first ends the test.
    let (paid, of_kafka) = tokio::try_join!(load::pay_all(&world, payments, LOAD), async { kafka.await? })?;
    let paid_after = began.elapsed();
    let of_postgres = postgres.await?;
    tokio::time::sleep(STORM.saturating_sub(began.elapsed())).await;

    let calm = comes_to_rest(&world, &paid).await;
    let rested_after = began.elapsed();
    over.store(true, Ordering::SeqCst);
    let mut tally = Tally::default();
    for process in fleet {
        let one = process.await??;
        tally.kills += one.kills;
        tally.freezes += one.freezes;
        for (why, count) in one.failed_starts {
            *tally.failed_starts.entry(why).or_default() += count;
        }
        tally.deaths.extend(one.deaths);
    }
    let killed = [&tally, &of_postgres, &of_kafka].map(|tally| tally.kills);
    let frozen = [&tally, &of_postgres, &of_kafka].map(|tally| tally.freezes);
    eprintln!("of roles, Postgres, Kafka: killed {killed:?}, frozen {frozen:?}");
    eprintln!("all paid after {paid_after:.1?}, at rest after {rested_after:.1?}");
    for (why, count) in &tally.failed_starts {
        eprintln!("{count} starts failed: {}", why.trim());
    }
    for death in &tally.deaths {
        eprintln!("ended by itself: {}", death.last_words);
    }
    let seen = books.await?;
    eprintln!("the books were seen {seen} times");
    calm?;
    audit::everything_is_right(&world, &paid).await?;
    assert!(seen > 100, "the books were seen {seen} times only");
    assert!(of_postgres.freezes > 0, "Postgres was never frozen");
    assert!(of_kafka.freezes > 0 || engines.kafka().is_none(), "Kafka was never frozen");
    assert!(tally.deaths.is_empty(), "nothing that passes may end a role");
    engines.done();
    Ok(())
}
