//! The store in PostgreSQL against the one in SQLite, against others who commit beside it, and
//! against what goes wrong. Each test has a real server of its own.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rusqlite::types::Value;
use secrecy::SecretString;

use super::super::tests::{AGENT, Place, numbered, query, quiet_day, settings};
use super::super::{
    PostgresError, PostgresStore, SqliteStore, StoreSettings, WindowQuery, WindowReader,
};
use super::schema::{EVENT_COLUMNS, WINDOW_COLUMNS};
use super::values::{Column, Kind};
use crate::clock::SystemClock;
use crate::config::{PostgresConfig, PostgresHost, PostgresTls};
use crate::model::event::{Chain, JournalRecord, RosterSpan};
use crate::model::ids::UserId;
use crate::model::state::RoutingState::NotReady;
use crate::model::time::{Millis, UnixMillis};
use crate::window::tests::{arb_journal_and_permutation, event, mark};

#[path = "../../../tests/live/support/cluster.rs"]
#[allow(dead_code, reason = "shared with the live tests")]
pub(in crate::store) mod cluster;
pub(in crate::store) use cluster::Cluster;

/// The database that every cluster has.
pub(in crate::store) const DATABASE: &str = "postgres";

/// Journals compared with SQLite; each costs some thirty commits in either engine.
const CASES: usize = 24;

pub(super) fn config(cluster: &Cluster) -> PostgresConfig {
    PostgresConfig {
        hosts: vec![PostgresHost::Socket(cluster.path().to_owned(), 5432)],
        user: "postgres".to_owned(),
        password: Some(SecretString::from("hunter2")),
        database: DATABASE.to_owned(),
        options: None,
        tls: PostgresTls::Disabled,
    }
}

pub(in crate::store) fn store(cluster: &Cluster, settings: &StoreSettings) -> PostgresStore {
    PostgresStore::new(&config(cluster), settings, SystemClock::new()).unwrap()
}

/// A table as text: instants, flags and nothing as SQLite has them.
fn dump(
    cluster: &Cluster,
    table: &str,
    columns: &[Column],
    org: &str,
    but: &[&str],
) -> Vec<String> {
    let shown =
        columns
            .iter()
            .filter(|(name, _)| !but.contains(name))
            .map(|(name, kind)| match kind {
                Kind::Instant => {
                    format!("to_char({name}, 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
                }
                Kind::Flag => format!("{name}::int"),
                _ => (*name).to_owned(),
            });
    let shown: Vec<String> = shown.collect();
    let sql = format!(
        "SET TimeZone = 'UTC'; SELECT {} FROM {table} WHERE org = '{org}' ORDER BY 2, 3, 4",
        shown.join(", ")
    );
    cluster
        .ask(DATABASE, &sql)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The same of SQLite.
fn dump_sqlite(place: &Place, table: &str, columns: &[Column], but: &[&str]) -> Vec<String> {
    let names = columns.iter().map(|(name, _)| *name);
    let names: Vec<&str> = names.filter(|name| !but.contains(name)).collect();
    let rows = place.dump(&names.join(", "), table);
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::Integer(value) => value.to_string(),
        Value::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    let mut rows: Vec<String> = rows
        .iter()
        .map(|row| row.iter().map(text).collect::<Vec<_>>().join("|"))
        .collect();
    rows.sort();
    rows
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// What the windows of an organisation say, as [`windows_in_file`] says it.
pub(in crate::store) fn windows_of(cluster: &Cluster, org: &str) -> Vec<String> {
    sorted(dump(
        cluster,
        "agent_window",
        &WINDOW_COLUMNS,
        org,
        &NO_FIGURES,
    ))
}

pub(in crate::store) fn windows_in_file(place: &Place) -> Vec<String> {
    dump_sqlite(place, "agent_window", &WINDOW_COLUMNS, &NO_FIGURES)
}

/// Not figures: how often a row was computed, and when what it rests on came in.
const NO_FIGURES: [&str; 3] = ["revision", "last_event_ingested_at", "checksum"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_hold_the_same_rows_to_the_byte_whoever_commits_and_in_which_order() {
    let cluster = Cluster::start();
    let mut random = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let mut windows = 0;
    for case in 0..CASES {
        let journals = arb_journal_and_permutation().new_tree(&mut random).unwrap();
        let (journal, other) = journals.current();
        let size = 1 + case % 17;
        let slide = [300, 100][case % 2];
        let of = |name: &str| StoreSettings {
            org: format!("{name}-{case}"),
            ..settings(slide)
        };
        let place = Place::new();
        let now = UnixMillis(0);
        let alone = of("alone");
        let (mut sqlite, _) = SqliteStore::open(&place.dir, alone.clone(), now).unwrap();
        let postgres = store(&cluster, &alone);
        for batch in numbered(&journal).chunks(size) {
            let mut expected = sqlite.commit(batch).unwrap();
            let report = postgres.commit(batch).await.unwrap();
            expected.skipped = report.skipped;
            assert_eq!(report, expected, "case {case}");
        }
        for (table, columns) in [
            ("agent_event", &EVENT_COLUMNS[..]),
            ("agent_window", &WINDOW_COLUMNS[..]),
        ] {
            let rows = sorted(dump(&cluster, table, columns, &alone.org, &[]));
            assert_eq!(
                rows,
                dump_sqlite(&place, table, columns, &[]),
                "case {case}"
            );
        }

        // Two at once, each with every other batch of another order, and some of the other's.
        let shared = of("shared");
        let (one, two) = (store(&cluster, &shared), store(&cluster, &shared));
        let batches: Vec<Vec<_>> = numbered(&other).chunks(size).map(<[_]>::to_vec).collect();
        let take = async |store: &PostgresStore, mine: usize| {
            for (at, batch) in batches.iter().enumerate() {
                if at % 2 == mine || at % 5 == 0 {
                    store.commit(batch).await.unwrap();
                }
            }
        };
        tokio::join!(take(&one, 0), take(&two, 1));
        let but = [&NO_FIGURES[..], &["org"]].concat();
        let rows = sorted(dump(
            &cluster,
            "agent_window",
            &WINDOW_COLUMNS,
            &shared.org,
            &but,
        ));
        let expected = dump_sqlite(&place, "agent_window", &WINDOW_COLUMNS, &but);
        assert_eq!(rows, expected, "case {case}");
        windows += expected.len();
    }
    assert!(windows > 100, "{windows} rows compared");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_again_changes_nothing_and_pages_are_those_of_sqlite() {
    let cluster = Cluster::start();
    let settings = settings(300);
    let place = Place::new();
    let mut sqlite = place.store();
    // Two that come at once to an empty database: one makes the tables, the other finds them.
    let (postgres, beside) = (store(&cluster, &settings), store(&cluster, &settings));
    let (first, second) = tokio::join!(postgres.open(), beside.open());
    assert_eq!((first.unwrap(), second.unwrap()), (0, 0));
    let mut records = quiet_day();
    for user in ["agent-0000", "Agent-0001", "ágent"] {
        records.push(JournalRecord::Roster(RosterSpan {
            user_id: UserId::new(user),
            from: UnixMillis(0),
            until: None,
        }));
        let closed = Some(UnixMillis(600_000));
        records.push(JournalRecord::Marks(vec![mark(user, None, None, closed)]));
    }
    let bad = mark("", None, None, None);
    records.push(JournalRecord::Marks(vec![bad]));
    let batch = numbered(&records);
    sqlite.commit(&batch).unwrap();
    postgres.commit(&batch).await.unwrap();
    let whole = || {
        let events = dump(&cluster, "agent_event", &EVENT_COLUMNS, "default", &[]);
        (
            events,
            dump(&cluster, "agent_window", &WINDOW_COLUMNS, "default", &[]),
        )
    };
    let before = whole();
    let again = beside.commit(&batch).await.unwrap();
    assert_eq!((again.duplicate, again.stored, again.dead), (2, 0, 1));
    assert_eq!((again.written, again.revised, again.deleted), (0, 0, 0));
    assert_eq!(whole(), before);
    let letters = "SELECT reason, seq FROM dead_letter";
    assert_eq!(
        cluster.ask(DATABASE, letters),
        format!("user_id|{}", records.len())
    );

    let status = postgres.status().await.unwrap();
    assert_eq!(status.cursor, records.len() as u64);
    assert_eq!(
        postgres.window_closed_until().await.unwrap(),
        sqlite.window_closed_until().unwrap()
    );
    assert!(status.size_bytes > 100_000, "{status:?}");

    let (ours, theirs) = (postgres.reader(), sqlite.reader().unwrap());
    let pages = tokio::task::spawn_blocking(move || {
        let mut pages = 0;
        let mut cursor = None;
        loop {
            let asked = WindowQuery { cursor, ..query(2) };
            let page = ours.windows(&asked).unwrap();
            assert_eq!(page, theirs.windows(&asked).unwrap());
            pages += 1;
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        let of_one = WindowQuery {
            user: Some(UserId::new(AGENT)),
            from: UnixMillis(300_000),
            to: UnixMillis(900_000),
            ..query(10)
        };
        assert_eq!(ours.windows(&of_one).unwrap().rows.len(), 2);
        pages
    });
    assert_eq!(pages.await.unwrap(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_row_is_never_served_and_is_made_again() {
    let cluster = Cluster::start();
    let postgres = store(&cluster, &settings(300));
    postgres.commit(&numbered(&quiet_day())).await.unwrap();
    let rows = || dump(&cluster, "agent_window", &WINDOW_COLUMNS, "default", &[]);
    let before = rows();
    cluster.ask(
        DATABASE,
        "UPDATE agent_window SET available_ms = available_ms - 1, unknown_ms = 1 \
         WHERE window_start = '1970-01-01T00:05:00Z'",
    );
    let reader = std::sync::Arc::new(postgres.reader());
    let served = async || {
        let reader = std::sync::Arc::clone(&reader);
        let read = move || reader.windows(&query(10)).unwrap().rows.len();
        tokio::task::spawn_blocking(read).await.unwrap()
    };
    assert_eq!((served().await, reader.damaged()), (4, 1));
    let report = postgres.commit(&[]).await.unwrap();
    assert_eq!((report.quarantined, report.written), (1, 1));
    assert_eq!((served().await, rows()), (5, before));
    assert_eq!(
        cluster.ask(DATABASE, "SELECT origin FROM quarantined_row"),
        "agent_window"
    );

    cluster.ask(
        DATABASE,
        "UPDATE agent_event SET routing_availability = 'NotReady'",
    );
    let at = |seconds: i64| UnixMillis(seconds * 1_000);
    let late = event(
        AGENT,
        at(700),
        NotReady,
        Chain::Follows { entered_at: at(10) },
    );
    let report = postgres
        .commit(&[(5, JournalRecord::from(late))])
        .await
        .unwrap();
    assert_eq!(report.quarantined, 2);
    let kept = "SELECT count(*) FROM agent_event";
    assert_eq!(
        cluster.ask(DATABASE, kept),
        "1",
        "what was damaged is not believed"
    );
}

/// Not ready from ten seconds on, available from a thousand on, and closed far into the next day.
fn since_yesterday(at: impl Fn(i64) -> UnixMillis) -> Vec<JournalRecord> {
    vec![
        JournalRecord::Roster(RosterSpan {
            user_id: UserId::new(AGENT),
            from: at(0),
            until: None,
        }),
        JournalRecord::from(event(
            AGENT,
            at(10),
            NotReady,
            Chain::Gap { known_until: None },
        )),
        JournalRecord::from(event(
            AGENT,
            at(1_000),
            crate::model::state::RoutingState::Available,
            Chain::Follows { entered_at: at(10) },
        )),
        JournalRecord::Marks(vec![mark(
            AGENT,
            Some(at(1_000)),
            Some(at(90_000)),
            Some(at(87_600)),
        )]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_past_retention_are_dropped_and_what_reaches_over_the_horizon_stays() {
    let cluster = Cluster::start();
    let postgres = store(&cluster, &settings(300));
    let clock = SystemClock::new();
    let day = 86_400_000;
    let today = clock.now().wall.0 / day * day;
    postgres.open().await.unwrap();
    let parts = || {
        let sql = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'agent_window'::regclass";
        cluster.ask(DATABASE, sql).parse::<i64>().unwrap()
    };
    assert_eq!(parts(), 5, "yesterday, today, two days ahead, and the rest");
    let at = |seconds: i64| UnixMillis(today - day + seconds * 1_000);
    let records = since_yesterday(at);
    postgres.commit(&numbered(&records)).await.unwrap();
    let count = |table: &str| cluster.ask(DATABASE, &format!("SELECT count(*) FROM {table}"));
    assert_eq!(
        (count("agent_window"), count("agent_event")),
        ("292".into(), "2".into())
    );

    let report = postgres.prune(UnixMillis(today + 7_200_000)).await.unwrap();
    assert_eq!(
        (report.windows, report.events, report.more),
        (288, 1, false)
    );
    // The day of yesterday went and is made again, empty, since rows may still come for it.
    assert_eq!(
        (count("agent_window"), count("agent_event")),
        ("4".into(), "1".into())
    );
    assert_eq!(
        count("agent_event_default"),
        "1",
        "what today's rows rest on"
    );
    let later = mark(AGENT, Some(at(1_000)), Some(at(92_000)), Some(at(87_900)));
    let report = postgres
        .commit(&[(9, JournalRecord::Marks(vec![later]))])
        .await
        .unwrap();
    assert_eq!((report.written, report.revised), (1, 0));
    let figures = "SELECT DISTINCT available_ms, unknown_ms FROM agent_window";
    assert_eq!(cluster.ask(DATABASE, figures), "300000|0");
    let old = event(AGENT, at(500), NotReady, Chain::Gap { known_until: None });
    let report = postgres
        .commit(&[(10, JournalRecord::from(old))])
        .await
        .unwrap();
    assert_eq!(
        (report.written, report.revised),
        (0, 0),
        "behind the horizon nothing is made"
    );
    let report = postgres.prune(UnixMillis(today + 7_200_000)).await.unwrap();
    assert_eq!((report.windows, report.events), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_waited_for_and_one_that_refuses_is_not() {
    let mut cluster = Cluster::start();
    let postgres = store(&cluster, &settings(300));
    let day = numbered(&quiet_day());
    postgres.commit(&day[..2]).await.unwrap();
    cluster.kill();
    let error = postgres.commit(&day[2..]).await.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    let error = postgres.status().await.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    cluster.resume();
    postgres.commit(&day[2..]).await.unwrap();
    let place = Place::new();
    place.store().commit(&day).unwrap();
    let rows = dump(
        &cluster,
        "agent_window",
        &WINDOW_COLUMNS,
        "default",
        &NO_FIGURES,
    );
    let expected = dump_sqlite(&place, "agent_window", &WINDOW_COLUMNS, &NO_FIGURES);
    assert_eq!(sorted(rows), expected);

    let elsewhere = PostgresConfig {
        database: "nowhere".to_owned(),
        ..config(&cluster)
    };
    let refused = PostgresStore::new(&elsewhere, &settings(300), SystemClock::new()).unwrap();
    let error = refused.open().await.unwrap_err();
    assert!(!error.is_passing(), "{error:?}");
    let told = crate::model::error::chain(&error);
    assert!(told.contains("\"nowhere\" does not exist"), "{told}");
    assert!(!format!("{told} {error:?} {refused:?}").contains("hunter2"));

    cluster.ask(DATABASE, "UPDATE exporter_schema SET version = 99");
    let error = store(&cluster, &settings(300)).open().await.unwrap_err();
    let newer = PostgresError::NewerSchema {
        found: 99,
        known: 2,
    };
    assert_eq!(error.to_string(), newer.to_string());
    assert!(!error.is_passing());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_agents_at_once_take_no_more_locks_than_there_are() {
    let cluster = Cluster::start();
    let (one, two) = (
        store(&cluster, &settings(300)),
        store(&cluster, &settings(300)),
    );
    let users: Vec<UserId> = (0..3_000)
        .map(|n| UserId::new(&format!("agent-{n:05}")))
        .collect();
    let spans = users.iter().map(|user| {
        JournalRecord::Roster(RosterSpan {
            user_id: user.clone(),
            from: UnixMillis(0),
            until: None,
        })
    });
    let spans: Vec<JournalRecord> = spans.collect();
    let closed = Some(UnixMillis(300_000));
    let marks = users
        .iter()
        .map(|user| mark(user.as_str(), None, None, closed));
    let marks = vec![JournalRecord::Marks(marks.collect())];
    let (spans, marks) = (numbered(&spans), numbered(&marks));
    let (first, second) = tokio::join!(one.commit(&spans), two.commit(&marks));
    let written = first.unwrap().written + second.unwrap().written;
    assert_eq!(written, 3_000, "whoever came first");
    let by_figures: BTreeSet<String> = dump(
        &cluster,
        "agent_window",
        &WINDOW_COLUMNS,
        "default",
        &["user_id", "checksum"],
    )
    .into_iter()
    .collect();
    assert_eq!(by_figures.len(), 1, "{by_figures:?}");
    let closed = one.window_closed_until().await.unwrap();
    assert_eq!(closed, Some(UnixMillis(300_000)));
    assert_eq!(settings(300).window.length, Millis(300_000));
}
