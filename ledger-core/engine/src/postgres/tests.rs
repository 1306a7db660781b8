//! Connections and migrations, on one server that all tests share the cost of: each has a database of its own.

#![allow(clippy::unwrap_used)]

use std::{fs, fs::Permissions, os::unix::fs::PermissionsExt, sync::Barrier, thread};

use postgres::{Client, error::SqlState, types::Type};

use super::{server::Server, *};
use crate::{postgres::QueryError, stream::StreamError};

const FIRST: (&str, &str) = ("V1__accounts", "CREATE TABLE accounts (id int); INSERT INTO accounts VALUES (1);");
const SECOND: (&str, &str) = ("V2__cards", "CREATE TABLE cards (id int); INSERT INTO cards VALUES (1);");
const BROKEN: (&str, &str) = ("V3__broken", "CREATE TABLE fees (id int); INSERT INTO fees VALUES ('no number');");

#[test]
fn connections_and_migrations() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let server = Server::start(place.path()).unwrap();
    for (name, test) in [
        ("sessions", sessions_have_a_name_and_speak_utc as fn(&str)),
        ("survival", a_pool_survives_a_restart_of_its_sessions),
        ("concurrent", migrations_are_applied_once_by_two_callers),
        ("changed", a_changed_migration_is_refused),
        ("sequence", what_was_applied_must_be_the_beginning),
        ("broken", a_failing_migration_leaves_nothing_behind),
        ("schemas", each_schema_has_its_own_record),
        ("causes", errors_tell_their_causes_once),
        ("copies", rows_are_copied_in_pieces_or_not_at_all),
    ] {
        println!("{name}");
        connect(&server.url(), "test").unwrap().batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        let url = server.url();
        test(&format!("{}/{name}", url.strip_suffix("/ledger").unwrap()));
    }
}

fn count(client: &mut postgres::Client, table: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).unwrap().get(0)
}

fn sessions_have_a_name_and_speak_utc(url: &str) {
    let mut client = connect(&format!("{url}?options=-c%20work_mem%3D1MB"), "ledger lane 3").unwrap();
    for (name, value) in [
        ("application_name", "ledger lane 3"),
        ("TimeZone", "UTC"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("statement_timeout", "0"),
        ("work_mem", "1MB"),
    ] {
        let found: String = client.query_one("SELECT current_setting($1)", &[&name]).unwrap().get(0);
        assert_eq!(found, value, "{name}");
    }
    assert!(connect("no url", "test").is_err());
    assert!(matches!(pool("no url", "test", 1), Err(PoolError::Url(_))));
}

fn a_pool_survives_a_restart_of_its_sessions(url: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let pool = pool(url, "ledger readers", 1).unwrap();
    let pid = || async {
        let client = pool.get().await.unwrap();
        client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0)
    };
    let first = runtime.block_on(pid());
    assert_eq!(runtime.block_on(pid()), first);
    let mut killer = connect(url, "test").unwrap();
    killer.execute("SELECT pg_terminate_backend($1, 5000)", &[&first]).unwrap();
    assert_ne!(runtime.block_on(pid()), first);
}

fn migrations_are_applied_once_by_two_callers(url: &str) {
    let together = Barrier::new(2);
    let call = || {
        let mut client = connect(url, "test").unwrap();
        together.wait();
        migrate(&mut client, "engine", &[FIRST, SECOND]).unwrap()
    };
    let (one, other) = thread::scope(|scope| {
        let other = scope.spawn(call);
        (call(), other.join().unwrap())
    });
    assert_eq!((one.min(other), one.max(other)), (0, 2));
    let mut client = connect(url, "test").unwrap();
    assert_eq!(count(&mut client, "accounts"), 1);
    assert_eq!(count(&mut client, "cards"), 1);
    assert_eq!(count(&mut client, "ledger_migrations"), 2);
}

fn a_changed_migration_is_refused(url: &str) {
    let mut client = connect(url, "test").unwrap();
    assert_eq!(migrate(&mut client, "engine", &[FIRST]).unwrap(), 1);
    let other_line_ends = (FIRST.0, FIRST.1.replace('\n', "\r\n"));
    assert_eq!(migrate(&mut client, "engine", &[(other_line_ends.0, &other_line_ends.1), SECOND]).unwrap(), 1);
    let changed = (FIRST.0, "CREATE TABLE accounts (id bigint)");
    let refused = migrate(&mut client, "engine", &[changed, SECOND]).unwrap_err();
    assert!(matches!(refused, MigrateError::Changed { name, .. } if name == FIRST.0));
    // Another set may well use the same name.
    assert_eq!(migrate(&mut client, "producers", &[(FIRST.0, "CREATE TABLE doors (id int)")]).unwrap(), 1);
}

fn what_was_applied_must_be_the_beginning(url: &str) {
    let mut client = connect(url, "test").unwrap();
    migrate(&mut client, "engine", &[FIRST, SECOND]).unwrap();
    let older = migrate(&mut client, "engine", &[FIRST]).unwrap_err();
    assert!(matches!(older, MigrateError::Newer { name, .. } if name == SECOND.0));
    let squeezed_in = ("V1_5__late", "CREATE TABLE late (id int)");
    let refused = migrate(&mut client, "engine", &[FIRST, squeezed_in, SECOND]).unwrap_err();
    assert!(matches!(refused, MigrateError::Reordered { place: 2, .. }));
}

fn a_failing_migration_leaves_nothing_behind(url: &str) {
    let mut client = connect(url, "test").unwrap();
    let failed = migrate(&mut client, "engine", &[FIRST, SECOND, BROKEN]).unwrap_err();
    assert!(explain(&failed).contains("invalid input syntax"), "{}", explain(&failed));
    let MigrateError::Failed { name, source, .. } = failed else { panic!("{failed}") };
    assert_eq!((name.as_str(), source.code()), (BROKEN.0, Some(&SqlState::INVALID_TEXT_REPRESENTATION)));
    assert_eq!(count(&mut client, "pg_tables WHERE schemaname = 'public'"), 0);
}

fn each_schema_has_its_own_record(url: &str) {
    let mut client = connect(url, "test").unwrap();
    assert_eq!(migrate(&mut client, "projections", &[FIRST]).unwrap(), 1);
    client.batch_execute("CREATE SCHEMA generation_2; SET search_path = generation_2, public").unwrap();
    assert_eq!(migrate(&mut client, "projections", &[FIRST]).unwrap(), 1);
    assert_eq!(migrate(&mut client, "projections", &[FIRST]).unwrap(), 0);
}

fn errors_tell_their_causes_once(url: &str) {
    let refused = connect(url, "test").unwrap().batch_execute("SELECT nothing").unwrap_err();
    let told = StreamError::from(refused).to_string();
    assert!(told.ends_with("column \"nothing\" does not exist"), "{told}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let nowhere = pool("postgres://ledger@127.0.0.1:1/ledger", "test", 1).unwrap();
    let told = QueryError::from(runtime.block_on(nowhere.get()).err().unwrap()).to_string();
    assert!(told.contains("refused") && told.matches("connecting").count() == 1, "{told}");
}

fn rows_are_copied_in_pieces_or_not_at_all(url: &str) {
    let mut client = connect(url, "test").unwrap();
    client.batch_execute("CREATE TABLE rows (n int PRIMARY KEY, said text, sum bigint)").unwrap();
    let types = [Type::INT4, Type::TEXT, Type::INT8];
    let copy = |client: &mut Client, rows: &[(i32, Option<&str>)]| {
        let mut tx = client.transaction()?;
        let mut copy = Copy::begin(&mut tx, "COPY rows FROM STDIN (FORMAT binary)", &types)?;
        for (n, said) in rows {
            copy.write(&[n, said, &i64::MAX])?;
        }
        copy.finish()?;
        tx.commit().map_err(CopyError::from)
    };
    let long = "还款".repeat(20_000);
    copy(&mut client, &[]).unwrap();
    copy(&mut client, &[(1, None), (2, Some("")), (3, Some(&long)), (4, Some("四"))]).unwrap();
    let rows = client.query("SELECT said, sum FROM rows ORDER BY n", &[]).unwrap();
    let said: Vec<Option<&str>> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(said, [None, Some(""), Some(&*long), Some("四")]);
    assert!(rows.iter().all(|row| row.get::<_, i64>(1) == i64::MAX));

    let again = copy(&mut client, &[(5, None), (1, None)]);
    assert!(matches!(again, Err(CopyError::Postgres(error)) if error.code() == Some(&SqlState::UNIQUE_VIOLATION)));
    let mut tx = client.transaction().unwrap();
    let mut unfit = Copy::begin(&mut tx, "COPY rows FROM STDIN (FORMAT binary)", &types).unwrap();
    assert!(matches!(unfit.write(&[&"five", &None::<&str>, &0_i64]), Err(CopyError::Value(_))));
    drop(unfit);
    drop(tx);
    assert_eq!(count(&mut client, "rows"), 4, "nothing of an unfinished one stays");
}
