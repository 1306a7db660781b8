//! What the end-to-end tests stand on: real Postgres for the whole run, a database of its own for each test, and the
//! log engine that the environment chooses.

use std::{
    path::PathBuf,
    sync::{LazyLock, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, FixedOffset};
use engine::{
    log::{Log, Position, Record},
    postgres::server::Server,
};
use ledger::{config::Config, play::Stage};
use uuid::Uuid;

/// Holds the bootstrap address of a real Kafka when the suites are to run on it; otherwise the log is in Postgres.
pub const KAFKA_VARIABLE: &str = "LEDGER_TEST_KAFKA";

/// Set to `postgres`, it keeps these tests on Postgres although there is a Kafka for others.
pub const LOG_VARIABLE: &str = "LEDGER_TEST_LOG";

/// One server for all tests of this process. It ends with the process.
static SERVER: LazyLock<Server> = LazyLock::new(|| {
    remove_leftovers();
    match Server::start(&folder(std::process::id())) {
        Ok(server) => server,
        Err(error) => panic!("the tests need Postgres: {}", engine::postgres::explain(&error)),
    }
});

fn folder(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("ledger-tests-{pid}"))
}

/// Folders of earlier runs, whose process is gone.
fn remove_leftovers() {
    let Ok(entries) = std::env::temp_dir().read_dir() else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix("ledger-tests-")).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            // Another run may be removing it as well.
            std::fs::remove_dir_all(entry.path()).unwrap_or_default();
        }
    }
}

/// A new, empty database.
pub async fn database() -> Result<String> {
    tokio::task::spawn_blocking(|| {
        let name = format!("t{}", Uuid::new_v4().simple());
        let url = SERVER.url();
        engine::postgres::connect(&url, "ledger tests")?.batch_execute(&format!("create database {name}"))?;
        let (base, _) = url.rsplit_once("/ledger").context("the server's URL names its database")?;
        Ok(format!("{base}/{name}"))
    })
    .await?
}

/// The log engine that this run is about.
pub fn log_url() -> String {
    static TOLD: OnceLock<()> = OnceLock::new();
    let kafka = std::env::var(KAFKA_VARIABLE).ok().filter(|_| std::env::var(LOG_VARIABLE).as_deref() != Ok("postgres"));
    let url = kafka.map_or_else(|| "postgres".to_owned(), |bootstrap| format!("kafka://{bootstrap}"));
    TOLD.get_or_init(|| eprintln!("the log of these tests: {url}"));
    url
}

/// A configuration for one test: its own database, its own topics.
pub async fn config() -> Result<Config> {
    Ok(Config {
        log: log_url(),
        topic_prefix: format!("t{}", Uuid::new_v4().simple()),
        replication: 1,
        postgres_url: database().await?,
        data_dir: folder(std::process::id()),
        secret: "a secret for tests".to_owned(),
        ..Config::default()
    })
}

/// A stage whose time starts on Monday 2025-03-10 at `time` in Shanghai.
pub async fn stage_at(time: &str) -> Result<Stage> {
    Stage::open(config().await?, monday(time)?).await
}

pub fn monday(time: &str) -> Result<DateTime<FixedOffset>> {
    Ok(DateTime::parse_from_rfc3339(&format!("2025-03-10T{time}+08:00"))?)
}

/// Every record of a topic, each partition's in order. Blocks.
pub fn all_records(log: &dyn Log, topic: &str) -> Result<Vec<Record>> {
    let ends = log.ends(topic)?;
    let wanted = usize::try_from(ends.iter().sum::<i64>())?;
    let mut reader = log.reader(topic)?;
    let beginnings: Vec<Position> = (0..).zip(&ends).map(|(partition, _)| Position { partition, offset: 0 }).collect();
    reader.assign(&beginnings)?;
    let (mut records, until) = (Vec::with_capacity(wanted), Instant::now() + Duration::from_secs(60));
    while records.len() < wanted {
        ensure!(Instant::now() < until, "{} of {wanted} records were read", records.len());
        records.extend(reader.poll(wanted - records.len(), Duration::from_millis(200))?);
    }
    Ok(records)
}
