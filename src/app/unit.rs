//! One organisation: an exporter of its own behind the front that all share. What happens to one
//! touches no other, but for its end: an exporter that has lost a part ends as a whole.

use std::sync::Arc;
use std::thread;

use tokio::sync::{Notify, mpsc, watch};
use tracing::{Instrument as _, Span};

use super::databases::Databases;
use super::polling::{Place, Polling, Work};
use super::queue::{self, Movers};
use super::reload::Reconfigure;
use super::upkeep::Upkeep;
use super::{AppError, Handles, windows};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::expose::{Duty, Pages, Pulse, Served};
use crate::journal::DataDir;
use crate::model::time::Millis;
use crate::model::view::View;
use crate::store::RemoteWrite;
use crate::telemetry::Telemetry;

/// An organisation, built and not yet running.
pub(super) struct Unit {
    /// What is served of it.
    pub(super) served: Served,
    /// Takes another configuration for the pipeline.
    pub(super) reconfigure: mpsc::Sender<Reconfigure>,
    work: Work,
    movers: Movers,
    upkeep: Upkeep,
    wake: Arc<Notify>,
    remote_write: Option<RemoteWrite>,
    threads: Vec<thread::JoinHandle<()>>,
    dir: Option<DataDir>,
}

impl Unit {
    /// Opens its data directory and builds its parts; no request is sent yet.
    pub(super) async fn build(
        config: &Config,
        telemetry: Arc<Telemetry>,
        clock: SystemClock,
        kept_for: watch::Receiver<Millis>,
    ) -> Result<Self, AppError> {
        let mut databases = Databases::open(config, clock, &telemetry).await?;
        let remote_write = windows::remote_write(config, &databases)?;
        let journal = databases.journal.as_ref();
        let nats = queue::connect(config, journal, &databases.checkpoint).await?;
        let handles = Handles {
            pages: Arc::new(Pages::new(config.per_agent.clone())),
            telemetry,
        };
        let pulse = Arc::new(Pulse::new());
        let served = Served {
            name: config.source.name.as_str().into(),
            pages: Arc::clone(&handles.pages),
            telemetry: Arc::clone(&handles.telemetry),
            windows: Arc::clone(&databases.windows),
            pulse: Arc::clone(&pulse),
        };
        let (reconfigure, configurations) = mpsc::channel(1);
        let wake = Arc::new(Notify::new());
        let movers = Movers::of(config, &databases, nats.clone(), &handles, &pulse, clock);
        let upkeep = Upkeep::of(&mut databases, &handles, clock, kept_for);
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
            Work::Polls(Box::new(Polling::build(config, place, configurations)?))
        } else {
            pulse.take_up(Duty::WillStore);
            handles.telemetry.leader(false);
            Work::Stores(configurations)
        };
        Ok(Self {
            served,
            reconfigure,
            work,
            movers,
            upkeep,
            wake,
            remote_write,
            threads: databases.threads,
            dir: databases.dir,
        })
    }

    /// What it starts from, if it polls.
    pub(super) fn restored(&self, clock: SystemClock) -> Option<View> {
        match &self.work {
            Work::Polls(polling) => Some(polling.driver.pipeline.view(clock.now())),
            Work::Stores(_) => None,
        }
    }

    /// What others may hold on to.
    pub(super) fn handles(&self) -> Handles {
        Handles {
            pages: Arc::clone(&self.served.pages),
            telemetry: Arc::clone(&self.served.telemetry),
        }
    }

    /// Runs until `stop` turns true; then drains: the last append, the journal. `polling` is let go
    /// of once nothing more is asked.
    pub(super) async fn run(
        self,
        mut stop: watch::Receiver<bool>,
        polling: mpsc::Sender<()>,
    ) -> Result<(), AppError> {
        // Whoever moves events ends after the driver, so that it takes the last append.
        let (drained, drain) = watch::channel(false);
        let mut upkeep = tokio::spawn(self.upkeep.run().in_current_span());
        let sending = windows::start(self.remote_write, &self.served.telemetry, &stop);
        let mut working = self.work.start(stop.clone());
        let mut moving = self.movers.start(self.wake, &drain);
        let mut first = None;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stopped| *stopped) => {}
            done = &mut working => first = Some(done),
            died = moving.died() => {
                upkeep.abort();
                return Err(died);
            }
            ended = &mut upkeep => {
                return Err(ended.unwrap_or(AppError::Died { part: "the upkeep" }));
            }
        }
        upkeep.abort();
        let worked = match first {
            // Whoever works may hear the stop a moment before we do, and has not died.
            Some(done) if *stop.borrow() => done,
            Some(Ok(Err(error))) => return Err(error),
            Some(_) => return Err(AppError::Died { part: "the driver" }),
            None => working.await,
        };
        drop(polling);
        // The receivers are gone only if those who move events have ended by themselves.
        let _ = drained.send(true);
        let moved = moving.ended().await;
        windows::end(sending).await;
        // Aborted, it lets go of the databases once it is gone.
        let _ = upkeep.await;
        let joined = joined(self.threads, self.dir);
        match worked {
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

/// Marks what is logged as about an organisation among several.
pub(super) fn span(org: &str, several: bool) -> Span {
    if several {
        // At the level that every log has.
        tracing::error_span!("organisation", org)
    } else {
        Span::none()
    }
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
