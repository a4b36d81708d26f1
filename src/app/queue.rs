//! How events travel from who polls to who stores: starts whoever moves them, and counts what they
//! do.

use std::error::Error;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::databases::Databases;
use super::upkeep::fail;
use super::{AppError, Handles};
use crate::catalog::{DataLoss, EventResult, StoreOperation, WindowResult};
use crate::clock::SystemClock;
use crate::config::{Config, QueueKind, Role};
use crate::expose::{Duty, Pulse};
use crate::journal::{JournalHandle, JournalStatus, NatsLink, Relay, RelayObserver, Standing};
use crate::model::error::chain;
use crate::model::time::Millis;
use crate::store::{
    AggregatorObserver, CommitReport, ConsumeError, ConsumerObserver, Fetched, StoreHandle,
    aggregate, consume,
};
use crate::telemetry::Telemetry;

/// What moves events here, not running yet.
pub(super) struct Movers {
    /// Where the journal is, if there is one, and who it is to others.
    journal: Option<JournalHandle>,
    store: Option<StoreHandle>,
    /// The queue that all instances share; `None`: the journal is the queue.
    nats: Option<(NatsLink, Option<Standing>)>,
    batch_size: usize,
    role: Role,
    clock: SystemClock,
    telemetry: Arc<Telemetry>,
    pulse: Arc<Pulse>,
}

/// Whoever moves events, running.
pub(super) struct Moving {
    parts: Vec<(&'static str, JoinHandle<Result<(), ConsumeError>>)>,
}

/// The queue that the configuration names.
pub(super) async fn connect(
    config: &Config,
    journal: Option<&JournalHandle>,
    checkpoint: &[(String, String)],
) -> Result<Option<(NatsLink, Option<Standing>)>, AppError> {
    let QueueKind::Nats(nats) = &config.queue.kind else {
        return Ok(None);
    };
    let link = NatsLink::connect(nats, &config.source.name).await;
    let link = link.map_err(AppError::Nats)?;
    let standing = match journal {
        Some(journal) => {
            let standing = Standing::of(journal, checkpoint).await;
            Some(standing.map_err(AppError::Journal)?)
        }
        None => None,
    };
    tracing::info!(
        servers = nats.servers.join(","),
        stream = nats.stream,
        role = config.role.word(),
        "events travel over NATS"
    );
    Ok(Some((link, standing)))
}

impl Movers {
    pub(super) fn of(
        config: &Config,
        databases: &Databases,
        nats: Option<(NatsLink, Option<Standing>)>,
        handles: &Handles,
        pulse: &Arc<Pulse>,
        clock: SystemClock,
    ) -> Self {
        Self {
            journal: databases.journal.clone(),
            store: databases.store.clone(),
            nats,
            batch_size: config.queue.batch_size,
            role: config.role,
            clock,
            telemetry: Arc::clone(&handles.telemetry),
            pulse: Arc::clone(pulse),
        }
    }

    /// Starts all. `drain` turns true once nothing more is appended.
    pub(super) fn start(self, wake: Arc<Notify>, drain: &watch::Receiver<bool>) -> Moving {
        let only_stores = self.role == Role::Aggregator;
        // Where there is an outbox, it is the whole backlog.
        let tells_depth = only_stores || self.nats.is_none();
        let (telemetry, pulse, clock) = (self.telemetry, self.pulse, self.clock);
        let observer = move || Observer {
            tells_depth,
            sign: only_stores.then(|| (Arc::clone(&pulse), clock)),
            ..Observer::new(Arc::clone(&telemetry))
        };
        let mut parts: Vec<(&'static str, JoinHandle<_>)> = Vec::new();
        let (journal, store) = (&self.journal, &self.store);
        match &self.nats {
            None => {
                if let (Some(journal), Some(store)) = (journal.clone(), store.clone()) {
                    let consumer = consume(
                        journal,
                        store,
                        self.batch_size,
                        self.clock,
                        wake,
                        drain.clone(),
                        observer(),
                    );
                    parts.push(("the consumer", tokio::spawn(consumer.in_current_span())));
                }
            }
            Some((link, standing)) => {
                if let (Some(journal), Some(standing)) = (journal, standing) {
                    let (journal, link, standing) =
                        (journal.clone(), link.clone(), standing.clone());
                    let relay = Relay::new(journal, link, standing, self.clock, observer());
                    let (wake, drain) = (wake, drain.clone());
                    let relay = async move {
                        let ended = relay.run(wake, drain).await;
                        ended.map_err(ConsumeError::Journal)
                    };
                    parts.push(("the relay", tokio::spawn(relay.in_current_span())));
                }
                if let Some(store) = store.clone() {
                    let aggregator = aggregate(
                        link.clone(),
                        store,
                        self.batch_size,
                        self.clock,
                        drain.clone(),
                        observer.clone(),
                    );
                    parts.push(("the aggregator", tokio::spawn(aggregator.in_current_span())));
                }
            }
        }
        Moving { parts }
    }
}

impl Moving {
    /// Waits until one ends by itself, which none should.
    pub(super) async fn died(&mut self) -> AppError {
        let waits = self.parts.iter_mut().map(|(part, task)| {
            let part = *part;
            Box::pin(async move {
                match task.await {
                    Ok(Err(error)) => AppError::Consume(error),
                    _ => AppError::Died { part },
                }
            })
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            return std::future::pending().await;
        }
        futures_util::future::select_all(waits).await.0
    }

    /// Waits until all have drained.
    pub(super) async fn ended(self) -> Result<(), AppError> {
        let mut result = Ok(());
        for (part, task) in self.parts {
            match task.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => result = Err(AppError::Consume(error)),
                Err(_) => result = Err(AppError::Died { part }),
            }
        }
        result
    }
}

/// Counts what those who move events do.
pub(crate) struct Observer {
    telemetry: Arc<Telemetry>,
    /// What waits for it is the whole backlog.
    tells_depth: bool,
    /// Where it shows that this instance lives, if nobody else does.
    sign: Option<(Arc<Pulse>, SystemClock)>,
}

impl Observer {
    /// For whoever moves all that there is.
    pub(crate) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self {
            telemetry,
            tells_depth: true,
            sign: None,
        }
    }

    fn beat(&self, works: bool) {
        if let Some((pulse, clock)) = &self.sign {
            pulse.beat(clock.now().mono);
            if works {
                pulse.take_up(Duty::Stores);
            }
        }
    }
}

impl ConsumerObserver for Observer {
    fn batch(&mut self, took: Millis, fetched: Fetched, committed: &CommitReport) {
        self.beat(true);
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
        self.beat(false);
        let operation = match operation {
            "commit" => StoreOperation::Commit,
            _ => StoreOperation::Read,
        };
        fail(&self.telemetry, operation, error);
    }

    fn depth(&mut self, status: JournalStatus) {
        self.beat(true);
        if self.tells_depth {
            self.telemetry.event_queue(status.depth, status.oldest);
        }
    }
}

impl AggregatorObserver for Observer {
    fn lost(&mut self, records: u64) {
        if records > 0 {
            self.telemetry.data_loss(DataLoss::SequenceGap, records);
            tracing::error!(
                kind = "data_loss",
                "{records} records were published and will never arrive"
            );
        }
    }
}

impl RelayObserver for Observer {
    fn lost(&mut self, dead: u64, refused: u64, missing: u64) {
        self.telemetry.data_loss(DataLoss::Checksum, dead);
        self.telemetry.data_loss(DataLoss::DeadLetter, refused);
        self.telemetry.data_loss(DataLoss::SequenceGap, missing);
        tracing::error!(
            kind = "data_loss",
            "of the outbox, {dead} records are damaged, {refused} too large for the broker and {missing} gone"
        );
    }

    fn failed(&mut self, error: &(dyn Error + 'static)) {
        self.telemetry.store_error(StoreOperation::Publish);
        tracing::error!(
            kind = "publish",
            error = %chain(error),
            "events could not be published; the outbox keeps them"
        );
    }

    fn depth(&mut self, status: JournalStatus) {
        self.telemetry.event_queue(status.depth, status.oldest);
    }
}
