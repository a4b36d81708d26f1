//! `export` beside a running exporter: what it writes is what the API gives, in every form and
//! from either store; it needs no secret, leaves nothing half done, and costs the same memory
//! whatever it writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use genesys_cloud_exporter::clock::SystemClock;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::RowAccessor as _;
use serde_json::{Map, Value};

use crate::postgres::keep_in;
use crate::support::cluster::Cluster;
use crate::support::exporter::{Exporter, Setup, WINDOW_MS};
use crate::support::http::rfc3339;
use crate::support::organisation::Organisation;
use crate::support::process::Process;
use crate::support::wait::wait_for;

/// An export of some hundred rows takes a fraction of a second.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// Until windows are closed and stored.
const CLOSE_BOUND: Duration = Duration::from_secs(90);

/// Runs `export`, which must end well. What it wrote to the terminal.
pub(crate) async fn export(directory: &Path, arguments: &[&str]) -> String {
    let (code, said) = ended(directory, arguments).await;
    assert_eq!(code, Some(0), "{arguments:?}: {said}");
    said
}

pub(crate) async fn ended(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let all = [&["export"], arguments].concat();
    Process::start("export", directory, &all, &[])
        .exit(BOUND)
        .await
}

/// An exporter that has closed some windows, and their bounds.
async fn at_work(setup: &Setup) -> (Exporter, [String; 2]) {
    let exporter = setup.start().await;
    exporter.wait_joined().await;
    let from = (SystemClock::new().now().wall.0 / WINDOW_MS + 1) * WINDOW_MS;
    let to = from + 2 * WINDOW_MS;
    exporter.wait_closed(to, CLOSE_BOUND).await;
    (exporter, [from, to].map(rfc3339))
}

async fn organisation() -> Organisation {
    let arguments = [
        "--agents",
        "80",
        "--queues",
        "4",
        "--tempo",
        "12",
        "--cache-refresh",
        "1s",
    ];
    Organisation::simulate(&arguments).await
}

/// Rows of the API without their nesting.
async fn api(exporter: &Exporter, [from, to]: &[String; 2]) -> Vec<Map<String, Value>> {
    let path = format!("/api/v1/windows?from={from}&to={to}&limit=10000");
    let body = exporter.get(&path).await.json();
    assert!(body["nextCursor"].is_null());
    let flat = |row: &Value| {
        let mut flat = Map::new();
        for (name, value) in row.as_object().unwrap() {
            match value {
                Value::Object(inner) => flat.extend(inner.clone()),
                value => drop(flat.insert(name.clone(), value.clone())),
            }
        }
        flat
    };
    body["windows"]
        .as_array()
        .unwrap()
        .iter()
        .map(flat)
        .collect()
}

pub(crate) fn json_lines(path: &Path) -> Vec<Map<String, Value>> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

pub(crate) fn windows<'a>(
    [from, to]: &'a [String; 2],
    format: &'a str,
    output: &'a str,
) -> [&'a str; 12] {
    [
        "windows",
        "--config.file",
        "config.yml",
        "--from",
        from,
        "--to",
        to,
        "--format",
        format,
        "--output",
        output,
        "--force",
    ]
}

/// Exports windows until a page of the API before and one after it are the same, as late facts may
/// revise a row in between; then the export must be the same too.
async fn agreeing(setup: &Setup, exporter: &Exporter, range: &[String; 2]) -> usize {
    let directory = setup.directory.path();
    wait_for("nothing is revised during an export", BOUND, async || {
        let before = api(exporter, range).await;
        for format in ["jsonl", "csv", "parquet"] {
            let output = format!("rows.{format}");
            export(directory, &windows(range, format, &output)).await;
        }
        (before == api(exporter, range).await).then_some(())
    })
    .await;
    let wanted = api(exporter, range).await;
    let lines = json_lines(&directory.join("rows.jsonl"));
    assert_eq!(lines.len(), wanted.len());
    for (line, row) in lines.iter().zip(&wanted) {
        assert_eq!(line["org"], "default");
        assert_eq!(line["windowLengthSeconds"], WINDOW_MS / 1_000);
        for (name, value) in row {
            assert_eq!(&line[name], value, "{name} of {row:?}");
        }
    }
    same_as_csv(&lines, &directory.join("rows.csv"));
    same_as_parquet(&lines, &directory.join("rows.parquet"));
    lines.len()
}

fn same_as_csv(lines: &[Map<String, Value>], path: &Path) {
    let mut rows = csv::Reader::from_path(path).unwrap();
    let names = rows.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), lines.len());
    for (row, line) in rows.iter().zip(lines) {
        assert_eq!(names.len(), line.len());
        for (name, field) in names.iter().zip(row) {
            let wanted = match &line[name] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(field, wanted, "{name}");
        }
    }
}

fn same_as_parquet(lines: &[Map<String, Value>], path: &Path) {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap);
    let rows: Vec<parquet::record::Row> = rows.collect();
    assert_eq!(rows.len(), lines.len());
    for (row, line) in rows.iter().zip(lines) {
        assert_eq!(row.get_string(1).unwrap(), &line["userId"]);
        let start = rfc3339(row.get_timestamp_millis(3).unwrap());
        assert_eq!(line["windowStart"], start);
        for (at, name) in [
            (5, "availableSeconds"),
            (8, "wrapUpSeconds"),
            (11, "coveredSeconds"),
        ] {
            let millis = row.get_decimal(at).unwrap().data().try_into().unwrap();
            let seconds = i64::from_be_bytes(millis) as f64 / 1_000.0;
            assert_eq!(line[name].as_f64(), Some(seconds), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_has_the_rows_that_the_api_gives_while_the_exporter_runs() {
    let organisation = organisation().await;
    let setup = Setup::new(&organisation);
    let (exporter, range) = at_work(&setup).await;
    let directory = setup.directory.path();
    let rows = agreeing(&setup, &exporter, &range).await;
    assert!(rows > 40, "{rows}");

    let told = export(directory, &windows(&range, "csv", "rows.csv")).await;
    assert_eq!(told, format!("rows.csv: {rows} windows"));
    let careful = &windows(&range, "csv", "rows.csv")[..11];
    let (code, said) = ended(directory, careful).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("rows.csv: it is there already; replace it with --force"),
        "{said}"
    );
    let mut elsewhere = windows(&range, "jsonl", "rome.jsonl").to_vec();
    elsewhere.extend(["--timezone", "Asia/Kolkata"]);
    export(directory, &elsewhere).await;
    let there = json_lines(&directory.join("rome.jsonl"));
    let here = json_lines(&directory.join("rows.jsonl"));
    for (there, here) in there.iter().zip(&here) {
        assert!(there["windowStart"].as_str().unwrap().ends_with("+05:30"));
        assert_eq!(instant(&there["windowEnd"]), instant(&here["windowEnd"]));
    }

    // Neither the platform nor its secret is needed, nor a running exporter.
    exporter.assert_no_loss().await;
    exporter.stop().await;
    std::fs::remove_file(directory.join("secret")).unwrap();
    drop(organisation);
    export(directory, &windows(&range, "jsonl", "after.jsonl")).await;
    assert_eq!(json_lines(&directory.join("after.jsonl")), here);
    events_are_those_of_the_database(&setup).await;
    let parts = setup.files();
    let mut parts = parts
        .iter()
        .filter(|path| path.extension() == Some("part".as_ref()));
    assert_eq!(parts.next(), None);
}

fn instant(value: &Value) -> i64 {
    crate::support::http::millis(value)
}

async fn events_are_those_of_the_database(setup: &Setup) {
    let directory = setup.directory.path();
    let arguments = [
        "events",
        "--config.file",
        "config.yml",
        "--from",
        "2020-01-01",
    ];
    let arguments = [
        &arguments[..],
        &["--format", "jsonl", "--output", "events.jsonl"],
    ]
    .concat();
    export(directory, &arguments).await;
    let events = json_lines(&directory.join("events.jsonl"));
    let keys: BTreeMap<_, _> = events
        .iter()
        .map(|event| {
            (
                (
                    instant(&event["stateEnteredTimestamp"]),
                    event["userId"].to_string(),
                ),
                event,
            )
        })
        .collect();
    assert_eq!(keys.len(), events.len());
    let database = rusqlite::Connection::open(setup.data().join("store.db")).unwrap();
    let count = "SELECT count(*), sum(revision), sum(state_duration_ms) FROM agent_event";
    let read = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?]);
    let wanted = database.query_row(count, [], read).unwrap();
    let sum = |name: &str| {
        let values = events.iter().map(|event| event[name].as_f64().unwrap());
        values.sum::<f64>()
    };
    let durations = (sum("stateDurationSeconds") * 1_000.0).round() as i64;
    assert_eq!(
        wanted,
        [events.len() as i64, sum("revision") as i64, durations]
    );
    assert!(
        events
            .iter()
            .all(|event| event["queueAssignments"].is_array())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_from_postgresql_too() {
    let organisation = organisation().await;
    let mut setup = Setup::new(&organisation);
    let mut cluster = Cluster::start();
    keep_in(&mut setup, &cluster.url("postgres"));
    let (exporter, range) = at_work(&setup).await;
    let rows = agreeing(&setup, &exporter, &range).await;
    assert!(rows > 40, "{rows}");
    exporter.stop().await;
    let events = [
        "events",
        "--config.file",
        "config.yml",
        "--from",
        "2020-01-01",
    ];
    let events = [&events[..], &["--format", "csv", "--output", "events.csv"]].concat();
    let said = export(setup.directory.path(), &events).await;
    let count = cluster.ask("postgres", "SELECT count(*) FROM agent_event");
    assert_eq!(said, format!("events.csv: {count} events"));
    cluster.stop();
    let (code, said) = ended(setup.directory.path(), &windows(&range, "csv", "no.csv")).await;
    assert_eq!(code, Some(1));
    assert!(
        said.contains("cannot read the store: cannot connect to PostgreSQL"),
        "{said}"
    );
    assert!(!setup.directory.path().join("no.csv").exists());
}
