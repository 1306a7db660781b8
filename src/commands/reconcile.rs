//! `ledger reconcile`: a channel's statement of a day against the ledger, and what persons decide about the differences.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use chrono::NaiveDate;
use clap::{Args, Subcommand, ValueEnum};
use engine::clock::Clock;
use producers::statement;
use rules::reconciliation::{BreakDecision, Comparison, Statement};
use schemas::{
    Balance, Name, OrderId,
    events::{Method, ReconciliationBreakRaised},
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    config::Config,
    house::House,
    output::{Output, Rows, print},
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    /// Whose statements they are
    #[arg(long, required = true)]
    channel: Option<Name>,
    /// The channel's accounting day, such as 2025-03-17
    #[arg(long, requires = "file", value_parser = date)]
    date: Option<NaiveDate>,
    /// The statement, in the format that [statements.<channel>] describes; without one, those that were read are compared
    /// again with the ledger of now
    #[arg(requires = "date")]
    file: Option<PathBuf>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// End a break as persons have decided
    Resolve {
        /// Whose statement it is about
        #[arg(long)]
        channel: Name,
        /// As the comparison shows it: the break, and which occurrence of it
        #[arg(value_name = "BREAK", value_parser = occurrence)]
        occurrence: (Uuid, u16),
        #[arg(long = "as", value_enum, value_name = "RESOLUTION")]
        resolution: Resolution,
        /// Who approves it, by an opaque name such as finance-2; a write-off takes two
        #[arg(long = "approver", required = true, value_name = "NAME")]
        approvers: Vec<Name>,
        /// Of a payment that is identified: whose it is
        #[arg(long)]
        order: Option<OrderId>,
        /// Of a payment that is posted: how it was paid, such as netbank
        #[arg(long, value_parser = method)]
        method: Option<Method>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Resolution {
    /// The payment is identified: it is posted to the order as a late capture
    LateCapturePosted,
    /// Nobody identifies the payment: it is posted to an order of nobody, and goes back
    Refunded,
    /// The channel puts it right
    ChannelCorrected,
    /// It is a loss, or income
    WrittenOff,
}

fn date(text: &str) -> Result<NaiveDate, &'static str> {
    schemas::parse_date(text).ok_or("expected a day such as 2025-03-17")
}

fn occurrence(text: &str) -> Result<(Uuid, u16), &'static str> {
    let parts = text.split_once('/').and_then(|(id, occurrence)| Some((id.parse().ok()?, occurrence.parse().ok()?)));
    parts.ok_or("expected a break and its occurrence, such as 891f651d-fc9d-51fc-bee4-486d12f079d6/1")
}

fn method(text: &str) -> Result<Method, String> {
    let known = Method::ALL.iter().find(|method| method.as_str() == text);
    known
        .copied()
        .ok_or_else(|| format!("one of {}", Method::ALL.iter().map(|m| m.as_str()).collect::<Vec<_>>().join(", ")))
}

pub async fn run(config: Config, arguments: Arguments, output: Output) -> Result<()> {
    match arguments {
        Arguments { action: Some(action), .. } => resolve(config, action, output).await,
        Arguments { channel: Some(channel), date, file, action: None } => {
            compare(config, &channel, date.zip(file.as_deref()), output).await
        }
        Arguments { channel: None, .. } => bail!("name the --channel"),
    }
}

async fn compare(config: Config, channel: &Name, file: Option<(NaiveDate, &Path)>, output: Output) -> Result<()> {
    let channels = &config.policy.channels;
    ensure!(
        channels.contains_key(channel),
        "nothing was agreed with a channel {channel}, only with {}",
        channels.keys().map(Name::as_str).collect::<Vec<_>>().join(", ")
    );
    let statement = file.map(|(date, file)| read(&config, channel, date, file)).transpose()?;
    let house = House::with_its_views(config, Clock::System).await?;
    let found = house.reconciler().reconcile(channel, statement.as_ref(), &house.config.policy).await?;
    let (books, appended) = (found.books, found.appended);
    let open = books.open_breaks();
    let read = statement.as_ref().and_then(|statement| books.statement_of(statement.date));
    let matched = read.map(|read| Comparison::of(&books).matched(read.statement_date));
    if let Some((read, matched)) = read.zip(matched) {
        let (date, revision, lines) = (read.statement_date, read.revision, read.lines);
        eprintln!("{channel} {date}, revision {revision}: lines {lines}, matched {matched}");
    }
    eprintln!("{channel}: open breaks {}, events appended {appended}", open.len());
    let with_difference = |raised: &&ReconciliationBreakRaised| {
        let mut json = json!(raised);
        json["difference"] = json!(raised.difference());
        json
    };
    let breaks: Vec<_> = open.iter().map(with_difference).collect();
    let json = json!({
        "channel": channel, "statement": read, "matched": matched, "appended": appended, "breaks": breaks,
    });
    print(output, &rows(&open), &json)
}

fn read(config: &Config, channel: &Name, date: NaiveDate, file: &Path) -> Result<Statement> {
    let name = file.file_name().and_then(|name| name.to_str()).context("the file needs a name")?;
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let format = config.statements.get(channel).cloned().unwrap_or_default();
    statement::read(&bytes, date, name, &format).with_context(|| {
        format!("{} was not taken, as it is to be as [statements.{channel}] says or as by default", file.display())
    })
}

/// Every open break of the channel.
fn rows(open: &[&ReconciliationBreakRaised]) -> Rows {
    let columns = [
        "break 差异编号",
        "class 类型",
        "day 账务日",
        "number 流水号",
        "order 订单",
        "ours 账面",
        "theirs 渠道",
        "difference 差额",
    ];
    let mut rows = Rows::new(&columns, &[5, 6, 7]);
    let amount = |amount: Option<Balance>| amount.map_or(String::new(), |amount| amount.to_string());
    for raised in open {
        let ReconciliationBreakRaised { break_id, occurrence, class, statement_date, number, order_no, .. } = raised;
        rows.push([
            format!("{break_id}/{occurrence}"),
            class.to_string(),
            statement_date.to_string(),
            number.clone().unwrap_or_default(),
            order_no.clone().unwrap_or_default(),
            amount(raised.ledger_amount),
            amount(raised.channel_amount),
            raised.difference().to_string(),
        ]);
    }
    rows
}

async fn resolve(config: Config, action: Action, output: Output) -> Result<()> {
    let Action::Resolve { channel, occurrence, resolution, approvers, order, method } = action;
    let how = match (resolution, order, method) {
        (Resolution::LateCapturePosted, Some(order), Some(method)) => {
            BreakDecision::LateCapturePosted { order, method }
        }
        (Resolution::LateCapturePosted, ..) => bail!("name the --order and the --method of the payment"),
        (Resolution::Refunded, None, Some(method)) => BreakDecision::Refunded { method },
        (Resolution::Refunded, ..) => {
            bail!("name the --method of the payment, and no --order: it goes back because it is nobody's")
        }
        (Resolution::ChannelCorrected, None, None) => BreakDecision::ChannelCorrected,
        (Resolution::WrittenOff, None, None) => BreakDecision::WrittenOff,
        (Resolution::ChannelCorrected | Resolution::WrittenOff, ..) => {
            bail!("--order and --method are of a payment that is posted; here nothing is")
        }
    };
    let house = House::with_its_views(config, Clock::System).await?;
    let policy = &house.config.policy;
    let appended = house.reconciler().resolve(&channel, occurrence, &how, &approvers, policy).await?;
    let mut rows = Rows::new(&["event", "subject"], &[]);
    for event in &appended {
        rows.push([event.data.event_type().to_owned(), event.subject.clone()]);
    }
    let json: Vec<_> = appended.iter().map(schemas::Event::to_structured).collect();
    print(output, &rows, &json!({ "events": json }))
}
