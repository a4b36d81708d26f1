//! Moves batches from the journal to the store: fetch, commit, acknowledge, in this order.
//!
//! A batch is acknowledged only after the store's commit, so a crash at any point repeats work
//! and loses none. It does not look into records. It ends when told to, or when the journal's or
//! the store's thread is gone, for then only a restart helps.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::clock::SystemClock;
use crate::journal::{
    DRAIN_MAX, JournalError, JournalHandle, JournalStatus, is_stopped, overdue, stopped,
};
use crate::model::time::Millis;

use super::error::StoreError;
use super::handle::StoreHandle;
use super::report::CommitReport;

/// First wait after an error; doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);

/// Longest wait after errors: short beside a window, long beside a full disk's patience.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Hears what the consumer does; counts and logs are its business.
pub trait ConsumerObserver: Send {
    /// A batch was fetched, committed and acknowledged.
    fn batch(&mut self, took: Millis, fetched: Fetched, committed: &CommitReport);
    /// A step failed; it is tried again. `operation` is `fetch`, `commit` or `acknowledge`.
    fn store_error(&mut self, operation: &'static str, error: &(dyn Error + 'static));
    /// What waits in the journal after a batch.
    fn depth(&mut self, status: JournalStatus);
}

/// What a fetch brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fetched {
    /// Records.
    pub records: usize,
    /// Rows of the journal that were not as written and became dead letters.
    pub dead: u64,
    /// Numbers of the journal that were given and are gone.
    pub missing: u64,
}

/// Why the consumer gave up.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The journal's thread is gone.
    #[error("cannot consume the journal any further; restart the exporter")]
    Journal(#[source] JournalError),
    /// The store's thread is gone.
    #[error("cannot commit to the store any further; restart the exporter")]
    Store(#[source] StoreError),
}

/// A step that failed, and of what.
enum Failure {
    Retry(&'static str, Box<dyn Error + Send + Sync>),
    Final(ConsumeError),
}

/// Consumes until `stop` turns true or its sender is gone. `wake` is notified after each append.
///
/// # Errors
/// Only if a thread is gone; every other failure is told to the observer and tried again.
pub async fn consume(
    journal: JournalHandle,
    store: StoreHandle,
    batch_size: usize,
    clock: SystemClock,
    wake: Arc<Notify>,
    mut stop: watch::Receiver<bool>,
    mut observer: impl ConsumerObserver,
) -> Result<(), ConsumeError> {
    let leaving = store.clone();
    let mut consumer = Consumer {
        journal,
        store,
        batch_size,
        clock,
    };
    let mut backoff = BACKOFF_FIRST;
    let mut drain_until = None;
    loop {
        if drain_until.is_none() && is_stopped(&stop) {
            drain_until = Some(clock.now().mono + DRAIN_MAX);
        }
        if drain_until.is_some_and(|until| clock.now().mono >= until) {
            return Ok(());
        }
        // A server that does not answer must not hold up the end; what it was asked, it is asked
        // again at the next start.
        let done = tokio::select! {
            done = consumer.step(&mut observer) => done,
            () = overdue(&mut stop, clock, drain_until) => {
                leaving.give_up();
                return Ok(());
            }
        };
        match done {
            Ok(true) => backoff = BACKOFF_FIRST,
            Ok(false) if drain_until.is_some() => return Ok(()),
            Ok(false) => {
                backoff = BACKOFF_FIRST;
                tokio::select! {
                    () = wake.notified() => {}
                    () = stopped(&mut stop) => {}
                }
            }
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Retry(operation, error)) => {
                observer.store_error(operation, error.as_ref());
                if drain_until.is_some() {
                    return Ok(());
                }
                tokio::select! {
                    () = tokio::time::sleep(backoff) => {}
                    () = stopped(&mut stop) => {}
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

struct Consumer {
    journal: JournalHandle,
    store: StoreHandle,
    batch_size: usize,
    clock: SystemClock,
}

impl Consumer {
    /// One batch; says whether there was anything to do.
    async fn step(&mut self, observer: &mut impl ConsumerObserver) -> Result<bool, Failure> {
        let began = self.clock.now().mono;
        // From 0: the journal knows what is acknowledged, and the store what is committed.
        let fetched = self
            .journal
            .fetch(0, self.batch_size)
            .await
            .map_err(|error| of_journal("fetch", error))?;
        let brought = Fetched {
            records: fetched.records.len(),
            dead: fetched.dead,
            missing: fetched.missing,
        };
        if fetched.through <= fetched.acknowledged {
            return Ok(false);
        }
        let committed = self.store.commit(fetched.records).await.map_err(of_store)?;
        self.journal
            .acknowledge(fetched.through)
            .await
            .map_err(|error| of_journal("acknowledge", error))?;
        observer.batch(self.clock.now().mono - began, brought, &committed);
        observer.depth(self.status().await?);
        Ok(true)
    }

    async fn status(&self) -> Result<JournalStatus, Failure> {
        self.journal
            .status()
            .await
            .map_err(|error| of_journal("fetch", error))
    }
}

fn of_journal(operation: &'static str, error: JournalError) -> Failure {
    match error {
        JournalError::Gone(_) => Failure::Final(ConsumeError::Journal(error)),
        error => Failure::Retry(operation, Box::new(error)),
    }
}

fn of_store(error: StoreError) -> Failure {
    match error {
        StoreError::Gone(_) => Failure::Final(ConsumeError::Store(error)),
        error => Failure::Retry("commit", Box::new(error)),
    }
}
