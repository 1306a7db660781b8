//! The fenced stream: exactly-once effect in Postgres of an at-least-once log.
//!
//! A lane is one thread with one connection and one reader. It leases partitions of a projection, and applies what it
//! reads in batches. Each batch is one transaction whose first statement moves the fence of its partitions; when that
//! does not hit every row, somebody else has taken over, and the lane drops everything it knows. So the offsets and
//! the rows that follow from them are committed together, and a paused or restarted lane can never write twice.
//!
//! Placement is by lease in the same table and not by Kafka's group protocol: it works alike on every log engine, a
//! frozen process loses its partitions after one lease, and the fence would hold without it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use postgres::{Client, Transaction};

mod fence;

pub use fence::{Progress, check_log, held, progress, wait_until_applied};

use crate::{
    clock::Clock,
    log::{Log, LogError, Position, Reader, Record},
    postgres::{CopyError, explain},
};

/// What a lane does with the records. Everything it remembers between calls must be dropped in `reset`.
pub trait Handler: Send {
    /// The lane now holds exactly these partitions; nothing else may be remembered. Called before the first batch.
    fn assigned(&mut self, client: &mut Client, partitions: &[i32]) -> Result<(), StreamError>;

    /// Applies a batch inside the transaction that has moved the fence.
    fn apply(&mut self, tx: &mut Transaction<'_>, batch: &Batch) -> Result<(), StreamError>;

    /// The batch is committed.
    fn committed(&mut self, _client: &mut Client) -> Result<(), StreamError> {
        Ok(())
    }

    /// When time alone calls for a batch, even an empty one.
    fn next_due(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// Drops everything that is remembered: the last batch may or may not have been committed.
    fn reset(&mut self);
}

/// Records of one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    pub records: Vec<Record>,
    /// The log's time in every partition that the lane holds, after these records.
    pub log_times: BTreeMap<i32, DateTime<Utc>>,
}

#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Tells its causes by itself, wherever it is printed; so it has no `source` that would tell them again.
    #[error("{}", explain(.0))]
    Postgres(postgres::Error),
    #[error(transparent)]
    Log(#[from] LogError),
    /// Another lane holds a partition that this one thought it held.
    #[error("another worker has taken over")]
    Fenced,
    /// Something passing outside; the lane starts over.
    #[error("{0}")]
    Passing(String),
    /// This handler's work is over: something newer has taken its place.
    #[error("superseded")]
    Superseded,
    /// Only a person can mend this.
    #[error("{0}")]
    Fatal(String),
}

impl From<postgres::Error> for StreamError {
    fn from(error: postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<CopyError> for StreamError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Postgres(error) => Self::Postgres(error),
            CopyError::Value(_) => Self::Fatal(error.to_string()),
        }
    }
}

impl StreamError {
    fn ends_the_lane(&self) -> bool {
        match self {
            Self::Fatal(_) | Self::Superseded => true,
            Self::Log(error) => {
                matches!(error, LogError::OutOfRange { .. } | LogError::Misconfigured(_) | LogError::TopicMissing(_))
            }
            Self::Postgres(_) | Self::Fenced | Self::Passing(_) => false,
        }
    }
}

/// How a lane works.
#[derive(Clone, Debug)]
pub struct LaneConfig {
    /// The projection whose partitions are leased: `views`, `coordinator`, `inbox:ums-pos`.
    pub projection: String,
    pub topic: String,
    pub postgres_url: String,
    /// At most this many records in one transaction.
    pub batch_max: usize,
    /// How long a partition stays with a silent lane.
    pub lease: Duration,
    /// By partition: the lane is done once it has read up to here. A rebuild stops so at the offsets of another.
    pub until: Option<Vec<i64>>,
}

impl LaneConfig {
    pub fn new(projection: impl Into<String>, topic: impl Into<String>, postgres_url: impl Into<String>) -> Self {
        Self {
            projection: projection.into(),
            topic: topic.into(),
            postgres_url: postgres_url.into(),
            batch_max: 10_000,
            lease: Duration::from_secs(10),
            until: None,
        }
    }
}

/// Tells lanes to stop, cleanly.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Sleeps in short naps, so that stopping is quick.
    pub fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_stopped() && Instant::now() < until {
            thread::sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)));
        }
    }
}

const POLL_WAIT: Duration = Duration::from_millis(20);
/// Before a lane starts over.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// A lane that worked for so long met something new.
const HEALTHY_LIFE: Duration = Duration::from_secs(10);
const END_CHECK_INTERVAL: Duration = Duration::from_millis(100);

pub struct Lane<H> {
    config: LaneConfig,
    log: Arc<dyn Log>,
    clock: Clock,
    handler: H,
    stop: Stop,
}

impl<H: Handler> Lane<H> {
    pub fn new(config: LaneConfig, log: Arc<dyn Log>, clock: Clock, handler: H, stop: Stop) -> Self {
        Self { config, log, clock, handler, stop }
    }

    /// Works until it is stopped or only a person can help. Whatever else goes wrong is logged, and the lane starts
    /// over from what Postgres says.
    pub fn run(mut self) -> Result<(), StreamError> {
        let mut pause = PAUSE;
        while !self.stop.is_stopped() {
            let started = Instant::now();
            let result = Session::open(&self.config, &*self.log).and_then(|mut session| {
                let worked = session.work(&mut self);
                // Nobody need wait for the lease of a worker that goes away; nor does this lane, when it starts over.
                if matches!(worked, Err(StreamError::Superseded | StreamError::Fenced)) {
                    session.fence.release(&mut session.client)?;
                }
                worked
            });
            self.handler.reset();
            match result {
                Ok(()) => break,
                Err(StreamError::Superseded) => return Err(StreamError::Superseded),
                Err(error) if error.ends_the_lane() => {
                    tracing::error!(projection = self.config.projection, %error, "the lane stops");
                    return Err(error);
                }
                Err(error) => {
                    match error {
                        // Nothing is wrong: a lease went to another lane, or a rebuild took the partitions away.
                        StreamError::Fenced => {
                            tracing::info!(projection = self.config.projection, %error, "the lane starts over");
                        }
                        _ => tracing::warn!(projection = self.config.projection, %error, "the lane starts over"),
                    }
                    pause = if started.elapsed() > HEALTHY_LIFE { PAUSE } else { (pause * 2).min(PAUSE_MAX) };
                    self.stop.sleep(pause);
                }
            }
        }
        Ok(())
    }
}

fn is_before(position: Position, until: &[i64]) -> bool {
    usize::try_from(position.partition)
        .ok()
        .and_then(|index| until.get(index))
        .is_some_and(|end| position.offset < *end)
}

/// What a lane knows between two mishaps.
struct Session {
    client: Client,
    reader: Box<dyn Reader>,
    fence: fence::Fence,
    ends_checked: Instant,
}

impl Session {
    fn open(config: &LaneConfig, log: &dyn Log) -> Result<Self, StreamError> {
        let topic = log.describe(&config.topic)?;
        let mut client = crate::postgres::connect(&config.postgres_url, &fence::application_name(&config.projection))?;
        let fence = fence::Fence::open(&mut client, config, &topic)?;
        Ok(Self { client, reader: log.reader(&config.topic)?, fence, ends_checked: Instant::now() })
    }

    fn work<H: Handler>(&mut self, lane: &mut Lane<H>) -> Result<(), StreamError> {
        while !lane.stop.is_stopped() {
            if self.fence.tend(&mut self.client)? {
                let partitions = self.fence.partitions();
                tracing::debug!(projection = lane.config.projection, ?partitions, "partitions assigned");
                lane.handler.reset();
                lane.handler.assigned(&mut self.client, &partitions)?;
                self.reader.assign(&self.fence.positions())?;
            }
            if self.fence.is_empty() {
                lane.stop.sleep(Duration::from_millis(100));
                continue;
            }
            let mut records = self.reader.poll(lane.config.batch_max, POLL_WAIT)?;
            if let Some(until) = &lane.config.until {
                if self.fence.has_reached(until) {
                    break;
                }
                records.retain(|record| is_before(record.position, until));
            }
            if !records.is_empty() || self.is_due(lane)? {
                self.apply(records, lane)?;
            }
        }
        self.fence.release(&mut self.client)?;
        Ok(())
    }

    /// Whether time has come for something although no record says so: the log's time has passed it once the lane has
    /// read up to an end that was fetched afterwards.
    fn is_due<H: Handler>(&mut self, lane: &Lane<H>) -> Result<bool, StreamError> {
        let now = lane.clock.now();
        if lane.handler.next_due().is_none_or(|due| due > now) || self.ends_checked.elapsed() < END_CHECK_INTERVAL {
            return Ok(false);
        }
        self.ends_checked = Instant::now();
        match lane.log.ends(&lane.config.topic) {
            Ok(ends) => Ok(self.fence.reached(&ends, now)),
            // Nobody knows what was appended by now; reading goes on meanwhile.
            Err(LogError::Unavailable(why)) => {
                tracing::debug!(projection = lane.config.projection, why, "the ends of the log are not known");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn apply<H: Handler>(&mut self, records: Vec<Record>, lane: &mut Lane<H>) -> Result<(), StreamError> {
        self.fence.read(&records);
        let batch = Batch { records, log_times: self.fence.log_times() };
        let mut tx = self.client.transaction()?;
        self.fence.advance(&mut tx)?;
        lane.handler.apply(&mut tx, &batch)?;
        tx.commit()?;
        lane.handler.committed(&mut self.client)
    }
}
