//! As whom Postgres runs, and how its processes are started. It refuses to run as root; then it runs as whoever owns
//! its data, else as the user `postgres`, else as `nobody`.

use std::{
    env, fs,
    fs::{File, Metadata},
    io,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::{Signal, getegid, geteuid};

use super::ServerError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// The account that runs the server of the data folder `data`, which need not exist yet.
    pub fn choose(data: &Path) -> Result<Account, ServerError> {
        let owner = fs::metadata(data).ok().map(|data| Account::of(&data));
        if !geteuid().is_root() {
            let ours = Account::numbered(geteuid().as_raw(), getegid().as_raw());
            return match owner {
                Some(owner) if owner.uid != ours.uid => {
                    Err(ServerError::Foreign { path: data.into(), owner: owner.name })
                }
                Some(_) | None => Ok(ours),
            };
        }
        if let Some(owner) = owner.filter(|owner| owner.uid != 0) {
            return Ok(owner);
        }
        let known = passwd();
        let named = |name| known.iter().find(|account| account.name == name).cloned();
        named("postgres").or_else(|| named("nobody")).ok_or(ServerError::NoAccount)
    }

    pub fn of(file: &Metadata) -> Account {
        Account::numbered(file.uid(), file.gid())
    }

    fn numbered(uid: u32, gid: u32) -> Account {
        let known = passwd().into_iter().find(|account| account.uid == uid);
        known.unwrap_or_else(|| Account { name: format!("user {uid}"), uid, gid })
    }

    /// The uppermost folder on the way to `path` that this account may not enter. Only asked when we are root: as
    /// ourselves we would already have failed.
    pub fn closed_on_the_way(&self, path: &Path) -> Option<PathBuf> {
        let mut folders: Vec<&Path> = path.ancestors().filter(|folder| !folder.as_os_str().is_empty()).collect();
        folders.reverse();
        let closed = |folder: &&&Path| fs::metadata(folder).is_ok_and(|folder| !self.may_enter(&folder));
        folders.iter().find(closed).map(|folder| folder.to_path_buf())
    }

    fn may_enter(&self, folder: &Metadata) -> bool {
        let enter = match folder {
            _ if folder.uid() == self.uid => 0o100,
            _ if folder.gid() == self.gid => 0o010,
            _ => 0o001,
        };
        folder.mode() & enter != 0
    }

    /// A command that runs as this account, away from our terminal and our environment, and that gets `farewell` when
    /// we die. Variables such as PGDATA or PGPORT would otherwise override what we say.
    pub fn command(&self, program: &Path, folder: &Path, farewell: Signal) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").current_dir(folder).stdin(Stdio::null());
        for name in ["PATH", "LD_LIBRARY_PATH"] {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        if geteuid().is_root() {
            command.uid(self.uid).gid(self.gid);
        }
        // In a process group of its own, so that a Ctrl-C is ours to answer: first the roles end, then the server.
        command.process_group(0);
        end_with_us(&mut command, farewell);
        command
    }
}

/// The kernel sends `farewell` to the child when the thread that started it ends, however that happens.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)] // The one place: between fork and exec there is no safe way to run code of ours.
fn end_with_us(command: &mut Command, farewell: Signal) {
    use rustix::process::{getpid, getppid, set_parent_process_death_signal};
    let parent = getpid();
    let ask_kernel = move || {
        set_parent_process_death_signal(Some(farewell))?;
        // We may have died before the request was made; then nobody would ever send the signal.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from(rustix::io::Errno::SRCH)) }
    };
    // SAFETY: the closure runs in the child after fork. It makes two system calls that are async-signal-safe, and
    // neither allocates nor takes a lock (an error made from an errno does not allocate either).
    unsafe {
        command.pre_exec(ask_kernel);
    }
}

/// Elsewhere an orphaned server stays until the next owner of its data ends it.
#[cfg(not(target_os = "linux"))]
fn end_with_us(_command: &mut Command, _farewell: Signal) {}

/// The accounts of this machine. Read by hand because asking the C library takes unsafe code; those that only a
/// directory service knows do not matter, as we look for system accounts.
fn passwd() -> Vec<Account> {
    let text = File::open("/etc/passwd").and_then(io::read_to_string).unwrap_or_default();
    text.lines().filter_map(account).collect()
}

fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let (name, _password) = (fields.next()?, fields.next()?);
    // macOS writes the id of `nobody` as -2.
    let mut id = || fields.next().and_then(|id| id.parse().ok().or_else(|| id.parse().ok().map(i32::cast_unsigned)));
    Some(Account { name: name.into(), uid: id()?, gid: id()? })
}
