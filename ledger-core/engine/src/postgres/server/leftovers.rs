//! Processes of an earlier server on the same data. A server whose owner was killed is still writing things out, and
//! the sessions of a killed server may be deep in a long query. Nobody looks after them, and as long as one runs, no
//! new server can start.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::{
    Account, Folder,
    owner::{FAST, IMMEDIATE},
};

pub struct Process {
    pub pid: u32,
    pub uid: u32,
    /// As the process shows them, with NUL between them; Postgres writes a title over those of a session.
    pub arguments: String,
}

/// Asks what is left over to end, and answers whether there was something. Only for who holds the lock. A server that
/// writes things out gets its time, until `patience` is over.
pub fn end(folder: &Folder, account: &Account, patience: bool) -> bool {
    let processes = processes();
    let data = folder.data();
    let session = format!("postgres: {}: ", folder.cluster_name());
    let those = |wanted: &dyn Fn(&Process) -> bool| -> Vec<&Process> {
        processes.iter().filter(|process| process.uid == account.uid && wanted(process)).collect()
    };
    let servers = those(&|process| is_server(process, &data.to_string_lossy()));
    // A server ends its own sessions; without one, they are only in the way. What they acknowledged is in the log, so
    // ending them is as safe as any crash.
    let (left, signal) = if servers.is_empty() {
        (those(&|process| process.arguments.starts_with(&session)), IMMEDIATE)
    } else {
        (servers, if patience { FAST } else { IMMEDIATE })
    };
    for process in &left {
        let shown = process.arguments.trim_end_matches('\0').replace('\0', " ");
        tracing::debug!(pid = process.pid, process = shown, ?signal, "a process of an earlier server");
        signal_process(process.pid, signal);
    }
    if left.is_empty() {
        remove_stale_pid_file(folder, &processes);
    }
    !left.is_empty()
}

/// Also right for one that a person started by hand on this folder.
fn is_server(process: &Process, data: &str) -> bool {
    let mut words = process.arguments.split('\0');
    let program = words.next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    matches!(program, "postgres" | "postmaster") && words.any(|word| word == data)
}

/// Postgres trusts its file as long as any process has the number in it. In a container numbers start again at one,
/// so after a kill -9 it may be anybody's, or that of a dead process which nobody buries (it shows no arguments). A
/// number that some other Postgres has is left to Postgres to judge.
fn remove_stale_pid_file(folder: &Folder, processes: &[Process]) {
    let Some(recorded) = folder.recorded_pid() else { return };
    let stranger = |process: &Process| process.pid == recorded && !process.arguments.contains("postgres");
    if processes.iter().any(stranger) {
        tracing::info!(pid = recorded, "the process id that an earlier server wrote down is another program's now");
        if let Err(error) = fs::remove_file(folder.pid_path()) {
            tracing::warn!(%error, path = %folder.pid_path().display(), "a stale file stays");
        }
    }
}

fn signal_process(pid: u32, signal: Signal) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    if let Err(error) = kill_process(pid, signal) {
        tracing::debug!(%error, ?pid, "it could not be signalled; it may be gone");
    }
}

/// What everybody may read about every process: unlike a working folder, the arguments need no privilege.
#[cfg(target_os = "linux")]
pub fn processes() -> Vec<Process> {
    use std::os::unix::fs::MetadataExt;
    let process = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let uid = entry.metadata().ok()?.uid();
        let arguments = fs::read(entry.path().join("cmdline")).ok()?;
        Some(Process { pid, uid, arguments: String::from_utf8_lossy(&arguments).into_owned() })
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(process).collect()
}

#[cfg(not(target_os = "linux"))]
pub fn processes() -> Vec<Process> {
    let listing = std::process::Command::new("ps").args(["-axww", "-o", "pid=,uid=,args="]).output();
    let listing = listing.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    listing.lines().filter_map(listed).collect()
}

/// `ps` joins arguments by spaces. Undo that where it matters: our servers are started as `postgres -D <data> -c …`.
#[cfg(not(target_os = "linux"))]
fn listed(line: &str) -> Option<Process> {
    let (pid, rest) = line.trim_start().split_once(' ')?;
    let (uid, arguments) = rest.trim_start().split_once(' ')?;
    let arguments = arguments.trim_start().replace(" -D ", "\0-D\0").replace(" -c ", "\0-c\0");
    Some(Process { pid: pid.parse().ok()?, uid: uid.parse().ok()?, arguments })
}
