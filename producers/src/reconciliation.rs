//! The job that compares a channel's statements with the ledger. It reads the log for the books of that channel, lets the
//! rules decide, and appends what they say. One job at a time works on a channel. Ids are derived, so a run that was cut
//! off is completed by the next.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, NaiveDate};
use deadpool_postgres::Pool;
use engine::{
    log::{AppendError, LogError, Position},
    postgres::{QueryError, Turn},
};
use rules::{
    business_day::{end, shanghai},
    policy::Policy,
    reconciliation::{
        Books, BreakDecision, BreakRefusal, Comparison, Ending, Statement, channel_of, order_in_question, receive,
        resolve,
    },
};
use schemas::{AmountError, Data, Event, Name};
use uuid::Uuid;

use crate::{
    door::{Verdict, known, verdicts},
    publisher::Publisher,
};

const SOURCE: &str = "/ledger/reconciliation";
const PATIENCE: Duration = Duration::from_secs(120);

/// How many events are appended at a time.
const BATCH: usize = 1000;

#[derive(Debug, thiserror::Error)]
pub enum ReconciliationError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Postgres(#[from] QueryError),
    #[error("the order cannot be read")]
    Order(#[from] known::OrderError),
    #[error("the log did not acknowledge; run it again, nothing is counted twice")]
    Append(#[from] AppendError),
    #[error("the connection to Postgres was lost; run it again, nothing is counted twice")]
    TurnLost,
    #[error("the lines of the statement are more than an amount can say")]
    Total(#[from] AmountError),
    #[error("{0} is still to come; a statement of that day would make everything before it late")]
    Future(NaiveDate),
    #[error("this very file was read before as the statement of {0}; read an empty one for the day that was wrong")]
    OtherDay(NaiveDate),
    #[error(transparent)]
    Refused(#[from] BreakRefusal),
    #[error("the channel has just told of this payment, for another order or amount; compare again")]
    JustTold,
    #[error("the reading of the log was cut off")]
    CutOff(#[from] tokio::task::JoinError),
}

/// The job, for any channel.
#[derive(Clone, Debug)]
pub struct Reconciler {
    publisher: Publisher,
    pool: Pool,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Reconciled {
    /// The channel's books as they are now.
    pub books: Books,
    /// How many events the run appended.
    pub appended: usize,
}

impl Reconciler {
    pub fn new(publisher: Publisher, pool: Pool) -> Self {
        Self { publisher, pool }
    }

    /// Takes a statement into the log, if there is one, and compares all those of the channel with the ledger as it is now.
    ///
    /// # Errors
    /// Its day is still to come, its lines add up to more than an event can say, or the log or Postgres does not answer.
    pub async fn reconcile(
        &self,
        channel: &Name,
        statement: Option<&Statement>,
        policy: &Policy,
    ) -> Result<Reconciled, ReconciliationError> {
        let turn = self.turn(channel).await?;
        let now = self.now();
        if let Some(future) = statement.filter(|statement| statement.date > now.date_naive()) {
            return Err(ReconciliationError::Future(future.date));
        }
        let mut books = self.books(channel).await?;
        if let Some(read) = statement.and_then(|statement| books.day_of_file(statement)) {
            return Err(ReconciliationError::OtherDay(read));
        }
        let event = |data| Event::about_channel(SOURCE, channel, now, data);
        let received = statement.map(|statement| receive(&books, channel, statement)).transpose()?.unwrap_or_default();
        let mut events: Vec<Event> = received.into_iter().map(event).collect();
        events.iter().for_each(|event| books.apply(event));
        let changes: Vec<Event> = Comparison::of(&books).changes(channel, policy).into_iter().map(event).collect();
        changes.iter().for_each(|event| books.apply(event));
        events.extend(changes);
        self.append(&turn, &events).await?;
        Ok(Reconciled { books, appended: events.len() })
    }

    /// Ends an occurrence of a break as persons have decided, and answers what was appended.
    ///
    /// # Errors
    /// The break is not open, or does not end in this way; or the log or Postgres does not answer.
    pub async fn resolve(
        &self,
        channel: &Name,
        occurrence: (Uuid, u16),
        how: &BreakDecision,
        approvers: &[Name],
        policy: &Policy,
    ) -> Result<Vec<Event>, ReconciliationError> {
        let turn = self.turn(channel).await?;
        let books = self.books(channel).await?;
        let order = match order_in_question(&books, occurrence.0, how) {
            Some(order) => known::order(&self.pool, &order).await?,
            None => None,
        };
        let Ending { order, resolved } = resolve(&books, occurrence, how, order.as_ref(), approvers, policy)?;
        let now = self.now();
        let mut events = Vec::new();
        if let Some((order, data)) = order {
            // The statement tells the day, and no time.
            let time = |data: &Data| match data {
                Data::PaymentCaptured(data) => end(data.business_date).min(now),
                _ => now,
            };
            events.extend(data.into_iter().map(|data| Event::about_order(SOURCE, &order, time(&data), data)));
        }
        // The doors look there, so that nobody tells of the same payment for another order, now or later.
        let known = known::note(&self.pool, &events).await?;
        if verdicts(&events, &known).contains(&Verdict::Conflicts) {
            return Err(ReconciliationError::JustTold);
        }
        let of_order: Vec<Uuid> = events.iter().map(|event| event.id).collect();
        events.push(Event::about_channel(SOURCE, channel, now, resolved));
        let positions = self.append(&turn, &events).await?;
        let places: Vec<(Uuid, Position)> = of_order.into_iter().zip(positions).collect();
        known::place(&self.pool, &places).await?;
        Ok(events)
    }

    /// Only one job at a time reads, decides and appends for a channel.
    async fn turn(&self, channel: &Name) -> Result<Turn, QueryError> {
        Turn::of(&self.pool, &format!("reconciliation of {channel}")).await
    }

    fn now(&self) -> DateTime<FixedOffset> {
        shanghai(&self.publisher.clock().now())
    }

    async fn append(&self, turn: &Turn, events: &[Event]) -> Result<Vec<Position>, ReconciliationError> {
        let mut positions = Vec::with_capacity(events.len());
        for batch in events.chunks(BATCH) {
            if !turn.is_held() {
                return Err(ReconciliationError::TurnLost);
            }
            positions.extend(self.publisher.append_all(batch, PATIENCE).await?);
        }
        Ok(positions)
    }

    /// The channel's books, from the beginning of the log to its end of now.
    async fn books(&self, channel: &Name) -> Result<Books, ReconciliationError> {
        let (publisher, channel) = (self.publisher.clone(), channel.clone());
        Ok(tokio::task::spawn_blocking(move || read_books(&publisher, &channel)).await??)
    }
}

fn read_books(publisher: &Publisher, channel: &Name) -> Result<Books, LogError> {
    let mut books = Books::default();
    publisher.read_all(|record| {
        match record.event() {
            Ok(event) if channel_of(&event.data) == Some(channel) => books.apply(&event),
            Ok(_) => {}
            // What it meant is told by other events, if anything.
            Err(refusal) => tracing::warn!(position = %record.position, %refusal, "a record cannot be read"),
        }
        Ok(())
    })?;
    Ok(books)
}
