//! Orders of all systems through the real log: in whatever order their events stand in it, and however often, the views
//! show the same. Some hundred are played through the door, with every role at work. To play ten thousand would take ten
//! minutes, so what the log then holds is copied under other names until it holds so many, and two houses project it: one
//! in order, one shuffled and repeated. The rules have the same test for ten thousand orders of which no two are alike,
//! without a log.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use engine::{
    clock::Clock,
    log::{NewRecord, Record},
};
use fastrand::Rng;
use futures_util::{StreamExt, TryStreamExt, stream};
use ledger::{
    commands::demo::{self, traffic},
    house::House,
    play::Stage,
    roles::{Role, Running},
};
use ledger_tests::{all_records, monday};
use producers::{
    publisher::record,
    sandbox::{BankStep, MoveStep, SandboxConfig, Script, Share},
};
use projections::{generation::Generation, report};
use schemas::{Balance, Event, OrderId, Stream};
use serde_json::Value;
use uuid::Uuid;

const ORDERS: u64 = 300;
const AT_ONCE: usize = 8;
const PERMUTATIONS: u64 = 20;
/// More than ten thousand orders on Kafka; the log in Postgres has other tests of its size.
const COPIES_ON_KAFKA: u8 = 34;
const COPIES: u8 = 2;
/// So many records are on their way to the log at once.
const APPENDED_AT_ONCE: usize = 5_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// Columns that say where in the log something stands, and since when: what two have told, such as a debit that was answered
/// and notified, has been there since the first of them.
const OF_THE_LOG: [&str; 4] = ["last_offset", "offset", "history", "recorded_at"];

/// What an order remembers lists its captures as they arrived, because the first one funds it; what that means for finance
/// stands in the columns beside it.
const OF_ORDERS: [&str; 1] = ["state"];

/// The rows of each view.
type Views = BTreeMap<&'static str, Vec<String>>;

#[tokio::test(flavor = "multi_thread")]
async fn s36_events_shuffled_and_repeated_in_another_log_give_the_same_views() -> Result<()> {
    let stage = after_traffic().await?;
    let (log, topic) = (stage.house.log.clone(), stage.house.events_topic().to_owned());
    let read = tokio::task::spawn_blocking(move || all_records(&*log, &topic)).await??;
    let records = read.iter().map(as_it_was).collect::<Result<Vec<_>>>()?;
    let played = Shown::of(&stage.house).await?;
    for expected in ["completed", "refunded", "refund_pending", "uncollected", "awaiting_load", "uncertain"] {
        assert!(played.statuses.contains_key(expected), "no order is {expected}, only {:?}", played.statuses);
    }
    for seed in 0..PERMUTATIONS {
        let found = shown_of(&stage, shuffled(&records, seed)).await?;
        played.equals(&found, seed);
    }

    let copies = if stage.house.config.log == "postgres" { COPIES } else { COPIES_ON_KAFKA };
    let many = copied(&read, copies)?;
    let (in_order, in_disorder) =
        tokio::try_join!(shown_of(&stage, many.clone()), shown_of(&stage, shuffled(&many, PERMUTATIONS)))?;
    assert_eq!(in_order.statuses, times(&played.statuses, copies));
    assert!(copies == COPIES || in_order.statuses.values().sum::<i64>() >= 10_000, "{:?}", in_order.statuses);
    assert_eq!(in_order.balances, times(&played.balances, copies));
    in_order.equals(&in_disorder, PERMUTATIONS);
    stage.close().await
}

/// What a ledger shows.
struct Shown {
    views: Views,
    /// How many orders are in each status.
    statuses: BTreeMap<String, i64>,
    /// The balance of each account, of all its owners together, in fen.
    balances: BTreeMap<i32, i64>,
}

impl Shown {
    async fn of(house: &House) -> Result<Self> {
        let (mut statuses, mut balances) = (BTreeMap::new(), BTreeMap::new());
        for row in report::balances(&house.pool).await? {
            *balances.entry(row.account).or_default() += row.balance.parse::<Balance>()?.fen();
        }
        assert_eq!(balances.values().sum::<i64>(), 0, "the trial balance");
        let views = views(house).await?;
        for status in views["orders"].iter().filter_map(|row| status_of(row)) {
            *statuses.entry(status).or_default() += 1;
        }
        Ok(Self { views, statuses, balances })
    }

    fn equals(&self, other: &Self, seed: u64) {
        for ((table, rows), (_, found)) in self.views.iter().zip(&other.views) {
            assert_eq!(first_difference(rows, found), None, "{table}, seed {seed}");
        }
    }
}

fn times<K: Clone + Ord>(counts: &BTreeMap<K, i64>, times: u8) -> BTreeMap<K, i64> {
    counts.iter().map(|(key, count)| (key.clone(), count * i64::from(times))).collect()
}

/// In another order, and every tenth of them twice.
fn shuffled(records: &[NewRecord], seed: u64) -> Vec<NewRecord> {
    let mut random = Rng::with_seed(seed);
    let repeats = records.iter().filter(|_| random.u8(..10) == 0);
    let mut shuffled: Vec<NewRecord> = records.iter().chain(repeats).cloned().collect();
    random.shuffle(&mut shuffled);
    assert!(shuffled.len() > records.len());
    shuffled
}

/// What a ledger shows that knows these records alone.
async fn shown_of(stage: &Stage, records: Vec<NewRecord>) -> Result<Shown> {
    let house = House::open(ledger_tests::config().await?, Clock::simulated(stage.now().to_utc())).await?;
    house.apply_topics().await?;
    let projector = Running::start(&house, &[Role::Projector]).await?;
    append(&house, &records).await?;
    read_to_the_end(&house).await?;
    projector.stop().await?;
    Shown::of(&house).await
}

/// Everything that happened, so many times, each time to other contracts, cards, students and batches.
fn copied(read: &[Record], copies: u8) -> Result<Vec<NewRecord>> {
    let told = read.iter().map(|read| Ok((Some(read.timestamp), read.event()?.to_structured())));
    let told: Vec<(Option<DateTime<Utc>>, Value)> = told.collect::<Result<_>>()?;
    let mut copied = Vec::with_capacity(told.len() * usize::from(copies));
    for copy in 0..copies {
        let mut names = Names { copy, ids: HashMap::new() };
        for (timestamp, event) in &told {
            copied.push(NewRecord { timestamp: *timestamp, ..record(&names.renamed(event)?, &Clock::System) });
        }
    }
    Ok(copied)
}

/// What things are called in one copy.
struct Names {
    copy: u8,
    /// The ids of its events, by those that they had.
    ids: HashMap<Uuid, Uuid>,
}

impl Names {
    /// The same fact about something else; its id follows from that.
    fn renamed(&mut self, event: &Value) -> Result<Event> {
        let mut json = event.clone();
        self.rename("", &mut json);
        let renamed = Event::from_structured(json.to_string().as_bytes())?;
        let id: Uuid = event["id"].as_str().context("an event has an id")?.parse()?;
        self.ids.insert(id, renamed.id);
        Ok(renamed)
    }

    fn rename(&self, name: &str, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.name(name, text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.rename(name, value)),
            Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| self.rename(name, value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// What comes first in the log has its id when it is named by what comes after.
    fn name(&self, field: &str, text: &str) -> String {
        if let Ok(id) = text.parse::<Uuid>() {
            let other = || Uuid::new_v5(&id, &self.copy.to_be_bytes());
            return self.ids.get(&id).copied().unwrap_or_else(other).to_string();
        }
        if let Ok(order) = text.parse::<OrderId>() {
            return format!("{}{}", order.kind().letter(), self.token(&text[1..]));
        }
        match text.parse::<Stream>().ok().and_then(|stream| stream.kind()) {
            Some(kind) => format!("{}{}", kind.prefix(), self.token(&text[kind.prefix().len()..])),
            None if ["channel_txn_no", "batch_no", "bank_ref", "number"].contains(&field) => {
                format!("{text}-{}", self.copy)
            }
            None => text.to_owned(),
        }
    }

    /// The first two letters say which copy it is of; the others still tell it from the rest.
    fn token(&self, token: &str) -> String {
        let letter = |number: u8| char::from(b'A' + number % 26);
        format!("{}{}{}", letter(self.copy / 26), letter(self.copy), &token[2..])
    }
}

/// A few days of all systems, some of whose orders go wrong, and a settlement.
async fn after_traffic() -> Result<Stage> {
    let config = ledger_tests::config().await?;
    // More goes wrong than in the demo, so that each of its misfortunes is met; and some orders never get an answer.
    let mut shares = traffic::misfortunes();
    shares.iter_mut().for_each(|share| share.per_mille *= 2);
    let unanswered = [
        Script { bank: vec![BankStep::Uncertain], ..Script::default() },
        Script { postings: vec![MoveStep::Http500NotDone], ..Script::default() },
    ];
    shares.extend(unanswered.map(|script| Share { per_mille: 200, script }));
    let played = SandboxConfig { shares, ..SandboxConfig::default() };
    let stage = Stage::open_by(config, Clock::simulated(monday("09:00:00")?.to_utc()), played).await?;
    stream::iter(0..traffic::CARDS)
        .map(|card| traffic::sign(&stage, card))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    stream::iter(0..ORDERS)
        .map(|number| traffic::journey(&stage, number))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    for order in stage.sandbox.books().captures.keys() {
        stage.notified(order).await?;
    }
    pay_some_twice(&stage).await?;
    for wait in [60, 600, 3600, 2 * 86_400] {
        stage.wait(wait).await?;
    }
    demo::settle(&stage).await?;
    Ok(stage)
}

/// On the next day, when what was paid first is long decided.
async fn pay_some_twice(stage: &Stage) -> Result<()> {
    stage.wait(86_400).await?;
    for capture in stage.sandbox.books().captures.values().flatten().step_by(2) {
        stage.pay(&capture.order_no, capture.channel.as_str(), capture.method, &capture.amount.to_string())?;
        stage.notified(&capture.order_no).await?;
    }
    Ok(())
}

/// With the time that it had in the log it comes from, so that every log says the same about when things happened.
fn as_it_was(read: &Record) -> Result<NewRecord> {
    let Record { timestamp, key, headers, value, .. } = read.clone();
    Ok(NewRecord { key: String::from_utf8(key)?, headers, value, timestamp: Some(timestamp) })
}

async fn append(house: &House, records: &[NewRecord]) -> Result<()> {
    for some in records.chunks(APPENDED_AT_ONCE) {
        let appended = house.log.append(house.events_topic(), some.to_vec()).await;
        appended.into_iter().try_for_each(|appended| appended.map(|_| ()))?;
    }
    Ok(())
}

async fn read_to_the_end(house: &House) -> Result<()> {
    let views = report::active_schema(&house.pool.get().await?).await?;
    for (partition, end) in (0..).zip(house.ends().await?).filter(|(_, end)| *end > 0) {
        let last = schemas::Position { partition, offset: end - 1 };
        ensure!(engine::stream::wait_until_applied(&house.pool, &views, last, PATIENCE).await?, "{last} was not read");
    }
    Ok(())
}

/// The rows of every view, each as text without what is the log's own.
async fn views(house: &House) -> Result<Views> {
    let schema = report::active_schema(&house.pool.get().await?).await?;
    let mut views = Views::new();
    for table in Generation::tables() {
        let left_out: Vec<&str> =
            OF_THE_LOG.into_iter().chain(OF_ORDERS.into_iter().filter(|_| table == "orders")).collect();
        let sql = format!("select (to_jsonb(t) - $1::text[])::text from {schema}.{table} t order by 1");
        let rows = house.pool.get().await?.query(&sql, &[&left_out]).await?;
        views.insert(table, rows.iter().map(|row| row.get(0)).collect());
    }
    Ok(views)
}

fn status_of(row: &str) -> Option<String> {
    Some(serde_json::from_str::<serde_json::Value>(row).ok()?["status"].as_str()?.to_owned())
}

/// The first row that only one of the two has.
fn first_difference<'a>(
    expected: &'a [String],
    found: &'a [String],
) -> Option<(Option<&'a String>, Option<&'a String>)> {
    if expected == found {
        return None;
    }
    let missing = expected.iter().find(|row| !found.contains(row));
    let extra = found.iter().find(|row| !expected.contains(row));
    Some((missing, extra))
}
