//! `ledger order`: an order's timeline.

use anyhow::{Result, bail};
use engine::clock::Clock;
use projections::{report, timeline};
use rules::postings::postings;
use schemas::{OrderId, Recorded};
use serde_json::{Value, json};

use crate::{
    config::Config,
    house::House,
    output::{Output, Rows, print},
};

pub async fn run(config: Config, order_id: &OrderId, output: Output) -> Result<()> {
    let house = House::with_its_views(config, Clock::System).await?;
    let Some(order) = report::find_order(&house.pool, order_id.as_str()).await? else {
        bail!("no event of {order_id} has reached the views; check the number, and that a projector runs");
    };
    let positions = timeline::positions(&house.pool, order_id).await?;
    let (log, topic) = (house.log.clone(), house.events_topic().to_owned());
    let events = tokio::task::spawn_blocking(move || timeline::read(&*log, &topic, &positions)).await??;
    if output == Output::Table {
        let reason = order.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        println!("{order_id}  {}{reason}", order.status);
    }
    print(output, &rows(&events), &json!({ "order": order, "events": events.iter().map(as_json).collect::<Vec<_>>() }))
}

fn rows(events: &[Recorded]) -> Rows {
    let mut rows = Rows::new(&["position", "recorded", "event", "source", "postings"], &[]);
    for read in events {
        let legs = postings(&read.event);
        let legs: Vec<String> =
            legs.iter().map(|leg| format!("{:>12}  {}", leg.amount.to_string(), leg.account)).collect();
        rows.push([
            read.position.to_string(),
            rules::business_day::shanghai(&read.recorded_at).format("%Y-%m-%d %H:%M:%S").to_string(),
            read.event.data.event_type().trim_start_matches("ledger.").to_owned(),
            read.event.source.clone(),
            legs.join("\n"),
        ]);
    }
    rows
}

fn as_json(read: &Recorded) -> Value {
    let legs = postings(&read.event);
    let legs: Vec<Value> = legs
        .iter()
        .map(|leg| json!({ "account": leg.account.code.number(), "owner": leg.account.owner, "amount": leg.amount }))
        .collect();
    json!({ "event": read.to_structured(), "postings": legs })
}
