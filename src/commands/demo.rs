//! `ledger demo`: the worked day of the student loan, played through the door and the sandbox, and checked to the fen.
//! Time is simulated where the business waits, so a day that ends with a remittance on D+2 takes seconds.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, FixedOffset, NaiveDate};
use producers::sandbox::{BankStep, NoticeStep, Script};
use projections::report::{self, BalanceReport};
use schemas::{
    Amount, Balance, Event, Name, OrderId,
    events::{
        Evidence, FundsRemitted, Medium, Method, PaymentDeclined, PaymentInitiated, PaymentReversed, ReceiptPrinted,
        ReceiptText, RemittedItem, ReversalReason, SettlementReceived, SettlementReported,
    },
};

use crate::{
    config::Config,
    output::{Rows, table},
    play::{Ask, Stage, yuan},
};

const POS: &str = "ums-pos";
const CQP: &str = "unionpay-cqp";
const FINANCE: &str = "/operators/finance";

/// What an account should show, and what it shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub when: &'static str,
    pub what: String,
    pub expected: String,
    pub actual: String,
}

impl Check {
    pub fn agrees(&self) -> bool {
        self.expected == self.actual
    }
}

/// The orders of the day, by their names in the worked example.
pub struct Day {
    pub orders: Vec<(&'static str, OrderId)>,
    pub checks: Vec<Check>,
}

pub fn start_of_day() -> Result<DateTime<FixedOffset>> {
    at("2025-03-10T09:00:00+08:00")
}

fn at(time: &str) -> Result<DateTime<FixedOffset>> {
    Ok(DateTime::parse_from_rfc3339(time)?)
}

/// Plays the whole day and the two days after it.
pub async fn play(stage: &Stage, say: impl Fn(&str)) -> Result<Day> {
    let mut day = Day { orders: Vec::new(), checks: Vec::new() };
    say("T, Monday 2025-03-10: nine requests to repay six loans 还款申请");
    payments(stage, &mut day).await?;
    stage.rest().await?;
    check(stage, &mut day, "T", &[("1110", "7100.00"), ("2010", "-300.00"), ("2110", "-6800.00"), ("2210", "0.00")])
        .await?;
    say("T+1, Tuesday: the channels settle 渠道结算");
    stage.wait_until(at("2025-03-11T10:00:00+08:00")?).await?;
    settle(stage).await?;
    let after_receipt = [
        ("1010", "7085.80"),
        ("1110", "0.00"),
        ("1120", "0.00"),
        ("2010", "-300.00"),
        ("2110", "-6800.00"),
        ("5010", "14.20"),
    ];
    check(stage, &mut day, "T+1", &after_receipt).await?;
    say("D+2, Wednesday: the bank gets its money 划付银行");
    stage.wait_until(at("2025-03-12T10:00:00+08:00")?).await?;
    remit(stage, &day).await?;
    check(stage, &mut day, "D+2", &[("1010", "285.80"), ("2010", "-300.00"), ("2110", "0.00"), ("5010", "14.20")])
        .await?;
    let position = report::position(&stage.house.pool).await?;
    for (what, expected, actual) in
        [("held", "300.00", position.held), ("where", "285.80", position.located), ("gap", "14.20", position.gap)]
    {
        day.checks.push(Check { when: "D+2", what: what.to_owned(), expected: expected.to_owned(), actual });
    }
    Ok(day)
}

/// One more repayment, for those who want to see that everything still works.
pub async fn play_one_more(stage: &Stage) -> Result<OrderId> {
    let order = stage.accepted(&Ask::new(POS, "K-one-more", "1.00", "one more")).await?;
    pay(stage, &order, POS, Method::Card, "1.00").await?;
    Ok(order)
}

async fn payments(stage: &Stage, day: &mut Day) -> Result<()> {
    // A1: a card at the terminal, booked by the bank, and only then a slip.
    let a1 = stage.accepted(&Ask::new(POS, "K-A1", "5000.00", "A1")).await?;
    pay(stage, &a1, POS, Method::Card, "5000.00").await?;
    receipt(stage, &a1, POS, ReceiptText::Success).await?;
    // A2: the mini program.
    let a2 = stage.accepted(&Ask::new(CQP, "K-A2", "1200.00", "A2")).await?;
    pay(stage, &a2, CQP, Method::Cqp, "1200.00").await?;
    receipt(stage, &a2, CQP, ReceiptText::Success).await?;
    // A3: paid, but the bank says no, so the saga gives the money back.
    let a3 = stage.accepted(&Ask::new(CQP, "K-A3", "800.00", "A3")).await?;
    stage.script(&a3, Script { bank: vec![BankStep::Failed], ..Script::default() });
    pay(stage, &a3, CQP, Method::Cqp, "800.00").await?;
    receipt(stage, &a3, CQP, ReceiptText::Refunded).await?;
    // A4: the bank does not know. Nothing is refunded; the slip says to ask the bank.
    let a4 = stage.accepted(&Ask::new(POS, "K-A4", "300.00", "A4")).await?;
    stage.script(&a4, Script { bank: vec![BankStep::Uncertain], ..Script::default() });
    pay(stage, &a4, POS, Method::QrB2c, "300.00").await?;
    receipt(stage, &a4, POS, ReceiptText::Uncertain).await?;
    let a5 = reversed(stage).await?;
    let [first, too_early, second] = declined_and_repeated(stage).await?;
    // A7: the same contract a second time on one day.
    let a7 = stage.ask(&Ask::new(POS, "K-A1", "100.00", "A7")).await?;
    ensure!(a7.verdict == "DAILY_LIMIT", "A7 should be refused with DAILY_LIMIT, not {}", a7.verdict);
    let names = ["A1", "A2", "A3", "A4", "A5", "A6", "A6 too early", "A6 again", "A7"];
    day.orders = names.into_iter().zip([a1, a2, a3, a4, a5, first, too_early, second, a7.order_id]).collect();
    // What is uncertain is asked about again until the schedule is over.
    stage.wait(1200).await
}

/// A5: money was taken but no slip came; the operator synchronises, and the payment is reversed.
async fn reversed(stage: &Stage) -> Result<OrderId> {
    let order = stage.accepted(&Ask::new(POS, "K-A5", "450.00", "A5")).await?;
    stage.script(&order, Script { notice: Some(NoticeStep::Never), ..Script::default() });
    let capture = stage.pay(&order, POS, Method::QrB2c, "450.00")?;
    stage.wait(60).await?;
    let found = stage.capture_by_query(&order, &capture);
    let reversal = PaymentReversed {
        channel: POS.parse()?,
        attempt: 1,
        capture_id: Some(found.id),
        amount: yuan("450.00")?,
        reason: ReversalReason::OperatorSync,
        method: None,
        channel_txn_no: capture.channel_txn_no.clone(),
        business_date: capture.business_date,
        evidence: Evidence::Query,
    };
    let source = format!("/channels/{POS}");
    stage.tell(&source, &[found, stage.event(&source, &order, reversal)]).await?;
    stage.rest().await?;
    Ok(order)
}

/// A6: the first payment is declined; the contract stays locked for two minutes, so a request meanwhile is refused, and
/// one after that goes through.
async fn declined_and_repeated(stage: &Stage) -> Result<[OrderId; 3]> {
    let source = format!("/channels/{CQP}");
    let first = stage.accepted(&Ask::new(CQP, "K-A6", "600.00", "A6")).await?;
    let initiated =
        PaymentInitiated { attempt: 1, method: Method::Cqp, amount: yuan("600.00")?, channel_order_no: None };
    let declined = PaymentDeclined {
        attempt: 1,
        response_code: "51".into(),
        message: "余额不足 not enough money".into(),
        evidence: Evidence::AsyncNotice,
    };
    stage.tell(&source, &[stage.event(&source, &first, initiated), stage.event(&source, &first, declined)]).await?;
    let too_early = stage.ask(&Ask::new(CQP, "K-A6", "600.00", "A6 too early")).await?;
    ensure!(too_early.verdict == "IN_FLIGHT", "A6 should still be in flight, not {}", too_early.verdict);
    stage.wait(125).await?;
    let second = stage.accepted(&Ask::new(CQP, "K-A6", "600.00", "A6 again")).await?;
    pay(stage, &second, CQP, Method::Cqp, "600.00").await?;
    receipt(stage, &second, CQP, ReceiptText::Success).await?;
    Ok([first, too_early.order_id, second])
}

async fn pay(stage: &Stage, order: &OrderId, channel: &str, method: Method, amount: &str) -> Result<()> {
    let source = format!("/channels/{channel}");
    let initiated = PaymentInitiated { attempt: 1, method, amount: yuan(amount)?, channel_order_no: None };
    stage.tell(&source, &[stage.event(&source, order, initiated)]).await?;
    stage.pay(order, channel, method, amount)?;
    stage.notified(order).await?;
    stage.wait(8).await
}

async fn receipt(stage: &Stage, order: &OrderId, channel: &str, outcome_text: ReceiptText) -> Result<()> {
    let source = format!("/channels/{channel}");
    let medium = if channel == POS { Medium::Slip } else { Medium::Screen };
    stage
        .tell(&source, &[stage.event(&source, order, ReceiptPrinted { medium, outcome_text, slip_sha256: None })])
        .await
}

/// Gross, refunds, fee, net and number of transactions of each channel's batch for T.
const BATCHES: [(&str, &str, &str, &str, &str, u32); 2] =
    [(POS, "5300.00", "0.00", "10.60", "5289.40", 2), (CQP, "2600.00", "800.00", "3.60", "1796.40", 4)];

async fn settle(stage: &Stage) -> Result<()> {
    let day: NaiveDate = "2025-03-10".parse()?;
    for (channel, gross, refunds, fees, net, transactions) in BATCHES {
        let name: Name = channel.parse()?;
        let report = SettlementReported {
            channel: name.clone(),
            batch_no: "20250310".into(),
            period_from: day,
            period_to: day,
            gross: yuan(gross)?,
            refunds: yuan(refunds)?,
            chargebacks: Amount::ZERO,
            fees: yuan(fees)?,
            fees_borne_by: None,
            beneficiary: None,
            fee_items: Vec::new(),
            carried_in: Balance::ZERO,
            net: net.parse()?,
            transactions,
        };
        let source = format!("/channels/{channel}");
        stage.tell(&source, &[Event::about_channel(&source, &name, stage.now(), report)]).await?;
        let received = SettlementReceived {
            channel: name.clone(),
            batch_no: "20250310".into(),
            bank_account: "settlement".parse()?,
            bank_ref: format!("IN-20250311-{channel}"),
            value_date: "2025-03-11".parse()?,
            amount: yuan(net)?,
            straight_to: None,
            items: Vec::new(),
        };
        stage.tell(FINANCE, &[Event::about_channel(FINANCE, &name, stage.now(), received)]).await?;
    }
    stage.rest().await
}

async fn remit(stage: &Stage, day: &Day) -> Result<()> {
    let owed = [("A1", "5000.00"), ("A2", "1200.00"), ("A6 again", "600.00")];
    let item = |(name, amount): (&str, &str)| {
        let order = day.orders.iter().find(|(label, _)| *label == name).context("an order of the day is missing")?;
        Ok(RemittedItem::of_contract(order.1.stream(), yuan(amount)?))
    };
    let data = FundsRemitted {
        beneficiary: "cdb".parse()?,
        bank_account: "settlement".parse()?,
        bank_ref: "OUT-20250312-1".into(),
        value_date: "2025-03-12".parse()?,
        amount: yuan("6800.00")?,
        items: owed.into_iter().map(item).collect::<Result<_>>()?,
    };
    stage.tell(FINANCE, &[Event::about_channel(FINANCE, &"cdb".parse()?, stage.now(), data)]).await?;
    stage.rest().await
}

async fn check(stage: &Stage, day: &mut Day, when: &'static str, expected: &[(&str, &str)]) -> Result<()> {
    let balances = report::balances(&stage.house.pool).await?;
    for (account, amount) in expected {
        let actual = total(&balances, account)?;
        let name = rules::accounts::AccountCode::ALL.iter().find(|code| code.number().to_string() == *account);
        let what =
            name.map_or_else(|| (*account).to_owned(), |code| format!("{account} {} {}", code.name(), code.zh()));
        day.checks.push(Check { when, what, expected: (*amount).to_owned(), actual });
    }
    let sum = balances.iter().map(|row| row.balance.parse::<Balance>()).sum::<Result<Balance, _>>()?;
    day.checks.push(Check {
        when,
        what: "trial balance 试算合计".to_owned(),
        expected: "0.00".to_owned(),
        actual: sum.to_string(),
    });
    Ok(())
}

fn total(balances: &[BalanceReport], account: &str) -> Result<String> {
    let of_account = balances.iter().filter(|row| row.account.to_string() == account);
    let sum = of_account.map(|row| row.balance.parse::<Balance>()).sum::<Result<Balance, _>>()?;
    Ok(sum.to_string())
}

/// Plays the day in a house of its own, shows it, and answers whether every figure agrees.
pub async fn run(mut config: Config, exit: bool) -> Result<bool> {
    let started = Instant::now();
    let folder = tempfile::Builder::new().prefix("ledger-demo-").tempdir()?;
    config.data_dir = folder.path().to_owned();
    // Those whom the day needs, whoever may come in otherwise.
    config.door.clients.clear();
    if config.log != "postgres" {
        // A topic of its own, because its days are simulated.
        config.topic_prefix = format!("demo-{}", uuid::Uuid::new_v4().simple());
    }
    let say = |text: &str| eprintln!("{:>6.1} s  {text}", started.elapsed().as_secs_f32());
    let log = config.log.split('?').next().unwrap_or_default().to_owned();
    say("starting Postgres, the log and every role 启动");
    let stage = Stage::open(config, start_of_day()?).await?;
    let day = play(&stage, say).await?;
    println!("{}\n\n{}\n", orders(&stage, &day).await?, checks(&day));
    println!("{}; {:.1} s on {}\n", verdict(&day), started.elapsed().as_secs_f32(), log);
    let agrees = day.checks.iter().all(Check::agrees);
    if !exit {
        let token = stage.house.client_token(&FINANCE.parse()?)?;
        println!("console   {}/console#token={token}", stage.door_url);
        println!("door      {}", stage.door_url);
        println!("try       curl -sS -H 'Authorization: Bearer {token}' {}/v1/orders", stage.door_url);
        println!("postgres  {}", stage.house.postgres_url);
        println!("try       psql '{}' -c 'select * from finance.orders'", stage.house.postgres_url);
        eprintln!("running; press Ctrl-C to end 按 Ctrl-C 结束");
        tokio::signal::ctrl_c().await?;
    }
    stage.close().await?;
    Ok(agrees)
}

/// Every request of the day, and what became of it.
pub async fn orders(stage: &Stage, day: &Day) -> Result<String> {
    let mut orders = Rows::new(&["order 订单", "amount", "status", "状态", "reason 原因"], &[1]);
    for (name, id) in &day.orders {
        let order =
            report::find_order(&stage.house.pool, id.as_str()).await?.context("an order of the day has no row")?;
        let zh = rules::order::OrderStatus::ALL
            .iter()
            .find(|status| status.as_str() == order.status)
            .map_or("", |status| status.zh());
        orders.push([
            (*name).to_owned(),
            order.requested,
            order.status,
            zh.to_owned(),
            order.reason.unwrap_or_default(),
        ]);
    }
    Ok(table(&orders))
}

/// Every figure, as it should be and as it is.
pub fn checks(day: &Day) -> String {
    let mut checks = Rows::new(&["day", "account 科目", "expected 应为", "actual 实为", ""], &[2, 3]);
    for check in &day.checks {
        let mark = if check.agrees() { "✓" } else { "✗ differs" };
        checks.push([
            check.when.to_owned(),
            check.what.clone(),
            check.expected.clone(),
            check.actual.clone(),
            mark.to_owned(),
        ]);
    }
    table(&checks)
}

fn verdict(day: &Day) -> String {
    match day.checks.iter().filter(|check| !check.agrees()).count() {
        0 => "every figure agrees 全部相符".to_owned(),
        n => format!("{n} figures differ 不符"),
    }
}
