//! Roles as processes that can be killed and frozen.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// A line of the binary that says that every role of its process is at work.
const STARTED: &str = "Postgres is at";

/// One role in a process of its own; dropping it kills it.
pub struct Process {
    pub name: String,
    role: &'static str,
    folder: PathBuf,
    child: Child,
    /// Where the output of the current run begins.
    said_from: u64,
}

/// How a process ended that nobody killed.
#[derive(Clone, Debug)]
pub struct Death {
    /// It had come as far as its work.
    pub at_work: bool,
    pub last_words: String,
}

impl Process {
    pub fn start(folder: &Path, name: &str, role: &'static str) -> Result<Self> {
        let (child, said_from) = spawn(folder, name, role)?;
        Ok(Self { name: name.to_owned(), role, folder: folder.to_owned(), child, said_from })
    }

    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again, after it has ended.
    pub fn restart(&mut self) -> Result<()> {
        (self.child, self.said_from) = spawn(&self.folder, &self.name, self.role)?;
        Ok(())
    }

    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    pub fn wake(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end, and waits until it has.
    pub async fn terminate(&mut self) -> Result<()> {
        self.tell_to_end()?;
        self.has_ended().await?;
        Ok(())
    }

    pub fn tell_to_end(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Waits until it has ended.
    pub async fn has_ended(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("a process has a number")?;
        kill_process(pid, signal).with_context(|| format!("{} cannot be sent {signal:?}", self.name))
    }

    /// How it ended by itself, if it has.
    pub fn death(&mut self) -> Result<Option<Death>> {
        let Some(status) = self.child.try_wait()? else { return Ok(None) };
        let said = self.said()?;
        let at_work = said.contains(STARTED);
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(4)..].join("\n  ");
        Ok(Some(Death { at_work, last_words: format!("{} ended with {status}:\n  {last}", self.name) }))
    }

    /// What it has said since its last start.
    pub fn said(&self) -> Result<String> {
        let mut file = File::open(output(&self.folder, &self.name))?;
        file.seek(SeekFrom::Start(self.said_from))?;
        let mut said = String::new();
        file.read_to_string(&mut said)?;
        Ok(said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        self.kill9().unwrap_or_default();
    }
}

fn output(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

fn spawn(folder: &Path, name: &str, role: &str) -> Result<(Child, u64)> {
    let log = OpenOptions::new().create(true).append(true).open(output(folder, name))?;
    let said_from = log.metadata()?.len();
    // Another build of the binary, such as the one that is to be shipped, can be put to the test.
    let binary = std::env::var_os("FAULTS_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_ledger").into());
    let mut command = Command::new(binary);
    // The configuration is the file's alone; only where Postgres is installed comes from the environment.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("LEDGER_") && name != "LEDGER_POSTGRES_BIN" {
            command.env_remove(&variable);
        }
    }
    command.arg("--config").arg(folder.join("ledger.toml")).args(["run", role]);
    command.env("RUST_LOG", "info").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
    Ok((child, said_from))
}
