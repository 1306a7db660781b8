//! How fast the ledger is, against real engines on this machine: `cargo bench -p ledger-tests`.
//!
//! A projector and a coordinator, a process each, first follow a steady rate, and the time from append to visible view is
//! measured. Then a backlog of facts is appended from one process while they are stopped, and they work through it. Every figure is printed with what was checked.
//! LEDGER_TEST_KAFKA=host:port chooses Kafka, BENCH_POSTGRES_URL a Postgres (an empty database) other than the one that
//! the tests start; BENCH_EVENTS, BENCH_RATE and BENCH_SECONDS say how much.

#![allow(clippy::float_arithmetic, reason = "rates and times are no money")]

use std::{
    path::PathBuf,
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, FixedOffset};
use engine::{clock::Clock, log::Position};
use ledger::house::House;
use producers::publisher::Publisher;
use rules::business_day::shanghai;
use schemas::{Amount, Data, Event, Name, OrderId, Stream, events::*};
use uuid::Uuid;

/// Facts of one order, in the order in which they are told.
const FACTS: usize = 5;
/// Orders whose facts are interleaved.
const INTERLEAVED: usize = 1000;
/// The first order that is told at the steady rate, far beyond those of the backlog.
const STEADY_FIRST: usize = 1_000_000_000;
/// At the steady rate an order tells its next fact when this many others have begun, so that all kinds of facts come at
/// all times.
const STEADY_LAG: usize = 200;
const BATCH: usize = 100_000;

fn setting(name: &str, default: usize) -> Result<usize> {
    std::env::var(name).map_or(Ok(default), |text| text.parse().with_context(|| format!("{name} is a number")))
}

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo test` builds and runs benchmarks too, without this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let events = setting("BENCH_EVENTS", 1_000_000)?;
    let mut config = ledger_tests::config().await?;
    if let Ok(url) = std::env::var("BENCH_POSTGRES_URL") {
        config.postgres_url = url;
    }
    let house = House::open(config, Clock::System).await?;
    house.apply_topics().await?;
    describe(&house).await?;

    // The coordinator decides on what comes after its first start.
    let mut roles = Roles::start(&house)?;
    until_the_coordinator_has_begun(&house).await?;
    latency(&house, setting("BENCH_RATE", 2000)?, setting("BENCH_SECONDS", 15)?).await?;
    until_projected(&house, 0).await?;
    roles.stop()?;

    let before: i64 = house.ends().await?.iter().sum();
    let appended = append_backlog(&house.publisher(), events).await?;
    println!("append            {appended:>10.0} events/s from one process, acknowledged, {BATCH} in a batch");

    let started = Instant::now();
    roles = Roles::start(&house)?;
    let decisions = i64::try_from(events / FACTS * 2)?;
    let projected = until_projected(&house, before + i64::try_from(events)? + decisions).await? - before;
    let took = started.elapsed().as_secs_f64();
    let total = projected as f64;
    println!(
        "project           {:>10.0} facts/s, {:.0} events/s with the coordinator's decisions ({projected} in {took:.1} s)",
        events as f64 / took,
        total / took
    );
    check(&house, events).await?;
    for (name, child) in &roles.0 {
        println!("memory            {:>10} MB resident at the most, {name}", peak_memory_mb(child)?);
    }
    roles.stop()
}

async fn describe(house: &House) -> Result<()> {
    let version: String = house.pool.get().await?.query_one("select version()", &[]).await?.get(0);
    let cores = std::thread::available_parallelism()?;
    println!(
        "machine           {cores} cores; log {}; {}",
        house.config.log,
        version.split(" on ").next().unwrap_or_default()
    );
    println!(
        "settings          12 partitions, replication {}, acks=all, fsync on; one lane per role",
        house.config.replication
    );
    Ok(())
}

/// Projector and coordinator, each in a process of its own.
struct Roles(Vec<(&'static str, Child)>);

impl Roles {
    fn start(house: &House) -> Result<Self> {
        let start = |role| {
            let child = Command::new(binary()?)
                .args(["run", role])
                .env("LEDGER_LOG", &house.config.log)
                .env("LEDGER_POSTGRES_URL", &house.postgres_url)
                .env("LEDGER_TOPIC_PREFIX", &house.config.topic_prefix)
                .env("LEDGER_REPLICATION", house.config.replication.to_string())
                .env("LEDGER_SECRET", &house.config.secret)
                .env("RUST_LOG", "warn")
                .spawn()
                .context("the release binary cannot be started")?;
            Ok((role, child))
        };
        Ok(Self(["projector", "coordinator"].into_iter().map(start).collect::<Result<_>>()?))
    }

    fn stop(&mut self) -> Result<()> {
        for (_, child) in &mut self.0 {
            Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        }
        for (name, child) in &mut self.0 {
            ensure!(child.wait()?.success(), "the {name} did not end well");
        }
        self.0.clear();
        Ok(())
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            child.kill().unwrap_or_default();
        }
    }
}

/// The binary of this profile, beside the benchmark's own.
fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).context("a benchmark lies in target/<profile>/deps")?;
    let binary = folder.join("ledger");
    ensure!(binary.exists(), "build it first: cargo build --release (looked for {})", binary.display());
    Ok(binary)
}

fn name(text: &str) -> Name {
    text.parse().unwrap_or_else(|_| unreachable!("names of the benchmark are names"))
}

fn order(number: usize) -> OrderId {
    let mut token = [0; 10];
    token[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let stream = Stream::loan(token);
    OrderId::new(&stream, (number as u64).to_be_bytes()).unwrap_or_else(|| unreachable!("loans take orders"))
}

fn student(number: usize) -> Uuid {
    Uuid::from_u128(number as u128)
}

fn fact(number: usize, place: usize, now: DateTime<FixedOffset>) -> Event {
    let (id, channel, amount) = (order(number), name("ums-pos"), amount());
    let data: Data = match place {
        0 => RepaymentRequested {
            channel,
            beneficiary: name("cdb"),
            student: student(number),
            contract: id.stream().to_string(),
            contract_type: "origin".into(),
            amount,
            method: Some(Method::Card),
            enrolment: EnrolmentAnswer { result: Enrolment::Enrolled, checked_at: now },
            quote: ContractAnswer { found: true, outstanding: None, overdue: None, as_of: now },
            consent: Consent { version: "1".into(), consented_at: now },
            payer: None,
            merchant_id: None,
            terminal_id: None,
        }
        .into(),
        1 => PaymentInitiated { attempt: 1, method: Method::Card, amount, channel_order_no: None }.into(),
        2 => PaymentCaptured {
            channel,
            channel_txn_no: number.to_string(),
            method: Method::Card,
            amount,
            business_date: now.date_naive(),
            fee: None,
            instrument_masked: None,
            terminal: None,
            evidence: Evidence::AsyncNotice,
        }
        .into(),
        3 => RepaymentConfirmed {
            target: name("cdb"),
            amount,
            bank_ref: None,
            booked_date: None,
            principal: None,
            interest: None,
            evidence: Evidence::Query,
        }
        .into(),
        _ => ReceiptPrinted { medium: Medium::Slip, outcome_text: ReceiptText::Success, slip_sha256: None }.into(),
    };
    Event::about_order("/channels/ums-pos", &id, now, data)
}

fn amount() -> Amount {
    Amount::from_fen(10_000).unwrap_or_default()
}

/// Event `index` of the backlog: INTERLEAVED orders tell their first fact, then their second, and so on.
fn backlog_event(index: usize, now: DateTime<FixedOffset>) -> Event {
    let (block, within) = (index / (INTERLEAVED * FACTS), index % (INTERLEAVED * FACTS));
    fact(block * INTERLEAVED + within % INTERLEAVED, within / INTERLEAVED, now)
}

/// Event `index` at the steady rate: in turn a first fact of a new order, the second of an earlier one, and so on. None
/// where that order had begun before the first.
fn steady_event(index: usize, now: DateTime<FixedOffset>) -> Option<Event> {
    let (newest, place) = (index / FACTS, index % FACTS);
    let number = newest.checked_sub(place * STEADY_LAG)?;
    Some(fact(STEADY_FIRST + number, place, now))
}

/// Events each second, acknowledged. What is appended is made beforehand, so that only the log is measured.
async fn append_backlog(publisher: &Publisher, events: usize) -> Result<f64> {
    let mut spent = Duration::ZERO;
    for chunk in (0..events).collect::<Vec<_>>().chunks(BATCH) {
        let now = shanghai(&Clock::System.now());
        let made: Vec<Event> = chunk.iter().map(|index| backlog_event(*index, now)).collect();
        let started = Instant::now();
        // In one go, so that the log has the events in the order in which they are made here.
        publisher.append_all(&made, Duration::from_secs(60)).await?;
        spent += started.elapsed();
    }
    Ok(events as f64 / spent.as_secs_f64())
}

async fn until_the_coordinator_has_begun(house: &House) -> Result<()> {
    let client = house.pool.get().await?;
    let until = Instant::now() + Duration::from_secs(60);
    while client.query_one("select count(*) from coordinator.live_from", &[]).await?.get::<_, i64>(0) < 12 {
        ensure!(Instant::now() < until, "the coordinator did not begin");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Waits until the log has `least` events and views and coordinator have read all it has; answers how many events that is.
async fn until_projected(house: &House, least: i64) -> Result<i64> {
    loop {
        let ends = house.ends().await?;
        let total: i64 = ends.iter().sum();
        let client = house.pool.get().await?;
        let views = projections::report::active_schema(&client).await?;
        let sql = "select coalesce(min(read), 0)::bigint from
                   (select sum(next_offset) as read from engine.fence where projection in ($1, 'coordinator')
                    group by projection) r";
        let read: i64 = client.query_one(sql, &[&views]).await?.get(0);
        if read >= total && total >= least {
            return Ok(total);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The figures are worth nothing if the books are wrong.
async fn check(house: &House, facts: usize) -> Result<()> {
    let client = house.pool.get().await?;
    let sql = "select count(*) from finance.orders where status = 'completed' and student < $1";
    let completed: i64 = client.query_one(sql, &[&student(STEADY_FIRST)]).await?.get(0);
    ensure!(usize::try_from(completed)? == facts / FACTS, "{completed} orders are completed, not {}", facts / FACTS);
    let sum: i64 =
        client.query_one("select coalesce(sum(balance * 100), 0)::bigint from finance.balances", &[]).await?.get(0);
    ensure!(sum == 0, "the trial balance is {sum} fen");
    println!("checked           {completed:>10} orders completed, trial balance 0.00");
    Ok(())
}

/// Time from the start of an append until a reader of the views sees it, at a steady rate, once that is reached.
async fn latency(house: &House, rate: usize, seconds: usize) -> Result<()> {
    let publisher = house.publisher();
    let client = house.pool.get().await?;
    let views = projections::report::active_schema(&client).await?;
    let statement = client.prepare("select partition, next_offset from engine.fence where projection = $1").await?;
    let (sent, mut appended) = tokio::sync::mpsc::unbounded_channel::<(Instant, Vec<Position>)>();
    let each = rate / 100;
    // Until every place has an order, fewer than `rate` come.
    let rising = (STEADY_LAG * FACTS * (FACTS - 1)).div_ceil(each);
    let sender = tokio::spawn(async move {
        let step = Duration::from_millis(10);
        let mut ticks = tokio::time::interval(step);
        for tick in 0..rising + seconds * 100 {
            ticks.tick().await;
            let now = shanghai(&Clock::System.now());
            let batch: Vec<Event> =
                (tick * each..(tick + 1) * each).filter_map(|index| steady_event(index, now)).collect();
            let (publisher, sent) = (publisher.clone(), sent.clone());
            tokio::spawn(async move {
                let started = Instant::now();
                let appended = publisher.append_all(&batch, Duration::from_secs(10)).await;
                if let (Ok(positions), true) = (appended, tick >= rising) {
                    sent.send((started, positions)).unwrap_or_default();
                }
            });
        }
    });
    let mut waiting: Vec<(Instant, Position)> = Vec::new();
    let mut times = Vec::with_capacity(rate * seconds);
    let until = Instant::now() + Duration::from_secs((rising / 100 + seconds) as u64 + 20);
    while times.len() < each * 100 * seconds && Instant::now() < until {
        while let Ok((started, positions)) = appended.try_recv() {
            waiting.extend(positions.into_iter().map(|position| (started, position)));
        }
        let rows = client.query(&statement, &[&views]).await?;
        let now = Instant::now();
        let next: std::collections::HashMap<i32, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        waiting.retain(|(started, position)| {
            let visible = next.get(&position.partition).is_some_and(|next| *next > position.offset);
            if visible {
                times.push(now - *started);
            }
            !visible
        });
        // Counted as waiting, too.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sender.await?;
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0);
    println!(
        "latency           p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms from append to visible view at {rate} events/s ({} events)",
        at(50),
        at(99),
        times.last().map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0),
        times.len()
    );
    Ok(())
}

fn peak_memory_mb(child: &Child) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? / 1024)
}
