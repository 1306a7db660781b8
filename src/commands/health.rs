//! `ledger health`: whether a role does its work. The door answers itself; of the others Postgres knows.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Error, Result, anyhow};
use chrono::{TimeDelta, Utc};
use deadpool_postgres::Pool;
use engine::{stream, task, tls::Trust};
use producers::{coordinator, inbox};

use crate::{commands::psql, config::Config, roles::Role};

/// Executors look for tasks many times a second; what has waited for so long waits for one that is not there.
const TASK_PATIENCE: TimeDelta = TimeDelta::minutes(1);

pub async fn run(config: &Config, role: Role, url: Option<&str>) -> Result<bool> {
    match role {
        Role::Door => answers(&url.map_or_else(|| here(config.listen, "/readyz"), str::to_owned)).await,
        Role::Sandbox => answers(&here(config.sandbox_listen, "/healthz")).await,
        Role::Projector => {
            let pool = pool(config).await?;
            let views = projections::report::active_schema(&pool.get().await?).await?;
            are_held(&pool, &[views]).await
        }
        Role::Coordinator => are_held(&pool(config).await?, &[coordinator::PROJECTION.to_owned()]).await,
        Role::Inbox => {
            let inboxes: Vec<String> = config.inbox_channels.iter().map(inbox::projection).collect();
            are_held(&pool(config).await?, &inboxes).await
        }
        Role::Executor => {
            let left = task::left(&pool(config).await?, Utc::now() - TASK_PATIENCE).await?;
            eprintln!("{left} calls have waited for more than a minute");
            Ok(left == 0)
        }
    }
}

async fn pool(config: &Config) -> Result<Pool> {
    Ok(engine::postgres::pool(&psql::url(config).await?, "ledger health", 1)?)
}

/// Every partition has somebody who works on it.
async fn are_held(pool: &Pool, projections: &[String]) -> Result<bool> {
    let mut all_held = true;
    for projection in projections {
        let (held, all) = stream::held(pool, projection).await?;
        eprintln!("{projection}: {held} of {all} partitions are worked on");
        all_held &= held == all && all > 0;
    }
    Ok(all_held)
}

/// A server that listens on every address is asked on this machine's own.
fn here(listen: SocketAddr, path: &str) -> String {
    let host = if listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
    format!("http://{}{path}", SocketAddr::new(host, listen.port()))
}

async fn answers(url: &str) -> Result<bool> {
    let client = producers::http::client(Trust::system())?.timeout(Duration::from_secs(5)).build()?;
    let response = client.get(url).send().await.map_err(|error| {
        let (nobody, error) = (error.is_connect() || error.is_timeout(), Error::from(error));
        let why = error.root_cause();
        if nobody {
            anyhow!(
                "nobody answers at {url} ({why}); start the ledger with `ledger up`, or to try it out \
                 `ledger up --sandbox`, or name another door with --url"
            )
        } else {
            error
        }
    })?;
    eprintln!("{url}: {}", response.status());
    Ok(response.status().is_success())
}
