//! The job that compares a channel's statement with the ledger. It reads the log for the books of that channel, lets the
//! rules decide, and appends what they say. Ids are derived, so a run that was cut off is completed by running it again.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, FixedOffset, NaiveDate};
use engine::log::{AppendError, Log, LogError, Position};
use rules::{
    business_day::{end, shanghai},
    policy::Policy,
    reconciliation::{Books, BreakDecision, BreakRefusal, Statement, channel_of, reconcile, resolve},
};
use schemas::{AmountError, Data, Event, Name};
use uuid::Uuid;

use crate::publisher::Publisher;

const SOURCE: &str = "/ledger/reconciliation";
const PATIENCE: Duration = Duration::from_secs(120);

/// How many records are read, and events appended, at a time.
const BATCH: usize = 1000;

#[derive(Debug, thiserror::Error)]
pub enum ReconciliationError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the log did not acknowledge; run it again, nothing is counted twice")]
    Append(#[from] AppendError),
    #[error("the lines of the statement are more than an amount can say")]
    Total(#[from] AmountError),
    #[error("{0} is still to come; a statement of that day would make everything before it late")]
    Future(NaiveDate),
    #[error(transparent)]
    Refused(#[from] BreakRefusal),
    #[error("the reading of the log was cut off")]
    CutOff(#[from] tokio::task::JoinError),
}

/// The log as the job sees it.
#[derive(Clone, Debug)]
pub struct Reconciler {
    log: Arc<dyn Log>,
    topic: String,
    publisher: Publisher,
}

impl Reconciler {
    pub fn new(log: Arc<dyn Log>, topic: impl Into<String>, publisher: Publisher) -> Self {
        Self { log, topic: topic.into(), publisher }
    }

    /// Compares the statement with the ledger as the log has it now. Answers the channel's books afterwards, and how many
    /// events this took.
    ///
    /// # Errors
    /// Its day is still to come, its lines add up to more than an event can say, or the log does not answer.
    pub async fn reconcile(
        &self,
        channel: &Name,
        statement: &Statement,
        policy: &Policy,
    ) -> Result<(Books, usize), ReconciliationError> {
        let now = self.now();
        if statement.date > now.date_naive() {
            return Err(ReconciliationError::Future(statement.date));
        }
        let own = channel.clone();
        let mut books = self.books(move |data| channel_of(data) == Some(&own)).await?;
        let events: Vec<Event> = reconcile(&books, channel, statement, policy)?
            .into_iter()
            .map(|data| Event::about_channel(SOURCE, channel, now, data))
            .collect();
        self.append(&events).await?;
        events.iter().for_each(|event| books.apply(event));
        Ok((books, events.len()))
    }

    /// Ends a break as a person has decided, and answers what was appended.
    ///
    /// # Errors
    /// The break is not open, or does not end in this way; or the log does not answer.
    pub async fn resolve(
        &self,
        break_id: Uuid,
        how: &BreakDecision,
        approvers: &[String],
    ) -> Result<Vec<Event>, ReconciliationError> {
        let is_of_it = move |data: &Data| match data {
            Data::ReconciliationBreakRaised(data) => data.break_id == break_id,
            Data::ReconciliationBreakResolved(data) => data.break_id == break_id,
            _ => false,
        };
        let books = self.books(is_of_it).await?;
        let now = self.now();
        let event = |data: Data| match (how, &data) {
            (BreakDecision::LateCapturePosted { order, .. }, Data::PaymentCaptured(capture)) => {
                // The statement tells the day, and no time.
                let occurred_at = end(capture.business_date).min(now);
                Some(Event::about_order(SOURCE, order, occurred_at, data))
            }
            _ => channel_of(&data).cloned().map(|channel| Event::about_channel(SOURCE, &channel, now, data)),
        };
        let events: Vec<Event> = resolve(&books, break_id, how, approvers)?.into_iter().filter_map(event).collect();
        self.append(&events).await?;
        Ok(events)
    }

    fn now(&self) -> DateTime<FixedOffset> {
        shanghai(&self.publisher.clock().now())
    }

    async fn append(&self, events: &[Event]) -> Result<(), AppendError> {
        for batch in events.chunks(BATCH) {
            self.publisher.append_all(batch, PATIENCE).await?;
        }
        Ok(())
    }

    /// The books that the events which count make, from the beginning of the log to its end of now.
    async fn books(&self, counts: impl Fn(&Data) -> bool + Send + 'static) -> Result<Books, ReconciliationError> {
        let (log, topic) = (self.log.clone(), self.topic.clone());
        Ok(tokio::task::spawn_blocking(move || read_books(&*log, &topic, counts)).await??)
    }
}

fn read_books(log: &dyn Log, topic: &str, counts: impl Fn(&Data) -> bool) -> Result<Books, LogError> {
    let ends = log.ends(topic)?;
    let mut left: Vec<Position> =
        (0..).zip(&ends).filter(|(_, end)| **end > 0).map(|(partition, _)| Position { partition, offset: 0 }).collect();
    let mut reader = log.reader(topic)?;
    reader.assign(&left)?;
    let mut books = Books::default();
    while !left.is_empty() {
        for record in reader.poll(BATCH, Duration::from_millis(500))? {
            match record.event() {
                Ok(event) if counts(&event.data) => books.apply(&event),
                Ok(_) => {}
                // What it meant is told by other events, if anything.
                Err(refusal) => tracing::warn!(position = %record.position, %refusal, "a record cannot be read"),
            }
            let end = usize::try_from(record.position.partition).ok().and_then(|partition| ends.get(partition));
            let is_last = end.is_none_or(|end| record.position.offset + 1 >= *end);
            left.retain(|position| !(is_last && position.partition == record.position.partition));
        }
    }
    Ok(books)
}
