//! Moves batches from the journal to the store: fetch, commit, acknowledge, in this order.
//!
//! A batch is acknowledged only after the store's commit, so a crash at any point repeats work
//! and loses none. While the store commits, the journal forgets what came before and reads what
//! comes next, a few batches at a time. It does not look into records. It ends when told to, or when the
//! journal's or the store's thread is gone, for then only a restart helps.

use std::collections::VecDeque;
use std::error::Error;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinHandle};

use crate::clock::SystemClock;
use crate::crash::{CrashPoint, passing};
use crate::journal::{
    DRAIN_MAX, FetchReport, JournalError, JournalHandle, JournalStatus, is_stopped, overdue,
    stopped,
};
use crate::model::event::JournalRecord;
use crate::model::time::Millis;

use super::error::StoreError;
use super::handle::StoreHandle;
use super::report::CommitReport;

/// First wait after an error; doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);

/// Longest wait after errors: short beside a window, long beside a full disk's patience.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Batches of events read at a time: the store has work for longer than the journal takes to append a
/// thousand. Of marks, of which a record may hold hundreds, one batch is read at a time.
const BATCHES_AHEAD: usize = 8;

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
        ahead: VecDeque::new(),
        reading: None,
        // From 0: the journal knows what is acknowledged, and the store what is committed.
        read: 0,
        committed: None,
        status: JournalStatus::default(),
        appended: 0,
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
    /// Batches that were read and are not committed, by their numbers.
    ahead: VecDeque<Batch>,
    /// What reads the batches after them.
    reading: Option<JoinHandle<Result<Reading, Failure>>>,
    /// Up to where the journal was read.
    read: u64,
    /// Up to where the store has committed and the journal has not forgotten.
    committed: Option<u64>,
    /// The journal as it was last looked at.
    status: JournalStatus,
    /// The last number that it had given then.
    appended: u64,
}

/// What one commit takes.
struct Batch {
    records: Arc<Vec<(u64, JournalRecord)>>,
    /// Its last number.
    through: u64,
    brought: Fetched,
}

/// What was read of the journal, and what waits there.
struct Reading {
    batches: Vec<Batch>,
    /// Up to where the journal was told to forget.
    forgot: Option<u64>,
    acknowledged: u64,
    status: JournalStatus,
}

impl Consumer {
    /// One batch; says whether there was anything to do.
    async fn step(&mut self, observer: &mut impl ConsumerObserver) -> Result<bool, Failure> {
        let began = self.clock.now().mono;
        while self.ahead.is_empty() {
            self.read_on().await?;
            // Else it was asked for before the last commit, and there is something to forget yet.
            if self.ahead.is_empty() && self.committed.is_none() {
                return Ok(false);
            }
        }
        passing(CrashPoint::Received);
        let records = Arc::clone(&self.ahead[0].records);
        if self.ahead.len() <= BATCHES_AHEAD / 2 {
            self.start_reading();
        }
        // Until it is committed it stays where it is.
        let committed = self.store.commit(records).await.map_err(of_store)?;
        passing(CrashPoint::Committed);
        let took = self.clock.now().mono - began;
        let batch = self
            .ahead
            .pop_front()
            .expect("it is the one that was committed");
        self.committed = Some(batch.through);
        observer.batch(took, batch.brought, &committed);
        observer.depth(self.waiting(batch.through));
        if self.reading.as_ref().is_some_and(JoinHandle::is_finished) {
            self.read_on().await?;
        }
        Ok(true)
    }

    /// What waits once everything up to `through` is stored, whether or not it is forgotten yet.
    fn waiting(&self, through: u64) -> JournalStatus {
        let depth = self.appended.saturating_sub(through);
        JournalStatus {
            depth,
            oldest: self.status.oldest.filter(|_| depth > 0),
            ..self.status
        }
    }

    /// Has the journal forget what is committed, and read what comes next, while the store works. It
    /// may be busy with what a cycle appends, for longer than a commit takes.
    fn start_reading(&mut self) {
        if self.reading.is_some() {
            return;
        }
        let journal = self.journal.clone();
        let (forget, after, size) = (self.committed, self.read, self.batch_size);
        self.reading = Some(tokio::spawn(read(journal, forget, after, size)));
    }

    /// Waits for what is being read.
    async fn read_on(&mut self) -> Result<(), Failure> {
        self.start_reading();
        let Some(reading) = self.reading.as_mut() else {
            return Ok(());
        };
        let done = reading.await;
        self.reading = None;
        let reading = match done.map_err(JoinError::try_into_panic) {
            Ok(reading) => reading?,
            Err(Ok(panic)) => resume_unwind(panic),
            // The runtime ends, and with it we do.
            Err(Err(_)) => return Ok(()),
        };
        // Had it failed, it would be asked to forget that again.
        self.committed = self.committed.filter(|_| self.committed != reading.forgot);
        self.appended = reading.acknowledged + reading.status.depth;
        self.status = reading.status;
        self.read = self.read.max(reading.acknowledged);
        if let Some(last) = reading.batches.last() {
            self.read = last.through;
        }
        self.ahead.extend(reading.batches);
        Ok(())
    }
}

/// Forgets up to `forget`, and reads what comes after `after`.
async fn read(
    journal: JournalHandle,
    forget: Option<u64>,
    after: u64,
    batch_size: usize,
) -> Result<Reading, Failure> {
    if let Some(through) = forget {
        let acknowledged = journal.acknowledge(through).await;
        acknowledged.map_err(|error| of_journal("acknowledge", error))?;
    }
    let most = batch_size * BATCHES_AHEAD;
    let fetched = journal.fetch_ahead(after, batch_size, most).await;
    let fetched = fetched.map_err(|error| of_journal("fetch", error))?;
    let status = journal.status().await;
    let status = status.map_err(|error| of_journal("fetch", error))?;
    Ok(Reading {
        forgot: forget,
        acknowledged: fetched.acknowledged,
        batches: batches(fetched, after, batch_size),
        status,
    })
}

/// Splits what was read. What was found wrong with any of it comes with the first.
fn batches(fetched: FetchReport, after: u64, batch_size: usize) -> Vec<Batch> {
    let mut batches = Vec::new();
    if fetched.through <= after.max(fetched.acknowledged) {
        return batches;
    }
    let mut found = Fetched {
        dead: fetched.dead,
        missing: fetched.missing,
        ..Fetched::default()
    };
    let mut rest = fetched.records;
    loop {
        let later = rest.split_off(batch_size.min(rest.len()));
        let through = match rest.last() {
            Some(&(seq, _)) if !later.is_empty() => seq,
            _ => fetched.through,
        };
        batches.push(Batch {
            brought: Fetched {
                records: rest.len(),
                ..std::mem::take(&mut found)
            },
            records: Arc::new(rest),
            through,
        });
        if later.is_empty() {
            return batches;
        }
        rest = later;
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
