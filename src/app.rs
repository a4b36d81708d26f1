//! The composition root: builds every part from a [`Config`], runs them, and ends them in order.
//!
//! Sockets, clock and the stop signal come in as arguments, so that tests and the demo run the
//! very same thing.

mod databases;
mod polling;
mod queue;
mod reload;
mod rows;
mod upkeep;
mod windows;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::SystemClock;
use crate::config::Config;
use crate::expose::otlp::{OtlpError, Push, Running, Sources};
use crate::expose::{
    Access, AccessError, Duty, Front, Limits, Pages, Pulse, ReloadAsk, ServerState,
};
use crate::journal::{DataDir, DataDirError, JournalError, NatsError};
use crate::model::time::UnixMillis;
use crate::reconciler::checkpoint::CheckpointError;
use crate::store::{ConsumeError, PostgresError, RemoteWrite, RemoteWriteError, StoreError};
use crate::telemetry::{BuildInfo, Telemetry};
use crate::upstream::ClientError;

use self::databases::Databases;
use self::polling::{Place, Polling, Work};
use self::queue::Movers;
pub(crate) use self::queue::Observer;
use self::upkeep::Upkeep;

use self::reload::Reloader;
pub use self::reload::{Loader, LogSwitch, Reloading};

/// Reloads that may be asked for while one is under way; more are told to come again.
const RELOADS_WAITING_MAX: usize = 4;

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
    work: Work,
    movers: Movers,
    upkeep: Upkeep,
    wake: Arc<Notify>,
    server: Arc<ServerState>,
    handles: Handles,
    push: Option<Push>,
    remote_write: Option<RemoteWrite>,
    threads: Vec<thread::JoinHandle<()>>,
    dir: Option<DataDir>,
    reloader: Reloader,
    reloads: mpsc::Sender<ReloadAsk>,
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
        let databases = Databases::open(&config, clock, &telemetry).await?;
        let remote_write = windows::remote_write(&config, &databases)?;
        let journal = databases.journal.as_ref();
        let nats = queue::connect(&config, journal, &databases.checkpoint).await?;
        let pages = Arc::new(Pages::new(config.per_agent.clone()));
        let (reloads, asks) = mpsc::channel(RELOADS_WAITING_MAX);
        let pulse = Arc::new(Pulse::new());
        let server = Arc::new(ServerState::new(
            Arc::clone(&pages),
            Arc::clone(&telemetry),
            Arc::clone(&databases.windows),
            Arc::clone(&pulse),
            clock,
            front(&config, &access, &reloads),
            Limits::default(),
        ));
        let (reconfigure, configurations) = mpsc::channel(1);
        let (retention, kept_for) = watch::channel(config.store.retention);
        let wake = Arc::new(Notify::new());
        let handles = Handles { pages, telemetry };
        let movers = Movers::of(&config, &databases, nats.clone(), &handles, &pulse, clock);
        let upkeep = Upkeep::of(&databases, &handles, clock, kept_for);
        let work = if let Some(journal) = databases.journal {
            let place = Place {
                journal,
                checkpoint: databases.checkpoint,
                nats: nats.as_ref(),
                wake: Arc::clone(&wake),
                handles: &handles,
                pulse,
                clock,
            };
            let polling = Polling::build(&config, place, configurations)?;
            if let Some(push) = &mut push {
                push.count_from(&polling.driver.pipeline.view(now));
            }
            Work::Polls(Box::new(polling))
        } else {
            pulse.take_up(Duty::WillStore);
            handles.telemetry.leader(false);
            Work::Stores(configurations)
        };
        let reloader = Reloader::new(asks, access, reconfigure, &handles, retention, clock);
        Ok(Self {
            work,
            movers,
            upkeep,
            wake,
            server,
            handles,
            push,
            remote_write,
            threads: databases.threads,
            dir: databases.dir,
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
        // Whoever moves events ends after the driver, so that it takes the last append.
        let (drained, drain) = watch::channel(false);
        let mut servers = self.serve(listeners, &stop);
        let push = start(self.push, &self.handles, drain.clone())?;
        let upkeep = tokio::spawn(self.upkeep.run());
        let reloader = tokio::spawn(self.reloader.run(stop.clone()));
        let sending = windows::start(self.remote_write, &self.handles.telemetry, &stop);
        let mut polling = self.work.start(stop.clone());
        let mut moving = self.movers.start(self.wake, &drain);
        let ended = tokio::select! {
            // The stop first: whoever hears it earlier than we do has not died.
            biased;
            _ = stop.wait_for(|stopped| *stopped) => None,
            ended = &mut polling => Some(match ended {
                Ok(Err(error)) => error,
                _ => AppError::Died { part: "the driver" },
            }),
            died = moving.died() => Some(died),
        };
        upkeep.abort();
        reloader.abort();
        if let Some(error) = ended {
            return Err(error);
        }
        let polled = polling.await;
        // The receivers are gone only if those who move events have ended by themselves.
        let _ = drained.send(true);
        let moved = moving.ended().await;
        while servers.join_next().await.is_some() {}
        if let Some(push) = push {
            push.ended().await;
        }
        windows::end(sending).await;
        // Aborted, it lets go of the databases once it is gone.
        let _ = upkeep.await;
        let joined = joined(self.threads, self.dir);
        match polled {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(AppError::Died { part: "the driver" }),
        }
        moved?;
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
fn joined(
    threads: Vec<thread::JoinHandle<()>>,
    dir: Option<DataDir>,
) -> tokio::task::JoinHandle<bool> {
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
