//! The store's thread, and the async handle to it.

use std::io;
use std::thread::JoinHandle;

use crate::journal::Worker;
use crate::model::event::JournalRecord;
use crate::model::time::UnixMillis;

use super::prune::PruneReport;
use super::sqlite::{CommitReport, SqliteStore, StoreError};

/// A handle to the store; clones share it. Every call fails if the store's thread has ended.
#[derive(Debug, Clone)]
pub struct StoreHandle {
    worker: Worker<SqliteStore>,
}

/// The store as gauges show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStatus {
    /// Last number of the journal that is committed.
    pub cursor: u64,
    /// Every window that ends at or before this is closed for every agent of the roster.
    pub window_closed_until: Option<UnixMillis>,
    /// Bytes on disk.
    pub size_bytes: u64,
}

impl StoreHandle {
    /// Moves the store to its thread. The thread ends when the last handle is gone; join it then,
    /// so that a panic is seen.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn spawn(store: SqliteStore) -> io::Result<(Self, JoinHandle<()>)> {
        let (worker, thread) = Worker::spawn("store", store)?;
        Ok((Self { worker }, thread))
    }

    /// [`SqliteStore::commit`].
    ///
    /// # Errors
    /// As there.
    pub async fn commit(
        &self,
        batch: Vec<(u64, JournalRecord)>,
    ) -> Result<CommitReport, StoreError> {
        self.run(move |store| store.commit(&batch)).await
    }

    /// [`SqliteStore::prune`], until there is nothing more to forget.
    ///
    /// # Errors
    /// As there.
    pub async fn prune(&self, before: UnixMillis) -> Result<PruneReport, StoreError> {
        let mut all = PruneReport::default();
        loop {
            // Step by step, so that commits get their turn in between.
            let step = self.run(move |store| store.prune(before)).await?;
            all.events += step.events;
            all.windows += step.windows;
            if !step.more {
                return Ok(all);
            }
        }
    }

    /// How far the store is, and how large.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.run(|store| {
            Ok(StoreStatus {
                cursor: store.cursor()?,
                window_closed_until: store.window_closed_until()?,
                size_bytes: store.size_bytes(),
            })
        })
        .await
    }

    async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteStore) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.worker.call(work).await.map_err(StoreError::Gone)?
    }
}
