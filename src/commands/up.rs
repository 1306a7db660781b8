//! `ledger up` and `ledger run`.

use anyhow::Result;
use engine::clock::Clock;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::Config,
    house::House,
    roles::{Role, Running},
};

/// Everything in one process, for one machine.
pub async fn run(config: Config, sandbox: bool) -> Result<()> {
    let mut house = House::open(config, Clock::System).await?;
    house.apply_topics().await?;
    let running = match sandbox {
        true => Running::start_with_sandbox(&mut house).await?,
        false => Running::start(&house, Role::ALL).await?,
    };
    serve(&house, running).await
}

/// Single roles; the topics are made by hand.
pub async fn run_roles(config: Config, roles: &[Role]) -> Result<()> {
    let house = House::open(config, Clock::System).await?;
    let running = Running::start(&house, roles).await?;
    serve(&house, running).await
}

async fn serve(house: &House, mut running: Running) -> Result<()> {
    if let Some(door) = running.door {
        tracing::info!("the door is open at http://{door}");
        tracing::info!("the console is at http://{door}/console");
    }
    if let Some(sandbox) = &running.sandbox {
        tracing::info!("the sandbox plays the channels, the bank and the schools at {}", sandbox.url);
    }
    tracing::info!("Postgres is at {}", house.postgres_url_masked());
    let mut terminate = signal(SignalKind::terminate())?;
    let ended = tokio::select! {
        ended = running.until_a_role_ends() => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    tracing::info!("closing");
    running.stop().await?;
    ended
}
