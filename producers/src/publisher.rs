//! Appending events. An answer that was lost is unknown, so the same event goes again with the same id until the log
//! has acknowledged it; every fold ignores the duplicates that this may leave.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, FixedOffset, TimeDelta};
use engine::{
    clock::Clock,
    log::{AppendError, Log, LogError, NewRecord, Position, RECORD_BYTES_MAX, Record, read_to},
};
use rules::business_day::shanghai;
use schemas::{Event, Refusal, RefusalCode};

/// The topic of facts.
#[derive(Clone, Debug)]
pub struct Publisher {
    log: Arc<dyn Log>,
    topic: String,
    clock: Clock,
}

const RETRY_PAUSE: Duration = Duration::from_millis(200);

impl Publisher {
    pub fn new(log: Arc<dyn Log>, topic: impl Into<String>, clock: Clock) -> Self {
        Self { log, topic: topic.into(), clock }
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The offset after the last event of every partition. Blocks.
    pub fn ends(&self) -> Result<Vec<i64>, LogError> {
        self.log.ends(&self.topic)
    }

    /// Every record up to the end of now, each partition's in order. Blocks.
    pub fn read_all(&self, each: impl FnMut(Record) -> Result<(), LogError>) -> Result<(), LogError> {
        let ends = self.ends()?;
        read_to(&*self.log, &self.topic, &vec![0; ends.len()], &ends, each)
    }

    /// One try: where each event stands, or why that is not known.
    pub async fn append(&self, events: &[Event]) -> Vec<Result<Position, AppendError>> {
        let records = events.iter().map(|event| record(event, &self.clock)).collect();
        self.log.append(&self.topic, records).await
    }

    /// Appends in order, and again from the first event that was not acknowledged, until the log has all of them.
    /// Only a record that the log can never take, or `patience`, ends it earlier.
    pub async fn append_all(&self, events: &[Event], patience: Duration) -> Result<Vec<Position>, AppendError> {
        let until = tokio::time::Instant::now() + patience;
        let mut positions = Vec::with_capacity(events.len());
        loop {
            let mut failed = None;
            for result in self.append(&events[positions.len()..]).await {
                match result {
                    Ok(position) => positions.push(position),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            match failed {
                None => return Ok(positions),
                Some(error @ AppendError::TooLarge { .. }) => return Err(error),
                Some(error) if tokio::time::Instant::now() >= until => return Err(error),
                Some(error) => {
                    tracing::warn!(%error, "an append was not acknowledged; sending it again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }
}

/// Whatever the zone that a clock was set to by mistake: nothing happens later than this.
const AHEAD_MAX: TimeDelta = TimeDelta::days(1);

/// Refuses an event that the log would never take, or that is still to come.
pub fn check(event: &Event, clock: &Clock) -> Result<(), Refusal> {
    check_time(event.occurred_at, clock, AHEAD_MAX)?;
    record(event, clock).check_size(RECORD_BYTES_MAX).map_err(|error| Refusal::new(RefusalCode::TooLarge, error))
}

/// Refuses a time that lies further ahead than `most`: what follows from it would be judged on another day.
pub fn check_time(at: DateTime<FixedOffset>, clock: &Clock, most: TimeDelta) -> Result<(), Refusal> {
    let now = shanghai(&clock.now());
    if at - now <= most {
        return Ok(());
    }
    let detail = format!("{} lies in the future, and it is {} here; set the clock", at.to_rfc3339(), now.to_rfc3339());
    Err(Refusal::new(RefusalCode::InvalidData, detail))
}

/// The record that an event becomes.
pub fn record(event: &Event, clock: &Clock) -> NewRecord {
    NewRecord {
        key: event.stream.to_string(),
        headers: event.headers().into_iter().collect(),
        value: event.value(),
        timestamp: clock.stamp(),
    }
}
