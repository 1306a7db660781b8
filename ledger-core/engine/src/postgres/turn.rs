//! Turns: what one process at a time may do.

use deadpool_postgres::{ClientWrapper, Object, Pool};

use super::QueryError;

/// A turn that one holder at a time has. It ends when this is dropped, and with the process or its connection.
#[derive(Debug)]
pub struct Turn(ClientWrapper);

impl Turn {
    /// Waits for the turn of this name.
    ///
    /// # Errors
    /// Postgres cannot be reached.
    pub async fn of(pool: &Pool, name: &str) -> Result<Self, QueryError> {
        // The lock is the session's, so the session must end with the turn and never go back to the pool.
        let client = Object::take(pool.get().await?);
        client.execute("select pg_advisory_lock(hashtextextended($1, 0))", &[&name]).await?;
        Ok(Self(client))
    }

    /// Whether nobody else can have the turn by now, as far as this end of the connection knows.
    pub fn is_held(&self) -> bool {
        !self.0.is_closed()
    }
}
