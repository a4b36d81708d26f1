//! Moves batches from the journal to the store: fetch, commit, acknowledge, in this order.
//!
//! A batch is acknowledged only after the store's commit, so a crash at any point repeats work
//! and loses none. While the store commits a batch, the journal forgets the one before it and
//! reads the one after it. It does not look into records. It ends when told to, or when the
//! journal's or the store's thread is gone, for then only a restart helps.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::clock::SystemClock;
use crate::crash::{CrashPoint, passing};
use crate::journal::{
    DRAIN_MAX, FetchReport, JournalError, JournalHandle, JournalStatus, is_stopped, overdue,
    stopped,
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
    /// A batch was fetched and committed; `took`: since its turn came.
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
        ahead: None,
        committed: None,
        found: Fetched::default(),
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
    /// The next batch, if it was read already.
    ahead: Option<FetchReport>,
    /// Up to where the store has committed and the journal has not forgotten.
    committed: Option<u64>,
    /// What was found wrong with a batch that was read and is read again.
    found: Fetched,
}

impl Consumer {
    /// One batch; says whether there was anything to do.
    async fn step(&mut self, observer: &mut impl ConsumerObserver) -> Result<bool, Failure> {
        let began = self.clock.now().mono;
        let fetched = match self.ahead.take() {
            Some(ahead) => ahead,
            None => {
                self.acknowledge().await?;
                // From 0: the journal knows what is acknowledged, and the store what is committed.
                self.fetch(0).await?
            }
        };
        let brought = Fetched {
            records: fetched.records.len(),
            dead: fetched.dead + self.found.dead,
            missing: fetched.missing + self.found.missing,
        };
        if fetched.through <= fetched.acknowledged {
            return Ok(false);
        }
        passing(CrashPoint::Received);
        let (store, clock) = (self.store.clone(), self.clock);
        let through = fetched.through;
        let commit = async move {
            let done = store.commit(fetched.records).await;
            (done, clock.now().mono)
        };
        let ((done, at), ahead) = tokio::join!(commit, self.meanwhile(through));
        let report = match done {
            Ok(report) => report,
            Err(error) => {
                // Both are read again, and then nothing is found wrong that was found before.
                self.found = brought;
                if let Ok(Some(ahead)) = ahead {
                    self.found.dead += ahead.dead;
                    self.found.missing += ahead.missing;
                }
                return Err(of_store(error));
            }
        };
        passing(CrashPoint::Committed);
        self.committed = Some(through);
        self.found = Fetched::default();
        observer.batch(at - began, brought, &report);
        self.ahead = ahead?;
        let stored = match &self.ahead {
            // Stored and not forgotten yet, it waits no more.
            Some(ahead) => through.saturating_sub(ahead.acknowledged),
            None => {
                self.acknowledge().await?;
                0
            }
        };
        let mut status = self.status().await?;
        status.depth = status.depth.saturating_sub(stored);
        observer.depth(status);
        Ok(true)
    }

    /// What the journal does while a batch up to `through` is committed.
    async fn meanwhile(&mut self, through: u64) -> Result<Option<FetchReport>, Failure> {
        self.acknowledge().await?;
        let ahead = self.fetch(through).await?;
        Ok((ahead.through > through).then_some(ahead))
    }

    async fn fetch(&self, after: u64) -> Result<FetchReport, Failure> {
        let fetched = self.journal.fetch(after, self.batch_size).await;
        fetched.map_err(|error| of_journal("fetch", error))
    }

    /// The journal forgets what was committed.
    async fn acknowledge(&mut self) -> Result<(), Failure> {
        let Some(through) = self.committed else {
            return Ok(());
        };
        let acknowledged = self.journal.acknowledge(through).await;
        acknowledged.map_err(|error| of_journal("acknowledge", error))?;
        self.committed = None;
        Ok(())
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
