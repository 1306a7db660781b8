//! Read your writes: whoever appends gets a position, and a reader that names it sees what stands there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::StatusCode;
use schemas::{OrderId, Position};
use serde_json::Value;

use crate::{
    load::{self, Fate, Payment},
    world::{World, hurried},
};

const ORDERS: usize = 100;

fn payment(number: usize) -> Payment {
    Payment::new(number, Fate::Booked, Default::default())
}

async fn read(world: &World, order: &OrderId, position: Position) -> Result<(StatusCode, Value)> {
    let token = world.house.client_token(&"/operators/finance".parse()?)?;
    let url = format!("{}/v1/orders/{order}?position={position}", world.door_url);
    let answer = world.http.get(url).timeout(Duration::from_secs(20)).bearer_auth(token).send().await?;
    Ok((answer.status(), answer.json().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_a_position_reads_what_stands_there() -> Result<()> {
    let world = World::open(hurried(ledger_tests::config().await?)).await?;
    let _roles = [world.process("door", "door")?, world.process("coordinator", "coordinator")?];
    let projector = world.process("projector", "projector")?;
    world.door_is_open().await?;
    let views = world.views().await?;
    world.is_held_by(&views, 1).await?;
    for number in 0..ORDERS {
        let (order, position, _) = load::request(&world, &payment(number)).await?;
        let (status, answer) = read(&world, &order, position.context("the answer names a position")?).await?;
        assert_eq!((status, answer["order_id"].as_str()), (StatusCode::OK, Some(order.as_str())), "{answer}");
        assert_eq!(answer["requested"].as_str(), Some(payment(number).amount.as_str()));
    }

    // While the views stand still, a reader waits; it is told when that takes too long, and never shown less.
    projector.freeze()?;
    let (order, position, _) = load::request(&world, &payment(ORDERS)).await?;
    let position = position.context("the answer names a position")?;
    let began = Instant::now();
    let (status, answer) = read(&world, &order, position).await?;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::GATEWAY_TIMEOUT, Some("NOT_YET_APPLIED")), "{answer}");
    assert!(began.elapsed() > Duration::from_secs(4), "it waited {:?}", began.elapsed());
    let (answered, ()) = tokio::join!(read(&world, &order, position), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        projector.wake().unwrap();
    });
    let (status, answer) = answered?;
    assert_eq!((status, answer["order_id"].as_str()), (StatusCode::OK, Some(order.as_str())), "{answer}");
    Ok(())
}
