//! Rows of `agent_window`: written, revised, and read back only if they are as written.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Row as SqlRow, Transaction, params, params_from_iter};

use crate::model::ids::UserId;
use crate::model::time::{Millis, UnixMillis};
use crate::model::window::{WindowMetrics, WindowQuality, WindowRow, WindowSpec};
use crate::window::{LastEvent, Row};

use super::columns::{self, Table, checksum, instant, is_sound, quarantine, stamp, text};

/// Columns that the checksum covers.
pub(super) const COLUMNS: usize = 17;

/// The columns in the order of the checksum, then the checksum, then the row's number.
pub(super) const SELECT: &str = "SELECT org, user_id, window_length, window_start, window_end, \
    available_ms, not_ready_ms, on_call_ms, wrap_up_ms, unknown_ms, state_transitions, \
    covered_ms, estimated_ms, volatile, revision, last_event_at, last_event_ingested_at, \
    checksum, rowid FROM agent_window ";

/// A row with its revision, as it is in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) row: Row,
    pub(super) revision: u32,
}

/// Rows of one agent that start in `[from, to]`, by start; bad ones are set aside and counted.
pub(super) fn load(
    transaction: &Transaction<'_>,
    org: &str,
    user: &UserId,
    spec: WindowSpec,
    (from, to): (UnixMillis, UnixMillis),
    bad: &mut u64,
) -> rusqlite::Result<BTreeMap<UnixMillis, Kept>> {
    let sql = format!(
        "{SELECT} WHERE org = ?1 AND user_id = ?2 AND window_length = ?3 \
         AND window_start BETWEEN ?4 AND ?5"
    );
    let mut kept = BTreeMap::new();
    let mut damaged = Vec::new();
    let mut statement = transaction.prepare_cached(&sql)?;
    let mut rows = statement.query(params![
        org,
        user.as_str(),
        spec.length.0,
        from.to_string(),
        to.to_string()
    ])?;
    while let Some(row) = rows.next()? {
        match read(row)? {
            Some((start, row)) => {
                kept.insert(start, row);
            }
            None => damaged.push((row.get(COLUMNS + 1)?, columns::describe(row, COLUMNS)?)),
        }
    }
    for (rowid, content) in damaged {
        quarantine(transaction, Table::Window, rowid, &content)?;
        *bad += 1;
    }
    Ok(kept)
}

/// A row of [`SELECT`]; `None` if it is not as it was written.
fn read(row: &SqlRow<'_>) -> rusqlite::Result<Option<(UnixMillis, Kept)>> {
    if !is_sound(row, COLUMNS)? {
        return Ok(None);
    }
    let Some(start) = instant(row, 3)? else {
        return Ok(None);
    };
    let millis = |index| row.get(index).map(Millis);
    let by_state = [millis(5)?, millis(6)?, millis(7)?, millis(8)?, millis(9)?];
    let last_event = match (instant(row, 15)?, instant(row, 16)?) {
        (Some(at), Some(ingested_at)) => Some(LastEvent { at, ingested_at }),
        _ => None,
    };
    let kept = Kept {
        row: Row {
            metrics: WindowMetrics::from_states(by_state, row.get(10)?),
            covered: millis(11)?,
            estimated: millis(12)?,
            volatile: row.get(13)?,
            last_event,
        },
        revision: row.get(14)?,
    };
    Ok(Some((start, kept)))
}

/// A row of [`SELECT`] as it is served; `None` if it is not as it was written.
pub(super) fn read_served(row: &SqlRow<'_>) -> rusqlite::Result<Option<WindowRow>> {
    let Some((window_start, kept)) = read(row)? else {
        return Ok(None);
    };
    let (Some(user), Some(window_end)) = (text(row, 1)?, instant(row, 4)?) else {
        return Ok(None);
    };
    let quality: WindowQuality = kept.row.quality(kept.revision);
    assert_eq!(
        kept.row.metrics.total(),
        quality.covered_seconds,
        "a row that is as written adds up"
    );
    Ok(Some(WindowRow {
        user_id: UserId::new(user),
        window_start,
        window_end,
        metrics: kept.row.metrics,
        quality,
    }))
}

/// Writes a row in place of the one before.
pub(super) fn write(
    transaction: &Transaction<'_>,
    org: &str,
    user: &UserId,
    spec: WindowSpec,
    start: UnixMillis,
    kept: &Kept,
) -> rusqlite::Result<()> {
    let Kept { row, revision } = kept;
    let [available, not_ready, on_call, wrap_up, unknown] = row.metrics.by_state();
    let optional = |at: Option<UnixMillis>| at.map_or(Value::Null, stamp);
    let mut columns: Vec<Value> = vec![
        org.to_owned().into(),
        user.as_str().to_owned().into(),
        spec.length.0.into(),
        stamp(start),
        stamp(start + spec.length),
        available.0.into(),
        not_ready.0.into(),
        on_call.0.into(),
        wrap_up.0.into(),
        unknown.0.into(),
        i64::from(row.metrics.state_transitions).into(),
        row.covered.0.into(),
        row.estimated.0.into(),
        i64::from(row.volatile).into(),
        i64::from(*revision).into(),
        optional(row.last_event.map(|last| last.at)),
        optional(row.last_event.map(|last| last.ingested_at)),
    ];
    assert_eq!(columns.len(), COLUMNS, "one value a column");
    columns.push(checksum(&columns).into());
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO agent_window VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, \
             ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?
        .execute(params_from_iter(columns.iter()))?;
    Ok(())
}

/// Removes a row that should not be.
pub(super) fn delete(
    transaction: &Transaction<'_>,
    org: &str,
    user: &UserId,
    spec: WindowSpec,
    start: UnixMillis,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM agent_window WHERE org = ?1 AND user_id = ?2 AND window_length = ?3 \
             AND window_start = ?4",
        )?
        .execute(params![
            org,
            user.as_str(),
            spec.length.0,
            start.to_string()
        ])?;
    Ok(())
}
