//! The inbox of a channel that prefers Kafka to HTTP: `ledger.in.<channel>`. Good records are appended to the log of
//! facts, bad ones are appended as `InboxRecordRejected`, and the rules are those of the HTTP door.
//!
//! The invariant: the fence moves past a record only in a transaction that was open until the log had acknowledged what
//! became of it. What is repeated after a mishap has the same ids, and every fold ignores it.

use std::{
    thread,
    time::{Duration, Instant},
};

use engine::{
    log::{AppendError, Position, Record},
    stream::{Batch, Handler, StreamError},
};
use postgres::{Client, Transaction};
use schemas::{Event, Name, Refusal, RefusalCode};
use tokio::{runtime::Handle, time::timeout};
use uuid::Uuid;

use crate::{
    door::{Source, Verdict, authority, conflict, known, verdicts},
    publisher::{Publisher, check},
};

mod read;
mod rejection;
#[cfg(test)]
mod tests;

/// Less than a lane's lease: a batch that sits longer in its transaction is taken for a zombie's.
const APPEND_PATIENCE: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The handler of the lanes that read one channel's inbox.
pub struct Inbox {
    source: Source,
    topic: String,
    publisher: Publisher,
    runtime: Handle,
    patience: Duration,
}

/// What is to be appended for a record: the event that it is, or its rejection.
struct Pending<'a> {
    received: &'a Record,
    event: Event,
    rejected: bool,
}

/// The name of the projection of a channel's inbox.
pub fn projection(channel: &Name) -> String {
    format!("inbox:{channel}")
}

impl Inbox {
    /// The inbox of `channel`, which is the topic `topic`. Appends run on `runtime`, while the lane's thread waits.
    pub fn new(channel: Name, topic: impl Into<String>, publisher: Publisher, runtime: Handle) -> Self {
        Self { source: Source::channel(channel), topic: topic.into(), publisher, runtime, patience: APPEND_PATIENCE }
    }

    /// The name of the lanes' projection.
    pub fn projection(&self) -> String {
        projection(&self.source.name)
    }

    /// The event that a record is, if its channel may report it.
    fn accept(&self, received: &Record) -> Result<Event, Refusal> {
        let event = read::event(received)?;
        if event.source != self.source.to_string() {
            let detail = format!("this inbox takes what {} reports, not {:.80}", self.source, event.source);
            return Err(Refusal::new(RefusalCode::NotYours, detail));
        }
        authority::check(&self.source, &event)?;
        check(&event, self.publisher.clock())?;
        Ok(event)
    }

    /// Refuses what is said about orders of others.
    fn check_orders(
        &self,
        tx: &mut Transaction<'_>,
        accepted: &mut [(&Record, Result<Event, Refusal>)],
    ) -> Result<(), StreamError> {
        let good = accepted.iter().filter_map(|(_, event)| event.as_ref().ok());
        let keys: Vec<&str> = good.filter_map(|event| authority::order_to_look_at(&self.source, event)).collect();
        let orders = known::orders_in(tx, &keys)?;
        for (_, accepted) in accepted {
            let Ok(event) = accepted else { continue };
            if let Err(refusal) = authority::check_orders(&self.source, event, &orders) {
                *accepted = Err(refusal);
            }
        }
        Ok(())
    }

    fn reject<'a>(&self, received: &'a Record, refusal: &Refusal) -> Pending<'a> {
        let (channel, position, code) = (&self.source.name, received.position, refusal.code);
        tracing::warn!(%channel, %position, %code, "a record of the inbox is refused");
        Pending { received, event: rejection::event(channel, &self.topic, received, refusal), rejected: true }
    }

    /// What the records of a batch become, in their order. Repeats become nothing.
    fn sort<'a>(&self, tx: &mut Transaction<'_>, records: &'a [Record]) -> Result<Vec<Pending<'a>>, StreamError> {
        let mut accepted: Vec<(&Record, Result<Event, Refusal>)> =
            records.iter().map(|received| (received, self.accept(received))).collect();
        self.check_orders(tx, &mut accepted)?;
        let good = || accepted.iter().filter_map(|(_, event)| event.as_ref().ok());
        let known = known::note_in(tx, good())?;
        let mut verdicts = verdicts(good(), &known).into_iter();
        let mut pending = Vec::with_capacity(records.len());
        for (received, event) in accepted {
            match event {
                Err(refusal) => pending.push(self.reject(received, &refusal)),
                Ok(event) => match verdicts.next() {
                    Some(Verdict::Repeats(_) | Verdict::Twin(_)) => {}
                    Some(Verdict::Conflicts) => pending.push(self.reject(received, &conflict(&event))),
                    Some(Verdict::Append) | None => pending.push(Pending { received, event, rejected: false }),
                },
            }
        }
        Ok(pending)
    }

    /// Appends all, and answers where the accepted ones stand. From the first unknown outcome on everything is sent
    /// again, so that no stream gets out of order.
    fn append(&self, mut pending: Vec<Pending<'_>>) -> Result<Vec<(Uuid, Position)>, StreamError> {
        let until = Instant::now() + self.patience;
        let mut places = Vec::with_capacity(pending.len());
        while !pending.is_empty() {
            let mut unknown = None;
            let mut left = Vec::new();
            let answers = self.try_append(&pending, until)?;
            for (item, answer) in pending.into_iter().zip(answers) {
                match answer {
                    _ if unknown.is_some() => left.push(item),
                    Ok(position) if item.rejected => tracing::debug!(%position, "a rejection is in the log"),
                    Ok(position) => places.push((item.event.id, position)),
                    Err(AppendError::Unknown(why)) => {
                        unknown = Some(why);
                        left.push(item);
                    }
                    Err(error @ AppendError::TooLarge { .. }) if item.rejected => {
                        return Err(StreamError::Fatal(format!("the log does not even take a rejection: {error}")));
                    }
                    Err(error @ AppendError::TooLarge { .. }) => {
                        left.push(self.reject(item.received, &Refusal::new(RefusalCode::TooLarge, error)));
                    }
                }
            }
            if let Some(why) = unknown {
                if Instant::now() + RETRY_PAUSE >= until {
                    return Err(StreamError::Passing(why));
                }
                thread::sleep(RETRY_PAUSE);
            }
            pending = left;
        }
        Ok(places)
    }

    /// One try: the log's answer for each.
    fn try_append(
        &self,
        pending: &[Pending<'_>],
        until: Instant,
    ) -> Result<Vec<Result<Position, AppendError>>, StreamError> {
        let events: Vec<Event> = pending.iter().map(|item| item.event.clone()).collect();
        let left = until.saturating_duration_since(Instant::now());
        let answers = self.runtime.block_on(async { timeout(left, self.publisher.append(&events)).await });
        match answers {
            Ok(answers) if answers.len() == events.len() => Ok(answers),
            Ok(_) | Err(_) => Err(StreamError::Passing("the log did not answer for each record in time".to_owned())),
        }
    }
}

impl Handler for Inbox {
    fn assigned(&mut self, _: &mut Client, _: &[i32]) -> Result<(), StreamError> {
        Ok(())
    }

    fn apply(&mut self, tx: &mut Transaction<'_>, batch: &Batch) -> Result<(), StreamError> {
        let pending = self.sort(tx, &batch.records)?;
        let places = self.append(pending)?;
        Ok(known::place_in(tx, &places)?)
    }

    fn reset(&mut self) {}
}
