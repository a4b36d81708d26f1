//! The consumer between a real journal and a real store.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::sync::{Notify, watch};

use super::tests::{Place, quiet_day};
use super::*;
use crate::clock::SystemClock;
use crate::effect::Append;
use crate::journal::{EmbeddedJournal, JournalHandle, JournalStatus};
use crate::model::time::{Millis, UnixMillis};

/// What an observer hears.
#[derive(Debug, PartialEq)]
enum Heard {
    Batch(usize, u64),
    Error(&'static str),
    Depth(u64),
}

struct Ear(mpsc::Sender<Heard>);

impl ConsumerObserver for Ear {
    fn batch(&mut self, _: Millis, fetched: Fetched, committed: &CommitReport) {
        let _ = self.0.send(Heard::Batch(fetched.records, committed.stored));
    }
    fn store_error(&mut self, operation: &'static str, _: &(dyn std::error::Error + 'static)) {
        let _ = self.0.send(Heard::Error(operation));
    }
    fn depth(&mut self, status: JournalStatus) {
        let _ = self.0.send(Heard::Depth(status.depth));
    }
}

/// The next thing heard; within a bound, and off the reactor.
async fn heard(ear: &Arc<std::sync::Mutex<mpsc::Receiver<Heard>>>) -> Heard {
    let ear = Arc::clone(ear);
    let wait = move || {
        let ear = ear.lock().unwrap();
        ear.recv_timeout(std::time::Duration::from_secs(30))
            .unwrap()
    };
    tokio::task::spawn_blocking(wait).await.unwrap()
}

/// A journal with a day in it, and an empty store.
async fn a_day_waits(
    place: &Place,
    clock: SystemClock,
) -> (JournalHandle, StoreHandle, [JoinHandle<()>; 2]) {
    let (journal, _) = EmbeddedJournal::open(&place.dir, 0, UnixMillis(0)).unwrap();
    let (journal, journal_thread) = JournalHandle::spawn(journal, clock).unwrap();
    let (store, store_thread) = StoreHandle::spawn(place.store()).unwrap();
    let records = quiet_day();
    let append = Append {
        records,
        ..Append::default()
    };
    journal.append(Arc::new(append)).await.unwrap();
    (journal, store, [journal_thread, store_thread])
}

/// The handles must be gone.
fn join(threads: [JoinHandle<()>; 2]) {
    for thread in threads {
        thread.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consumer_survives_errors_and_acknowledges_only_what_is_committed() {
    let (place, clock) = (Place::new(), SystemClock::new());
    let (journal, store, threads) = a_day_waits(&place, clock).await;
    place
        .meddler()
        .execute("ALTER TABLE progress RENAME TO hidden", [])
        .unwrap();
    let (speak, ear) = mpsc::channel();
    let ear = Arc::new(std::sync::Mutex::new(ear));
    let wake = Arc::new(Notify::new());
    let (stop, stopping) = watch::channel(false);
    let consumer = tokio::spawn(consume(
        journal.clone(),
        store.clone(),
        3,
        clock,
        Arc::clone(&wake),
        stopping,
        Ear(speak),
    ));
    assert_eq!(heard(&ear).await, Heard::Error("commit"));
    assert_eq!(journal.status().await.unwrap().depth, 4);
    place
        .meddler()
        .execute("ALTER TABLE hidden RENAME TO progress", [])
        .unwrap();
    let mut next = heard(&ear).await;
    while next == Heard::Error("commit") {
        next = heard(&ear).await;
    }
    assert_eq!(next, Heard::Batch(3, 2));
    assert_eq!(heard(&ear).await, Heard::Depth(1));
    assert_eq!(heard(&ear).await, Heard::Batch(1, 0));
    assert_eq!(heard(&ear).await, Heard::Depth(0));
    let records = quiet_day();
    let append = Append {
        records,
        ..Append::default()
    };
    journal.append(Arc::new(append)).await.unwrap();
    wake.notify_one();
    assert_eq!(heard(&ear).await, Heard::Batch(3, 0));
    stop.send(true).unwrap();
    consumer.await.unwrap().unwrap();
    assert_eq!(
        journal.status().await.unwrap().depth,
        0,
        "drained before it stopped"
    );
    assert_eq!(store.status().await.unwrap().cursor, 8);
    drop((journal, store));
    join(threads);
    assert_eq!(place.revisions(), [1, 1, 1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_the_exit_cannot_wait_for_is_undone_and_nothing_is_lost() {
    let (place, clock) = (Place::new(), SystemClock::new());
    let (journal, store, threads) = a_day_waits(&place, clock).await;
    let meddler = place.meddler();
    meddler.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (speak, ear) = mpsc::channel();
    let (stop, stopping) = watch::channel(true);
    let wake = Arc::new(Notify::new());
    consume(
        journal.clone(),
        store.clone(),
        50,
        clock,
        wake,
        stopping,
        Ear(speak),
    )
    .await
    .unwrap();
    assert!(ear.try_recv().is_err(), "no batch was through");
    // Now the commit could go on, and would: nobody is there any more to acknowledge it.
    meddler.execute_batch("ROLLBACK").unwrap();
    drop((journal, store, stop));
    join(threads);
    assert_eq!(place.store().cursor().unwrap(), 0, "it was undone");
    let (journal, _) = EmbeddedJournal::open(&place.dir, 0, UnixMillis(0)).unwrap();
    assert_eq!(journal.depth().unwrap(), 4, "it waits for the next start");
}
