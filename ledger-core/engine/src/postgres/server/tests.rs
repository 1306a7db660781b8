//! On real servers, as root and as anybody else. Each test has a folder of its own and leaves no process behind.

#![allow(clippy::unwrap_used)]

use std::{
    env, fs,
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
};

use postgres::Client;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use super::*;

/// A folder that another user may pass through, as Postgres does when the tests run as root.
fn scratch() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}

fn client(server: &Server) -> Client {
    Client::connect(&server.url(), NoTls).unwrap()
}

fn setting(client: &mut Client, name: &str) -> String {
    client.query_one("SELECT current_setting($1)", &[&name]).unwrap().get(0)
}

/// Everything that runs on these data: the server and its sessions.
fn processes_of(folder: &Folder) -> Vec<u32> {
    let (data, title) = (folder.data(), format!("postgres: {}: ", folder.cluster_name()));
    let ours =
        |arguments: &str| arguments.split('\0').any(|word| Path::new(word) == data) || arguments.starts_with(&title);
    leftovers::processes().iter().filter(|process| ours(&process.arguments)).map(|process| process.pid).collect()
}

fn assert_nothing_runs(folder: &Folder) {
    let running = processes_of(folder);
    assert!(running.is_empty(), "still running: {running:?}");
}

fn kill_9(pid: u32) {
    // It may have ended on its own meanwhile.
    let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL);
}

fn within<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(begun.elapsed() < limit, "not within {limit:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_cold_and_a_warm_start_and_nothing_is_left_running() {
    let place = scratch();
    fs::create_dir(place.path().join("data.new")).unwrap();
    fs::write(place.path().join("data.new/half"), "what a killed initdb left").unwrap();

    let begun = Instant::now();
    let server = Server::start(place.path()).unwrap();
    println!("cold start: {:?}", begun.elapsed());
    let mut session = client(&server);
    session.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").unwrap();
    for (name, value) in [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
        ("shared_buffers", "512MB"),
    ] {
        assert_eq!(setting(&mut session, name), value, "{name}");
    }
    let door = fs::metadata(server.folder.socket_folder()).unwrap();
    assert_eq!(door.permissions().mode() & 0o777, 0o700, "only the server's user and root reach the socket");
    assert_eq!(Server::running(place.path()).unwrap(), server.url());

    // The open session does not keep the server from ending.
    let folder = server.folder.clone();
    let begun = Instant::now();
    server.stop();
    println!("stop: {:?}", begun.elapsed());
    assert_nothing_runs(&folder);
    assert!(matches!(Server::running(place.path()), Err(ServerError::NotRunning { .. })));

    let begun = Instant::now();
    let server = Server::start(place.path()).unwrap();
    println!("warm start: {:?}", begun.elapsed());
    assert_eq!(client(&server).query("SELECT n FROM kept", &[]).unwrap().len(), 1);
    drop(server);
    assert_nothing_runs(&folder);
}

#[test]
fn a_second_process_joins_and_takes_over_when_the_first_ends() {
    let place = scratch();
    let first = Server::start(place.path()).unwrap();
    client(&first).batch_execute("CREATE TABLE kept (n int)").unwrap();
    let second = Server::start(place.path()).unwrap();
    assert_eq!(second.url(), first.url());
    let pid = first.pid();
    second.stop();
    client(&first).batch_execute("INSERT INTO kept VALUES (1)").unwrap();
    assert_eq!(first.pid(), pid, "a guest that leaves does not touch the server");

    let heir = Server::start(place.path()).unwrap();
    assert_eq!(heir.pid(), pid);
    first.stop();
    let mut session = within(Duration::from_secs(30), || Client::connect(&heir.url(), NoTls).ok());
    assert_eq!(session.query("SELECT n FROM kept", &[]).unwrap().len(), 1);
    assert_ne!(heir.pid(), pid);
    let folder = heir.folder.clone();
    heir.stop();
    assert_nothing_runs(&folder);
}

/// Adds numbers until told to stop, and writes down the highest that was acknowledged.
fn add_rows(url: &str, acknowledged: &AtomicI64, enough: &AtomicBool) {
    let mut next = 1;
    while !enough.load(Ordering::SeqCst) {
        let Ok(mut session) = Client::connect(url, NoTls) else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        // A row whose acknowledgement was lost may be there; then it stays, once.
        while session.execute("INSERT INTO kept VALUES ($1) ON CONFLICT DO NOTHING", &[&next]).is_ok() {
            acknowledged.store(next, Ordering::SeqCst);
            next += 1;
            if enough.load(Ordering::SeqCst) {
                return;
            }
        }
    }
}

#[test]
fn a_killed_server_comes_back_with_every_acknowledged_row() {
    let place = scratch();
    let server = Server::start(place.path()).unwrap();
    client(&server).batch_execute("CREATE TABLE kept (n bigint PRIMARY KEY)").unwrap();
    let (acknowledged, enough) = (AtomicI64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let url = server.url();
        let (acknowledged, enough) = (&acknowledged, &enough);
        scope.spawn(move || add_rows(&url, acknowledged, enough));
        for everything in [false, false, true, false] {
            // A session deep in a query does not notice that its server is gone, and must not keep it away.
            let mut busy = client(&server);
            scope.spawn(move || busy.batch_execute("SELECT count(*) FROM generate_series(1, 1000000000)").is_ok());
            let before = acknowledged.load(Ordering::SeqCst);
            within(Duration::from_secs(30), || (acknowledged.load(Ordering::SeqCst) > before + 20).then_some(()));
            let pid = server.pid().unwrap();
            let begun = Instant::now();
            if everything {
                processes_of(&server.folder).into_iter().for_each(kill_9);
            } else {
                kill_9(pid);
            }
            let begin_again = || Client::connect(&server.url(), NoTls).ok().filter(|_| server.pid() != Some(pid));
            within(Duration::from_secs(30), begin_again);
            println!("back after {:?}", begun.elapsed());
        }
        enough.store(true, Ordering::SeqCst);
    });
    let last = acknowledged.load(Ordering::SeqCst);
    let missing =
        "SELECT n FROM generate_series(1, $1::bigint) n WHERE NOT EXISTS (SELECT FROM kept WHERE kept.n = n.n)";
    assert_eq!(client(&server).query(missing, &[&last]).unwrap().len(), 0);
    println!("{last} rows acknowledged, none lost");
    let folder = server.folder.clone();
    server.stop();
    assert_nothing_runs(&folder);
}

const HELPER_FOLDER: &str = "LEDGER_TEST_HELPER_FOLDER";

/// Not a test but the program that the next one kills.
#[test]
fn helper_that_owns_a_server() {
    let Some(folder) = env::var_os(HELPER_FOLDER) else { return };
    let server = Server::start(Path::new(&folder)).unwrap();
    client(&server).batch_execute("CREATE TABLE kept (n int)").unwrap();
    fs::write(Path::new(&folder).join("ready"), "").unwrap();
    thread::sleep(Duration::from_secs(120));
}

#[test]
fn a_killed_owner_takes_its_server_along_and_the_next_one_starts_at_once() {
    let place = scratch();
    let mut helper = Command::new(env::current_exe().unwrap());
    helper.args(["--exact", "postgres::server::tests::helper_that_owns_a_server"]);
    helper.env(HELPER_FOLDER, place.path()).stdout(Stdio::null());
    let mut helper = helper.spawn().unwrap();
    within(Duration::from_secs(60), || place.path().join("ready").exists().then_some(()));
    let folder = Folder::open(place.path()).unwrap();
    assert!(!processes_of(&folder).is_empty());

    helper.kill().unwrap();
    helper.wait().unwrap();
    let begun = Instant::now();
    let server = Server::start(place.path()).unwrap();
    println!("start after a killed owner: {:?}", begun.elapsed());
    client(&server).batch_execute("INSERT INTO kept VALUES (1)").unwrap();
    server.stop();
    assert_nothing_runs(&folder);
}

#[test]
fn a_process_id_that_a_stranger_has_by_now_does_not_keep_the_server_away() {
    let place = scratch();
    let server = Server::start(place.path()).unwrap();
    let folder = server.folder.clone();
    server.stop();
    let account = Account::choose(&folder.data()).unwrap();
    let mut stranger = account.command(Path::new("/bin/sleep"), Path::new("/"), Signal::KILL);
    let mut stranger = stranger.arg("60").spawn().unwrap();
    fs::write(folder.pid_path(), format!("{}\n{}\n", stranger.id(), folder.data().display())).unwrap();
    let server = Server::start(place.path()).unwrap();
    assert_ne!(server.pid(), Some(stranger.id()));
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger is left alone");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_path_too_long_or_too_odd_for_a_socket_is_no_obstacle() {
    let place = scratch();
    let odd = place.path().join("账本 of a \"school\", 100%").join("long".repeat(30));
    let server = Server::start(&odd).unwrap();
    let socket_folder = server.folder.socket_folder().to_owned();
    assert!(socket_folder.starts_with("/tmp"));
    client(&server).batch_execute("SELECT 1").unwrap();
    let folder = server.folder.clone();
    server.stop();
    assert!(!socket_folder.exists());
    assert_nothing_runs(&folder);

    // Somebody else was there first.
    fs::create_dir(&socket_folder).unwrap();
    fs::set_permissions(&socket_folder, Permissions::from_mode(0o777)).unwrap();
    let refused = Server::start(&odd);
    fs::remove_dir(&socket_folder).unwrap();
    assert!(matches!(refused, Err(ServerError::SocketFolder { .. })), "{refused:?}");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let place = scratch();
    let server = Server::start(place.path()).unwrap();
    let settings = server.folder.data().join("postgresql.conf");
    server.stop();
    fs::write(&settings, "shared_buffers = much\n").unwrap();
    let refused = Server::start(place.path()).unwrap_err().to_string();
    assert!(refused.contains("shared_buffers") && refused.contains("server.log"), "{refused}");
}

#[test]
fn data_of_another_version_are_not_touched() {
    let place = scratch();
    fs::create_dir(place.path().join("data")).unwrap();
    fs::write(place.path().join("data/PG_VERSION"), "99\n").unwrap();
    let refused = Server::start(place.path()).unwrap_err().to_string();
    assert!(refused.contains("the data are version 99"), "{refused}");
}

#[test]
fn binaries_that_are_not_there_are_named() {
    let place = scratch();
    let refused = Server::start_with(place.path(), Some(Path::new("/nowhere"))).unwrap_err().to_string();
    assert!(refused.contains("/nowhere") && refused.contains(BINARIES_VARIABLE), "{refused}");
}

#[test]
fn root_is_told_which_folder_is_closed_to_the_server() {
    if !geteuid().is_root() {
        return; // Anybody else runs the server as oneself.
    }
    let place = scratch();
    let closed = place.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    let refused = Server::start(&closed.join("ledger")).unwrap_err();
    let expected = closed.canonicalize().unwrap();
    assert!(matches!(&refused, ServerError::Closed { closed, .. } if *closed == expected), "{refused}");
}
