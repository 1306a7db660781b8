//! Migrations: SQL files that each crate embeds and that are applied once, in order. All that is pending is applied
//! and recorded in one transaction under a lock, so that a kill at any moment leaves either the old schema or the new
//! one, and two processes that start together do not meet halfway.
//!
//! This is not `refinery`: by default it commits a migration and its record separately, it takes no lock, and it would
//! bring forty crates into this one for the few lines below.

use data_encoding::HEXLOWER;
use postgres::{Client, IsolationLevel, Transaction};
use sha2::{Digest, Sha256};

/// Any number will do, as long as nobody else uses it: "ledgermi" in ASCII.
const LOCK_KEY: i64 = 0x6c65_6467_6572_6d69;

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS ledger_migrations (
        set text NOT NULL,
        place int NOT NULL,
        name text NOT NULL,
        sha256 text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (set, place)
    )";

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "the migration {name} of {set} was changed after it had been applied; restore the file, and put the change \
         into a new migration"
    )]
    Changed { set: String, name: String },
    #[error(
        "migration {place} of {set} is {expected} here, but {applied} was applied in its place; give a new migration \
         the highest number"
    )]
    Reordered { set: String, place: i32, expected: String, applied: String },
    #[error("the database has the migration {name} of {set}, which this program does not know; run a newer version")]
    Newer { set: String, name: String },
    #[error("the migration {name} of {set} failed, and nothing was changed")]
    Failed { set: String, name: String, source: postgres::Error },
    #[error("migrations cannot be recorded")]
    Postgres(#[from] postgres::Error),
}

/// Applies what is still missing of `set`, given as (name, SQL) in order, and answers how many that were. The record
/// stands in the first schema of the search path. SQL that cannot run in a transaction is not for migrations.
pub fn migrate(client: &mut Client, set: &str, migrations: &[(&str, &str)]) -> Result<usize, MigrateError> {
    // With a coarser isolation the snapshot would be older than the lock.
    let mut transaction = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start()?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK_KEY])?;
    let applied = applied(&mut transaction, set)?;
    check(set, &applied, migrations)?;
    let pending = || (1..).zip(migrations).skip(applied.len());
    // Recorded first: a migration may move the search path, and then the table would have to be found anew.
    for (place, (name, sql)) in pending() {
        record(&mut transaction, set, place, name, sql)?;
    }
    for (_, (name, sql)) in pending() {
        let failed = |source| MigrateError::Failed { set: set.into(), name: (*name).into(), source };
        transaction.batch_execute(sql).map_err(failed)?;
    }
    transaction.commit()?;
    let count = migrations.len().saturating_sub(applied.len());
    if count > 0 {
        tracing::info!(set, count, "migrations applied");
    }
    Ok(count)
}

struct Applied {
    name: String,
    sha256: String,
}

fn applied(transaction: &mut Transaction<'_>, set: &str) -> Result<Vec<Applied>, postgres::Error> {
    // Asked first, so that the usual start makes no noise with "already exists"; and asked with the schema, as a table
    // of that name further down the search path is another generation's.
    let missing = "SELECT to_regclass(quote_ident(current_schema()) || '.ledger_migrations') IS NULL";
    if transaction.query_one(missing, &[])?.get(0) {
        transaction.batch_execute(TABLE)?;
    }
    let rows =
        transaction.query("SELECT name, sha256 FROM ledger_migrations WHERE set = $1 ORDER BY place", &[&set])?;
    Ok(rows.iter().map(|row| Applied { name: row.get(0), sha256: row.get(1) }).collect())
}

/// What was applied must be the beginning of what we have, unchanged.
fn check(set: &str, applied: &[Applied], migrations: &[(&str, &str)]) -> Result<(), MigrateError> {
    for (index, Applied { name, sha256 }) in applied.iter().enumerate() {
        let Some((expected, sql)) = migrations.get(index) else {
            return Err(MigrateError::Newer { set: set.into(), name: name.clone() });
        };
        if expected != name {
            let place = i32::try_from(index + 1).unwrap_or(i32::MAX);
            let (expected, applied) = ((*expected).into(), name.clone());
            return Err(MigrateError::Reordered { set: set.into(), place, expected, applied });
        }
        if *sha256 != fingerprint(sql) {
            return Err(MigrateError::Changed { set: set.into(), name: name.clone() });
        }
    }
    Ok(())
}

fn record(
    transaction: &mut Transaction<'_>,
    set: &str,
    place: i32,
    name: &str,
    sql: &str,
) -> Result<(), postgres::Error> {
    let statement = "INSERT INTO ledger_migrations (set, place, name, sha256) VALUES ($1, $2, $3, $4)";
    transaction.execute(statement, &[&set, &place, &name, &fingerprint(sql)]).map(drop)
}

/// Line ends do not count: a checkout under Windows may change them.
fn fingerprint(sql: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(sql.replace("\r\n", "\n")))
}
