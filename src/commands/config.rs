//! `ledger config` and `ledger token`.

use anyhow::Result;
use producers::{door::Source, token::Tokens};

use crate::{config::Config, house};

pub fn run(config: &Config) -> Result<()> {
    print!("{}", config.masked()?);
    Ok(())
}

/// The bearer token of a client that the door knows, as configured or as derived from the secret.
pub fn token(config: &Config, source: &Source) -> Result<()> {
    let secret = if config.secret.is_empty() { house::kept_secret(&config.data_dir)? } else { config.secret.clone() };
    println!("{}", house::client_token(&house::clients(config, &Tokens::new(&secret))?, source)?);
    Ok(())
}
