//! Reads the configuration again while the exporter runs: whole or not at all.
//!
//! Everything is read and judged first; only then is anything changed, and what is changed
//! cannot fail. A setting that cannot change while the exporter runs refuses the whole reload by
//! name. No state is lost: agents, counters and tokens stay where they are.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::unit::Unit;
use crate::clock::SystemClock;
use crate::config::settings::setting;
use crate::config::{Config, ConfigError, Finding, Loaded, LogConfig, PipelineConfig};
use crate::expose::{Access, AccessError, Pages, ReloadAsk};
use crate::model::error::chain;
use crate::model::time::Millis;
use crate::telemetry::Telemetry;

/// The files of the web configuration are looked at this often: a look costs a few microseconds,
/// and a certificate is in force a second after it was put in place.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads file, environment and flags again.
pub type Loader = Arc<dyn Fn() -> Result<Loaded, ConfigError> + Send + Sync>;

/// Lets a new log configuration hold.
pub type LogSwitch = Box<dyn Fn(LogConfig) + Send + Sync>;

/// How a configuration is read again, and what it is compared with.
pub struct Reloading {
    /// The configuration in force.
    pub loaded: Loaded,
    /// Reads it again.
    pub loader: Loader,
    /// Takes the log's part of it.
    pub log: LogSwitch,
}

/// A new configuration for the pipeline; answered once it holds.
pub(crate) type Reconfigure = (PipelineConfig, oneshot::Sender<()>);

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("the configuration is refused")]
    Config(#[source] ConfigError),
    #[error(
        "{} cannot change while the exporter runs; restart it, or put the old value back",
        settings.join(", ")
    )]
    Restart { settings: Vec<&'static str> },
    #[error("the web configuration is refused")]
    Access(#[source] AccessError),
    #[error("the pipeline has ended")]
    Ended,
    #[error("reading the configuration failed; this is a bug")]
    Died,
}

/// Everything that a new configuration changes.
pub(super) struct Reloader {
    pub(super) reloading: Option<Reloading>,
    asks: mpsc::Receiver<ReloadAsk>,
    access: Arc<Access>,
    /// Of each organisation, in the order of the configuration.
    shown: Vec<(mpsc::Sender<Reconfigure>, Arc<Pages>)>,
    retention: watch::Sender<Millis>,
    telemetry: Arc<Telemetry>,
    clock: SystemClock,
    /// The last configuration that was asked for was refused.
    config_refused: bool,
    /// The web configuration that lies there now was refused.
    access_refused: bool,
}

impl Reloader {
    /// Everything holds as it was built; nothing reads it again yet.
    pub(super) fn new(
        asks: mpsc::Receiver<ReloadAsk>,
        access: Arc<Access>,
        units: &[Unit],
        process: &Arc<Telemetry>,
        retention: watch::Sender<Millis>,
        clock: SystemClock,
    ) -> Self {
        Self {
            reloading: None,
            asks,
            access,
            shown: units
                .iter()
                .map(|unit| (unit.reconfigure.clone(), Arc::clone(&unit.served.pages)))
                .collect(),
            retention,
            telemetry: Arc::clone(process),
            clock,
            config_refused: false,
            access_refused: false,
        }
    }

    /// Reloads when asked, and looks at the files of the web configuration, until `stop` is true.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                // Its guard must not be held while another arm waits.
                () = async { drop(stop.wait_for(|stopped| *stopped).await); } => return,
                Some(ask) = self.asks.recv() => {
                    let answer = self.asked().await;
                    // Whoever asked may have gone.
                    let _ = ask.send(answer);
                }
                _ = look.tick() => self.look().await,
            }
        }
    }

    async fn asked(&mut self) -> Result<String, String> {
        let ended = self.reload().await;
        self.config_refused = ended.is_err();
        match ended {
            Ok(changed) => {
                self.access_refused = false;
                let what = match changed.as_slice() {
                    [] => "nothing in it changed".to_owned(),
                    changed => format!("changed: {}", changed.join(", ")),
                };
                tracing::info!("the configuration was reloaded; {what}");
                self.report();
                Ok(format!("the configuration was reloaded; {what}"))
            }
            Err(error) => {
                let why = chain(&error);
                // In the message, which may be longer than a field: it names every mistake.
                tracing::error!(
                    kind = "reload",
                    "the configuration was not reloaded, the one before stays in force: {why}"
                );
                self.report();
                Err(why)
            }
        }
    }

    /// Paths of the settings that changed.
    async fn reload(&mut self) -> Result<Vec<&'static str>, ReloadError> {
        let Some(reloading) = &self.reloading else {
            return Err(ReloadError::Ended);
        };
        let read = Arc::clone(&reloading.loader);
        let loaded = tokio::task::spawn_blocking(move || read())
            .await
            .map_err(|_| ReloadError::Died)?
            .map_err(ReloadError::Config)?;
        let changed = reloading.loaded.effective.differences(&loaded.effective);
        let fixed = |path: &&&'static str| !setting(path).is_some_and(|setting| setting.live);
        let settings: Vec<&'static str> = changed.iter().filter(fixed).copied().collect();
        if !settings.is_empty() {
            return Err(ReloadError::Restart { settings });
        }
        // The last thing that can be refused.
        let warnings = self.read_access(&loaded.config).await?;
        warn(loaded.warnings.iter().chain(&warnings));
        self.apply(&loaded.config).await?;
        if let Some(reloading) = &mut self.reloading {
            (reloading.log)(loaded.config.log);
            reloading.loaded = loaded;
        }
        Ok(changed)
    }

    async fn read_access(&self, config: &Config) -> Result<Vec<Finding>, ReloadError> {
        let (access, path) = (Arc::clone(&self.access), config.web.config_file.clone());
        let now = self.clock.now().wall;
        tokio::task::spawn_blocking(move || access.reload(path.as_deref(), now))
            .await
            .map_err(|_| ReloadError::Died)?
            .map_err(ReloadError::Access)
    }

    async fn apply(&self, config: &Config) -> Result<(), ReloadError> {
        // As many and in the same order: which organisations there are does not change.
        for ((pipeline, pages), own) in self.shown.iter().zip(config.organisations()) {
            let (done, taken) = oneshot::channel();
            let sent = pipeline.send((own.pipeline, done)).await;
            sent.map_err(|_| ReloadError::Ended)?;
            taken.await.map_err(|_| ReloadError::Ended)?;
            pages.set_per_agent(own.per_agent);
        }
        self.retention.send_replace(config.store.retention);
        Ok(())
    }

    /// Takes in what changed in the files of the web configuration.
    async fn look(&mut self) {
        let (access, now) = (Arc::clone(&self.access), self.clock.now().wall);
        let looked = tokio::task::spawn_blocking(move || access.refresh(now)).await;
        match looked {
            Ok(None) | Err(_) => return,
            Ok(Some(Ok(warnings))) => {
                warn(warnings.iter());
                self.access_refused = false;
                tracing::info!("the web configuration was read again");
            }
            Ok(Some(Err(error))) => {
                self.access_refused = true;
                tracing::error!(
                    kind = "web_config",
                    "the web configuration was not read again, the one before stays in force: {}",
                    chain(&error)
                );
            }
        }
        self.report();
    }

    fn report(&self) {
        self.telemetry
            .web_certificate(self.access.certificate_ends());
        if self.config_refused || self.access_refused {
            self.telemetry.config_refused();
        } else {
            self.telemetry.config_accepted(self.clock.now().wall);
        }
    }
}

fn warn<'a>(warnings: impl Iterator<Item = &'a Finding>) {
    for warning in warnings {
        tracing::warn!(kind = "configuration", "{warning}");
    }
}
