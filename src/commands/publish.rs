//! `ledger publish`: appends CloudEvents from a file, line by line. For operators: it asks for no token, but it needs
//! the log itself.

use std::{
    io::{BufRead, BufReader, Read, Write, stdout},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use engine::clock::Clock;
use indicatif::{ProgressBar, ProgressStyle};
use schemas::{Event, Position};

use crate::{config::Config, house::House};

const BATCH: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(120);

/// False when a line was refused; all others are appended.
pub async fn run(config: Config, file: &Path) -> Result<bool> {
    let house = House::with_its_log(config, Clock::System).await?;
    // A topic that is missing does not come by itself.
    house.ends().await?;
    let (input, bytes): (Box<dyn Read>, Option<u64>) = if file == Path::new("-") {
        (Box::new(std::io::stdin()), None)
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let length = opened.metadata()?.len();
        (Box::new(opened), Some(length))
    };
    let progress = progress_bar(bytes);
    let (mut batch, mut refused, mut appended) = (Vec::new(), 0_u64, 0_usize);
    for (number, line) in (1_u64..).zip(BufReader::new(input).split(b'\n')) {
        let line = line?;
        progress.inc(line.len() as u64 + 1);
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match Event::from_structured(&line) {
            Ok(event) => batch.push(event),
            Err(refusal) => {
                refused += 1;
                eprintln!("line {number}: {refusal}");
            }
        }
        if batch.len() == BATCH {
            appended += append(&house, &mut batch).await?;
        }
    }
    appended += append(&house, &mut batch).await?;
    progress.finish_and_clear();
    eprintln!("events appended {appended}, refused {refused}");
    Ok(refused == 0)
}

fn progress_bar(bytes: Option<u64>) -> ProgressBar {
    match bytes {
        Some(bytes) => {
            let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {eta}");
            ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        }
        None => ProgressBar::new_spinner(),
    }
}

/// Appends a batch and prints where each event stands.
async fn append(house: &House, batch: &mut Vec<Event>) -> Result<usize> {
    if batch.is_empty() {
        return Ok(0);
    }
    let positions: Vec<Position> = house
        .publisher()
        .append_all(batch, PATIENCE)
        .await
        .context("the log does not acknowledge; publish the same file again, nothing is counted twice")?;
    let mut out = stdout().lock();
    for (event, position) in batch.drain(..).zip(&positions) {
        writeln!(out, "{position} {}", event.id)?;
    }
    Ok(positions.len())
}
