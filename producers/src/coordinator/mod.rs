//! The coordinator: the one component that decides. It reads the log stream by stream, folds it, asks the rules what
//! decision is missing, and appends that decision.
//!
//! State, timers, tasks and decisions of a batch are committed with its offsets; afterwards the decisions are sent, in
//! order. A decision is folded when it is taken and recognised when it comes back from the log, so a crash
//! between commit and send, or a second send, changes nothing.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use engine::{
    store::{Row, Store, Verdict},
    stream::{Batch, Handler, StreamError},
    task::{self, NewTask},
};
use postgres::{Client, GenericClient, Transaction};
use rules::{
    LogTime,
    business_day::shanghai,
    coordinator::{Guard, When, decide, due_at, refund_key, unwanted_calls, wanted_calls},
    order::Order,
    policy::Policy,
    stream::{StreamState, counts_once},
};
use schemas::{About, Event, OrderId, Position, Stream, StreamKind};
use tokio::runtime::Handle;
use uuid::Uuid;

mod history;
mod outbox;

pub use history::rebuild;

use self::outbox::Outbox;
use crate::{executor::TaskPayload, publisher::Publisher};

/// The name of the coordinator's fence and leases.
pub const PROJECTION: &str = "coordinator";
/// Who decides, as decisions say it.
pub const SOURCE: &str = "/ledger/coordinator";

const ORDERS_KEPT: usize = 20_000;
const STREAMS_KEPT: usize = 20_000;
/// At most so many are remembered, of 16 bytes each; a decision beyond them is read like anybody's.
const OWN_KEPT: usize = 400_000;
/// More decisions than this on one order at one moment can only be a fault in the rules.
const DECISIONS_MAX: usize = 32;
/// At most this many orders fall due in one batch; the next batch takes the rest.
const DUE_MAX: i64 = 5_000;
const SEND_PATIENCE: Duration = Duration::from_secs(5);

/// The handler of the coordinator's lanes.
pub struct Coordinator {
    policy: Policy,
    publisher: Publisher,
    runtime: Handle,
    orders: Store<Order>,
    streams: Store<StreamState>,
    outbox: Outbox,
    /// Where decisions of ours stand in the log that need not be read: they are folded, and no call waits for them.
    own: HashSet<Position>,
    /// By partition: below this offset nothing is decided. Empty once everything has been read.
    live_from: BTreeMap<i32, i64>,
    partitions: Vec<i32>,
}

/// A record of the batch, on a stream that has orders.
struct Read {
    partition: i32,
    offset: i64,
    recorded_at: LogTime,
    stream: Stream,
    kind: StreamKind,
    /// `None` for a dead letter.
    event: Option<Event>,
}

impl Read {
    fn order_id(&self) -> Option<&str> {
        let event = self.event.as_ref().filter(|event| event.data.about() == About::Order)?;
        Some(&event.subject)
    }
}

/// Orders that a batch looked at, and the event that came last.
type Work = BTreeMap<String, Option<Uuid>>;

impl Coordinator {
    /// `runtime` carries the sends; the lane itself has a thread of its own.
    pub fn new(policy: Policy, publisher: Publisher, runtime: Handle) -> Self {
        Self {
            policy,
            publisher,
            runtime,
            orders: Store::new("coordinator.orders", Vec::new(), ORDERS_KEPT),
            streams: Store::new("coordinator.streams", Vec::new(), STREAMS_KEPT),
            outbox: Outbox::default(),
            own: HashSet::new(),
            live_from: BTreeMap::new(),
            partitions: Vec::new(),
        }
    }

    /// What the batch says about orders and their streams. A record that cannot be read stands in the view of dead letters;
    /// nothing is decided on its stream until a person has dealt with it, and all others go on.
    fn decode(&mut self, batch: &Batch) -> Vec<Read> {
        // All at once: what grows is copied again and again, and an event is large.
        let mut reads = Vec::with_capacity(batch.records.len());
        reads.extend(batch.records.iter().filter(|record| !self.own.remove(&record.position)).filter_map(decode));
        reads
    }

    /// Brings every order and stream that the batch can touch into memory: those it names, and those that lapse
    /// while it is read.
    fn load(&mut self, tx: &mut Transaction<'_>, reads: &[Read], batch: &Batch) -> Result<(), StreamError> {
        self.streams.load(tx, reads.iter().map(|read| read.stream.as_str()))?;
        let mut orders: Vec<&str> = reads.iter().filter_map(Read::order_id).collect();
        for read in reads {
            let stream = self.streams.get(read.stream.as_str());
            if let (Some(stream), Some(now)) = (stream, batch.log_times.get(&read.partition)) {
                orders.extend(stream.state.lapsing(*now));
                orders.extend(stream.state.waiting.iter().map(String::as_str));
            }
        }
        self.orders.load(tx, orders)
    }

    /// One record: what is due by its time comes first, then the record itself, then what follows from it.
    fn read(&mut self, tx: &mut Transaction<'_>, read: &Read, work: &mut Work) -> Result<(), StreamError> {
        let stream = row(&mut self.streams, &read.stream, read.kind, read.partition);
        let Some(event) = &read.event else {
            stream.state.unread.insert((read.partition, read.offset));
            stream.touch();
            return Ok(());
        };
        let lapsing: Vec<String> = stream.state.lapsing(read.recorded_at).into_iter().map(str::to_owned).collect();
        for order_id in lapsing {
            self.settle(tx, &order_id, read.partition, read.recorded_at, None, work)?;
        }
        match event.data.about() {
            About::Order => {
                if self.fold(read, event) {
                    self.settle(tx, &event.subject, read.partition, read.recorded_at, Some(event), work)?;
                }
            }
            About::Stream => {
                let stream = row(&mut self.streams, &read.stream, read.kind, read.partition);
                if counts_once(event) && stream.admit(event.id, event.business_digest(), read.offset) != Verdict::Fresh
                {
                    return Ok(());
                }
                stream.state.apply(event);
                stream.touch();
                if !stream.state.is_paused() {
                    let mut waiting: Vec<String> = std::mem::take(&mut stream.state.waiting).into_iter().collect();
                    waiting.sort_by_key(|id| {
                        self.orders
                            .get(id)
                            .and_then(|row| row.state.request.as_ref())
                            .map(|request| request.recorded_at)
                    });
                    for order_id in waiting {
                        self.settle(tx, &order_id, read.partition, read.recorded_at, Some(event), work)?;
                    }
                }
            }
            About::Channel => {}
        }
        Ok(())
    }

    /// Folds an event into its order. False when it says nothing new.
    fn fold(&mut self, read: &Read, event: &Event) -> bool {
        let order = self.orders.row(&event.subject, read.partition);
        match order.admit(event.id, event.business_digest(), read.offset) {
            Verdict::Fresh => {
                let stream = row(&mut self.streams, &read.stream, read.kind, read.partition);
                apply(order, stream, event, read.recorded_at);
                order.state.read_back(&event.data);
                true
            }
            Verdict::ReadBack => {
                if order.state.read_back(&event.data) {
                    order.touch();
                }
                true
            }
            Verdict::Repeat => false,
            Verdict::Conflict => {
                tracing::warn!(id = %event.id, "a fact was repeated with other business fields; the first stands");
                false
            }
        }
    }

    /// Takes every decision that is missing on an order, and notes when to look at it again.
    fn settle(
        &mut self,
        tx: &mut Transaction<'_>,
        order_id: &str,
        partition: i32,
        now: LogTime,
        cause: Option<&Event>,
        work: &mut Work,
    ) -> Result<(), StreamError> {
        let id = parse(order_id)?;
        let order = self.orders.row(order_id, partition);
        let stream = row(&mut self.streams, &id.stream(), id.kind(), partition);
        if self.live_from.contains_key(&partition) {
            // What is missing here may stand further on in the log; it is looked at once everything has been read.
            order.set_due(order.state.request.as_ref().map(|request| request.recorded_at).or(Some(now)));
            return Ok(());
        }
        if stream.state.is_paused() {
            stream.state.waiting.insert(order_id.to_owned());
            stream.touch();
            order.set_due(None);
            return Ok(());
        }
        let mut decisions = 0..DECISIONS_MAX;
        while let Some(decision) = decide(&order.state, &stream.state, now, &self.policy) {
            if decisions.next().is_none() {
                return Err(StreamError::Fatal(format!("the rules do not come to an end with {id}")));
            }
            if let Some(Guard::RefundNotClaimed(refund)) = decision.guard
                && !task::cancel(tx, &refund_key(refund, 1))?
            {
                order.state.refunds.entry(refund).or_default().uncancellable = true;
                order.touch();
                continue;
            }
            let mut event = Event::about_order(SOURCE, &id, shanghai(&now), decision.data);
            event.correlation_id = order.state.correlation_id;
            if let Some(cause) = cause {
                event = event.caused_by(cause);
            }
            if !order.decided(event.id, event.business_digest()) {
                let what = event.data.event_type();
                return Err(StreamError::Fatal(format!("the rules decide {what} of {id} a second time")));
            }
            apply(order, stream, &event, now);
            self.outbox.push(partition, event);
        }
        order.set_due(due_at(&order.state, &self.policy).filter(|due| *due > now));
        work.insert(order_id.to_owned(), cause.map(|cause| cause.id));
        Ok(())
    }

    /// What time alone calls for, on orders that the batch did not name.
    fn settle_due(&mut self, tx: &mut Transaction<'_>, batch: &Batch, work: &mut Work) -> Result<(), StreamError> {
        let live = |partition: &i32| !self.live_from.contains_key(partition);
        let log_times =
            batch.log_times.iter().filter(|(partition, _)| live(partition)).map(|(p, t)| (*p, *t)).collect();
        if !self.orders.may_be_due(&log_times) {
            return Ok(());
        }
        let due = self.orders.due(tx, &log_times, DUE_MAX)?;
        self.orders.load(tx, due.iter().map(String::as_str))?;
        let streams =
            due.iter().map(|id| Ok(parse(id)?.stream().to_string())).collect::<Result<Vec<_>, StreamError>>()?;
        self.streams.load(tx, streams.iter().map(String::as_str))?;
        for order_id in &due {
            let Some(partition) = self.orders.get(order_id).map(Row::partition) else { continue };
            let Some(now) = log_times.get(&partition) else { continue };
            self.settle(tx, order_id, partition, *now, None, work)?;
        }
        self.orders.write(tx)?;
        self.look_up_next_due(tx)
    }

    /// Asks when the next order falls due, of the partitions that decide.
    fn look_up_next_due(&mut self, client: &mut impl GenericClient) -> Result<(), StreamError> {
        let live = |partition: &i32| !self.live_from.contains_key(partition);
        let live: Vec<i32> = self.partitions.iter().copied().filter(live).collect();
        self.orders.look_up_next_due(client, &live)
    }

    /// Writes down the calls that the touched orders want now, and withdraws those that they want no more.
    fn plan_calls(&mut self, tx: &mut Transaction<'_>, work: &Work) -> Result<(), StreamError> {
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        let now = self.publisher.clock().now();
        for (order_id, cause) in work {
            let id = parse(order_id)?;
            let Some(order) = self.orders.get(order_id) else {
                return Err(StreamError::Fatal(format!("the order {order_id} was forgotten within its batch")));
            };
            let correlation_id = order.state.correlation_id;
            unwanted.extend(unwanted_calls(&order.state));
            wanted.extend(wanted_calls(&id, &order.state, &self.policy).into_iter().map(|call| {
                let due_at = match call.when {
                    When::Now => Some(now),
                    When::NotBefore(time) => Some(time),
                    When::ByFile => None,
                };
                NewTask {
                    party: call.call.party().to_string(),
                    payload: TaskPayload {
                        order_id: id.clone(),
                        correlation_id,
                        causation_id: *cause,
                        call: call.call,
                    }
                    .to_json(),
                    key: call.key,
                    due_at,
                    unknown: call.submitted,
                    stopped: call.stopped,
                }
            }));
        }
        task::withdraw(tx, &unwanted)?;
        task::insert(tx, &wanted)?;
        Ok(())
    }

    /// Partitions whose history has now been read decide from here on. True if there are any.
    fn go_live(&mut self, batch: &Batch) -> bool {
        let reading = self.live_from.len();
        for record in &batch.records {
            let position = record.position;
            if self.live_from.get(&position.partition).is_some_and(|offset| position.offset + 1 >= *offset) {
                self.live_from.remove(&position.partition);
            }
        }
        self.live_from.len() < reading
    }
}

fn parse(order_id: &str) -> Result<OrderId, StreamError> {
    order_id.parse().map_err(|error| StreamError::Fatal(format!("coordinator.orders: {error}")))
}

/// The row of a stream that has been loaded.
fn row<'a>(
    streams: &'a mut Store<StreamState>,
    stream: &Stream,
    kind: StreamKind,
    partition: i32,
) -> &'a mut Row<StreamState> {
    let row = streams.row(stream.as_str(), partition);
    row.state.of(kind);
    row
}

fn apply(order: &mut Row<Order>, stream: &mut Row<StreamState>, event: &Event, at: LogTime) {
    let booked_before = order.state.confirmation.standing();
    order.state.apply(event, at);
    order.touch();
    if stream.state.absorb(event, &order.state, booked_before) {
        stream.touch();
    }
}

fn decode(record: &engine::log::Record) -> Option<Read> {
    let event = record
        .event()
        .inspect_err(|refusal| tracing::warn!(position = %record.position, %refusal, "a dead letter"))
        .ok();
    let stream: Stream = match &event {
        Some(event) => event.stream.clone(),
        None => str::from_utf8(&record.key).ok()?.parse().ok()?,
    };
    let Position { partition, offset } = record.position;
    let kind = stream.kind()?;
    Some(Read { partition, offset, recorded_at: record.timestamp, stream, kind, event })
}

impl Handler for Coordinator {
    fn assigned(&mut self, client: &mut Client, partitions: &[i32]) -> Result<(), StreamError> {
        self.partitions = partitions.to_vec();
        self.live_from = history::unread(client, &self.publisher, partitions)?;
        self.outbox.reload(client, partitions)?;
        self.committed(client)?;
        self.look_up_next_due(client)
    }

    fn apply(&mut self, tx: &mut Transaction<'_>, batch: &Batch) -> Result<(), StreamError> {
        let reads = self.decode(batch);
        let mut work = Work::default();
        self.orders.begin_batch();
        self.streams.begin_batch();
        self.load(tx, &reads, batch)?;
        for read in &reads {
            self.read(tx, read, &mut work)?;
        }
        self.orders.write(tx)?;
        if self.go_live(batch) {
            self.look_up_next_due(tx)?;
        }
        self.settle_due(tx, batch, &mut work)?;
        self.streams.write(tx)?;
        self.plan_calls(tx, &work)?;
        self.outbox.write(tx)?;
        Ok(())
    }

    fn committed(&mut self, client: &mut Client) -> Result<(), StreamError> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        let sent = self.runtime.block_on(self.publisher.append_all(self.outbox.events(), SEND_PATIENCE));
        let positions =
            sent.map_err(|error| StreamError::Passing(format!("the decisions were not acknowledged: {error}")))?;
        let orders = &self.orders;
        let brings_nothing =
            |event: &Event| orders.get(&event.subject).is_some_and(|order| !order.state.waits_to_read(&event.data));
        let own = self.outbox.events().iter().zip(positions).filter(|(event, _)| brings_nothing(event));
        self.own.extend(own.map(|(_, position)| position).take(OWN_KEPT.saturating_sub(self.own.len())));
        self.outbox.sent(client, &self.partitions)
    }

    fn next_due(&self) -> Option<DateTime<Utc>> {
        self.orders.next_due()
    }

    fn reset(&mut self) {
        self.orders.clear();
        self.streams.clear();
        self.own.clear();
        self.outbox = Outbox::default();
    }
}

/// Whether decisions wait to be sent, or something is due at `now`.
pub async fn is_busy(pool: &deadpool_postgres::Pool, now: LogTime) -> Result<bool, engine::postgres::QueryError> {
    let sql =
        "select exists (select from coordinator.outbox) or exists (select from coordinator.orders where due_at <= $1)";
    Ok(pool.get().await?.query_one(sql, &[&now]).await?.get(0))
}
