//! Rows of `agent_event` in SQLite: written, and read back only if they are as written.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rusqlite::types::Value;
use rusqlite::{CachedStatement, Row, Transaction, params, params_from_iter};

use crate::model::time::UnixMillis;
use crate::window::EventFact;

use super::cells::describe;
use super::columns::{cells, quarantine};
use super::event_row::{EVENT_CELLS, EVENT_COLUMNS, event_fact};
use super::table::Table;
use super::touch::{EventWrite, Over, Span};

/// The column `state_entered_at`.
const START: usize = 2;

const WRITE: &str = "INSERT OR REPLACE INTO agent_event VALUES \
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

const DELETE: &str = "DELETE FROM agent_event \
    WHERE org = ?1 AND user_id = ?2 AND state_entered_at = ?3";

const HELD: &str = "SELECT checksum FROM agent_event \
    WHERE org = ?1 AND user_id = ?2 AND state_entered_at = ?3";

/// From the last event that holds at or before `?3` to the first after `?4`, by start.
const NEAR: &str = "FROM agent_event WHERE org = ?1 AND user_id = ?2 \
    AND state_entered_at >= coalesce((SELECT max(state_entered_at) FROM agent_event \
        WHERE org = ?1 AND user_id = ?2 AND state_entered_at <= ?3 AND withdrawn = 0), ?3) \
    AND state_entered_at <= coalesce((SELECT min(state_entered_at) FROM agent_event \
        WHERE org = ?1 AND user_id = ?2 AND state_entered_at > ?4 AND withdrawn = 0), ?4) \
    ORDER BY state_entered_at";

static LOAD: LazyLock<String> = LazyLock::new(|| format!("SELECT {EVENT_COLUMNS} {NEAR}"));

/// Events by start.
pub(super) type Facts = BTreeMap<UnixMillis, EventFact>;

/// The events of an organisation within a transaction. A commit asks the same for each agent, so its
/// statements are looked up once.
pub(super) struct EventRows<'t> {
    pub(super) transaction: &'t Transaction<'t>,
    pub(super) org: &'t str,
    load: CachedStatement<'t>,
    write: CachedStatement<'t>,
}

impl<'t> EventRows<'t> {
    pub(super) fn of(transaction: &'t Transaction<'t>, org: &'t str) -> rusqlite::Result<Self> {
        Ok(Self {
            transaction,
            org,
            load: transaction.prepare_cached(&LOAD)?,
            write: transaction.prepare_cached(WRITE)?,
        })
    }

    /// Writes an event in place of whatever has its key, or of a twin that ranks lower.
    pub(super) fn write(&mut self, write: &EventWrite<'_>) -> rusqlite::Result<()> {
        if write.over == Over::LesserTwin {
            let held: i64 = self
                .transaction
                .prepare_cached(HELD)?
                .query_row(params_from_iter(&write.cells[..3]), |row| row.get(0))?;
            if write.rank() <= held {
                return Ok(());
            }
        }
        self.write.execute(params_from_iter(&write.cells))?;
        Ok(())
    }

    /// What figures need of the events in `[from, to]` and of the nearest on either side that hold,
    /// and from where to where that is; bad rows are set aside and counted.
    pub(super) fn load(
        &mut self,
        user: &str,
        (from, to): Span,
        bad: &mut u64,
    ) -> rusqlite::Result<(Facts, Span)> {
        let mut facts = Facts::new();
        let mut damaged = Vec::new();
        let (mut first, mut last) = (from, to);
        let asked = params![self.org, user, from.to_string(), to.to_string()];
        let mut rows = self.load.query(asked)?;
        while let Some(row) = rows.next()? {
            let cells = cells(row, EVENT_CELLS)?;
            if let Some(at) = cells[START].as_instant() {
                (first, last) = (first.min(at), last.max(at));
            }
            match event_fact(&cells) {
                Some((at, fact)) => {
                    facts.insert(at, fact);
                }
                None => damaged.push((key(row)?, describe(&cells))),
            }
        }
        drop(rows);
        for (key, content) in damaged {
            quarantine(self.transaction, Table::Event, &content)?;
            self.transaction
                .prepare_cached(DELETE)?
                .execute(params_from_iter(&key))?;
            *bad += 1;
        }
        Ok((facts, (first, last)))
    }
}

/// The key of a row, whatever stands there.
fn key(row: &Row<'_>) -> rusqlite::Result<[Value; 3]> {
    Ok([row.get(0)?, row.get(1)?, row.get(2)?])
}
