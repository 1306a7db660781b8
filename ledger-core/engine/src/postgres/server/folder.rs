//! Where everything of one server stands, and the lock that says who owns it.
//!
//! ```text
//! <data_dir>/lock         held by the owner; holds its process id
//! <data_dir>/data/        what Postgres calls PGDATA
//! <data_dir>/run/         the socket; or /tmp/ledger-… where that path is too long for a socket
//! <data_dir>/server.log   what the server says
//! ```

use std::{
    fs,
    fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use rustix::process::geteuid;
use sha2::{Digest, Sha256};

use super::{Account, ServerError};

/// Linux takes 107 bytes for the path of a socket, macOS 103.
const SOCKET_PATH_BYTES_MAX: usize = 103;
const SOCKET_NAME: &str = "/.s.PGSQL.5432";
/// A longer log is put aside when the server starts, and the one put aside before is dropped.
const LOG_BYTES_MAX: u64 = 16 << 20;

#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    socket_folder: PathBuf,
}

impl Folder {
    pub fn open(root: &Path) -> Result<Folder, ServerError> {
        let failed = |doing| move |source| ServerError::Io { doing, path: root.into(), source };
        if !root.exists() {
            fs::create_dir_all(root).map_err(failed("create the folder"))?;
            if geteuid().is_root() {
                // Postgres passes through it as another user; what it must hide has a folder of its own.
                fs::set_permissions(root, Permissions::from_mode(0o755)).map_err(failed("open the folder"))?;
            }
        }
        let root = root.canonicalize().map_err(failed("find the folder"))?;
        let socket_folder = socket_folder(&root);
        Ok(Folder { root, socket_folder })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Where a new PGDATA grows until it is whole.
    pub fn unfinished_data(&self) -> PathBuf {
        self.root.join("data.new")
    }

    pub fn socket_folder(&self) -> &Path {
        &self.socket_folder
    }

    pub fn log_path(&self) -> PathBuf {
        self.root.join("server.log")
    }

    pub fn url(&self, database: &str) -> String {
        // `socket_folder` holds nothing else that a URL would have to escape.
        let host = self.socket_folder.to_string_lossy().replace('/', "%2F");
        format!("postgres://ledger@{host}/{database}")
    }

    /// The name of this very folder in the titles of the server's processes, by which they can be told from others'.
    pub fn cluster_name(&self) -> String {
        format!("ledger-{}", short_hash(&self.root))
    }

    pub fn pid_path(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    /// The process id that the server, or one before it, has written down.
    pub fn recorded_pid(&self) -> Option<u32> {
        first_number(&self.pid_path())
    }

    /// The process of ours that holds the lock, or the last that did.
    pub fn owner_pid(&self) -> Option<u32> {
        first_number(&self.lock_path())
    }

    fn lock_path(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The lock, if nobody else has it; the kernel takes it back from a process that dies.
    pub fn try_own(&self) -> Result<Option<File>, ServerError> {
        let path = self.lock_path();
        let failed = |source| ServerError::Io { doing: "lock", path: path.clone(), source };
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = opened.map_err(|source| match fs::metadata(&path) {
            Ok(lock) if source.kind() == io::ErrorKind::PermissionDenied => self.foreign(&Account::of(&lock)),
            Ok(_) | Err(_) => failed(source),
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // For whoever looks; nothing depends on it.
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Some(file))
    }

    fn foreign(&self, owner: &Account) -> ServerError {
        ServerError::Foreign { path: self.root.clone(), owner: owner.name.clone() }
    }

    /// The socket admits whoever reaches it, so its folder is the server's door: closed to all but `account` and root.
    pub fn make_socket_folder(&self, account: &Account) -> Result<(), ServerError> {
        let path = &self.socket_folder;
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(self.error("create the socket's folder in", error));
            }
            Ok(()) | Err(_) => {}
        }
        let made = fs::symlink_metadata(path).map_err(|source| self.error("inspect the socket's folder of", source))?;
        if made.is_dir() && made.uid() == geteuid().as_raw() && made.uid() != account.uid {
            chown(path, Some(account.uid), Some(account.gid))
                .map_err(|source| self.error("hand over the socket's folder of", source))?;
        }
        self.check_socket_folder()
    }

    /// In /tmp anybody could have made it before us; then it must not be used, whether to serve or to ask.
    pub fn check_socket_folder(&self) -> Result<(), ServerError> {
        let owner = fs::metadata(self.data()).map(|data| data.uid());
        let safe = fs::symlink_metadata(&self.socket_folder).is_ok_and(|folder| {
            folder.is_dir() && owner.is_ok_and(|owner| owner == folder.uid()) && folder.mode() & 0o077 == 0
        });
        if safe { Ok(()) } else { Err(ServerError::SocketFolder { path: self.socket_folder.clone() }) }
    }

    /// A folder in /tmp is not left behind; it is empty, as Postgres removes its socket.
    pub fn remove_socket_folder(&self) {
        if !self.socket_folder.starts_with(&self.root)
            && let Err(error) = fs::remove_dir(&self.socket_folder)
        {
            tracing::debug!(%error, path = %self.socket_folder.display(), "the socket's folder stays");
        }
    }

    pub fn open_log(&self) -> io::Result<File> {
        let path = self.log_path();
        if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            fs::rename(&path, self.root.join("server.log.1"))?;
        }
        OpenOptions::new().append(true).create(true).mode(0o600).open(path)
    }

    pub fn error(&self, doing: &'static str, source: io::Error) -> ServerError {
        ServerError::Io { doing, path: self.root.clone(), source }
    }
}

fn first_number(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.lines().next()?.trim().parse().ok()
}

/// Near the data, unless that path is too long for a socket or would have to be quoted in settings and URLs. The
/// other place follows from the path as well, so that every process finds it without asking.
fn socket_folder(root: &Path) -> PathBuf {
    let near = root.join("run");
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    let bytes = near.as_os_str().as_encoded_bytes();
    if bytes.len() + SOCKET_NAME.len() <= SOCKET_PATH_BYTES_MAX && bytes.iter().all(plain) {
        near
    } else {
        Path::new("/tmp").join(format!("ledger-{}", short_hash(root)))
    }
}

fn short_hash(path: &Path) -> String {
    let mut text = HEXLOWER.encode(&Sha256::digest(path.as_os_str().as_encoded_bytes()));
    text.truncate(16);
    text
}
