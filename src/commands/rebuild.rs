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

/// False when the rebuilt views differ and are not shown.
pub async fn run(config: Config, accept_differences: bool, output: Output) -> Result<bool> {
    let house = House::open(config, Clock::System).await?;
    let rebuild = Rebuild {
        log: house.log.clone(),
        topic: house.events_topic().to_owned(),
        postgres_url: house.postgres_url.clone(),
        policy: house.config.policy.clone(),
        stop: Stop::default(),
    };
    eprintln!("building every view anew from offset 0");
    let (rebuilt, shown) = house
        .with_client("ledger rebuild", move |client| {
            let rebuilt = rebuild.run(client)?;
            let shown = rebuilt.differences.is_empty() || accept_differences;
            if shown {
                rebuild.swap(client, &rebuilt)?;
            }
            Ok((rebuilt, shown))
        })
        .await?;
    let mut rows = Rows::new(&["table", "rows before", "rows after", "same"], &[1, 2]);
    for Difference { table, live, rebuilt } in &rebuilt.differences {
        rows.push([(*table).to_owned(), live.rows.to_string(), rebuilt.rows.to_string(), "no".to_owned()]);
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
        eprintln!(
            "the old views stay; look into {} and run again with --accept-differences",
            rebuilt.generation.schema()
        );
    }
    Ok(shown)
}

/// The coordinator's state anew. Nothing is decided twice: what the log has decided stands.
pub async fn coordinator(config: Config) -> Result<()> {
    let house = House::open(config, Clock::System).await?;
    let (log, topic) = (house.log.clone(), house.events_topic().to_owned());
    house
        .with_client("ledger rebuild", move |client| {
            engine::stream::check_log(client, producers::coordinator::PROJECTION, &log.describe(&topic)?.identity)?;
            Ok(producers::coordinator::rebuild(client, &log.ends(&topic)?)?)
        })
        .await?;
    eprintln!("the coordinator folds the log anew from offset 0");
    Ok(())
}
