//! Goes through a table in SQLite beside the writer, on a connection that cannot write.
//!
//! Each page is a statement of its own, ended before its rows are used: no read transaction
//! outlives it, so the write-ahead log can be checkpointed however slowly the rows are taken. A
//! page begins behind the place of the one before, as it stands in the table: even rows whose keys
//! are damaged are passed, and counted, once.

use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params};

use crate::journal::DatabaseError;
use crate::model::time::{Millis, UNIX_MILLIS_MAX, UnixMillis};

use super::ReadError;
use super::columns::cells;
use super::event_row::{EVENT_CELLS, EVENT_COLUMNS};
use super::schema::DATABASE;
use super::table::{SCAN_ROWS, Table, TablePage, TableQuery, TableScan, Tables, values};
use super::window_row::{WINDOW_CELLS, WINDOW_COLUMNS};

/// The tables in a data directory that this process need not own.
#[derive(Debug)]
pub struct SqliteTables {
    connection: Connection,
    org: String,
}

impl SqliteTables {
    /// Whether there is a store to open.
    pub fn are_in(dir: &Path) -> bool {
        dir.join(DATABASE.file).is_file()
    }

    /// Opens the store.
    ///
    /// # Errors
    /// If there is none, or it is newer than this program.
    pub fn open(dir: &Path, org: &str) -> Result<Self, DatabaseError> {
        Ok(Self {
            connection: DATABASE.open_read_only(dir)?,
            org: org.to_owned(),
        })
    }

    /// The least length of windows above one.
    fn length_above(&self, length: Millis) -> rusqlite::Result<Option<Millis>> {
        let sql = "SELECT min(window_length) FROM agent_window \
            WHERE org = ?1 AND window_length > ?2";
        let least: Option<i64> = self
            .connection
            .prepare_cached(sql)?
            .query_row(params![self.org, length.0], |row| row.get(0))?;
        Ok(least.map(Millis))
    }
}

impl Tables for SqliteTables {
    fn window_lengths(&mut self) -> Result<Vec<Millis>, ReadError> {
        let mut lengths = Vec::new();
        while let Some(length) = self
            .length_above(lengths.last().copied().unwrap_or_default())
            .map_err(failed)?
        {
            lengths.push(length);
        }
        Ok(lengths)
    }

    fn scan(&mut self, asked: TableQuery) -> Box<dyn TableScan + '_> {
        // Before every key of that instant: no agent's id is empty.
        let place = (text_of(asked.from).into_bytes(), Vec::new());
        Box::new(SqliteScan {
            tables: self,
            asked,
            place,
            over: false,
        })
    }
}

/// An instant and an agent, letter for letter as the table has them.
type Place = (Vec<u8>, Vec<u8>);

#[derive(Debug)]
struct SqliteScan<'t> {
    tables: &'t SqliteTables,
    asked: TableQuery,
    place: Place,
    over: bool,
}

impl SqliteScan<'_> {
    fn read(&mut self) -> rusqlite::Result<TablePage> {
        let table = self.asked.table;
        let (sql, count) = statement(table);
        let mut statement = self.tables.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![
            self.tables.org,
            as_text(&self.place.0),
            as_text(&self.place.1),
            text_of(self.asked.to),
            SCAN_ROWS as i64,
            self.asked.window_length.0,
        ])?;
        let mut page = TablePage::default();
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            seen += 1;
            let cells = cells(row, count)?;
            page.reached = cells[table.instant_at()].as_instant().or(page.reached);
            match values(table, &cells) {
                Some(row) => page.rows.push(row),
                None => page.damaged += 1,
            }
            if seen == SCAN_ROWS {
                let key = |at| {
                    row.get_ref(at)
                        .map(|value| value.as_bytes().unwrap_or_default().to_vec())
                };
                self.place = (key(table.instant_at())?, key(1)?);
            }
        }
        page.last = seen < SCAN_ROWS;
        Ok(page)
    }
}

impl TableScan for SqliteScan<'_> {
    fn next_page(&mut self) -> Result<TablePage, ReadError> {
        if self.over {
            return Ok(TablePage::behind_all());
        }
        let page = self.read().map_err(failed)?;
        self.over = page.last;
        Ok(page)
    }
}

/// The rows behind a place, and how many cells each has. The place alone bounds them from below,
/// so that the index leads there at once.
pub(super) fn statement(table: Table) -> (String, usize) {
    let (columns, cells, instant, of_length) = match table {
        // Refers to the length all the same, for a statement takes what it names.
        Table::Event => (
            EVENT_COLUMNS,
            EVENT_CELLS,
            "state_entered_at",
            "?6 IS NOT NULL",
        ),
        Table::Window => (
            WINDOW_COLUMNS,
            WINDOW_CELLS,
            "window_start",
            "window_length = ?6",
        ),
    };
    let sql = format!(
        "SELECT {columns} FROM {} WHERE org = ?1 AND {of_length} \
         AND ({instant}, user_id) > (?2, ?3) AND {instant} < ?4 \
         ORDER BY {instant}, user_id LIMIT ?5",
        table.name()
    );
    (sql, cells)
}

/// Bytes that stand in a column of text, as text.
fn as_text(bytes: &[u8]) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(bytes))
}

/// An instant as the table's text, cut to what the table can hold.
fn text_of(at: UnixMillis) -> String {
    UnixMillis(at.0.clamp(0, UNIX_MILLIS_MAX)).to_string()
}

fn failed(source: rusqlite::Error) -> ReadError {
    ReadError::Store(Box::new(source))
}
