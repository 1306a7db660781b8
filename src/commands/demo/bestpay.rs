//! The worked day of the BestPay web top-up (翼机通充值): six payments, of which one is credited at the third try, one is
//! refused by the card host for good, and one must still be written to its card. A seventh is in the channel's file alone.

use std::collections::BTreeMap;

use anyhow::Result;
use producers::{
    refund_file::{self, Waiting},
    sandbox::{Capture, MoveStep, NoticeStep, Script},
};
use schemas::{OrderId, events::Method};
use serde_json::json;

use super::{Day, at, differences};
use crate::play::Stage;

const CHANNEL: &str = "bestpay-web";
const SCHOOL: &str = "school-1";

pub async fn play(stage: &Stage, day: &mut Day, say: &impl Fn(&str)) -> Result<()> {
    say("BestPay, Monday 2025-03-17: six top-ups of campus cards 校园卡充值");
    stage.wait_until(at("2025-03-17T09:00:00+08:00")?).await?;
    let credits = |steps: &[MoveStep]| Script { credits: steps.to_vec(), ..Script::default() };
    let retried = credits(&[MoveStep::Http500NotDone, MoveStep::Http500NotDone, MoveStep::Success]);
    let refused = credits(&[MoveStep::RefuseFinal { code: "CARD_CLOSED".to_owned() }]);
    let offline = Script { offline_card: true, ..Script::default() };
    let mut paid = BTreeMap::new();
    for (name, amount, script) in [
        ("B1", "100.00", Script::default()),
        ("B2", "50.00", retried),
        ("B3", "200.00", refused),
        ("B6", "60.00", offline),
        ("B7", "100.00", Script::default()),
    ] {
        paid.insert(name, top_up(stage, day, name, amount, script).await?);
    }
    // Of this one the channel tells in its file alone.
    let unseen = ask(stage, "B4", "30.00").await?;
    stage.script(&unseen, Script { notice: Some(NoticeStep::Never), hidden: true, ..Script::default() });
    paid.insert("B4", stage.pay(&unseen, CHANNEL, Method::Netbank, "30.00")?);
    day.orders.push(("B4", unseen));
    // What is unknown is asked about after a while.
    stage.wait(60).await?;
    stage.wait(60).await?;
    stage.wait_until(at("2025-03-17T23:59:58+08:00")?).await?;
    paid.insert("B5", top_up(stage, day, "B5", "80.00", Script::default()).await?);
    let expected = [("1110", "590.00"), ("2210", "-200.00"), ("2130", "-330.00"), ("2131", "-60.00"), ("2010", "0.00")];
    day.check(stage, "T", &expected).await?;
    let waiting = waiting_for_the_file(stage, day).await?;
    day.expect("T", "waits for the refund file 待退款文本", "B3", waiting);

    say("T+1, Tuesday: the channel's file differs in three lines 对账差异");
    stage.wait_until(at("2025-03-18T10:00:00+08:00")?).await?;
    let file = [("B1", "100.00"), ("B2", "50.00"), ("B3", "200.00"), ("B4", "30.00"), ("B6", "60.00"), ("B7", "99.00")];
    let books = stage.reconcile(CHANNEL, "2025-03-17", &file.map(|(name, amount)| (&paid[name], amount))).await?.books;
    let three = "amount_channel_under -1.00, missing_in_ledger 30.00, timing -80.00";
    day.expect("T+1", "the file differs 对账差异", three, differences(&books));
    let found = [
        ("1110", "619.00"),
        ("2310", "-30.00"),
        ("1320", "1.00"),
        ("2210", "-200.00"),
        ("2131", "-60.00"),
        ("2130", "-330.00"),
    ];
    day.check(stage, "T+1", &found).await?;
    stage.identify(&books, &paid["B4"]).await?;
    let identified = found.map(|(account, amount)| match account {
        "2310" => (account, "0.00"),
        "2130" => (account, "-360.00"),
        _ => (account, amount),
    });
    day.check(stage, "T+1, B4 identified", &identified).await?;
    let books = stage.reconcile(CHANNEL, "2025-03-18", &[(&paid["B5"], "80.00")]).await?.books;
    day.expect("T+1", "with its file 对账差异", "amount_channel_under -1.00", differences(&books));
    day.check(stage, "T+1, with its file", &identified).await?;
    Ok(())
}

async fn top_up(stage: &Stage, day: &mut Day, name: &'static str, amount: &str, script: Script) -> Result<Capture> {
    let order = ask(stage, name, amount).await?;
    stage.script(&order, script);
    let capture = stage.pay(&order, CHANNEL, Method::Netbank, amount)?;
    stage.notified(&order).await?;
    stage.rest().await?;
    day.orders.push((name, order));
    Ok(capture)
}

/// The platform has asked the card host about number and name before it asks here.
async fn ask(stage: &Stage, name: &str, amount: &str) -> Result<OrderId> {
    let body = json!({
        "school": SCHOOL,
        "card": { "number": format!("card of {name}") },
        "amount": amount,
        "method": "netbank",
        "check": { "found": true, "name_matches": true, "checked_at": stage.now() },
        "requested_at": stage.now(),
    });
    stage.admitted("/v1/card-top-ups", CHANNEL, name, &body).await
}

/// Orders of the channel whose refund nobody can send but a person, in a file.
async fn waiting_for_the_file(stage: &Stage, day: &Day) -> Result<String> {
    let waiting = refund_file::waiting(&stage.house.pool, &CHANNEL.parse()?).await?;
    let name = |refund: &Waiting| day.orders.iter().find(|(_, order)| *order == refund.order_id).map(|(name, _)| *name);
    Ok(waiting.iter().filter_map(name).collect::<Vec<_>>().join(", "))
}
