//! The log on Apache Kafka, through librdkafka.
//!
//! One idempotent producer, one client for questions, and a consumer of its own for each reader. Readers are placed by
//! leases in Postgres and read from the offsets of the fence, so no group protocol is used and nothing is committed
//! here. No error ever moves an offset.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{AppendError, Log, LogError, NewRecord, Position, RECORD_BYTES_MAX, Reader, TopicInfo, TopicSpec};

mod admin;
mod native;
mod producer;
mod queries;
mod reader;

use producer::Appender;
use queries::Queries;
use reader::KafkaReader;

/// How long a question to the cluster may take.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// A client that has lost all brokers, and for this long delivered or read nothing since, is replaced by another.
///
/// A broker that is alone, and was frozen for longer than its session, says for a moment that the cluster has no broker.
/// librdkafka then forgets every address, those of the URL too, and may never ask again (confluentinc/librdkafka#5301).
/// It finds a living broker again within a second, see `reconnect.backoff.max.ms`.
const LOST_AFTER: Duration = Duration::from_secs(5);

pub struct KafkaLog {
    settings: Settings,
    queries: Arc<Queries>,
    appender: Arc<Appender>,
}

impl KafkaLog {
    /// Connects lazily: brokers that are away are waited for by each call. `extra` holds further settings of
    /// librdkafka; one that would weaken the log's promises is refused.
    pub fn connect(bootstrap: &str, extra: &BTreeMap<String, String>) -> Result<Self, LogError> {
        let settings = Settings::new(bootstrap, extra)?;
        let queries = Arc::new(Queries::new(&settings)?);
        let appender = Appender::new(settings.clone(), Arc::clone(&queries))?;
        Ok(Self { settings, queries, appender })
    }
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The settings may hold a password.
        f.debug_struct("KafkaLog").field("bootstrap", &self.settings.bootstrap).finish_non_exhaustive()
    }
}

impl Log for KafkaLog {
    fn append<'a>(
        &'a self,
        topic: &'a str,
        records: Vec<NewRecord>,
    ) -> BoxFuture<'a, Vec<Result<Position, AppendError>>> {
        Box::pin(self.appender.append(topic, records))
    }

    fn reader(&self, topic: &str) -> Result<Box<dyn Reader>, LogError> {
        self.queries.partitions(topic)?;
        Ok(Box::new(KafkaReader::new(&self.settings, topic)?))
    }

    fn ends(&self, topic: &str) -> Result<Vec<i64>, LogError> {
        self.queries.ends(topic)
    }

    fn offsets_at(&self, topic: &str, time: DateTime<Utc>) -> Result<Vec<i64>, LogError> {
        self.queries.offsets_at(topic, time)
    }

    fn describe(&self, topic: &str) -> Result<TopicInfo, LogError> {
        admin::describe(&self.settings, &self.queries, topic)
    }

    fn apply(&self, spec: &TopicSpec) -> Result<(), LogError> {
        admin::apply(&self.settings, &self.queries, spec)
    }
}

/// What all clients of one log share.
#[derive(Clone)]
struct Settings {
    bootstrap: String,
    extra: BTreeMap<String, String>,
}

/// The promises of the log rest on these, so no URL may change them.
const FIXED: [&str; 8] = [
    "acks",
    "request.required.acks",
    "enable.idempotence",
    "enable.auto.commit",
    "auto.offset.reset",
    "isolation.level",
    "check.crcs",
    "delivery.report.only.error",
];

impl Settings {
    fn new(bootstrap: &str, extra: &BTreeMap<String, String>) -> Result<Self, LogError> {
        if let Some(key) = extra.keys().find(|key| FIXED.contains(&key.as_str())) {
            let text = format!("the Kafka setting {key} is fixed; remove it from the log's URL");
            return Err(LogError::Misconfigured(text));
        }
        if let Some(key) = extra.iter().find_map(needs_tls).filter(|_| !cfg!(feature = "kafka-tls")) {
            let text = format!(
                "the Kafka setting {key} needs TLS or SCRAM, which this program was built without; build it with \
                 `cargo build --release --features kafka-tls`"
            );
            return Err(LogError::Misconfigured(text));
        }
        Ok(Self { bootstrap: bootstrap.to_owned(), extra: extra.clone() })
    }

    /// The largest record, in bytes by [`NewRecord::size`].
    fn record_bytes_max(&self) -> usize {
        self.extra.get("message.max.bytes").and_then(|text| text.parse().ok()).unwrap_or(RECORD_BYTES_MAX)
    }

    /// A client with `defaults`, which the URL may change, and `fixed` settings, which it may not.
    fn client(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let record_bytes_max = self.record_bytes_max().to_string();
        let shared = [
            ("client.id", "ledger"),
            ("message.max.bytes", &record_bytes_max),
            // A broker that comes back is found again within a second.
            ("reconnect.backoff.max.ms", "1000"),
            ("socket.keepalive.enable", "true"),
            // A right or a topic that was missing is noticed within this time.
            ("topic.metadata.refresh.interval.ms", "30000"),
            // A misspelt topic is an error, never a new topic.
            ("allow.auto.create.topics", "false"),
        ];
        let extra = self.extra.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        for (key, value) in shared.into_iter().chain(defaults.iter().copied()).chain(extra).chain(fixed.iter().copied())
        {
            config.set(key, value);
        }
        config
    }
}

/// The name of a setting that librdkafka understands only with OpenSSL.
fn needs_tls<'a>((key, value): (&'a String, &String)) -> Option<&'a str> {
    let value = value.to_ascii_uppercase();
    let needs = match key.as_str() {
        "security.protocol" => value.ends_with("SSL"),
        "sasl.mechanism" | "sasl.mechanisms" => value.starts_with("SCRAM"),
        other => other.starts_with("ssl."),
    };
    needs.then_some(key)
}

/// Passes on what librdkafka has to say, and knows whether the client reaches anybody.
#[derive(Default)]
struct Context {
    /// When the last broker was lost, unless a record was delivered or read since.
    alone_since: Mutex<Option<Instant>>,
}

impl Context {
    fn alone_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.alone_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delivered(&self) {
        *self.alone_since() = None;
    }

    /// See [`LOST_AFTER`].
    fn is_lost(&self) -> bool {
        self.alone_since().is_some_and(|since| since.elapsed() > LOST_AFTER)
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.alone_since().get_or_insert_with(Instant::now);
        }
        warn(&error.to_string(), reason);
    }
}

impl ConsumerContext for Context {}

/// While a broker is away, each client says so every second; one line of a kind in half a minute is enough.
fn warn(kind: &str, message: &str) {
    static TOLD: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());
    let now = Instant::now();
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.get(kind).is_some_and(|last| now - *last < Duration::from_secs(30)) {
        tracing::debug!(target: "librdkafka", "{kind}: {message}");
    } else {
        tracing::warn!(target: "librdkafka", "{kind}: {message}");
        told.insert(kind.to_owned(), now);
    }
}

fn forward(level: RDKafkaLogLevel, facility: &str, message: &str) {
    // The URL's settings go to all clients, so some are not for this one.
    if facility.ends_with("CONFWARN") && message.contains("will be ignored by this") {
        return;
    }
    use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
    match level {
        // librdkafka calls a broker that is away an error; it reconnects by itself, so for us it is a warning.
        Emerg | Alert | Critical | Error | Warning => warn(facility, message),
        Notice | Info => tracing::info!(target: "librdkafka", "{facility}: {message}"),
        Debug => tracing::debug!(target: "librdkafka", "{facility}: {message}"),
    }
}

/// A client that cannot be made has a wrong setting; nothing has been sent yet.
fn misconfigured(error: KafkaError) -> LogError {
    LogError::Misconfigured(format!("Kafka client: {error}"))
}

/// What an error of the cluster means for whoever asked about `topic`.
fn asked(topic: &str, error: &KafkaError) -> LogError {
    match error.rdkafka_error_code() {
        Some(code) => refused(topic, code),
        None => LogError::Unavailable(error.to_string()),
    }
}

fn refused(topic: &str, code: RDKafkaErrorCode) -> LogError {
    use RDKafkaErrorCode as Code;
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopicId => {
            LogError::TopicMissing(topic.to_owned())
        }
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::InvalidTopic
        | Code::InvalidConfig
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::PolicyViolation => LogError::Misconfigured(format!("topic {topic}: {code}")),
        _ => LogError::Unavailable(code.to_string()),
    }
}
