//! Where `initdb` and `postgres` are found: where the caller says, on the path, where systems install them, or in a
//! prebuilt archive. The first that the server's account can run, and that can read the data, is taken.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use rustix::process::Signal;

use super::{Account, BINARIES_VARIABLE, ServerError, archive};

/// Older ones are no longer maintained.
const MAJOR_MIN: u32 = 14;

/// (folder, what stands before the version in a name, folder below) of every system that keeps versions side by side.
const PLACES: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),                          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                                   // Red Hat
    ("/usr/libexec", "postgresql", ""),                          // Alpine
    ("/opt/homebrew/opt", "postgresql@", "bin"),                 // Homebrew on ARM
    ("/usr/local/opt", "postgresql@", "bin"),                    // Homebrew on Intel
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"), // Postgres.app
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    pub folder: PathBuf,
    /// As `postgres --version` says it.
    pub version: String,
}

impl Binaries {
    /// `data_major` is the version that wrote the data, if there are any: no other can read them.
    pub fn find(chosen: Option<&Path>, data_major: Option<u32>, account: &Account) -> Result<Binaries, ServerError> {
        let mut tried = Vec::new();
        let places = chosen.map_or_else(installed, |chosen| vec![chosen.to_owned()]);
        for folder in places {
            match Binaries::at(&folder, data_major, account) {
                Ok(binaries) => return Ok(binaries),
                Err(why) => tried.push(format!("{}: {why}", folder.display())),
            }
        }
        if chosen.is_none() {
            match archive::folder(data_major).and_then(|folder| Binaries::at(&folder, data_major, account)) {
                Ok(binaries) => return Ok(binaries),
                Err(why) => tried.push(format!("prebuilt archive: {why}")),
            }
        }
        Err(ServerError::NoBinaries { tried, install: install_command(data_major) })
    }

    fn at(folder: &Path, data_major: Option<u32>, account: &Account) -> Result<Binaries, String> {
        // Asked as the account that will run it, so that what it may not read does not count.
        let mut command = account.command(&folder.join("postgres"), Path::new("/"), Signal::KILL);
        let output = command.arg("--version").output().map_err(|error| error.to_string())?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let major = major(&version).ok_or_else(|| {
            format!("`postgres --version` says {version:?} {}", String::from_utf8_lossy(&output.stderr).trim())
        })?;
        match data_major {
            Some(data) if data != major => Err(format!("it is version {major}, and the data are version {data}")),
            None if major < MAJOR_MIN => Err(format!("version {major} is older than {MAJOR_MIN}")),
            Some(_) | None if !folder.join("initdb").exists() => Err("it has no initdb".into()),
            Some(_) | None => Ok(Binaries { folder: folder.to_owned(), version }),
        }
    }
}

/// The folder that somebody chose.
pub fn chosen() -> Option<PathBuf> {
    env::var_os(BINARIES_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// A client program such as psql: on the path, or beside the programs of a server.
pub fn client_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = chosen().into_iter().chain(env::split_paths(&path));
    folders.chain(PLACES.iter().flat_map(versions)).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// From `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` or `… 18beta1`.
fn major(version: &str) -> Option<u32> {
    let number = version.strip_prefix("postgres (PostgreSQL) ")?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn installed() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let complete = |folder: &PathBuf| folder.is_absolute() && folder.join("postgres").exists();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).filter(complete).collect();
    folders.extend(PLACES.iter().flat_map(versions).filter(complete));
    folders
}

/// The newest first.
fn versions((parent, before, below): &(&str, &str, &str)) -> Vec<PathBuf> {
    let version = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix(before)?.parse::<u32>().ok();
    let mut found: Vec<u32> = fs::read_dir(parent).into_iter().flatten().flatten().filter_map(version).collect();
    found.sort_unstable();
    found.iter().rev().map(|version| Path::new(parent).join(format!("{before}{version}")).join(below)).collect()
}

fn install_command(data_major: Option<u32>) -> String {
    /// (tool, command for any version, command for a certain one)
    const INSTALLERS: &[(&str, &str, &str)] = &[
        ("/usr/bin/apt-get", "apt-get install postgresql", "apt-get install postgresql-{}"),
        ("/usr/bin/dnf", "dnf install postgresql-server", "dnf install postgresql{}-server"),
        ("/usr/bin/zypper", "zypper install postgresql-server", "zypper install postgresql{}-server"),
        ("/sbin/apk", "apk add postgresql", "apk add postgresql{}"),
        ("/usr/bin/pacman", "pacman -S postgresql", "pacman -S postgresql"),
        ("/opt/homebrew/bin/brew", "brew install postgresql@17", "brew install postgresql@{}"),
        ("/usr/local/bin/brew", "brew install postgresql@17", "brew install postgresql@{}"),
    ];
    let installer = INSTALLERS.iter().find(|(tool, _, _)| Path::new(tool).exists());
    let major = data_major.map(|major| major.to_string());
    match (installer, major) {
        (Some((_, _, command)), Some(major)) => format!("install it with `{}`", command.replace("{}", &major)),
        (Some((_, command, _)), None) => format!("install it with `{command}`"),
        (None, Some(major)) => format!("install PostgreSQL {major}"),
        (None, None) => "install PostgreSQL".into(),
    }
}
