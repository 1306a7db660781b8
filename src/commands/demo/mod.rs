//! `ledger demo`: the worked days of all four systems, played through the door and the sandbox, and checked to the fen.
//! Time is simulated where the business waits, so a day that ends with a remittance on D+2 takes seconds.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, FixedOffset};
use clap::ValueEnum;
use producers::channels::ChannelsConfig;
use projections::report;
use rules::{accounts::AccountCode, reconciliation::Books};
use schemas::{Balance, OrderId, events::ReconciliationBreakRaised};

use crate::{
    config::Config,
    output::{Rows, table},
    play::Stage,
};

mod bestpay;
mod campus;
mod loan;
pub mod traffic;
mod tuition;

pub use loan::{play_one_more, settle};

const FINANCE: &str = "/operators/finance";

/// One of the four systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    /// Student loans "repay any time" 随时还款
    Loan,
    /// Web top-up of campus cards through BestPay 翼机通充值
    Bestpay,
    /// The campus card in the Alipay mini program 完美校园
    Campus,
    /// Tuition by instalments through E缴通 网上缴费
    Tuition,
}

impl System {
    pub const ALL: &[Self] = &[Self::Loan, Self::Bestpay, Self::Campus, Self::Tuition];

    /// As the help says it.
    pub fn title(self) -> String {
        let value = self.to_possible_value();
        value.as_ref().and_then(|value| value.get_help()).map(ToString::to_string).unwrap_or_default()
    }

    async fn play(self, stage: &Stage, day: &mut Day, say: &impl Fn(&str)) -> Result<()> {
        match self {
            Self::Loan => loan::play(stage, day, say).await,
            Self::Bestpay => bestpay::play(stage, day, say).await,
            Self::Campus => campus::play(stage, day, say).await,
            Self::Tuition => tuition::play(stage, day, say).await,
        }
    }
}

/// What an account should show, and what it shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub when: String,
    pub what: String,
    pub expected: String,
    pub actual: String,
}

impl Check {
    pub fn agrees(&self) -> bool {
        self.expected == self.actual
    }
}

type Totals = BTreeMap<u16, Balance>;

/// The orders of a day, by their names in the worked example, and its figures. What earlier days have left in the books is
/// taken off, so that days can follow one another.
pub struct Day {
    pub orders: Vec<(&'static str, OrderId)>,
    pub checks: Vec<Check>,
    before: Totals,
}

impl Day {
    async fn begin(stage: &Stage) -> Result<Self> {
        Ok(Self { orders: Vec::new(), checks: Vec::new(), before: totals(stage).await? })
    }

    fn expect(&mut self, when: &str, what: impl Into<String>, expected: impl Into<String>, actual: impl Into<String>) {
        let (when, what) = (when.to_owned(), what.into());
        self.checks.push(Check { when, what, expected: expected.into(), actual: actual.into() });
    }

    /// What the day has changed on each of these accounts, that it has changed no other, and that all of them together sum
    /// to zero.
    async fn check(&mut self, stage: &Stage, when: &str, expected: &[(&str, &str)]) -> Result<()> {
        let now = totals(stage).await?;
        for (account, amount) in expected {
            let code = AccountCode::ALL.iter().find(|code| code.number().to_string() == *account);
            let code = code.with_context(|| format!("there is no account {account}"))?;
            let actual = (of(&now, *code) - of(&self.before, *code)).to_string();
            self.expect(when, format!("{account} {} {}", code.name(), code.zh()), *amount, actual);
        }
        for code in AccountCode::ALL
            .iter()
            .filter(|code| expected.iter().all(|(account, _)| code.number().to_string() != *account))
        {
            let actual = of(&now, *code) - of(&self.before, *code);
            if actual != Balance::ZERO {
                self.expect(
                    when,
                    format!("{} {} {}", code.number(), code.name(), code.zh()),
                    "0.00",
                    actual.to_string(),
                );
            }
        }
        let sum: Balance = now.values().copied().sum();
        self.expect(when, "trial balance 试算合计", "0.00", sum.to_string());
        Ok(())
    }

    /// Held, where, and gap, of the whole house.
    async fn check_position(&mut self, stage: &Stage, when: &str, expected: [&str; 3]) -> Result<()> {
        let position = report::position(&stage.house.pool).await?;
        let actual = [position.held, position.located, position.gap];
        for ((what, expected), actual) in ["held 代管", "where 所在", "gap 缺口"].into_iter().zip(expected).zip(actual)
        {
            self.expect(when, what, expected, actual);
        }
        Ok(())
    }
}

fn of(totals: &Totals, code: AccountCode) -> Balance {
    totals.get(&code.number()).copied().unwrap_or_default()
}

/// What each account holds, all its owners together.
async fn totals(stage: &Stage) -> Result<Totals> {
    let mut totals = Totals::new();
    for row in report::balances(&stage.house.pool).await? {
        *totals.entry(u16::try_from(row.account)?).or_default() += row.balance.parse::<Balance>()?;
    }
    Ok(totals)
}

/// `missing_in_ledger 400.00` for each open break, in alphabetical order.
fn differences(books: &Books) -> String {
    let told = |raised: &&ReconciliationBreakRaised| format!("{} {}", raised.class, raised.difference());
    let mut told: Vec<String> = books.open_breaks().iter().map(told).collect();
    told.sort();
    told.join(", ")
}

pub fn start_of_day() -> Result<DateTime<FixedOffset>> {
    at("2025-03-10T09:00:00+08:00")
}

fn at(time: &str) -> Result<DateTime<FixedOffset>> {
    Ok(DateTime::parse_from_rfc3339(time)?)
}

/// Plays the day of one system, and answers its orders and figures.
pub async fn play(stage: &Stage, system: System, say: impl Fn(&str)) -> Result<Day> {
    let mut day = Day::begin(stage).await?;
    system.play(stage, &mut day, &say).await?;
    Ok(day)
}

/// Plays days in a house of its own, shows them, and answers whether every figure agrees.
pub async fn run(config: Config, system: Option<System>, exit: bool) -> Result<bool> {
    let started = Instant::now();
    let folder = tempfile::Builder::new().prefix("ledger-demo-").tempdir()?;
    let config = of_its_own(config, folder.path());
    let say = |text: &str| eprintln!("{:>6.1} s  {text}", started.elapsed().as_secs_f32());
    let (log, topics) = (config.log.split('?').next().unwrap_or_default().to_owned(), config.topic_prefix.clone());
    say("starting Postgres, the log and every role 启动");
    let stage = Stage::open(config, start_of_day()?).await?;
    let systems = system.as_ref().map_or(System::ALL, std::slice::from_ref);
    let mut days = Vec::new();
    for system in systems {
        let day = play(&stage, *system, say).await?;
        println!("{}\n{}\n\n{}\n", system.title(), orders(&stage, &day).await?, checks(&day));
        days.push(day);
    }
    let wrong = days.iter().flat_map(|day| &day.checks).filter(|check| !check.agrees()).count();
    println!("{}; {:.1} s on {}\n", verdict(wrong), started.elapsed().as_secs_f32(), log);
    if !exit {
        linger(&stage).await?;
    }
    stage.close().await?;
    if log != "postgres" {
        eprintln!("its topics, {topics}.*, stay at {log}");
    }
    Ok(wrong == 0)
}

/// A demo's house touches no other.
fn of_its_own(mut config: Config, folder: &std::path::Path) -> Config {
    config.data_dir = folder.to_owned();
    // Those whom the days need, whoever may come in otherwise.
    config.door.clients.clear();
    config.channels = ChannelsConfig::default();
    if config.log != "postgres" {
        // A topic of its own, because its days are simulated.
        config.topic_prefix = format!("demo-{}", uuid::Uuid::new_v4().simple());
    }
    config
}

/// Says where to look, and stays open until Ctrl-C.
async fn linger(stage: &Stage) -> Result<()> {
    println!("{}", linger_text(stage)?);
    eprintln!("running; press Ctrl-C to end 按 Ctrl-C 结束");
    Ok(tokio::signal::ctrl_c().await?)
}

/// Where to look.
fn linger_text(stage: &Stage) -> Result<String> {
    let token = stage.house.client_token(&FINANCE.parse()?)?;
    let (door, postgres) = (&stage.door_url, &stage.house.postgres_url);
    Ok(format!(
        "console   {door}/console#token={token}\n\
         door      {door}\n\
         try       curl -sS -H 'Authorization: Bearer {token}' {door}/v1/orders\n\
         postgres  {postgres}\n\
         try       psql '{postgres}' -c 'select channel, status, requested, captured, confirmed, refunded, reason from finance.orders'"
    ))
}

/// Every request of the day, and what became of it.
pub async fn orders(stage: &Stage, day: &Day) -> Result<String> {
    let mut orders = Rows::new(&["order 订单", "amount", "status", "状态", "reason 原因"], &[1]);
    for (name, id) in &day.orders {
        let order =
            report::find_order(&stage.house.pool, id.as_str()).await?.context("an order of the day has no row")?;
        let reason = order.reason.unwrap_or_default();
        orders.push([(*name).to_owned(), order.requested, order.status, order.status_zh, reason]);
    }
    Ok(table(&orders))
}

/// Every figure, as it should be and as it is.
pub fn checks(day: &Day) -> String {
    let mut checks = Rows::new(&["day", "account 科目", "expected 应为", "actual 实为", ""], &[2, 3]);
    for check in &day.checks {
        let mark = if check.agrees() { "✓" } else { "✗ differs" };
        checks.push([
            check.when.clone(),
            check.what.clone(),
            check.expected.clone(),
            check.actual.clone(),
            mark.to_owned(),
        ]);
    }
    table(&checks)
}

fn verdict(wrong: usize) -> String {
    match wrong {
        0 => "every figure agrees 全部相符".to_owned(),
        n => format!("{n} figures differ 不符"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_every_system_have_a_title() {
        assert!(System::ALL.iter().all(|system| !system.title().is_empty()));
        assert_eq!(System::Loan.title(), "Student loans \"repay any time\" 随时还款");
    }
}
