//! `ledger rebuild`: every view anew from offset 0, compared with the live ones, then shown in their place.

use anyhow::Result;
use engine::{clock::Clock, stream::Stop};
use projections::rebuild::{Difference, Rebuild};
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

/// False when the rebuilt views differ and are not shown.
pub async fn run(config: Config, accept_differences: bool, output: Output) -> Result<bool> {
    let house = House::open(config, Clock::System).await?;
    let rebuild = work(&house);
    eprintln!("building every view anew from offset 0");
    let (rebuilt, shown) = house
        .with_client("ledger rebuild", move |client| {
            let rebuilt = rebuild.run(client)?;
            let shown = rebuilt.differences.is_empty() || accept_differences;
            if shown {
                rebuild.swap(client, &rebuilt.generation)?;
            }
            Ok((rebuilt, shown))
        })
        .await?;
    let mut rows = Rows::new(&["table that differs", "rows before", "rows after"], &[1, 2]);
    for Difference { table, live, rebuilt } in &rebuilt.differences {
        let before = live.as_ref().map_or_else(|| "absent".to_owned(), |live| live.rows.to_string());
        rows.push([(*table).to_owned(), before, rebuilt.rows.to_string()]);
    }
    let tables: Vec<&str> = rebuilt.differences.iter().map(|difference| difference.table).collect();
    if tables.is_empty() && output == Output::Table {
        eprintln!("every table is the same, row by row");
    } else {
        print(output, &rows, &json!({ "generation": rebuilt.generation.id(), "shown": shown, "different": tables }))?;
    }
    if shown {
        eprintln!("generation {} is shown", rebuilt.generation.id());
    } else {
        let (schema, id) = (rebuilt.generation.schema(), rebuilt.generation.id());
        eprintln!("the old views stay; look into {schema}, and show it with `ledger generations --show {id}`");
    }
    Ok(shown)
}

/// The coordinator's state anew. Nothing is decided twice: what the log has decided stands.
pub async fn coordinator(config: Config) -> Result<()> {
    let house = House::open(config, Clock::System).await?;
    let (log, topic) = (house.log.clone(), house.events_topic().to_owned());
    let (publisher, runtime) = (house.publisher(), tokio::runtime::Handle::current());
    house
        .with_client("ledger rebuild", move |client| {
            engine::stream::check_log(client, producers::coordinator::PROJECTION, &log.describe(&topic)?.identity)?;
            Ok(producers::coordinator::rebuild(client, &publisher, &runtime)?)
        })
        .await?;
    eprintln!("the coordinator folds the log anew from offset 0");
    Ok(())
}
