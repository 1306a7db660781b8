//! Some hundred orders of all systems through the real log: in whatever order their events stand in it, and however often,
//! the views show the same. The rules have the same test for ten thousand orders, without a log.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Result, ensure};
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
use producers::sandbox::{BankStep, MoveStep, SandboxConfig, Script, Share};
use projections::{generation::Generation, report};
use schemas::Balance;

const ORDERS: u64 = 300;
const AT_ONCE: usize = 8;
const PERMUTATIONS: u64 = 3;
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
    let statuses: BTreeSet<String> =
        views(&stage.house).await?["orders"].iter().filter_map(|row| status_of(row)).collect();
    for expected in ["completed", "refunded", "refund_pending", "uncollected", "awaiting_load", "uncertain"] {
        assert!(statuses.contains(expected), "no order is {expected}, only {statuses:?}");
    }
    let (log, topic) = (stage.house.log.clone(), stage.house.events_topic().to_owned());
    let records = tokio::task::spawn_blocking(move || all_records(&*log, &topic)).await??;

    let expected = views(&stage.house).await?;
    for seed in 0..PERMUTATIONS {
        let found = views_of_shuffled(&stage, &records, seed).await?;
        for ((table, rows), (_, found)) in expected.iter().zip(&found) {
            assert_eq!(first_difference(rows, found), None, "{table}, seed {seed}");
        }
    }
    stage.close().await
}

/// What a ledger shows that knows these records alone, in another order and every tenth of them twice.
async fn views_of_shuffled(stage: &Stage, records: &[Record], seed: u64) -> Result<Views> {
    let mut random = Rng::with_seed(seed);
    let repeats = records.iter().filter(|_| random.u8(..10) == 0);
    let mut shuffled: Vec<Record> = records.iter().chain(repeats).cloned().collect();
    random.shuffle(&mut shuffled);
    assert!(shuffled.len() > records.len());
    let house = House::open(ledger_tests::config().await?, Clock::simulated(stage.now().to_utc())).await?;
    house.apply_topics().await?;
    append(&house, shuffled).await?;
    let projector = Running::start(&house, &[Role::Projector]).await?;
    read_to_the_end(&house).await?;
    projector.stop().await?;
    let balances = report::balances(&house.pool).await?;
    let amounts = balances.iter().map(|row| row.balance.parse::<Balance>());
    assert_eq!(amounts.sum::<Result<Balance, _>>()?, Balance::ZERO);
    views(&house).await
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

/// Each with the time that it had in the log it comes from, so that both logs say the same about when things happened.
async fn append(house: &House, records: Vec<Record>) -> Result<()> {
    let renewed = records.into_iter().map(|record| {
        let Record { timestamp, key, headers, value, .. } = record;
        Ok(NewRecord { key: String::from_utf8(key)?, headers, value, timestamp: Some(timestamp) })
    });
    let renewed = renewed.collect::<Result<Vec<_>>>()?;
    let appended = house.log.append(house.events_topic(), renewed).await;
    appended.into_iter().try_for_each(|appended| Ok(appended.map(|_| ())?))
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
    let missing = expected.iter().find(|row| !found.contains(row));
    let extra = found.iter().find(|row| !expected.contains(row));
    (expected != found).then_some((missing, extra))
}
