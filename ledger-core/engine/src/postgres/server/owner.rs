//! The owner of a data folder: makes the database cluster once, keeps one server running on it, and ends it.

use std::{
    fs,
    fs::{File, OpenOptions},
    io,
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::chown,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::{Account, Folder, ServerError, binaries::Binaries, leftovers};

/// What nobody may change in the settings file: who can reach the server, and that what it acknowledges is on disk.
const FIXED: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("port", "5432"),
    ("unix_socket_permissions", "0700"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("update_process_title", "on"),
];

/// What fits a laptop. Written at the end of `postgresql.conf` when the cluster is made; from then on the user's.
const SETTINGS: &[(&str, &str)] = &[
    // Each role in a process of its own, two of each, and people: every process has up to twenty.
    ("max_connections", "300"),
    ("shared_buffers", "512MB"),
    ("work_mem", "16MB"),
    ("maintenance_work_mem", "128MB"),
    // Rebuilds write much at once; with a small limit they would checkpoint all the time.
    ("max_wal_size", "2GB"),
    ("wal_compression", "on"),
    // The background writer frees pages before a statement needs one: else whoever folds writes them out, and waits.
    ("bgwriter_delay", "50ms"),
    ("bgwriter_lru_maxpages", "1000"),
    // Fair for an SSD; the default is made for a disk that turns.
    ("random_page_cost", "1.1"),
    // Compiling costs more than it gives for statements as short as ours, and not every build has it.
    ("jit", "off"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("log_lock_waits", "on"),
    ("log_line_prefix", "'%m [%p] %a '"),
    ("log_timezone", "UTC"),
    ("timezone", "UTC"),
    ("lc_messages", "C"),
];

const RESTART_PAUSE: Duration = Duration::from_millis(50);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(1);
/// A server that lived this long died of something new.
const HEALTHY_LIFE: Duration = Duration::from_secs(2);

/// Fast shutdown: sessions are ended, then everything is written out.
pub const FAST: Signal = Signal::INT;
/// Immediate shutdown: the next start recovers from the log. Nothing acknowledged is lost by it.
pub const IMMEDIATE: Signal = Signal::QUIT;
const FAST_LIMIT: Duration = Duration::from_secs(30);
const IMMEDIATE_LIMIT: Duration = Duration::from_secs(5);
const STOP_PAUSE: Duration = Duration::from_millis(5);

pub struct Owner {
    folder: Folder,
    /// Held, not used: the kernel frees it when it is closed.
    _lock: File,
    account: Account,
    binaries: Binaries,
    server: Option<Running>,
    early_deaths: u32,
    /// Since when we have been waiting for an earlier server to end.
    waiting_since: Option<Instant>,
}

struct Running {
    child: Child,
    since: Instant,
    /// Where its own lines begin in the log.
    log_start: u64,
}

impl Owner {
    pub fn prepare(folder: &Folder, lock: File, chosen: Option<&Path>) -> Result<Owner, ServerError> {
        let account = Account::choose(&folder.data())?;
        if geteuid().is_root()
            && let Some(closed) = account.closed_on_the_way(folder.root())
        {
            return Err(ServerError::Closed { account: account.name, closed });
        }
        let binaries = Binaries::find(chosen, data_version(folder), &account)?;
        tracing::info!(
            binaries = %binaries.folder.display(), version = binaries.version, account = account.name,
            data = %folder.root().display(), "this process looks after Postgres"
        );
        let folder = folder.clone();
        let owner =
            Owner { folder, _lock: lock, account, binaries, server: None, early_deaths: 0, waiting_since: None };
        if !owner.folder.data().exists() {
            owner.make_cluster()?;
        }
        owner.folder.make_socket_folder(&owner.account)?;
        Ok(owner)
    }

    /// One step towards a running server; reports the death of the one that ran.
    pub fn step(&mut self) -> Result<(), ServerError> {
        let Some(running) = &mut self.server else { return self.begin() };
        let ended = running.child.try_wait().map_err(|source| self.folder.error("wait for the server of", source))?;
        let Some(status) = ended else { return Ok(()) };
        self.early_deaths = if running.since.elapsed() > HEALTHY_LIFE { 0 } else { self.early_deaths + 1 };
        let said = last_words(&self.folder, running.log_start);
        self.server = None;
        Err(ServerError::Died { status, log: self.folder.log_path(), said })
    }

    fn begin(&mut self) -> Result<(), ServerError> {
        let patience = self.waiting_since.is_none_or(|since| since.elapsed() < FAST_LIMIT);
        if !leftovers::end(&self.folder, &self.account, patience) {
            self.waiting_since = None;
            self.server = Some(self.spawn()?);
        } else if self.waiting_since.is_none() {
            self.waiting_since = Some(Instant::now());
            tracing::info!("ending what an earlier server on these data left");
        }
        Ok(())
    }

    pub fn runs(&self) -> bool {
        self.server.is_some()
    }

    /// After a kill -9 the sessions of the old server need a moment to notice, and the new one refuses until then.
    pub fn pause_before_restart(&self) -> Duration {
        (RESTART_PAUSE * 2_u32.saturating_pow(self.early_deaths.saturating_sub(1).min(10))).min(RESTART_PAUSE_MAX)
    }

    /// Ends the server and waits until it is gone.
    pub fn stop(mut self) {
        if let Some(mut running) = self.server.take() {
            for (signal, limit) in [(FAST, FAST_LIMIT), (IMMEDIATE, IMMEDIATE_LIMIT), (Signal::KILL, IMMEDIATE_LIMIT)] {
                signal_child(&running.child, signal);
                if ends_within(&mut running.child, limit) {
                    break;
                }
                tracing::warn!(?signal, ?limit, "Postgres did not end");
            }
        }
        // Sessions of a server that was killed just now.
        let begun = Instant::now();
        while leftovers::end(&self.folder, &self.account, false) && begun.elapsed() < IMMEDIATE_LIMIT {
            thread::sleep(STOP_PAUSE);
        }
        self.folder.remove_socket_folder();
    }

    /// The new cluster grows under another name, so that a kill in the middle leaves nothing that looks whole.
    fn make_cluster(&self) -> Result<(), ServerError> {
        let unfinished = self.folder.unfinished_data();
        let failed = |doing| move |source| self.folder.error(doing, source);
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(failed("remove the unfinished data in"))?;
        }
        fs::create_dir(&unfinished).map_err(failed("create the data folder in"))?;
        if geteuid().is_root() {
            chown(&unfinished, Some(self.account.uid), Some(self.account.gid))
                .map_err(failed("hand over the data folder in"))?;
        }
        self.initdb(&unfinished)?;
        write_settings(&unfinished).map_err(failed("write the settings in"))?;
        let renamed = fs::rename(&unfinished, self.folder.data());
        renamed
            .and_then(|()| File::open(self.folder.root())?.sync_all())
            .map_err(failed("finish the data folder in"))?;
        let list = |settings: &[(&str, &str)]| {
            settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
        };
        tracing::info!(
            "made a new database cluster in {} with these settings: {}; always: {}",
            self.folder.data().display(),
            list(SETTINGS),
            list(FIXED)
        );
        Ok(())
    }

    /// Anybody who reaches the socket may be anybody, and nobody else gets in: see `Folder::make_socket_folder`. Text
    /// sorts by its bytes, so that no update of the system's locales can ever spoil an index.
    fn initdb(&self, data: &Path) -> Result<(), ServerError> {
        let mut command = self.account.command(&self.binaries.folder.join("initdb"), self.folder.root(), Signal::KILL);
        command.arg("--pgdata").arg(data).args(["--username=ledger", "--encoding=UTF8", "--no-locale"]);
        command.args(["--auth-local=trust", "--auth-host=reject", "--data-checksums", "--no-instructions"]);
        let output = command.output().map_err(|source| self.folder.error("run initdb for", source))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(ServerError::Initdb { status: output.status, said })
    }

    fn spawn(&self) -> Result<Running, ServerError> {
        let failed = |source| self.folder.error("start Postgres on", source);
        let mut log = self.folder.open_log().map_err(failed)?;
        let log_start = log.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut command = self.account.command(&self.binaries.folder.join("postgres"), self.folder.root(), FAST);
        // The path of the data stands in the arguments; `leftovers` looks for it there.
        command.arg("-D").arg(self.folder.data());
        for (name, value) in FIXED {
            command.args(["-c", &format!("{name}={value}")]);
        }
        command.args(["-c", &format!("cluster_name={}", self.folder.cluster_name())]);
        let sockets = self.folder.socket_folder().display();
        command.args(["-c", &format!("unix_socket_directories={sockets}")]);
        command.stdout(log.try_clone().map_err(failed)?).stderr(Stdio::from(log));
        Ok(Running { child: command.spawn().map_err(failed)?, since: Instant::now(), log_start })
    }
}

/// The major version of the data, if there are any: another one cannot read them.
fn data_version(folder: &Folder) -> Option<u32> {
    fs::read_to_string(folder.data().join("PG_VERSION")).ok()?.trim().parse().ok()
}

fn write_settings(data: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
    let always: Vec<&str> = FIXED.iter().map(|(name, _)| *name).collect();
    writeln!(file, "\n# What ledger starts with; change it as you like. Always set by ledger: {}.", always.join(", "))?;
    for (name, value) in SETTINGS {
        writeln!(file, "{name} = {value}")?;
    }
    file.sync_all()
}

/// What the server wrote last, for a message that can be read without opening the log.
fn last_words(folder: &Folder, log_start: u64) -> String {
    const LINES_MAX: usize = 4;
    const BYTES_MAX: u64 = 64 << 10;
    let mut text = String::new();
    let read = File::open(folder.log_path()).and_then(|mut log| {
        log.seek(SeekFrom::Start(log_start.max(log.metadata()?.len().saturating_sub(BYTES_MAX))))?;
        log.read_to_string(&mut text)
    });
    match read {
        Ok(0) => "(nothing)".into(),
        Ok(_) => {
            let lines: Vec<&str> = text.lines().collect();
            lines.iter().skip(lines.len().saturating_sub(LINES_MAX)).copied().collect::<Vec<_>>().join(" / ")
        }
        Err(error) => format!("(not readable: {error})"),
    }
}

/// Safe from signalling a stranger: the process id stays the child's until it has been waited for, which only the
/// thread that calls this does.
fn signal_child(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        && let Err(error) = kill_process(pid, signal)
    {
        tracing::debug!(%error, "the server could not be signalled");
    }
}

fn ends_within(child: &mut Child, limit: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        thread::sleep(STOP_PAUSE);
    }
    false
}
