//! The composition root: builds every part from a [`Config`], runs them, and ends them in order.
//!
//! Sockets, clock and the stop signal come in as arguments, so that tests and the demo run the
//! very same thing.

mod reload;
mod rows;
mod windows;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::catalog::{DataLoss, EventResult, StoreOperation, WindowResult};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::driver::Driver;
use crate::expose::otlp::{OtlpError, Push, Running, Sources};
use crate::expose::{Access, AccessError, Front, Limits, Pages, Pulse, ReloadAsk, ServerState};
use crate::journal::{
    DataDir, DataDirError, EmbeddedJournal, JournalError, JournalHandle, JournalStatus,
};
use crate::model::error::chain;
use crate::model::time::{Millis, UnixMillis};
use crate::pipeline::Pipeline;
use crate::reconciler::checkpoint::CheckpointError;
use crate::store::{
    CommitReport, ConsumeError, ConsumerObserver, Fetched, PostgresError, RemoteWrite,
    RemoteWriteError, StoreError, StoreHandle, WindowReader, consume,
};
use crate::telemetry::{BuildInfo, Telemetry};
use crate::upstream::{Client, ClientError};

use rows::Rows;

use self::reload::Reloader;
pub use self::reload::{Loader, LogSwitch, Reloading};

/// Reloads that may be asked for while one is under way; more are told to come again.
const RELOADS_WAITING_MAX: usize = 4;

/// Sizes and backlog are looked at this often.
const GAUGES_EVERY: Duration = Duration::from_secs(10);

/// What is older than the retention is deleted this often.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// Why the exporter cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The data directory.
    #[error("cannot use the data directory")]
    DataDir(#[source] DataDirError),
    /// The journal.
    #[error("cannot open the journal")]
    Journal(#[source] JournalError),
    /// The store.
    #[error("cannot open the store")]
    Store(#[source] StoreError),
    /// The store in PostgreSQL.
    #[error("cannot open the store")]
    Postgres(#[source] PostgresError),
    /// What the last run left.
    #[error(
        "cannot take up where the last run left off; move the data directory away to start anew"
    )]
    Checkpoint(#[source] CheckpointError),
    /// The HTTP client.
    #[error("cannot set up the client of the platform")]
    Client(#[source] ClientError),
    /// The web configuration.
    #[error("cannot protect the server as web.config_file says")]
    Access(#[source] AccessError),
    /// The sender of closed windows.
    #[error("cannot send closed windows")]
    RemoteWrite(#[source] RemoteWriteError),
    /// The push of metrics.
    #[error("cannot push metrics by OTLP")]
    Otlp(#[source] OtlpError),
    /// The system gives no thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The consumer ended.
    #[error("the consumer of the journal ended")]
    Consume(#[source] ConsumeError),
    /// A part of the exporter died.
    #[error("{part} died; this is a bug")]
    Died {
        /// Which part.
        part: &'static str,
    },
}

/// Parts that others may hold on to while the exporter runs.
#[derive(Clone)]
pub struct Handles {
    /// The published view.
    pub pages: Arc<Pages>,
    /// The exporter's own counters.
    pub telemetry: Arc<Telemetry>,
}

/// The exporter, built and not yet running.
pub struct App {
    config: Config,
    clock: SystemClock,
    driver: Driver,
    store: StoreHandle,
    journal: JournalHandle,
    wake: Arc<Notify>,
    server: Arc<ServerState>,
    handles: Handles,
    push: Option<Push>,
    remote_write: Option<RemoteWrite>,
    threads: Vec<thread::JoinHandle<()>>,
    dir: DataDir,
    reloader: Reloader,
    reloads: mpsc::Sender<ReloadAsk>,
    retention: watch::Receiver<Millis>,
}

impl App {
    /// Opens the data directory and builds every part; no request is sent yet.
    ///
    /// # Errors
    /// [`AppError`] with the remedy in its chain.
    pub async fn build(config: Config, clock: SystemClock) -> Result<Self, AppError> {
        let now = clock.now();
        let mut push = push(&config)?;
        let meter = push.as_ref().map(Push::meter);
        let telemetry = Telemetry::recording(BuildInfo::current(), meter.as_ref());
        let telemetry = Arc::new(telemetry);
        telemetry.config_accepted(now.wall);
        let access = access(&config, now.wall)?;
        let client =
            Client::new(&config.source, env!("CARGO_PKG_VERSION")).map_err(AppError::Client)?;
        let databases = Databases::open(&config, clock, &telemetry).await?;
        let remote_write = windows::remote_write(&config, &databases.store, &databases.windows)?;
        let pipeline = Pipeline::new(config.pipeline.clone(), &databases.checkpoint, now)
            .map_err(AppError::Checkpoint)?
            .with_stopwatch(Arc::new(move || clock.seconds()));
        if let Some(push) = &mut push {
            push.count_from(&pipeline.view(now));
        }
        let pages = Arc::new(Pages::new(config.per_agent.clone()));
        let (reloads, asks) = mpsc::channel(RELOADS_WAITING_MAX);
        let pulse = Arc::new(Pulse::new());
        let server = Arc::new(ServerState::new(
            Arc::clone(&pages),
            Arc::clone(&telemetry),
            databases.windows,
            Arc::clone(&pulse),
            clock,
            front(&config, &access, &reloads),
            Limits::default(),
        ));
        let (reconfigure, configurations) = mpsc::channel(1);
        let (retention, kept_for) = watch::channel(config.store.retention);
        let wake = Arc::new(Notify::new());
        let driver = Driver {
            pipeline,
            client: Arc::new(client),
            api_url: config.source.api_url.clone(),
            journal: databases.journal.clone(),
            wake: Arc::clone(&wake),
            pages: Arc::clone(&pages),
            telemetry: Arc::clone(&telemetry),
            pulse,
            clock,
            configurations,
        };
        let handles = Handles { pages, telemetry };
        let reloader = Reloader::new(asks, access, reconfigure, &handles, retention, clock);
        Ok(Self {
            config,
            clock,
            driver,
            store: databases.store,
            journal: databases.journal,
            wake,
            server,
            handles,
            push,
            remote_write,
            threads: databases.threads,
            dir: databases.dir,
            reloader,
            reloads,
            retention: kept_for,
        })
    }

    /// The same, reading its configuration again when asked. What is sent to the channel asks.
    #[must_use]
    pub fn reloading(mut self, reloading: Reloading) -> (Self, mpsc::Sender<ReloadAsk>) {
        self.reloader.reloading = Some(reloading);
        let reloads = self.reloads.clone();
        (self, reloads)
    }

    /// What others may hold on to.
    pub fn handles(&self) -> Handles {
        self.handles.clone()
    }

    /// Runs until `stop` turns true; then drains: the last append, the journal, open answers.
    ///
    /// # Errors
    /// If a part ends by itself, which is a failure of the whole.
    pub async fn run(
        self,
        listeners: Vec<TcpListener>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), AppError> {
        // The consumer ends after the driver, so that it takes the last append.
        let (drained, drain) = watch::channel(false);
        let observer = Observer {
            telemetry: Arc::clone(&self.handles.telemetry),
        };
        let mut servers = self.serve(listeners, &stop);
        let push = start(self.push, &self.handles, drain.clone())?;
        let upkeep = tokio::spawn(upkeep(
            self.journal.clone(),
            self.store.clone(),
            Arc::clone(&self.handles.telemetry),
            self.clock,
            self.retention,
        ));
        let reloader = tokio::spawn(self.reloader.run(stop.clone()));
        let sending = windows::start(self.remote_write, &self.handles.telemetry, &stop);
        let mut driver = tokio::spawn(self.driver.run(stop.clone()));
        let mut consumer = tokio::spawn(consume(
            self.journal.clone(),
            self.store.clone(),
            self.config.batch_size,
            self.clock,
            self.wake,
            drain,
            observer,
        ));
        let ended = tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => None,
            _ = &mut driver => Some(AppError::Died { part: "the driver" }),
            ended = &mut consumer => Some(match ended {
                Ok(Err(error)) => AppError::Consume(error),
                _ => AppError::Died { part: "the consumer" },
            }),
        };
        upkeep.abort();
        reloader.abort();
        if let Some(error) = ended {
            return Err(error);
        }
        let driver = driver.await;
        // The receiver is gone only if the consumer has ended by itself.
        let _ = drained.send(true);
        let consumer = consumer.await;
        while servers.join_next().await.is_some() {}
        if let Some(push) = push {
            push.ended().await;
        }
        windows::end(sending).await;
        drop((self.journal, self.store));
        let joined = joined(self.threads, self.dir);
        driver.map_err(|_| AppError::Died { part: "the driver" })?;
        match consumer {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(AppError::Consume(error)),
            Err(_) => {
                return Err(AppError::Died {
                    part: "the consumer",
                });
            }
        }
        match joined.await {
            Ok(true) => Ok(()),
            _ => Err(AppError::Died {
                part: "a database thread",
            }),
        }
    }
}

impl App {
    fn serve(&self, listeners: Vec<TcpListener>, stop: &watch::Receiver<bool>) -> JoinSet<()> {
        let mut servers = JoinSet::new();
        for listener in listeners {
            let state = Arc::clone(&self.server);
            servers.spawn(crate::expose::serve(listener, state, stop.clone()));
        }
        servers
    }
}

/// What readers meet first.
fn front(config: &Config, access: &Arc<Access>, reloads: &mpsc::Sender<ReloadAsk>) -> Front {
    Front {
        telemetry_path: config.web.telemetry_path.clone(),
        access: Arc::clone(access),
        reload: config.web.enable_lifecycle.then(|| reloads.clone()),
    }
}

/// Who may read, as the web configuration says.
fn access(config: &Config, now: UnixMillis) -> Result<Arc<Access>, AppError> {
    let path = config.web.config_file.as_deref();
    // Its warnings were among those of the configuration.
    let (access, _) = Access::open(path, &config.web.listen, now).map_err(AppError::Access)?;
    Ok(Arc::new(access))
}

/// Waits for the databases' threads, and says whether all ended well. The next instance may come
/// once nothing of this one writes any more.
fn joined(threads: Vec<thread::JoinHandle<()>>, dir: DataDir) -> tokio::task::JoinHandle<bool> {
    tokio::task::spawn_blocking(move || {
        let sound = threads.into_iter().all(|thread| thread.join().is_ok());
        drop(dir);
        sound
    })
}

/// The push, if there is somewhere to push to.
fn push(config: &Config) -> Result<Option<Push>, AppError> {
    let port = config.web.listen.first().map_or(0, SocketAddr::port);
    let Some(otlp) = &config.otlp else {
        return Ok(None);
    };
    let push = Push::new(otlp, port).map_err(AppError::Otlp)?;
    tracing::info!(endpoint = %otlp.endpoint, "pushing metrics by OTLP");
    Ok(Some(push))
}

fn start(
    push: Option<Push>,
    handles: &Handles,
    stop: watch::Receiver<bool>,
) -> Result<Option<Running>, AppError> {
    let sources = Sources {
        pages: Arc::clone(&handles.pages),
        telemetry: Arc::clone(&handles.telemetry),
    };
    let running = push.map(|push| push.start(sources, stop));
    running.transpose().map_err(AppError::Thread)
}

/// The databases, opened, each on a thread of its own.
struct Databases {
    journal: JournalHandle,
    store: StoreHandle,
    windows: Arc<dyn WindowReader>,
    checkpoint: Vec<(String, String)>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Its lock keeps a second instance out for as long as this one lives.
    dir: DataDir,
}

impl Databases {
    /// The journal is told what the store has taken, so that numbers never start over.
    async fn open(
        config: &Config,
        clock: SystemClock,
        telemetry: &Telemetry,
    ) -> Result<Self, AppError> {
        let now = clock.now();
        let dir = DataDir::open(&config.store.path).map_err(AppError::DataDir)?;
        let rows = Rows::open(config, &dir, clock, telemetry).await?;
        let cursor = rows.cursor;
        let (journal, opened) =
            EmbeddedJournal::open(&dir, cursor, now.wall).map_err(AppError::Journal)?;
        report_quarantine(telemetry, opened.database.quarantined.as_deref());
        if let Some(last) = opened.behind_store {
            telemetry.data_loss(DataLoss::SequenceGap, cursor.saturating_sub(last));
            tracing::error!(
                kind = "data_loss",
                "the journal ends at {last}, before what the store has taken ({cursor})"
            );
        }
        let (journal, journal_thread) =
            JournalHandle::spawn(journal, clock).map_err(AppError::Thread)?;
        let checkpoint = journal.load_checkpoint().await.map_err(AppError::Journal)?;
        if checkpoint.dead > 0 {
            telemetry.data_loss(DataLoss::Checksum, checkpoint.dead);
            tracing::error!(
                kind = "data_loss",
                "{} entries of the checkpoint were damaged; those agents start anew",
                checkpoint.dead
            );
        }
        let mut threads = vec![journal_thread];
        threads.extend(rows.thread);
        Ok(Self {
            journal,
            store: rows.store,
            windows: rows.windows,
            checkpoint: checkpoint.entries,
            threads,
            dir,
        })
    }
}

fn report_quarantine(telemetry: &Telemetry, quarantined: Option<&std::path::Path>) {
    if let Some(path) = quarantined {
        telemetry.data_loss(DataLoss::Quarantine, 1);
        tracing::error!(
            kind = "data_loss",
            "a database could not be read and was set aside as {}; a new one was begun",
            path.display()
        );
    }
}

/// Gauges of backlog and size, and retention.
async fn upkeep(
    journal: JournalHandle,
    store: StoreHandle,
    telemetry: Arc<Telemetry>,
    clock: SystemClock,
    retention: watch::Receiver<Millis>,
) {
    let mut gauges = tokio::time::interval(GAUGES_EVERY);
    gauges.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut prune = tokio::time::interval(PRUNE_EVERY);
    prune.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = gauges.tick() => {
                // The backlog first: it is what grows while the store does not answer.
                let kept = journal.status().await;
                if let Ok(kept) = &kept {
                    telemetry.event_queue(kept.depth, kept.oldest);
                }
                match (kept, store.status().await) {
                    (Ok(kept), Ok(store)) => {
                        telemetry.store_size(kept.size_bytes + store.size_bytes);
                    }
                    (Err(error), _) => fail(&telemetry, StoreOperation::Maintain, &error),
                    (_, Err(error)) => fail(&telemetry, StoreOperation::Maintain, &error),
                }
            }
            _ = prune.tick() => {
                let kept_for = *retention.borrow();
                if let Err(error) = store.prune(clock.now().wall - kept_for).await {
                    fail(&telemetry, StoreOperation::Prune, &error);
                }
            }
        }
    }
}

fn fail(telemetry: &Telemetry, operation: StoreOperation, error: &(dyn Error + 'static)) {
    telemetry.store_error(operation);
    tracing::error!(kind = operation.label(), error = %chain(error), "the database failed");
}

/// Counts what the consumer does.
pub(crate) struct Observer {
    /// Where.
    pub(crate) telemetry: Arc<Telemetry>,
}

impl ConsumerObserver for Observer {
    fn batch(&mut self, took: Millis, fetched: Fetched, committed: &CommitReport) {
        let telemetry = &self.telemetry;
        telemetry.batch(took.as_secs_f64());
        telemetry.events(EventResult::Stored, committed.stored);
        telemetry.events(EventResult::Duplicate, committed.duplicate);
        telemetry.events(EventResult::Corrected, committed.corrected);
        telemetry.events(EventResult::Dead, committed.dead);
        telemetry.windows(WindowResult::Written, committed.written);
        telemetry.windows(WindowResult::Revised, committed.revised);
        telemetry.windows(WindowResult::Volatile, committed.volatile_rows);
        telemetry.data_loss(DataLoss::Checksum, fetched.dead + committed.quarantined);
        telemetry.data_loss(DataLoss::SequenceGap, fetched.missing);
        telemetry.data_loss(DataLoss::DeadLetter, committed.dead);
    }

    fn store_error(&mut self, operation: &'static str, error: &(dyn Error + 'static)) {
        let operation = match operation {
            "commit" => StoreOperation::Commit,
            _ => StoreOperation::Read,
        };
        fail(&self.telemetry, operation, error);
    }

    fn depth(&mut self, status: JournalStatus) {
        self.telemetry.event_queue(status.depth, status.oldest);
    }
}
