//! Rows of `agent_event` in SQLite: written, and read back only if they are as written.

use rusqlite::{Transaction, params, params_from_iter};

use crate::model::time::UnixMillis;
use crate::window::EventFact;

use super::cells::describe;
use super::columns::{cells, instant, quarantine};
use super::event_row::{EVENT_CELLS, EVENT_COLUMNS, event_fact};
use super::table::Table;
use super::touch::{EventWrite, Over};

const WRITE: &str = "INSERT OR REPLACE INTO agent_event VALUES \
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

const HELD: &str = "SELECT checksum FROM agent_event \
    WHERE org = ?1 AND user_id = ?2 AND state_entered_at = ?3";

/// Writes an event in place of whatever has its key, or of a twin that ranks lower.
pub(super) fn write(transaction: &Transaction<'_>, write: &EventWrite<'_>) -> rusqlite::Result<()> {
    if write.over == Over::LesserTwin {
        let held: i64 = transaction
            .prepare_cached(HELD)?
            .query_row(params_from_iter(&write.cells[..3]), |row| row.get(0))?;
        if write.rank() <= held {
            return Ok(());
        }
    }
    transaction
        .prepare_cached(WRITE)?
        .execute(params_from_iter(&write.cells))?;
    Ok(())
}

/// What figures need of the events in `[from, to]`, by start; bad rows are set aside and counted.
pub(super) fn load(
    transaction: &Transaction<'_>,
    org: &str,
    user: &str,
    from: UnixMillis,
    to: UnixMillis,
    bad: &mut u64,
) -> rusqlite::Result<Vec<(UnixMillis, EventFact)>> {
    let mut facts = Vec::new();
    let mut damaged = Vec::new();
    let sql = format!(
        "SELECT {EVENT_COLUMNS}, rowid FROM agent_event \
         WHERE org = ?1 AND user_id = ?2 AND state_entered_at BETWEEN ?3 AND ?4 \
         ORDER BY state_entered_at"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let mut rows = statement.query(params![org, user, from.to_string(), to.to_string()])?;
    while let Some(row) = rows.next()? {
        let cells = cells(row, EVENT_CELLS)?;
        match event_fact(&cells) {
            Some(fact) => facts.push(fact),
            None => damaged.push((row.get(EVENT_CELLS)?, describe(&cells))),
        }
    }
    for (rowid, content) in damaged {
        quarantine(transaction, Table::Event, rowid, &content)?;
        *bad += 1;
    }
    Ok(facts)
}

/// The last start that holds at or before `at`, and the first after `to`.
pub(super) fn neighbours(
    transaction: &Transaction<'_>,
    org: &str,
    user: &str,
    at: UnixMillis,
    to: UnixMillis,
) -> rusqlite::Result<(Option<UnixMillis>, Option<UnixMillis>)> {
    let before = "SELECT max(state_entered_at) FROM agent_event \
        WHERE org = ?1 AND user_id = ?2 AND state_entered_at <= ?3 AND withdrawn = 0";
    let after = "SELECT min(state_entered_at) FROM agent_event \
        WHERE org = ?1 AND user_id = ?2 AND state_entered_at > ?3 AND withdrawn = 0";
    let ask = |sql: &str, at: UnixMillis| {
        transaction
            .prepare_cached(sql)?
            .query_row(params![org, user, at.to_string()], |row| instant(row, 0))
    };
    Ok((ask(before, at)?, ask(after, to)?))
}
