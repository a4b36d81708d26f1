//! Cells to and from SQLite, and where a row goes whose checksum does not hold.
//!
//! A row that is not as it was written is moved to a table of its own, counted, and never served.

use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Row, Transaction, params};

use crate::model::time::UnixMillis;

use super::cells::Cell;
use super::table::Table;

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null | Self::Foreign => ToSqlOutput::Owned(Value::Null),
            Self::Integer(value) => ToSqlOutput::Owned(Value::Integer(*value)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Instant(at) => ToSqlOutput::Owned(Value::Text(at.to_string())),
        })
    }
}

/// The first `count` columns of a row.
pub(super) fn cells<'r>(row: &'r Row<'_>, count: usize) -> rusqlite::Result<Vec<Cell<'r>>> {
    let mut cells = Vec::with_capacity(count);
    for index in 0..count {
        cells.push(match row.get_ref(index)? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(value) => Cell::Integer(value),
            // As it stands: what was written is looked for, not made.
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => Cell::Text(text.into()),
                Err(_) => Cell::Foreign,
            },
            ValueRef::Real(_) | ValueRef::Blob(_) => Cell::Foreign,
        });
    }
    Ok(cells)
}

/// Keeps what a bad row said in `quarantined_row`; the caller deletes it.
pub(super) fn quarantine(
    transaction: &Transaction<'_>,
    table: Table,
    content: &str,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO quarantined_row (origin, content) VALUES (?1, ?2)")?
        .execute(params![table.name(), content])?;
    Ok(())
}

/// An instant from a text column; `None` if it is none.
pub(super) fn instant(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<UnixMillis>> {
    let value = row.get_ref(index)?;
    Ok(value
        .as_str_or_null()
        .ok()
        .flatten()
        .and_then(|text| UnixMillis::parse(text).ok()))
}

/// A text column, if it has text.
pub(super) fn text<'r>(row: &'r Row<'_>, index: usize) -> rusqlite::Result<Option<&'r str>> {
    Ok(row.get_ref(index)?.as_str_or_null().ok().flatten())
}
