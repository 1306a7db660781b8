//! A record that cannot be read keeps the decisions of its stream waiting, and of no other, until a person has dealt
//! with it.

use anyhow::{Context, Result};
use engine::log::{NewRecord, Position};
use ledger::play::{Ask, Stage};
use ledger_tests::stage_at;
use schemas::{
    Event, OrderId, Stream,
    events::{DeadLetterResolved, Method, PaymentInitiated},
};

use crate::looking::status;

const POS: &str = "ums-pos";
const OPERATOR: &str = "/operators/finance";

async fn asked(stage: &Stage, contract: &str) -> Result<OrderId> {
    stage.accepted(&Ask::new(POS, contract, "100.00", contract)).await
}

async fn paid(stage: &Stage, order: &OrderId) -> Result<()> {
    stage.pay(order, POS, Method::Card, "100.00")?;
    stage.notified(order).await?;
    stage.rest().await
}

/// Somebody writes to the log beside the doors.
async fn scribble(stage: &Stage, stream: &Stream) -> Result<Position> {
    let record = NewRecord {
        key: stream.to_string(),
        headers: Default::default(),
        value: b"no event".to_vec(),
        timestamp: stage.house.clock.stamp(),
    };
    let appended = stage.house.log.append(stage.house.events_topic(), vec![record]).await;
    appended.into_iter().next().context("an answer")?.map_err(Into::into)
}

fn resolved(stage: &Stage, stream: &Stream, at: Position) -> Event {
    let data =
        DeadLetterResolved { partition: at.partition, offset: at.offset, resolution: "a slip of the pen".into() };
    Event::about_stream(OPERATOR, stream, stage.now(), data)
}

async fn open_letters(stage: &Stage) -> Result<i64> {
    let sql = "select count(*) from finance.dead_letters where resolved_at is null";
    Ok(stage.house.pool.get().await?.query_one(sql, &[]).await?.get(0))
}

async fn unread(stage: &Stage, stream: &Stream) -> Result<i32> {
    let sql = "select unread from finance.contract_status where stream = $1";
    Ok(stage.house.pool.get().await?.query_one(sql, &[&stream.as_str()]).await?.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_pauses_the_decisions_of_its_stream_alone() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let (disturbed, other) = (asked(&stage, "C1").await?, asked(&stage, "C2").await?);
    let letter = scribble(&stage, &disturbed.stream()).await?;
    paid(&stage, &disturbed).await?;
    paid(&stage, &other).await?;
    assert_eq!(status(&stage, &other).await?, "completed");
    assert_eq!(
        status(&stage, &disturbed).await?,
        "paid_unconfirmed",
        "nobody asks the bank before a person has looked"
    );
    assert_eq!((open_letters(&stage).await?, unread(&stage, &disturbed.stream()).await?), (1, 1));

    let event = resolved(&stage, &disturbed.stream(), letter);
    let mut of_a_channel = event.to_structured();
    of_a_channel["source"] = "/channels/ums-pos".into();
    let (_, refused) = stage.post_events("/channels/ums-pos", &serde_json::json!([of_a_channel])).await?;
    assert!(refused.to_string().contains("NOT_YOURS"), "only an operator may say so: {refused}");
    // Another position settles nothing.
    let beside = Position { offset: letter.offset + 1000, ..letter };
    stage.tell(OPERATOR, &[resolved(&stage, &disturbed.stream(), beside)]).await?;
    stage.rest().await?;
    assert_eq!(status(&stage, &disturbed).await?, "paid_unconfirmed");

    stage.tell(OPERATOR, &[event]).await?;
    stage.rest().await?;
    assert_eq!(status(&stage, &disturbed).await?, "completed");
    assert_eq!((open_letters(&stage).await?, unread(&stage, &disturbed.stream()).await?), (0, 0));
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_does_not_expire_while_its_stream_has_a_dead_letter() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let order = asked(&stage, "C1").await?;
    // Perhaps this was its payment.
    let letter = scribble(&stage, &order.stream()).await?;
    stage.wait(600).await?;
    assert_eq!(status(&stage, &order).await?, "awaiting_payment");
    stage.tell(OPERATOR, &[resolved(&stage, &order.stream(), letter)]).await?;
    stage.rest().await?;
    assert_eq!(status(&stage, &order).await?, "expired");
    stage.close().await
}

/// The time of an order that only heard something meanwhile is not forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn what_falls_due_after_a_pause_falls_due() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let order = asked(&stage, "C1").await?;
    let letter = scribble(&stage, &order.stream()).await?;
    let initiated =
        PaymentInitiated { attempt: 1, method: Method::Card, amount: "100.00".parse()?, channel_order_no: None };
    stage.tell("/channels/ums-pos", &[stage.event("/channels/ums-pos", &order, initiated)]).await?;
    stage.rest().await?;
    stage.tell(OPERATOR, &[resolved(&stage, &order.stream(), letter)]).await?;
    stage.rest().await?;
    assert_ne!(status(&stage, &order).await?, "expired");
    stage.wait(600).await?;
    assert_eq!(status(&stage, &order).await?, "expired");
    stage.close().await
}
