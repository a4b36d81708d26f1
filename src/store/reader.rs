//! Reads closed windows back, on a connection that cannot write.
//!
//! Short reads only, so that the write-ahead log can be checkpointed. A damaged row is left out,
//! counted, and named to the writer, which sets it aside and makes it again from the events.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, params};

use crate::journal::DatabaseError;
use crate::model::ids::UserId;
use crate::model::time::{Millis, UNIX_MILLIS_MAX, UnixMillis};

use super::columns::{instant, text};
use super::schema::DATABASE;
use super::sqlite::{StoreSettings, Suspects, lock};
use super::window_rows::{SELECT, read_served};
use super::{ReadError, WindowPage, WindowQuery, WindowReader};

/// Most rows of a page: the API's limit (contract.md); about 4 MiB of JSON.
pub const PAGE_ROWS_MAX: usize = 10_000;

/// Begins every cursor, so that a later form can be told apart.
const CURSOR_FORM: &str = "w1";

/// Reads windows beside the writer, also from another process.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Mutex<Connection>,
    org: String,
    window_length: Millis,
    suspects: Suspects,
    damaged: AtomicU64,
}

/// The place after a row: (window start, agent).
type Place = (UnixMillis, String);

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
        let of_user = if query.user.is_some() {
            "AND user_id = ?7"
        } else {
            "AND ?7 IS NULL"
        };
        let sql = format!(
            "{SELECT} WHERE org = ?1 AND window_length = ?2 \
             AND window_start >= ?3 AND window_start < ?4 \
             AND (window_start, user_id) > (?5, ?6) {of_user} \
             ORDER BY window_start, user_id LIMIT ?8"
        );
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![
            self.org,
            self.window_length.0,
            bound(query.from),
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
            match read_served(row)? {
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

fn write_cursor((start, user): &Place) -> String {
    let mut cursor = format!("{CURSOR_FORM}.{}.", start.0);
    for byte in user.bytes() {
        write!(cursor, "{byte:02x}").expect("a string takes any text");
    }
    cursor
}

/// Longest cursor looked at: a user id of the longest accepted length, twice, and the start.
const CURSOR_MAX: usize = 600;

fn read_cursor(cursor: &str) -> Option<Place> {
    if cursor.len() > CURSOR_MAX || !cursor.is_ascii() {
        return None;
    }
    let mut parts = cursor.split('.');
    let (form, start, hex) = (parts.next()?, parts.next()?, parts.next()?);
    if form != CURSOR_FORM || parts.next().is_some() || hex.len() % 2 != 0 {
        return None;
    }
    let start: i64 = start.parse().ok()?;
    let bytes: Option<Vec<u8>> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok())
        .collect();
    let user = String::from_utf8(bytes?).ok()?;
    let in_range = (0..=UNIX_MILLIS_MAX).contains(&start);
    in_range.then_some((UnixMillis(start), user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_what_they_write_and_nothing_else() {
        let place = (UnixMillis(1_715_675_400_000), "agent-0001 é".to_owned());
        assert_eq!(read_cursor(&write_cursor(&place)), Some(place));
        for other in [
            "",
            "w1",
            "w1.5.zz",
            "w1.x.00",
            "w2.5.00",
            "w1.5.0",
            "w1.5.00.1",
            "w1.-1.00",
        ] {
            assert_eq!(read_cursor(other), None, "{other}");
        }
        assert_eq!(read_cursor(&format!("w1.5.{}", "00".repeat(9_000))), None);
    }
}
