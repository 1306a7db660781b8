//! What a test works with: a door of its own, with a database and a log of its own.

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode, header},
};
use chrono::DateTime;
use deadpool_postgres::Pool;
use engine::{
    clock::Clock,
    log::{Log, Position, Record, TopicSpec, memory::MemoryLog},
    postgres::{connect, migrate, pool, server::Server},
};
use rules::policy::Policy;
use schemas::Event;
use serde_json::Value;
use tower::ServiceExt;
use uuid::Uuid;

use crate::{
    channels::{self, Channels, ChannelsConfig},
    door::{Client, Door, DoorConfig, router, webhooks},
    token::Tokens,
};

pub const TOPIC: &str = "ledger.events";

/// One server for all tests of this process; it ends with the process.
static SERVER: LazyLock<Server> = LazyLock::new(|| {
    remove_leftovers();
    Server::start(&folder(std::process::id())).unwrap()
});

const FOLDER: &str = "ledger-producers-tests-";

fn folder(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("{FOLDER}{pid}"))
}

/// Folders of earlier runs, whose process is gone.
fn remove_leftovers() {
    for entry in std::env::temp_dir().read_dir().unwrap().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(FOLDER)).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            // Another run may be removing it as well.
            std::fs::remove_dir_all(entry.path()).unwrap_or_default();
        }
    }
}

/// The URL of a new database with the producers' tables. Blocks.
pub fn database() -> String {
    let name = format!("t{}", Uuid::new_v4().simple());
    connect(&SERVER.url(), "tests").unwrap().batch_execute(&format!("create database {name}")).unwrap();
    let url = format!("{}/{name}", SERVER.url().rsplit_once("/ledger").unwrap().0);
    let mut client = connect(&url, "tests").unwrap();
    migrate(&mut client, "engine", engine::MIGRATIONS).unwrap();
    migrate(&mut client, "producers", crate::MIGRATIONS).unwrap();
    url
}

pub fn memory_log(topics: &[&str]) -> MemoryLog {
    let log = MemoryLog::new(1, Clock::simulated(DateTime::UNIX_EPOCH));
    for topic in topics {
        let spec = TopicSpec { name: (*topic).into(), partitions: 3, replication: 1, settings: Default::default() };
        log.apply(&spec).unwrap();
    }
    log
}

/// Everything that stands in a topic.
pub fn records(log: &dyn Log, topic: &str) -> Vec<Record> {
    let from: Vec<Position> = (0..3).map(|partition| Position { partition, offset: 0 }).collect();
    let mut reader = log.reader(topic).unwrap();
    reader.assign(&from).unwrap();
    reader.poll(1000, Duration::ZERO).unwrap()
}

pub fn event(record: &Record) -> Event {
    record.event().unwrap()
}

pub struct Bed {
    pub log: MemoryLog,
    pub pool: Pool,
    pub tokens: Tokens,
    router: Router,
}

impl Bed {
    pub async fn new() -> Self {
        let url = tokio::task::spawn_blocking(database).await.unwrap();
        Self::at(&url, &channels::tests::config())
    }

    /// A door that takes notices by these settings.
    pub async fn with_channels(config: &ChannelsConfig) -> Self {
        let url = tokio::task::spawn_blocking(database).await.unwrap();
        Self::at(&url, config)
    }

    /// A door whose Postgres does not answer: whatever it refuses by itself needs none.
    pub fn without_postgres() -> Self {
        Self::at("postgres://nobody@127.0.0.1:1/nowhere", &channels::tests::config())
    }

    fn at(url: &str, channels: &ChannelsConfig) -> Self {
        let (log, pool, tokens) = (memory_log(&[TOPIC]), pool(url, "tests", 4).unwrap(), Tokens::new("a secret"));
        let clients = [
            ("pos", vec!["/channels/ums-pos"]),
            ("acquirer", vec!["/channels/ums-pos", "/channels/unionpay-cqp"]),
            ("cdb", vec!["/banks/cdb"]),
            ("li", vec!["/operators/li"]),
        ];
        let client = |(name, sources): (&str, Vec<&str>)| Client {
            name: name.into(),
            token: format!("{name}-token"),
            sources: sources.iter().map(|source| source.parse().unwrap()).collect(),
        };
        let config = DoorConfig {
            clients: clients.into_iter().map(client).collect(),
            answer_timeout_ms: 300,
            append_timeout_ms: 500,
            body_bytes_max: 2 << 20,
            ..DoorConfig::default()
        };
        let clock = Clock::simulated(DateTime::parse_from_rfc3339("2025-03-10T10:00:00+08:00").unwrap().to_utc());
        let door =
            Door::new(config, Arc::new(log.clone()), TOPIC, clock, pool.clone(), tokens.clone(), Policy::default());
        let channels = Channels::open(channels, &Policy::default()).unwrap();
        Self { log, pool, tokens, router: router(door.clone(), webhooks(door, channels)) }
    }

    /// Serves the door, for those who call it over a socket, and gives its address.
    pub async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = self.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn get(&self, client: &str, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {client}-token"));
        read(self.send(request.body(Body::empty()).unwrap()).await).await
    }

    pub async fn post(
        &self,
        client: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> (StatusCode, Value) {
        let mut request = Request::post(path).header(header::AUTHORIZATION, format!("Bearer {client}-token"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(self.send(request.body(body.into()).unwrap()).await).await
    }

    pub async fn post_event(&self, client: &str, event: &Value) -> (StatusCode, Value) {
        let headers = [("content-type", "application/cloudevents+json")];
        self.post(client, "/v1/events", &headers, event.to_string()).await
    }

    pub async fn post_batch(&self, client: &str, events: &[Value]) -> (StatusCode, Value) {
        let headers = [("content-type", "application/cloudevents-batch+json")];
        self.post(client, "/v1/events", &headers, Value::from(events).to_string()).await
    }

    /// What the log of facts holds.
    pub fn events(&self) -> Vec<Event> {
        records(&self.log, TOPIC).iter().map(event).collect()
    }

    pub async fn execute(&self, sql: &str) {
        self.pool.get().await.unwrap().batch_execute(sql).await.unwrap();
    }
}

/// Status and body; a problem must say so in its content type.
pub async fn read(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let body: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    if body.get("code").is_some() && !status.is_success() {
        assert_eq!(content_type.as_deref(), Some("application/problem+json"));
        assert_eq!(body["status"], status.as_u16());
    }
    (status, body)
}
