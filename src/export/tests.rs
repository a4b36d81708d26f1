//! What the files say, letter for letter; and Parquet as another reader reads it.

use std::io;
use std::ops::ControlFlow;

use ::parquet::basic::{LogicalType, TimeUnit};
use ::parquet::file::metadata::RowGroupMetaData;
use ::parquet::file::reader::{FileReader as _, SerializedFileReader};
use ::parquet::record::Field;
use bytes::Bytes;

use super::parquet::{GROUP_ROWS_MAX, GROUP_TEXT_BYTES_MAX};
use super::*;
use crate::model::time::UnixMillis;
use crate::store::{ColumnKind, ReadError, Table, TablePage, TableScan, Value};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn at(text: &str) -> Value {
    Value::Instant(UnixMillis::parse(text).unwrap())
}

fn windows() -> Vec<Vec<Value>> {
    let [start, end] = ["2024-05-14T08:30:00.000Z", "2024-05-14T08:35:00.000Z"].map(at);
    let row = |user: &str, states: [i64; 5], last: [Value; 2]| {
        let mut row = vec![text("default"), text(user), Value::Integer(300_000)];
        row.extend([start.clone(), end.clone()]);
        row.extend(states.map(Value::Integer));
        row.extend([2, 300_000, 250].map(Value::Integer));
        row.extend([Value::Flag(true), Value::Integer(1)]);
        row.extend(last);
        row
    };
    let told = ["2024-05-14T08:31:02.003Z", "2024-05-14T08:31:10.000Z"].map(at);
    vec![
        row("agent-1", [62_003, 237_997, 0, 0, 0], told),
        row(
            "agent-2",
            [0, 0, 0, 0, 300_000],
            [Value::Nothing, Value::Nothing],
        ),
    ]
}

fn events() -> Vec<Vec<Value>> {
    vec![vec![
        text("default"),
        text("agent-1"),
        at("2024-05-14T08:31:02.003Z"),
        text("Unknown"),
        text("LEVITATING"),
        Value::Nothing,
        text("On, \"Queue\"\n"),
        text("[\"Sales, EU\",\"Süd\"]"),
        at("2024-05-14T08:31:04.000Z"),
        Value::Integer(1_997),
        at("2024-05-14T08:31:05.000Z"),
        text("bulk"),
        Value::Flag(false),
        text("OnCall"),
        Value::Integer(3),
        text("{\"kind\":\"gap\",\"knownUntil\":null}"),
        Value::Flag(false),
        Value::Flag(true),
    ]]
}

fn written(format: ExportFormat, table: Table, zone: &str, rows: &[Vec<Value>]) -> Vec<u8> {
    let mut out = Vec::new();
    let zone = Zone::parse(zone).unwrap();
    let mut writer = format.writer(table, zone, &mut out).unwrap();
    for row in rows {
        writer.row(row).unwrap();
    }
    writer.finish().unwrap();
    out
}

fn text_of(format: ExportFormat, table: Table, zone: &str, rows: &[Vec<Value>]) -> String {
    String::from_utf8(written(format, table, zone, rows)).unwrap()
}

#[test]
fn csv_is_golden() {
    assert_eq!(
        text_of(ExportFormat::Csv, Table::Window, "Europe/Rome", &windows()),
        "org,userId,windowLengthSeconds,windowStart,windowEnd,availableSeconds,notReadySeconds,\
         onCallSeconds,wrapUpSeconds,unknownSeconds,stateTransitions,coveredSeconds,\
         estimatedSeconds,volatile,revision,lastEventAt,lastEventIngestedAt\n\
         default,agent-1,300,2024-05-14T10:30:00.000+02:00,2024-05-14T10:35:00.000+02:00,62.003,\
         237.997,0,0,0,2,300,0.25,true,1,2024-05-14T10:31:02.003+02:00,\
         2024-05-14T10:31:10.000+02:00\n\
         default,agent-2,300,2024-05-14T10:30:00.000+02:00,2024-05-14T10:35:00.000+02:00,0,0,0,0,\
         300,2,300,0.25,true,1,,\n"
    );
    assert_eq!(
        text_of(ExportFormat::Csv, Table::Event, "UTC", &events()),
        "org,userId,stateEnteredTimestamp,routingAvailability,rawState,wrapupCode,uiPresence,\
         queueAssignments,timestamp,stateDurationSeconds,ingestedAt,source,volatile,previous,\
         revision,chain,estimated,withdrawn\n\
         default,agent-1,2024-05-14T08:31:02.003Z,Unknown,LEVITATING,,\"On, \"\"Queue\"\"\n\",\
         \"[\"\"Sales, EU\"\",\"\"Süd\"\"]\",2024-05-14T08:31:04.000Z,1.997,\
         2024-05-14T08:31:05.000Z,bulk,false,OnCall,3,\
         \"{\"\"kind\"\":\"\"gap\"\",\"\"knownUntil\"\":null}\",false,true\n"
    );
}

#[test]
fn json_lines_are_golden() {
    let rows = text_of(ExportFormat::Jsonl, Table::Window, "UTC", &windows()[..1]);
    assert_eq!(
        rows,
        "{\"org\":\"default\",\"userId\":\"agent-1\",\"windowLengthSeconds\":300,\
         \"windowStart\":\"2024-05-14T08:30:00.000Z\",\"windowEnd\":\"2024-05-14T08:35:00.000Z\",\
         \"availableSeconds\":62.003,\"notReadySeconds\":237.997,\"onCallSeconds\":0,\
         \"wrapUpSeconds\":0,\"unknownSeconds\":0,\"stateTransitions\":2,\"coveredSeconds\":300,\
         \"estimatedSeconds\":0.25,\"volatile\":true,\"revision\":1,\
         \"lastEventAt\":\"2024-05-14T08:31:02.003Z\",\
         \"lastEventIngestedAt\":\"2024-05-14T08:31:10.000Z\"}\n"
    );
    let rows = text_of(ExportFormat::Jsonl, Table::Event, "Asia/Kolkata", &events());
    assert_eq!(
        rows,
        "{\"org\":\"default\",\"userId\":\"agent-1\",\
         \"stateEnteredTimestamp\":\"2024-05-14T14:01:02.003+05:30\",\
         \"routingAvailability\":\"Unknown\",\"rawState\":\"LEVITATING\",\"wrapupCode\":null,\
         \"uiPresence\":\"On, \\\"Queue\\\"\\n\",\"queueAssignments\":[\"Sales, EU\",\"Süd\"],\
         \"timestamp\":\"2024-05-14T14:01:04.000+05:30\",\"stateDurationSeconds\":1.997,\
         \"ingestedAt\":\"2024-05-14T14:01:05.000+05:30\",\"source\":\"bulk\",\"volatile\":false,\
         \"previous\":\"OnCall\",\"revision\":3,\
         \"chain\":{\"kind\":\"gap\",\"knownUntil\":null},\"estimated\":false,\
         \"withdrawn\":true}\n"
    );
}

fn reader(file: Vec<u8>) -> SerializedFileReader<Bytes> {
    SerializedFileReader::new(Bytes::from(file)).unwrap()
}

/// A value as the crate's own reader gives it.
fn read_back(kind: ColumnKind, field: &Field) -> Value {
    match (kind, field) {
        (_, Field::Null) => Value::Nothing,
        (ColumnKind::Text | ColumnKind::Json, Field::Str(text)) => Value::Text(text.clone()),
        (ColumnKind::Instant, Field::TimestampMillis(at)) => Value::Instant(UnixMillis(*at)),
        (ColumnKind::Seconds, Field::Decimal(span)) => {
            assert_eq!(span.scale(), 3);
            let bytes = span.data().try_into().unwrap();
            Value::Integer(i64::from_be_bytes(bytes))
        }
        (ColumnKind::Count, Field::Long(number)) => Value::Integer(*number),
        (ColumnKind::Flag, Field::Bool(flag)) => Value::Flag(*flag),
        (kind, field) => panic!("{kind:?} came back as {field:?}"),
    }
}

#[test]
fn parquet_reads_back_as_it_was() {
    for (table, rows) in [(Table::Window, windows()), (Table::Event, events())] {
        let file = written(ExportFormat::Parquet, table, "Europe/Rome", &rows);
        let reader = reader(file);
        let meta = reader.metadata().file_metadata();
        assert_eq!(meta.schema().name(), table.name());
        let zone = &meta.key_value_metadata().unwrap()[0];
        assert_eq!(
            (&*zone.key, zone.value.as_deref()),
            ("timezone", Some("Europe/Rome"))
        );
        let columns = table.columns();
        for (column, field) in columns.iter().zip(meta.schema().get_fields()) {
            let info = field.get_basic_info();
            assert_eq!(
                (info.name(), field.is_optional()),
                (column.name, column.optional)
            );
            if column.kind == ColumnKind::Instant {
                let utc = LogicalType::timestamp(true, TimeUnit::MILLIS);
                assert_eq!(info.logical_type_ref(), Some(&utc));
            }
        }
        let read: Vec<Vec<Value>> = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| {
                let row = row.unwrap();
                let fields = row.get_column_iter().map(|(_, field)| field);
                let values = columns.iter().zip(fields);
                values
                    .map(|(column, field)| read_back(column.kind, field))
                    .collect()
            })
            .collect();
        assert_eq!(read, rows);
    }
}

#[test]
fn a_group_of_parquet_is_bounded_by_rows_and_by_text() {
    let groups = |file| {
        let reader = reader(file);
        let groups = reader.metadata().row_groups().iter();
        groups.map(RowGroupMetaData::num_rows).collect::<Vec<_>>()
    };
    let row = windows().remove(0);
    let rows = vec![row; GROUP_ROWS_MAX + 1];
    let file = written(ExportFormat::Parquet, Table::Window, "UTC", &rows);
    assert_eq!(groups(file), [GROUP_ROWS_MAX as i64, 1]);
    let mut row = events().remove(0);
    row[7] = text(&format!("[{:?}]", "q".repeat(GROUP_TEXT_BYTES_MAX / 4)));
    let file = written(ExportFormat::Parquet, Table::Event, "UTC", &vec![row; 10]);
    assert_eq!(groups(file), [4, 4, 2]);
    let file = written(ExportFormat::Parquet, Table::Event, "UTC", &[]);
    assert!(groups(file).is_empty());
}

/// Two pages, one of them with a damaged row.
struct Pages(Vec<TablePage>);

impl TableScan for Pages {
    fn next_page(&mut self) -> Result<TablePage, ReadError> {
        Ok(self.0.remove(0))
    }
}

fn pages() -> Pages {
    let [one, two] = windows().try_into().unwrap();
    let page = |row, damaged, last| TablePage {
        rows: vec![row],
        damaged,
        reached: Some(UnixMillis(7)),
        last,
    };
    Pages(vec![page(one, 3, false), page(two, 1, true)])
}

#[test]
fn everything_is_copied_and_what_is_damaged_is_counted() {
    let mut out = Vec::new();
    let mut writer = ExportFormat::Csv
        .writer(Table::Window, Zone::UTC, &mut out)
        .unwrap();
    let mut exported = Exported::default();
    let mut told = Vec::new();
    copy(&mut pages(), &mut *writer, &mut exported, &mut |progress| {
        told.push(progress.rows);
        ControlFlow::Continue(())
    })
    .unwrap();
    writer.finish().unwrap();
    assert_eq!((exported.rows, exported.damaged, told), (2, 4, vec![1, 2]));
    assert_eq!(
        out,
        written(ExportFormat::Csv, Table::Window, "UTC", &windows())
    );
}

/// A pipe that nobody reads.
struct Unread;

impl io::Write for Unread {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_tells_why_nobody_takes_what_it_writes() {
    for format in [ExportFormat::Csv, ExportFormat::Jsonl] {
        let mut writer = format.writer(Table::Window, Zone::UTC, Unread).unwrap();
        writer.row(&windows()[0]).unwrap();
        let error = writer.finish().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{error}");
    }
}

/// Takes nothing.
struct Full;

impl RowWriter for Full {
    fn row(&mut self, _: &[Value]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_and_a_wish_to_stop_end_it() {
    let mut exported = Exported::default();
    let mut on = |_| ControlFlow::Continue(());
    let ended = copy(&mut pages(), &mut Full, &mut exported, &mut on);
    assert!(matches!(ended, Err(ExportError::Write(_))), "{ended:?}");
    assert_eq!(
        exported,
        Exported {
            rows: 0,
            damaged: 3
        }
    );
    let mut writer = ExportFormat::Csv
        .writer(Table::Window, Zone::UTC, io::sink())
        .unwrap();
    let mut off = |_| ControlFlow::Break(());
    let ended = copy(&mut pages(), &mut *writer, &mut exported, &mut off);
    assert!(matches!(ended, Err(ExportError::Stopped)), "{ended:?}");
}
