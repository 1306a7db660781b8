//! The timeline of an order: its events, read from the log at the positions that its row remembers.

use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use engine::{
    log::{Log, LogError, Position},
    postgres::QueryError,
    store,
};
use schemas::{OrderId, Recorded, Refusal};

use crate::report;

#[derive(Debug, thiserror::Error)]
pub enum TimelineError {
    #[error(transparent)]
    Read(#[from] QueryError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the log does not give the record at {0}")]
    Missing(Position),
    #[error("the record at {0} cannot be read: {1}")]
    Unreadable(Position, Refusal),
}

/// Where the events of an order stand; empty for an order that nobody knows.
pub async fn positions(pool: &Pool, order: &OrderId) -> Result<Vec<Position>, QueryError> {
    let client = pool.get().await.map_err(QueryError::from)?;
    let schema = report::active_schema(&client).await?;
    let sql = format!("select partition, history from {schema}.orders where key = $1");
    let row = client.query_opt(&sql, &[&order.as_str()]).await?;
    let Some(row) = row else { return Ok(Vec::new()) };
    let (partition, history): (i32, &[u8]) = (row.get(0), row.get(1));
    let mut offsets: Vec<i64> = store::decode(history).iter().filter_map(|seen| seen.offset).collect();
    offsets.sort_unstable();
    Ok(offsets.into_iter().map(|offset| Position { partition, offset }).collect())
}

/// Reads single records of the log. Blocks.
pub fn read(log: &dyn Log, topic: &str, positions: &[Position]) -> Result<Vec<Recorded>, TimelineError> {
    let mut reader = log.reader(topic)?;
    positions
        .iter()
        .map(|position| {
            reader.assign(&[*position])?;
            let until = Instant::now() + Duration::from_secs(10);
            while Instant::now() < until {
                if let Some(record) = reader.poll(1, Duration::from_millis(200))?.into_iter().next() {
                    let recorded = |event| Recorded { position: record.position, recorded_at: record.timestamp, event };
                    return record.event().map(recorded).map_err(|why| TimelineError::Unreadable(*position, why));
                }
            }
            Err(TimelineError::Missing(*position))
        })
        .collect()
}
