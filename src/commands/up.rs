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
pub async fn run(mut config: Config, roles: &[Role], sandbox: bool) -> Result<()> {
    let mut roles = roles.to_vec();
    if sandbox {
        let url = format!("http://{}", config.sandbox_listen);
        config.calls.bank_url = format!("{url}/bank");
        config.calls.acquirer_url = format!("{url}/acquirer");
        for of_a_school in [&mut config.calls.card_host_url, &mut config.calls.school_url] {
            *of_a_school = format!("{url}/schools/{{name}}");
        }
        roles.push(Role::Sandbox);
    }
    let house = House::open(config, Clock::System).await?;
    house.apply_topics().await?;
    serve(&house, &roles).await
}

/// Single roles; the topics are made by hand.
pub async fn run_roles(config: Config, roles: &[Role]) -> Result<()> {
    let house = House::open(config, Clock::System).await?;
    serve(&house, roles).await
}

async fn serve(house: &House, roles: &[Role]) -> Result<()> {
    let mut running = Running::start(house, roles).await?;
    if let Some(door) = running.door {
        tracing::info!("the door is open at http://{door}");
        tracing::info!("the console is at http://{door}/console");
    }
    if let Some(sandbox) = &running.sandbox {
        tracing::info!("the sandbox plays the acquirer, the bank and the schools at {}", sandbox.url);
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
