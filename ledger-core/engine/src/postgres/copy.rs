//! Rows for `copy … from stdin binary`. The client's own writer wakes the connection up for each row, which costs more than
//! the row; here that is done for each 64 KiB.

use std::{
    error::Error,
    io::{self, Write},
};

use bytes::{BufMut, BytesMut};
use postgres::{
    CopyInWriter, ToStatement, Transaction,
    types::{IsNull, ToSql, Type},
};

/// What the format begins with: its signature, no flags, no extension.
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with: a row of -1 fields.
const TAIL: i16 = -1;
const SENT_AT_ONCE: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    /// It does not fit its column, wherever it is sent.
    #[error("a value that Postgres cannot take: {0}")]
    Value(Box<dyn Error + Sync + Send>),
}

/// A `COPY` under way. Nothing of it stands unless it is finished.
pub struct Copy<'a> {
    writer: CopyInWriter<'a>,
    types: &'a [Type],
    bytes: BytesMut,
}

impl<'a> Copy<'a> {
    /// `types` are those of the columns that `statement` names.
    pub fn begin(
        tx: &'a mut Transaction<'_>,
        statement: &(impl ToStatement + ?Sized),
        types: &'a [Type],
    ) -> Result<Self, CopyError> {
        let writer = tx.copy_in(statement)?;
        Ok(Self { writer, types, bytes: BytesMut::from(HEAD) })
    }

    /// Adds a row, with a value for each column.
    pub fn write(&mut self, values: &[&(dyn ToSql + Sync)]) -> Result<(), CopyError> {
        debug_assert_eq!(values.len(), self.types.len(), "one value for each column");
        self.bytes.put_i16(values.len() as i16);
        for (value, sql_type) in values.iter().zip(self.types) {
            let at = self.bytes.len();
            self.bytes.put_i32(-1);
            if let IsNull::No = value.to_sql_checked(sql_type, &mut self.bytes).map_err(CopyError::Value)? {
                let length =
                    i32::try_from(self.bytes.len() - at - 4).map_err(|error| CopyError::Value(error.into()))?;
                self.bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        if self.bytes.len() > SENT_AT_ONCE { self.send() } else { Ok(()) }
    }

    pub fn finish(mut self) -> Result<(), CopyError> {
        self.bytes.put_i16(TAIL);
        self.send()?;
        self.writer.finish()?;
        Ok(())
    }

    fn send(&mut self) -> Result<(), CopyError> {
        let sent = self.writer.write_all(&self.bytes);
        self.bytes.clear();
        sent.map_err(|error: io::Error| match error.downcast::<postgres::Error>() {
            Ok(error) => error.into(),
            // The writer makes no others.
            Err(error) => CopyError::Value(error.into()),
        })
    }
}
