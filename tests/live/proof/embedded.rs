//! One process with one file, which dies at each point and takes up where it was.

use std::path::Path;
use std::pin::Pin;

use futures_util::future::join_all;
use rusqlite::Connection;

use super::life::Order;
use super::tables::{Feed, Tables};

/// Seconds in which many agents have more segments than an answer names.
const AWAY: i64 = 900;

type Run = Pin<Box<dyn Future<Output = (Tables, Feed, &'static str)>>>;

/// Where a process dies: at the so many-th passing, so that each is in the midst of its work.
const DEATHS: [&str; 6] = ["p1:150", "p2:260", "p3:370", "p5:60", "p6:75", "p7:400"];

/// The scenario without trouble: the measure of all other runs.
pub(super) async fn measure() -> Tables {
    let place = tempfile::tempdir().unwrap();
    Order::whole().live(place.path()).await;
    let tables = Tables::of_file(place.path());
    let (windows, events) = tables.counts();
    assert!(windows > 900 && events > 2_000, "{windows} and {events}");
    // Only the first of each agent, which nobody had asked for.
    assert!(tables.blind() <= 60, "{} of {windows}", tables.blind());
    tables
}

async fn died_at(at: &'static str) -> (Tables, Feed, &'static str) {
    let place = tempfile::tempdir().unwrap();
    Order::whole().die(place.path(), at).await;
    Order::whole().live(place.path()).await;
    (Tables::of_file(place.path()), Feed::AskedAgain, at)
}

/// Makes the store's file one of the second schema, as an older version left it.
fn downgrade(place: &Path) {
    let file = Connection::open(place.join("data/store.db")).unwrap();
    for table in ["agent_event", "agent_window"] {
        let sql = "SELECT sql FROM sqlite_master WHERE name = ?1";
        let made: String = file.query_row(sql, [table], |row| row.get(0)).unwrap();
        let older = made
            .replace(&format!("\"{table}\""), "older")
            .replace(", WITHOUT ROWID", "");
        assert!(older.starts_with("CREATE TABLE older"), "{older}");
        file.execute_batch(&format!(
            "{older}; INSERT INTO older SELECT * FROM {table}; DROP TABLE {table}; \
             ALTER TABLE older RENAME TO {table};"
        ))
        .unwrap();
    }
    file.execute_batch(
        "CREATE INDEX agent_event_by_time ON agent_event (org, state_entered_at, user_id); \
         CREATE INDEX agent_window_by_time \
             ON agent_window (org, window_length, window_start, user_id); \
         DROP TABLE producer; DROP TABLE delivery; PRAGMA user_version = 2;",
    )
    .unwrap();
}

/// An hour, a newer version that dies twice while it brings the file up to date, and the rest.
async fn died_migrating() -> (Tables, Feed, &'static str) {
    let place = tempfile::tempdir().unwrap();
    let first = Order {
        minutes: 60,
        ..Order::whole()
    };
    first.live(place.path()).await;
    downgrade(place.path());
    Order::whole().die(place.path(), "p9:1").await;
    Order::whole().die(place.path(), "p9:2").await;
    Order::whole().live(place.path()).await;
    (Tables::of_file(place.path()), Feed::AskedAgain, "p9")
}

/// A file that is none of ours stands in the store's place, with a log beside it.
async fn died_setting_aside() -> (Tables, Feed, &'static str) {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let found = [("store.db", "no database"), ("store.db-wal", "no log")];
    for (name, text) in found {
        std::fs::write(data.join(name), text).unwrap();
    }
    Order::whole().die(place.path(), "p10:1").await;
    Order::whole().live(place.path()).await;
    for (name, text) in found {
        let entries = std::fs::read_dir(&data).unwrap();
        let names = entries.map(|entry| entry.unwrap().path());
        let aside = format!("{name}.corrupt-");
        let kept: Vec<_> = names
            .filter(|path| path.to_str().unwrap().contains(&aside))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        assert_eq!(kept, [text], "{name}");
    }
    // It died before it had asked for anything.
    (Tables::of_file(place.path()), Feed::Same, "p10")
}

/// After an hour the journal is damaged, and the process dies while it sets it aside. With the
/// checkpoint it is gone what was known of agents; the platform tells it again.
async fn died_without_its_checkpoint() -> (Tables, Feed, &'static str) {
    let place = tempfile::tempdir().unwrap();
    let first = Order {
        minutes: 61,
        ..Order::whole()
    };
    first.live(place.path()).await;
    for name in ["journal.db", "journal.db-wal"] {
        std::fs::write(place.path().join("data").join(name), "damaged").unwrap();
    }
    let second = Order {
        journal_lost: true,
        ..Order::whole()
    };
    second.die(place.path(), "p10:1").await;
    second.live(place.path()).await;
    (Tables::of_file(place.path()), Feed::AskedAgain, "p10 again")
}

/// Away for longer than the platform tells of whoever is busy.
#[tokio::test(flavor = "multi_thread")]
async fn time_that_nobody_could_see_is_told_as_unknown() {
    let place = tempfile::tempdir().unwrap();
    let away = async {
        Order::whole().die(place.path(), "p3:370").await;
        let late = Order {
            down: AWAY,
            ..Order::whole()
        };
        late.live(place.path()).await;
        Tables::of_file(place.path())
    };
    let (measure, tables) = tokio::join!(measure(), away);
    let blind = tables.assert_honest(&measure);
    // From the window in which it died to the one in which it was back.
    let most = AWAY as usize / 300 + 1;
    assert!((2..=most).contains(&blind.len()), "{blind:?}");
    assert!(tables.blind() > measure.blind() + 20, "{}", tables.blind());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_at_any_point_leaves_the_same_tables() {
    let mut runs: Vec<Run> = Vec::new();
    for at in DEATHS {
        runs.push(Box::pin(died_at(at)));
    }
    runs.push(Box::pin(died_migrating()));
    runs.push(Box::pin(died_setting_aside()));
    runs.push(Box::pin(died_without_its_checkpoint()));
    let (measure, runs) = tokio::join!(measure(), join_all(runs));
    for (tables, feed, run) in runs {
        tables.assert_same(&measure, feed, run);
    }
}
