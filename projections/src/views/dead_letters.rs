//! Dead letters: records that cannot be read as events. They stay dead; what they meant is told by a new event.

use engine::stream::StreamError;
use postgres::{Transaction, types::Type};
use schemas::{Data, Recorded, events::DeadLetterResolved};

use super::Table;
use crate::projector::{DeadLetter, State};

pub(super) const TABLE: Table = Table {
    name: "dead_letters",
    ddl: "create table dead_letters (
        partition int, \"offset\" bigint, recorded_at timestamptz not null, key text not null, code text not null,
        detail text not null, bytes bytea not null, resolved_at timestamptz, resolution text, primary key (partition, \"offset\"))",
};

pub(super) fn write(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    write_dead(tx, state)?;
    write_resolved(tx, state)
}

fn write_dead(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    let dead = &state.news.dead;
    if dead.is_empty() {
        return Ok(());
    }
    columns!(
        dead,
        tx,
        "insert into dead_letters (partition, \"offset\", recorded_at, key, code, detail, bytes) select * from unnest($1, $2, $3, $4, $5, $6, $7)",
        (partition: INT4_ARRAY = |letter: &DeadLetter| letter.position.partition),
        (offset: INT8_ARRAY = |letter: &DeadLetter| letter.position.offset),
        (recorded_at: TIMESTAMPTZ_ARRAY = |letter: &DeadLetter| letter.recorded_at),
        // Postgres text has no NUL.
        (key: TEXT_ARRAY = |letter: &DeadLetter| letter.key.replace('\0', "\u{fffd}")),
        (code: TEXT_ARRAY = |letter: &DeadLetter| letter.refusal.code.as_str()),
        (detail: TEXT_ARRAY = |letter: &DeadLetter| letter.refusal.detail.replace('\0', "\u{fffd}")),
        (bytes: BYTEA_ARRAY = |letter: &DeadLetter| letter.bytes.clone()),
    )?;
    Ok(())
}

type Resolved<'a> = (&'a Recorded, &'a DeadLetterResolved);

fn write_resolved(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    let resolved = state.news.fresh.iter().filter_map(|(read, _)| match &read.event.data {
        Data::DeadLetterResolved(data) => Some((read, data)),
        _ => None,
    });
    let resolved: Vec<Resolved<'_>> = resolved.collect();
    if resolved.is_empty() {
        return Ok(());
    }
    columns!(
        &resolved,
        tx,
        "update dead_letters d set resolved_at = v.at, resolution = v.resolution
         from unnest($1, $2, $3, $4, $5, $6) as v (partition, o, key, at, resolution, by)
         where d.partition = v.partition and d.\"offset\" = v.o and d.\"offset\" < v.by and d.key = v.key
           and d.resolved_at is null",
        (partition: INT4_ARRAY = |(_, data): &Resolved<'_>| data.partition),
        (offset: INT8_ARRAY = |(_, data): &Resolved<'_>| data.offset),
        (key: TEXT_ARRAY = |(read, _): &Resolved<'_>| read.event.stream.to_string()),
        (at: TIMESTAMPTZ_ARRAY = |(read, _): &Resolved<'_>| read.recorded_at),
        (resolution: TEXT_ARRAY = |(_, data): &Resolved<'_>| data.resolution.clone()),
        (by: INT8_ARRAY = |(read, _): &Resolved<'_>| read.position.offset),
    )?;
    Ok(())
}
