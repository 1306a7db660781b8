//! Payers: many orders at once, each with a fate that the outside plays and that the ledger must come to.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use ledger::play::{self, CHANNELS};
use producers::sandbox::{BankStep, MoveStep, NoticeStep, Script};
use reqwest::{Response, StatusCode};
use rules::business_day::shanghai;
use schemas::{Amount, OrderId, Position};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::world::World;

/// How many payers wait for an answer at the same time.
const AT_ONCE: usize = 50;
/// However often a payer is turned away, after so long something is wrong.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the bank does with a repayment in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Booked,
    Failed,
    Uncertain,
}

/// A repayment to be asked for and paid.
#[derive(Clone, Debug)]
pub struct Payment {
    pub key: String,
    pub channel: &'static str,
    pub amount: String,
    pub fate: Fate,
    pub script: Script,
}

/// A repayment that was admitted and paid.
#[derive(Clone, Debug)]
pub struct Paid {
    pub order: OrderId,
    pub amount: Amount,
    pub fate: Fate,
    /// Where the door said that the request stands.
    pub position: Option<Position>,
    /// How often the acquirer tells the door of it.
    pub notices: u32,
}

impl Payment {
    /// One in ten is not booked, one in twenty stays uncertain, one in twenty is told twice; and some of all meet an
    /// outside that fails to answer.
    pub fn draw(number: usize, dice: &mut Rng) -> Self {
        let fate = match dice.u32(..100) {
            0..10 => Fate::Failed,
            10..15 => Fate::Uncertain,
            _ => Fate::Booked,
        };
        let script = Script {
            bank: bank(fate, dice),
            refunds: refunds(dice),
            notice: Some(if dice.u32(..100) < 5 { NoticeStep::Twice } else { NoticeStep::Once }),
            ..Script::default()
        };
        Self::new(number, fate, script)
    }

    pub fn new(number: usize, fate: Fate, script: Script) -> Self {
        let channel = CHANNELS[number % CHANNELS.len()];
        let amount = format!("{}.{:02}", 10 + number, number % 100);
        Self { key: format!("K{number}"), channel, amount, fate, script }
    }

    /// The request, the same on every repeat.
    fn request(&self) -> Value {
        let now = shanghai(&chrono::Utc::now());
        json!({
            "channel": self.channel,
            "student": { "id_number": "11010519491231002X" },
            "contract": { "reference": self.key, "type": "origin" },
            "amount": self.amount,
            "enrolment": { "result": "enrolled", "checked_at": now },
            "quote": { "found": true, "as_of": now },
            "consent": { "version": "2025-01", "consented_at": now },
            "requested_at": now,
        })
    }
}

/// The bank's last step is repeated for ever, so trouble comes first.
fn bank(fate: Fate, dice: &mut Rng) -> Vec<BankStep> {
    let last = match fate {
        Fate::Booked => BankStep::Booked,
        Fate::Failed => BankStep::Failed,
        Fate::Uncertain => BankStep::Uncertain,
    };
    let booked = fate == Fate::Booked;
    match dice.u32(..100) {
        0..4 => vec![BankStep::Http500, last],
        4..8 => vec![BankStep::Reset, last],
        8..10 => vec![BankStep::Silent, last],
        10..12 => vec![BankStep::Http500, BankStep::Reset, last],
        12..14 if booked => vec![BankStep::BookedButSilent, last],
        14..16 if booked => vec![BankStep::Slow { ms: 300 }],
        _ => vec![last],
    }
}

fn refunds(dice: &mut Rng) -> Vec<MoveStep> {
    let busy = || "BUSY".to_owned();
    let first = match dice.u32(..20) {
        0 => MoveStep::Http500ButDone,
        1 => MoveStep::Http500NotDone,
        2 => MoveStep::ResetButDone,
        3 => MoveStep::ResetNotDone,
        4 => MoveStep::SilentButDone,
        5 => MoveStep::SilentNotDone,
        6 => MoveStep::Accepted { processing: 1 },
        7 => MoveStep::AcceptedThenRefused { processing: 1, code: busy(), retryable: true },
        8 => MoveStep::RefuseRetryable { code: busy() },
        9 => MoveStep::Slow { ms: 300 },
        _ => MoveStep::Success,
    };
    vec![first, MoveStep::Success]
}

/// Lets every payer ask and pay, spread over `window`.
pub async fn pay_all(world: &Arc<World>, payments: Vec<Payment>, window: Duration) -> Result<Vec<Paid>> {
    let seats = Arc::new(Semaphore::new(AT_ONCE));
    let began = tokio::time::Instant::now();
    let count = u32::try_from(payments.len())?.max(1);
    let (mut payers, mut paid) = (JoinSet::new(), Vec::with_capacity(payments.len()));
    for (number, payment) in (0..).zip(payments) {
        tokio::time::sleep_until(began + window * number / count).await;
        let (seat, world) = (Arc::clone(&seats).acquire_owned().await?, Arc::clone(world));
        payers.spawn(async move {
            let _seat = seat;
            let late = || format!("{} waits for ever", payment.key);
            tokio::time::timeout(PATIENCE, pay(&world, &payment)).await.with_context(late)?
        });
        // One that fails ends the test, and not only when all others have had their turn.
        while let Some(done) = payers.try_join_next() {
            paid.push(done??);
        }
    }
    while let Some(done) = payers.join_next().await {
        paid.push(done??);
    }
    Ok(paid)
}

async fn pay(world: &World, payment: &Payment) -> Result<Paid> {
    let (order, position) = ask(world, payment).await?;
    world.sandbox.set_script(&order, payment.script.clone());
    let capture = world.pay(&order, payment.channel, &payment.amount)?;
    let notices = if payment.script.notice == Some(NoticeStep::Twice) { 2 } else { 1 };
    Ok(Paid { order, amount: capture.amount, fate: payment.fate, position, notices })
}

/// Asks, with the same request again for as long as there is no answer, until it is admitted.
pub async fn ask(world: &World, payment: &Payment) -> Result<(OrderId, Option<Position>)> {
    let (order, position, admitted) = request(world, payment).await?;
    if !admitted {
        is_admitted(world, payment, &order).await?;
    }
    Ok((order, position))
}

/// Asks until the log has the request. Answers where it stands, and whether it is admitted already.
pub async fn request(world: &World, payment: &Payment) -> Result<(OrderId, Option<Position>, bool)> {
    let (url, request) = (format!("{}/v1/loan-repayments", world.door_url), payment.request());
    loop {
        let asked = world.http.post(&url).bearer_auth(token(world, payment)?).header("idempotency-key", &payment.key);
        if let Some((status, answer)) = heard(asked.json(&request).send().await).await {
            let order = answer["order_id"].as_str().with_context(|| format!("{}: {status}: {answer}", payment.key))?;
            let position =
                answer["position"].as_str().map(|text| text.parse().map_err(anyhow::Error::msg)).transpose()?;
            return Ok((order.parse()?, position, is_verdict(payment, status, &answer)?));
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

async fn is_admitted(world: &World, payment: &Payment, order: &OrderId) -> Result<()> {
    let url = format!("{}/v1/loan-repayments/{order}", world.door_url);
    loop {
        let asked = world.http.get(&url).bearer_auth(token(world, payment)?);
        if let Some((status, answer)) = heard(asked.send().await).await
            && is_verdict(payment, status, &answer)?
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether the answer says "accepted"; an error, if it says "no".
fn is_verdict(payment: &Payment, status: StatusCode, answer: &Value) -> Result<bool> {
    match answer["status"].as_str() {
        Some("accepted") => Ok(true),
        Some("pending") => Ok(false),
        _ => bail!("{} was turned away: {status}: {answer}", payment.key),
    }
}

fn token(world: &World, payment: &Payment) -> Result<String> {
    world.house.client_token(&play::channel(payment.channel)?)
}

/// An answer that counts: the door was there, and could do its work.
async fn heard(answer: reqwest::Result<Response>) -> Option<(StatusCode, Value)> {
    let answer = answer.ok()?;
    let status = answer.status();
    if status.is_server_error() { None } else { Some((status, answer.json().await.ok()?)) }
}
