//! What the fence itself forbids, without the lease's help: a lane may be late with everything it believes.

#![allow(clippy::unwrap_used)]

use std::{fs, fs::Permissions, os::unix::fs::PermissionsExt};

use super::*;
use crate::postgres::{connect, migrate, server::Server};

fn open(client: &mut Client, url: &str) -> Fence {
    let topic = TopicInfo { identity: "log".to_owned(), partitions: 2, replication: 1, settings: BTreeMap::new() };
    Fence::open(client, &LaneConfig::new("views", "events", url), &topic).unwrap()
}

fn record(offset: i64) -> Record {
    let position = Position { partition: 0, offset };
    Record {
        position,
        timestamp: DateTime::UNIX_EPOCH,
        key: Vec::new(),
        headers: Default::default(),
        value: Vec::new(),
    }
}

/// Moves the fence past one record, in a transaction of its own.
fn advance(fence: &mut Fence, client: &mut Client, offset: i64) -> Result<(), StreamError> {
    fence.read(&[record(offset)]);
    let mut tx = client.transaction()?;
    fence.advance(&mut tx)?;
    Ok(tx.commit()?)
}

#[test]
fn only_who_holds_a_partition_and_knows_its_offset_moves_it() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let server = Server::start(place.path()).unwrap();
    let (mut client, url) = (connect(&server.url(), "test").unwrap(), server.url());
    migrate(&mut client, "engine", crate::MIGRATIONS).unwrap();

    let mut first = open(&mut client, &url);
    assert!(first.tend(&mut client).unwrap());
    advance(&mut first, &mut client, 0).unwrap();

    // Another takes over while the first is away.
    client
        .batch_execute("update engine.fence set lease_until = now() - interval '1 s'; delete from engine.worker")
        .unwrap();
    let mut second = open(&mut client, &url);
    assert!(second.tend(&mut client).unwrap());
    assert_eq!(second.partitions(), [0, 1]);
    let late = advance(&mut first, &mut client, 1);
    assert!(
        matches!(late, Err(StreamError::Fenced)),
        "the epoch is another, although the offset is the same: {late:?}"
    );
    advance(&mut second, &mut client, 1).unwrap();

    // Whatever moved it: who does not know the offset has not folded what came before.
    client.batch_execute("update engine.fence set next_offset = 7 where partition = 0").unwrap();
    let astray = advance(&mut second, &mut client, 2);
    assert!(matches!(astray, Err(StreamError::Fenced)), "{astray:?}");
    let next: i64 = client.query_one("select next_offset from engine.fence where partition = 0", &[]).unwrap().get(0);
    assert_eq!(next, 7, "and it moved nothing");
}
