//! What people type. Data goes to stdout, everything else to stderr.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use chrono::{DateTime, FixedOffset};
use clap::{Parser, Subcommand};
use producers::door::Source;
use rules::business_day;
use schemas::{Name, OrderId, Position};

use crate::{
    commands::{self, balances::UpTo, demo::System, generations::Dropped},
    config::{Config, Flags},
    output::Output,
    roles::Role,
    telemetry,
};

/// An event-sourced ledger for education payments: every request, capture, confirmation and refund is an immutable
/// event in the log; the books and reports are built from it.
#[derive(Debug, Parser)]
#[command(name = "ledger", version)]
pub struct Cli {
    /// TOML file; `ledger.toml` in this folder if there is one
    #[arg(long, global = true, env = "LEDGER_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    /// How data is printed
    #[arg(long, global = true, value_enum, default_value_t)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every role in one process
    Up {
        /// Also play the channels, the bank and the schools
        #[arg(long)]
        sandbox: bool,
    },
    /// Run single roles, as in production
    Run {
        #[arg(required = true, value_enum)]
        roles: Vec<Role>,
    },
    /// Play a worked day of each system and check every figure
    Demo {
        /// End when the days are over, with status 0 only if every figure agrees
        #[arg(long)]
        exit: bool,
        /// Only the day of this system
        #[arg(long, value_enum)]
        system: Option<System>,
        /// Instead, play an endless mix of all systems, with so many orders a second, until Ctrl-C
        #[arg(long, value_name = "RATE", conflicts_with_all = ["exit", "system"])]
        traffic: Option<u32>,
    },
    /// Make the topics as declared, or show how they differ
    Topics {
        #[command(subcommand)]
        action: TopicsAction,
    },
    /// Append CloudEvents, one JSON object a line, from a file or from `-`
    Publish { file: PathBuf },
    /// Show an order, event by event, with positions and postings
    Order { order_id: OrderId },
    /// Show the trial balance, now or as it was
    Balances {
        /// A day such as 2025-03-10, up to its end in Shanghai; a time (RFC 3339); or positions as `0:12,3:7`: up to and
        /// including these, and nothing of other partitions
        #[arg(long)]
        as_of: Option<UpTo>,
    },
    /// Print events of the log as CloudEvents, one JSON object a line
    Replay {
        /// From this time (RFC 3339) on, or from the start of a day such as 2025-03-10 in Shanghai
        #[arg(long, value_parser = |text: &str| commands::moment(text, business_day::start))]
        from: Option<DateTime<FixedOffset>>,
        /// Up to this time, or up to the end of a day
        #[arg(long, value_parser = |text: &str| commands::moment(text, business_day::end))]
        to: Option<DateTime<FixedOffset>>,
        /// Only events that post to this account, such as 2110
        #[arg(long)]
        account: Option<u16>,
        /// Only the event at this position, such as 3:1204
        #[arg(long, conflicts_with_all = ["from", "to", "account"])]
        at: Option<Position>,
    },
    /// Write the refunds that wait for a file to that file, for a channel that takes them in no other way
    RefundFile {
        channel: Name,
        /// The file to write; without one, what waits is shown and stays
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Compare a channel's statement of a day with the ledger, and book what differs; or end such a break
    Reconcile(commands::reconcile::Arguments),
    /// Build every view anew from offset 0, compare, and show the new ones
    Rebuild {
        /// Instead, fold the coordinator's state anew; it decides only what is missing at today's end of the log
        #[arg(long)]
        coordinator: bool,
        /// Show the new views even where they differ from the old ones
        #[arg(long)]
        accept_differences: bool,
    },
    /// List the generations of views that rebuilds have made; or drop some, or show another one
    Generations {
        /// Drop this one, or `old`: all that are older than the one that is shown
        #[arg(long, value_name = "ID|old", conflicts_with = "show")]
        drop: Option<Dropped>,
        /// Let this one catch up, and show it in place of the other
        #[arg(long, value_name = "ID")]
        show: Option<i32>,
    },
    /// Run psql on the ledger's Postgres; what stands after `--` is for psql
    Psql {
        /// Instead, print the URL, with its password if it has one
        #[arg(long, conflicts_with = "args")]
        url: bool,
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Print the configuration in force, secrets masked
    Config,
    /// Print the bearer token of a client of the door, such as /channels/ums-pos
    Token { source: Source },
    /// Ask whether a role does its work; for health checks
    Health {
        #[arg(value_enum, default_value_t = Role::Door)]
        role: Role,
        /// The door to ask; without one, that of this configuration
        #[arg(long)]
        url: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum TopicsAction {
    /// Create what is missing and bring settings to what is declared
    Apply,
    /// Show drift; status 1 if there is any
    Check,
}

impl Cli {
    pub async fn run(self) -> Result<ExitCode> {
        let config = Config::load(self.config.as_deref(), &self.flags)?;
        let quiet = !matches!(self.command, Command::Up { .. } | Command::Run { .. });
        telemetry::start(quiet);
        let agrees = match self.command {
            Command::Up { sandbox } => commands::up::run(config, sandbox).await.map(|()| true),
            Command::Run { roles } => commands::up::run_roles(config, &roles).await.map(|()| true),
            Command::Demo { .. } if self.output != Output::Table => bail!("the demo shows tables; leave out --output"),
            Command::Demo { traffic: Some(rate), .. } => {
                commands::demo::traffic::run(config, rate).await.map(|()| true)
            }
            Command::Demo { exit, system, .. } => commands::demo::run(config, system, exit).await,
            Command::Topics { action: TopicsAction::Apply } => commands::topics::apply(config).await.map(|()| true),
            Command::Topics { action: TopicsAction::Check } => commands::topics::check(config, self.output).await,
            Command::Publish { file } => commands::publish::run(config, &file).await,
            Command::Order { order_id } => commands::order::run(config, &order_id, self.output).await.map(|()| true),
            Command::Balances { as_of } => commands::balances::run(config, as_of, self.output).await.map(|()| true),
            Command::Replay { from, to, account, at } => {
                let wanted = commands::replay::Wanted { from, to, account, at };
                commands::replay::run(config, wanted).await.map(|()| true)
            }
            Command::RefundFile { channel, file } => {
                commands::refund_file::run(config, &channel, file.as_deref()).await.map(|()| true)
            }
            Command::Reconcile(arguments) => {
                commands::reconcile::run(config, arguments, self.output).await.map(|()| true)
            }
            Command::Rebuild { coordinator: true, .. } => commands::rebuild::coordinator(config).await.map(|()| true),
            Command::Rebuild { accept_differences, .. } => {
                commands::rebuild::run(config, accept_differences, self.output).await
            }
            Command::Generations { drop: Some(which), .. } => {
                commands::generations::drop(config, which).await.map(|()| true)
            }
            Command::Generations { show: Some(id), .. } => commands::generations::show(config, id).await.map(|()| true),
            Command::Generations { .. } => commands::generations::list(config, self.output).await.map(|()| true),
            Command::Psql { url: true, .. } => commands::psql::print_url(config).await.map(|()| true),
            Command::Psql { args, .. } => match commands::psql::run(config, &args).await? {},
            Command::Config => commands::config::run(&config).map(|()| true),
            Command::Token { source } => commands::config::token(&config, &source).map(|()| true),
            Command::Health { role, url } => commands::health::run(&config, role, url.as_deref()).await,
        };
        Ok(if agrees? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
