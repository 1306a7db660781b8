//! `ledger psql`: runs psql on the ledger's Postgres, or says where that is.

use std::{convert::Infallible, ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};
use engine::postgres::server::{Server, client_program};

use crate::config::Config;

/// For any other client of Postgres.
pub async fn print_url(config: Config) -> Result<()> {
    println!("{}", url(&config).await?);
    Ok(())
}

/// psql takes the place of this process, so that it has the terminal and its signals to itself.
pub async fn run(config: Config, arguments: &[OsString]) -> Result<Infallible> {
    let url = url(&config).await?;
    let psql = client_program("psql").context(
        "there is no psql on the path or beside Postgres; install it (Debian: `apt-get install postgresql-client`), or \
         use another client with what `ledger psql --url` prints",
    )?;
    let mut command = Command::new(&psql);
    // What stands in arguments, other users of the machine can read.
    match engine::postgres::password(&url)? {
        Some(password) => command.env("PGPASSWORD", password).arg(crate::config::without_password(&url)),
        None => command.arg(url),
    };
    Err(command.args(arguments).exec()).with_context(|| format!("{} cannot be run", psql.display()))
}

/// Where Postgres runs; starts none.
pub async fn url(config: &Config) -> Result<String> {
    if !config.postgres_url.is_empty() {
        return Ok(config.postgres_url.clone());
    }
    let folder = config.data_dir.join("postgres");
    Ok(tokio::task::spawn_blocking(move || Server::running(&folder)).await??)
}
