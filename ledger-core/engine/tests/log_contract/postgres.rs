//! The engine on a real Postgres, started for this run.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use ledger_engine::{
    log::{Log, LogError, postgres::PostgresLog},
    postgres::{connect, migrate, server::Server},
};

use super::{
    bed::{Bed, Engine, numbered},
    outage::nothing_is_lost_while,
};

/// A database with a log, on a server that lives as long as somebody holds it.
pub struct Postgres {
    url: String,
    server: Arc<Server>,
}

/// One server for all cases. Its folder stays for the next run; each run has a database of its own.
fn server(folder: &str) -> Arc<Server> {
    Arc::new(Server::start(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder)).unwrap())
}

impl Postgres {
    pub fn shared() -> Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Postgres::on(server("log-contract")));
        Self { url: shared.url.clone(), server: Arc::clone(&shared.server) }
    }

    /// A new database with the log's tables. Those of earlier runs are dropped, unless one still goes on.
    fn on(server: Arc<Server>) -> Self {
        let mut client = connect(&server.url(), "contract").unwrap();
        let old = "SELECT datname FROM pg_database AS d WHERE datname LIKE 'contract%'
            AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.datname = d.datname)";
        for row in client.query(old, &[]).unwrap() {
            client.batch_execute(&format!("DROP DATABASE IF EXISTS {}", row.get::<_, &str>(0))).unwrap();
        }
        let name = format!("contract_{}", std::process::id());
        client.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        let url = with_database(&server.url(), &name);
        let sql = include_str!("../../migrations/V1__log.sql");
        migrate(&mut connect(&url, "contract").unwrap(), "engine", &[("V1__log", sql)]).unwrap();
        Self { url, server }
    }

    fn admin(&self) -> postgres::Client {
        connect(&self.url, "contract").unwrap()
    }
}

/// The server's URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (path, query) = url.split_once('?').map_or((url, String::new()), |(path, query)| (path, format!("?{query}")));
    let (server, _) = path.rsplit_once('/').unwrap();
    format!("{server}/{name}{query}")
}

impl Engine for Postgres {
    fn connect(&self) -> Arc<dyn Log> {
        Arc::new(PostgresLog::connect(&self.url).unwrap())
    }

    fn remove(&self, topic: &str) {
        assert_eq!(self.admin().execute("DELETE FROM log.topic WHERE name = $1", &[&topic]).unwrap(), 1);
    }
}

#[test]
fn the_engine_goes_away_and_comes_back() {
    let postgres = Postgres::on(server("log-contract-outage"));
    let (server, url) = (Arc::clone(&postgres.server), postgres.url.clone());
    nothing_is_lost_while(&Bed::new("outage", Box::new(postgres)), move || {
        let mut admin = connect(&url, "contract").unwrap();
        let mut terminated = 0;
        for _ in 0..10 {
            let terminate =
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'ledger log%'";
            terminated += admin.execute(terminate, &[]).unwrap();
            thread::sleep(Duration::from_millis(150));
        }
        assert!(terminated >= 10, "writer and reader had come back in between");
        for _ in 0..3 {
            let pid = server.pid().unwrap().to_string();
            assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
            thread::sleep(Duration::from_millis(100));
            while connect(&url, "contract").is_err() {
                thread::sleep(Duration::from_millis(20));
            }
            thread::sleep(Duration::from_millis(400));
        }
    });
}

#[test]
fn a_record_is_never_changed() {
    let postgres = Postgres::shared();
    let mut admin = postgres.admin();
    let bed = Bed::new("immutable", Box::new(postgres));
    bed.append(&bed.topic(1), numbered(2, 1));
    for statement in ["DELETE FROM log.record", "UPDATE log.record SET value = ''", "TRUNCATE log.record"] {
        let error = admin.batch_execute(statement).unwrap_err();
        assert_eq!(error.as_db_error().unwrap().message(), "the log is never changed", "{statement}");
    }
}

/// Somebody with the rights of the owner can still take records away. A reader must not pass over the hole.
#[test]
fn a_hole_in_a_partition_stops_the_reader() {
    let postgres = Postgres::shared();
    let mut admin = postgres.admin();
    let bed = Bed::new("hole", Box::new(postgres));
    let topic = bed.topic(1);
    bed.append(&topic, numbered(10, 1));
    for (hole, first) in [(4, 5), (9, 10)] {
        let remove = format!(
            "SET session_replication_role = replica;
             DELETE FROM log.record USING log.topic AS t WHERE record.topic_id = t.topic_id AND name = '{topic}' AND \"offset\" = {hole};
             SET session_replication_role = origin"
        );
        admin.batch_execute(&remove).unwrap();
        let mut reader = bed.log.reader(&topic).unwrap();
        let position = super::bed::at(0, hole);
        reader.assign(&[position]).unwrap();
        let error = reader.poll(100, Duration::from_millis(100)).unwrap_err();
        assert_eq!(error, LogError::OutOfRange { position, first, end: 10 });
    }
}

#[test]
fn a_database_without_a_log_is_named() {
    let postgres = Postgres::shared();
    let log = PostgresLog::connect(&with_database(&postgres.url, "postgres")).unwrap();
    let error = log.describe("any").unwrap_err();
    assert!(matches!(&error, LogError::Misconfigured(text) if text.contains("migrations")), "{error}");
    let error = PostgresLog::connect(&with_database(&postgres.url, "no_such_database")).err().unwrap();
    assert!(matches!(&error, LogError::Misconfigured(text) if text.contains("no_such_database")), "{error}");
}

#[test]
fn the_log_is_opened_by_its_url() {
    let postgres = Postgres::shared();
    let log = ledger_engine::log::open("postgres", &postgres.url).unwrap();
    assert_eq!(log.ends("none").unwrap_err(), LogError::TopicMissing("none".to_owned()));
    let error = ledger_engine::log::open("kafka://127.0.0.1:9?acks=0", &postgres.url).err().unwrap();
    assert!(matches!(&error, LogError::Misconfigured(text) if text.contains("acks")), "{error}");
}
