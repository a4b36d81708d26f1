//! Comma-separated values: a head of names, then a line a row; nothing is an empty field, a flag
//! `true` or `false`, a list JSON. Quoted where RFC 4180 wants it, lines end in a line feed.

use std::io::{self, Write};

use super::format::{RowWriter, seconds};
use super::zone::Zone;
use crate::store::{ColumnKind, Table, TableColumn, Value};

/// Bytes gathered before they are written on.
const BUFFER_BYTES: usize = 64 * 1024;

/// Writes lines.
pub(super) struct CsvWriter<W: Write> {
    columns: &'static [TableColumn],
    zone: Zone,
    out: ::csv::Writer<W>,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the head.
    pub(super) fn new(table: Table, zone: Zone, out: W) -> io::Result<Self> {
        let mut out = ::csv::WriterBuilder::new()
            .buffer_capacity(BUFFER_BYTES)
            .from_writer(out);
        let columns = table.columns();
        let names = columns.iter().map(|column| column.name);
        out.write_record(names).map_err(plain)?;
        Ok(Self { columns, zone, out })
    }
}

impl<W: Write> RowWriter for CsvWriter<W> {
    fn row(&mut self, row: &[Value]) -> io::Result<()> {
        for (column, value) in self.columns.iter().zip(row) {
            let written = match value {
                Value::Nothing => self.out.write_field(""),
                Value::Text(text) => self.out.write_field(text),
                Value::Instant(at) => self.out.write_field(self.zone.text(*at)),
                Value::Integer(millis) if column.kind == ColumnKind::Seconds => {
                    self.out.write_field(seconds(*millis))
                }
                Value::Integer(number) => self.out.write_field(number.to_string()),
                Value::Flag(flag) => self.out.write_field(flag.to_string()),
            };
            written.map_err(plain)?;
        }
        self.out.write_record(None::<&[u8]>).map_err(plain)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

/// The error of what stands behind it, whose kind matters.
fn plain(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
