//! Who polls: always this instance, or only while it holds the lease.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::reload::Reconfigure;
use super::{AppError, Handles};
use crate::clock::SystemClock;
use crate::config::{Config, PipelineConfig, Role};
use crate::driver::Driver;
use crate::expose::{Duty, Pulse};
use crate::journal::{JournalHandle, Kept, Leadership, NatsLink, Standing};
use crate::model::time::Millis;
use crate::pipeline::Pipeline;
use crate::upstream::Client;

/// Shortest and longest time that a lease holds. With a poll each fifteen seconds whoever follows
/// has it after fifteen seconds and a snapshot well before thirty: two intervals.
const LEASE_MIN: Millis = Millis::from_secs(3);
const LEASE_MAX: Millis = Millis::from_secs(15);

/// A standby shows this often that it is alive.
const BEAT_EVERY: Millis = Millis::from_secs(5);

/// The driver, and what it waits for.
pub(super) struct Polling {
    pub(super) driver: Driver,
    config: PipelineConfig,
    /// `None`: there is nobody else.
    leadership: Option<Leadership>,
}

/// What a driver is built into.
pub(super) struct Place<'p> {
    pub(super) journal: JournalHandle,
    pub(super) checkpoint: Vec<(String, String)>,
    pub(super) nats: Option<&'p (NatsLink, Option<Standing>)>,
    pub(super) wake: Arc<Notify>,
    pub(super) handles: &'p Handles,
    pub(super) pulse: Arc<Pulse>,
    pub(super) clock: SystemClock,
}

/// The lease of pollers. An instance that does everything is the only one: it polls whether NATS
/// is there or not.
fn leadership(
    nats: Option<&(NatsLink, Option<Standing>)>,
    role: Role,
    config: &PipelineConfig,
    driver: &mut Driver,
) -> Option<Leadership> {
    let (link, standing) = nats.filter(|_| role == Role::Poller)?;
    let standing = standing.as_ref()?;
    let (spent, told) = watch::channel(String::new());
    let ttl = config.poll_interval.max(LEASE_MIN).min(LEASE_MAX);
    let leadership = Leadership::new(link.clone(), standing.name(), ttl, driver.clock, told);
    driver.permit = Some((leadership.permit(), spent));
    Some(leadership)
}

/// What is done about the platform here.
pub(super) enum Work {
    /// It is asked.
    Polls(Box<Polling>),
    /// Others ask it: every configuration is taken for good.
    Stores(mpsc::Receiver<Reconfigure>),
}

impl Work {
    pub(super) fn start(self, stop: watch::Receiver<bool>) -> JoinHandle<Result<(), AppError>> {
        match self {
            Self::Polls(polling) => tokio::spawn(Box::pin(polling.run(stop)).in_current_span()),
            Self::Stores(configurations) => tokio::spawn(idle(configurations, stop)),
        }
    }
}

async fn idle(
    mut configurations: mpsc::Receiver<Reconfigure>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), AppError> {
    loop {
        tokio::select! {
            // Its guard must not be held while another arm waits.
            () = async { drop(stop.wait_for(|stopped| *stopped).await); } => return Ok(()),
            Some((_, done)) = configurations.recv() => {
                // Whoever asked may have gone.
                let _ = done.send(());
            }
        }
    }
}

impl Polling {
    /// Nothing is asked yet.
    pub(super) fn build(
        config: &Config,
        place: Place<'_>,
        configurations: mpsc::Receiver<Reconfigure>,
    ) -> Result<Self, AppError> {
        let clock = place.clock;
        let client = Client::new(&config.source, env!("CARGO_PKG_VERSION"));
        let pipeline = Pipeline::new(config.pipeline.clone(), place.checkpoint, clock.now());
        let pipeline = pipeline.map_err(AppError::Checkpoint)?;
        let mut driver = Driver {
            pipeline: pipeline.with_stopwatch(Arc::new(move || clock.seconds())),
            client: Arc::new(client.map_err(AppError::Client)?),
            api_url: config.source.api_url.clone(),
            journal: place.journal,
            wake: place.wake,
            pages: Arc::clone(&place.handles.pages),
            telemetry: Arc::clone(&place.handles.telemetry),
            pulse: place.pulse,
            clock,
            configurations,
            permit: None,
        };
        Ok(Self {
            leadership: leadership(place.nats, config.role, &config.pipeline, &mut driver),
            driver,
            config: config.pipeline.clone(),
        })
    }

    async fn run(mut self: Box<Self>, mut stop: watch::Receiver<bool>) -> Result<(), AppError> {
        let Some(mut leadership) = self.leadership.take() else {
            self.driver.run(stop).await;
            return Ok(());
        };
        loop {
            let won = self.stand_by(&mut leadership, &mut stop).await;
            let Some((revision, spent)) = won else {
                return Ok(());
            };
            self.take_over(spent).await?;
            tracing::info!(kind = "lease", "this instance polls");
            let (halt, halted) = watch::channel(false);
            let keeper = tokio::spawn({
                let stop = stop.clone();
                async move {
                    let kept = leadership.keep(revision, stop).await;
                    // The driver is there: it ends by this alone.
                    let _ = halt.send(true);
                    (leadership, kept)
                }
                .in_current_span()
            });
            self.driver.run(halted).await;
            let kept = keeper.await;
            let (kept_by, kept) = kept.map_err(|_| AppError::Died { part: "the lease" })?;
            leadership = kept_by;
            if kept == Kept::Stopped {
                leadership.release().await;
                return Ok(());
            }
            self.step_down();
        }
    }

    /// Another may poll by now: what this instance knew is for later, and shown no more.
    fn step_down(&mut self) {
        tracing::error!(
            kind = "lease",
            "the lease of pollers was lost: NATS was out of reach for too long, or another instance polls"
        );
        self.driver.pages.publish(Arc::default());
    }

    /// Waits for the lease; `None`: we were told to stop.
    async fn stand_by(
        &mut self,
        leadership: &mut Leadership,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<(u64, Option<String>)> {
        let driver = &mut self.driver;
        driver.pulse.take_up(Duty::StandsBy);
        driver.telemetry.leader(false);
        tracing::info!(kind = "lease", "standing by until no other instance polls");
        let mut acquired = std::pin::pin!(leadership.acquire());
        let mut beat = tokio::time::interval(BEAT_EVERY.to_duration());
        loop {
            tokio::select! {
                () = async { drop(stop.wait_for(|stopped| *stopped).await); } => return None,
                won = &mut acquired => return Some(won),
                Some((config, done)) = driver.configurations.recv() => {
                    self.config = config;
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
                _ = beat.tick() => driver.pulse.beat(driver.clock.now().mono),
            }
        }
    }

    /// A pipeline that starts now, and counts what whoever polled before has spent.
    async fn take_over(&mut self, spent: Option<String>) -> Result<(), AppError> {
        let driver = &mut self.driver;
        let clock = driver.clock;
        let checkpoint = driver.journal.load_checkpoint().await;
        let checkpoint = checkpoint.map_err(AppError::Journal)?.entries;
        let now = clock.now();
        let pipeline = Pipeline::new(self.config.clone(), checkpoint, now);
        let mut pipeline = pipeline.map_err(AppError::Checkpoint)?;
        if let Some(spent) = spent.filter(|spent| !spent.is_empty()) {
            // Of another version, it is not known; a minute's budget is at stake, not the start.
            if let Err(error) = pipeline.also_spent(&spent, now) {
                tracing::warn!(kind = "lease", %error, "what was spent before is not known");
            }
        }
        driver.pipeline = pipeline.with_stopwatch(Arc::new(move || clock.seconds()));
        // Said at once: were this one gone before its first request, whoever follows must count what
        // was spent before it, too.
        driver.tell_spent();
        driver.pulse.take_up(Duty::Polls);
        driver.telemetry.leader(true);
        Ok(())
    }
}
