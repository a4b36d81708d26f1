//! Apache Parquet: instants as UTC-adjusted milliseconds, spans as exact decimals of seconds,
//! lists as JSON; compressed by Snappy, which every reader knows.
//!
//! Rows are gathered into groups, which a reader loads one at a time and which bound what is held
//! here: a file of any length costs one group and, for the foot, some kilobytes a group. The zone
//! stands in the file's metadata under `timezone`; it changes no instant.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use super::format::RowWriter;
use super::zone::Zone;
use crate::store::{ColumnKind, Table, TableColumn, Value};

/// Rows of a group: some ten megabytes of windows.
pub(super) const GROUP_ROWS_MAX: usize = 50_000;

/// Bytes of text in a group: agents in many queues of long names have long rows.
pub(super) const GROUP_TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Digits of a span in seconds: all that the 64 bits of a decimal are sure to hold.
const PRECISION: i32 = 18;

/// Of these, behind the point.
const SCALE: i32 = 3;

/// What a group has of a column, and where it has nothing.
struct Gathered {
    values: Values,
    /// 1 for each value, 0 for nothing; of a column that may hold nothing.
    levels: Option<Vec<i16>>,
}

enum Values {
    Numbers(Vec<i64>),
    Flags(Vec<bool>),
    Texts(Vec<ByteArray>),
}

impl Gathered {
    fn new(column: &TableColumn) -> Self {
        let values = match column.kind {
            ColumnKind::Text | ColumnKind::Json => Values::Texts(Vec::new()),
            ColumnKind::Flag => Values::Flags(Vec::new()),
            ColumnKind::Instant | ColumnKind::Seconds | ColumnKind::Count => {
                Values::Numbers(Vec::new())
            }
        };
        Self {
            values,
            levels: column.optional.then(Vec::new),
        }
    }

    /// Takes a value; how many bytes of text it has.
    fn push(&mut self, value: &Value) -> usize {
        if let Some(levels) = &mut self.levels {
            levels.push((*value != Value::Nothing).into());
        }
        match (&mut self.values, value) {
            (Values::Texts(texts), Value::Text(text)) => {
                texts.push(Bytes::copy_from_slice(text.as_bytes()).into());
                return text.len();
            }
            (Values::Numbers(numbers), Value::Integer(number)) => numbers.push(*number),
            (Values::Numbers(numbers), Value::Instant(at)) => numbers.push(at.0),
            (Values::Flags(flags), Value::Flag(flag)) => flags.push(*flag),
            (_, Value::Nothing) => {}
            (_, value) => unreachable!("{value:?} is not of its column"),
        }
        0
    }

    /// Writes what was gathered, and forgets it.
    fn write(&mut self, mut column: SerializedColumnWriter<'_>) -> Result<()> {
        let levels = self.levels.as_deref();
        match &mut self.values {
            Values::Numbers(numbers) => {
                column
                    .typed::<Int64Type>()
                    .write_batch(numbers, levels, None)?;
                numbers.clear();
            }
            Values::Flags(flags) => {
                column
                    .typed::<BoolType>()
                    .write_batch(flags, levels, None)?;
                flags.clear();
            }
            Values::Texts(texts) => {
                column
                    .typed::<ByteArrayType>()
                    .write_batch(texts, levels, None)?;
                texts.clear();
            }
        }
        if let Some(levels) = &mut self.levels {
            levels.clear();
        }
        column.close()
    }
}

/// Writes groups of rows.
pub(super) struct ParquetWriter<W: Write + Send> {
    out: SerializedFileWriter<W>,
    columns: Vec<Gathered>,
    rows: usize,
    text_bytes: usize,
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Writes the head.
    pub(super) fn new(table: Table, zone: Zone, out: W) -> io::Result<Self> {
        let zone = KeyValue::new("timezone".to_owned(), zone.name().to_owned());
        let created_by = concat!(
            env!("CARGO_PKG_NAME"),
            " version ",
            env!("CARGO_PKG_VERSION")
        );
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(created_by.to_owned())
            .set_key_value_metadata(Some(vec![zone]))
            .build();
        let out = SerializedFileWriter::new(out, schema(table)?, Arc::new(properties))?;
        Ok(Self {
            out,
            columns: table.columns().iter().map(Gathered::new).collect(),
            rows: 0,
            text_bytes: 0,
        })
    }

    fn write_group(&mut self) -> Result<()> {
        let mut group = self.out.next_row_group()?;
        for gathered in &mut self.columns {
            let column = group.next_column()?;
            gathered.write(column.expect("the schema has every column"))?;
        }
        group.close()?;
        (self.rows, self.text_bytes) = (0, 0);
        Ok(())
    }
}

impl<W: Write + Send> RowWriter for ParquetWriter<W> {
    fn row(&mut self, row: &[Value]) -> io::Result<()> {
        for (gathered, value) in self.columns.iter_mut().zip(row) {
            self.text_bytes += gathered.push(value);
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS_MAX || self.text_bytes >= GROUP_TEXT_BYTES_MAX {
            self.write_group()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.rows > 0 {
            self.write_group()?;
        }
        // Flushes what stands behind it.
        self.out.close()?;
        Ok(())
    }
}

fn schema(table: Table) -> Result<TypePtr> {
    let columns = table.columns().iter().map(field);
    let columns: Result<Vec<TypePtr>> = columns.collect();
    let schema = Type::group_type_builder(table.name()).with_fields(columns?);
    Ok(Arc::new(schema.build()?))
}

fn field(column: &TableColumn) -> Result<TypePtr> {
    let (physical, logical) = match column.kind {
        ColumnKind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        ColumnKind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        ColumnKind::Instant => (
            Physical::INT64,
            Some(LogicalType::timestamp(true, TimeUnit::MILLIS)),
        ),
        ColumnKind::Seconds => (
            Physical::INT64,
            Some(LogicalType::decimal(SCALE, PRECISION)),
        ),
        ColumnKind::Count => (Physical::INT64, None),
        ColumnKind::Flag => (Physical::BOOLEAN, None),
    };
    let repetition = if column.optional {
        Repetition::OPTIONAL
    } else {
        Repetition::REQUIRED
    };
    let mut field = Type::primitive_type_builder(column.name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical);
    if column.kind == ColumnKind::Seconds {
        field = field.with_precision(PRECISION).with_scale(SCALE);
    }
    Ok(Arc::new(field.build()?))
}
