//! Reads closed windows back, on a connection that cannot write.
//!
//! Short reads only, so that the write-ahead log can be checkpointed. A damaged row is left out,
//! counted, and named to the writer, which sets it aside and makes it again from the events.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use rusqlite::{Connection, params};

use crate::journal::DatabaseError;
use crate::model::ids::UserId;
use crate::model::time::{Millis, UNIX_MILLIS_MAX, UnixMillis};

use super::columns::{cells, instant, text};
use super::cursor::{PAGE_ROWS_MAX, Place, read_cursor, write_cursor};
use super::report::{StoreSettings, Suspects, lock};
use super::schema::DATABASE;
use super::window_row::{WINDOW_CELLS, WINDOW_COLUMNS, window_served};
use super::{ReadError, WindowPage, WindowQuery, WindowReader};

/// Rows lie by window and agent, as they are read.
static OF_ALL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {WINDOW_COLUMNS} FROM agent_window WHERE org = ?1 AND window_length = ?2 \
         AND window_start >= ?3 AND window_start < ?4 \
         AND (window_start, user_id) > (?5, ?6) AND ?7 IS NULL \
         ORDER BY window_start, user_id LIMIT ?8"
    )
});

/// Of one agent: from start to start there are, each looked up, because between two rows of an
/// agent lie those of everybody else.
static OF_ONE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH RECURSIVE start (at) AS ( \
             SELECT min(window_start) FROM agent_window WHERE org = ?1 AND window_length = ?2 \
                 AND window_start >= max(?3, ?5) \
             UNION ALL \
             SELECT (SELECT min(window_start) FROM agent_window WHERE org = ?1 \
                 AND window_length = ?2 AND window_start > start.at) \
             FROM start WHERE start.at < ?4) \
         SELECT {WINDOW_COLUMNS} FROM start CROSS JOIN agent_window \
         WHERE start.at < ?4 AND org = ?1 AND window_length = ?2 AND window_start = start.at \
         AND user_id = ?7 AND (window_start, user_id) > (?5, ?6) \
         ORDER BY window_start LIMIT ?8"
    )
});

/// Reads windows beside the writer, also from another process.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Mutex<Connection>,
    org: String,
    window_length: Millis,
    suspects: Suspects,
    damaged: AtomicU64,
}

impl SqliteReader {
    /// Opens the store in a data directory that this process need not own.
    ///
    /// # Errors
    /// If there is no store, or it is newer than this program.
    pub fn open(dir: &Path, org: &str, window_length: Millis) -> Result<Self, DatabaseError> {
        Ok(Self {
            connection: Mutex::new(DATABASE.open_read_only(dir)?),
            org: org.to_owned(),
            window_length,
            suspects: Suspects::default(),
            damaged: AtomicU64::new(0),
        })
    }

    /// The same, telling the writer of damage.
    pub(super) fn beside(
        dir: &Path,
        settings: &StoreSettings,
        suspects: Suspects,
    ) -> Result<Self, DatabaseError> {
        let reader = Self::open(dir, &settings.org, settings.window.length)?;
        Ok(Self { suspects, ..reader })
    }

    /// Damaged rows found and not served.
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    fn read(&self, query: &WindowQuery, after: &Place) -> rusqlite::Result<WindowPage> {
        let limit = query.limit.clamp(1, PAGE_ROWS_MAX);
        let sql = match query.user {
            None => &*OF_ALL,
            Some(_) => &*OF_ONE,
        };
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![
            self.org,
            self.window_length.0,
            // Rows before the place cannot come, and the index is entered by this bound.
            bound(query.from.max(after.0)),
            bound(query.to),
            bound(after.0),
            after.1,
            query.user.as_ref().map(UserId::as_str),
            // One more tells whether there is a next page.
            limit as i64 + 1,
        ])?;
        let mut page = WindowPage::default();
        let mut place = after.clone();
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            seen += 1;
            if seen > limit {
                page.next = Some(write_cursor(&place));
                break;
            }
            let key = instant(row, 3)?.zip(text(row, 1)?.map(str::to_owned));
            match window_served(&cells(row, WINDOW_CELLS)?) {
                Some(row) => page.rows.push(row),
                None => self.suspect(key.as_ref()),
            }
            place = key.unwrap_or(place);
        }
        Ok(page)
    }

    fn suspect(&self, key: Option<&Place>) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        if let Some((start, user)) = key {
            lock(&self.suspects).insert((UserId::new(user), *start));
        }
    }
}

impl WindowReader for SqliteReader {
    fn windows(&self, query: &WindowQuery) -> Result<WindowPage, ReadError> {
        let after = match &query.cursor {
            Some(cursor) => read_cursor(cursor).ok_or(ReadError::Cursor)?,
            None => (UnixMillis(0), String::new()),
        };
        self.read(query, &after)
            .map_err(|source| ReadError::Store(Box::new(source)))
    }
}

/// An instant as the table's text, cut to what the table can hold.
fn bound(at: UnixMillis) -> String {
    UnixMillis(at.0.clamp(0, UNIX_MILLIS_MAX)).to_string()
}
