//! The composition root: builds every part from a [`Config`], runs them, and ends them in order.
//!
//! Sockets, clock and the stop signal come in as arguments, so that tests and the demo run the
//! very same thing.

mod databases;
mod file_system;
mod polling;
mod queue;
mod reload;
mod rows;
mod unit;
mod unlinked;
mod upkeep;
mod windows;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::clock::SystemClock;
use crate::config::Config;
use crate::expose::otlp::{OtlpError, Push, Running, Source};
use crate::expose::{Access, AccessError, Front, Limits, Pages, ReloadAsk, ServerState};
use crate::journal::{DataDirError, JournalError, NatsError};
use crate::model::time::UnixMillis;
use crate::reconciler::checkpoint::CheckpointError;
use crate::store::{ConsumeError, PostgresError, RemoteWriteError, StoreError};
use crate::telemetry::{BuildInfo, Telemetry};
use crate::upstream::ClientError;

pub use self::file_system::NetworkFileSystem;
pub(crate) use self::queue::Observer;
use self::reload::Reloader;
pub use self::reload::{Loader, LogSwitch, Reloading};
use self::unit::{Unit, span};

/// Reloads that may be asked for while one is under way; more are told to come again.
const RELOADS_WAITING_MAX: usize = 4;

/// Why the exporter cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The data directory.
    #[error("cannot use the data directory")]
    DataDir(#[source] DataDirError),
    /// Its file system.
    #[error("cannot use the data directory")]
    FileSystem(#[source] NetworkFileSystem),
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
    /// NATS.
    #[error("cannot reach the queue")]
    Nats(#[source] NatsError),
    /// The push of metrics.
    #[error("cannot push metrics by OTLP")]
    Otlp(#[source] OtlpError),
    /// The system gives no thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The consumer ended.
    #[error("the consumer of the journal ended")]
    Consume(#[source] ConsumeError),
    /// An open database has no file any more.
    #[error(
        "{} was deleted or replaced while it was open, and what is written to it would be lost; find out what did that, put the file back if there is a copy, and start the exporter again", path.display()
    )]
    Unlinked {
        /// Where the file was.
        path: PathBuf,
    },
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
    /// One for each organisation; at least one.
    units: Vec<Unit>,
    server: Arc<ServerState>,
    /// What is counted about the process.
    process: Arc<Telemetry>,
    push: Option<Push>,
    reloader: Reloader,
    reloads: mpsc::Sender<ReloadAsk>,
}

impl App {
    /// Opens the data directories and builds every part; no request is sent yet.
    ///
    /// # Errors
    /// [`AppError`] with the remedy in its chain.
    pub async fn build(config: Config, clock: SystemClock) -> Result<Self, AppError> {
        let now = clock.now();
        let organisations = config.organisations();
        let mut push = push(&config, &organisations)?;
        let (process, telemetries) = telemetries(&organisations, push.as_ref());
        process.config_accepted(now.wall);
        let access = access(&config, now.wall)?;
        process.web_certificate(access.certificate_ends());
        let (retention, kept_for) = watch::channel(config.store.retention);
        let several = organisations.len() > 1;
        let mut units = Vec::with_capacity(organisations.len());
        for (own, telemetry) in organisations.iter().zip(telemetries) {
            let unit = Unit::build(own, telemetry, clock, kept_for.clone());
            units.push(unit.instrument(span(&own.source.name, several)).await?);
        }
        if let Some(push) = &mut push {
            let first = usize::from(several);
            for (at, unit) in units.iter().enumerate() {
                if let Some(view) = unit.restored(clock) {
                    push.count_from(first + at, &view);
                }
            }
        }
        let (reloads, asks) = mpsc::channel(RELOADS_WAITING_MAX);
        let server = Arc::new(ServerState::new(
            units.iter().map(|unit| unit.served.clone()).collect(),
            Arc::clone(&process),
            clock,
            front(&config, &access, &reloads),
            Limits::default(),
        ));
        let reloader = Reloader::new(asks, access, &units, &process, retention, clock);
        Ok(Self {
            units,
            server,
            process,
            push,
            reloader,
            reloads,
        })
    }

    /// The same, reading its configuration again when asked. What is sent to the channel asks.
    #[must_use]
    pub fn reloading(mut self, reloading: Reloading) -> (Self, mpsc::Sender<ReloadAsk>) {
        self.reloader.reloading = Some(reloading);
        let reloads = self.reloads.clone();
        (self, reloads)
    }

    /// What others may hold on to, of the first organisation.
    pub fn handles(&self) -> Handles {
        self.units[0].handles()
    }

    /// Runs until `stop` turns true; then drains: the last append, the journal, open answers.
    ///
    /// # Errors
    /// If a part ends by itself, which is a failure of the whole.
    pub async fn run(
        self,
        listeners: Vec<TcpListener>,
        stop: watch::Receiver<bool>,
    ) -> Result<(), AppError> {
        let mut servers = JoinSet::new();
        for listener in listeners {
            let state = Arc::clone(&self.server);
            servers.spawn(crate::expose::serve(listener, state, stop.clone()));
        }
        servers.spawn(crate::expose::make_ahead(
            Arc::clone(&self.server),
            stop.clone(),
        ));
        let (polling, asked) = mpsc::channel(1);
        let sources = sources(&self.units, &self.process);
        let push = start(self.push, sources, nothing_more(asked))?;
        let reloader = tokio::spawn(self.reloader.run(stop.clone()));
        let several = self.units.len() > 1;
        let mut units = JoinSet::new();
        for unit in self.units {
            let span = span(&unit.served.name, several);
            let runs = unit.run(stop.clone(), polling.clone());
            units.spawn(Box::pin(runs).instrument(span));
        }
        drop(polling);
        while let Some(ended) = units.join_next().await {
            let part = "an organisation";
            let ended = ended.unwrap_or(Err(AppError::Died { part }));
            if ended.is_err() {
                reloader.abort();
                return ended;
            }
        }
        reloader.abort();
        while servers.join_next().await.is_some() {}
        if let Some(push) = push {
            push.ended().await;
        }
        Ok(())
    }
}

/// Turns true once all who hold the other end have let go of it.
fn nothing_more(mut held: mpsc::Receiver<()>) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        while held.recv().await.is_some() {}
        // Nobody waits for it if nothing is pushed.
        let _ = sender.send(true);
    });
    receiver
}

/// What is counted about the process, and about each organisation. Of one, both are the same.
fn telemetries(
    organisations: &[Config],
    push: Option<&Push>,
) -> (Arc<Telemetry>, Vec<Arc<Telemetry>>) {
    let build = BuildInfo::current();
    let meter = |source| push.map(|push| push.meter(source));
    if organisations.len() == 1 {
        let only = Arc::new(Telemetry::recording(build, meter(0).as_ref()));
        return (Arc::clone(&only), vec![only]);
    }
    let each = organisations.iter().enumerate().map(|(at, own)| {
        let meter = meter(at + 1);
        Arc::new(Telemetry::of_organisation(
            build,
            meter.as_ref(),
            &own.source.name,
        ))
    });
    (Arc::new(Telemetry::of_process(build)), each.collect())
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

/// The push, if there is somewhere to push to. Of several organisations, the process comes first.
fn push(config: &Config, organisations: &[Config]) -> Result<Option<Push>, AppError> {
    let port = config.web.listen.first().map_or(0, SocketAddr::port);
    let Some(otlp) = &config.otlp else {
        return Ok(None);
    };
    let mut orgs = vec![None];
    if organisations.len() > 1 {
        orgs.extend(organisations.iter().map(|own| Some(&*own.source.name)));
    }
    let push = Push::new(otlp, port, &orgs).map_err(AppError::Otlp)?;
    tracing::info!(endpoint = %otlp.endpoint, "pushing metrics by OTLP");
    Ok(Some(push))
}

/// What is pushed, in the same order.
fn sources(units: &[Unit], process: &Arc<Telemetry>) -> Vec<Source> {
    let of_process = (units.len() > 1).then(|| Source {
        pages: None,
        telemetry: Arc::clone(process),
    });
    let each = units.iter().map(|unit| Source {
        pages: Some(Arc::clone(&unit.served.pages)),
        telemetry: Arc::clone(&unit.served.telemetry),
    });
    of_process.into_iter().chain(each).collect()
}

fn start(
    push: Option<Push>,
    sources: Vec<Source>,
    stop: watch::Receiver<bool>,
) -> Result<Option<Running>, AppError> {
    let running = push.map(|push| push.start(sources, stop));
    running.transpose().map_err(AppError::Thread)
}
