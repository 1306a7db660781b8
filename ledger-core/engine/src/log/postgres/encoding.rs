//! How rows go into `COPY … (FORMAT binary)`.

use chrono::{DateTime, Utc};

use crate::log::{NewRecord, Position};

/// What `COPY … (FORMAT binary)` begins with: its signature, no flags, no extension.
pub(super) const COPY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What it ends with: a row of -1 fields.
pub(super) const COPY_TAIL: &[u8] = &[0xff, 0xff];

/// Postgres counts microseconds from the beginning of 2000.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// Adds the row of `record` in the order of `log.record`'s columns.
pub(super) fn copy_row(row: &mut Vec<u8>, topic_id: i32, position: Position, time: DateTime<Utc>, record: &NewRecord) {
    row.extend_from_slice(&7_i16.to_be_bytes());
    field(row, &topic_id.to_be_bytes());
    field(row, &position.partition.to_be_bytes());
    field(row, &position.offset.to_be_bytes());
    field(row, &(time.timestamp_micros() - POSTGRES_EPOCH_US).to_be_bytes());
    field(row, record.key.as_bytes());
    field(row, record.headers.as_bytes());
    field(row, &record.value);
}

/// Records are far smaller than 2 GiB, so no length is cut.
fn field(row: &mut Vec<u8>, bytes: &[u8]) {
    row.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    row.extend_from_slice(bytes);
}
