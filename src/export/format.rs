//! The forms in which rows leave, and what they have in common.

use std::io::{self, Write};

use super::csv::CsvWriter;
use super::jsonl::JsonlWriter;
use super::parquet::ParquetWriter;
use super::zone::Zone;
use crate::store::{Table, Value};

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// Comma-separated, with a head (RFC 4180)
    Csv,
    /// A JSON object a line
    Jsonl,
    /// Apache Parquet, compressed by Snappy
    Parquet,
}

/// Takes rows in order.
pub trait RowWriter {
    /// Writes a row of the table's columns.
    ///
    /// # Errors
    /// If what stands behind it takes no more.
    fn row(&mut self, row: &[Value]) -> io::Result<()>;

    /// Writes whatever is still to be written, and flushes.
    ///
    /// # Errors
    /// The same.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

impl ExportFormat {
    /// A writer of a table's rows. Text has instants in `zone`; Parquet has instants, and notes
    /// the zone.
    ///
    /// # Errors
    /// If `out` does not take the beginning.
    pub fn writer<'w, W: Write + Send + 'w>(
        self,
        table: Table,
        zone: Zone,
        out: W,
    ) -> io::Result<Box<dyn RowWriter + 'w>> {
        Ok(match self {
            Self::Csv => Box::new(CsvWriter::new(table, zone, out)?),
            Self::Jsonl => Box::new(JsonlWriter::new(table, zone, out)),
            Self::Parquet => Box::new(ParquetWriter::new(table, zone, out)?),
        })
    }
}

/// A span as seconds, as the API writes it: `1420`, or `1420.25`.
pub(super) fn seconds(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let (whole, rest) = (millis.unsigned_abs() / 1_000, millis.unsigned_abs() % 1_000);
    if rest == 0 {
        return format!("{sign}{whole}");
    }
    let text = format!("{sign}{whole}.{rest:03}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::event::decimal_seconds;
    use crate::model::time::Millis;

    proptest! {
        #[test]
        fn seconds_are_written_as_the_api_writes_them(millis in -10_000_000_i64..1_000_000_000_000) {
            let mut api = Vec::new();
            let mut serializer = serde_json::Serializer::new(&mut api);
            decimal_seconds::serialize(&Millis(millis), &mut serializer).unwrap();
            prop_assert_eq!(seconds(millis), String::from_utf8(api).unwrap());
        }
    }
}
