//! Tables in PostgreSQL gone through from end to end, against the same in SQLite.

use super::super::scan_tests::{EVERYTHING, long_days, pages, rows};
use super::super::tests::{Place, numbered, settings};
use super::super::{PostgresTables, SqliteTables, Table, TableQuery, Tables};
use super::tests::cluster::Cluster;
use super::tests::{DATABASE, config, store};
use crate::clock::SystemClock;
use crate::model::time::Millis;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_give_the_same_rows_in_the_same_order_and_count_the_same_damage() {
    let cluster = Cluster::start();
    let day = numbered(&long_days());
    store(&cluster, &settings(300)).commit(&day).await.unwrap();
    let place = Place::new();
    place.store().commit(&day).unwrap();
    let mut postgres =
        PostgresTables::new(&config(&cluster), &settings(300), SystemClock::new()).unwrap();
    let scans = tokio::task::spawn_blocking(move || {
        let mut sqlite = SqliteTables::open(place.dir.path(), "default").unwrap();
        assert_eq!(postgres.window_lengths().unwrap(), [Millis::from_secs(300)]);
        for table in [Table::Window, Table::Event] {
            let asked = TableQuery {
                table,
                ..EVERYTHING
            };
            let expected = rows(pages(&mut sqlite, asked));
            let found = rows(pages(&mut postgres, asked));
            assert!(expected.len() > 5);
            assert_eq!(found, expected, "{}", table.name());
        }
        postgres
    });
    let mut postgres = scans.await.unwrap();

    // A microsecond is finer than any instant of ours: such keys are damaged, and passed.
    let sql = "UPDATE agent_window SET window_start = window_start + interval '1 microsecond' \
        WHERE window_start >= '1970-01-02'; \
        SELECT count(*) FROM agent_window WHERE window_start >= '1970-01-02'";
    let told = cluster.ask(DATABASE, sql);
    let broken: usize = told.lines().last().unwrap().parse().unwrap();
    assert!(broken > 2_000, "{told}");
    let scans = tokio::task::spawn_blocking(move || {
        let whole = pages(&mut postgres, EVERYTHING);
        let damaged: u64 = whole.iter().map(|page| page.damaged).sum();
        assert_eq!(damaged as usize, broken);
        assert_eq!(rows(whole).len(), 3_000 - broken);
    });
    scans.await.unwrap();
}
