//! What is loaded of agents of whom nothing was heard for days.

use super::super::SqliteStore;
use super::super::tests::{AGENT, Place, numbered, quiet_day, settings};
use super::tests::{Cluster, DATABASE, store, windows_in_file, windows_of};
use crate::model::event::{Chain, JournalRecord};
use crate::model::state::RoutingState::NotReady;
use crate::model::time::UnixMillis;
use crate::window::tests::{event, mark};

/// Days after the last event of [`quiet_day`].
const SILENT_DAYS: i64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_was_entered_days_ago_is_found() {
    let cluster = Cluster::start();
    let (postgres, place) = (store(&cluster, &settings(300)), Place::new());
    let (mut sqlite, _) = SqliteStore::open(&place.dir, settings(300), UnixMillis(0)).unwrap();
    let at = |seconds: i64| UnixMillis((SILENT_DAYS * 86_400 + seconds) * 1_000);
    let on_call = UnixMillis(1_000_000);
    let closes = |until: i64, entered_at: UnixMillis| {
        let confirmed = Some(at(until + 300));
        let marks = mark(AGENT, Some(entered_at), confirmed, Some(at(until)));
        JournalRecord::Marks(vec![marks])
    };
    let follows = Chain::Follows {
        entered_at: on_call,
    };
    let mut records = quiet_day();
    records.push(closes(0, on_call));
    records.push(closes(300, on_call));
    records.push(JournalRecord::from(event(
        AGENT,
        at(400),
        NotReady,
        follows,
    )));
    records.push(closes(600, at(400)));
    for batch in numbered(&records).chunks(1) {
        let mut expected = sqlite.commit(batch).unwrap();
        let report = postgres.commit(batch).await.unwrap();
        expected.skipped = report.skipped;
        assert_eq!(report, expected);
    }
    let rows = windows_of(&cluster, "default");
    assert!(rows == windows_in_file(&place), "not the rows of SQLite");
    let figures = format!(
        "SELECT on_call_ms, not_ready_ms, unknown_ms FROM agent_window \
         WHERE window_start >= '{}' ORDER BY window_start",
        at(0)
    );
    assert_eq!(
        cluster.ask(DATABASE, &figures),
        "300000|0|0\n100000|200000|0"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_row_of_days_ago_is_set_aside_once() {
    let cluster = Cluster::start();
    let postgres = store(&cluster, &settings(300));
    postgres.commit(&numbered(&quiet_day())).await.unwrap();
    cluster.ask(DATABASE, "UPDATE agent_event SET wrapup_code = 'other'");
    let late = UnixMillis((SILENT_DAYS * 86_400) * 1_000);
    let gap = Chain::Gap { known_until: None };
    let late = JournalRecord::from(event(AGENT, late, NotReady, gap));
    let report = postgres.commit(&[(9, late)]).await.unwrap();
    assert_eq!((report.quarantined, report.stored), (1, 1));
    let kept = "SELECT count(*), count(DISTINCT content) FROM quarantined_row";
    assert_eq!(cluster.ask(DATABASE, kept), "1|1");
}
