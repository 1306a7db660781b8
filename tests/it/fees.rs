//! Acceptance scenarios of tuition by instalments, through the door and the sandbox, each named by its rule.

use anyhow::Result;
use ledger::{
    commands::demo,
    play::{Stage, yuan},
};
use ledger_tests::stage_at;
use producers::sandbox::{NoticeStep, Script};
use projections::report;
use schemas::{
    Data, OrderId, Stream, StreamKind,
    events::{Claim, FeeItemAssessed, FiscalReceiptIssued, FiscalReceiptReversed, Method, PayerClaimRecorded},
};
use serde_json::{Value, json};

use crate::looking::{balances, breaks, count, status, the_worked_day_agrees};

const CHANNEL: &str = "ejt";
const SOURCE: &str = "/channels/ejt";
const SCHOOL: &str = "school-1";
const SCHOOL_SOURCE: &str = "/schools/school-1";
const STUDENT: &str = "student";
const PATH: &str = "/v1/fee-payments";

/// The school charges the student, item by item, and says which of them may be paid in parts.
async fn assessed(stage: &Stage, items: &[(&str, &str, bool)]) -> Result<Stream> {
    let (stream, student) = stage.stream(SCHOOL_SOURCE, StreamKind::Fees, SCHOOL, STUDENT).await?;
    for (fee_item, amount, instalments_allowed) in items {
        let assessed = FeeItemAssessed {
            school: SCHOOL.parse()?,
            student,
            fee_item: (*fee_item).into(),
            billing_year: 2025,
            amount: yuan(amount)?,
            instalments_allowed: *instalments_allowed,
        };
        stage.tell(SCHOOL_SOURCE, &[stage.about(SCHOOL_SOURCE, &stream, assessed)]).await?;
    }
    stage.rest().await?;
    Ok(stream)
}

fn payment(stage: &Stage, amount: &str, lines: &[(&str, &str)]) -> Value {
    let line = |(item, amount): &(&str, &str)| json!({ "fee_item": item, "billing_year": 2025, "amount": amount });
    json!({
        "school": SCHOOL,
        "student": { "number": STUDENT },
        "amount": amount,
        "lines": lines.iter().map(line).collect::<Vec<Value>>(),
        "consent": { "version": "2025-01", "consented_at": stage.now() },
    })
}

/// Asks to pay one item in whole.
async fn asked(stage: &Stage, item: &str, amount: &str) -> Result<OrderId> {
    stage.admitted(PATH, CHANNEL, item, &payment(stage, amount, &[(item, amount)])).await
}

async fn refused(stage: &Stage, item: &str, amount: &str) -> Result<String> {
    let key = format!("{item} {amount}");
    Ok(stage.request(PATH, CHANNEL, &key, &payment(stage, amount, &[(item, amount)])).await?.verdict)
}

/// What the student clicks on the page that comes back (付款已成功, 付款出现问题).
async fn claimed(stage: &Stage, id: &OrderId, claim: Claim) -> Result<()> {
    stage.tell(SOURCE, &[stage.event(SOURCE, id, PayerClaimRecorded { claim })]).await?;
    stage.rest().await
}

async fn owed_by_item(stage: &Stage, fees: &Stream) -> Result<Vec<(String, String)>> {
    let sql = "select fee_item, outstanding::text from finance.fees where stream = $1 order by fee_item";
    let rows = stage.house.pool.get().await?.query(sql, &[&fees.as_str()]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_one_payment_closes_an_item_and_pays_an_instalment_of_another_that_allows_it() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let items = [("dorm", "1200.00", false), ("tuition", "5200.00", true), ("books", "400.00", false)];
    let fees = assessed(&stage, &items).await?;
    assert_eq!(report::arrears(&stage.house.pool, fees.as_str()).await?, "6800.00");
    assert_eq!(refused(&stage, "dorm", "600.00").await?, "INSTALMENT_NOT_ALLOWED");

    let both = payment(&stage, "3200.00", &[("dorm", "1200.00"), ("tuition", "2000.00")]);
    let id = stage.admitted(PATH, CHANNEL, "both", &both).await?;
    stage.pay(&id, CHANNEL, Method::Netbank, "3200.00")?;
    stage.notified(&id).await?;
    stage.rest().await?;
    assert_eq!((status(&stage, &id).await?.as_str(), count(&stage, &id, "fee.posted").await?), ("completed", 2));
    assert_eq!(report::arrears(&stage.house.pool, fees.as_str()).await?, "3600.00");
    let owed = [("books", "400.00"), ("dorm", "0.00"), ("tuition", "3200.00")];
    assert_eq!(owed_by_item(&stage, &fees).await?, owed.map(|(item, amount)| (item.to_owned(), amount.to_owned())));
    assert_eq!(balances(&stage, [1110, 2010, 2120]).await?, ["3200.00", "0.00", "-3200.00"]);
    assert_eq!(refused(&stage, "dorm", "1200.00").await?, "ITEM_NOT_PAYABLE");
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s32_a_claim_to_have_paid_proves_nothing_and_the_order_expires() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let fees = assessed(&stage, &[("books", "400.00", false)]).await?;
    let id = asked(&stage, "books", "400.00").await?;
    claimed(&stage, &id, Claim::Paid).await?;
    for wait in [300, 600, 1800, 3600, 7200] {
        assert_eq!(count(&stage, &id, "order.expired").await?, 0);
        stage.wait(wait).await?;
    }
    assert_eq!((count(&stage, &id, "order.expired").await?, count(&stage, &id, "captured").await?), (1, 0));
    assert_eq!(status(&stage, &id).await?, "expired");
    assert!(count(&stage, &id, "payment.outcome-unknown").await? > 1, "the channel was asked and knew of none");
    assert_eq!(report::arrears(&stage.house.pool, fees.as_str()).await?, "400.00");
    assert!(report::balances(&stage.house.pool).await?.is_empty());
    let again = payment(&stage, "400.00", &[("books", "400.00")]);
    stage.admitted(PATH, CHANNEL, "again", &again).await?;
    stage.close().await
}

/// Whoever claims it, the channel is asked; what it then shows is what counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_capture_without_a_notice_is_found_by_the_query_that_a_claim_causes() -> Result<()> {
    for claim in [Claim::Paid, Claim::Problem] {
        let stage = stage_at("10:00:00").await?;
        let fees = assessed(&stage, &[("books", "400.00", false)]).await?;
        let id = asked(&stage, "books", "400.00").await?;
        stage.script(&id, Script { notice: Some(NoticeStep::Never), ..Script::default() });
        stage.pay(&id, CHANNEL, Method::Netbank, "400.00")?;
        stage.rest().await?;
        assert_eq!(status(&stage, &id).await?, "awaiting_payment");
        claimed(&stage, &id, claim).await?;
        assert_eq!(status(&stage, &id).await?, "completed", "{claim:?}");
        assert_eq!(report::arrears(&stage.house.pool, fees.as_str()).await?, "0.00");
        stage.close().await?;
    }
    Ok(())
}

/// Also s35: the file has one payment more than the ledger, and once that is repaired the two are the same.
#[tokio::test(flavor = "multi_thread")]
async fn s33_what_only_the_file_shows_is_posted_late_and_its_break_ends() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    let fees = assessed(&stage, &[("books", "400.00", false), ("dorm", "1200.00", false)]).await?;
    let told = asked(&stage, "dorm", "1200.00").await?;
    let dorm = stage.pay(&told, CHANNEL, Method::Netbank, "1200.00")?;
    stage.notified(&told).await?;
    let id = asked(&stage, "books", "400.00").await?;
    stage.script(&id, Script { notice: Some(NoticeStep::Never), hidden: true, ..Script::default() });
    let books = stage.pay(&id, CHANNEL, Method::Netbank, "400.00")?;
    claimed(&stage, &id, Claim::Problem).await?;
    for wait in [300, 600, 1800, 3600, 7200, 86_400] {
        stage.wait(wait).await?;
    }
    assert_eq!(balances(&stage, [1110, 2310, 2120]).await?, ["1200.00", "0.00", "-1200.00"]);

    let lines = [(&dorm, "1200.00"), (&books, "400.00")];
    let found = stage.reconcile(CHANNEL, "2025-03-10", &lines).await?.books;
    assert_eq!(breaks(&stage).await?, ["missing_in_ledger"]);
    assert_eq!(balances(&stage, [1110, 2310, 2120]).await?, ["1600.00", "-400.00", "-1200.00"]);
    stage.identify(&found, &books).await?;
    assert_eq!((status(&stage, &id).await?.as_str(), count(&stage, &id, "fee.posted").await?), ("completed", 1));
    assert_eq!(
        (report::arrears(&stage.house.pool, fees.as_str()).await?, breaks(&stage).await?),
        ("0.00".into(), vec![])
    );
    assert_eq!(balances(&stage, [1110, 2310, 2120, 2210]).await?, ["1600.00", "0.00", "-1600.00", "0.00"]);
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn s34_a_second_payment_goes_back_and_the_same_one_told_again_is_one() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    assessed(&stage, &[("books", "400.00", false), ("dorm", "400.00", false)]).await?;
    let twice = asked(&stage, "books", "400.00").await?;
    for _ in 0..2 {
        stage.pay(&twice, CHANNEL, Method::Netbank, "400.00")?;
    }
    stage.notified(&twice).await?;
    stage.wait(60).await?;
    assert_eq!((count(&stage, &twice, "payment.captured").await?, count(&stage, &twice, "fee.posted").await?), (2, 1));
    assert_eq!(count(&stage, &twice, "refund.completed").await?, 1);
    assert_eq!(stage.sandbox.books().refunded(&twice), yuan("400.00")?);
    assert_eq!(balances(&stage, [1110, 2120, 2210]).await?, ["400.00", "-400.00", "0.00"]);

    let once = asked(&stage, "dorm", "400.00").await?;
    stage.script(&once, Script { notice: Some(NoticeStep::Twice), ..Script::default() });
    let capture = stage.pay(&once, CHANNEL, Method::Netbank, "400.00")?;
    stage.notified(&once).await?;
    stage.rest().await?;
    // The door recognises a repeat; the log may hold one all the same.
    let found = stage.capture_by_query(&once, &capture);
    stage.tell(SOURCE, std::slice::from_ref(&found)).await?;
    let appended = stage.house.publisher().append(&[found]).await;
    assert!(appended.iter().all(Result::is_ok), "{appended:?}");
    stage.wait(60).await?;
    assert_eq!(
        (count(&stage, &once, "payment.captured").await?, status(&stage, &once).await?.as_str()),
        (1, "completed")
    );
    assert_eq!(stage.sandbox.books().refunded(&once), yuan("0.00")?);
    assert_eq!(balances(&stage, [1110, 2120, 2210]).await?, ["800.00", "-800.00", "0.00"]);
    stage.close().await
}

/// Each is told twice, and moves no money.
#[tokio::test(flavor = "multi_thread")]
async fn a_fiscal_receipt_shows_on_its_order_until_a_red_one_takes_it_back() -> Result<()> {
    let stage = stage_at("10:00:00").await?;
    assessed(&stage, &[("books", "400.00", false)]).await?;
    let id = asked(&stage, "books", "400.00").await?;
    stage.pay(&id, CHANNEL, Method::Netbank, "400.00")?;
    stage.notified(&id).await?;
    stage.rest().await?;
    let (code, number, amount) = ("61060125".to_owned(), "0001".to_owned(), yuan("400.00")?);
    let issued =
        FiscalReceiptIssued { code: code.clone(), number: number.clone(), check_code: "a8f03c".into(), amount };
    let (reverses_code, reverses_number) = (code.clone(), number);
    let red = FiscalReceiptReversed { code, number: "0002".into(), reverses_code, reverses_number, amount };
    for (told, receipts) in [(Data::from(issued), "400.00"), (red.into(), "0.00")] {
        let event = stage.event(SCHOOL_SOURCE, &id, told);
        for _ in 0..2 {
            stage.tell(SCHOOL_SOURCE, std::slice::from_ref(&event)).await?;
            stage.rest().await?;
        }
        let sql = "select status, fiscal_receipts::text from finance.orders where order_id = $1";
        let row = stage.house.pool.get().await?.query_one(sql, &[&id.as_str()]).await?;
        assert_eq!((row.get(0), row.get(1)), ("completed", receipts));
        assert_eq!(balances(&stage, [1110, 2120]).await?, ["400.00", "-400.00"]);
    }
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worked_day_of_tuition_agrees_to_the_fen() -> Result<()> {
    the_worked_day_agrees(demo::System::Tuition).await
}
