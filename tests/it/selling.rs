//! How channels ask for top-ups of a card and for what is bought with it.

use anyhow::Result;
use ledger::play::Stage;
use producers::sandbox::{Capture, Script};
use schemas::{OrderId, Stream, StreamKind, events::Method};
use serde_json::{Value, json};

pub(crate) const BESTPAY: &str = "bestpay-web";
pub(crate) const MINI: &str = "alipay-mini";
pub(crate) const POS: &str = "campus-pos";
pub(crate) const SCHOOL: &str = "school-1";
pub(crate) const SCHOOL_SOURCE: &str = "/schools/school-1";

pub(crate) fn top_up(stage: &Stage, card: &str, amount: &str) -> Value {
    json!({
        "school": SCHOOL,
        "card": { "number": card },
        "amount": amount,
        "check": { "found": true, "name_matches": true, "checked_at": stage.now() },
        "identity": { "verified": true, "method": "alipay_realname", "checked_at": stage.now() },
    })
}

/// Asks for a top-up, pays it, and lets everything happen that follows at once.
pub(crate) async fn topped_up(
    stage: &Stage,
    channel: &str,
    card: &str,
    amount: &str,
    script: Script,
) -> Result<(OrderId, Capture)> {
    let id = stage.admitted("/v1/card-top-ups", channel, card, &top_up(stage, card, amount)).await?;
    stage.script(&id, script);
    let method = if channel == BESTPAY { Method::Netbank } else { Method::Wallet };
    let capture = stage.pay(&id, channel, method, amount)?;
    stage.notified(&id).await?;
    stage.rest().await?;
    Ok((id, capture))
}

pub(crate) async fn card_stream(stage: &Stage, card: &str) -> Result<Stream> {
    Ok(stage.stream(SCHOOL_SOURCE, StreamKind::Card, SCHOOL, card).await?.0)
}

/// The holder of the card agrees to be debited.
pub(crate) async fn sign(stage: &Stage, card: &str) -> Result<()> {
    stage.sign_mandate(SCHOOL, card, &format!("agreement of {card}")).await?;
    stage.rest().await
}

/// What a terminal sells to the holder of a card; the count tells sales apart.
pub(crate) fn sale(card: &str, count: u64, amount: &str, funding: &str) -> Value {
    json!({
        "school": SCHOOL, "card": { "number": card }, "merchant": "canteen-1", "amount": amount, "funding": funding,
        "terminal": "T1", "terminal_seq": count,
    })
}

pub(crate) async fn bought(stage: &Stage, sale: &Value) -> Result<OrderId> {
    let id = stage.admitted("/v1/purchases", POS, "-", sale).await?;
    stage.rest().await?;
    Ok(id)
}

/// The same, made at a terminal that was offline.
pub(crate) fn offline(mut sale: Value, made_at: &str, code_issued_at: &str) -> Value {
    sale["occurred_at"] = made_at.into();
    sale["code_id"] = "code".into();
    sale["code_issued_at"] = code_issued_at.into();
    sale
}
