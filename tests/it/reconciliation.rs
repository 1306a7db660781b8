//! A channel's statement against the ledger, from the door to the views of finance.

use anyhow::{Context, Result};
use ledger::{
    commands::rebuild,
    config::{Config, Flags},
    play::Stage,
};
use ledger_tests::stage_at;
use producers::{
    reconciliation::{Reconciled, ReconciliationError},
    refund_file,
    sandbox::{Capture, NoticeStep, Script},
    statement::{self, StatementFormat},
};
use rules::reconciliation::{Books, BreakDecision, BreakRefusal, Comparison};
use schemas::{
    Event, Name, OrderId,
    events::{BreakResolution, Method, PaymentCaptured},
};
use uuid::Uuid;

use crate::{
    looking::{balances, breaks, status},
    selling::{BESTPAY, top_up, topped_up},
};

/// The break about the payment of this number.
fn break_of(books: &Books, number: &str) -> Result<(Uuid, u16)> {
    let open = books.open_breaks();
    let found = open.iter().find(|raised| raised.number.as_deref() == Some(number));
    let raised = found.with_context(|| format!("no break of {number}"))?;
    Ok((raised.break_id, raised.occurrence))
}

async fn settle(
    stage: &Stage,
    channel: &Name,
    occurrence: (Uuid, u16),
    how: &BreakDecision,
) -> Result<Vec<Event>, ReconciliationError> {
    let approvers: Vec<Name> = "finance-2".parse().into_iter().collect();
    stage.house.reconciler().resolve(channel, occurrence, how, &approvers, &stage.house.config.policy).await
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
    let books = stage.reconcile(BESTPAY, "2025-03-10", &first).await?.books;
    let found = ["amount_channel_under -1.00", "missing_in_ledger 30.00", "timing -80.00 in its grace"];
    assert_eq!(
        (differences(&stage).await?, Comparison::of(&books).matched("2025-03-10".parse()?)),
        (found.map(Into::into).into(), 2)
    );
    assert_eq!(balances(&stage, ACCOUNTS).await?, ["309.00", "-30.00", "1.00", "-280.00", "0.00"]);

    stage.identify(&books, &b4).await?;
    // The coordinator did with it what it does with any late capture.
    assert_eq!(status(&stage, &unknown).await?, "completed");
    assert_eq!(balances(&stage, ACCOUNTS).await?, ["309.00", "0.00", "1.00", "-310.00", "0.00"]);
    assert_eq!(breaks(&stage).await?, ["amount_channel_under"]);

    let ends = stage.house.ends().await?;
    assert_eq!(stage.reconcile(BESTPAY, "2025-03-10", &first).await?.appended, 0);
    assert_eq!(stage.house.ends().await?, ends, "the same file again has no effect");

    let corrected = [(&b1, "100.00"), (&b4, "30.00"), (&b7, "100.00")];
    stage.reconcile(BESTPAY, "2025-03-10", &corrected).await?;
    assert_eq!(differences(&stage).await?, ["timing -80.00 in its grace"]);
    assert_eq!(balances(&stage, ACCOUNTS).await?, ["310.00", "0.00", "0.00", "-310.00", "0.00"]);

    stage.reconcile(BESTPAY, "2025-03-11", &[(&b5, "80.00")]).await?;
    assert_eq!(differences(&stage).await?, [""; 0]);
    assert_eq!(balances(&stage, ACCOUNTS).await?, ["310.00", "0.00", "0.00", "-310.00", "0.00"]);

    let twice = stage.reconcile(BESTPAY, "2025-03-09", &corrected).await.map(|_| ()).unwrap_err().to_string();
    assert!(twice.contains("read before as the statement of 2025-03-10"), "{twice}");
    let early = stage.reconcile(BESTPAY, "2025-03-12", &[]).await.map(|_| ()).unwrap_err().to_string();
    assert!(early.contains("2025-03-12 is still to come"), "{early}");

    let work = rebuild::work(&stage.house);
    let rebuilt = stage.house.with_client("ledger rebuild", move |client| Ok(work.run(client)?)).await?;
    assert_eq!(rebuilt.differences, vec![]);
    stage.close().await
}

/// Asked for, and paid at the channel, which never tells of it.
async fn paid_in_silence(stage: &Stage, card: &str) -> Result<Capture> {
    let id = stage.admitted("/v1/card-top-ups", BESTPAY, card, &top_up(stage, card, "30.00")).await?;
    stage.script(&id, Script { notice: Some(NoticeStep::Never), hidden: true, ..Script::default() });
    stage.pay(&id, BESTPAY, Method::Netbank, "30.00")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_only_the_statement_has_is_posted_once_whoever_says_whose_it_is() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let (paid, other) = (paid_in_silence(&stage, "B1").await?, paid_in_silence(&stage, "B2").await?);
    stage.wait(86_400).await?;
    let line = format!("{},30.00,,,payment\n", paid.channel_txn_no);
    let books = stage.compare(BESTPAY, "2025-03-10", &line).await?.books;
    let break_id = break_of(&books, &paid.channel_txn_no)?;
    let late = |order: &OrderId| BreakDecision::LateCapturePosted { order: order.clone(), method: paid.method };
    let (wrong, right) = (late(&other.order_no), late(&paid.order_no));
    let both =
        tokio::join!(settle(&stage, &paid.channel, break_id, &wrong), settle(&stage, &paid.channel, break_id, &right),);
    let (posted, refused) = match both {
        (Ok(events), Err(refused)) | (Err(refused), Ok(events)) => (events, refused),
        other => anyhow::bail!("both or neither: {other:?}"),
    };
    let ended = BreakRefusal::Ended(BreakResolution::LateCapturePosted);
    assert!(matches!(&refused, ReconciliationError::Refused(refusal) if *refusal == ended), "{refused}");

    // What the channel tells afterwards is the same, or it is refused.
    for payment in [&paid, &other] {
        let told = Capture { order_no: payment.order_no.clone(), ..paid.clone() };
        let source = format!("/channels/{BESTPAY}");
        let (_, answer) = stage.report(&source, &[stage.capture_by_query(&told.order_no, &told)]).await?;
        let answer = answer.to_string();
        let is_the_same = posted[0].subject == told.order_no.as_str();
        assert_eq!(answer.contains("CONFLICTING_REPEAT"), !is_the_same, "{answer}");
    }
    stage.rest().await?;
    assert_eq!(balances(&stage, [1110, 2310, 2130]).await?, ["30.00", "0.00", "-30.00"]);
    let (reconciler, policy) = (stage.house.reconciler(), &stage.house.config.policy);
    assert_eq!(reconciler.reconcile(&paid.channel, None, policy).await?.appended, 0);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_told_meanwhile_is_not_posted_for_another_order() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let (paid, other) = (paid_in_silence(&stage, "B1").await?, paid_in_silence(&stage, "B2").await?);
    let line = format!("{},30.00,,,payment\n", paid.channel_txn_no);
    let books = stage.compare(BESTPAY, "2025-03-10", &line).await?.books;
    let break_id = break_of(&books, &paid.channel_txn_no)?;
    let told = stage.capture_by_query(&paid.order_no, &paid);
    stage.report(&format!("/channels/{BESTPAY}"), std::slice::from_ref(&told)).await?;
    stage.rest().await?;
    let late = BreakDecision::LateCapturePosted { order: other.order_no.clone(), method: paid.method };
    let refused = settle(&stage, &paid.channel, break_id, &late).await.unwrap_err().to_string();
    assert!(refused.contains(paid.order_no.as_str()), "{refused}");

    // The door took it, and the log does not have it yet.
    let client = stage.house.pool.get().await?;
    let line = line.replace(&paid.channel_txn_no, "T-9");
    let books = stage.compare(BESTPAY, "2025-03-09", &line).await?.books;
    let capture = PaymentCaptured { channel_txn_no: "T-9".into(), ..captured(&told)? };
    let just_told = stage.event(&format!("/channels/{BESTPAY}"), &paid.order_no, capture);
    let sql = "insert into door.event (id, digest) values ($1, $2)";
    client.execute(sql, &[&just_told.id, &just_told.business_digest()]).await?;
    let refused = settle(&stage, &paid.channel, break_of(&books, "T-9")?, &late).await.unwrap_err();
    assert!(matches!(refused, ReconciliationError::JustTold), "{refused}");
    stage.close().await
}

fn captured(event: &Event) -> Result<PaymentCaptured> {
    match &event.data {
        schemas::Data::PaymentCaptured(data) => Ok(data.clone()),
        other => anyhow::bail!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_of_nobody_goes_back_in_the_refund_file() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let books = stage.compare(BESTPAY, "2025-03-10", "T-1,30.00,,TEL-1,payment\n").await?.books;
    let (channel, back) = (BESTPAY.parse()?, BreakDecision::Refunded { method: Method::Netbank });
    let appended = settle(&stage, &channel, break_of(&books, "T-1")?, &back).await?;
    stage.rest().await?;
    assert_eq!(balances(&stage, [1110, 2310, 2010, 2210]).await?, ["30.00", "0.00", "0.00", "-30.00"]);
    let waiting = refund_file::waiting(&stage.house.pool, &channel).await?;
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].order_id.as_str(), waiting[0].channel_txn_no.as_str()), (&*appended[0].subject, "T-1"));
    assert_eq!(breaks(&stage).await?, [""; 0]);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_of_one_day_that_are_read_at_once_are_two_revisions() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let (_, paid) = topped_up(&stage, BESTPAY, "B1", "100.00", Script::default()).await?;
    let line = format!("{},100.00,,,payment\n", paid.channel_txn_no);
    let (one, two) = tokio::join!(
        stage.compare(BESTPAY, "2025-03-10", &line),
        stage.compare(BESTPAY, "2025-03-10", "T-2,5.00,,,payment\n"),
    );
    let revision = |found: &Reconciled| found.books.statement_of(paid.business_date).map(|read| read.revision);
    let mut revisions = [revision(&one?), revision(&two?)];
    revisions.sort();
    assert_eq!(revisions, [Some(1), Some(2)]);
    stage.compare(BESTPAY, "2025-03-10", &line).await?;
    assert_eq!(differences(&stage).await?, [""; 0]);
    assert_eq!(balances(&stage, [1110, 2310, 1320]).await?, ["100.00", "0.00", "0.00"]);
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
