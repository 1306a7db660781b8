//! `ledger replay`: events of the log as CloudEvents, one JSON object a line. It reads and calls nobody.

use std::io::{BufWriter, Write, stdout};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, FixedOffset};
use engine::{
    clock::Clock,
    log::{Log, Position, Record, read_to},
};
use indicatif::ProgressBar;
use rules::{accounts::AccountCode, postings::postings};
use schemas::Recorded;

use crate::{config::Config, house::House};

#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub from: Option<DateTime<FixedOffset>>,
    pub to: Option<DateTime<FixedOffset>>,
    pub account: Option<u16>,
    pub at: Option<Position>,
}

impl Wanted {
    fn includes(&self, read: &Recorded) -> bool {
        let posts = |account: u16| postings(&read.event).iter().any(|leg| leg.account.code.number() == account);
        self.to.is_none_or(|to| read.recorded_at <= to.to_utc()) && self.account.is_none_or(posts)
    }
}

pub async fn run(config: Config, wanted: Wanted) -> Result<()> {
    if let Some(account) = wanted.account {
        let known = AccountCode::ALL.iter().any(|code| code.number() == account);
        ensure!(known, "there is no account {account}; `ledger balances` lists those that hold something");
    }
    let house = House::with_its_log(config, Clock::System).await?;
    let (log, topic) = (house.log.clone(), house.events_topic().to_owned());
    tokio::task::spawn_blocking(move || replay(&*log, &topic, &wanted)).await?
}

fn replay(log: &dyn Log, topic: &str, wanted: &Wanted) -> Result<()> {
    let (starts, ends) = bounds(log, topic, wanted)?;
    let span = |(start, end): (&i64, &i64)| u64::try_from(end - start).unwrap_or(0);
    let progress = ProgressBar::new(starts.iter().zip(&ends).map(span).sum());
    let mut out = BufWriter::new(stdout().lock());
    read_to(log, topic, &starts, &ends, |record| {
        progress.inc(1);
        write(&mut out, &record, wanted)
    })?;
    progress.finish_and_clear();
    Ok(out.flush()?)
}

fn bounds(log: &dyn Log, topic: &str, wanted: &Wanted) -> Result<(Vec<i64>, Vec<i64>)> {
    let ends = log.ends(topic)?;
    if let Some(at) = wanted.at {
        let end = usize::try_from(at.partition).ok().and_then(|partition| ends.get(partition));
        let end = end.with_context(|| format!("the log has partitions 0 to {}", ends.len().saturating_sub(1)))?;
        ensure!(
            (0..*end).contains(&at.offset),
            "nothing stands at {at}: the next record of this partition gets offset {end}"
        );
        let only =
            |value: i64| (0..).zip(&ends).map(|(p, _): (i32, _)| if p == at.partition { value } else { 0 }).collect();
        return Ok((only(at.offset), only(at.offset + 1)));
    }
    let starts = match wanted.from {
        Some(from) => log.offsets_at(topic, from.to_utc())?,
        None => vec![0; ends.len()],
    };
    Ok((starts, ends))
}

/// A record that cannot be read is told on stderr and left out.
fn write(out: &mut impl Write, record: &Record, wanted: &Wanted) -> Result<()> {
    match record.event() {
        Ok(event) => {
            let read = Recorded { position: record.position, recorded_at: record.timestamp, event };
            if wanted.includes(&read) {
                writeln!(out, "{}", read.to_structured()).context("stdout is closed")?;
            }
        }
        Err(refusal) => eprintln!("{}: {refusal}", record.position),
    }
    Ok(())
}
