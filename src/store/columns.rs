//! Rows with a checksum over their columns, and where a row goes whose checksum does not hold.
//!
//! A row that is not as it was written is moved to a table of its own, counted, and never served.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Row, Transaction, params};

use crate::journal::Checksum;
use crate::model::time::UnixMillis;

/// Which table a row is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// `agent_event`.
    Event,
    /// `agent_window`.
    Window,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Self::Event => "agent_event",
            Self::Window => "agent_window",
        }
    }
}

/// The checksum of columns about to be written.
pub(super) fn checksum(columns: &[Value]) -> i64 {
    let sum = columns.iter().fold(Checksum::new(), |sum, value| {
        add(sum, ValueRef::from(value))
    });
    i64::from(sum.finish())
}

/// Whether the first `count` columns of a row are as they were written; the checksum follows them.
pub(super) fn is_sound(row: &Row<'_>, count: usize) -> rusqlite::Result<bool> {
    let mut sum = Checksum::new();
    for index in 0..count {
        sum = add(sum, row.get_ref(index)?);
    }
    Ok(row.get_ref(count)? == ValueRef::Integer(i64::from(sum.finish())))
}

fn add(sum: Checksum, value: ValueRef<'_>) -> Checksum {
    match value {
        ValueRef::Null => sum.optional_text(None),
        ValueRef::Integer(value) => sum.integer(value),
        ValueRef::Text(value) => sum.bytes(value),
        // We write neither: whatever this is, it does not match.
        ValueRef::Real(value) => sum.integer(value.to_bits() as i64).text("real"),
        ValueRef::Blob(value) => sum.bytes(value).text("blob"),
    }
}

/// What a bad row says, for whoever looks into it.
pub(super) fn describe(row: &Row<'_>, count: usize) -> rusqlite::Result<String> {
    let mut columns = Vec::with_capacity(count + 1);
    for index in 0..=count {
        columns.push(match row.get_ref(index)? {
            ValueRef::Null => serde_json::Value::Null,
            ValueRef::Integer(value) => value.into(),
            ValueRef::Real(value) => value.into(),
            ValueRef::Text(value) | ValueRef::Blob(value) => {
                String::from_utf8_lossy(value).into_owned().into()
            }
        });
    }
    Ok(serde_json::Value::Array(columns).to_string())
}

/// Moves a bad row to `quarantined_row`.
pub(super) fn quarantine(
    transaction: &Transaction<'_>,
    table: Table,
    rowid: i64,
    content: &str,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO quarantined_row (origin, content) VALUES (?1, ?2)")?
        .execute(params![table.name(), content])?;
    let delete = match table {
        Table::Event => "DELETE FROM agent_event WHERE rowid = ?1",
        Table::Window => "DELETE FROM agent_window WHERE rowid = ?1",
    };
    transaction.prepare_cached(delete)?.execute([rowid])?;
    Ok(())
}

/// An instant as a text column.
pub(super) fn stamp(at: UnixMillis) -> Value {
    Value::Text(at.to_string())
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
