//! On a real server that listens on TCP, with a certificate for `localhost` from an authority of our own.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    fs::Permissions,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::*;
use crate::{
    log::{LogError, open},
    postgres::{
        connect, explain, pool,
        server::{
            Server,
            account::Account,
            binaries::{self, Binaries},
        },
    },
};

#[test]
fn a_url_says_how_far_to_trust() {
    let file = |path: &str| Tls::File(path.into());
    let plain = "postgres://me:a?b@h:1/d";
    for (settings, mode, tls) in [
        ("", SslMode::Prefer, Tls::Anybody),
        ("?sslmode=disable&sslrootcert=/a", SslMode::Disable, Tls::Anybody),
        ("?sslmode=require", SslMode::Require, Tls::System),
        ("?sslmode=verify-full&connect_timeout=3", SslMode::Require, Tls::System),
        ("?sslmode=verify-ca&sslrootcert=%2Fa%20b", SslMode::Require, file("/a b")),
        ("?sslrootcert=/a", SslMode::Require, file("/a")),
        ("?sslrootcert=system", SslMode::Require, Tls::System),
    ] {
        let (config, read) = read(&format!("{plain}{settings}")).unwrap();
        assert_eq!((config.get_ssl_mode(), read), (mode, tls), "{settings}");
        assert_eq!(config.get_password(), Some(&b"a?b"[..]));
    }
    let (config, _) = read("postgres://me@%2Frun/d?sslmode=verify-full").unwrap();
    assert_eq!(config.get_ssl_mode(), SslMode::Disable);
    assert!(read("postgres://h/d?sslmode=sometimes").is_err());
    assert_eq!(read("host=h dbname=d sslmode=require").unwrap().1, Tls::System);
}

#[test]
fn connections_over_tcp() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let server = Listening::start(place.path());
    let path = |name: &str| place.path().join(name).display().to_string();
    let (ours, others) = (path("ca.pem"), path("other-ca.pem"));
    let url = |host, settings: &str| server.url(host, settings);

    for (settings, encrypted) in [
        (format!("sslmode=verify-full&sslrootcert={ours}"), true),
        // Signed in by the very channel that the certificate made.
        (format!("sslmode=require&sslrootcert={ours}&channel_binding=require"), true),
        ("sslmode=prefer".to_owned(), true),
        (String::new(), true),
        ("sslmode=disable".to_owned(), false),
    ] {
        assert_eq!(is_encrypted(&url("localhost", &settings)), Ok(encrypted), "{settings}");
    }
    let settings = format!("sslmode=verify-full&sslrootcert={ours}");
    let log = open("postgres", &url("localhost", &settings)).map(|log| log.describe("topic").unwrap_err());
    assert!(matches!(log, Ok(LogError::Misconfigured(why)) if why.contains("migrations")));
    for (host, settings, why) in [
        ("localhost", "sslmode=require".to_owned(), "UnknownIssuer"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={others}"), "certificate"),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ours}"), "not valid for name"),
        ("localhost", format!("sslrootcert={}", path("missing.pem")), "missing.pem"),
        ("localhost", format!("sslrootcert={}", path("data/PG_VERSION")), "PG_VERSION"),
    ] {
        let refused = is_encrypted(&url(host, &settings)).unwrap_err();
        assert!(refused.contains(why), "{settings}: {refused}");
    }

    let mut client = connect(&url("localhost", ""), "test").unwrap();
    client.batch_execute("ALTER SYSTEM SET ssl = off").unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    let begun = Instant::now();
    while is_encrypted(&url("localhost", "sslmode=prefer")) != Ok(false) {
        assert!(begun.elapsed() < Duration::from_secs(10), "TLS cannot be switched off");
        thread::sleep(Duration::from_millis(20));
    }
    let refused = is_encrypted(&url("localhost", "sslmode=require")).unwrap_err();
    assert!(refused.contains("does not support TLS"), "{refused}");
}

/// Whether what `url` leads to is encrypted; a connection of one's own and a pool have to agree.
fn is_encrypted(url: &str) -> Result<bool, String> {
    const QUESTION: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let own = connect(url, "test").map_err(|error| explain(&error));
    let own = own.map(|mut client| client.query_one(QUESTION, &[]).unwrap().get::<_, bool>(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pooled = runtime.block_on(async {
        let client = pool(url, "test", 1).unwrap().get().await.map_err(|error| explain(&error))?;
        Ok::<_, String>(client.query_one(QUESTION, &[]).await.unwrap().get::<_, bool>(0))
    });
    assert_eq!(own.is_ok(), pooled.is_ok(), "{own:?} {pooled:?}");
    if let Ok(pooled) = pooled {
        assert_eq!(own, Ok(pooled));
    }
    own
}

/// The server that we look after listens on no port, so its data are served by one that does.
struct Listening {
    child: Child,
    port: u16,
}

impl Listening {
    fn start(place: &Path) -> Self {
        let (data, hba) = (place.join("data"), place.join("pg_hba.conf"));
        let ours = Server::start(place).unwrap();
        let mut client = connect(&ours.url(), "test").unwrap();
        client.batch_execute("ALTER USER ledger PASSWORD 'secret'").unwrap();
        client.batch_execute("ALTER SYSTEM SET ssl = on").unwrap();
        drop(client);
        ours.stop();

        let account = Account::choose(&data).unwrap();
        certificates(place, &data, &account);
        fs::write(&hba, "host all all samehost scram-sha-256\n").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let chosen = binaries::chosen();
        let postgres = Binaries::find(chosen.as_deref(), None, &account).unwrap().folder.join("postgres");
        let mut command = account.command(&postgres, place, Signal::QUIT);
        command.arg("-D").arg(&data).args(["-c", "listen_addresses=localhost", "-c", "unix_socket_directories="]);
        command.args(["-c", &format!("port={port}"), "-c", &format!("hba_file={}", hba.display())]);
        let child = command.stderr(fs::File::create(place.join("tls.log")).unwrap()).spawn().unwrap();
        let server = Self { child, port };
        let begun = Instant::now();
        while let Err(error) = connect(&server.url("localhost", ""), "test") {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", explain(&error));
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn url(&self, host: &str, settings: &str) -> String {
        format!("postgres://ledger:secret@{host}:{}/ledger?{settings}", self.port)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, Signal::QUIT).unwrap();
        self.child.wait().unwrap();
    }
}

/// The server's own, readable by it alone, and the authority's; and another authority.
fn certificates(place: &Path, data: &Path, account: &Account) {
    let authority = || {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, key) = (authority(), KeyPair::generate().unwrap());
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    fs::write(place.join("ca.pem"), ours.pem()).unwrap();
    fs::write(place.join("other-ca.pem"), authority().pem()).unwrap();
    for (name, text) in [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())] {
        let path = data.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        if geteuid().is_root() {
            chown(&path, Some(account.uid), Some(account.gid)).unwrap();
        }
    }
}
