//! Closing the five-minute windows of a whole organisation: marks in the journal, taken in batches
//! as configured by default, to rows committed and acknowledged; beside bare SQLite, with the same
//! durability, taking the same rows. Then a shift change: everybody enters another state within a
//! minute, a quarter in each cycle, and the window that it lies in is closed; beside the time that
//! there is for it.
//!
//! `cargo bench --bench windows`; `AGENTS=10000` asks for another number than 100,000. The lines
//! that begin with `ratio` are the result. Once through: each round closes a window of its own.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench prints its result, and a panic is its report"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench reads the clock to measure"
)]

#[path = "common/event.rs"]
mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::event;
use genesys_cloud_exporter::journal::{DataDir, EmbeddedJournal};
use genesys_cloud_exporter::model::event::{
    Chain, Event, JournalRecord, MARKS_PER_RECORD_MAX, Mark, RosterSpan,
};
use genesys_cloud_exporter::model::ids::UserId;
use genesys_cloud_exporter::model::state::RoutingState;
use genesys_cloud_exporter::model::time::{Millis, UnixMillis};
use genesys_cloud_exporter::model::window::{WindowRow, WindowSpec};
use genesys_cloud_exporter::store::{
    PAGE_ROWS_MAX, SqliteStore, StoreSettings, WindowQuery, WindowReader,
};
use genesys_cloud_exporter::window::RowRules;
use rusqlite::{Connection, params};

const AGENTS: usize = 100_000;

/// Windows closed one after the other.
const ROUNDS: i64 = 3;

/// Records a batch, as configured by default.
const BATCH: usize = 50;

/// 2024-05-14T08:30:00Z.
const ORIGIN: UnixMillis = UnixMillis(1_715_675_400_000);
const WINDOW: Millis = Millis::from_secs(300);
const TOLERANCE: Millis = Millis::from_secs(53);

fn user(n: usize) -> UserId {
    // Spread as UUIDs are, so that neighbours in time are none in the tables.
    let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    UserId::new(&format!(
        "{:08x}-{:04x}-4{:03x}-8000-{n:012x}",
        mixed >> 32,
        (mixed >> 16) & 0xffff,
        mixed & 0xfff
    ))
}

fn entered(n: usize) -> UnixMillis {
    ORIGIN - Millis(60_000 + (n as i64 * 37) % 600_000)
}

/// Everybody joins and enters a state before the first window.
fn beginnings(agents: usize) -> Vec<JournalRecord> {
    let of = |n: usize| {
        let at = entered(n);
        let roster = JournalRecord::Roster(RosterSpan {
            user_id: user(n),
            from: at.floor(WINDOW),
            until: None,
        });
        let entered = JournalRecord::from(event(user(n), at, RoutingState::ALL[n % 4]));
        [roster, entered]
    };
    (0..agents).flat_map(of).collect()
}

/// Cycles in which a shift changes, and how long each may take.
const SHIFT_CYCLES: usize = 4;
const CYCLE: Duration = Duration::from_secs(15);

/// When an agent changes in a shift change that begins at `begun`.
fn changed(n: usize, begun: UnixMillis) -> UnixMillis {
    begun + Millis((n % SHIFT_CYCLES) as i64 * 15_000 + (n as i64 * 37) % 15_000)
}

/// The part of everybody that enters another state in this cycle.
fn changing(agents: usize, cycle: usize, begun: UnixMillis) -> Vec<JournalRecord> {
    let of = |n: usize| {
        let at = changed(n, begun);
        let previous = RoutingState::ALL[n % 4];
        JournalRecord::from(Event {
            previous: Some(previous),
            chain: Chain::Follows {
                entered_at: entered(n),
            },
            ..event(user(n), at, RoutingState::ALL[(n + 1) % 4])
        })
    };
    (cycle..agents).step_by(SHIFT_CYCLES).map(of).collect()
}

/// Everybody is confirmed beyond the end of a window, which closes it.
fn closing(
    agents: usize,
    end: UnixMillis,
    entered: impl Fn(usize) -> UnixMillis,
) -> Vec<JournalRecord> {
    // Ordered by agent, as the pipeline makes them.
    let mut numbers: Vec<usize> = (0..agents).collect();
    numbers.sort_by_cached_key(|&n| user(n));
    let marks: Vec<Mark> = numbers
        .into_iter()
        .map(|n| Mark {
            user_id: user(n),
            entered_at: Some(entered(n)),
            confirmed_until: Some(end + TOLERANCE),
            tolerance: TOLERANCE,
            closed_until: Some(end),
        })
        .collect();
    let chunks = marks.chunks(MARKS_PER_RECORD_MAX);
    chunks
        .map(|chunk| JournalRecord::Marks(chunk.to_vec()))
        .collect()
}

/// Appends, and stores in batches until nothing waits; how many rows were written.
fn keep(
    journal: &mut EmbeddedJournal,
    store: &mut SqliteStore,
    records: &[JournalRecord],
    batch: usize,
) -> u64 {
    journal.append(records, &[], ORIGIN).unwrap();
    let mut written = 0;
    loop {
        let fetched = journal.fetch(0, batch).unwrap();
        if fetched.through <= fetched.acknowledged {
            return written;
        }
        written += store.commit(&fetched.records).unwrap().written;
        journal.acknowledge(fetched.through).unwrap();
    }
}

fn rows(store: &SqliteStore, start: UnixMillis) -> Vec<WindowRow> {
    let reader = store.reader().unwrap();
    let mut rows = Vec::new();
    let mut cursor = None;
    loop {
        let query = WindowQuery {
            from: start,
            to: start + WINDOW,
            user: None,
            cursor,
            limit: PAGE_ROWS_MAX,
        };
        let page = reader.windows(&query).unwrap();
        rows.extend(page.rows);
        cursor = page.next;
        if cursor.is_none() {
            return rows;
        }
    }
}

const BARE: &str = "CREATE TABLE row (
    user_id TEXT NOT NULL, window_start TEXT NOT NULL, window_end TEXT NOT NULL,
    available INTEGER NOT NULL, not_ready INTEGER NOT NULL, on_call INTEGER NOT NULL,
    wrap_up INTEGER NOT NULL, unknown INTEGER NOT NULL, transitions INTEGER NOT NULL,
    covered INTEGER NOT NULL, PRIMARY KEY (user_id, window_start))";

fn bare(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .pragma_update(None, "journal_mode", "wal")
        .unwrap();
    connection
        .pragma_update(None, "synchronous", "full")
        .unwrap();
    connection.execute_batch(BARE).unwrap();
    connection
}

/// The same rows in as many transactions.
fn insert(connection: &mut Connection, rows: &[WindowRow]) {
    for chunk in rows.chunks(BATCH * MARKS_PER_RECORD_MAX) {
        let transaction = connection.transaction().unwrap();
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO row VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)")
                .unwrap();
            for row in chunk {
                let metrics = &row.metrics;
                insert
                    .execute(params![
                        row.user_id.as_str(),
                        row.window_start.to_string(),
                        row.window_end.to_string(),
                        metrics.available_seconds.0,
                        metrics.not_ready_seconds.0,
                        metrics.on_call_seconds.0,
                        metrics.wrap_up_seconds.0,
                        metrics.unknown_seconds.0,
                        metrics.state_transitions,
                        row.quality.covered_seconds.0,
                    ])
                    .unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let made = work();
    (made, begun.elapsed())
}

fn main() {
    let agents = std::env::var("AGENTS").map_or(AGENTS, |agents| agents.parse().unwrap());
    let place = tempfile::tempdir().unwrap();
    let dir = DataDir::open(place.path()).unwrap();
    let settings = StoreSettings {
        org: "bench".to_owned(),
        window: WindowSpec::new(WINDOW, WINDOW),
        rules: RowRules {
            volatile_transitions: 3,
            volatile_within: Millis::from_secs(60),
            include_offline: false,
        },
    };
    let (mut store, _) = SqliteStore::open(&dir, settings, ORIGIN).unwrap();
    let (mut journal, _) = EmbeddedJournal::open(&dir, 0, ORIGIN).unwrap();
    for some in beginnings(agents).chunks(20_000) {
        keep(&mut journal, &mut store, some, some.len());
    }
    let mut other = bare(&place.path().join("bare.db"));
    for round in 0..ROUNDS {
        let start = ORIGIN + Millis(WINDOW.0 * round);
        let marks = closing(agents, start + WINDOW, entered);
        let (_, took) = timed(|| keep(&mut journal, &mut store, &marks, BATCH));
        let rows = rows(&store, start);
        assert_eq!(rows.len(), agents);
        let ((), bare_took) = timed(|| insert(&mut other, &rows));
        println!(
            "ratio of closing {agents} windows to bare SQLite inserts of the same rows: {:.2} \
             ({took:.2?} to {bare_took:.2?})",
            took.as_secs_f64() / bare_took.as_secs_f64()
        );
    }
    shift_change(agents, &mut journal, &mut store);
}

/// What the disk keeps of everybody changing within a minute, cycle by cycle.
fn shift_change(agents: usize, journal: &mut EmbeddedJournal, store: &mut SqliteStore) {
    let start = ORIGIN + Millis(WINDOW.0 * ROUNDS);
    let begun = start + Millis(60_000);
    for cycle in 0..SHIFT_CYCLES {
        let events = changing(agents, cycle, begun);
        let (_, took) = timed(|| keep(journal, store, &events, BATCH));
        println!(
            "ratio of keeping {} changes to the cycle of a shift change that brings them: {:.2} \
             ({took:.2?} to {CYCLE:.2?})",
            events.len(),
            took.as_secs_f64() / CYCLE.as_secs_f64()
        );
    }
    let marks = closing(agents, start + WINDOW, |n| changed(n, begun));
    let (_, took) = timed(|| keep(journal, store, &marks, BATCH));
    let kept = rows(store, start);
    assert_eq!(kept.len(), agents);
    let changed = kept
        .iter()
        .map(|row| row.metrics.state_transitions)
        .sum::<u32>();
    assert_eq!(changed as usize, agents, "everybody changed once");
    println!("the window of the shift change: {took:.2?} for {agents} rows");
}
