//! Postgres as everybody here uses it: a connection of one's own for a lane, a pool for readers, migrations, and a
//! server that looks after itself. Whoever connects from here speaks UTC, has a name in `pg_stat_activity`, and cannot
//! sit in an open transaction for ever.

use std::{error::Error, iter, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, tokio_postgres};

mod copy;
mod migrations;
pub mod server;
mod tls;
mod turn;

pub use copy::{Copy, CopyError};
pub use migrations::{MigrateError, migrate};
use tls::Tls;
pub use turn::Turn;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that vanished without a word is noticed after about a minute: 30 s of silence, then three questions.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// What each session asks for. The idle limit is a belt: a lane that hangs inside a transaction holds its fence, and
/// its successor waits. Statements have no limit, as a rebuild may build an index for an hour.
const SESSION: &str = "-c TimeZone=UTC -c idle_in_transaction_session_timeout=60s -c statement_timeout=0";

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("this is not a Postgres URL; expected postgres://user@host:5432/database")]
    Url(#[from] postgres::Error),
    #[error("the pool cannot be built")]
    Build(#[from] deadpool_postgres::BuildError),
}

/// A query by way of the pool failed. It tells its causes by itself, wherever it is printed; so it has no `source` that
/// would tell them again.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("{}", explain(.0))]
    Pool(deadpool_postgres::PoolError),
    #[error("{}", explain(.0))]
    Postgres(tokio_postgres::Error),
}

impl From<deadpool_postgres::PoolError> for QueryError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::Pool(error)
    }
}

impl From<tokio_postgres::Error> for QueryError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// A connection that belongs to the caller alone, as a lane needs it. Blocks; not for use on a thread of tokio's.
///
/// # Errors
/// The URL cannot be read, or nobody is there who answers as it asks for: server, certificate, user, database.
pub fn connect(url: &str, application_name: &str) -> Result<postgres::Client, postgres::Error> {
    let (config, tls) = configuration(url, application_name)?;
    postgres::Config::from(config).connect(tls)
}

/// Whether [`connect`] could read this URL; nobody is asked.
///
/// # Errors
/// The URL cannot be read.
pub fn check(url: &str) -> Result<(), postgres::Error> {
    tls::read(url).map(drop)
}

/// The password that stands in a URL.
///
/// # Errors
/// The URL cannot be read.
pub fn password(url: &str) -> Result<Option<String>, postgres::Error> {
    let (config, _) = tls::read(url)?;
    Ok(config.get_password().map(|password| String::from_utf8_lossy(password).into_owned()))
}

/// Connections that async readers share. Each is asked whether it still lives before it is handed out, so a restart of
/// the server costs a reader nothing but time. Must be used inside a tokio runtime.
///
/// # Errors
/// The URL cannot be read; nobody is asked yet.
pub fn pool(url: &str, application_name: &str, size: usize) -> Result<Pool, PoolError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Verified };
    let (config, tls) = configuration(url, application_name)?;
    let manager = Manager::from_config(config, tls, recycling);
    Ok(Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1).build()?)
}

/// An error with all its causes: of an error of Postgres, the first line alone says no more than "db error".
pub fn explain(error: &dyn Error) -> String {
    let causes = iter::successors(error.source(), |&cause| cause.source());
    causes.map(ToString::to_string).fold(error.to_string(), |text, cause| {
        // Some errors say their first cause themselves.
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

fn configuration(url: &str, application_name: &str) -> Result<(tokio_postgres::Config, Tls), postgres::Error> {
    let (mut config, tls) = tls::read(url)?;
    // The URL's own options come last, and Postgres lets the last one win.
    let options = [SESSION, config.get_options().unwrap_or_default()].join(" ");
    config.options(options.trim_end()).application_name(application_name);
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    config.keepalives(true).keepalives_idle(KEEPALIVE_IDLE);
    config.keepalives_interval(KEEPALIVE_INTERVAL).keepalives_retries(KEEPALIVE_RETRIES);
    Ok((config, tls))
}

#[cfg(test)]
mod tests;
