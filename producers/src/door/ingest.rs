//! From reported events to the log: what is new is appended, what is known is acknowledged with its old position, what
//! contradicts an earlier report is refused. Each event has an outcome of its own.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use engine::{log::AppendError, postgres::QueryError};
use schemas::{Event, Position, Refusal, RefusalCode};
use uuid::Uuid;

use super::{
    Door,
    known::{self, KnownFacts},
};

/// What is to become of one reported event.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Append,
    /// The log has it already.
    Repeats(Position),
    /// The same as an earlier event of this batch, by its index.
    Twin(usize),
    Conflicts,
}

/// What is to become of each of these events, given what is known of them.
pub fn verdicts<'a>(events: impl IntoIterator<Item = &'a Event>, known: &KnownFacts) -> Vec<Verdict> {
    let mut first: HashMap<Uuid, usize> = HashMap::new();
    let judge = |(index, event): (usize, &Event)| {
        let fact = known.get(&event.id);
        if fact.is_some_and(|fact| fact.digest != event.business_digest()) {
            return Verdict::Conflicts;
        }
        match (fact.and_then(|fact| fact.position), first.entry(event.id)) {
            (Some(position), _) => Verdict::Repeats(position),
            (None, Entry::Occupied(earlier)) => Verdict::Twin(*earlier.get()),
            (None, Entry::Vacant(slot)) => {
                slot.insert(index);
                Verdict::Append
            }
        }
    };
    events.into_iter().enumerate().map(judge).collect()
}

pub fn conflict(event: &Event) -> Refusal {
    let detail = format!("{} was reported before, with other business fields", event.id);
    Refusal::new(RefusalCode::ConflictingRepeat, detail)
}

/// What became of one reported event.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Appended(Position),
    Repeated(Position),
    Refused(Refusal),
    /// Perhaps in the log: the sender must repeat.
    Unknown,
}

/// Appends what is new among these events. An error means that nothing was appended.
pub async fn ingest(door: &Door, events: &[Event]) -> Result<Vec<Outcome>, QueryError> {
    let known = known::note(&door.pool, events).await?;
    let verdicts = verdicts(events, &known);
    let fresh: Vec<&Event> =
        events.iter().zip(&verdicts).filter(|(_, v)| **v == Verdict::Append).map(|(e, _)| e).collect();
    let mut appended = append(door, &fresh).await.into_iter();
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(events.len());
    for (event, verdict) in events.iter().zip(verdicts) {
        let outcome = match verdict {
            Verdict::Append => appended.next().unwrap_or(Outcome::Unknown),
            Verdict::Repeats(position) => Outcome::Repeated(position),
            Verdict::Twin(earlier) => outcomes[earlier].clone(),
            Verdict::Conflicts => Outcome::Refused(conflict(event)),
        };
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

async fn append(door: &Door, events: &[&Event]) -> Vec<Outcome> {
    if events.is_empty() {
        return Vec::new();
    }
    let copies: Vec<Event> = events.iter().copied().cloned().collect();
    let patience = Duration::from_millis(door.config.append_timeout_ms);
    let answers = match tokio::time::timeout(patience, door.publisher.append(&copies)).await {
        Ok(answers) => answers,
        Err(_) => return vec![Outcome::Unknown; events.len()],
    };
    let places: Vec<(Uuid, Position)> =
        events.iter().zip(&answers).filter_map(|(event, answer)| Some((event.id, *answer.as_ref().ok()?))).collect();
    if let Err(error) = known::place(&door.pool, &places).await {
        // The log has them, and that is what counts: a repeat of these would be appended once more, without harm.
        tracing::warn!(%error, "positions of appended events were not noted");
    }
    answers.into_iter().map(outcome).collect()
}

fn outcome(answer: Result<Position, AppendError>) -> Outcome {
    match answer {
        Ok(position) => Outcome::Appended(position),
        Err(error @ AppendError::TooLarge { .. }) => Outcome::Refused(Refusal::new(RefusalCode::TooLarge, error)),
        Err(AppendError::Unknown(why)) => {
            tracing::warn!(why, "an append was not acknowledged");
            Outcome::Unknown
        }
    }
}
