//! A Postgres that the program finds, starts, looks after and stops by itself, so that a newcomer has nothing to set
//! up. It listens on a Unix socket only, in a folder that nobody else may enter, and it never runs with `fsync` off.
//!
//! The invariant: at most one process owns a data folder (it holds the lock file), and only the owner starts or stops
//! the server. A second process uses the same server as a guest, and becomes the owner when the first one ends. An
//! owner that is killed takes its server down with it (on Linux at once, elsewhere when the next owner comes), and a
//! server that is killed comes back.

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use postgres::{NoTls, error::SqlState};

pub(super) mod account;
mod archive;
pub(super) mod binaries;
mod folder;
mod leftovers;
mod owner;

use super::explain;
use account::Account;
pub use binaries::client_program;
use folder::Folder;
use owner::Owner;

/// Where `initdb` and `postgres` are, for those who do not want the ones that would be found.
pub const BINARIES_VARIABLE: &str = "LEDGER_POSTGRES_BIN";

/// How long a start may take while nothing shows that it goes on. Recovery after a crash shows itself and may take longer.
const START_LIMIT: Duration = Duration::from_secs(60);
/// A server that ends so often while it starts will not start.
const START_DEATHS_MAX: u32 = 20;
const START_PAUSE: Duration = Duration::from_millis(20);
/// How often the owner looks after its server, and how long a guest may need to notice that the owner is gone.
const WATCH_PAUSE: Duration = Duration::from_millis(100);
const WATCH_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Long recoveries say so in our log, this often.
const PATIENCE_NOTICE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot {doing} {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "no usable Postgres was found ({}); {install}, or set {BINARIES_VARIABLE} to the folder of an installed one",
        tried.join("; ")
    )]
    NoBinaries { tried: Vec<String>, install: String },
    #[error(
        "Postgres does not run as root, and this system has neither a user postgres nor nobody; create one with \
         `useradd --system postgres`"
    )]
    NoAccount,
    #[error(
        "Postgres does not run as root but as {account}, and {account} cannot enter {}; choose a data folder \
         elsewhere, such as /var/lib/ledger, or run `chmod o+x {}`",
        closed.display(), closed.display()
    )]
    Closed { account: String, closed: PathBuf },
    #[error("{} belongs to {owner}; run as {owner}, or choose another data folder", path.display())]
    Foreign { path: PathBuf, owner: String },
    #[error(
        "{} is to hold the server's socket, but others may enter it or it belongs to somebody else; remove it",
        path.display()
    )]
    SocketFolder { path: PathBuf },
    #[error("initdb ended with {status}: {said}")]
    Initdb { status: ExitStatus, said: String },
    #[error("Postgres ended with {status}; its log {} ends with: {said}", log.display())]
    Died { status: ExitStatus, log: PathBuf, said: String },
    #[error("Postgres does not answer after {seconds} s ({why}); process {owner} looks after it, its log is {}", log.display())]
    Silent { seconds: u64, owner: u32, why: String, log: PathBuf },
    #[error(
        "no Postgres of the ledger runs in {} ({why}); start `ledger up`, or choose the data folder with --data-dir or \
         LEDGER_DATA_DIR",
        path.display()
    )]
    NotRunning { path: PathBuf, why: String },
    #[error("the thread that looks after Postgres ended without a word")]
    Unattended,
}

/// A running server. Dropping it stops the server (if it is ours to stop) and waits until it is gone.
#[derive(Debug)]
pub struct Server {
    folder: Folder,
    /// Dropped to say "stop"; nothing is ever sent.
    stop: Option<mpsc::Sender<Infallible>>,
    attendant: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Starts the server of `data_dir`, which is made if it is missing, or joins the one that another process runs
    /// there. Blocks until the database answers: seconds for the first time, a fraction of one later. From then on the
    /// server may still restart (it was killed, or its owner ended), so connections must be ready to be made anew.
    pub fn start(data_dir: &Path) -> Result<Server, ServerError> {
        Server::start_with(data_dir, binaries::chosen().as_deref())
    }

    /// As `start`, with the folder of `initdb` and `postgres` chosen by the caller.
    pub fn start_with(data_dir: &Path, binaries: Option<&Path>) -> Result<Server, ServerError> {
        let folder = Folder::open(data_dir)?;
        let attendant = Attendant { folder: folder.clone(), chosen: binaries.map(PathBuf::from), owner: None };
        let (stop, stopped) = mpsc::channel();
        let (started, outcome) = mpsc::channel();
        // The kernel ends the server when the thread that started it ends (see `account`), so one thread starts it,
        // looks after it and stops it.
        let thread = thread::Builder::new().name("postgres".into()).spawn(move || attendant.run(&started, &stopped));
        let thread = thread.map_err(|source| folder.error("start a thread for", source))?;
        let server = Server { folder, stop: Some(stop), attendant: Some(thread) };
        outcome.recv().unwrap_or(Err(ServerError::Unattended))?;
        Ok(server)
    }

    /// The URL of the server that some process runs on `data_dir`; nothing is made or started.
    pub fn running(data_dir: &Path) -> Result<String, ServerError> {
        let missing = |why: String| ServerError::NotRunning { path: data_dir.into(), why };
        if !data_dir.exists() {
            return Err(missing("there is no such folder".to_owned()));
        }
        let folder = Folder::open(data_dir)?;
        folder.check_socket_folder().map_err(|_| missing("it has no socket".to_owned()))?;
        let url = folder.url("ledger");
        postgres::Client::connect(&url, NoTls).map_err(|error| missing(explain(&error)))?;
        Ok(url)
    }

    /// For any client of Postgres, psql included. It stays the same over restarts.
    pub fn url(&self) -> String {
        self.folder.url("ledger")
    }

    /// The process id of the server that runs now; none while it is restarting.
    pub fn pid(&self) -> Option<u32> {
        self.folder.recorded_pid()
    }

    /// Ends open sessions, writes everything out, and waits. Does nothing to a server that another process owns.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.attendant.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that looked after Postgres panicked");
        }
    }
}

/// What the server's thread knows.
struct Attendant {
    folder: Folder,
    chosen: Option<PathBuf>,
    /// None while we are a guest.
    owner: Option<Owner>,
}

impl Attendant {
    fn run(mut self, started: &mpsc::Sender<Result<(), ServerError>>, stopped: &mpsc::Receiver<Infallible>) {
        let outcome = self.start();
        let alive = outcome.is_ok();
        // The caller waits for this answer, so it cannot be gone.
        if started.send(outcome).is_ok() && alive {
            self.watch(stopped);
        }
        if let Some(owner) = self.owner {
            owner.stop();
        }
    }

    /// Takes steps until the database answers.
    fn start(&mut self) -> Result<(), ServerError> {
        let begun = Instant::now();
        let (mut heard, mut noticed, mut deaths, mut joined) = (begun, begun, 0, false);
        loop {
            match self.step() {
                Err(died @ ServerError::Died { .. }) if deaths < START_DEATHS_MAX => {
                    tracing::info!(%died, "trying again");
                    deaths += 1;
                    thread::sleep(WATCH_PAUSE);
                }
                other => other?,
            }
            let why = match self.ask() {
                Answer::Ready if self.owner.is_some() || joined => break,
                // A server whose owner was killed this instant still answers. Look again before calling it ours to use.
                Answer::Ready => {
                    joined = true;
                    thread::sleep(WATCH_PAUSE);
                    continue;
                }
                Answer::Busy(why) => {
                    heard = Instant::now();
                    why
                }
                Answer::None(why) => why,
            };
            joined = false;
            if heard.elapsed() > START_LIMIT {
                return Err(self.silent(begun, why));
            }
            if noticed.elapsed() > PATIENCE_NOTICE {
                noticed = Instant::now();
                tracing::info!(seconds = begun.elapsed().as_secs(), why, "waiting for Postgres");
            }
            thread::sleep(START_PAUSE);
        }
        let (ours, took_ms) = (self.owner.is_some(), begun.elapsed().as_millis());
        tracing::info!(ours, took_ms, url = self.folder.url("ledger"), "Postgres is ready");
        Ok(())
    }

    fn silent(&self, begun: Instant, why: String) -> ServerError {
        let (seconds, log) = (begun.elapsed().as_secs(), self.folder.log_path());
        ServerError::Silent { seconds, owner: self.folder.owner_pid().unwrap_or_default(), why, log }
    }

    /// Restarts what died and takes over what was left, until the server's handle is dropped.
    fn watch(&mut self, stopped: &mpsc::Receiver<Infallible>) {
        let mut pause = WATCH_PAUSE;
        while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
            match self.step() {
                Ok(()) if self.is_starting() => pause = START_PAUSE,
                Ok(()) => pause = WATCH_PAUSE,
                Err(error) => {
                    tracing::warn!(error = explain(&error), "Postgres is not well; trying again");
                    pause = self.pause_after(&error, pause);
                }
            }
        }
    }

    /// A server that died is started again soon; an error that only a person can mend is not repeated ten times a second.
    fn pause_after(&self, error: &ServerError, pause: Duration) -> Duration {
        match (error, &self.owner) {
            (ServerError::Died { .. }, Some(owner)) => owner.pause_before_restart(),
            _ => (pause * 2).clamp(WATCH_PAUSE, WATCH_PAUSE_MAX),
        }
    }

    /// One step towards a running server. None of them waits, save for the first-time set-up.
    fn step(&mut self) -> Result<(), ServerError> {
        if self.owner.is_none()
            && let Some(lock) = self.folder.try_own()?
        {
            self.owner = Some(Owner::prepare(&self.folder, lock, self.chosen.as_deref())?);
        }
        self.owner.as_mut().map_or(Ok(()), Owner::step)
    }

    fn is_starting(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| !owner.runs())
    }

    /// Whether the database answers, which is made if it is missing.
    fn ask(&self) -> Answer {
        // What answers before our own server was started is one that is about to end.
        if self.is_starting() {
            return Answer::None("an earlier server on these data is still ending".into());
        }
        if self.owner.is_none()
            && let Err(error) = self.folder.check_socket_folder()
        {
            return Answer::None(error.to_string());
        }
        let starts = |error: &postgres::Error| error.code() == Some(&SqlState::CANNOT_CONNECT_NOW);
        let lacks_database = |error: &postgres::Error| error.code() == Some(&SqlState::UNDEFINED_DATABASE);
        match postgres::Client::connect(&self.folder.url("ledger"), NoTls) {
            Ok(_) => Answer::Ready,
            Err(error) if lacks_database(&error) => match self.create_database() {
                Ok(()) => Answer::Busy(explain(&error)),
                Err(error) => Answer::None(explain(&error)),
            },
            Err(error) if starts(&error) => Answer::Busy(explain(&error)),
            Err(error) => Answer::None(explain(&error)),
        }
    }

    /// Two processes may do this at once; then one of them fails, and finds the database when it asks again.
    fn create_database(&self) -> Result<(), postgres::Error> {
        postgres::Client::connect(&self.folder.url("postgres"), NoTls)?.batch_execute("CREATE DATABASE ledger")
    }
}

enum Answer {
    Ready,
    /// Not yet, but it talks to us: it recovers, or ends, or has no database yet.
    Busy(String),
    None(String),
}

#[cfg(test)]
mod tests;
