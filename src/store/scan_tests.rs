//! Tables gone through from end to end: nothing left out, nothing twice, and what is damaged
//! passed and counted.

use std::collections::BTreeSet;

use super::tests::{Place, numbered, settings};
use super::*;
use crate::model::event::{Chain, JournalRecord, RosterSpan};
use crate::model::ids::UserId;
use crate::model::state::RoutingState::{Available, OnCall};
use crate::model::time::{Millis, UnixMillis};
use crate::model::window::WindowSpec;
use crate::window::tests::{event, mark};

/// Windows of each agent: with three agents more than a page, and no whole number of instants.
const WINDOWS: i64 = 1_000;

pub(super) const EVERYTHING: TableQuery = TableQuery {
    table: Table::Window,
    from: UnixMillis(0),
    to: UnixMillis(i64::MAX),
    window_length: Millis::from_secs(300),
};

/// Three agents, each with many windows and two states.
pub(super) fn long_days() -> Vec<JournalRecord> {
    let at = |seconds: i64| UnixMillis(seconds * 1_000);
    let mut records = Vec::new();
    for user in ["agent-1", "agent-2", "agent-3"] {
        records.push(JournalRecord::Roster(RosterSpan {
            user_id: UserId::new(user),
            from: at(0),
            until: None,
        }));
        let gap = Chain::Gap { known_until: None };
        records.push(JournalRecord::from(event(user, at(10), Available, gap)));
        let follows = Chain::Follows { entered_at: at(10) };
        records.push(JournalRecord::from(event(user, at(1_000), OnCall, follows)));
        let end = at(WINDOWS * 300);
        let mark = mark(user, Some(at(1_000)), Some(end), Some(end));
        records.push(JournalRecord::Marks(vec![mark]));
    }
    records
}

/// All pages of a scan.
pub(super) fn pages(tables: &mut dyn Tables, asked: TableQuery) -> Vec<TablePage> {
    let mut scan = tables.scan(asked);
    let mut pages = Vec::new();
    loop {
        let page = scan.next_page().unwrap();
        let last = page.last;
        pages.push(page);
        if last {
            let after = scan.next_page().unwrap();
            assert!(after.last && after.rows.is_empty() && after.damaged == 0);
            return pages;
        }
    }
}

pub(super) fn rows(pages: Vec<TablePage>) -> Vec<Vec<Value>> {
    pages.into_iter().flat_map(|page| page.rows).collect()
}

/// (instant, agent)
fn key(table: Table, row: &[Value]) -> (UnixMillis, String) {
    match (&row[table.instant_at()], &row[1]) {
        (Value::Instant(at), Value::Text(user)) => (*at, user.clone()),
        other => panic!("{other:?}"),
    }
}

fn tables(place: &Place) -> SqliteTables {
    SqliteTables::open(place.dir.path(), "default").unwrap()
}

#[test]
fn every_row_comes_once_and_in_order() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&numbered(&long_days())).unwrap();
    let mut tables = tables(&place);
    let pages = pages(&mut tables, EVERYTHING);
    let sizes: Vec<usize> = pages.iter().map(|page| page.rows.len()).collect();
    assert_eq!(sizes, [SCAN_ROWS, 1_000]);
    let rows = rows(pages);
    let keys: Vec<_> = rows.iter().map(|row| key(Table::Window, row)).collect();
    assert!(keys.is_sorted_by(|one, other| one < other));
    let served = store
        .reader()
        .unwrap()
        .windows(&tests::query(9_999))
        .unwrap()
        .rows;
    let served = served
        .iter()
        .map(|row| (row.window_start, row.user_id.to_string()));
    assert_eq!(keys, served.collect::<Vec<_>>());
    assert_eq!(rows[0][5], Value::Integer(290_000));
}

#[test]
fn a_range_has_its_first_instant_and_not_its_last() {
    let place = Place::new();
    place.store().commit(&numbered(&long_days())).unwrap();
    let mut tables = tables(&place);
    let asked = TableQuery {
        from: UnixMillis(300_000),
        to: UnixMillis(900_000),
        ..EVERYTHING
    };
    let starts = |rows: &[Vec<Value>], table| -> BTreeSet<i64> {
        rows.iter().map(|row| key(table, row).0.0).collect()
    };
    let found = rows(pages(&mut tables, asked));
    assert_eq!(
        (found.len(), starts(&found, Table::Window)),
        (6, [300_000, 600_000].into())
    );
    let asked = TableQuery {
        table: Table::Event,
        from: UnixMillis(10_000),
        to: UnixMillis(1_000_000),
        ..EVERYTHING
    };
    let found = rows(pages(&mut tables, asked));
    assert_eq!(
        (found.len(), starts(&found, Table::Event)),
        (3, [10_000].into())
    );
    assert_eq!(found[0][3], Value::Text("Available".to_owned()));
}

#[test]
fn damaged_rows_are_passed_and_counted_also_where_their_keys_are() {
    let place = Place::new();
    place.store().commit(&numbered(&long_days())).unwrap();
    let meddler = place.meddler();
    let run = |sql: &str| meddler.execute(sql, []).unwrap();
    // More of them than a page has, behind all others; their keys are no instants.
    let broken = run(
        "UPDATE agent_window SET window_start = '2000 is no instant ' || window_start \
         WHERE window_start >= '1970-01-02'",
    );
    assert!(broken > SCAN_ROWS, "{broken}");
    let flipped =
        run("UPDATE agent_window SET on_call_ms = 1 WHERE window_start < '1970-01-01T00:10'");
    assert_eq!(flipped, 6);
    let mut tables = tables(&place);
    let whole = pages(&mut tables, EVERYTHING);
    let damaged: u64 = whole.iter().map(|page| page.damaged).sum();
    let sound = rows(whole).len();
    assert_eq!(damaged as usize, broken + flipped);
    assert_eq!(sound, 3 * WINDOWS as usize - broken - flipped);
}

#[test]
fn windows_of_every_length_are_found_and_kept_apart() {
    let place = Place::new();
    place.store().commit(&numbered(&long_days())).unwrap();
    let mut other = settings(300);
    other.window = WindowSpec::new(Millis::from_secs(600), Millis::from_secs(600));
    let (mut store, _) = SqliteStore::open(&place.dir, other, UnixMillis(0)).unwrap();
    let end = UnixMillis(WINDOWS * 300_000 + 1_200_000);
    let later = mark("agent-1", Some(UnixMillis(1_000_000)), Some(end), Some(end));
    store
        .commit(&[(13, JournalRecord::Marks(vec![later]))])
        .unwrap();
    let mut tables = tables(&place);
    let lengths = tables.window_lengths().unwrap();
    assert_eq!(lengths, [Millis::from_secs(300), Millis::from_secs(600)]);
    let mut found = Vec::new();
    for window_length in lengths {
        let asked = TableQuery {
            window_length,
            ..EVERYTHING
        };
        let rows = rows(pages(&mut tables, asked));
        assert!(
            rows.iter()
                .all(|row| row[2] == Value::Integer(window_length.0))
        );
        found.push(rows.len());
    }
    assert_eq!(found, [3_000, 2]);
}

#[test]
fn a_scan_keeps_nobody_from_writing_and_the_log_from_growing() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&numbered(&long_days())).unwrap();
    let mut tables = tables(&place);
    let mut scan = tables.scan(EVERYTHING);
    assert!(!scan.next_page().unwrap().last);
    // Busy would be 1 while anybody read.
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy: i64 = store
        .connection()
        .query_row(sql, [], |row| row.get(0))
        .unwrap();
    assert_eq!(busy, 0);
    assert!(scan.next_page().unwrap().last);
}

#[test]
fn a_page_is_entered_at_its_place() {
    let place = Place::new();
    drop(place.store());
    let meddler = place.meddler();
    for (table, index) in [
        (
            Table::Window,
            "window_length=? AND (window_start,user_id)>(?,?)",
        ),
        (Table::Event, "org=? AND (state_entered_at,user_id)>(?,?)"),
    ] {
        let (sql, _) = scan::statement(table);
        let mut plan = meddler
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let mut steps = plan.query([0; 6]).unwrap();
        let step: String = steps.next().unwrap().unwrap().get(3).unwrap();
        assert!(step.contains(index), "{step}");
        assert!(steps.next().unwrap().is_none(), "nothing is sorted");
    }
}
