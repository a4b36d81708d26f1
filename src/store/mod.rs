//! Rows in a database, and the one way to read them back.
//!
//! Takes records from the journal and keeps facts and rows in one transaction with its read
//! position, so that a record counts once however often it comes. Decides nothing about figures:
//! that is the window function's.

mod aggregator;
mod arrivals;
mod cells;
mod columns;
mod consumer;
#[cfg(test)]
mod consumer_tests;
mod cursor;
mod deliveries;
#[cfg(test)]
mod deliveries_tests;
mod error;
mod event_row;
mod event_rows;
mod fact_rows;
mod handle;
mod holes;
mod postgres;
mod prune;
mod reader;
mod remote_write;
mod report;
mod scan;
#[cfg(test)]
mod scan_tests;
mod schema;
mod sent;
mod sqlite;
mod table;
#[cfg(test)]
mod tests;
mod touch;
#[cfg(test)]
mod trouble_tests;
mod window_row;
mod window_rows;

pub use aggregator::{AggregatorObserver, aggregate};
pub use arrivals::Progress;
pub use consumer::{ConsumeError, ConsumerObserver, Fetched, consume};
pub use cursor::PAGE_ROWS_MAX;
pub use error::StoreError;
pub use handle::{StoreHandle, StoreStatus};
pub use postgres::{PostgresError, PostgresReader, PostgresStore, PostgresTables};
pub use prune::PruneReport;
pub use reader::SqliteReader;
pub use remote_write::{
    DeadSamples, REMOTE_WRITE_METRICS, RemoteWrite, RemoteWriteError, RemoteWriteObserver,
};
pub use report::{CommitReport, StoreSettings};
pub use scan::SqliteTables;
pub use sqlite::SqliteStore;
pub use table::{
    ColumnKind, SCAN_ROWS, Table, TableColumn, TablePage, TableQuery, TableScan, Tables, Value,
};

use crate::model::ids::UserId;
use crate::model::time::UnixMillis;
use crate::model::window::WindowRow;

/// Which rows to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowQuery {
    /// Rows that start at or after this instant.
    pub from: UnixMillis,
    /// And before this one.
    pub to: UnixMillis,
    /// Of one agent, or of all.
    pub user: Option<UserId>,
    /// Where the last page ended, as that page said it.
    pub cursor: Option<String>,
    /// Rows at most.
    pub limit: usize,
}

/// A page of rows, by (window start, agent).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WindowPage {
    /// The rows.
    pub rows: Vec<WindowRow>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<String>,
}

/// Reads closed windows. Blocking: call it off the reactor.
pub trait WindowReader: Send + Sync {
    /// One page.
    ///
    /// # Errors
    /// If the cursor is not one of ours, or the database does not answer.
    fn windows(&self, query: &WindowQuery) -> Result<WindowPage, ReadError>;
}

/// Reads nothing: rows are kept by other instances.
#[derive(Debug)]
pub struct NoRows;

impl WindowReader for NoRows {
    fn windows(&self, _: &WindowQuery) -> Result<WindowPage, ReadError> {
        Err(ReadError::Elsewhere)
    }
}

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The cursor was not made by this exporter.
    #[error("the cursor is not one that this exporter gave")]
    Cursor,
    /// This instance keeps no rows.
    #[error("this instance keeps no windows; ask one whose role is aggregator or all")]
    Elsewhere,
    /// The database did not answer.
    #[error("cannot read the store")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}
