//! The worked day of tuition by instalments (网上缴费, E缴通): one student pays two items at once, one is captured although the page
//! failed and no notice came, one pays twice, and one claims to have paid.

use anyhow::Result;
use producers::sandbox::{MoveStep, NoticeStep, Script};
use schemas::{
    OrderId, StreamKind,
    events::{Claim, FeeItemAssessed, Method, PayerClaimRecorded},
};
use serde_json::{Value, json};

use super::{Day, at, differences};
use crate::play::{Stage, yuan};

const CHANNEL: &str = "ejt";
const SOURCE: &str = "/channels/ejt";
const SCHOOL: &str = "school-1";
const SCHOOL_SOURCE: &str = "/schools/school-1";
const YEAR: u16 = 2025;

pub async fn play(stage: &Stage, day: &mut Day, say: &impl Fn(&str)) -> Result<()> {
    say("Tuition, Monday 2025-03-31: four students pay school fees 学费缴纳");
    stage.wait_until(at("2025-03-31T09:00:00+08:00")?).await?;
    assess(stage, "X", &[("tuition", "5200.00", true), ("dorm", "1200.00", false), ("books", "400.00", false)]).await?;
    for student in ["Y", "Z", "W"] {
        assess(stage, student, &[("books", "400.00", false)]).await?;
    }
    day.expect("T", "X owes 欠费", "6800.00", arrears(stage, "X").await?);

    let x = ask(stage, day, "X", &[("dorm", "1200.00"), ("tuition", "2000.00")]).await?;
    let in_parts = stage.pay(&x, CHANNEL, Method::Netbank, "3200.00")?;
    stage.notified(&x).await?;
    stage.rest().await?;
    day.expect("T", "X owes after paying 缴费后欠费", "3600.00", arrears(stage, "X").await?);

    // Y was captured, but no notice came, and E缴通 does not find it when it is asked.
    let y = ask(stage, day, "Y", &[("books", "400.00")]).await?;
    stage.script(&y, Script { notice: Some(NoticeStep::Never), hidden: true, ..Script::default() });
    let unseen = stage.pay(&y, CHANNEL, Method::Netbank, "400.00")?;
    claim(stage, &y, Claim::Problem).await?;
    // W says that it was paid.
    let w = ask(stage, day, "W", &[("books", "400.00")]).await?;
    claim(stage, &w, Claim::Paid).await?;
    for wait in [300, 600, 1800, 3600, 7200] {
        stage.wait(wait).await?;
    }

    stage.wait_until(at("2025-03-31T23:59:50+08:00")?).await?;
    let z = ask(stage, day, "Z", &[("books", "400.00")]).await?;
    stage.script(&z, Script { refunds: vec![MoveStep::Accepted { processing: 1 }], ..Script::default() });
    let (once, twice) =
        (stage.pay(&z, CHANNEL, Method::Netbank, "400.00")?, stage.pay(&z, CHANNEL, Method::Netbank, "400.00")?);
    stage.notified(&z).await?;
    stage.rest().await?;
    day.check(stage, "T", &[("1110", "4000.00"), ("2120", "-3600.00"), ("2210", "-400.00"), ("2010", "0.00")]).await?;
    for (item, amount) in [("dorm", "-1200.00"), ("tuition", "-2000.00"), ("books", "-400.00")] {
        day.expect("T", format!("2120 of {item}"), amount, owed_to_school(stage, item).await?);
    }

    say("T+1, Tuesday: what the file shows, and the second payment back 次日补记与退款");
    stage.wait_until(at("2025-04-01T10:00:00+08:00")?).await?;
    let file = [(&in_parts, "3200.00"), (&unseen, "400.00"), (&once, "400.00"), (&twice, "400.00")];
    let books = stage.reconcile(CHANNEL, "2025-03-31", &file).await?.books;
    day.expect("T+1", "the file differs 对账差异", "missing_in_ledger 400.00", differences(&books));
    stage.identify(&books, &unseen).await?;
    stage.wait(60).await?;
    let expected = [("1110", "4000.00"), ("2120", "-4000.00"), ("2210", "0.00"), ("2310", "0.00")];
    day.check(stage, "T+1", &expected).await?;
    for (item, amount) in [("dorm", "-1200.00"), ("tuition", "-2000.00"), ("books", "-800.00")] {
        day.expect("T+1", format!("2120 of {item}"), amount, owed_to_school(stage, item).await?);
    }
    day.expect("T+1", "Y owes 欠费", "0.00", arrears(stage, "Y").await?);
    day.expect("T+1", "W owes 欠费", "400.00", arrears(stage, "W").await?);
    Ok(())
}

/// The school charges a student's items.
async fn assess(stage: &Stage, student: &str, items: &[(&str, &str, bool)]) -> Result<()> {
    let (stream, person) = stage.stream(SCHOOL_SOURCE, StreamKind::Fees, SCHOOL, student).await?;
    for (fee_item, amount, instalments_allowed) in items {
        let assessed = FeeItemAssessed {
            school: SCHOOL.parse()?,
            student: person,
            fee_item: (*fee_item).into(),
            billing_year: YEAR,
            amount: yuan(amount)?,
            instalments_allowed: *instalments_allowed,
        };
        stage.tell(SCHOOL_SOURCE, &[stage.about(SCHOOL_SOURCE, &stream, assessed)]).await?;
    }
    stage.rest().await
}

async fn ask(stage: &Stage, day: &mut Day, student: &'static str, lines: &[(&str, &str)]) -> Result<OrderId> {
    let amounts = lines.iter().map(|(_, amount)| yuan(amount)).sum::<Result<schemas::Amount>>()?;
    let line =
        |(fee_item, amount): &(&str, &str)| json!({ "fee_item": fee_item, "billing_year": YEAR, "amount": amount });
    let body = json!({
        "school": SCHOOL,
        "student": { "number": student },
        "amount": amounts,
        "lines": lines.iter().map(line).collect::<Vec<Value>>(),
        "consent": { "version": "2025-01", "consented_at": stage.now() },
        "requested_at": stage.now(),
    });
    let order = stage.admitted("/v1/fee-payments", CHANNEL, student, &body).await?;
    day.orders.push((student, order.clone()));
    Ok(order)
}

/// What the student clicks on the page that comes back (付款已成功, 付款出现问题).
async fn claim(stage: &Stage, order: &OrderId, claim: Claim) -> Result<()> {
    stage.tell(SOURCE, &[stage.event(SOURCE, order, PayerClaimRecorded { claim })]).await?;
    stage.rest().await
}

/// What the school is owed for an item, as it stands in the books.
async fn owed_to_school(stage: &Stage, item: &str) -> Result<String> {
    let owner = format!("{SCHOOL}/{item}/{YEAR}");
    let balances = projections::report::balances(&stage.house.pool).await?;
    let of_it = balances.into_iter().find(|row| row.account == 2120 && row.owner == owner);
    Ok(of_it.map_or("0.00".to_owned(), |row| row.balance))
}

async fn arrears(stage: &Stage, student: &str) -> Result<String> {
    let (stream, _) = stage.stream(SCHOOL_SOURCE, StreamKind::Fees, SCHOOL, student).await?;
    projections::report::arrears(&stage.house.pool, stream.as_str()).await.map_err(Into::into)
}
