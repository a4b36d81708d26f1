//! The consumer between a real journal and a real store.

use std::sync::{Arc, mpsc};

use tokio::sync::{Notify, watch};

use super::tests::{Place, quiet_day};
use super::*;
use crate::clock::SystemClock;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consumer_survives_errors_and_acknowledges_only_what_is_committed() {
    let place = Place::new();
    let store = place.store();
    let (journal, _) = EmbeddedJournal::open(&place.dir, 0, UnixMillis(0)).unwrap();
    let clock = SystemClock::new();
    let (journal, journal_thread) = JournalHandle::spawn(journal, clock).unwrap();
    let (store, store_thread) = StoreHandle::spawn(store).unwrap();
    journal.append(quiet_day(), Vec::new()).await.unwrap();
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
    journal.append(quiet_day(), Vec::new()).await.unwrap();
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
    journal_thread.join().unwrap();
    store_thread.join().unwrap();
    assert_eq!(place.revisions(), [1, 1, 1, 1, 1]);
}
