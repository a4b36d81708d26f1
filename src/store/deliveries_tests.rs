//! What comes from producers, in either engine: the same rows in whatever order it comes, and floors
//! that never pass what is lacking.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::postgres::tests::{
    Cluster, DATABASE, store as postgres_store, windows_in_file, windows_of,
};
use super::tests::{Place, numbered, quiet_day, settings};
use super::*;
use crate::journal::{Content, Delivery};
use crate::window::tests::arb_journal_and_permutation;

const CASES: usize = 12;

fn delivery(producer: &str, seq: u64, record: crate::model::event::JournalRecord) -> Delivery {
    Delivery {
        producer: Arc::from(producer),
        seq,
        content: Content::Record(record),
    }
}

fn progress(producer: &str, floor: u64, next: Option<u64>) -> Progress {
    let producer = producer.to_owned();
    Progress {
        producer,
        floor,
        next,
    }
}

/// Both engines behind their handles; the thread ends with the handle.
fn engines(cluster: &Cluster, place: &Place) -> [StoreHandle; 2] {
    let (sqlite, _) = StoreHandle::spawn(place.store()).unwrap();
    let postgres = postgres_store(cluster, &settings(300));
    [sqlite, StoreHandle::postgres(postgres)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floors_rise_to_the_first_hole_whoever_filled_the_rest() {
    let cluster = Cluster::start();
    let place = Place::new();
    let records = quiet_day();
    for store in engines(&cluster, &place) {
        let give = async |numbers: &[(&str, u64)]| {
            let deliveries = numbers.iter().map(|(producer, seq)| {
                let at = (*seq as usize - 1) % records.len();
                delivery(producer, *seq, records[at].clone())
            });
            store.commit_deliveries(deliveries.collect()).await.unwrap()
        };
        give(&[("a", 2), ("a", 1), ("b", 3)]).await;
        let told = store.settle().await.unwrap();
        assert_eq!(told, [progress("a", 2, None), progress("b", 0, Some(3))]);
        // Far beyond a hole, and one that is known: nothing moves.
        give(&[("a", 9), ("a", 5), ("a", 2)]).await;
        let told = store.settle().await.unwrap();
        assert_eq!(told[0], progress("a", 2, Some(5)));
        give(&[("a", 4), ("a", 3), ("b", 1)]).await;
        let told = store.settle().await.unwrap();
        assert_eq!(told, [progress("a", 5, Some(9)), progress("b", 1, Some(3))]);
        // What will never come is no hole any more.
        assert_eq!(store.forgo("a", vec![6, 7, 8]).await.unwrap(), 3);
        assert_eq!(store.forgo("b", vec![2]).await.unwrap(), 1);
        // Another that gives up the same, before and after floors rise, has given up nothing.
        assert_eq!(store.forgo("a", vec![6, 7, 8, 9]).await.unwrap(), 0);
        let told = store.settle().await.unwrap();
        assert_eq!(told, [progress("a", 9, None), progress("b", 3, None)]);
        assert_eq!(store.forgo("a", vec![6, 7, 8]).await.unwrap(), 0);
    }
}

/// Else they would wait for each other's syncs, in vain: no position of the journal is theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_of_arrivals_write_no_common_row() {
    let cluster = Cluster::start();
    let store = StoreHandle::postgres(postgres_store(&cluster, &settings(300)));
    let mut written = Vec::new();
    for (seq, record) in numbered(&quiet_day()) {
        let arrived = delivery("a", seq, record);
        store.commit_deliveries(vec![arrived]).await.unwrap();
        let row = "SELECT org, ctid, xmin FROM progress";
        written.push(cluster.ask(DATABASE, row));
    }
    assert!(written[0].starts_with("default|"), "{written:?}");
    written.dedup();
    assert_eq!(written.len(), 1, "{written:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_read_is_a_dead_letter_and_no_hole() {
    let cluster = Cluster::start();
    let place = Place::new();
    for store in engines(&cluster, &place) {
        let poison = |producer: &str, seq| Delivery {
            producer: Arc::from(producer),
            seq,
            content: Content::Poison {
                reason: "undecodable",
                payload: "{".to_owned(),
            },
        };
        let record = quiet_day().swap_remove(0);
        let batch = vec![poison("a", 1), poison("", 77), delivery("a", 2, record)];
        let report = store.commit_deliveries(batch).await.unwrap();
        assert_eq!(report.dead, 2);
        assert_eq!(store.settle().await.unwrap(), [progress("a", 2, None)]);
    }
    assert_eq!(place.dump("*", "dead_letter").len(), 2);
    let kept = cluster.ask("postgres", "SELECT count(*) FROM dead_letter");
    assert_eq!(kept, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_in_any_order_lead_to_the_rows_of_the_journal() {
    let cluster = Cluster::start();
    let mut random = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let mut compared = 0;
    for case in 0..CASES {
        let journals = arb_journal_and_permutation().new_tree(&mut random).unwrap();
        let (journal, other) = journals.current();
        let of = |name: &str| StoreSettings {
            org: format!("{name}-{case}"),
            ..settings(300)
        };
        let (alone, shared) = (Place::new(), Place::new());
        let now = UnixMillis(0);
        let (mut kept, _) = SqliteStore::open(&alone.dir, of("all"), now).unwrap();
        kept.commit(&numbered(&journal)).unwrap();
        let (sqlite, _) = SqliteStore::open(&shared.dir, of("all"), now).unwrap();
        let (sqlite, thread) = StoreHandle::spawn(sqlite).unwrap();
        let postgres = StoreHandle::postgres(postgres_store(&cluster, &of("all")));
        let deliveries: Vec<Delivery> = numbered(&other)
            .into_iter()
            .map(|(seq, record)| delivery(["a", "b"][seq as usize % 2], seq.div_ceil(2), record))
            .collect();
        for batch in deliveries.chunks(1 + case) {
            for store in [&sqlite, &postgres] {
                store.commit_deliveries(batch.to_vec()).await.unwrap();
            }
        }
        for store in [&sqlite, &postgres] {
            let told = store.settle().await.unwrap();
            assert!(told.iter().all(|told| told.next.is_none()), "{told:?}");
        }
        drop(sqlite);
        thread.join().unwrap();
        let expected = windows_in_file(&alone);
        assert_eq!(windows_in_file(&shared), expected, "case {case}");
        let rows = windows_of(&cluster, &of("all").org);
        assert_eq!(rows, expected, "case {case}");
        compared += expected.len();
    }
    assert!(compared > 50, "{compared} rows compared");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_instances_one_sends_closed_windows() {
    let cluster = Cluster::start();
    let [one, two] = [(); 2].map(|()| {
        let store = postgres_store(&cluster, &settings(300));
        StoreHandle::postgres(store)
    });
    // The schema is made by whoever writes first.
    one.commit_deliveries(Vec::new()).await.unwrap();
    assert!(one.sends_alone().await.unwrap());
    assert!(!two.sends_alone().await.unwrap());
    assert!(one.sends_alone().await.unwrap());
    drop(one);
    let mut looks = 0;
    while !two.sends_alone().await.unwrap() {
        looks += 1;
        assert!(looks < 10_000, "the lock outlives its connection");
    }
}
