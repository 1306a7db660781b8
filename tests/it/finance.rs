//! What finance reads: the schema `finance`, by its role that can read and nothing else.

use anyhow::{Context, Result};
use ledger::{commands::demo, play::Stage};

/// The worked days of all systems are over.
async fn after_the_days() -> Result<Stage> {
    let stage = Stage::open(ledger_tests::config().await?, demo::start_of_day()?).await?;
    for system in demo::System::ALL {
        demo::play(&stage, *system, |_| ()).await?;
    }
    Ok(stage)
}

/// The rows of a query, each as JSON.
async fn rows(stage: &Stage, query: &str) -> Result<Vec<serde_json::Value>> {
    let rows = stage.house.pool.get().await?.query(&format!("select to_json(q)::text from ({query}) q"), &[]).await?;
    rows.iter().map(|row| serde_json::from_str(row.get(0)).context("a row")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_channels_settle_is_what_the_ledger_expects_of_the_day() -> Result<()> {
    let stage = after_the_days().await?;
    let settled = rows(
        &stage,
        "select s.channel, s.net::text, d.net::text as expected, d.fees::text, s.difference::text from finance.settlements s
         join finance.settlement_days d on d.channel = s.channel and d.business_date = s.period_from
         where s.period_from = '2025-03-10' and s.channel in ('ums-pos', 'unionpay-cqp') order by 1",
    )
    .await?;
    let expected = [("ums-pos", "5289.40", "10.60"), ("unionpay-cqp", "1796.40", "3.60")];
    let expected: Vec<_> = expected
        .iter()
        .map(|(channel, net, fees)| {
            serde_json::json!({"channel": channel, "net": net, "expected": net, "fees": fees, "difference": "0.00"})
        })
        .collect();
    assert_eq!(settled, expected);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_tells_of_the_days_and_every_column_says_what_it_is_in_both_languages() -> Result<()> {
    let stage = after_the_days().await?;
    let views =
        rows(&stage, "select table_name as view from information_schema.views where table_schema = 'finance'").await?;
    assert!(views.len() >= 15, "{views:?}");
    for view in views.iter().filter_map(|row| row["view"].as_str()) {
        let told = rows(&stage, &format!("select 1 from finance.{view} limit 1")).await?.len();
        // Nothing was unreadable on these days.
        assert_eq!(told, usize::from(view != "dead_letters"), "{view}");
    }
    let silent = rows(
        &stage,
        "select c.relname || '.' || a.attname as column from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = 'finance'::regnamespace and c.relkind = 'v' and a.attnum > 0
           and (col_description(c.oid, a.attnum) !~ '[a-z]' or col_description(c.oid, a.attnum) !~ '[一-龥]'
                or col_description(c.oid, a.attnum) is null)",
    )
    .await?;
    assert_eq!(silent, Vec::<serde_json::Value>::new());
    let sum = rows(&stage, "select sum(debit - credit)::text as sum from finance.journal").await?;
    assert_eq!(sum[0]["sum"], "0.00");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_reads_the_schema_finance_and_can_do_nothing_else() -> Result<()> {
    let stage = after_the_days().await?;
    let client = stage.house.pool.get().await?;
    client.batch_execute("set role ledger_reader").await?;
    assert!(!client.query("select * from finance.orders", &[]).await?.is_empty());
    for forbidden in [
        "delete from finance.orders",
        "update finance.progress set next_offset = 0",
        "create table finance.own (a int)",
        "create table public.own (a int)",
        "select * from engine.task",
        "select * from coordinator.orders",
        "select * from finance.generation",
    ] {
        let refused = client.batch_execute(forbidden).await.expect_err(forbidden);
        let code = refused.code().map(|code| code.code().to_owned());
        // Insufficient privilege, or a view that nobody can write to.
        assert!(["42501", "55000"].map(Some).contains(&code.as_deref()), "{forbidden}: {refused:?}");
    }
    client.batch_execute("reset role").await?;
    drop(client);
    stage.close().await
}
