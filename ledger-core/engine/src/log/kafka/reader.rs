//! Reads partitions of a Kafka topic from given offsets. librdkafka never moves an offset: what it cannot continue comes
//! back as an error.

use std::{
    collections::BTreeMap,
    mem, thread,
    time::{Duration, Instant},
};

use chrono::DateTime;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};

use super::{ANSWER_WAIT, Context, LogError, Position, Reader, Settings, asked, misconfigured, native, warn};
use crate::log::{POLL_BYTES_MAX, Record};

pub(super) struct KafkaReader {
    settings: Settings,
    consumer: BaseConsumer<Context>,
    topic: String,
    /// The offset that each assigned partition goes on from.
    next: BTreeMap<i32, i64>,
    /// An error that came after records which were still good, or that lasts until the next assignment.
    failed: Option<LogError>,
}

impl KafkaReader {
    pub(super) fn new(settings: &Settings, topic: &str) -> Result<Self, LogError> {
        Ok(Self {
            settings: settings.clone(),
            consumer: new_consumer(settings)?,
            topic: topic.to_owned(),
            next: BTreeMap::new(),
            failed: None,
        })
    }

    fn assign_next(&self) -> Result<(), KafkaError> {
        let mut partitions = TopicPartitionList::with_capacity(self.next.len());
        for (partition, offset) in &self.next {
            partitions.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset))?;
        }
        self.consumer.assign(&partitions)
    }

    /// Another consumer goes on from where a lost one stood.
    fn replace_if_lost(&mut self) {
        if self.consumer.context().is_lost()
            && let Ok(new) = new_consumer(&self.settings)
        {
            let text =
                format!("a reader of {} has read nothing since it lost all brokers, so it is replaced", self.topic);
            warn("LOST", &text);
            let lost = mem::replace(&mut self.consumer, new);
            // Dropping waits for librdkafka's threads.
            thread::spawn(move || drop(lost));
            if let Err(error) = self.assign_next() {
                self.failed = Some(asked(&self.topic, &error));
            }
        }
    }

    /// What an error of the consumer means for the caller; nothing, if librdkafka tries again by itself.
    fn judge(&self, error: &KafkaError) -> Option<LogError> {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation) => Some(self.out_of_range()),
            // The group is never joined, so a right to it is not needed.
            Some(Code::GroupAuthorizationFailed) => None,
            _ => match asked(&self.topic, error) {
                LogError::Unavailable(_) => None,
                lasting => Some(lasting),
            },
        }
    }

    /// The error does not say which partition it is about, so each is compared with what the log has.
    fn out_of_range(&self) -> LogError {
        for (&partition, &offset) in &self.next {
            match self.consumer.fetch_watermarks(&self.topic, partition, ANSWER_WAIT) {
                Ok((first, end)) if !(first..=end).contains(&offset) => {
                    return LogError::OutOfRange { position: Position { partition, offset }, first, end };
                }
                Ok(_) => {}
                Err(error) => return asked(&self.topic, &error),
            }
        }
        LogError::Unavailable("the log had lost an offset for a moment".to_owned())
    }

    /// A stopped partition stays stopped in librdkafka, so an error that may pass needs a fresh start from where we are.
    fn report(&mut self) -> Result<Vec<Record>, LogError> {
        match &self.failed {
            Some(LogError::Unavailable(_)) => {
                let passing = self.failed.take();
                self.assign_next().map_err(|error| asked(&self.topic, &error))?;
                passing.map_or(Ok(Vec::new()), Err)
            }
            Some(lasting) => Err(lasting.clone()),
            None => Ok(Vec::new()),
        }
    }
}

impl Reader for KafkaReader {
    fn assign(&mut self, from: &[Position]) -> Result<(), LogError> {
        self.failed = None;
        self.next = from.iter().map(|position| (position.partition, position.offset)).collect();
        if let Some((&partition, &offset)) = self.next.iter().find(|(_, offset)| **offset < 0) {
            // To librdkafka a negative offset is a word for the beginning or the end.
            self.failed = Some(LogError::OutOfRange { position: Position { partition, offset }, first: 0, end: 0 });
            return self.consumer.unassign().map_err(|error| asked(&self.topic, &error));
        }
        self.assign_next().map_err(|error| asked(&self.topic, &error))
    }

    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Record>, LogError> {
        let deadline = Instant::now() + wait;
        let mut records = Vec::new();
        let mut bytes = 0;
        while self.failed.is_none() && records.len() < max && bytes < POLL_BYTES_MAX {
            let patience =
                if records.is_empty() { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match self.consumer.poll(patience) {
                Some(Ok(message)) => {
                    let record = record(&message);
                    bytes += record.value.len();
                    self.next.insert(record.position.partition, record.position.offset + 1);
                    records.push(record);
                    // Here, for an error may come in the same poll.
                    self.consumer.context().delivered();
                }
                Some(Err(error)) => self.failed = self.judge(&error),
                None => break,
            }
        }
        if !records.is_empty() || max == 0 {
            return Ok(records);
        }
        self.replace_if_lost();
        self.report()
    }
}

fn new_consumer(settings: &Settings) -> Result<BaseConsumer<Context>, LogError> {
    let defaults = [
        // Needed by `assign`, although no group is ever joined.
        ("group.id", "ledger"),
        // What lies ready in memory, for all partitions together. A fetch counts compressed bytes, and each record
        // costs librdkafka some hundred bytes beside its own; 70 MB in all were seen while catching up.
        ("queued.max.messages.kbytes", "8192"),
        // A partition is fetched again once what came of it has been taken. Fetching ahead would cost a request for every
        // few records that somebody appends, and is not needed: the next answer comes while a batch is applied.
        ("queued.min.messages", "1"),
        ("fetch.max.bytes", "4194304"),
        ("fetch.message.max.bytes", "2097152"),
        ("fetch.queue.backoff.ms", "5"),
        // The broker answers as soon as there is a record; this only bounds how long an empty fetch stays open,
        // and with it how long a new assignment waits.
        ("fetch.wait.max.ms", "100"),
        ("fetch.error.backoff.ms", "100"),
    ];
    let fixed = [
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "error"),
        ("isolation.level", "read_uncommitted"),
        ("check.crcs", "true"),
    ];
    settings.client(&defaults, &fixed).create_with_context(Context::default()).map_err(misconfigured)
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    Record {
        position: Position { partition: message.partition(), offset: message.offset() },
        timestamp: message
            .timestamp()
            .to_millis()
            .and_then(DateTime::from_timestamp_millis)
            .unwrap_or(DateTime::UNIX_EPOCH),
        key: message.key().unwrap_or_default().to_vec(),
        headers: native::headers(message),
        value: message.payload().unwrap_or_default().to_vec(),
    }
}
