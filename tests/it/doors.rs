//! What comes in, and what does not: at the HTTP door and through a channel's inbox topic.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chrono::{TimeDelta, Utc};
use engine::{
    clock::Clock,
    log::{NewRecord, Record},
    task::{self, NewTask},
};
use ledger::{
    commands::health,
    config::Config,
    house::House,
    play::{Ask, Stage},
    roles::{Role, Running},
};
use ledger_tests::{config, monday, stage_at};
use producers::publisher::record;
use projections::report;
use schemas::{
    Data, Event, OrderId,
    events::{Evidence, InboxRecordRejected, Method, PaymentCaptured, PaymentDeclined},
};
use serde_json::json;

const POS: &str = "/channels/ums-pos";
const CQP: &str = "/channels/unionpay-cqp";

async fn asked(stage: &Stage) -> Result<OrderId> {
    stage.accepted(&Ask::new("ums-pos", "C1", "100.00", "key-1")).await
}

fn declined(stage: &Stage, source: &str, order: &OrderId) -> Event {
    let data = PaymentDeclined {
        attempt: 1,
        response_code: "51".into(),
        message: "余额不足".into(),
        evidence: Evidence::SyncResponse,
    };
    stage.event(source, order, data)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_says_nothing_about_the_orders_of_another() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let order = asked(&stage).await?;
    let (_, refused) = stage.report(CQP, &[declined(&stage, CQP, &order)]).await?;
    ensure!(refused.to_string().contains("NOT_YOURS"), "{refused}");
    stage.tell(POS, &[declined(&stage, POS, &order)]).await?;
    stage.close().await
}

/// Whoever made up the order number of a request would make up the contract that it counts for.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_made_by_the_ledger_alone() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let order = asked(&stage).await?;
    stage.rest().await?;
    let position = projections::timeline::positions(&stage.house.pool, &order).await?.remove(0);
    let (log, topic) = (stage.house.log.clone(), stage.house.events_topic().to_owned());
    let read = tokio::task::spawn_blocking(move || projections::timeline::read(&*log, &topic, &[position])).await??;
    let mut request = read.first().context("the request")?.event.to_structured();
    request["subject"] = request["subject"].as_str().context("an order")?.replace('A', "B").into();
    request.as_object_mut().context("an object")?.remove("partitionkey");
    let (_, refused) = stage.post_events(POS, &json!([request])).await?;
    ensure!(refused.to_string().contains("POST /v1/loan-repayments"), "{refused}");
    stage.close().await
}

fn capture(stage: &Stage, order: &OrderId, channel: &str) -> Result<Event> {
    let data = PaymentCaptured {
        channel: channel.parse()?,
        channel_txn_no: "T-1".into(),
        method: Method::Card,
        amount: "100.00".parse()?,
        business_date: stage.now().date_naive(),
        fee: None,
        instrument_masked: None,
        terminal: None,
        evidence: Evidence::AsyncNotice,
    };
    Ok(stage.event(&format!("/channels/{channel}"), order, data))
}

/// Everything in the log of facts that refuses a record of an inbox.
async fn rejections(stage: &Stage) -> Result<Vec<InboxRecordRejected>> {
    let (log, topic) = (stage.house.log.clone(), stage.house.events_topic().to_owned());
    let records: Vec<Record> = tokio::task::spawn_blocking(move || ledger_tests::all_records(&*log, &topic)).await??;
    let rejected = |record: &Record| match record.event().ok()?.data {
        Data::InboxRecordRejected(data) => Some(data),
        _ => None,
    };
    Ok(records.iter().filter_map(rejected).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_takes_what_is_good_and_keeps_a_refusal_of_the_rest() -> Result<()> {
    let config = ledger::config::Config { inbox_channels: vec!["ums-pos".parse()?], ..config().await? };
    let stage = Stage::open(config, monday("10:00:00")?).await?;
    let order = asked(&stage).await?;
    let inbox = stage.house.topics.inbox(&"ums-pos".parse()?).name;
    let good = record(&capture(&stage, &order, "ums-pos")?, &stage.house.clock);
    let with = |change: &dyn Fn(&mut NewRecord)| {
        let mut record = good.clone();
        change(&mut record);
        record
    };
    let value = |text: &str| text.as_bytes().to_vec();
    let with_header = |name: &str, text: &str| {
        with(&|record| {
            let other = |header: &str, value| if header == name { text.as_bytes() } else { value };
            record.headers = good.headers.iter().map(|(header, value)| (header, other(header, value))).collect();
        })
    };
    let three_decimals = String::from_utf8_lossy(&good.value).replace("100.00", "100.001");
    let bad = [
        ("BROKEN_JSON", with(&|record| record.value = value("{\"channel\": "))),
        ("MISSING_FIELD", with(&|record| record.value = value("{}"))),
        ("NOT_YOURS", record(&capture(&stage, &order, "unionpay-cqp")?, &stage.house.clock)),
        ("WRONG_KEY", with_header("ce_partitionkey", "loan:AAAAAAAAAAAAAAAA")),
        ("UNKNOWN_TYPE", with_header("ce_type", "x")),
        ("UNKNOWN_SCHEMA_VERSION", with_header("ce_type", "ledger.payment.captured.v9")),
        ("INVALID_AMOUNT", with(&|record| record.value = value(&three_decimals))),
    ];
    let expected: Vec<&str> = bad.iter().map(|(code, _)| *code).collect();
    // All on one partition, the good one last: nothing that is refused keeps it waiting.
    let records: Vec<NewRecord> = bad.into_iter().map(|(_, record)| record).chain([good.clone()]).collect();
    for answer in stage.house.log.append(&inbox, records).await {
        answer?;
    }
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    let completed = async || -> Result<bool> {
        let row = report::find_order(&stage.house.pool, order.as_str()).await?;
        Ok(row.is_some_and(|row| row.status == "completed"))
    };
    while rejections(&stage).await?.len() < expected.len() || !completed().await? {
        ensure!(tokio::time::Instant::now() < until, "only {:?} came through", rejections(&stage).await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut found = rejections(&stage).await?;
    found.sort_by_key(|rejected| (rejected.partition, rejected.offset));
    let mut codes: Vec<&str> = found.iter().map(|rejected| rejected.code.as_str()).collect();
    let mut wanted = expected.clone();
    codes.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(codes, wanted);
    assert!(found.iter().all(|rejected| rejected.topic == inbox && rejected.bytes_sha256.len() == 64), "{found:?}");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_the_roles_that_are_at_work_from_those_that_are_not() -> Result<()> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { listen: any_port, sandbox_listen: any_port, ..config().await? };
    let mut house = House::open(config, Clock::System).await?;
    house.apply_topics().await?;
    house.config.postgres_url.clone_from(&house.postgres_url);
    let running = Running::start(&house, &[Role::Projector, Role::Door, Role::Sandbox]).await?;
    house.config.listen = running.door.context("the door is open")?;
    let sandbox = running.sandbox.as_ref().context("the sandbox plays")?;
    house.config.sandbox_listen = sandbox.url.trim_start_matches("http://").parse()?;
    let started = Instant::now();
    while !health::run(&house.config, Role::Projector, None).await.unwrap_or(false) {
        ensure!(started.elapsed() < Duration::from_secs(20), "the projector does not begin");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (role, at_work) in
        [(Role::Door, true), (Role::Sandbox, true), (Role::Coordinator, false), (Role::Executor, true)]
    {
        assert_eq!(health::run(&house.config, role, None).await?, at_work, "{role:?}");
    }
    let due_at = Some(Utc::now() - TimeDelta::minutes(2));
    let call =
        NewTask { key: "k".into(), party: "bank".into(), payload: "{}".into(), due_at, unknown: false, stopped: false };
    let note = move |client: &mut postgres::Client| {
        let mut tx = client.transaction()?;
        task::insert(&mut tx, &[call])?;
        Ok(tx.commit()?)
    };
    house.with_client("tests", note).await?;
    assert!(!health::run(&house.config, Role::Executor, None).await?, "a call waits for somebody to make it");
    running.stop().await
}
