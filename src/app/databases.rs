//! What the configuration's role keeps: the outbox, the rows, or both.

use std::sync::Arc;
use std::thread;

use super::file_system::refuse_network;
use super::rows::Rows;
use super::unlinked::OpenFiles;
use super::{AppError, upkeep};
use crate::catalog::DataLoss;
use crate::clock::SystemClock;
use crate::config::{Config, QueueKind, StoreKind};
use crate::journal::{DataDir, EmbeddedJournal, JournalHandle};
use crate::store::{NoRows, SqliteStore, StoreHandle, WindowReader};
use crate::telemetry::Telemetry;

/// The databases, opened, each on a thread of its own.
pub(super) struct Databases {
    /// Of who polls.
    pub(super) journal: Option<JournalHandle>,
    /// Of who stores.
    pub(super) store: Option<StoreHandle>,
    pub(super) windows: Arc<dyn WindowReader>,
    pub(super) checkpoint: Vec<(String, String)>,
    pub(super) threads: Vec<thread::JoinHandle<()>>,
    /// Their files.
    pub(super) files: OpenFiles,
    /// Its lock keeps a second instance out for as long as this one lives.
    pub(super) dir: Option<DataDir>,
}

impl Databases {
    /// The journal is told what the store has taken, so that numbers never start over.
    pub(super) async fn open(
        config: &Config,
        clock: SystemClock,
        telemetry: &Telemetry,
    ) -> Result<Self, AppError> {
        let role = config.role;
        let needs_dir = role.polls() || matches!(config.store.kind, StoreKind::Sqlite);
        if needs_dir && !config.store.allow_network_file_system {
            refuse_network(&config.store.path).map_err(AppError::FileSystem)?;
        }
        let dir = needs_dir
            .then(|| DataDir::open(&config.store.path))
            .transpose()
            .map_err(AppError::DataDir)?;
        let mut databases = Self {
            journal: None,
            store: None,
            windows: Arc::new(NoRows),
            checkpoint: Vec::new(),
            threads: Vec::new(),
            files: OpenFiles::default(),
            dir,
        };
        let mut cursor = 0;
        if role.stores() {
            let rows = Rows::open(config, databases.dir.as_ref(), clock, telemetry).await?;
            cursor = rows.cursor;
            databases.store = Some(rows.store);
            databases.windows = rows.windows;
            databases.threads.extend(rows.thread);
            if let (StoreKind::Sqlite, Some(dir)) = (&config.store.kind, &databases.dir) {
                databases.files.opened(dir.path().join(SqliteStore::FILE));
            }
        }
        if let Some(dir) = databases.dir.take() {
            if role.polls() {
                // The numbers that the store has are the journal's only where it takes from it.
                let cursor = match config.queue.kind {
                    QueueKind::Embedded => cursor,
                    QueueKind::Nats(_) => 0,
                };
                databases
                    .open_journal(&dir, cursor, clock, telemetry)
                    .await?;
            }
            databases.dir = Some(dir);
        }
        Ok(databases)
    }

    async fn open_journal(
        &mut self,
        dir: &DataDir,
        cursor: u64,
        clock: SystemClock,
        telemetry: &Telemetry,
    ) -> Result<(), AppError> {
        let (journal, opened) =
            EmbeddedJournal::open(dir, cursor, clock.now().wall).map_err(AppError::Journal)?;
        self.files.opened(dir.path().join(EmbeddedJournal::FILE));
        upkeep::report_quarantine(telemetry, opened.database.quarantined.as_deref());
        if let Some(last) = opened.behind_store {
            telemetry.data_loss(DataLoss::SequenceGap, cursor.saturating_sub(last));
            tracing::error!(
                kind = "data_loss",
                "the journal ends at {last}, before what the store has taken ({cursor})"
            );
        }
        let (journal, thread) = JournalHandle::spawn(journal, clock).map_err(AppError::Thread)?;
        let checkpoint = journal.load_checkpoint().await.map_err(AppError::Journal)?;
        if checkpoint.dead > 0 {
            telemetry.data_loss(DataLoss::Checksum, checkpoint.dead);
            tracing::error!(
                kind = "data_loss",
                "{} entries of the checkpoint were damaged; those agents start anew",
                checkpoint.dead
            );
        }
        self.journal = Some(journal);
        self.checkpoint = checkpoint.entries;
        self.threads.insert(0, thread);
        Ok(())
    }
}
