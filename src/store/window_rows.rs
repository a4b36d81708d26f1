//! Rows of `agent_window` in SQLite: written, revised, and read back only if they are as written.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rusqlite::{Transaction, params, params_from_iter};

use crate::model::ids::UserId;
use crate::model::time::UnixMillis;
use crate::model::window::WindowSpec;

use super::cells::describe;
use super::columns::{cells, quarantine};
use super::table::Table;
use super::window_row::{Kept, WINDOW_CELLS, WINDOW_COLUMNS, window_cells, window_kept};

/// A row by its key.
static READ: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {WINDOW_COLUMNS} FROM agent_window WHERE org = ?1 AND window_length = ?2 \
         AND window_start = ?3 AND user_id = ?4"
    )
});

/// Rows of one agent's windows, by start; bad ones are set aside and counted.
pub(super) fn load(
    transaction: &Transaction<'_>,
    org: &str,
    user: &UserId,
    spec: WindowSpec,
    starts: &[UnixMillis],
    bad: &mut u64,
) -> rusqlite::Result<BTreeMap<UnixMillis, Kept>> {
    let mut kept = BTreeMap::new();
    let mut damaged = Vec::new();
    let mut statement = transaction.prepare_cached(&READ)?;
    // The rows of a start lie together, those of an agent do not: each is looked up by its key.
    for &start in starts {
        let mut rows = statement.query(params![
            org,
            spec.length.0,
            start.to_string(),
            user.as_str()
        ])?;
        while let Some(row) = rows.next()? {
            let cells = cells(row, WINDOW_CELLS)?;
            match window_kept(&cells) {
                Some((start, row)) => {
                    kept.insert(start, row);
                }
                None => damaged.push((start, describe(&cells))),
            }
        }
    }
    for (start, content) in damaged {
        quarantine(transaction, Table::Window, &content)?;
        delete(transaction, org, user, spec, start)?;
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
            "DELETE FROM agent_window WHERE org = ?1 AND window_length = ?2 \
             AND window_start = ?3 AND user_id = ?4",
        )?
        .execute(params![
            org,
            spec.length.0,
            start.to_string(),
            user.as_str()
        ])?;
    Ok(())
}
