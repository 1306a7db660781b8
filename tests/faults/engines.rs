//! Engines that a test may kill: a Postgres of its own, and a Kafka of its own when the run is about Kafka.

use std::{
    env, fs, iter,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, ensure};
use engine::postgres::server::Server;
use ledger::config::Config;
use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

pub struct Engines {
    folder: PathBuf,
    postgres: Option<Server>,
    kafka: Option<Kafka>,
    /// Nobody will want to look into what is left.
    done: AtomicBool,
}

impl Engines {
    pub async fn start() -> Result<Self> {
        let folder = env::temp_dir().join(format!("ledger-faults-{}", Uuid::new_v4().simple()));
        tokio::task::spawn_blocking(move || {
            fs::create_dir_all(&folder)?;
            let kafka = (ledger_tests::log_url() != "postgres").then(Kafka::start).transpose()?;
            let postgres = Some(Server::start(&folder.join("postgres"))?);
            Ok(Self { folder, postgres, kafka, done: AtomicBool::new(false) })
        })
        .await?
    }

    /// A configuration on these engines.
    pub fn config(&self) -> Config {
        let kafka = self.kafka.as_ref().map(|kafka| format!("kafka://{}", kafka.bootstrap));
        Config {
            log: kafka.unwrap_or_else(|| "postgres".to_owned()),
            topic_prefix: "faults".to_owned(),
            replication: 1,
            postgres_url: self.postgres.as_ref().map(Server::url).unwrap_or_default(),
            data_dir: self.folder.clone(),
            secret: "a secret for tests".to_owned(),
            ..Config::default()
        }
    }

    /// The test has gone well, so nothing of it need be kept.
    pub fn done(&self) {
        self.done.store(true, Ordering::SeqCst);
    }

    /// Kills the server; whoever looks after it starts it again.
    pub fn kill_postgres(&self) {
        let pid = self.postgres.as_ref().and_then(Server::pid).and_then(|pid| Pid::from_raw(pid.cast_signed()));
        if let Some(pid) = pid {
            // It may just be restarting; then there is nothing to kill.
            kill_process(pid, Signal::KILL).unwrap_or_default();
        }
    }

    /// SIGSTOP for the server and its sessions, or SIGCONT. False if there are none.
    pub fn signal_postgres(&self, signal: Signal) -> bool {
        let Some(server) = self.postgres.as_ref().and_then(Server::pid) else { return false };
        // It may have ended.
        let tell = |pid: i32| Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, signal).is_ok());
        // The server is stopped first and woken last: meanwhile no session begins or ends, and the list is whole.
        let stopped = signal == Signal::STOP && tell(server.cast_signed());
        let sessions = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
        let told: Vec<bool> = sessions.split_whitespace().map(|pid| pid.parse().is_ok_and(tell)).collect();
        (stopped || tell(server.cast_signed())) && told.contains(&true)
    }

    pub fn kafka(&self) -> Option<Kafka> {
        self.kafka.clone()
    }

    /// The engine of the log goes away until it is brought back.
    pub async fn take_log_away(&mut self) -> Result<()> {
        match self.kafka.clone() {
            Some(kafka) => kafka.kill().await,
            None => {
                let server = self.postgres.take();
                Ok(tokio::task::spawn_blocking(move || drop(server)).await?)
            }
        }
    }

    pub async fn bring_log_back(&mut self) -> Result<()> {
        if let Some(kafka) = self.kafka.clone() {
            return kafka.resume().await;
        }
        let folder = self.folder.join("postgres");
        self.postgres = Some(tokio::task::spawn_blocking(move || Server::start(&folder)).await??);
        Ok(())
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        // A stopped session would never hear that it shall end.
        self.signal_postgres(Signal::CONT);
        drop(self.postgres.take());
        let mut folders = vec![self.folder.clone()];
        if let Some(kafka) = self.kafka.take() {
            script(&kafka.folder, &["kill9"]).unwrap_or_default();
            folders.push(kafka.folder);
        }
        for folder in folders {
            if self.done.load(Ordering::SeqCst) {
                fs::remove_dir_all(folder).unwrap_or_default();
            } else {
                eprintln!("what the test left: {}", folder.display());
            }
        }
    }
}

/// One broker, by way of `tests/kafka/kafka.sh`.
#[derive(Clone)]
pub struct Kafka {
    folder: PathBuf,
    bootstrap: String,
}

impl Kafka {
    fn start() -> Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-kafka-{}", Uuid::new_v4().simple()));
        // Not one that the kernel gives to those who connect: while the broker is away, somebody could get it.
        let free = |port: &u16| [*port, *port + 10].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
        let port = iter::repeat_with(|| fastrand::u16(20_000..32_000)).find(free).context("a port is free")?;
        let bootstrap = script(&folder, &["start", "--port", &port.to_string()])?;
        Ok(Self { folder, bootstrap })
    }

    pub async fn kill(&self) -> Result<()> {
        self.run("kill9").await
    }

    pub async fn resume(&self) -> Result<()> {
        self.run("resume").await
    }

    pub async fn freeze(&self) -> Result<()> {
        self.run("freeze").await
    }

    pub async fn wake(&self) -> Result<()> {
        self.run("wake").await
    }

    async fn run(&self, command: &'static str) -> Result<()> {
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || script(&folder, &[command])).await??;
        Ok(())
    }
}

fn script(folder: &Path, arguments: &[&str]) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/kafka.sh");
    let output =
        Command::new(script).args(arguments).arg("--dir").arg(folder).output().context("kafka.sh cannot run")?;
    ensure!(output.status.success(), "kafka.sh {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
