//! The log as a table in Postgres: the engine for one machine, with the same promises as Kafka.
//!
//! A head row per partition hands out offsets and stays locked until the append commits, so what can be seen of a
//! partition has no gap and ends at its head. One writer batches what comes in together, as Kafka's producer does.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use postgres::{Client, error::SqlState};

use super::{AppendError, Log, LogError, NewRecord, Position, Reader, TopicInfo, TopicSpec};

mod reader;
mod topics;
mod writer;

use reader::PostgresReader;
use writer::Writer;

/// Every append notifies this channel. It only wakes readers early; they look anyway.
const CHANNEL: &str = "ledger_log";

/// The topic setting that makes the log keep its producers' time.
const TIMESTAMP_TYPE: &str = "message.timestamp.type";

pub struct PostgresLog {
    source: Source,
    queries: Mutex<Option<Client>>,
    writer: Writer,
}

/// A blocking client must not end on a thread that runs async tasks, and the last owner of a log often lives there.
impl Drop for PostgresLog {
    fn drop(&mut self) {
        let client = self.queries.get_mut().map_or_else(|poisoned| poisoned.into_inner().take(), Option::take);
        std::thread::spawn(move || drop(client));
    }
}

impl PostgresLog {
    /// Connects, so that a wrong address is noticed at once. The tables are made by the migrations.
    pub fn connect(url: &str) -> Result<Self, LogError> {
        let source = Source::new(url)?;
        let queries = Mutex::new(Some(source.questions()?));
        let writer = Writer::start(source.clone())?;
        Ok(Self { source, queries, writer })
    }

    /// Asks on the connection for questions. One that was lost while nobody used it is replaced once.
    fn ask<T>(&self, question: impl Fn(&mut Client) -> Result<T, LogError>) -> Result<T, LogError> {
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = queries.as_mut() {
            match question(client) {
                Err(LogError::Unavailable(_)) => {}
                answer => return answer,
            }
        }
        *queries = None;
        question(queries.insert(self.source.questions()?))
    }
}

impl fmt::Debug for PostgresLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLog").finish_non_exhaustive()
    }
}

impl Log for PostgresLog {
    fn append<'a>(
        &'a self,
        topic: &'a str,
        records: Vec<NewRecord>,
    ) -> BoxFuture<'a, Vec<Result<Position, AppendError>>> {
        Box::pin(self.writer.append(topic, records))
    }

    fn reader(&self, topic: &str) -> Result<Box<dyn Reader>, LogError> {
        self.ask(|client| topics::find(client, topic))?;
        Ok(Box::new(PostgresReader::new(self.source.clone(), topic)))
    }

    fn ends(&self, topic: &str) -> Result<Vec<i64>, LogError> {
        self.ask(|client| topics::ends(client, topic))
    }

    fn offsets_at(&self, topic: &str, time: DateTime<Utc>) -> Result<Vec<i64>, LogError> {
        self.ask(|client| topics::offsets_at(client, topic, time))
    }

    fn describe(&self, topic: &str) -> Result<TopicInfo, LogError> {
        self.ask(|client| topics::describe(client, topic))
    }

    fn apply(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.ask(|client| topics::apply(client, spec))
    }
}

/// Where connections come from.
#[derive(Clone)]
struct Source {
    url: String,
}

impl Source {
    fn new(url: &str) -> Result<Self, LogError> {
        crate::postgres::check(url)
            .map_err(|error| LogError::Misconfigured(format!("this is not a Postgres URL: {}", text(&error))))?;
        Ok(Self { url: url.to_owned() })
    }

    /// A connection for this log, with `session` settings. Plans stay on the primary keys, although they may be made
    /// while the tables are small.
    fn connect(&self, role: &str, session: &str) -> Result<Client, postgres::Error> {
        let mut client = crate::postgres::connect(&self.url, &format!("ledger log {role}"))?;
        client.batch_execute(&format!("SET enable_seqscan = off; SET enable_bitmapscan = off; {session}"))?;
        Ok(client)
    }

    fn questions(&self) -> Result<Client, LogError> {
        self.connect("questions", "").map_err(|error| failed(&error))
    }
}

/// What an error of Postgres means for the caller.
fn failed(error: &postgres::Error) -> LogError {
    match error.code() {
        Some(&(SqlState::UNDEFINED_TABLE | SqlState::INVALID_SCHEMA_NAME)) => {
            LogError::Misconfigured("the database has no log: its migrations have not run".to_owned())
        }
        _ if passing(error) => LogError::Unavailable(text(error)),
        _ => LogError::Misconfigured(format!("Postgres: {}", text(error))),
    }
}

/// Errors that another attempt may not meet: the connection broke (no code, or class 08), somebody else was faster
/// (25P03, 40, 55), something is used up (53), the server stops, starts or was told to cancel (57), its disk failed (58).
fn passing(error: &postgres::Error) -> bool {
    const CLASSES: [&str; 7] = ["08", "25P03", "40", "53", "55", "57", "58"];
    error.code().is_none_or(|code| CLASSES.iter().any(|class| code.code().starts_with(class)))
}

/// The server's own words, which `Display` of the error leaves out.
fn text(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => server.message().to_owned(),
        None => {
            std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
        }
    }
}
