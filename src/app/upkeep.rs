//! Gauges of backlog and size, retention, and what is counted when a database fails.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::databases::Databases;
use super::unlinked::OpenFiles;
use super::{AppError, Handles};
use crate::catalog::{DataLoss, StoreOperation};
use crate::clock::SystemClock;
use crate::journal::{JournalError, JournalHandle};
use crate::model::error::chain;
use crate::model::time::Millis;
use crate::store::{StoreError, StoreHandle};
use crate::telemetry::Telemetry;

/// Sizes, backlog and the databases' files are looked at this often.
const GAUGES_EVERY: Duration = Duration::from_secs(10);

/// What is older than the retention is deleted this often.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// What is looked after.
pub(super) struct Upkeep {
    journal: Option<JournalHandle>,
    store: Option<StoreHandle>,
    files: Arc<OpenFiles>,
    telemetry: Arc<Telemetry>,
    clock: SystemClock,
    retention: watch::Receiver<Millis>,
}

/// Why figures could not be had.
enum Silent {
    Journal(JournalError),
    Store(StoreError),
}

impl Upkeep {
    pub(super) fn of(
        databases: &mut Databases,
        handles: &Handles,
        clock: SystemClock,
        retention: watch::Receiver<Millis>,
    ) -> Self {
        Self {
            journal: databases.journal.clone(),
            store: databases.store.clone(),
            files: Arc::new(std::mem::take(&mut databases.files)),
            telemetry: Arc::clone(&handles.telemetry),
            clock,
            retention,
        }
    }

    /// Goes on until it is aborted, or something is wrong that the exporter cannot live with.
    pub(super) async fn run(self) -> AppError {
        let mut gauges = tokio::time::interval(GAUGES_EVERY);
        gauges.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut prune = tokio::time::interval(PRUNE_EVERY);
        prune.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = gauges.tick() => {
                    // Before the databases are asked, which may take long.
                    if let Some(path) = self.gone().await {
                        return AppError::Unlinked { path };
                    }
                    self.gauges().await;
                }
                _ = prune.tick() => self.prune().await,
            }
        }
    }

    /// The file of an open database that is gone. A disk that hangs keeps a thread, and no other.
    async fn gone(&self) -> Option<PathBuf> {
        let files = Arc::clone(&self.files);
        let looked = tokio::task::spawn_blocking(move || files.gone().map(Path::to_owned));
        looked.await.ok().flatten()
    }

    async fn gauges(&self) {
        match self.sizes().await {
            Ok(bytes) => self.telemetry.store_size(bytes),
            Err(Silent::Journal(error)) => fail(&self.telemetry, StoreOperation::Maintain, &error),
            Err(Silent::Store(error)) => fail(&self.telemetry, StoreOperation::Maintain, &error),
        }
    }

    async fn sizes(&self) -> Result<u64, Silent> {
        let mut bytes = 0;
        // The backlog first: it is what grows while the store does not answer.
        if let Some(journal) = &self.journal {
            let kept = journal.status().await.map_err(Silent::Journal)?;
            self.telemetry.event_queue(kept.depth, kept.oldest);
            bytes += kept.size_bytes;
        }
        if let Some(store) = &self.store {
            bytes += store.status().await.map_err(Silent::Store)?.size_bytes;
        }
        Ok(bytes)
    }

    async fn prune(&self) {
        let kept_for = *self.retention.borrow();
        let Some(store) = &self.store else { return };
        if let Err(error) = store.prune(self.clock.now().wall - kept_for).await {
            fail(&self.telemetry, StoreOperation::Prune, &error);
        }
    }
}

pub(super) fn report_quarantine(telemetry: &Telemetry, quarantined: Option<&Path>) {
    if let Some(path) = quarantined {
        telemetry.data_loss(DataLoss::Quarantine, 1);
        tracing::error!(
            kind = "data_loss",
            "a database could not be read and was set aside as {}; a new one was begun",
            path.display()
        );
    }
}

pub(super) fn fail(
    telemetry: &Telemetry,
    operation: StoreOperation,
    error: &(dyn Error + 'static),
) {
    telemetry.store_error(operation);
    tracing::error!(kind = operation.label(), error = %chain(error), "the database failed");
}
