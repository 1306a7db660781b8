//! The worked day of the BestPay web top-up (翼机通充值): six payments, of which one is credited at the third try, one is
//! refused by the card host for good, and one must still be written to its card.

use anyhow::Result;
use producers::{
    refund_file::{self, Waiting},
    sandbox::{MoveStep, Script},
};
use schemas::{OrderId, events::Method};
use serde_json::json;

use super::{Day, at};
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
    // B4 is a payment that only the channel's file knows; it comes on T+1.
    for (name, amount, script) in [
        ("B1", "100.00", Script::default()),
        ("B2", "50.00", retried),
        ("B3", "200.00", refused),
        ("B6", "60.00", offline),
        ("B7", "100.00", Script::default()),
    ] {
        top_up(stage, day, name, amount, script).await?;
    }
    // What is unknown is asked about after a while.
    stage.wait(60).await?;
    stage.wait(60).await?;
    stage.wait_until(at("2025-03-17T23:59:58+08:00")?).await?;
    top_up(stage, day, "B5", "80.00", Script::default()).await?;
    let expected = [("1110", "590.00"), ("2210", "-200.00"), ("2130", "-330.00"), ("2131", "-60.00"), ("2010", "0.00")];
    day.check(stage, "T", &expected).await?;
    let waiting = waiting_for_the_file(stage, day).await?;
    day.expect("T", "waits for the refund file 待退款文本", "B3", waiting);
    Ok(())
}

async fn top_up(stage: &Stage, day: &mut Day, name: &'static str, amount: &str, script: Script) -> Result<OrderId> {
    let order = ask(stage, name, amount).await?;
    stage.script(&order, script);
    stage.pay(&order, CHANNEL, Method::Netbank, amount)?;
    stage.notified(&order).await?;
    stage.rest().await?;
    day.orders.push((name, order.clone()));
    Ok(order)
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
