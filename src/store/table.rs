//! The two tables as others take them away: columns by the API's names, rows as values, page by
//! page. Pure: the engines turn their cells into values, and whoever writes a file takes them.
//!
//! A page is read whole and let go of before anything is done with it, so that a slow reader of
//! a file never holds up the database.

use crate::model::time::{Millis, UnixMillis};

use super::ReadError;
use super::cells::{Cell, sound};

/// Rows of a page: read in some milliseconds, and some hundred KiB.
pub const SCAN_ROWS: usize = 2_000;

/// One of the tables that are for users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// `agent_event`.
    Event,
    /// `agent_window`.
    Window,
}

impl Table {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "agent_event",
            Self::Window => "agent_window",
        }
    }

    /// Its columns without the checksum, in the order of its cells.
    pub const fn columns(self) -> &'static [TableColumn] {
        match self {
            Self::Event => EVENT,
            Self::Window => WINDOW,
        }
    }

    /// Where the instant stands by which its rows are asked for.
    pub(super) const fn instant_at(self) -> usize {
        match self {
            Self::Event => 2,
            Self::Window => 3,
        }
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text.
    Text,
    /// Text that is JSON.
    Json,
    /// An instant.
    Instant,
    /// A span, kept in milliseconds and named in seconds.
    Seconds,
    /// A number.
    Count,
    /// Yes or no.
    Flag,
}

/// A column, by the name that the API gives its figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableColumn {
    /// The name.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
    /// Whether it may hold nothing.
    pub optional: bool,
}

const fn column(name: &'static str, kind: ColumnKind) -> TableColumn {
    TableColumn {
        name,
        kind,
        optional: false,
    }
}

const fn optional(name: &'static str, kind: ColumnKind) -> TableColumn {
    TableColumn {
        name,
        kind,
        optional: true,
    }
}

const EVENT: &[TableColumn] = &[
    column("org", ColumnKind::Text),
    column("userId", ColumnKind::Text),
    column("stateEnteredTimestamp", ColumnKind::Instant),
    column("routingAvailability", ColumnKind::Text),
    optional("rawState", ColumnKind::Text),
    optional("wrapupCode", ColumnKind::Text),
    column("uiPresence", ColumnKind::Text),
    column("queueAssignments", ColumnKind::Json),
    column("timestamp", ColumnKind::Instant),
    column("stateDurationSeconds", ColumnKind::Seconds),
    column("ingestedAt", ColumnKind::Instant),
    column("source", ColumnKind::Text),
    column("volatile", ColumnKind::Flag),
    optional("previous", ColumnKind::Text),
    column("revision", ColumnKind::Count),
    column("chain", ColumnKind::Json),
    column("estimated", ColumnKind::Flag),
    column("withdrawn", ColumnKind::Flag),
];

const WINDOW: &[TableColumn] = &[
    column("org", ColumnKind::Text),
    column("userId", ColumnKind::Text),
    column("windowLengthSeconds", ColumnKind::Seconds),
    column("windowStart", ColumnKind::Instant),
    column("windowEnd", ColumnKind::Instant),
    column("availableSeconds", ColumnKind::Seconds),
    column("notReadySeconds", ColumnKind::Seconds),
    column("onCallSeconds", ColumnKind::Seconds),
    column("wrapUpSeconds", ColumnKind::Seconds),
    column("unknownSeconds", ColumnKind::Seconds),
    column("stateTransitions", ColumnKind::Count),
    column("coveredSeconds", ColumnKind::Seconds),
    column("estimatedSeconds", ColumnKind::Seconds),
    column("volatile", ColumnKind::Flag),
    column("revision", ColumnKind::Count),
    optional("lastEventAt", ColumnKind::Instant),
    optional("lastEventIngestedAt", ColumnKind::Instant),
];

/// The value of a column in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Nothing,
    /// Of a column of text or JSON.
    Text(String),
    /// Of a column of instants.
    Instant(UnixMillis),
    /// Of a column of spans, in milliseconds, or of numbers.
    Integer(i64),
    /// Of a column of flags.
    Flag(bool),
}

/// Which rows to go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableQuery {
    /// The table.
    pub table: Table,
    /// Windows that start, or states that were entered, at or after this instant.
    pub from: UnixMillis,
    /// And before this one.
    pub to: UnixMillis,
    /// Windows of this length; of events it says nothing.
    pub window_length: Millis,
}

/// The next rows, by (instant, agent).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TablePage {
    /// The rows that are as they were written.
    pub rows: Vec<Vec<Value>>,
    /// Rows that are not, and were left out.
    pub damaged: u64,
    /// How far the page came.
    pub reached: Option<UnixMillis>,
    /// There are no more.
    pub last: bool,
}

impl TablePage {
    /// What comes after the last.
    pub(super) fn behind_all() -> Self {
        Self {
            last: true,
            ..Self::default()
        }
    }
}

/// Goes through a table once, from the first row to the last. Blocking: keep it off the reactor.
///
/// What is written or changed behind its place meanwhile is not seen; no row is seen twice.
pub trait TableScan {
    /// The next page; after the last an empty one.
    ///
    /// # Errors
    /// If the database does not answer.
    fn next_page(&mut self) -> Result<TablePage, ReadError>;
}

/// The tables of one organisation, to be read beside whoever writes them. Blocking.
pub trait Tables {
    /// Lengths of windows of which there are rows, rising.
    ///
    /// # Errors
    /// If the database does not answer.
    fn window_lengths(&mut self) -> Result<Vec<Millis>, ReadError>;

    /// Goes through one of them.
    fn scan(&mut self, asked: TableQuery) -> Box<dyn TableScan + '_>;
}

/// The values of a row's cells; `None` if it is not as it was written.
pub(super) fn values(table: Table, cells: &[Cell<'_>]) -> Option<Vec<Value>> {
    let columns = table.columns();
    let row = sound(cells).filter(|row| row.len() == columns.len())?;
    let value = |(column, cell)| value(column, cell);
    columns.iter().zip(row).map(value).collect()
}

fn value(column: &TableColumn, cell: &Cell<'_>) -> Option<Value> {
    if *cell == Cell::Null {
        return column.optional.then_some(Value::Nothing);
    }
    match column.kind {
        ColumnKind::Text | ColumnKind::Json => {
            cell.as_text().map(|text| Value::Text(text.to_owned()))
        }
        ColumnKind::Instant => cell.as_instant().map(Value::Instant),
        ColumnKind::Seconds | ColumnKind::Count => cell.as_integer().map(Value::Integer),
        ColumnKind::Flag => cell.as_flag().map(Value::Flag),
    }
}

#[cfg(test)]
mod tests {
    use super::super::cells::sealed;
    use super::super::event_row::{EVENT_CELLS, EVENT_COLUMNS};
    use super::super::window_row::{WINDOW_CELLS, WINDOW_COLUMNS};
    use super::*;

    /// The column of the table that is meant.
    fn kept(name: &str) -> String {
        let letters = name.chars().map(|c| match c {
            'A'..='Z' => format!("_{}", c.to_ascii_lowercase()),
            _ => c.to_string(),
        });
        let snake: String = letters.collect();
        match snake.replace("_seconds", "_ms").as_str() {
            "state_entered_timestamp" => "state_entered_at".to_owned(),
            "timestamp" => "described_at".to_owned(),
            "window_length_ms" => "window_length".to_owned(),
            same => same.to_owned(),
        }
    }

    #[test]
    fn columns_are_those_of_the_tables_in_their_order() {
        for (table, cells, written) in [
            (Table::Event, EVENT_CELLS, EVENT_COLUMNS),
            (Table::Window, WINDOW_CELLS, WINDOW_COLUMNS),
        ] {
            let columns = table.columns();
            assert_eq!(columns.len() + 1, cells, "{}", table.name());
            assert_eq!(columns[table.instant_at()].kind, ColumnKind::Instant);
            let ours: Vec<String> = columns.iter().map(|column| kept(column.name)).collect();
            let written: Vec<&str> = written.split(", ").collect();
            assert_eq!(ours, written[..columns.len()]);
        }
    }

    #[test]
    fn a_row_that_does_not_fit_its_columns_is_none() {
        let whole = |flag| {
            let mut cells = vec![Cell::text("default"), Cell::text("a")];
            cells.push(Cell::Integer(300_000));
            cells.extend([
                Cell::Instant(UnixMillis(0)),
                Cell::text("1970-01-01T00:05:00.000Z"),
            ]);
            cells.extend([300_000, 0, 0, 0, 0, 1, 300_000, 0].map(Cell::Integer));
            cells.extend([
                Cell::Integer(flag),
                Cell::Integer(1),
                Cell::Null,
                Cell::Null,
            ]);
            sealed(cells)
        };
        let row = values(Table::Window, &whole(1)).unwrap();
        assert_eq!(row[4], Value::Instant(UnixMillis(300_000)));
        assert_eq!(
            row[13..],
            [
                Value::Flag(true),
                Value::Integer(1),
                Value::Nothing,
                Value::Nothing
            ]
        );
        assert_eq!(values(Table::Window, &whole(2)), None);
        assert_eq!(values(Table::Event, &whole(1)), None);
        let mut flipped = whole(1);
        flipped[5] = Cell::Integer(299_999);
        assert_eq!(values(Table::Window, &flipped), None);
    }
}
