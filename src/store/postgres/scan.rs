//! Goes through a table in PostgreSQL, page by page, on a connection of its own.
//!
//! Each page is a statement and so a transaction of its own; nothing is held while its rows are
//! used. A server that goes away ends the scan: half a file is no file.

use tokio::runtime::Handle;

use crate::clock::SystemClock;
use crate::config::PostgresConfig;
use crate::model::time::{Millis, UNIX_MILLIS_MAX, UnixMillis};

use super::super::ReadError;
use super::super::report::StoreSettings;
use super::super::table::{SCAN_ROWS, Table, TablePage, TableQuery, TableScan, Tables, values};
use super::error::PostgresError;
use super::link::Live;
use super::schema::{EVENT_COLUMNS, WINDOW_COLUMNS};
use super::statements::Query;
use super::store::Desk;
use super::values::{Micros, Stamp, cells};

/// The tables of a server.
#[derive(Debug)]
pub struct PostgresTables {
    desk: Desk,
    runtime: Handle,
}

impl PostgresTables {
    /// Nothing is asked of the server yet. Must be called within a runtime, on whose reactor it
    /// will wait.
    ///
    /// # Errors
    /// If the certificates to believe cannot be used.
    pub fn new(
        config: &PostgresConfig,
        settings: &StoreSettings,
        clock: SystemClock,
    ) -> Result<Self, PostgresError> {
        Ok(Self {
            desk: Desk::for_reading(config, settings, clock)?,
            runtime: Handle::current(),
        })
    }

    async fn length_above(&self, length: Millis) -> Result<Option<Millis>, PostgresError> {
        let org = &self.desk.settings().org;
        self.desk
            .with(async |live| {
                let rows = live.query(Query::LengthAbove, [org, &length.0]).await?;
                let least = rows.first().map(|row| row.try_get::<_, Option<i64>>(0));
                Ok(least.transpose()?.flatten().map(Millis))
            })
            .await
    }
}

impl Tables for PostgresTables {
    fn window_lengths(&mut self) -> Result<Vec<Millis>, ReadError> {
        let mut lengths = Vec::new();
        loop {
            let above = lengths.last().copied().unwrap_or_default();
            match self.runtime.block_on(self.length_above(above)) {
                Ok(Some(length)) => lengths.push(length),
                Ok(None) => return Ok(lengths),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn scan(&mut self, asked: TableQuery) -> Box<dyn TableScan + '_> {
        // Before every key of that instant: no agent's id is empty.
        let place = (Micros::of(bound(asked.from)), String::new());
        Box::new(PostgresScan {
            tables: self,
            asked,
            place,
            over: false,
        })
    }
}

#[derive(Debug)]
struct PostgresScan<'t> {
    tables: &'t PostgresTables,
    asked: TableQuery,
    /// As the table has it, which may be finer than any instant of ours.
    place: (Micros, String),
    over: bool,
}

impl PostgresScan<'_> {
    async fn read(&mut self) -> Result<TablePage, PostgresError> {
        let (asked, after) = (self.asked, &self.place);
        let desk = &self.tables.desk;
        let read = desk.with(async |live| page(live, &desk.settings().org, asked, after).await);
        let (page, place) = read.await?;
        self.place = place;
        Ok(page)
    }
}

impl TableScan for PostgresScan<'_> {
    fn next_page(&mut self) -> Result<TablePage, ReadError> {
        if self.over {
            return Ok(TablePage::behind_all());
        }
        let runtime = self.tables.runtime.clone();
        let page = runtime.block_on(self.read()).map_err(failed)?;
        self.over = page.last;
        Ok(page)
    }
}

/// The rows behind a place, and where they end.
async fn page(
    live: &Live,
    org: &String,
    asked: TableQuery,
    after: &(Micros, String),
) -> Result<(TablePage, (Micros, String)), tokio_postgres::Error> {
    let (to, most) = (Stamp(bound(asked.to)), SCAN_ROWS as i64);
    let (length, nobody) = (asked.window_length.0, None::<&str>);
    let (columns, rows) = match asked.table {
        Table::Event => (
            EVENT_COLUMNS.as_slice(),
            live.query(Query::ScanEvents, [org, &after.0, &to, &after.1, &most])
                .await?,
        ),
        // Rows before the place cannot come: so whole days need not be looked at.
        Table::Window => (
            WINDOW_COLUMNS.as_slice(),
            live.query(
                Query::ReadWindows,
                [
                    org, &length, &after.0, &to, &after.0, &after.1, &nobody, &most,
                ],
            )
            .await?,
        ),
    };
    let mut page = TablePage {
        last: rows.len() < SCAN_ROWS,
        ..TablePage::default()
    };
    let at = asked.table.instant_at();
    for row in &rows {
        let cells = cells(row, 0, columns)?;
        page.reached = cells[at].as_instant().or(page.reached);
        match values(asked.table, &cells) {
            Some(row) => page.rows.push(row),
            None => page.damaged += 1,
        }
    }
    let place = match rows.last() {
        Some(row) => (row.try_get(at)?, row.try_get(1)?),
        None => after.clone(),
    };
    Ok((page, place))
}

/// An instant, cut to what the table can hold.
fn bound(at: UnixMillis) -> UnixMillis {
    UnixMillis(at.0.clamp(0, UNIX_MILLIS_MAX))
}

fn failed(error: PostgresError) -> ReadError {
    ReadError::Store(Box::new(error))
}
