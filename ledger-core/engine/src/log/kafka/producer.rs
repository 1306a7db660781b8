//! Appends to Kafka. One idempotent producer sends everything; each batch of records waits for one shared set of
//! answers. An error of the broker means "perhaps in the log", and only a record that is too large is a definite no.

use std::{
    sync::{
        Arc, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rdkafka::{
    ClientContext, Message as _,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer},
};
use tokio::sync::Notify;

use super::{AppendError, Context, LOST_AFTER, LogError, NewRecord, Position, Queries, Settings, asked, misconfigured};
use crate::log::partition_of;

type Answer = Result<Position, AppendError>;
type Producer = ThreadedProducer<Deliveries>;

/// A batch of records that stays below this is only refused by a topic whose limit is set too low.
const BATCH_BYTES_MAX: usize = 1_000_000;

/// How long the broker may stay away before a record is given up as unknown.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(300);

/// Answers come from librdkafka's own timer; this much later something is wrong with it.
const ANSWER_GRACE: Duration = Duration::from_secs(30);

const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(2);

/// Other tasks of the runtime get their turn after this many records.
const RECORDS_PER_TURN: usize = 256;

pub(super) struct Appender {
    settings: Settings,
    queries: Arc<Queries>,
    producer: RwLock<Arc<Producer>>,
}

impl Appender {
    pub(super) fn new(settings: Settings, queries: Arc<Queries>) -> Result<Arc<Self>, LogError> {
        let producer = RwLock::new(Arc::new(new_producer(&settings).map_err(misconfigured)?));
        let appender = Arc::new(Self { settings, queries, producer });
        let watched = Arc::downgrade(&appender);
        let watcher = thread::Builder::new().name("kafka-watch".to_owned()).spawn(move || Self::watch(&watched));
        watcher.map_err(|error| LogError::Unavailable(error.to_string()))?;
        Ok(appender)
    }

    pub(super) async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Answer> {
        let answers = Answers::new(records.len());
        match self.partitions(topic).await {
            Ok(partitions) => self.send_all(topic, partitions, &records, &answers).await,
            Err(error) => return records.iter().map(|_| Err(AppendError::Unknown(error.to_string()))).collect(),
        }
        drop(records);
        let answered = answers.all(MESSAGE_TIMEOUT + ANSWER_GRACE).await;
        if answers.topic_missing.load(Ordering::Relaxed) {
            self.queries.forget(topic);
        }
        if answered.iter().any(|answer| matches!(answer, Err(AppendError::Unknown(_)))) {
            self.replace_if_broken(&self.producer());
        }
        answered
    }

    /// The topic's partitions; the cluster is asked once, away from the runtime's threads.
    async fn partitions(&self, topic: &str) -> Result<i32, LogError> {
        if let Some(partitions) = self.queries.known_partitions(topic) {
            return Ok(partitions);
        }
        let (queries, topic) = (Arc::clone(&self.queries), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || queries.partitions(&topic)).await;
        asked.unwrap_or_else(|error| Err(LogError::Unavailable(error.to_string())))
    }

    async fn send_all(&self, topic: &str, partitions: i32, records: &[NewRecord], answers: &Arc<Answers>) {
        let record_bytes_max = self.settings.record_bytes_max();
        for (index, record) in records.iter().enumerate() {
            if index % RECORDS_PER_TURN == RECORDS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            if let Err(too_large) = record.check_size(record_bytes_max) {
                answers.set(index, Err(too_large));
                continue;
            }
            let partition = partition_of(record.key.as_bytes(), partitions);
            while let Err(why) =
                self.send(topic, partition, record, Ticket { answers: Arc::clone(answers), index, size: record.size() })
            {
                match why {
                    NotSent::QueueFull => tokio::time::sleep(QUEUE_FULL_PAUSE).await,
                    NotSent::Broken => continue,
                    NotSent::Refused(error) => {
                        answers.set(index, Err(error));
                        break;
                    }
                }
            }
        }
    }

    fn send(&self, topic: &str, partition: i32, record: &NewRecord, ticket: Ticket) -> Result<(), NotSent> {
        let size = ticket.size;
        let count = record.headers.iter().count();
        let headers = record.headers.iter().fold(OwnedHeaders::new_with_capacity(count), |headers, (name, value)| {
            headers.insert(Header { key: name, value: Some(value) })
        });
        let mut message = BaseRecord::with_opaque_to(topic, Box::new(ticket))
            .partition(partition)
            .key(record.key.as_bytes())
            .payload(record.value.as_slice())
            .headers(headers);
        if let Some(time) = record.timestamp {
            message = message.timestamp(time.timestamp_millis());
        }
        let producer = self.producer();
        let Err((error, _)) = producer.send(message) else { return Ok(()) };
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => Err(NotSent::QueueFull),
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                Err(NotSent::Refused(AppendError::TooLarge { size, max: self.settings.record_bytes_max() }))
            }
            _ if self.replace_if_broken(&producer) => Err(NotSent::Broken),
            _ => Err(NotSent::Refused(AppendError::Unknown(error.to_string()))),
        }
    }

    fn producer(&self) -> Arc<Producer> {
        Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A producer that has lost its place in the idempotent sequence takes no record ever again.
    fn replace_if_broken(&self, producer: &Arc<Producer>) -> bool {
        let Some((code, reason)) = producer.client().fatal_error() else { return false };
        self.replace(producer, &format!("is broken ({code}: {reason})"))
    }

    /// Replaces the producer whenever it is lost (see [`LOST_AFTER`]) and somebody appends. Whoever appends may not wait
    /// for long enough to do it.
    fn watch(watched: &Weak<Self>) {
        loop {
            thread::sleep(LOST_AFTER);
            let Some(appender) = watched.upgrade() else { return };
            let producer = appender.producer();
            let is_lost = || producer.in_flight_count() > 0 && producer.client().context().0.is_lost();
            if is_lost() && appender.queries.any_topic_is_ready() {
                // A cluster that is just back is found again by itself.
                thread::sleep(LOST_AFTER);
                if is_lost() {
                    appender.replace(&producer, "delivers nothing, although the cluster answers others");
                }
            }
        }
    }

    /// Open records of a producer that is of no use any more are answered as unknown, and a new one takes over. True if
    /// the current producer is now another one.
    fn replace(&self, producer: &Arc<Producer>, why: &str) -> bool {
        let mut current = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, producer) {
            return true;
        }
        tracing::warn!("the Kafka producer {why}, so it is replaced");
        match new_producer(&self.settings) {
            Ok(new) => {
                let broken = std::mem::replace(&mut *current, Arc::new(new));
                // Purging and dropping wait for librdkafka's threads.
                thread::spawn(move || broken.purge(PurgeConfig::default().queue().inflight()));
                true
            }
            Err(error) => {
                tracing::error!("no new Kafka producer: {error}");
                false
            }
        }
    }
}

fn new_producer(settings: &Settings) -> Result<Producer, KafkaError> {
    let (timeout_ms, batch_bytes_max) = (MESSAGE_TIMEOUT.as_millis().to_string(), BATCH_BYTES_MAX.to_string());
    let defaults = [
        ("compression.type", "lz4"),
        // While requests are on their way the next batch fills by itself. So a longer wait slows down those who wait for
        // an answer before they send more, and hardly helps the others.
        ("linger.ms", "1"),
        ("batch.size", &batch_bytes_max),
        ("message.timeout.ms", &timeout_ms),
        // What waits in memory while the broker is slow or away: append() pauses above it.
        ("queue.buffering.max.messages", "50000"),
        ("queue.buffering.max.kbytes", "65536"),
    ];
    settings
        .client(&defaults, &[("acks", "all"), ("enable.idempotence", "true")])
        .create_with_context(Deliveries::default())
}

/// Why a record did not get into the producer's queue.
enum NotSent {
    QueueFull,
    /// The producer was replaced; the new one may take it.
    Broken,
    Refused(AppendError),
}

/// Brings each delivery report to the batch that waits for it.
#[derive(Default)]
struct Deliveries(Context);

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, delivery: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let answer = match delivery {
            Ok(message) => {
                self.0.delivered();
                Ok(Position { partition: message.partition(), offset: message.offset() })
            }
            Err((error, _)) => {
                if matches!(asked("", error), LogError::TopicMissing(_)) {
                    ticket.answers.topic_missing.store(true, Ordering::Relaxed);
                }
                Err(undelivered(error, ticket.size))
            }
        };
        ticket.answers.set(ticket.index, answer);
    }
}

/// Only a record that fills a batch of its own was itself refused for its size. A smaller one shared its batch, so a
/// topic with a small limit refused the batch, and the record may yet be taken.
fn undelivered(error: &KafkaError, size: usize) -> AppendError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) if size > BATCH_BYTES_MAX => {
            AppendError::TooLarge { size, max: BATCH_BYTES_MAX }
        }
        Some(code) => AppendError::Unknown(code.to_string()),
        None => AppendError::Unknown(error.to_string()),
    }
}

/// Where the answer for one record belongs.
struct Ticket {
    answers: Arc<Answers>,
    index: usize,
    size: usize,
}

/// The answers of one batch; one waiter is woken once all have come.
struct Answers {
    slots: Vec<OnceLock<Answer>>,
    open: AtomicUsize,
    complete: Notify,
    /// The topic is gone, so what is known about it may be wrong.
    topic_missing: AtomicBool,
}

impl Answers {
    fn new(count: usize) -> Arc<Self> {
        let slots = std::iter::repeat_with(OnceLock::new).take(count).collect();
        Arc::new(Self {
            slots,
            open: AtomicUsize::new(count),
            complete: Notify::new(),
            topic_missing: AtomicBool::new(false),
        })
    }

    fn set(&self, index: usize, answer: Answer) {
        let first = self.slots.get(index).is_some_and(|slot| slot.set(answer).is_ok());
        if first && self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.complete.notify_one();
        }
    }

    async fn all(&self, patience: Duration) -> Vec<Answer> {
        if self.open.load(Ordering::Acquire) > 0 {
            // Elapsed or not, a slot without an answer is an unknown outcome.
            let _ = tokio::time::timeout(patience, self.complete.notified()).await;
        }
        let missing = || Err(AppendError::Unknown("no answer from the Kafka client".to_owned()));
        self.slots.iter().map(|slot| slot.get().cloned().unwrap_or_else(missing)).collect()
    }
}
