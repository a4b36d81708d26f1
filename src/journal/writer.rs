//! The journal's thread, and the async handle that driver and consumer share.
//!
//! One thread owns the file, so appends, fetches and acknowledgements never race. It reads the
//! clock for the append stamps and decides nothing.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::clock::SystemClock;
use crate::effect::Append;
use crate::model::time::UnixMillis;

use super::embedded::{AppendReport, CheckpointReport, EmbeddedJournal, FetchReport, JournalError};
use super::worker::Worker;

/// A handle to the journal; clones share it. Every call fails if the journal's thread has ended.
#[derive(Debug, Clone)]
pub struct JournalHandle {
    worker: Worker<EmbeddedJournal>,
    clock: SystemClock,
}

/// The journal as gauges show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalStatus {
    /// Records not acknowledged yet.
    pub depth: u64,
    /// When the oldest of them was appended, by our clock.
    pub oldest: Option<UnixMillis>,
    /// Bytes on disk.
    pub size_bytes: u64,
}

impl JournalHandle {
    /// Moves the journal to its thread. The thread ends when the last handle is gone; join it
    /// then, so that a panic is seen.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn spawn(
        journal: EmbeddedJournal,
        clock: SystemClock,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (worker, thread) = Worker::spawn("journal", journal)?;
        Ok((Self { worker, clock }, thread))
    }

    /// [`EmbeddedJournal::append`]; durable when it returns.
    ///
    /// # Errors
    /// As there.
    pub async fn append(&self, append: Arc<Append>) -> Result<AppendReport, JournalError> {
        let now = self.clock.now().wall;
        self.run(move |journal| journal.append(&append.records, &append.checkpoint, now))
            .await
    }

    /// [`EmbeddedJournal::load_checkpoint`].
    ///
    /// # Errors
    /// As there.
    pub async fn load_checkpoint(&self) -> Result<CheckpointReport, JournalError> {
        self.run(EmbeddedJournal::load_checkpoint).await
    }

    /// [`EmbeddedJournal::fetch`].
    ///
    /// # Errors
    /// As there.
    pub async fn fetch(&self, after_seq: u64, limit: usize) -> Result<FetchReport, JournalError> {
        self.run(move |journal| journal.fetch(after_seq, limit))
            .await
    }

    /// [`EmbeddedJournal::fetch_ahead`].
    ///
    /// # Errors
    /// As there.
    pub async fn fetch_ahead(
        &self,
        after_seq: u64,
        limit: usize,
        most: usize,
    ) -> Result<FetchReport, JournalError> {
        self.run(move |journal| journal.fetch_ahead(after_seq, limit, most))
            .await
    }

    /// [`EmbeddedJournal::acknowledge`].
    ///
    /// # Errors
    /// As there.
    pub async fn acknowledge(&self, up_to: u64) -> Result<(), JournalError> {
        self.run(move |journal| journal.acknowledge(up_to)).await
    }

    /// How much waits, and since when.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub async fn status(&self) -> Result<JournalStatus, JournalError> {
        self.run(|journal| {
            Ok(JournalStatus {
                depth: journal.depth()?,
                oldest: journal.oldest()?,
                size_bytes: journal.size_bytes(),
            })
        })
        .await
    }

    async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut EmbeddedJournal) -> Result<R, JournalError> + Send + 'static,
    ) -> Result<R, JournalError> {
        self.worker.call(work).await.map_err(JournalError::Gone)?
    }
}
