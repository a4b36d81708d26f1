//! `export` from stores that a test fills: the same memory whatever it writes, a quiet end when
//! nobody reads, and a word about whatever is left out.

use std::env::var_os;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use genesys_cloud_exporter::journal::DataDir;
use genesys_cloud_exporter::model::event::{JournalRecord, Mark, RosterSpan};
use genesys_cloud_exporter::model::ids::UserId;
use genesys_cloud_exporter::model::time::{Millis, UnixMillis};
use genesys_cloud_exporter::model::window::WindowSpec;
use genesys_cloud_exporter::store::{SqliteStore, StoreSettings};
use genesys_cloud_exporter::window::RowRules;

use crate::export::{BOUND, ended, export, json_lines, windows};
use crate::support::http::rfc3339;
use crate::support::process::{BINARY, Process};

/// Agents of a store that a test fills.
const AGENTS: i64 = 50;

/// Length of their windows.
const MINUTE: Millis = Millis::from_secs(60);

fn settings() -> StoreSettings {
    StoreSettings {
        org: "default".to_owned(),
        window: WindowSpec::new(MINUTE, MINUTE),
        rules: RowRules {
            volatile_transitions: 3,
            volatile_within: MINUTE,
            include_offline: false,
        },
    }
}

/// A store with rows of `minutes` windows of each agent, from the epoch on.
fn fill(directory: &Path, minutes: i64) {
    let data = DataDir::open(&directory.join("data")).unwrap();
    let (mut store, _) = SqliteStore::open(&data, settings(), UnixMillis(0)).unwrap();
    store.forgo_durability().unwrap();
    let mut records = Vec::new();
    for agent in 0..AGENTS {
        let user_id = UserId::new(&format!("6f1a8a52-0c1d-4f0e-9b57-{agent:012}"));
        records.push(JournalRecord::Roster(RosterSpan {
            user_id: user_id.clone(),
            from: UnixMillis(0),
            until: None,
        }));
        records.push(JournalRecord::Marks(vec![Mark {
            user_id,
            entered_at: None,
            confirmed_until: None,
            tolerance: MINUTE,
            closed_until: Some(UnixMillis(minutes * MINUTE.0)),
        }]));
    }
    let numbered = (1..).zip(records);
    let batch: Vec<(u64, JournalRecord)> = numbered.collect();
    let report = store.commit(&batch).unwrap();
    assert_eq!(report.written as i64, AGENTS * minutes);
    let config = "window: { length: 1m, slide: 1m }\nstore: { path: data }\n";
    std::fs::write(directory.join("config.yml"), config).unwrap();
}

/// The most memory that an export of the first `minutes` took, in MiB.
async fn peak(directory: &Path, format: &str, minutes: i64) -> f64 {
    let to = rfc3339(minutes * MINUTE.0);
    let range = [rfc3339(0), to];
    let all = [&["export"], &windows(&range, format, "rows")[..]].concat();
    let mut process = Process::start("export", directory, &all, &[]);
    let status = format!("/proc/{}/status", process.id());
    let mut peak = 0.0_f64;
    // The peak never falls, so the last look before the end has all but its last moment.
    while process.runs() {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        peak = peak.max(kib.unwrap_or_default() / 1_024.0);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (code, said) = process.exit(BOUND).await;
    let rows = AGENTS * minutes;
    assert_eq!((code, said), (Some(0), format!("rows: {rows} windows")));
    eprintln!("{rows:>9} rows as {format}: {peak:.1} MiB at most");
    peak
}

/// What a longer file may cost more: noise of the allocator, and the foot of a Parquet file.
const GROWTH_MIB_MAX: f64 = 8.0;

/// `ROWS=1000000 cargo test --test live memory_of_an_export -- --nocapture` prints what the README says.
#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_an_export_does_not_grow_with_its_rows() {
    let rows = var_os("ROWS").map_or(150_000, |text| text.to_str().unwrap().parse().unwrap());
    let minutes = rows / AGENTS;
    assert!(
        minutes >= 3_000,
        "a file must be longer than a group of Parquet"
    );
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), minutes);
    for format in ["csv", "jsonl", "parquet"] {
        peak(directory.path(), format, 200).await;
        let some = peak(directory.path(), format, minutes / 2).await;
        let all = peak(directory.path(), format, minutes).await;
        assert!(
            all < some + GROWTH_MIB_MAX,
            "{format}: {some} MiB, then {all} MiB"
        );
    }
    a_reader_that_goes_away_ends_it_quietly(directory.path(), "csv");
    a_reader_that_goes_away_ends_it_quietly(directory.path(), "jsonl");
    windows_of_another_length_are_told_of(directory.path()).await;
    damage_is_told(directory.path()).await;
}

async fn windows_of_another_length_are_told_of(directory: &Path) {
    let config = "store: { path: data }\n";
    std::fs::write(directory.join("five.yml"), config).unwrap();
    let range = ["1970-01-01", "1970-01-02"].map(str::to_owned);
    let mut arguments = windows(&range, "csv", "five.csv").to_vec();
    arguments[2] = "five.yml";
    let said = export(directory, &arguments).await;
    assert!(
        said.contains("windows of 5m are exported; there are also some of 1m"),
        "{said}"
    );
    assert!(said.contains("five.csv: 0 windows"), "{said}");
    for lengths in ["all", "1m"] {
        let arguments = [&arguments[..], &["--window-length", lengths]].concat();
        let said = export(directory, &arguments).await;
        assert_eq!(said, format!("five.csv: {} windows", 1_440 * AGENTS));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_exported_is_told_with_a_remedy_and_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let range = ["2026-05-14", "2026-05-15"].map(str::to_owned);
    let (code, said) = ended(path, &windows(&range, "csv", "rows.csv")).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("config.yml: the file cannot be read"),
        "{said}"
    );
    std::fs::write(path.join("config.yml"), "store: { path: data }\n").unwrap();
    let (code, said) = ended(path, &windows(&range, "csv", "rows.csv")).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("there is no store in data; name the exporter's"),
        "{said}"
    );
    drop(SqliteStore::open(
        &DataDir::open(&path.join("data")).unwrap(),
        settings(),
        UnixMillis(0),
    ));
    let (code, said) = ended(path, &windows(&range, "csv", "away/rows.csv")).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot write away/rows.csv"), "{said}");
    let said = export(path, &windows(&range, "parquet", "none.parquet")).await;
    assert_eq!(said, "none.parquet: 0 windows");
    let names = std::fs::read_dir(path).unwrap().count();
    assert_eq!(names, 3, "the configuration, the store and the last file");
}

fn a_reader_that_goes_away_ends_it_quietly(directory: &Path, format: &str) {
    let range = ["1970-01-01", "1980-01-01"].map(str::to_owned);
    let mut child = Command::new(BINARY)
        .arg("export")
        .args(windows(&range, format, "-"))
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("org") && line.contains("userId"), "{line}");
    drop(reader);
    let status = child.wait().unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!((status.code(), &*said), (Some(0), ""));
}

async fn damage_is_told(directory: &Path) {
    let database = rusqlite::Connection::open(directory.join("data/store.db")).unwrap();
    let flip =
        "UPDATE agent_window SET unknown_ms = 1 WHERE window_start = '1970-01-01T00:01:00.000Z'";
    assert_eq!(database.execute(flip, []).unwrap() as i64, AGENTS);
    let range = ["1970-01-01T00:00:00Z", "1970-01-01T00:03:00Z"].map(str::to_owned);
    let (code, said) = ended(directory, &windows(&range, "jsonl", "most.jsonl")).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("50 rows are damaged"), "{said}");
    let rows = json_lines(&directory.join("most.jsonl")).len();
    assert_eq!(rows as i64, 2 * AGENTS);
}
