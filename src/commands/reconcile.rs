//! `ledger reconcile`: a channel's statement of a day against the ledger, and what persons decide about the differences.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use chrono::NaiveDate;
use clap::{Args, Subcommand, ValueEnum};
use engine::clock::Clock;
use producers::statement;
use projections::report;
use rules::reconciliation::{Books, BreakDecision};
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
    /// Whose statement it is
    #[arg(long, required = true)]
    channel: Option<Name>,
    /// The channel's accounting day, such as 2025-03-17
    #[arg(long, required = true, value_parser = date)]
    date: Option<NaiveDate>,
    /// The statement, in the format that [statements.<channel>] describes
    #[arg(required = true)]
    file: Option<PathBuf>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// End a break as persons have decided
    Resolve {
        /// As the comparison shows it
        break_id: Uuid,
        #[arg(long = "as", value_enum, value_name = "RESOLUTION")]
        resolution: Resolution,
        /// Who approves it, by an opaque name; a write-off takes two
        #[arg(long = "approver", required = true, value_name = "NAME")]
        approvers: Vec<String>,
        /// Of a payment that is identified: whose it is
        #[arg(long, required_if_eq("resolution", "late_capture_posted"))]
        order: Option<OrderId>,
        /// Of a payment that is identified: how it was paid, such as netbank
        #[arg(long, value_parser = method, required_if_eq("resolution", "late_capture_posted"))]
        method: Option<Method>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Resolution {
    /// The payment is identified: it is posted to the order as a late capture
    LateCapturePosted,
    /// The channel puts it right
    ChannelCorrected,
    /// It is a loss, or income
    WrittenOff,
}

fn date(text: &str) -> Result<NaiveDate, &'static str> {
    schemas::parse_date(text).ok_or("expected a day such as 2025-03-17")
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
        Arguments { channel: Some(channel), date: Some(date), file: Some(file), action: None } => {
            compare(config, &channel, date, &file, output).await
        }
        _ => bail!("name the --channel, the --date and the file"),
    }
}

async fn compare(config: Config, channel: &Name, date: NaiveDate, file: &Path, output: Output) -> Result<()> {
    let channels = &config.policy.channels;
    ensure!(
        channels.contains_key(channel),
        "nothing was agreed with a channel {channel}, only with {}",
        channels.keys().map(Name::as_str).collect::<Vec<_>>().join(", ")
    );
    let name = file.file_name().and_then(|name| name.to_str()).context("the file needs a name")?;
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let format = config.statements.get(channel).cloned().unwrap_or_default();
    let statement =
        statement::read(&bytes, date, name, &format).with_context(|| format!("{} was not taken", file.display()))?;
    let house = House::existing(config, Clock::System).await?;
    let (books, appended) = house.reconciler().reconcile(channel, &statement, &house.config.policy).await?;
    let (revision, sha256) = books.statement_of(date).context("the statement is not in the log")?;
    let (lines, matched) = (statement.lines.len(), books.matched_lines(date));
    let open = books.open_breaks();
    eprintln!(
        "{channel} {date}, revision {revision}: {lines} lines, {matched} matched; {} open breaks; {appended} events appended",
        open.len()
    );
    let with_difference = |raised: &&ReconciliationBreakRaised| {
        let mut json = json!(raised);
        json["difference"] = json!(raised.difference());
        json
    };
    let open: Vec<_> = open.iter().map(with_difference).collect();
    let json = json!({
        "channel": channel, "statement_date": date, "revision": revision, "sha256": sha256, "lines": lines,
        "matched": matched, "appended": appended, "breaks": open,
    });
    print(output, &rows(&books), &json)
}

/// Every open break of the channel.
fn rows(books: &Books) -> Rows {
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
    for raised in books.open_breaks() {
        let ReconciliationBreakRaised { break_id, class, statement_date, number, order_no, .. } = raised;
        rows.push([
            break_id.to_string(),
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
    let Action::Resolve { break_id, resolution, approvers, order, method } = action;
    let house = House::existing(config, Clock::System).await?;
    let how = match resolution {
        Resolution::LateCapturePosted => {
            let (order, method) = order.zip(method).context("name the --order and the --method of the payment")?;
            let known = report::find_order(&house.pool, order.as_str()).await?;
            ensure!(
                known.is_some(),
                "no event of {order} has reached the views; check the number, and that a projector runs"
            );
            BreakDecision::LateCapturePosted { order, method }
        }
        Resolution::ChannelCorrected => BreakDecision::ChannelCorrected,
        Resolution::WrittenOff => BreakDecision::WrittenOff,
    };
    let appended = house.reconciler().resolve(break_id, &how, &approvers).await?;
    let mut rows = Rows::new(&["event", "subject"], &[]);
    for event in &appended {
        rows.push([event.data.event_type().to_owned(), event.subject.clone()]);
    }
    let json: Vec<_> = appended.iter().map(schemas::Event::to_structured).collect();
    print(output, &rows, &json!({ "events": json }))
}
