//! The executor: makes the calls that decisions ask for, and appends their outcomes.
//!
//! A task is claimed and settled in Postgres, its call goes out with no transaction open, and its outcome goes to the
//! log before the task is done. So a crash anywhere leaves a task whose lease runs out; it comes back as unknown, and
//! its outcome is asked for before anything is sent again. An unknown outcome is never taken for a failure.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    fmt,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use deadpool_postgres::Pool;
use engine::{
    log::AppendError,
    postgres::QueryError,
    stream::Stop,
    task::{self, Room, Task},
};
use rules::{business_day::shanghai, coordinator::Call, policy::Policy, settlement::business_date};
use schemas::{Data, Event, Name, OrderId};
use serde::{Deserialize, Serialize};
use tokio::task::{JoinError, JoinSet};
use uuid::Uuid;

use crate::{
    calls::{Calls, Counted},
    publisher::Publisher,
};

mod confirmation;
mod fulfilment;
mod movement;
mod payment;
mod refund;

/// What a task carries: the call, and the journey that its outcome belongs to. The coordinator writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskPayload {
    pub order_id: OrderId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Uuid>,
    pub call: Call,
}

impl TaskPayload {
    pub fn to_json(&self) -> String {
        // Names, numbers and strings always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutorConfig {
    /// How many calls run at once.
    pub concurrency: usize,
    /// How many of them may be to the same bank, channel or school.
    pub concurrency_per_party: usize,
    /// How often to look for tasks while there are none, in milliseconds.
    pub idle_poll_ms: u64,
    /// How long an event is sent again and again to a log that does not acknowledge it, in milliseconds.
    pub append_patience_ms: u64,
    /// How long a claim stands at the least, in seconds. The executor makes it longer where its own delays ask for it.
    pub lease_s: u64,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self { concurrency: 64, concurrency_per_party: 32, idle_poll_ms: 25, append_patience_ms: 10_000, lease_s: 60 }
    }
}

/// A task that cannot be worked on is looked at again after this time, in case a newer version can.
const UNREADABLE_DELAY: TimeDelta = TimeDelta::minutes(10);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// Who sends, as the log says it.
const SOURCE: &str = "/ledger/executor";

pub struct Executor {
    worker: Worker,
    pool: Pool,
    concurrency: usize,
    per_party: usize,
    idle_poll: Duration,
    lease: Duration,
}

impl Executor {
    pub fn new(pool: Pool, publisher: Publisher, calls: Calls, policy: Policy, config: &ExecutorConfig) -> Self {
        let worker = Worker::new(publisher, calls, policy, Duration::from_millis(config.append_patience_ms));
        Self {
            lease: Duration::from_secs(config.lease_s).max(worker.lease_min()),
            worker,
            pool,
            concurrency: config.concurrency.max(1),
            per_party: config.concurrency_per_party.max(1),
            idle_poll: Duration::from_millis(config.idle_poll_ms),
        }
    }

    /// Works until it is stopped, and then ends the calls that are under way.
    pub async fn run(self, stop: Stop) {
        let executor = Arc::new(self);
        let mut running = Running::default();
        let mut pause = PAUSE_MIN;
        while !stop.is_stopped() {
            match executor.claim(&running).await {
                Ok(tasks) => {
                    pause = PAUSE_MIN;
                    let idle = tasks.is_empty();
                    for task in tasks {
                        running.begin(&executor, task);
                    }
                    if idle {
                        // For a moment, or until a call ends and leaves room for another.
                        tokio::select! {
                            () = tokio::time::sleep(executor.idle_poll) => {}
                            Some(ended) = running.calls.join_next_with_id() => running.end(ended),
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "no tasks can be claimed; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
            while let Some(ended) = running.calls.try_join_next_with_id() {
                running.end(ended);
            }
        }
        while let Some(ended) = running.calls.join_next_with_id().await {
            running.end(ended);
        }
    }

    async fn claim(&self, running: &Running) -> Result<Vec<Task>, QueryError> {
        let free = self.concurrency - running.calls.len();
        if free == 0 {
            return Ok(Vec::new());
        }
        let room = Room { free, per_party: self.per_party, busy: &running.busy };
        task::claim(&self.pool, room, self.worker.now(), self.lease).await
    }

    async fn work(self: Arc<Self>, task: Task) {
        let next = match serde_json::from_str::<TaskPayload>(&task.payload) {
            Ok(payload) => {
                let attempt =
                    Attempt { payload: &payload, unknown: task.unknown, stopped: task.stopped, tries: task.tries };
                self.worker.perform(attempt, task::submit(&self.pool, &task, self.lease)).await
            }
            Err(error) => {
                tracing::error!(task = task.key, %error, "a task cannot be read");
                Next::LeaveUnknown { due_at: self.worker.now() + UNREADABLE_DELAY, why: error.to_string() }
            }
        };
        tracing::debug!(task = task.key, ?next, "a task was worked on");
        let settled = match &next {
            Next::Finish => task::finish(&self.pool, &task).await,
            Next::PutBack { due_at, why } => task::put_back(&self.pool, &task, *due_at, why).await,
            Next::LeaveUnknown { due_at, why } => task::leave_unknown(&self.pool, &task, *due_at, why).await,
            Next::End { why } => task::end(&self.pool, &task, why).await,
            Next::Drop => Ok(()),
        };
        if let Err(error) = settled {
            tracing::warn!(task = task.key, %error, "a task is left to its lease");
        }
    }
}

/// The calls under way, and how many of them are with each party.
#[derive(Default)]
struct Running {
    calls: JoinSet<()>,
    parties: HashMap<tokio::task::Id, String>,
    busy: BTreeMap<String, usize>,
}

impl Running {
    fn begin(&mut self, executor: &Arc<Executor>, task: Task) {
        let party = task.party.clone();
        *self.busy.entry(party.clone()).or_default() += 1;
        let call = self.calls.spawn(Arc::clone(executor).work(task));
        self.parties.insert(call.id(), party);
    }

    fn end(&mut self, ended: Result<(tokio::task::Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a call ended abnormally; its task is left to its lease");
                error.id()
            }
        };
        if let Some(party) = self.parties.remove(&id)
            && let Entry::Occupied(mut busy) = self.busy.entry(party)
        {
            *busy.get_mut() -= 1;
            if *busy.get() == 0 {
                busy.remove();
            }
        }
    }
}

/// What becomes of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Its outcome is in the log.
    Finish,
    /// Nothing went out.
    PutBack { due_at: DateTime<Utc>, why: String },
    /// Something may have gone out: the next claim asks first.
    LeaveUnknown { due_at: DateTime<Utc>, why: String },
    /// It was stopped, and has not gone out.
    End { why: String },
    /// It belongs to somebody else by now.
    Drop,
}

/// One claim of a task.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub payload: &'a TaskPayload,
    /// The call may have gone out before.
    pub unknown: bool,
    /// The call must not go out (again).
    pub stopped: bool,
    /// How often the task has been claimed before.
    pub tries: i32,
}

/// Makes calls and appends what comes of them. It knows no Postgres.
#[derive(Clone, Debug)]
pub struct Worker {
    publisher: Publisher,
    calls: Calls,
    policy: Policy,
    patience: Duration,
}

impl Worker {
    pub fn new(publisher: Publisher, calls: Calls, policy: Policy, patience: Duration) -> Self {
        Self { publisher, calls, policy, patience }
    }

    /// Makes the call of a task. `submit` takes the task for a call that moves money: it is awaited right before the
    /// call goes out, and nothing is sent unless it says true.
    pub async fn perform<E: fmt::Display>(
        &self,
        attempt: Attempt<'_>,
        submit: impl Future<Output = Result<bool, E>>,
    ) -> Next {
        let TaskPayload { order_id, call, .. } = attempt.payload;
        if let Err(why) = self.calls.check(call) {
            tracing::error!(order = %order_id, %why, "a call cannot be made");
            let (due_at, why) = (self.now() + UNREADABLE_DELAY, why.to_string());
            return if attempt.unknown { Next::LeaveUnknown { due_at, why } } else { Next::PutBack { due_at, why } };
        }
        match call {
            Call::QueryConfirmation { target, tries, amount, channel: _, channel_txn_no } => {
                let query = confirmation::Query { target, tries: *tries, amount: *amount, channel_txn_no };
                self.query_confirmation(attempt, query).await
            }
            Call::QueryPayment { channel, tries } => self.query_payment(attempt, channel, *tries).await,
            Call::CreditCard { target, tries, capture_id, card, amount } => {
                let (tries, capture_id, amount) = (*tries, *capture_id, *amount);
                self.make(attempt, fulfilment::Credit { order_id, target, tries, capture_id, card, amount }, submit)
                    .await
            }
            Call::PostFees { target, tries, capture_id, account, lines } => {
                let (tries, capture_id) = (*tries, *capture_id);
                self.make(attempt, fulfilment::Posting { order_id, target, tries, capture_id, account, lines }, submit)
                    .await
            }
            Call::Debit { channel, attempt: number, cancelled, agreement_no, school, merchant, amount } => {
                let (number, cancelled, amount) = (*number, *cancelled, *amount);
                let debit = payment::Debit {
                    order_id,
                    channel,
                    attempt: number,
                    cancelled,
                    agreement_no,
                    school,
                    merchant,
                    amount,
                };
                self.make(attempt, debit, submit).await
            }
            Call::Refund { refund_id, tries, amount, channel, channel_txn_no } => {
                let (id, tries, amount) = (*refund_id, *tries, *amount);
                self.make(attempt, refund::Refund { order_id, id, tries, amount, channel, channel_txn_no }, submit)
                    .await
            }
        }
    }

    /// A claim that ran into its lease has been silent for this long, so that whatever it sent has either arrived or
    /// never will: the settling time of a refund, the call itself, and the two appends around it.
    fn lease_min(&self) -> Duration {
        Duration::from_secs(self.policy.refund_settling_s.into())
            + self.calls.config().timeout() * 2
            + self.patience * 2
    }

    fn days(&self) -> Days<'_> {
        Days { policy: &self.policy, now: self.now() }
    }

    fn now(&self) -> DateTime<Utc> {
        self.publisher.clock().now()
    }

    fn event(&self, payload: &TaskPayload, source: &str, data: Data) -> Event {
        Event {
            correlation_id: payload.correlation_id,
            causation_id: payload.causation_id,
            ..Event::about_order(source, &payload.order_id, shanghai(&self.now()), data)
        }
    }

    async fn append(
        &self,
        payload: &TaskPayload,
        source: String,
        data: impl IntoIterator<Item = Data>,
    ) -> Result<(), AppendError> {
        let events: Vec<Event> = data.into_iter().map(|data| self.event(payload, &source, data)).collect();
        self.append_events(&events).await
    }

    async fn append_events(&self, events: &[Event]) -> Result<(), AppendError> {
        self.publisher.append_all(events, self.patience).await?;
        Ok(())
    }
}

/// The accounting days of channels.
#[derive(Clone, Copy, Debug)]
struct Days<'a> {
    policy: &'a Policy,
    now: DateTime<Utc>,
}

impl Days<'_> {
    /// The day in which a channel counts something; what it does not tell is counted now.
    fn of(&self, channel: &Name, counted: Option<Counted>) -> NaiveDate {
        let at = match counted {
            Some(Counted::On(day)) => return day,
            Some(Counted::At(time)) => time,
            None => shanghai(&self.now),
        };
        business_date(&at, &self.policy.terms(channel))
    }
}

/// `first`, doubled for each earlier claim, and never more than `most` (or `first`, where that is more).
fn doubling(first: TimeDelta, tries: i32, most: TimeDelta) -> TimeDelta {
    let doublings = tries.clamp(0, 16);
    (first * (1 << doublings)).min(most.max(first))
}

#[cfg(test)]
mod tests;
