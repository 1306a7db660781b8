//! Everything but the log can be thrown away: views and the coordinator's state come back the same, and nobody outside
//! is called for it.

use std::time::Duration;

use anyhow::Result;
use engine::stream::Stop;
use ledger::{
    commands::{demo, rebuild},
    config::Config,
    play::{Ask, Stage},
    roles::{Role, Running},
};
use projections::{generation::Generation, rebuild::Rebuilt, report};
use rules::order::Order;
use schemas::{
    Event, OrderId, Stream,
    events::{ExpiryRule, LoanContractQuoted, Method, OrderExpired},
};

async fn after_the_worked_days() -> Result<Stage> {
    let stage = Stage::open(ledger_tests::config().await?, demo::start_of_day()?).await?;
    for system in demo::System::ALL {
        demo::play(&stage, *system, |_| ()).await?;
    }
    Ok(stage)
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_views_equal_the_live_ones_row_by_row_and_take_their_place() -> Result<()> {
    let stage = after_the_worked_days().await?;
    let (calls, balances) = (stage.sandbox.books(), report::balances(&stage.house.pool).await?);
    assert_eq!(rebuilt(&stage).await?.differences, vec![]);
    assert_eq!(report::balances(&stage.house.pool).await?, balances);
    assert_eq!(stage.sandbox.books(), calls, "a rebuild calls nobody");
    // The living projector goes on with the new generation.
    demo::play_one_more(&stage).await?;
    assert_ne!(report::balances(&stage.house.pool).await?, balances);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_view_is_found_by_a_rebuild() -> Result<()> {
    let stage = after_the_worked_days().await?;
    let work = rebuild::work(&stage.house);
    let found = stage
        .house
        .with_client("ledger rebuild", move |client| {
            let live = Generation::active(client)?;
            let sql = format!("update {}.balances set amount_fen = amount_fen + 1 where account = 1110", live.schema());
            let damaged = client.execute(&sql, &[])?;
            let found = work.run(client)?;
            let fen: Vec<_> =
                found.moved.iter().map(|moved| (moved.account, (moved.live - moved.rebuilt).fen())).collect();
            assert_eq!(fen, [(1110, i64::try_from(damaged)?)], "by how much, in money");
            Ok(found)
        })
        .await?;
    let tables: Vec<&str> = found.differences.iter().map(|difference| difference.table).collect();
    assert_eq!(tables, ["balances"]);
    stage.close().await
}

/// Builds a generation, and shows it.
async fn rebuilt(stage: &Stage) -> Result<Rebuilt> {
    let work = rebuild::work(&stage.house);
    let swapped = move |client: &mut postgres::Client| {
        let rebuilt = work.run(client)?;
        work.swap(client, &rebuilt.generation)?;
        Ok(rebuilt)
    };
    stage.house.with_client("ledger rebuild", swapped).await
}

#[tokio::test(flavor = "multi_thread")]
async fn views_of_an_older_version_stop_the_projector_until_a_rebuild_has_made_them_anew() -> Result<()> {
    for (older, when_it_runs, when_it_starts, lacks_the_table) in [
        ("drop table views_g1.journal cascade", "\"journal\" does not exist", "it lacks journal", true),
        ("alter table views_g1.journal drop column owner cascade", "field count", "it lacks journal.owner", false),
    ] {
        let mut stage = Stage::open(ledger_tests::config().await?, demo::start_of_day()?).await?;
        demo::play_one_more(&stage).await?;
        stage.house.with_client("an older version", move |client| Ok(client.batch_execute(older)?)).await?;
        let order = stage.accepted(&Ask::new("ums-pos", "K-late", "1.00", "late")).await?;
        stage.pay(&order, "ums-pos", Method::Card, "1.00")?;
        let ended = stage.running.until_a_role_ends().await.unwrap_err().to_string();
        assert!(ended.contains(when_it_runs) && ended.contains("run `ledger rebuild`"), "{ended}");
        let ended = Running::start(&stage.house, &[Role::Projector]).await?.until_a_role_ends().await;
        assert!(ended.unwrap_err().to_string().contains(when_it_starts));
        let differences = rebuilt(&stage).await?.differences;
        let found: Vec<_> = differences.iter().map(|found| (found.table, found.live.is_none())).collect();
        assert_eq!(found, [("journal", lacks_the_table)]);
        let projector = Running::start(&stage.house, &[Role::Projector]).await?;
        stage.rest().await?;
        let found = report::find_order(&stage.house.pool, order.as_str()).await?;
        assert_eq!(found.map(|order| order.status).as_deref(), Some("completed"));
        projector.stop().await?;
        stage.close().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_generation_catches_up_and_is_shown_again_and_others_can_be_dropped() -> Result<()> {
    let stage = after_the_worked_days().await?;
    rebuilt(&stage).await?;
    demo::play_one_more(&stage).await?;
    let balances = report::balances(&stage.house.pool).await?;
    let work = rebuild::work(&stage.house);
    let (before, after) = stage
        .house
        .with_client("ledger generations", move |client| {
            let before = Generation::list(client)?;
            work.swap(client, &before[0].generation)?;
            assert!(!before[0].generation.clone().drop(client)?, "it is shown");
            assert!(before[1].generation.clone().drop(client)?);
            Ok((before, Generation::list(client)?))
        })
        .await?;
    assert!(before[1].shown && before[0].next_offsets < before[1].next_offsets, "{before:?}");
    assert!(matches!(&*after, [only] if only.shown && only.next_offsets == before[1].next_offsets), "{after:?}");
    assert_eq!(report::balances(&stage.house.pool).await?, balances);
    stage.accepted(&Ask::new("ums-pos", "K-last", "1.00", "last")).await?;
    stage.rest().await?;
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_folds_its_history_and_decides_nothing_twice() -> Result<()> {
    let stage = after_the_worked_days().await?;
    let (ends, calls) = (stage.house.ends().await?, stage.sandbox.books());
    let (publisher, runtime) = (stage.house.publisher(), tokio::runtime::Handle::current());
    let before = coordinator_state(&stage).await?;
    stage
        .house
        .with_client("ledger rebuild", move |client| Ok(producers::coordinator::rebuild(client, &publisher, &runtime)?))
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
    let work = rebuild::work(&stage.house);
    let rebuilt = stage.house.with_client("ledger rebuild", move |client| Ok(work.run(client)?)).await;
    assert!(rebuilt.unwrap_err().to_string().contains("point them back"));
    stage.close().await
}

/// What the coordinator knows, without the times at which it learnt it: its streams, where its orders stand, its tasks.
async fn coordinator_state(stage: &Stage) -> Result<Vec<(String, String)>> {
    let client = stage.house.pool.get().await?;
    let pairs = async |sql: &str| -> Result<Vec<(String, String)>> {
        Ok(client.query(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
    };
    let mut known = pairs("select key, state from coordinator.streams order by key").await?;
    for (key, state) in pairs("select key, state from coordinator.orders order by key").await? {
        known.push((key, serde_json::from_str::<Order>(&state)?.status().to_string()));
    }
    known.extend(pairs("select key, state from engine.task order by key").await?);
    Ok(known)
}

/// A ledger at work is never still for long enough to be compared at its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_takes_its_place_although_events_keep_coming() -> Result<()> {
    let stage = after_the_worked_days().await?;
    let (publisher, stop, now) = (stage.house.publisher(), Stop::default(), stage.now());
    let until = stop.clone();
    let writing = tokio::spawn(async move {
        let mut enquiry = 0;
        while !until.is_stopped() {
            let data = LoanContractQuoted {
                enquiry_no: enquiry.to_string(),
                bank: "cdb".parse()?,
                contract_type: "origin".into(),
                outstanding: None,
                overdue: None,
                as_of: now,
            };
            let event = Event::about_stream("/banks/cdb", &Stream::loan([7; 10]), now, data);
            publisher.append_all(&[event], Duration::from_secs(10)).await?;
            enquiry += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        anyhow::Ok(())
    });
    let work = rebuild::work(&stage.house);
    let shown = stage.house.with_client("ledger rebuild", move |client| {
        let rebuilt = work.run(client)?;
        work.swap(client, &rebuilt.generation)?;
        Ok((rebuilt, Generation::active(client)?))
    });
    let (rebuilt, active) = tokio::time::timeout(Duration::from_secs(120), shown).await??;
    stop.stop();
    writing.await??;
    assert_eq!((rebuilt.differences, active), (vec![], rebuilt.generation));
    stage.rest().await?;
    stage.close().await
}

/// Whatever was decided is in the log before the state that knows of it is thrown away.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_coordinator_had_not_yet_sent_is_sent_before_it_forgets() -> Result<()> {
    let stage = after_the_worked_days().await?;
    let sql = "select o.key, o.partition from coordinator.orders o join finance.orders f on f.order_id = o.key
               where f.status = 'completed' limit 1";
    let row = stage.house.pool.get().await?.query_one(sql, &[]).await?;
    let (order, partition): (OrderId, i32) = (row.get::<_, String>(0).parse()?, row.get(1));
    let decision =
        stage.event("/ledger/coordinator", &order, OrderExpired { rule: ExpiryRule::InFlightTtl, ttl_s: 120 });
    let sql = "insert into coordinator.outbox (partition, seq, event) values ($1, 1, $2)";
    stage.house.pool.get().await?.execute(sql, &[&partition, &decision.to_structured().to_string()]).await?;
    let before: i64 = stage.house.ends().await?.iter().sum();
    let (publisher, runtime) = (stage.house.publisher(), tokio::runtime::Handle::current());
    stage
        .house
        .with_client("ledger rebuild", move |client| Ok(producers::coordinator::rebuild(client, &publisher, &runtime)?))
        .await?;
    stage.rest().await?;
    assert_eq!(stage.house.ends().await?.iter().sum::<i64>(), before + 1, "sent once, and nothing else was decided");
    stage.close().await
}
