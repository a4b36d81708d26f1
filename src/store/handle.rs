//! The store's thread, and the async handle to it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::journal::{Delivery, Worker};
use crate::model::event::JournalRecord;
use crate::model::time::UnixMillis;

use super::arrivals::{Arrivals, Progress};
use super::error::StoreError;
use super::postgres::{PostgresError, PostgresStore};
use super::prune::PruneReport;
use super::remote_write::DeadSamples;
use super::report::CommitReport;
use super::sqlite::SqliteStore;

/// Commits at once that one instance asks of a server: while one waits for the disk, another is worked
/// on. More would mostly wait for each other's agents.
const POSTGRES_LANES: usize = 3;

/// A handle to the store; clones share it. Every call fails if the store's thread has ended.
#[derive(Debug, Clone)]
pub struct StoreHandle {
    engine: Engine,
    /// Ends what the store's thread is at.
    given_up: Arc<AtomicBool>,
}

/// Where rows are kept. Whoever holds a handle need not know.
#[derive(Debug, Clone)]
enum Engine {
    /// A file, owned by a thread.
    Sqlite(Worker<SqliteStore>),
    /// A server, which is waited for on the reactor.
    Postgres(PostgresStore),
}

/// The store as gauges show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStatus {
    /// Last number of the journal that is committed.
    pub cursor: u64,
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
        let given_up = store.giving_up();
        let (worker, thread) = Worker::spawn("store", store)?;
        let engine = Engine::Sqlite(worker);
        Ok((Self { engine, given_up }, thread))
    }

    /// A handle to a store in PostgreSQL, which needs no thread.
    pub fn postgres(store: PostgresStore) -> Self {
        Self {
            engine: Engine::Postgres(store),
            given_up: Arc::default(),
        }
    }

    /// As many handles as can commit at once: of a file there is one writer.
    pub(super) fn lanes(&self) -> Vec<Self> {
        match &self.engine {
            Engine::Sqlite(_) => vec![self.clone()],
            Engine::Postgres(store) => {
                let others = (1..POSTGRES_LANES).map(|_| Self::postgres(store.beside()));
                std::iter::once(self.clone()).chain(others).collect()
            }
        }
    }

    /// For the exit: a commit that nobody waits for any more is undone, and none succeeds from now
    /// on. It matters to a thread alone; a commit to a server ends with the wait for it.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// [`SqliteStore::commit`], or [`PostgresStore::commit`].
    ///
    /// # Errors
    /// As there.
    pub async fn commit(
        &self,
        batch: Arc<Vec<(u64, JournalRecord)>>,
    ) -> Result<CommitReport, StoreError> {
        match &self.engine {
            Engine::Sqlite(worker) => run(worker, move |store| store.commit(&batch)).await,
            Engine::Postgres(store) => store.commit(&batch).await.map_err(during("commit to")),
        }
    }

    /// Takes what came from producers, with its numbers, in one transaction.
    ///
    /// # Errors
    /// As [`SqliteStore::commit`], or [`PostgresStore::commit`].
    pub async fn commit_deliveries(
        &self,
        deliveries: Vec<Delivery>,
    ) -> Result<CommitReport, StoreError> {
        let arrivals = Arrivals::from(deliveries);
        match &self.engine {
            Engine::Sqlite(worker) => {
                run(worker, move |store| store.commit_arrivals(&arrivals)).await
            }
            Engine::Postgres(store) => {
                let committed = store.commit_arrivals(&arrivals).await;
                committed.map_err(during("commit to"))
            }
        }
    }

    /// [`SqliteStore::settle`], or [`PostgresStore::settle`].
    ///
    /// # Errors
    /// As there.
    pub async fn settle(&self) -> Result<Vec<Progress>, StoreError> {
        match &self.engine {
            Engine::Sqlite(worker) => run(worker, SqliteStore::settle).await,
            Engine::Postgres(store) => store.settle().await.map_err(during("settle")),
        }
    }

    /// [`SqliteStore::forgo`], or [`PostgresStore::forgo`].
    ///
    /// # Errors
    /// As there.
    pub async fn forgo(&self, producer: &str, seqs: Vec<u64>) -> Result<u64, StoreError> {
        let producer: Arc<str> = Arc::from(producer);
        let taken: Vec<_> = seqs
            .into_iter()
            .map(|seq| (Arc::clone(&producer), seq))
            .collect();
        match &self.engine {
            Engine::Sqlite(worker) => run(worker, move |store| store.forgo(&taken)).await,
            Engine::Postgres(store) => store.forgo(&taken).await.map_err(during("note in")),
        }
    }

    /// [`SqliteStore::prune`], or [`PostgresStore::prune`], until there is nothing more to forget.
    ///
    /// # Errors
    /// As there.
    pub async fn prune(&self, before: UnixMillis) -> Result<PruneReport, StoreError> {
        let mut all = PruneReport::default();
        loop {
            // Step by step, so that commits get their turn in between.
            let step = match &self.engine {
                Engine::Sqlite(worker) => run(worker, move |store| store.prune(before)).await,
                Engine::Postgres(store) => store.prune(before).await.map_err(during("prune")),
            }?;
            all.events += step.events;
            all.windows += step.windows;
            if !step.more {
                return Ok(all);
            }
        }
    }

    /// Whether nobody else sends closed windows of this store. A file has one owner anyway.
    ///
    /// # Errors
    /// If PostgreSQL refuses.
    pub async fn sends_alone(&self) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(true),
            Engine::Postgres(store) => store.sends_alone().await.map_err(during("read")),
        }
    }

    /// The end of the last window that remote write has sent; `None` before the first.
    ///
    /// # Errors
    /// If SQLite or PostgreSQL refuses.
    pub async fn sent_until(&self) -> Result<Option<UnixMillis>, StoreError> {
        match &self.engine {
            Engine::Sqlite(worker) => run(worker, |store| store.sent_until()).await,
            Engine::Postgres(store) => store.sent_until().await.map_err(during("read")),
        }
    }

    /// Notes how far remote write has come, with what it was refused.
    ///
    /// # Errors
    /// If SQLite or PostgreSQL refuses.
    pub async fn note_sent(
        &self,
        until: UnixMillis,
        dead: Vec<DeadSamples>,
    ) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(worker) => run(worker, move |store| store.note_sent(until, &dead)).await,
            Engine::Postgres(store) => {
                let noted = store.note_sent(until, &dead).await;
                noted.map_err(during("note in"))
            }
        }
    }

    /// Every window that ends at or before this instant is closed for every agent that is on the
    /// roster; `None` while nobody is. It means a look at everybody.
    ///
    /// # Errors
    /// If SQLite or PostgreSQL refuses.
    pub async fn window_closed_until(&self) -> Result<Option<UnixMillis>, StoreError> {
        match &self.engine {
            Engine::Sqlite(worker) => run(worker, |store| store.window_closed_until()).await,
            Engine::Postgres(store) => {
                let closed = store.window_closed_until().await;
                closed.map_err(during("read"))
            }
        }
    }

    /// How far the store is, and how large.
    ///
    /// # Errors
    /// If SQLite or PostgreSQL refuses.
    pub async fn status(&self) -> Result<StoreStatus, StoreError> {
        match &self.engine {
            Engine::Sqlite(worker) => run(worker, SqliteStore::status).await,
            Engine::Postgres(store) => store.status().await.map_err(during("read")),
        }
    }
}

/// Puts `operation` on an error of PostgreSQL.
fn during(operation: &'static str) -> impl Fn(PostgresError) -> StoreError {
    move |source| StoreError::Postgres { operation, source }
}

async fn run<R: Send + 'static>(
    worker: &Worker<SqliteStore>,
    work: impl FnOnce(&mut SqliteStore) -> Result<R, StoreError> + Send + 'static,
) -> Result<R, StoreError> {
    worker.call(work).await.map_err(StoreError::Gone)?
}
