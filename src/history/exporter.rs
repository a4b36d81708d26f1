//! The exporter of a history: pipeline, journal, store and counters as the composition root joins
//! them, without sockets, threads or a clock. Decides nothing.

use std::path::Path;
use std::sync::Arc;

use super::machine::Machine;
use crate::app::Observer;
use crate::catalog::EventResult;
use crate::config::{Config, PerAgent};
use crate::effect::Append;
use crate::expose::{SeriesNames, of_registry, of_view};
use crate::journal::{DataDir, DataDirError, EmbeddedJournal, JournalError, JournalStatus};
use crate::model::event::JournalRecord;
use crate::model::time::{Millis, Now, UnixMillis};
use crate::model::view::View;
use crate::pipeline::Pipeline;
use crate::reconciler::checkpoint::CheckpointError;
use crate::simulator::org::OrgError;
use crate::store::{ConsumerObserver as _, Fetched, SqliteStore, StoreError, StoreSettings};
use crate::telemetry::{BuildInfo, Telemetry};

use super::columns::Recording;

/// Why there is no history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The organisation cannot be made up.
    #[error("cannot make the simulated organisation")]
    Organisation(#[source] OrgError),
    /// The scratch directory.
    #[error("cannot use the scratch directory")]
    Scratch(#[source] DataDirError),
    /// The journal in it.
    #[error("the simulated exporter's journal failed")]
    Journal(#[source] JournalError),
    /// The store in it.
    #[error("the simulated exporter's store failed")]
    Store(#[source] StoreError),
    /// A fresh journal has no checkpoint that could be refused.
    #[error("cannot start the simulated exporter")]
    Checkpoint(#[source] CheckpointError),
    /// Somebody stopped it.
    #[error("stopped before the end")]
    Stopped,
}

/// The exporter.
pub(super) struct Exporter {
    pub(super) pipeline: Pipeline,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) view: Arc<View>,
    started: UnixMillis,
    observer: Observer,
    journal: EmbeddedJournal,
    store: SqliteStore,
    batch_size: usize,
    per_agent: PerAgent,
    _dir: DataDir,
}

impl Exporter {
    /// Its databases go into `scratch`, and nobody needs them afterwards.
    pub(super) fn start(
        config: &Config,
        scratch: &Path,
        machine: &Machine,
        now: Now,
    ) -> Result<Self, HistoryError> {
        let dir = DataDir::open(scratch).map_err(HistoryError::Scratch)?;
        let (store, _) = SqliteStore::open(&dir, StoreSettings::of(&config.pipeline), now.wall)
            .map_err(HistoryError::Store)?;
        store.forgo_durability().map_err(HistoryError::Store)?;
        let (journal, _) =
            EmbeddedJournal::open(&dir, 0, now.wall).map_err(HistoryError::Journal)?;
        journal.forgo_durability().map_err(HistoryError::Journal)?;
        let pipeline = Pipeline::new(config.pipeline.clone(), Vec::new(), now)
            .map_err(HistoryError::Checkpoint)?
            .with_stopwatch(machine.stopwatch());
        let telemetry = Arc::new(Telemetry::without_process(BuildInfo::current()));
        telemetry.config_accepted(now.wall);
        Ok(Self {
            pipeline,
            view: Arc::default(),
            started: now.wall,
            observer: Observer::new(Arc::clone(&telemetry)),
            telemetry,
            journal,
            store,
            batch_size: config.queue.batch_size,
            per_agent: config.per_agent.clone(),
            _dir: dir,
        })
    }

    /// An append has become durable.
    pub(super) fn appended(&mut self, append: &Append, now: Now) -> Result<(), HistoryError> {
        self.journal
            .append(&append.records, &append.checkpoint, now.wall)
            .map_err(HistoryError::Journal)?;
        let events = append.records.iter();
        let events = events.filter(|record| matches!(record, JournalRecord::Event(_)));
        let events = events.count() as u64;
        self.telemetry.events(EventResult::Published, events);
        Ok(())
    }

    /// Stores a batch that took so long; says whether there was anything to do.
    pub(super) fn batch(&mut self, took: Millis) -> Result<bool, HistoryError> {
        let fetched = self.journal.fetch(0, self.batch_size);
        let fetched = fetched.map_err(HistoryError::Journal)?;
        let brought = Fetched {
            records: fetched.records.len(),
            dead: fetched.dead,
            missing: fetched.missing,
        };
        if fetched.through <= fetched.acknowledged {
            return Ok(false);
        }
        let committed = self.store.commit(&fetched.records);
        let committed = committed.map_err(HistoryError::Store)?;
        self.journal
            .acknowledge(fetched.through)
            .map_err(HistoryError::Journal)?;
        self.observer.batch(took, brought, &committed);
        let status = self.status()?;
        self.observer.depth(status);
        Ok(true)
    }

    /// Deletes what is older than the retention.
    pub(super) fn prune(&mut self, before: UnixMillis) -> Result<(), HistoryError> {
        self.store.prune(before).map_err(HistoryError::Store)?;
        Ok(())
    }

    /// A scrape: what the page would show.
    pub(super) fn scrape(
        &mut self,
        machine: &Machine,
        sockets: usize,
        recording: &mut Recording,
    ) -> Result<(), HistoryError> {
        let status = self.status()?;
        self.telemetry.event_queue(status.depth, status.oldest);
        self.telemetry
            .store_size(status.size_bytes + self.store.size_bytes());
        let names = SeriesNames::of(&self.view, &self.per_agent);
        let gathered = self.telemetry.gather();
        let mut families = of_view(&self.view, &names);
        families.extend(of_registry(&gathered));
        families.extend(machine.process(self.started, sockets));
        recording.scrape(&families);
        Ok(())
    }

    fn status(&self) -> Result<JournalStatus, HistoryError> {
        Ok(JournalStatus {
            depth: self.journal.depth().map_err(HistoryError::Journal)?,
            oldest: self.journal.oldest().map_err(HistoryError::Journal)?,
            size_bytes: self.journal.size_bytes(),
        })
    }
}
