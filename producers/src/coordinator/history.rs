//! History: what was in the log before this coordinator began. It is folded and never decided on while it is read,
//! because the decisions of those days stand further on in the log. Afterwards whatever is still missing is decided.

use std::{collections::BTreeMap, time::Duration};

use engine::stream::StreamError;
use postgres::Client;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{PROJECTION, outbox::Outbox};
use crate::publisher::Publisher;

/// By partition: up to where only folding is done, for those that are not there yet. A partition that is seen for the
/// first time gets today's end of the log.
pub(super) fn unread(
    client: &mut Client,
    publisher: &Publisher,
    partitions: &[i32],
) -> Result<BTreeMap<i32, i64>, StreamError> {
    let known: i64 = client
        .query_one("select count(*) from coordinator.live_from where partition = any($1)", &[&partitions])?
        .get(0);
    if usize::try_from(known).ok() != Some(partitions.len()) {
        let (numbers, ends): (Vec<i32>, Vec<i64>) = (0..).zip(publisher.ends()?).unzip();
        client.execute(
            "insert into coordinator.live_from (partition, \"offset\")
             select * from unnest($1::int[], $2::bigint[]) as v (partition, o) where partition = any($3)
             on conflict do nothing",
            &[&numbers, &ends, &partitions],
        )?;
    }
    let rows = client.query(
        "select l.partition, l.\"offset\" from coordinator.live_from l
         join engine.fence f on f.projection = $1 and f.partition = l.partition
         where l.partition = any($2) and f.next_offset < l.\"offset\"",
        &[&PROJECTION, &partitions],
    )?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

const SEND_PATIENCE: Duration = Duration::from_secs(30);

/// Forgets the coordinator's state, so that its lanes fold it anew from offset 0 and decide only what is missing at
/// today's end of the log. Living lanes are fenced off and start over. Tasks stay: what was claimed stays claimed.
/// Blocks, and sends on `runtime`.
pub fn rebuild(client: &mut Client, publisher: &Publisher, runtime: &Handle) -> Result<(), StreamError> {
    // Nobody decides from here on, and what has been decided is in the log before its end is looked at. Should this
    // process die, the lanes come back when its lease is over.
    client.execute(
        "update engine.fence set epoch = epoch + 1, owner = $2, lease_until = clock_timestamp() + interval '1 minute'
         where projection = $1",
        &[&PROJECTION, &Uuid::new_v4()],
    )?;
    let partitions: Vec<i32> = client
        .query("select partition from engine.fence where projection = $1", &[&PROJECTION])?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let mut outbox = Outbox::default();
    outbox.reload(client, &partitions)?;
    runtime
        .block_on(publisher.append_all(outbox.events(), SEND_PATIENCE))
        .map_err(|error| StreamError::Passing(format!("what was decided could not be sent: {error}; try again")))?;
    let (numbers, ends): (Vec<i32>, Vec<i64>) = (0..).zip(publisher.ends()?).unzip();
    let mut tx = client.transaction()?;
    tx.execute(
        "update engine.fence set next_offset = 0, owner = null, lease_until = null where projection = $1",
        &[&PROJECTION],
    )?;
    tx.batch_execute("truncate coordinator.orders, coordinator.streams, coordinator.outbox")?;
    tx.execute(
        "insert into coordinator.live_from (partition, \"offset\") select * from unnest($1::int[], $2::bigint[])
         on conflict (partition) do update set \"offset\" = excluded.\"offset\"",
        &[&numbers, &ends],
    )?;
    Ok(tx.commit()?)
}
