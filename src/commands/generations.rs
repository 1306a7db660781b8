//! `ledger generations`: the sets of views that rebuilds have made, of which one is shown.

use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use engine::clock::Clock;
use projections::generation::{Generation, Listed};
use serde_json::{Value, json};

use crate::{
    commands::rebuild,
    config::Config,
    house::House,
    output::{Output, Rows, print},
};

/// Which generations to drop.
#[derive(Clone, Copy, Debug)]
pub enum Dropped {
    /// All that are older than the one that is shown.
    Old,
    One(i32),
}

impl FromStr for Dropped {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "old" => Ok(Self::Old),
            id => id.parse().map(Self::One).map_err(|_| "expected the number of a generation, or `old`"),
        }
    }
}

pub async fn list(config: Config, output: Output) -> Result<()> {
    let house = House::existing(config, Clock::System).await?;
    let listed = house.with_client("ledger generations", |client| Ok(Generation::list(client)?)).await?;
    let mut rows = Rows::new(&["generation", "shown", "made", "KiB", "next position of each partition"], &[0, 3]);
    for Listed { generation, shown, created_at, bytes, next_offsets } in &listed {
        rows.push([
            generation.id().to_string(),
            if *shown { "yes" } else { "no" }.to_owned(),
            rules::business_day::shanghai(created_at).format("%Y-%m-%d %H:%M:%S").to_string(),
            (bytes / 1024).to_string(),
            next_offsets.iter().enumerate().map(|(i, next)| format!("{i}:{next}")).collect::<Vec<_>>().join(" "),
        ]);
    }
    let as_json = |listed: &Listed| -> Value {
        let Listed { generation, shown, created_at, bytes, next_offsets } = listed;
        json!({ "generation": generation.id(), "shown": shown, "made": created_at, "bytes": bytes, "next_offsets": next_offsets })
    };
    print(output, &rows, &listed.iter().map(as_json).collect::<Vec<_>>())
}

pub async fn drop(config: Config, which: Dropped) -> Result<()> {
    let house = House::existing(config, Clock::System).await?;
    let dropped = house
        .with_client("ledger generations", move |client| {
            let ids = match which {
                Dropped::One(id) => vec![id],
                Dropped::Old => {
                    let shown = Generation::active(client)?.id();
                    Generation::list(client)?.iter().map(|old| old.generation.id()).filter(|id| *id < shown).collect()
                }
            };
            for id in &ids {
                ensure!(find(client, *id)?.drop(client)?, "generation {id} is shown; show another one first");
            }
            Ok(ids)
        })
        .await?;
    for id in &dropped {
        eprintln!("generation {id} is dropped");
    }
    if dropped.is_empty() {
        eprintln!("no generation is older than the one that is shown");
    }
    Ok(())
}

pub async fn show(config: Config, id: i32) -> Result<()> {
    let house = House::existing(config, Clock::System).await?;
    let rebuild = rebuild::work(&house);
    let _turn = rebuild::turn(&house).await?;
    house
        .with_client("ledger generations", move |client| {
            let generation = find(client, id)?;
            eprintln!("letting generation {id} catch up");
            Ok(rebuild.swap(client, &generation)?)
        })
        .await?;
    eprintln!("generation {id} is shown");
    Ok(())
}

fn find(client: &mut postgres::Client, id: i32) -> Result<Generation> {
    let found = Generation::list(client)?.into_iter().find(|listed| listed.generation.id() == id);
    Ok(found.with_context(|| format!("there is no generation {id}; `ledger generations` lists them"))?.generation)
}
