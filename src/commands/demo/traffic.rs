//! `ledger demo --traffic RATE`: an endless plausible mix of all four systems, for people who want to watch. Time is real.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use engine::clock::Clock;
use indicatif::{ProgressBar, ProgressStyle};
use producers::sandbox::{BankStep, MoveStep, NoticeStep, SandboxConfig, Script, Share};
use projections::report;
use schemas::{
    OrderId, StreamKind,
    events::{FeeItemAssessed, Method},
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{linger_text, of_its_own};
use crate::{
    config::Config,
    play::{Ask, Stage, yuan},
};

const SCHOOL: &str = "school-1";
const SCHOOL_SOURCE: &str = "/schools/school-1";
/// Cards whose holders can be debited.
pub const CARDS: u64 = 200;
/// Orders under way at once, should the ledger be slower than the rate.
const UNDER_WAY_MAX: usize = 256;
const REPORT_PAUSE: Duration = Duration::from_secs(1);
/// Where nobody sees one line change, so many pauses lie between two lines.
const PAUSES_PER_LINE: usize = 10;

/// How orders go: most well, some not.
pub fn misfortunes() -> Vec<Share> {
    let share = |per_mille, script| Share { per_mille, script };
    let refuse = |code: &str| MoveStep::RefuseFinal { code: code.to_owned() };
    vec![
        share(60, Script { bank: vec![BankStep::Failed], ..Script::default() }),
        share(20, Script { bank: vec![BankStep::Uncertain, BankStep::Booked], ..Script::default() }),
        share(20, Script { credits: vec![refuse("CARD_CLOSED")], ..Script::default() }),
        share(30, Script { credits: vec![MoveStep::Http500ButDone], ..Script::default() }),
        share(20, Script { postings: vec![refuse("ITEM_CLOSED")], ..Script::default() }),
        share(40, Script { debits: vec![refuse("ACQ.BUYER_BALANCE_NOT_ENOUGH")], ..Script::default() }),
        share(50, Script { notice: Some(NoticeStep::Twice), ..Script::default() }),
        share(20, Script { offline_card: true, ..Script::default() }),
    ]
}

pub async fn run(config: Config, rate: u32) -> Result<()> {
    ensure!(rate > 0, "a rate is a number of orders a second, such as 5");
    let folder = tempfile::Builder::new().prefix("ledger-demo-").tempdir()?;
    let config = of_its_own(config, folder.path());
    let played = SandboxConfig { shares: misfortunes(), ..SandboxConfig::default() };
    let stage = Arc::new(Stage::open_by(config, Clock::System, played).await?);
    println!("{}", linger_text(&stage)?);
    eprintln!("{rate} orders a second of all four systems; press Ctrl-C to end 按 Ctrl-C 结束");
    for card in 0..CARDS {
        sign(&stage, card).await?;
    }
    let traffic = Arc::new(Traffic::default());
    let (under_way, mut tick) = (Arc::new(Semaphore::new(UNDER_WAY_MAX)), interval(rate));
    let mut numbers = 0_u64..;
    let shown = tokio::spawn(show(Arc::clone(&stage), Arc::clone(&traffic)));
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            ended = tokio::signal::ctrl_c() => break ended?,
        }
        let permit = Arc::clone(&under_way).acquire_owned().await?;
        let number = numbers.next().context("numbers do not end")?;
        let (stage, traffic) = (Arc::clone(&stage), Arc::clone(&traffic));
        tokio::spawn(async move {
            match journey(&stage, number).await {
                Ok(()) => traffic.asked.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    tracing::debug!(%error, "an order of the traffic was not admitted");
                    traffic.refused.fetch_add(1, Ordering::Relaxed)
                }
            };
            drop(stage);
            drop(permit);
        });
    }
    // The roles end while everything they need is there, and before them those who ask them.
    drop(under_way.acquire_many(UNDER_WAY_MAX.try_into()?).await?);
    shown.abort();
    shown.await.err();
    match Arc::into_inner(stage) {
        Some(stage) => stage.close().await,
        None => Ok(()),
    }
}

fn interval(rate: u32) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(Duration::from_secs(1) / rate);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

#[derive(Default)]
struct Traffic {
    asked: AtomicU64,
    refused: AtomicU64,
}

/// One line that tells how it goes; without a terminal, a further one now and then.
async fn show(stage: Arc<Stage>, traffic: Arc<Traffic>) -> Result<()> {
    let line = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}")?);
    let started = Instant::now();
    for pause in 0_usize.. {
        let (asked, refused) = (traffic.asked.load(Ordering::Relaxed), traffic.refused.load(Ordering::Relaxed));
        let a_second = asked * 10 / started.elapsed().as_secs().max(1);
        let report::PositionReport { held, located, gap } = report::position(&stage.house.pool).await?;
        let text = format!(
            "{asked} orders ({}.{}/s), {refused} refused · held 代管 {held} = where 所在 {located} + gap 缺口 {gap}",
            a_second / 10,
            a_second % 10
        );
        if line.is_hidden() && pause.is_multiple_of(PAUSES_PER_LINE) {
            eprintln!("{text}");
        }
        line.set_message(text);
        line.tick();
        tokio::time::sleep(REPORT_PAUSE).await;
    }
    Ok(())
}

/// One order from its request to its payment; the kinds come in turn.
pub async fn journey(stage: &Stage, number: u64) -> Result<()> {
    let amount = format!("{}.{:02}", 5 + number * 7 % 95, number * 37 % 100);
    match number % 10 {
        0..=2 => repay(stage, number, &amount).await,
        3..=4 => top_up(stage, number, "bestpay-web", Method::Netbank, &amount).await,
        5 => top_up(stage, number, "alipay-mini", Method::Wallet, &amount).await,
        6 => buy(stage, number, "card_balance", &amount).await,
        7..=8 => buy(stage, number, "withholding", &amount).await,
        _ => pay_fees(stage, number).await,
    }
}

async fn repay(stage: &Stage, number: u64, amount: &str) -> Result<()> {
    let (channel, method) =
        if number.is_multiple_of(2) { ("ums-pos", Method::Card) } else { ("unionpay-cqp", Method::Cqp) };
    let contract = format!("K-{number}");
    let order = stage.accepted(&Ask::new(channel, &contract, amount, &contract)).await?;
    stage.pay(&order, channel, method, amount)?;
    Ok(())
}

fn card(number: u64) -> Value {
    json!({ "number": format!("card {}", number % CARDS) })
}

async fn top_up(stage: &Stage, number: u64, channel: &str, method: Method, amount: &str) -> Result<()> {
    let body = json!({
        "school": SCHOOL, "card": card(number), "amount": amount, "method": method,
        "check": { "found": true, "name_matches": true, "checked_at": stage.now() },
    });
    let order: OrderId = stage.admitted("/v1/card-top-ups", channel, &format!("{number}"), &body).await?;
    stage.pay(&order, channel, method, amount)?;
    Ok(())
}

async fn buy(stage: &Stage, number: u64, funding: &str, amount: &str) -> Result<()> {
    let body = json!({
        "school": SCHOOL, "card": card(number), "merchant": format!("canteen-{}", number % 5), "amount": amount,
        "funding": funding, "terminal": "T1", "terminal_seq": number,
    });
    stage.admitted("/v1/purchases", "campus-pos", "-", &body).await?;
    Ok(())
}

async fn pay_fees(stage: &Stage, number: u64) -> Result<()> {
    let student = format!("student {number}");
    let (stream, person) = stage.stream(SCHOOL_SOURCE, StreamKind::Fees, SCHOOL, &student).await?;
    let assessed = FeeItemAssessed {
        school: SCHOOL.parse()?,
        student: person,
        fee_item: "tuition".into(),
        billing_year: 2025,
        amount: yuan("5200.00")?,
        instalments_allowed: true,
    };
    stage.tell(SCHOOL_SOURCE, &[stage.about(SCHOOL_SOURCE, &stream, assessed)]).await?;
    let amount = format!("{}.00", 100 * (1 + number % 20));
    let body = json!({
        "school": SCHOOL, "student": { "number": student }, "amount": amount,
        "lines": [{ "fee_item": "tuition", "billing_year": 2025, "amount": amount }],
        "consent": { "version": "2025-01", "consented_at": stage.now() },
    });
    let order = stage.admitted("/v1/fee-payments", "ejt", &student, &body).await?;
    stage.pay(&order, "ejt", Method::Netbank, &amount)?;
    Ok(())
}

/// The holder of a card agrees to be debited.
pub async fn sign(stage: &Stage, number: u64) -> Result<()> {
    stage.sign_mandate(SCHOOL, &format!("card {number}"), &format!("A{number}")).await
}
