//! The store in trouble: damaged rows, bad records, full disks, files that are not ours.

use rusqlite::types::Value;

use super::tests::{AGENT, Place, numbered, query, quiet_day, settings};
use super::*;
use crate::model::event::{Chain, JournalRecord};
use crate::model::state::RoutingState::NotReady;
use crate::model::time::{Millis, UnixMillis};
use crate::window::tests::{event, mark};

#[test]
fn a_damaged_window_row_is_never_served_and_is_made_again() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&numbered(&quiet_day())).unwrap();
    let before = place.figures();
    place
        .meddler()
        .execute(
            "UPDATE agent_window SET available_ms = available_ms - 1, unknown_ms = 1 \
             WHERE window_start = '1970-01-01T00:05:00.000Z'",
            [],
        )
        .unwrap();
    let reader = store.reader().unwrap();
    assert_eq!(reader.windows(&query(10)).unwrap().rows.len(), 4);
    assert_eq!(reader.damaged(), 1);
    let report = store.commit(&[]).unwrap();
    assert_eq!((report.quarantined, report.written), (1, 1));
    assert_eq!(reader.windows(&query(10)).unwrap().rows.len(), 5);
    assert_eq!(place.figures(), before);
    assert_eq!(place.dump("*, 1", "quarantined_row").len(), 1);
}

#[test]
fn a_damaged_event_row_is_set_aside_and_its_time_is_unknown_not_invented() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&numbered(&quiet_day())).unwrap();
    place
        .meddler()
        .execute(
            "UPDATE agent_event SET routing_availability = 'NotReady' WHERE revision = 1 \
                  AND routing_availability = 'Available'",
            [],
        )
        .unwrap();
    let at = |seconds: i64| UnixMillis(seconds * 1_000);
    let late = event(
        AGENT,
        at(700),
        NotReady,
        Chain::Follows { entered_at: at(10) },
    );
    let report = store.commit(&[(5, JournalRecord::from(late))]).unwrap();
    assert_eq!(report.quarantined, 1);
    let rows = store.reader().unwrap().windows(&query(10)).unwrap().rows;
    assert_eq!(rows[2].metrics.unknown_seconds, Millis(300_000));
    assert_eq!(place.dump("*, 1", "quarantined_row").len(), 1);
}

#[test]
fn what_cannot_be_computed_with_is_a_dead_letter_and_the_rest_goes_on() {
    let place = Place::new();
    let mut store = place.store();
    let mut records = quiet_day();
    let bad = mark("", None, None, None);
    let good = mark(AGENT, None, None, Some(UnixMillis(1_800_000)));
    records.push(JournalRecord::Marks(vec![bad, good]));
    let report = store.commit(&numbered(&records)).unwrap();
    assert_eq!((report.dead, report.written), (1, 6));
    assert_eq!(
        place.dump("reason, seq, 1, 1", "dead_letter")[0][0],
        Value::Text("user_id".to_owned())
    );
}

#[test]
fn a_newer_schema_is_refused_and_garbage_set_aside() {
    let place = Place::new();
    drop(place.store());
    place
        .meddler()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let refused = SqliteStore::open(&place.dir, settings(300), UnixMillis(0)).unwrap_err();
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert!(
        cause.contains("has schema 99, and this version knows schemas up to 4"),
        "{cause}"
    );
    std::fs::write(place.dir.path().join("store.db"), "x".repeat(5_000)).unwrap();
    let (store, report) = SqliteStore::open(&place.dir, settings(300), UnixMillis(77)).unwrap();
    let aside = place.dir.path().join("store.db.corrupt-77");
    assert_eq!(report.quarantined, Some(aside.clone()));
    assert!(aside.exists() && store.cursor().unwrap() == 0);
}

#[test]
fn a_full_disk_changes_nothing_and_the_same_batch_goes_in_later() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&numbered(&quiet_day())).unwrap();
    let before = (place.figures(), place.dump("*", "agent_event"));
    let batch: Vec<_> = (0..2_000)
        .map(|number| {
            let at = UnixMillis(1_100_000 + number);
            let chain = Chain::Gap { known_until: None };
            (
                5 + number as u64,
                JournalRecord::from(event(AGENT, at, NotReady, chain)),
            )
        })
        .collect();
    assert!(store_pages(&store, 1) > 0);
    let refused = store.commit(&batch).unwrap_err();
    assert_eq!(refused.to_string(), "cannot commit to the store");
    assert_eq!(store.cursor().unwrap(), 4);
    assert_eq!((place.figures(), place.dump("*", "agent_event")), before);
    assert!(store_pages(&store, 1_000_000) > 0);
    assert_eq!(store.commit(&batch).unwrap().stored, 2_000);
}

/// Lets the file have so many pages, or as many as it has.
fn store_pages(store: &SqliteStore, pages: i64) -> i64 {
    store
        .connection()
        .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| {
            row.get(0)
        })
        .unwrap()
}
