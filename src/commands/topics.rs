//! `ledger topics`: the topics as declared, made or compared.

use anyhow::Result;
use engine::{
    clock::Clock,
    log::{LogError, TopicInfo, TopicSpec},
};
use serde::Serialize;

use crate::{
    config::Config,
    house::House,
    output::{Output, Rows, print},
};

pub async fn apply(config: Config) -> Result<()> {
    let house = House::open(config, Clock::System).await?;
    house.apply_topics().await?;
    for spec in house.topic_specs() {
        eprintln!("{} is as declared", spec.name);
    }
    Ok(())
}

#[derive(Serialize)]
struct Drift {
    topic: String,
    setting: String,
    declared: String,
    actual: String,
}

/// True when nothing differs.
pub async fn check(config: Config, output: Output) -> Result<bool> {
    let house = House::with_its_log(config, Clock::System).await?;
    let (log, specs) = (house.log.clone(), house.topic_specs());
    let has_copies = house.config.log != "postgres";
    let drift = tokio::task::spawn_blocking(move || -> Result<Vec<Drift>> {
        let mut drift = Vec::new();
        for spec in &specs {
            match log.describe(&spec.name) {
                Ok(info) => drift.extend(differences(spec, &info, has_copies)),
                Err(LogError::TopicMissing(_)) => drift.push(Drift {
                    topic: spec.name.clone(),
                    setting: "topic".to_owned(),
                    declared: "exists".to_owned(),
                    actual: "missing".to_owned(),
                }),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(drift)
    })
    .await??;
    let mut rows = Rows::new(&["topic", "setting", "declared", "actual"], &[]);
    for difference in &drift {
        let Drift { topic, setting, declared, actual } = difference;
        rows.push([topic.clone(), setting.clone(), declared.clone(), actual.clone()]);
    }
    if drift.is_empty() && output == Output::Table {
        eprintln!("every topic is as declared");
    } else {
        print(output, &rows, &drift)?;
    }
    Ok(drift.is_empty())
}

fn differences(spec: &TopicSpec, info: &TopicInfo, has_copies: bool) -> Vec<Drift> {
    let drift = |setting: &str, declared: String, actual: String| Drift {
        topic: spec.name.clone(),
        setting: setting.to_owned(),
        declared,
        actual,
    };
    let mut found = Vec::new();
    if spec.partitions != info.partitions {
        found.push(drift("partitions", spec.partitions.to_string(), info.partitions.to_string()));
    }
    // A log in Postgres has one copy, whatever is declared.
    if has_copies && spec.replication != info.replication {
        found.push(drift("replication", spec.replication.to_string(), info.replication.to_string()));
    }
    for (name, declared) in &spec.settings {
        match info.settings.get(name) {
            Some(actual) if actual != declared => found.push(drift(name, declared.clone(), actual.clone())),
            Some(_) | None => {}
        }
    }
    found
}
