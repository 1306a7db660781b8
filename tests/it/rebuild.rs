//! Everything but the log can be thrown away: views and the coordinator's state come back the same, and nobody outside
//! is called for it.

use anyhow::Result;
use engine::stream::Stop;
use ledger::{commands::demo, config::Config, play::Stage};
use projections::{generation::Generation, rebuild::Rebuild, report};

async fn after_the_worked_day() -> Result<Stage> {
    let stage = Stage::open(ledger_tests::config().await?, demo::start_of_day()?).await?;
    demo::play(&stage, |_| ()).await?;
    Ok(stage)
}

fn rebuild(stage: &Stage) -> Rebuild {
    Rebuild {
        log: stage.house.log.clone(),
        topic: stage.house.events_topic().to_owned(),
        postgres_url: stage.house.postgres_url.clone(),
        policy: stage.house.config.policy.clone(),
        stop: Stop::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_views_equal_the_live_ones_row_by_row_and_take_their_place() -> Result<()> {
    let stage = after_the_worked_day().await?;
    let (calls, balances) = (stage.sandbox.books(), report::balances(&stage.house.pool).await?);
    let work = rebuild(&stage);
    let rebuilt = stage
        .house
        .with_client("ledger rebuild", move |client| {
            let rebuilt = work.run(client)?;
            work.swap(client, &rebuilt)?;
            Ok(rebuilt)
        })
        .await?;
    assert_eq!(rebuilt.differences, vec![]);
    assert_eq!(report::balances(&stage.house.pool).await?, balances);
    assert_eq!(stage.sandbox.books(), calls, "a rebuild calls nobody");
    // The living projector goes on with the new generation.
    demo::play_one_more(&stage).await?;
    assert_ne!(report::balances(&stage.house.pool).await?, balances);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_view_is_found_by_a_rebuild() -> Result<()> {
    let stage = after_the_worked_day().await?;
    let work = rebuild(&stage);
    let differences = stage
        .house
        .with_client("ledger rebuild", move |client| {
            let live = Generation::active(client)?;
            client.execute(
                &format!("update {}.balances set amount_fen = amount_fen + 1 where account = 2010", live.schema()),
                &[],
            )?;
            Ok(work.run(client)?.differences)
        })
        .await?;
    let tables: Vec<&str> = differences.iter().map(|difference| difference.table).collect();
    assert_eq!(tables, ["balances"]);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_folds_its_history_and_decides_nothing_twice() -> Result<()> {
    let stage = after_the_worked_day().await?;
    let (ends, calls) = (stage.house.ends().await?, stage.sandbox.books());
    let rebuild_ends = ends.clone();
    let before = coordinator_state(&stage).await?;
    stage
        .house
        .with_client("ledger rebuild", move |client| Ok(producers::coordinator::rebuild(client, &rebuild_ends)?))
        .await?;
    stage.rest().await?;
    assert_eq!(stage.house.ends().await?, ends, "nothing was appended");
    assert_eq!(stage.sandbox.books(), calls, "nobody was called");
    assert_eq!(coordinator_state(&stage).await?, before);
    demo::play_one_more(&stage).await?;
    assert_ne!(stage.house.ends().await?, ends);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_is_refused_with_the_ways_out() -> Result<()> {
    let config = ledger_tests::config().await?;
    let stage = Stage::open(config.clone(), demo::start_of_day()?).await?;
    demo::play_one_more(&stage).await?;
    stage.close().await?;
    let other = Config { topic_prefix: format!("{}-other", config.topic_prefix), ..config };
    let mut stage = Stage::open(other, demo::start_of_day()?).await?;
    let ended = stage.running.until_a_role_ends().await.unwrap_err().to_string();
    assert!(ended.contains("point them back") && ended.contains("another data folder"), "{ended}");
    let work = rebuild(&stage);
    let rebuilt = stage.house.with_client("ledger rebuild", move |client| Ok(work.run(client)?)).await;
    assert!(rebuilt.unwrap_err().to_string().contains("point them back"));
    stage.close().await
}

/// What the coordinator knows, without the times at which it learnt it.
async fn coordinator_state(stage: &Stage) -> Result<Vec<(String, String)>> {
    let rows =
        stage.house.pool.get().await?.query("select key, state from coordinator.contracts order by key", &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
