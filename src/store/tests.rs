//! The store against the pure window function, against repetition, and against damage.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::*;
use crate::journal::DataDir;
use crate::model::event::{Chain, Event, JournalRecord, RosterSpan};
use crate::model::ids::UserId;
use crate::model::state::RoutingState::{Available, NotReady, OnCall};
use crate::model::time::{Millis, UnixMillis};
use crate::model::window::WindowSpec;
use crate::window::RowRules;
use crate::window::tests::{all_rows, arb_journal_and_permutation, event, mark};

const LENGTH: Millis = Millis::from_secs(300);
pub(super) const AGENT: &str = "agent-0001";

pub(super) fn settings(slide: i64) -> StoreSettings {
    StoreSettings {
        org: "default".to_owned(),
        window: WindowSpec::new(LENGTH, Millis::from_secs(slide)),
        rules: RowRules {
            volatile_transitions: 3,
            volatile_within: Millis::from_secs(60),
            include_offline: false,
        },
    }
}

pub(super) struct Place {
    _parent: tempfile::TempDir,
    pub(super) dir: DataDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&parent.path().join("data")).unwrap();
        Self {
            _parent: parent,
            dir,
        }
    }

    pub(super) fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.dir, settings(300), UnixMillis(0))
            .unwrap()
            .0
    }

    pub(super) fn meddler(&self) -> Connection {
        Connection::open(self.dir.path().join("store.db")).unwrap()
    }

    pub(super) fn dump(&self, columns: &str, table: &str) -> Vec<Vec<Value>> {
        let meddler = self.meddler();
        let mut statement = meddler
            .prepare(&format!(
                "SELECT {columns} FROM {table} ORDER BY 1, 2, 3, 4"
            ))
            .unwrap();
        let count = statement.column_count();
        let rows = statement.query_map([], |row| (0..count).map(|at| row.get(at)).collect());
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// Window rows without revision and ingestion times.
    pub(super) fn figures(&self) -> Vec<Vec<Value>> {
        self.dump(FIGURES, "agent_window")
    }

    pub(super) fn revisions(&self) -> Vec<i64> {
        let meddler = self.meddler();
        let mut statement = meddler
            .prepare("SELECT revision FROM agent_window ORDER BY window_start")
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0));
        rows.unwrap().map(Result::unwrap).collect()
    }
}

const FIGURES: &str = "org, user_id, window_length, window_start, window_end, available_ms, \
    not_ready_ms, on_call_ms, wrap_up_ms, unknown_ms, state_transitions, covered_ms, \
    estimated_ms, volatile, last_event_at";

pub(super) fn numbered(records: &[JournalRecord]) -> Vec<(u64, JournalRecord)> {
    (1..).zip(records.iter().cloned()).collect()
}

/// The agent is registered from the epoch on, available from 10 s on, on call from 1000 s on,
/// and every window up to 1500 s is closed.
pub(super) fn quiet_day() -> Vec<JournalRecord> {
    let at = |seconds: i64| UnixMillis(seconds * 1_000);
    let follows = Chain::Follows { entered_at: at(10) };
    vec![
        JournalRecord::Roster(RosterSpan {
            user_id: UserId::new(AGENT),
            from: at(0),
            until: None,
        }),
        JournalRecord::from(event(
            AGENT,
            at(10),
            Available,
            Chain::Gap { known_until: None },
        )),
        JournalRecord::from(event(AGENT, at(1_000), OnCall, follows)),
        JournalRecord::Marks(vec![mark(
            AGENT,
            Some(at(1_000)),
            Some(at(1_600)),
            Some(at(1_500)),
        )]),
    ]
}

pub(super) fn query(limit: usize) -> WindowQuery {
    WindowQuery {
        from: UnixMillis(0),
        to: UnixMillis(i64::MAX),
        user: None,
        cursor: None,
        limit,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn rows_are_those_of_the_window_function_in_any_order_and_batches(
        (journal, other) in arb_journal_and_permutation(),
        batch in 1_usize..20,
        other_batch in 1_usize..20,
        slide in proptest::sample::select(vec![300_i64, 100]),
    ) {
        let settings = settings(slide);
        let mut dumps = Vec::new();
        for (records, size) in [(&journal, batch), (&other, other_batch)] {
            let place = Place::new();
            let (mut store, _) =
                SqliteStore::open(&place.dir, settings.clone(), UnixMillis(0)).unwrap();
            for batch in numbered(records).chunks(size) {
                store.commit(batch).unwrap();
            }
            dumps.push((place.figures(), place.dump("*", "confirmation"), place.dump("*", "agent_event")));
        }
        prop_assert_eq!(&dumps[0], &dumps[1]);
        let mut facts = BTreeMap::new();
        for record in &journal {
            crate::window::apply(&mut facts, record);
        }
        let expected: Vec<Vec<Value>> = all_rows(&facts, settings.window, &settings.rules)
            .into_iter()
            .map(|((user, start), row)| {
                let [a, n, o, w, u] = row.metrics.by_state().map(|part| Value::Integer(part.0));
                let text = |at: UnixMillis| Value::Text(at.to_string());
                vec![
                    Value::Text("default".to_owned()), Value::Text(user.to_string()),
                    LENGTH.0.into(), text(start), text(start + LENGTH), a, n, o, w, u,
                    i64::from(row.metrics.state_transitions).into(),
                    row.covered.0.into(), row.estimated.0.into(), i64::from(row.volatile).into(),
                    row.last_event.map_or(Value::Null, |last| text(last.at)),
                ]
            })
            .collect();
        prop_assert_eq!(&dumps[0].0, &expected);
    }
}

#[test]
fn the_same_batch_again_changes_nothing_with_or_without_the_cursor() {
    let place = Place::new();
    let mut store = place.store();
    let batch = numbered(&quiet_day());
    let first = store.commit(&batch).unwrap();
    assert_eq!((first.stored, first.written, first.revised), (2, 5, 0));
    assert_eq!(store.cursor().unwrap(), 4);
    let whole = || {
        (
            place.dump("*", "agent_window"),
            place.dump("*", "agent_event"),
        )
    };
    let before = whole();
    let again = store.commit(&batch).unwrap();
    assert_eq!((again.skipped, again.written, again.revised), (4, 0, 0));
    let forget = "UPDATE progress SET cursor = 0";
    assert_eq!(store.connection().execute(forget, []).unwrap(), 1);
    let blind = store.commit(&batch).unwrap();
    assert_eq!((blind.skipped, blind.duplicate, blind.stored), (0, 2, 0));
    assert_eq!((blind.written, blind.revised, blind.deleted), (0, 0, 0));
    assert_eq!(whole(), before);
}

#[test]
fn a_late_event_revises_the_windows_it_touches_and_no_other() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&numbered(&quiet_day())).unwrap();
    let at = |seconds: i64| UnixMillis(seconds * 1_000);
    let late = event(
        AGENT,
        at(700),
        NotReady,
        Chain::Follows { entered_at: at(10) },
    );
    let joined = Event {
        revision: 2,
        ..event(
            AGENT,
            at(1_000),
            OnCall,
            Chain::Follows {
                entered_at: at(700),
            },
        )
    };
    let report = store
        .commit(&[
            (5, JournalRecord::from(late)),
            (6, JournalRecord::from(joined)),
        ])
        .unwrap();
    assert_eq!((report.stored, report.corrected, report.revised), (1, 1, 2));
    assert_eq!(place.revisions(), [1, 1, 2, 2, 1]);
    let rows = store.reader().unwrap().windows(&query(10)).unwrap().rows;
    assert_eq!(rows[2].metrics.available_seconds, Millis(100_000));
    assert_eq!(rows[2].metrics.not_ready_seconds, Millis(200_000));
    assert_eq!(rows[3].metrics.not_ready_seconds, Millis(100_000));
}

#[test]
fn a_run_of_starts_across_a_boundary_flags_both_windows() {
    let place = Place::new();
    let mut store = place.store();
    let starts = [
        (290_000, Available),
        (295_000, OnCall),
        (305_000, Available),
        (350_000, OnCall),
    ];
    let mut records = quiet_day();
    records.truncate(1);
    for (at, state) in starts {
        let chain = Chain::Gap { known_until: None };
        records.push(JournalRecord::from(event(
            AGENT,
            UnixMillis(at),
            state,
            chain,
        )));
    }
    store.commit(&numbered(&records)).unwrap();
    // One window at a time, so that each needs starts that lie outside it.
    for (seq, closed, volatile) in [(10, 300_000, 1), (11, 600_000, 1), (12, 900_000, 0)] {
        let mark = mark(AGENT, None, None, Some(UnixMillis(closed)));
        let report = store
            .commit(&[(seq, JournalRecord::Marks(vec![mark]))])
            .unwrap();
        assert_eq!((report.written, report.volatile_rows), (1, volatile));
    }
    let rows = store.reader().unwrap().windows(&query(10)).unwrap().rows;
    let flags: Vec<_> = rows.iter().map(|row| row.quality.volatile).collect();
    assert_eq!(flags, [true, true, false]);
}

#[test]
fn a_row_that_should_no_longer_exist_is_deleted() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&numbered(&quiet_day())).unwrap();
    let left = JournalRecord::Roster(RosterSpan {
        user_id: UserId::new(AGENT),
        from: UnixMillis(0),
        until: Some(UnixMillis(700_000)),
    });
    let report = store.commit(&[(5, left)]).unwrap();
    assert_eq!((report.deleted, report.revised), (2, 1));
    assert_eq!(place.revisions(), [1, 1, 2]);
    let closed = store.window_closed_until().unwrap();
    assert_eq!(closed, None, "nobody is on the roster");
}

#[test]
fn closed_until_is_the_least_of_the_roster() {
    let place = Place::new();
    let mut store = place.store();
    assert_eq!(store.window_closed_until().unwrap(), None);
    store.commit(&numbered(&quiet_day())).unwrap();
    let closed = store.window_closed_until().unwrap();
    assert_eq!(closed, Some(UnixMillis(1_500_000)));
    let joined = |from| {
        JournalRecord::Roster(RosterSpan {
            user_id: UserId::new("agent-0002"),
            from: UnixMillis(from),
            until: None,
        })
    };
    store.commit(&[(5, joined(950_000))]).unwrap();
    let closed = store.window_closed_until().unwrap();
    assert_eq!(closed, Some(UnixMillis(900_000)));
}

#[test]
fn pages_hold_every_row_once_in_order() {
    let place = Place::new();
    let mut store = place.store();
    let mut records = quiet_day();
    records.push(JournalRecord::Roster(RosterSpan {
        user_id: UserId::new("agent-0000"),
        from: UnixMillis(0),
        until: None,
    }));
    let closed = Some(UnixMillis(600_000));
    records.push(JournalRecord::Marks(vec![mark(
        "agent-0000",
        None,
        None,
        closed,
    )]));
    store.commit(&numbered(&records)).unwrap();
    let reader = store.reader().unwrap();
    let mut keys = Vec::new();
    let mut cursor = None;
    loop {
        let page = reader.windows(&WindowQuery { cursor, ..query(2) }).unwrap();
        assert!(page.rows.len() <= 2);
        keys.extend(
            page.rows
                .iter()
                .map(|row| (row.window_start, row.user_id.clone())),
        );
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert!(keys.is_sorted());
    assert_eq!(keys.len(), 7);
    let some = WindowQuery {
        from: UnixMillis(300_000),
        to: UnixMillis(900_000),
        user: Some(UserId::new(AGENT)),
        ..query(10)
    };
    assert_eq!(reader.windows(&some).unwrap().rows.len(), 2);
    let foreign = WindowQuery {
        cursor: Some("page-2".to_owned()),
        ..query(10)
    };
    assert!(matches!(reader.windows(&foreign), Err(ReadError::Cursor)));
}

#[test]
fn rows_of_one_agent_are_those_that_all_rows_name() {
    let place = Place::new();
    let mut store = place.store();
    let mut records = quiet_day();
    for user in ["agent-0000", "agent-0002"] {
        records.push(JournalRecord::Roster(RosterSpan {
            user_id: UserId::new(user),
            from: UnixMillis(350_000),
            until: Some(UnixMillis(1_250_000)),
        }));
        let closed = Some(UnixMillis(1_500_000));
        records.push(JournalRecord::Marks(vec![mark(user, None, None, closed)]));
    }
    store.commit(&numbered(&records)).unwrap();
    let reader = store.reader().unwrap();
    let all = reader.windows(&query(100)).unwrap().rows;
    for user in ["agent-0000", AGENT, "agent-0002", "nobody"] {
        for (from, to) in [(0, 9_000_000), (300_000, 900_000), (301_000, 301_001)] {
            let mut rows = Vec::new();
            let mut cursor = None;
            loop {
                let some = WindowQuery {
                    from: UnixMillis(from),
                    to: UnixMillis(to),
                    user: Some(UserId::new(user)),
                    cursor,
                    ..query(2)
                };
                let page = reader.windows(&some).unwrap();
                rows.extend(page.rows);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            let within = |at: UnixMillis| from <= at.0 && at.0 < to;
            let expected = all
                .iter()
                .filter(|row| row.user_id.as_str() == user && within(row.window_start));
            assert_eq!(rows, expected.cloned().collect::<Vec<_>>(), "{user}");
        }
    }
}

#[test]
fn a_store_of_the_schema_before_keeps_its_rows() {
    let (new, old) = (Place::new(), Place::new());
    new.store().commit(&numbered(&quiet_day())).unwrap();
    let before = old.meddler();
    for script in &schema::DATABASE.migrations[..2] {
        before.execute_batch(script).unwrap();
    }
    before.pragma_update(None, "user_version", 2).unwrap();
    let source = new.dir.path().join("store.db");
    before
        .execute("ATTACH ?1 AS new", [source.to_str().unwrap()])
        .unwrap();
    let tables = ["agent_event", "agent_window", "agent", "roster"];
    let tables = tables.into_iter().chain(["confirmation", "progress"]);
    for table in tables {
        let sql = format!("INSERT INTO main.{table} SELECT * FROM new.{table}");
        assert!(before.execute(&sql, []).unwrap() > 0, "{table}");
    }
    drop(before);
    let (mut store, report) = SqliteStore::open(&old.dir, settings(300), UnixMillis(0)).unwrap();
    assert_eq!(report.migrated_from, Some(2));
    for table in ["agent_event", "agent_window"] {
        assert_eq!(old.dump("*", table), new.dump("*", table));
    }
    assert_eq!(store.commit(&numbered(&quiet_day())).unwrap().skipped, 4);
    assert_eq!(
        store
            .reader()
            .unwrap()
            .windows(&query(10))
            .unwrap()
            .rows
            .len(),
        5
    );
}

#[test]
fn retention_keeps_the_segment_that_reaches_over_the_horizon() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&numbered(&quiet_day())).unwrap();
    let report = store.prune(UnixMillis(900_000)).unwrap();
    assert_eq!((report.windows, report.events, report.more), (3, 0, false));
    let late = mark(
        AGENT,
        Some(UnixMillis(1_000_000)),
        Some(UnixMillis(3_700_000)),
        Some(UnixMillis(3_600_000)),
    );
    store
        .commit(&[(5, JournalRecord::Marks(vec![late]))])
        .unwrap();
    let report = store.prune(UnixMillis(3_000_000)).unwrap();
    assert_eq!((report.windows, report.events), (7, 1));
    assert_eq!(place.dump("*", "agent_event").len(), 1);
    let old = event(
        AGENT,
        UnixMillis(400_000),
        NotReady,
        Chain::Gap { known_until: None },
    );
    let report = store.commit(&[(6, JournalRecord::from(old))]).unwrap();
    assert_eq!(
        (report.written, report.revised),
        (0, 0),
        "behind the horizon nothing is made"
    );
    assert_eq!(place.revisions(), [1, 1]);
}

#[test]
fn rows_can_be_read_while_no_exporter_runs() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&numbered(&quiet_day())).unwrap();
    drop(store);
    let reader = SqliteReader::open(place.dir.path(), "default", LENGTH).unwrap();
    assert_eq!(reader.windows(&query(10)).unwrap().rows.len(), 5);
    let other = SqliteReader::open(place.dir.path(), "other", LENGTH).unwrap();
    assert!(other.windows(&query(10)).unwrap().rows.is_empty());
}
