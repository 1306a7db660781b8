//! `ledger rebuild`: every view anew from offset 0, compared with the live ones, then shown in their place.

use std::{pin::pin, time::Duration};

use anyhow::Result;
use engine::{clock::Clock, postgres::Turn, stream::Stop};
use indicatif::ProgressBar;
use projections::{
    generation::Generation,
    rebuild::{Difference, Moved, Rebuild},
};
use serde_json::json;

use crate::{
    config::Config,
    house::House,
    output::{Output, Rows, print},
};

/// What a rebuild works with in this house.
pub fn work(house: &House) -> Rebuild {
    Rebuild {
        log: house.log.clone(),
        topic: house.events_topic().to_owned(),
        postgres_url: house.postgres_url.clone(),
        policy: house.config.policy.clone(),
        stop: Stop::default(),
    }
}

/// Who builds or shows a generation does so alone: two that fill the same one would wait for each other.
pub async fn turn(house: &House) -> Result<Turn> {
    Ok(Turn::of(&house.pool, "generations of views").await?)
}

/// False when the rebuilt views differ and are not shown.
pub async fn run(config: Config, accept_differences: bool, output: Output) -> Result<bool> {
    let house = House::existing(config, Clock::System).await?;
    let rebuild = work(&house);
    let _turn = turn(&house).await?;
    eprintln!("building every view anew from offset 0");
    let work = house.with_client("ledger rebuild", move |client| {
        let rebuilt = rebuild.run(client)?;
        let shown = rebuilt.differences.is_empty() || accept_differences;
        if shown {
            rebuild.swap(client, &rebuilt.generation)?;
        }
        Ok((rebuilt, shown))
    });
    let (rebuilt, shown) = watched(&house, work).await?;
    let mut rows = Rows::new(&["what differs", "before", "after"], &[1, 2]);
    for Difference { table, live, rebuilt } in &rebuilt.differences {
        let before = live.as_ref().map_or_else(|| "absent".to_owned(), |live| format!("{} rows", live.rows));
        rows.push([format!("table {table}"), before, format!("{} rows", rebuilt.rows)]);
    }
    for Moved { account, live, rebuilt } in &rebuilt.moved {
        rows.push([format!("account {account}"), format!("{live} yuan"), format!("{rebuilt} yuan")]);
    }
    let tables: Vec<&str> = rebuilt.differences.iter().map(|difference| difference.table).collect();
    if tables.is_empty() && output == Output::Table {
        eprintln!("every table is the same, row by row");
    } else {
        let moved = |moved: &Moved| json!({ "account": moved.account, "before": moved.live, "after": moved.rebuilt });
        let accounts: Vec<_> = rebuilt.moved.iter().map(moved).collect();
        print(
            output,
            &rows,
            &json!({ "generation": rebuilt.generation.id(), "shown": shown, "different": tables, "accounts": accounts }),
        )?;
    }
    if shown {
        eprintln!("generation {} is shown", rebuilt.generation.id());
    } else {
        let (schema, id) = (rebuilt.generation.schema(), rebuilt.generation.id());
        eprintln!("the old views stay; look into {schema}, and show it with `ledger generations --show {id}`");
    }
    Ok(shown)
}

/// Shows how much of the log the new generation has read, for as long as the work goes on.
async fn watched<T>(house: &House, work: impl Future<Output = Result<T>>) -> Result<T> {
    let sum = |offsets: &[i64]| u64::try_from(offsets.iter().sum::<i64>()).unwrap_or(0);
    let (progress, mut work) = (ProgressBar::new(sum(&house.ends().await?)), pin!(work));
    loop {
        tokio::select! {
            done = &mut work => {
                progress.finish_and_clear();
                return done;
            }
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let newest = house.with_client("ledger rebuild", |client| Ok(Generation::list(client)?.pop())).await;
        // That nobody can look does not end the work.
        if let Ok(Some(newest)) = newest
            && !newest.shown
        {
            progress.set_position(sum(&newest.next_offsets));
        }
    }
}

/// The coordinator's state anew. Nothing is decided twice: what the log has decided stands.
pub async fn coordinator(config: Config) -> Result<()> {
    let house = House::existing(config, Clock::System).await?;
    let (log, topic) = (house.log.clone(), house.events_topic().to_owned());
    let (publisher, runtime) = (house.publisher(), tokio::runtime::Handle::current());
    house
        .with_client("ledger rebuild", move |client| {
            engine::stream::check_log(client, producers::coordinator::PROJECTION, &log.describe(&topic)?.identity)?;
            Ok(producers::coordinator::rebuild(client, &publisher, &runtime)?)
        })
        .await?;
    eprintln!(
        "its state is dropped: the coordinators that run, or the next one that starts, fold the log anew from offset 0"
    );
    Ok(())
}
