//! Topics of a Kafka cluster: how they are, and bringing them to how they should be.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use futures_executor::block_on;
use rdkafka::{
    admin::{
        AdminClient, AdminOptions, AlterConfig, ConfigEntry, ConfigSource, NewTopic, ResourceSpecifier,
        TopicReplication,
    },
    consumer::Consumer as _,
    error::RDKafkaErrorCode,
};

use super::{
    ANSWER_WAIT, Context, LogError, Queries, Settings, TopicInfo, TopicSpec, asked, misconfigured, native, refused,
};

pub(super) fn describe(settings: &Settings, queries: &Queries, topic: &str) -> Result<TopicInfo, LogError> {
    let shape = queries.shape(topic)?;
    let entries = configs(&client(settings)?, topic)?;
    Ok(TopicInfo {
        identity: identity(queries, topic)?,
        partitions: shape.partitions,
        replication: shape.replication,
        settings: entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect(),
    })
}

/// `kafka:<cluster>/<topic id>`. Clusters before Kafka 2.8 know no topic ids; there the name stands in, so a topic made
/// anew is not noticed.
fn identity(queries: &Queries, topic: &str) -> Result<String, LogError> {
    let consumer = queries.consumer();
    let cluster = consumer
        .client()
        .fetch_cluster_id(ANSWER_WAIT)
        .ok_or_else(|| LogError::Unavailable("no cluster id".to_owned()))?;
    let topic = match native::topic_id(consumer.client(), topic, ANSWER_WAIT).map_err(|code| refused(topic, code))? {
        Some(id) => id,
        None => format!("name/{topic}"),
    };
    Ok(format!("kafka:{cluster}/{topic}"))
}

pub(super) fn apply(settings: &Settings, queries: &Queries, spec: &TopicSpec) -> Result<(), LogError> {
    match queries.shape(&spec.name) {
        Ok(shape) => {
            let same = |what: &str, is: i32, wanted: i32| match is == wanted {
                true => Ok(()),
                false => Err(LogError::Misconfigured(format!(
                    "topic {} has {is} {what}, not {wanted}; that is never changed here",
                    spec.name
                ))),
            };
            same("partitions", shape.partitions, spec.partitions)?;
            same("copies", shape.replication, spec.replication)?;
            alter(&client(settings)?, spec)
        }
        Err(LogError::TopicMissing(_)) => {
            create(&client(settings)?, spec)?;
            wait_until_ready(queries, &spec.name)
        }
        Err(error) => Err(error),
    }
}

fn create(client: &AdminClient<Context>, spec: &TopicSpec) -> Result<(), LogError> {
    let mut topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(spec.replication));
    for (name, value) in &spec.settings {
        topic = topic.set(name, value);
    }
    let results = block_on(client.create_topics([&topic], &options())).map_err(|error| asked(&spec.name, &error))?;
    for result in results {
        match result {
            // Somebody else was faster; the next `apply` compares.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, RDKafkaErrorCode::InvalidReplicationFactor)) => {
                return Err(LogError::Misconfigured(format!(
                    "the cluster has not enough brokers for {} copies of {}: LEDGER_REPLICATION says how many there are",
                    spec.replication, spec.name
                )));
            }
            Err((_, code)) => return Err(refused(&spec.name, code)),
        }
    }
    Ok(())
}

/// A topic is created before its partitions have leaders, and before all brokers know it.
fn wait_until_ready(queries: &Queries, topic: &str) -> Result<(), LogError> {
    let deadline = Instant::now() + ANSWER_WAIT;
    loop {
        let answer = match queries.shape(topic) {
            // The metadata may name a leader that does not know of it yet, so it has to answer for itself.
            Ok(shape) if shape.ready => queries.ends(topic).map(drop),
            Ok(_) => Err(LogError::Unavailable(format!("topic {topic} has partitions without a leader"))),
            Err(error) => Err(error),
        };
        match answer {
            Err(LogError::TopicMissing(_) | LogError::Unavailable(_)) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(50));
            }
            answer => return answer,
        }
    }
}

/// Kafka's request replaces all settings that a topic has of its own, so those that `spec` does not name are sent along.
fn alter(client: &AdminClient<Context>, spec: &TopicSpec) -> Result<(), LogError> {
    let entries = configs(client, &spec.name)?;
    let is = |name: &str| entries.iter().find(|entry| entry.name == name).and_then(|entry| entry.value.as_deref());
    if spec.settings.iter().all(|(name, value)| is(name) == Some(value)) {
        return Ok(());
    }
    let own = entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
    let mut wanted: BTreeMap<&str, &str> =
        own.filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?))).collect();
    wanted.extend(spec.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));

    let mut change = AlterConfig::new(ResourceSpecifier::Topic(&spec.name));
    for (name, value) in wanted {
        change = change.set(name, value);
    }
    let results = block_on(client.alter_configs([&change], &options())).map_err(|error| asked(&spec.name, &error))?;
    results.into_iter().try_for_each(|result| result.map(drop).map_err(|(_, code)| refused(&spec.name, code)))
}

fn configs(client: &AdminClient<Context>, topic: &str) -> Result<Vec<ConfigEntry>, LogError> {
    let wanted = ResourceSpecifier::Topic(topic);
    let results = block_on(client.describe_configs([&wanted], &options())).map_err(|error| asked(topic, &error))?;
    let resource = results.into_iter().next().ok_or_else(|| LogError::TopicMissing(topic.to_owned()))?;
    Ok(resource.map_err(|code| refused(topic, code))?.entries)
}

/// Made for each call: its events are polled by nobody, so it must not live long.
fn client(settings: &Settings) -> Result<AdminClient<Context>, LogError> {
    settings.client(&[], &[]).create_with_context(Context::default()).map_err(misconfigured)
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_WAIT)).operation_timeout(Some(ANSWER_WAIT))
}
