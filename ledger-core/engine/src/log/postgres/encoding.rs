//! How headers stand in their column, and how rows go into `COPY … (FORMAT binary)`.

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
    length(row, record.headers.iter().map(|(name, value)| 8 + name.len() + value.len()).sum());
    for (name, value) in &record.headers {
        field(row, name.as_bytes());
        field(row, value);
    }
    field(row, &record.value);
}

fn field(row: &mut Vec<u8>, bytes: &[u8]) {
    length(row, bytes.len());
    row.extend_from_slice(bytes);
}

/// Records are far smaller than 2 GiB, so no length is cut.
fn length(row: &mut Vec<u8>, length: usize) {
    row.extend_from_slice(&(length as u32).to_be_bytes());
}

/// The headers of a record; none if the bytes are not what `copy_row` writes.
pub(super) fn headers(mut bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut headers = Vec::new();
    while !bytes.is_empty() {
        let name = String::from_utf8(take(&mut bytes)?.to_vec()).ok()?;
        headers.push((name, take(&mut bytes)?.to_vec()));
    }
    Some(headers)
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (taken, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_and_broken_ones_do_not() {
        let record = NewRecord {
            key: "k".to_owned(),
            headers: vec![
                ("ce_id".to_owned(), b"1".to_vec()),
                ("empty".to_owned(), Vec::new()),
                ("ce_id".to_owned(), vec![0, 255]),
            ],
            value: b"value".to_vec(),
            timestamp: None,
        };
        let mut row = Vec::new();
        copy_row(&mut row, 1, Position { partition: 2, offset: 3 }, DateTime::UNIX_EPOCH, &record);

        let mut fields = &row[2..];
        let columns: Vec<&[u8]> = std::iter::from_fn(|| take(&mut fields)).collect();
        assert_eq!(columns.len(), 7);
        assert_eq!(headers(columns[5]).unwrap(), record.headers);
        for end in 1..columns[5].len() {
            assert!(headers(&columns[5][..end]).is_none_or(|some| some.len() < 3), "cut at {end}");
        }
    }
}
