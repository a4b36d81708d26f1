//! Rows of `agent_window` in SQLite: written, revised, and read back only if they are as written.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params, params_from_iter};

use crate::model::ids::UserId;
use crate::model::time::UnixMillis;
use crate::model::window::WindowSpec;

use super::cells::describe;
use super::columns::{cells, quarantine};
use super::table::Table;
use super::window_row::{Kept, WINDOW_CELLS, WINDOW_COLUMNS, window_cells, window_kept};

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
        "SELECT {WINDOW_COLUMNS}, rowid FROM agent_window \
         WHERE org = ?1 AND user_id = ?2 AND window_length = ?3 \
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
        let cells = cells(row, WINDOW_CELLS)?;
        match window_kept(&cells) {
            Some((start, row)) => {
                kept.insert(start, row);
            }
            None => damaged.push((row.get(WINDOW_CELLS)?, describe(&cells))),
        }
    }
    for (rowid, content) in damaged {
        quarantine(transaction, Table::Window, rowid, &content)?;
        *bad += 1;
    }
    Ok(kept)
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
    let cells = window_cells(org, user, spec, start, kept);
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO agent_window VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, \
             ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?
        .execute(params_from_iter(&cells))?;
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
