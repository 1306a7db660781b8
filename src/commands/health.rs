//! `ledger health`: asks a door whether it is ready.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Error, Result, anyhow};
use engine::tls::Trust;

pub async fn run(url: Option<&str>, listen: SocketAddr) -> Result<bool> {
    // A door that listens on every address is asked on this machine's own.
    let host = if listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
    let here = format!("http://{}/readyz", SocketAddr::new(host, listen.port()));
    let url = url.unwrap_or(&here);
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
