//! Topics and their heads: what is asked and done without reading records.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use postgres::{Client, Transaction};
use serde_json::Value;

use super::{LogError, TIMESTAMP_TYPE, TopicInfo, TopicSpec, failed};

/// The topic's number and its partitions.
pub(super) fn find(client: &mut Client, topic: &str) -> Result<(i32, i32), LogError> {
    let row = client
        .query_opt("SELECT topic_id, partitions FROM log.topic WHERE name = $1", &[&topic])
        .map_err(|error| failed(&error))?;
    let row = row.ok_or_else(|| LogError::TopicMissing(topic.to_owned()))?;
    Ok((row.get(0), row.get(1)))
}

/// Records have their time before they are committed, so this waits for whoever is appending (but not for one that
/// hangs): what is not before these ends will have a later time than the question.
pub(super) fn ends(client: &mut Client, topic: &str) -> Result<Vec<i64>, LogError> {
    let question = "
        SELECT next_offset FROM log.head JOIN log.topic USING (topic_id) WHERE name = $1
        ORDER BY partition FOR SHARE OF head";
    let mut ask = || {
        let mut transaction = client.transaction()?;
        transaction.batch_execute("SET LOCAL lock_timeout = '500ms'")?;
        let ends = transaction.query(question, &[&topic])?;
        transaction.commit()?;
        Ok(ends)
    };
    offsets(ask(), topic)
}

fn offsets(rows: Result<Vec<postgres::Row>, postgres::Error>, topic: &str) -> Result<Vec<i64>, LogError> {
    match rows.map_err(|error| failed(&error))? {
        rows if rows.is_empty() => Err(LogError::TopicMissing(topic.to_owned())),
        rows => Ok(rows.iter().map(|row| row.get(0)).collect()),
    }
}

/// The log's clock never goes back within a partition, so the first record at or after a time is found by halving.
const SEARCH: &str = r#"
    WITH RECURSIVE search AS (
        SELECT topic_id, partition, 0::bigint AS low, next_offset AS high FROM log.head WHERE topic_id = $1
        UNION ALL
        SELECT topic_id, partition,
               CASE WHEN "timestamp" < $2 THEN "offset" + 1 ELSE low END,
               CASE WHEN "timestamp" < $2 THEN high ELSE "offset" END
        FROM search JOIN log.record USING (topic_id, partition)
        WHERE low < high AND "offset" = (low + high) / 2
    )
    SELECT low FROM search WHERE low = high ORDER BY partition"#;

/// Producers' times may go back, so here every record before the answer is looked at.
const SCAN: &str = r#"
    SELECT coalesce(
        (SELECT "offset" FROM log.record AS r
         WHERE r.topic_id = h.topic_id AND r.partition = h.partition AND "offset" < next_offset AND "timestamp" >= $2
         ORDER BY "offset" LIMIT 1),
        next_offset)
    FROM log.head AS h WHERE topic_id = $1 ORDER BY partition"#;

pub(super) fn offsets_at(client: &mut Client, topic: &str, time: DateTime<Utc>) -> Result<Vec<i64>, LogError> {
    let (topic_id, _) = find(client, topic)?;
    let kept = "SELECT settings ->> $2 = 'CreateTime' FROM log.topic WHERE topic_id = $1";
    let producers_time: Option<bool> =
        client.query_one(kept, &[&topic_id, &TIMESTAMP_TYPE]).map_err(|error| failed(&error))?.get(0);
    let question = if producers_time == Some(true) { SCAN } else { SEARCH };
    offsets(client.query(question, &[&topic_id, &time]), topic)
}

pub(super) fn describe(client: &mut Client, topic: &str) -> Result<TopicInfo, LogError> {
    let question = "SELECT system_identifier, identity::text, partitions, settings FROM log.topic, pg_control_system() WHERE name = $1";
    let row = client.query_opt(question, &[&topic]).map_err(|error| failed(&error))?;
    let row = row.ok_or_else(|| LogError::TopicMissing(topic.to_owned()))?;
    let (system, identity): (i64, String) = (row.get(0), row.get(1));
    Ok(TopicInfo {
        identity: format!("postgres:{system}/{identity}"),
        partitions: row.get(2),
        replication: 1,
        settings: settings(row.get(3))?,
    })
}

fn settings(stored: Value) -> Result<BTreeMap<String, String>, LogError> {
    serde_json::from_value(stored).map_err(|error| LogError::Misconfigured(format!("settings of a topic: {error}")))
}

pub(super) fn apply(client: &mut Client, spec: &TopicSpec) -> Result<(), LogError> {
    let settings: Value =
        spec.settings.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let apply = |transaction: &mut Transaction<'_>| -> Result<i32, postgres::Error> {
        let create = "INSERT INTO log.topic (name, partitions, settings) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING RETURNING topic_id";
        if let Some(created) = transaction.query_opt(create, &[&spec.name, &spec.partitions, &settings])? {
            let topic_id: i32 = created.get(0);
            let heads = "INSERT INTO log.head (topic_id, partition) SELECT $1, generate_series(0, $2 - 1)";
            transaction.execute(heads, &[&topic_id, &spec.partitions])?;
            return Ok(spec.partitions);
        }
        let update = "UPDATE log.topic SET settings = settings || $2 WHERE name = $1 RETURNING partitions";
        Ok(transaction.query_one(update, &[&spec.name, &settings])?.get(0))
    };
    if spec.partitions < 1 {
        return Err(LogError::Misconfigured(format!("topic {}: {} partitions", spec.name, spec.partitions)));
    }
    let mut transaction = client.transaction().map_err(|error| failed(&error))?;
    let partitions = apply(&mut transaction).map_err(|error| failed(&error))?;
    if partitions != spec.partitions {
        let text = format!(
            "topic {} has {partitions} partitions, not {}; that is never changed here",
            spec.name, spec.partitions
        );
        return Err(LogError::Misconfigured(text));
    }
    transaction.commit().map_err(|error| failed(&error))
}
