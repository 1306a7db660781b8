//! Dead letters: records that cannot be read as events. They stay dead; what they meant is told by a new event.

use engine::stream::StreamError;
use postgres::{Transaction, types::Type};

use super::Table;
use crate::projector::{DeadLetter, State};

pub(super) const TABLE: Table = Table {
    name: "dead_letters",
    ddl: "create table dead_letters (
        partition int, \"offset\" bigint, recorded_at timestamptz not null, key text not null, code text not null,
        detail text not null, bytes bytea not null, primary key (partition, \"offset\"))",
};

pub(super) fn write(tx: &mut Transaction<'_>, state: &State) -> Result<(), StreamError> {
    let dead = &state.news.dead;
    if dead.is_empty() {
        return Ok(());
    }
    columns!(
        dead,
        tx,
        "insert into dead_letters select * from unnest($1, $2, $3, $4, $5, $6, $7)",
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
