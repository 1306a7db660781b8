//! `ledger health`: asks a door whether it is ready.

use std::time::Duration;

use anyhow::Result;
use engine::tls::Trust;

pub async fn run(url: &str) -> Result<bool> {
    let client = producers::http::client(Trust::system())?.timeout(Duration::from_secs(5)).build()?;
    let response = client.get(url).send().await?;
    eprintln!("{url}: {}", response.status());
    Ok(response.status().is_success())
}
