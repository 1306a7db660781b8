//! A channel's statement against the ledger, from the door to the views of finance.

use anyhow::{Context, Result};
use ledger::{
    commands::rebuild,
    config::{Config, Flags},
    play::Stage,
};
use ledger_tests::stage_at;
use producers::{
    sandbox::{Capture, NoticeStep, Script},
    statement::{self, StatementFormat},
};
use rules::reconciliation::{Books, BreakDecision};
use schemas::events::Method;

use crate::{
    looking::{balances, breaks, status},
    selling::{BESTPAY, top_up, topped_up},
};

/// Reads a statement of one day with these lines, each of a payment's number, its amount and its order, and lets the job run.
pub(crate) async fn reconcile(
    stage: &Stage,
    channel: &str,
    date: &str,
    lines: &[(&Capture, &str)],
) -> Result<(Books, usize)> {
    let line = |(capture, amount): &(&Capture, &str)| {
        format!("{},{amount},,{},payment\n", capture.channel_txn_no, capture.order_no)
    };
    let text = format!("number,amount,fee,order,kind\n{}", lines.iter().map(line).collect::<String>());
    let read = statement::read(text.as_bytes(), date.parse()?, "statement.csv", &StatementFormat::default())?;
    let found = stage.house.reconciler().reconcile(&channel.parse()?, &read, &stage.house.config.policy).await?;
    stage.rest().await?;
    Ok(found)
}

/// A person says whose payment it is that only the statement has.
pub(crate) async fn identify(stage: &Stage, books: &Books, payment: &Capture) -> Result<()> {
    let open = books.open_breaks();
    let found = open.iter().find(|raised| raised.number.as_ref() == Some(&payment.channel_txn_no));
    let order = payment.order_no.clone();
    let identified = BreakDecision::LateCapturePosted { order, method: payment.method };
    let break_id = found.context("a break")?.break_id;
    stage.house.reconciler().resolve(break_id, &identified, &["finance-2".to_owned()]).await?;
    stage.rest().await
}

/// Every difference that finance sees, those in their grace included: class, difference and whether it is open.
async fn differences(stage: &Stage) -> Result<Vec<String>> {
    let sql = "select class || ' ' || amount || case when open then '' else ' in its grace' end
               from finance.breaks order by class, detail";
    let rows = stage.house.pool.get().await?.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_reconciled_and_what_differed_is_settled_to_the_fen() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let (_, b1) = topped_up(&stage, BESTPAY, "B1", "100.00", Script::default()).await?;
    let (_, b5) = topped_up(&stage, BESTPAY, "B5", "80.00", Script::default()).await?;
    let (_, b7) = topped_up(&stage, BESTPAY, "B7", "100.00", Script::default()).await?;
    // Of this one the channel never tells.
    let unknown = stage.admitted("/v1/card-top-ups", BESTPAY, "B4", &top_up(&stage, "B4", "30.00")).await?;
    stage.script(&unknown, Script { notice: Some(NoticeStep::Never), ..Script::default() });
    let b4 = stage.pay(&unknown, BESTPAY, Method::Netbank, "30.00")?;
    stage.wait(86_400).await?;
    assert_eq!(status(&stage, &unknown).await?, "expired");
    const ACCOUNTS: [i32; 5] = [1110, 2310, 1320, 2130, 2010];
    assert_eq!(balances(&stage, ACCOUNTS).await?, ["280.00", "0.00", "0.00", "-280.00", "0.00"]);

    let first = [(&b1, "100.00"), (&b4, "30.00"), (&b7, "99.00")];
    let (books, _) = reconcile(&stage, BESTPAY, "2025-03-10", &first).await?;
    let found = ["amount_channel_under -1.00", "missing_in_ledger 30.00", "timing -80.00 in its grace"];
    assert_eq!(
        (differences(&stage).await?, books.matched_lines("2025-03-10".parse()?)),
        (found.map(Into::into).into(), 2)
    );
    assert_eq!(balances(&stage, ACCOUNTS).await?, ["309.00", "-30.00", "1.00", "-280.00", "0.00"]);

    identify(&stage, &books, &b4).await?;
    // The coordinator did with it what it does with any late capture.
    assert_eq!(status(&stage, &unknown).await?, "completed");
    assert_eq!(balances(&stage, ACCOUNTS).await?, ["309.00", "0.00", "1.00", "-310.00", "0.00"]);
    assert_eq!(breaks(&stage).await?, ["amount_channel_under"]);

    let ends = stage.house.ends().await?;
    assert_eq!(reconcile(&stage, BESTPAY, "2025-03-10", &first).await?.1, 0);
    assert_eq!(stage.house.ends().await?, ends, "the same file again has no effect");

    let corrected = [(&b1, "100.00"), (&b4, "30.00"), (&b7, "100.00")];
    reconcile(&stage, BESTPAY, "2025-03-10", &corrected).await?;
    assert_eq!(differences(&stage).await?, ["timing -80.00 in its grace"]);
    assert_eq!(balances(&stage, ACCOUNTS).await?, ["310.00", "0.00", "0.00", "-310.00", "0.00"]);

    reconcile(&stage, BESTPAY, "2025-03-11", &[(&b5, "80.00")]).await?;
    assert_eq!(differences(&stage).await?, [""; 0]);
    assert_eq!(balances(&stage, ACCOUNTS).await?, ["310.00", "0.00", "0.00", "-310.00", "0.00"]);

    let early = reconcile(&stage, BESTPAY, "2025-03-12", &[]).await.map(|_| ()).unwrap_err().to_string();
    assert!(early.contains("2025-03-12 is still to come"), "{early}");

    let work = rebuild::work(&stage.house);
    let rebuilt = stage.house.with_client("ledger rebuild", move |client| Ok(work.run(client)?)).await?;
    assert_eq!(rebuilt.differences, vec![]);
    stage.close().await
}

const README: &str = include_str!("../../README.md");

/// What stands in the README between two texts.
fn sample(start: &str, end: &str) -> Result<&'static str> {
    let (_, rest) = README.split_once(start).context("README.md has no such sample")?;
    Ok(rest.split_once(end).context("README.md does not end it")?.0)
}

#[test]
fn the_statement_and_the_settings_in_the_readme_are_taken() -> Result<()> {
    let text = sample("cat > statement.csv <<END\n", "END\n")?;
    let read = statement::read(text.as_bytes(), Default::default(), "statement.csv", &StatementFormat::default())?;
    assert_eq!(read.lines.len(), 3);
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), sample("```toml\n", "```")?)?;
    let formats = Config::load(Some(file.path()), &Flags::default())?.statements;
    assert!(formats[&BESTPAY.parse()?] != StatementFormat::default());
    Ok(())
}
