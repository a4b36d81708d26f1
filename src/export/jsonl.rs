//! JSON lines: an object a row, its keys in the order of the columns. Seconds and counts are
//! numbers, instants texts, nothing is `null`; lists are lists.

use std::io::{self, BufWriter, Write};

use super::format::{RowWriter, seconds};
use super::zone::Zone;
use crate::store::{ColumnKind, Table, TableColumn, Value};

/// Bytes gathered before they are written on.
const BUFFER_BYTES: usize = 64 * 1024;

/// Writes objects.
pub(super) struct JsonlWriter<W: Write> {
    columns: &'static [TableColumn],
    zone: Zone,
    out: BufWriter<W>,
}

impl<W: Write> JsonlWriter<W> {
    /// Writes nothing yet.
    pub(super) fn new(table: Table, zone: Zone, out: W) -> Self {
        Self {
            columns: table.columns(),
            zone,
            out: BufWriter::with_capacity(BUFFER_BYTES, out),
        }
    }
}

impl<W: Write> RowWriter for JsonlWriter<W> {
    fn row(&mut self, row: &[Value]) -> io::Result<()> {
        let out = &mut self.out;
        for (at, (column, value)) in self.columns.iter().zip(row).enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            // Names are plain letters.
            write!(out, "{before}\"{}\":", column.name)?;
            match value {
                Value::Nothing => out.write_all(b"null")?,
                // As it was written, which is what the checksum says.
                Value::Text(json) if column.kind == ColumnKind::Json => {
                    out.write_all(json.as_bytes())?;
                }
                Value::Text(text) => serde_json::to_writer(&mut *out, text)?,
                Value::Instant(at) => write!(out, "\"{}\"", self.zone.text(*at))?,
                Value::Integer(millis) if column.kind == ColumnKind::Seconds => {
                    out.write_all(seconds(*millis).as_bytes())?;
                }
                Value::Integer(number) => write!(out, "{number}")?,
                Value::Flag(flag) => write!(out, "{flag}")?,
            }
        }
        out.write_all(b"}\n")
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}
