//! Questions to the cluster that read nothing: partitions, ends, offsets by time.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{ANSWER_WAIT, Context, LogError, Settings, asked, misconfigured, refused};

const RETRY_DELAY: Duration = Duration::from_millis(50);

pub(super) struct Queries {
    settings: Settings,
    consumer: RwLock<Arc<BaseConsumer<Context>>>,
    /// Partition counts never change, so each topic's is asked for once.
    partitions: RwLock<HashMap<String, i32>>,
}

/// How a topic is laid out.
pub(super) struct Shape {
    pub(super) partitions: i32,
    pub(super) replication: i32,
    /// Every partition can be written to.
    pub(super) ready: bool,
}

impl Queries {
    pub(super) fn new(settings: &Settings) -> Result<Self, LogError> {
        let consumer = RwLock::new(Arc::new(new_consumer(settings)?));
        Ok(Self { settings: settings.clone(), consumer, partitions: RwLock::default() })
    }

    pub(super) fn consumer(&self) -> Arc<BaseConsumer<Context>> {
        Arc::clone(&self.consumer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A client that reaches nobody may be lost for good, see [`super::LOST_AFTER`].
    fn replace(&self, lost: &Arc<BaseConsumer<Context>>) {
        let mut current = self.consumer.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, lost)
            && let Ok(new) = new_consumer(&self.settings)
        {
            *current = Arc::new(new);
        }
    }

    pub(super) fn known_partitions(&self, topic: &str) -> Option<i32> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).get(topic).copied()
    }

    pub(super) fn partitions(&self, topic: &str) -> Result<i32, LogError> {
        if let Some(known) = self.known_partitions(topic) {
            return Ok(known);
        }
        let partitions = self.shape(topic)?.partitions;
        self.partitions.write().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned(), partitions);
        Ok(partitions)
    }

    /// The topic may have been removed, or made anew.
    pub(super) fn forget(&self, topic: &str) {
        self.partitions.write().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }

    pub(super) fn shape(&self, topic: &str) -> Result<Shape, LogError> {
        let consumer = self.consumer();
        take_events(&consumer);
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER_WAIT).map_err(|error| {
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::BrokerTransportFailure) {
                self.replace(&consumer);
            }
            asked(topic, &error)
        })?;
        let Some(found) = metadata.topics().first() else { return Err(LogError::TopicMissing(topic.to_owned())) };
        if let Some(code) = found.error() {
            return Err(refused(topic, code.into()));
        }
        let partitions = found.partitions();
        Ok(Shape {
            partitions: i32::try_from(partitions.len()).map_err(|error| LogError::Misconfigured(error.to_string()))?,
            replication: partitions.iter().map(|partition| partition.replicas().len() as i32).min().unwrap_or(0),
            ready: !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0),
        })
    }

    /// Whether the cluster takes records now, at least of one topic that is in use here.
    pub(super) fn any_topic_is_ready(&self) -> bool {
        let topics: Vec<String> =
            self.partitions.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        topics.iter().any(|topic| self.shape(topic).is_ok_and(|shape| shape.ready))
    }

    pub(super) fn ends(&self, topic: &str) -> Result<Vec<i64>, LogError> {
        let ends = self.offsets(topic, Offset::End)?;
        let unanswered = || LogError::Unavailable(format!("no end of a partition of {topic}"));
        ends.into_iter().map(|end| end.ok_or_else(unanswered)).collect()
    }

    /// The ends are read first, so that a record appended meanwhile is never skipped.
    pub(super) fn offsets_at(&self, topic: &str, time: DateTime<Utc>) -> Result<Vec<i64>, LogError> {
        let ends = self.ends(topic)?;
        // Kafka knows whole milliseconds, so the next one counts; negative numbers have other meanings.
        let time_ms = time.timestamp_millis();
        let time_ms = if DateTime::from_timestamp_millis(time_ms) < Some(time) { time_ms + 1 } else { time_ms };
        let found = self.offsets(topic, Offset::Offset(time_ms.max(0)))?;
        Ok(found.into_iter().zip(ends).map(|(offset, end)| offset.unwrap_or(end)).collect())
    }

    /// Asks the leaders of all partitions at once, one request for each broker. A partition that is new or has lost its
    /// leader has none for a moment, so the question is repeated for a while.
    fn offsets(&self, topic: &str, at: Offset) -> Result<Vec<Option<i64>>, LogError> {
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            match self.offsets_now(topic, at) {
                Err(LogError::Unavailable(_)) if Instant::now() < deadline => thread::sleep(RETRY_DELAY),
                answer => return answer,
            }
            // Brings the leaders up to date; what it answers, the next question will find.
            let _ = self.shape(topic);
        }
    }

    fn offsets_now(&self, topic: &str, at: Offset) -> Result<Vec<Option<i64>>, LogError> {
        take_events(&self.consumer());
        let partitions = self.partitions(topic)?;
        let listed = self.list(topic, partitions, at).inspect_err(|_| self.forget(topic))?;
        let offset = |partition| match listed.find_partition(topic, partition) {
            Some(element) => {
                element.error().map_err(|error| asked(topic, &error))?;
                Ok(element.offset().to_raw().filter(|offset| *offset >= 0))
            }
            None => Err(LogError::Unavailable(format!("no offset of partition {partition} of {topic}"))),
        };
        (0..partitions).map(offset).collect::<Result<_, LogError>>().inspect_err(|_| self.forget(topic))
    }

    fn list(&self, topic: &str, partitions: i32, at: Offset) -> Result<TopicPartitionList, LogError> {
        let ask = || -> Result<_, KafkaError> {
            let mut wanted = TopicPartitionList::with_capacity(partitions as usize);
            for partition in 0..partitions {
                wanted.add_partition_offset(topic, partition, at)?;
            }
            self.consumer().offsets_for_times(wanted, ANSWER_WAIT)
        };
        ask().map_err(|error| asked(topic, &error))
    }
}

fn new_consumer(settings: &Settings) -> Result<BaseConsumer<Context>, LogError> {
    settings.client(&[], &[]).create_with_context(Context::default()).map_err(misconfigured)
}

/// Log lines and errors wait in the client's queue until somebody polls; nobody else does.
fn take_events(consumer: &BaseConsumer<Context>) {
    while consumer.poll(Duration::ZERO).is_some() {}
}
