//! Where rows are kept: opens the store that the configuration names.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::AppError;
use super::upkeep::{fail, report_quarantine};
use crate::catalog::StoreOperation;
use crate::clock::SystemClock;
use crate::config::{Config, PostgresConfig, StoreKind};
use crate::journal::DataDir;
use crate::model::time::UnixMillis;
use crate::store::{PostgresStore, SqliteStore, StoreHandle, StoreSettings, WindowReader};
use crate::telemetry::Telemetry;

/// Where rows are kept, opened.
pub(super) struct Rows {
    pub(super) store: StoreHandle,
    pub(super) windows: Arc<dyn WindowReader>,
    /// Last number of the journal that is committed; 0 if that is not known.
    pub(super) cursor: u64,
    pub(super) thread: Option<JoinHandle<()>>,
}

impl Rows {
    /// By the configuration.
    pub(super) async fn open(
        config: &Config,
        dir: Option<&DataDir>,
        clock: SystemClock,
        telemetry: &Telemetry,
    ) -> Result<Self, AppError> {
        match &config.store.kind {
            StoreKind::Sqlite => {
                let dir = dir.expect("who keeps a file has a directory");
                Self::sqlite(config, dir, clock.now().wall, telemetry)
            }
            StoreKind::Postgres(server) => Self::postgres(config, server, clock, telemetry).await,
        }
    }

    fn sqlite(
        config: &Config,
        dir: &DataDir,
        now: UnixMillis,
        telemetry: &Telemetry,
    ) -> Result<Self, AppError> {
        let (store, opened) = SqliteStore::open(dir, StoreSettings::of(&config.pipeline), now)
            .map_err(AppError::Store)?;
        report_quarantine(telemetry, opened.quarantined.as_deref());
        let windows = Arc::new(store.reader().map_err(AppError::Store)?);
        let cursor = store.cursor().map_err(AppError::Store)?;
        let (store, thread) = StoreHandle::spawn(store).map_err(AppError::Thread)?;
        Ok(Self {
            store,
            windows,
            cursor,
            thread: Some(thread),
        })
    }

    /// A server that is away is waited for while the journal keeps what comes; whatever waiting
    /// does not mend is told now.
    async fn postgres(
        config: &Config,
        server: &PostgresConfig,
        clock: SystemClock,
        telemetry: &Telemetry,
    ) -> Result<Self, AppError> {
        let store = PostgresStore::new(server, &StoreSettings::of(&config.pipeline), clock);
        let store = store.map_err(AppError::Postgres)?;
        let cursor = match store.open().await {
            Ok(cursor) => cursor,
            Err(error) if error.is_passing() => {
                fail(telemetry, StoreOperation::Read, &error);
                0
            }
            Err(error) => return Err(AppError::Postgres(error)),
        };
        Ok(Self {
            windows: Arc::new(store.reader()),
            store: StoreHandle::postgres(store),
            cursor,
            thread: None,
        })
    }
}
