//! Reads closed windows back from PostgreSQL, on connections of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;

use crate::model::ids::UserId;
use crate::model::time::{UNIX_MILLIS_MAX, UnixMillis};

use super::super::cells::Cell;
use super::super::cursor::{PAGE_ROWS_MAX, Place, read_cursor, write_cursor};
use super::super::report::{Suspects, lock};
use super::super::window_row::window_served;
use super::super::{ReadError, WindowPage, WindowQuery, WindowReader};
use super::error::PostgresError;
use super::schema::WINDOW_COLUMNS;
use super::statements::Query;
use super::store::Desk;
use super::values::{Stamp, cells};

/// Reads windows beside the writer. A damaged row is left out, counted, and named to the writer,
/// which sets it aside and makes it again from the events.
#[derive(Debug)]
pub struct PostgresReader {
    desk: Desk,
    runtime: Handle,
    suspects: Suspects,
    damaged: AtomicU64,
}

impl PostgresReader {
    /// Must be called within a runtime, on whose reactor it will wait.
    pub(super) fn new(desk: Desk, suspects: Suspects) -> Self {
        Self {
            desk,
            runtime: Handle::current(),
            suspects,
            damaged: AtomicU64::new(0),
        }
    }

    /// Damaged rows found and not served.
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    async fn read(&self, asked: &WindowQuery, after: Place) -> Result<WindowPage, PostgresError> {
        let limit = asked.limit.clamp(1, PAGE_ROWS_MAX);
        // Rows before the place cannot come: so whole days need not be looked at.
        let from = bound(asked.from.max(after.0));
        let (to, start) = (bound(asked.to), bound(after.0));
        let user = asked.user.as_ref().map(UserId::as_str);
        // One more tells whether there is a next page.
        let most = limit as i64 + 1;
        let rows = self
            .desk
            .with(async |live| {
                let settings = self.desk.settings();
                let (org, length) = (&settings.org, settings.window.length.0);
                live.query(
                    Query::ReadWindows,
                    [org, &length, &from, &to, &start, &after.1, &user, &most],
                )
                .await?
                .iter()
                .map(|row| Ok(served(&cells(row, 0, &WINDOW_COLUMNS)?)))
                .collect::<Result<Vec<_>, tokio_postgres::Error>>()
            })
            .await?;
        let mut page = WindowPage::default();
        if rows.len() > limit {
            page.next = rows.get(limit - 1).map(|(place, _)| write_cursor(place));
        }
        for (place, row) in rows.into_iter().take(limit) {
            match row {
                Some(row) => page.rows.push(row),
                None => self.suspect(&place),
            }
        }
        Ok(page)
    }

    fn suspect(&self, (start, user): &Place) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        lock(&self.suspects).insert((UserId::new(user), *start));
    }
}

/// A row, if it is as it was written, and its place.
fn served(cells: &[Cell<'_>]) -> (Place, Option<crate::model::window::WindowRow>) {
    let start = cells[3].as_instant().unwrap_or_default();
    let user = cells[1].as_text().unwrap_or_default().to_owned();
    ((start, user), window_served(cells))
}

impl WindowReader for PostgresReader {
    fn windows(&self, asked: &WindowQuery) -> Result<WindowPage, ReadError> {
        let after = match &asked.cursor {
            Some(cursor) => read_cursor(cursor).ok_or(ReadError::Cursor)?,
            None => (UnixMillis(0), String::new()),
        };
        self.runtime
            .block_on(self.read(asked, after))
            .map_err(|source| ReadError::Store(Box::new(source)))
    }
}

/// An instant, cut to what the table can hold.
fn bound(at: UnixMillis) -> Stamp {
    Stamp(UnixMillis(at.0.clamp(0, UNIX_MILLIS_MAX)))
}
