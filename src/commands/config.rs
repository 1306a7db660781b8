//! `ledger config` and `ledger token`.

use anyhow::Result;
use producers::{door::Source, token::Tokens};

use crate::{config::Config, house};

pub fn run(config: &Config) -> Result<()> {
    print!("{}", config.masked()?);
    Ok(())
}

/// The bearer token of a client, as configured or as derived from the secret.
pub fn token(config: Config, source: &Source) -> Result<()> {
    let configured = config.door.clients.iter().find(|client| client.sources.contains(source));
    let secret = if config.secret.is_empty() { house::kept_secret(&config.data_dir)? } else { config.secret.clone() };
    println!(
        "{}",
        configured.map_or_else(|| Tokens::new(&secret).client(&source.to_string()), |client| client.token.clone())
    );
    Ok(())
}
