//! Decisions between their commit and their acknowledgement by the log.

use engine::{postgres::Copy, stream::StreamError};
use postgres::{Client, Transaction, types::Type};
use schemas::Event;

/// A lane has numbers for 2^32 rows.
const ROWS_BITS: u32 = 32;

/// What this lane has yet to send, in order.
#[derive(Default)]
pub(super) struct Outbox {
    partitions: Vec<i32>,
    events: Vec<Event>,
    /// The numbers of the first and the last row of these events, once they are written.
    rows: (i64, i64),
    /// The number of the next row.
    next: i64,
}

impl Outbox {
    pub fn push(&mut self, partition: i32, event: Event) {
        self.partitions.push(partition);
        self.events.push(event);
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The log has all of them, so their rows may go.
    pub fn sent(&mut self, client: &mut Client, held: &[i32]) -> Result<(), StreamError> {
        self.events.clear();
        self.partitions.clear();
        // Without its first row the delete would wade through all that was deleted before.
        let sql = "delete from coordinator.outbox where partition = any($1) and seq between $2 and $3";
        let (first, last) = self.rows;
        client.execute_typed(sql, &[(&held, Type::INT4_ARRAY), (&first, Type::INT8), (&last, Type::INT8)])?;
        Ok(())
    }

    /// Writes the new decisions of a batch.
    pub fn write(&mut self, tx: &mut Transaction<'_>) -> Result<(), StreamError> {
        if self.events.is_empty() {
            return Ok(());
        }
        let sql = "copy coordinator.outbox (partition, seq, event) from stdin binary";
        let mut copy = Copy::begin(tx, sql, &[Type::INT4, Type::INT8, Type::TEXT])?;
        let first = self.next;
        for (partition, event) in self.partitions.iter().zip(&self.events) {
            copy.write(&[partition, &self.next, &event.to_structured().to_string()])?;
            self.next += 1;
        }
        copy.finish()?;
        self.rows = (first, self.next - 1);
        Ok(())
    }

    /// What an earlier holder of these partitions left behind.
    pub fn reload(&mut self, client: &mut Client, partitions: &[i32]) -> Result<(), StreamError> {
        *self = Self::default();
        // `sent` deletes without the fence; so whoever takes partitions over numbers its rows in a range of its own.
        let lane: i64 = client.query_one("select nextval('coordinator.lane')", &[])?.get(0);
        self.next = lane << ROWS_BITS;
        let rows = client.query(
            "select seq, partition, event from coordinator.outbox where partition = any($1) order by seq",
            &[&partitions],
        )?;
        self.rows.0 = rows.first().map_or(0, |row| row.get("seq"));
        for row in rows {
            let event: String = row.get("event");
            let event = Event::from_structured(event.as_bytes()).map_err(|refusal| {
                StreamError::Fatal(format!("coordinator.outbox holds what cannot be read ({refusal}); run the version that wrote it until it is empty"))
            })?;
            self.push(row.get("partition"), event);
            self.rows.1 = row.get("seq");
        }
        Ok(())
    }
}
