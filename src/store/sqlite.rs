//! The store in SQLite: one writer, and commits that are all or nothing.
//!
//! A batch, the facts it changes, the rows it touches and the read position are one transaction.
//! A batch that comes again is skipped by its numbers; were the numbers lost, it would change
//! nothing all the same, because facts are a set (semantics.md §4).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::crash::{CrashPoint, passing};
use crate::journal::{self, DataDir, OpenReport};
use crate::model::event::JournalRecord;
use crate::model::ids::UserId;
use crate::model::time::UnixMillis;

use super::arrivals::{Arrivals, Progress};
use super::error::StoreError;
use super::fact_rows::FactRows;
use super::handle::StoreStatus;
use super::prune::{self, PruneReport};
use super::reader::SqliteReader;
use super::remote_write::DeadSamples;
use super::report::{CommitReport, StoreSettings, Suspects, lock};
use super::schema::DATABASE;
use super::touch::{self, Reach, Touched, TouchedAgents, needed, recompute};
use super::{deliveries, sent, window_rows};

/// The store, owned by one thread.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    settings: StoreSettings,
    dir: PathBuf,
    suspects: Suspects,
    given_up: Arc<AtomicBool>,
}

/// Puts `operation` on an SQLite error.
fn during(operation: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |source| StoreError::Database { operation, source }
}

impl SqliteStore {
    /// Name of its file within the data directory.
    pub const FILE: &str = DATABASE.file;

    /// Opens or makes `store.db`.
    ///
    /// # Errors
    /// As [`journal::Database::open`].
    pub fn open(
        dir: &DataDir,
        settings: StoreSettings,
        now: UnixMillis,
    ) -> Result<(Self, OpenReport), StoreError> {
        let (connection, report) = DATABASE.open(dir.path(), now).map_err(StoreError::Open)?;
        let store = Self {
            connection,
            settings,
            dir: dir.path().to_owned(),
            suspects: Suspects::default(),
            given_up: Arc::default(),
        };
        Ok((store, report))
    }

    /// From now on commits are not synced to the disk: for simulations, whose files end with them.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn forgo_durability(&self) -> Result<(), StoreError> {
        journal::forgo_durability(&self.connection).map_err(during("set up"))
    }

    /// Once true, a commit under way is undone at the next agent, and none that names an agent
    /// succeeds any more.
    pub(super) fn giving_up(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.given_up)
    }

    /// A reader beside this writer, on a connection of its own.
    ///
    /// # Errors
    /// If the file cannot be opened a second time.
    pub fn reader(&self) -> Result<SqliteReader, StoreError> {
        SqliteReader::beside(&self.dir, &self.settings, Arc::clone(&self.suspects))
            .map_err(StoreError::Open)
    }

    /// Takes records by their numbers in the journal, rising.
    ///
    /// # Errors
    /// If SQLite refuses; nothing has happened then, and the same batch can be tried again.
    pub fn commit(&mut self, batch: &[(u64, JournalRecord)]) -> Result<CommitReport, StoreError> {
        self.take_batch(batch, None)
    }

    /// Takes what came from producers, in any order and any number of times.
    ///
    /// # Errors
    /// As for [`Self::commit`].
    pub(super) fn commit_arrivals(
        &mut self,
        arrivals: &Arrivals,
    ) -> Result<CommitReport, StoreError> {
        self.take_batch(&arrivals.records, Some(arrivals))
    }

    fn take_batch(
        &mut self,
        batch: &[(u64, JournalRecord)],
        arrivals: Option<&Arrivals>,
    ) -> Result<CommitReport, StoreError> {
        let suspects = std::mem::take(&mut *lock(&self.suspects));
        let committed = self.try_commit(batch, arrivals, &suspects);
        if committed.is_err() {
            lock(&self.suspects).extend(suspects);
        }
        committed.map_err(during("commit to"))
    }

    fn try_commit(
        &mut self,
        batch: &[(u64, JournalRecord)],
        arrivals: Option<&Arrivals>,
        suspects: &BTreeSet<(UserId, UnixMillis)>,
    ) -> rusqlite::Result<CommitReport> {
        let org = self.settings.org.as_str();
        let mut report = CommitReport::default();
        let transaction = journal::begin(&mut self.connection)?;
        let (cursor, pruned_until) = progress(&transaction, org)?;
        let mut agents = TouchedAgents::new();
        let mut last = cursor;
        for (seq, record) in batch {
            // Numbers of producers are not the journal's.
            if arrivals.is_none() {
                if *seq <= cursor {
                    report.skipped += 1;
                    continue;
                }
                last = last.max(*seq);
            }
            if let Some(refusal) = touch::sort(&mut agents, record) {
                let payload = serde_json::to_string(record).expect("plain data has a JSON form");
                bury(&transaction, org, *seq, refusal.label(), &payload)?;
                report.dead += 1;
            }
        }
        if let Some(arrivals) = arrivals {
            for letter in &arrivals.poison {
                bury(
                    &transaction,
                    org,
                    letter.seq,
                    letter.reason,
                    &letter.payload,
                )?;
                report.dead += 1;
            }
            deliveries::take(&transaction, org, &arrivals.taken)?;
        }
        for (user, start) in suspects {
            touch::suspect(&mut agents, user, *start);
        }
        let mut facts = FactRows::of(&transaction, org)?;
        for (user, touched) in agents {
            // A batch of marks may name every agent, which takes seconds: too long for an exit.
            if self.given_up.load(Ordering::Relaxed) {
                return Err(given_up());
            }
            let agent = (&user, touched);
            take(&mut facts, &self.settings, pruned_until, agent, &mut report)?;
        }
        drop(facts);
        set_progress(&transaction, org, last, pruned_until)?;
        transaction.commit()?;
        Ok(report)
    }

    /// Raises the floors of producers as far as their numbers follow without a hole.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn settle(&mut self) -> Result<Vec<Progress>, StoreError> {
        let run = |store: &mut Self| {
            let transaction = journal::begin(&mut store.connection)?;
            let progress = deliveries::settle(&transaction, &store.settings.org)?;
            transaction.commit()?;
            Ok(progress)
        };
        run(self).map_err(during("settle"))
    }

    /// Notes numbers of a producer that will never come; says how many were not noted before.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn forgo(&mut self, given_up: &[(Arc<str>, u64)]) -> Result<u64, StoreError> {
        let run = |store: &mut Self| {
            let transaction = journal::begin(&mut store.connection)?;
            let new = deliveries::take(&transaction, &store.settings.org, given_up)?;
            transaction.commit()?;
            Ok(new)
        };
        run(self).map_err(during("note in"))
    }

    /// The last number of the journal that is committed; 0 before the first.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn cursor(&self) -> Result<u64, StoreError> {
        progress(&self.connection, &self.settings.org)
            .map(|(cursor, _)| cursor)
            .map_err(during("read"))
    }

    /// Every window that ends at or before this instant is closed for every agent that is on the
    /// roster; `None` while nobody is.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn window_closed_until(&self) -> Result<Option<UnixMillis>, StoreError> {
        let window = self.settings.window;
        let read = || -> rusqlite::Result<Option<i64>> {
            self.connection
                .prepare_cached(LEAST_CLOSED)?
                .query_row(params![self.settings.org, window.slide.0], |row| row.get(0))
        };
        let least = read().map_err(during("read"))?;
        Ok(least.map(|least| window.last_end(UnixMillis(least))))
    }

    /// Forgets rows of windows that start before `before`, and facts that no later row needs, at
    /// most a bounded number at a time: call it again while the report says `more`.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn prune(&mut self, before: UnixMillis) -> Result<PruneReport, StoreError> {
        let run = |store: &mut Self| {
            let org = store.settings.org.as_str();
            let transaction = journal::begin(&mut store.connection)?;
            let (cursor, pruned_until) = progress(&transaction, org)?;
            let horizon = before.max(pruned_until);
            set_progress(&transaction, org, cursor, horizon)?;
            let margin = store.settings.rules.volatile_within;
            let report = prune::step(&transaction, org, horizon, horizon - margin)?;
            transaction.commit()?;
            Ok(report)
        };
        run(self).map_err(during("prune"))
    }

    /// How far it is, and how large.
    pub(super) fn status(&mut self) -> Result<StoreStatus, StoreError> {
        Ok(StoreStatus {
            cursor: self.cursor()?,
            size_bytes: self.size_bytes(),
        })
    }

    /// The end of the last window that remote write has sent; `None` before the first.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn sent_until(&self) -> Result<Option<UnixMillis>, StoreError> {
        sent::until(&self.connection, &self.settings.org).map_err(during("read"))
    }

    /// Notes how far remote write has come, with what it was refused.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn note_sent(&mut self, until: UnixMillis, dead: &[DeadSamples]) -> Result<(), StoreError> {
        let run = |store: &mut Self| {
            let transaction = journal::begin(&mut store.connection)?;
            sent::note(&transaction, &store.settings.org, until, dead)?;
            transaction.commit()
        };
        run(self).map_err(during("note in"))
    }

    /// Bytes on disk, the write-ahead log included.
    pub fn size_bytes(&self) -> u64 {
        journal::size_bytes(&self.dir, DATABASE.file)
    }

    /// The writer's connection, for tests that bring it into trouble.
    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Nothing of the batch has happened; it waits in the journal for the next start.
fn given_up() -> rusqlite::Error {
    let interrupted = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT);
    rusqlite::Error::SqliteFailure(interrupted, Some("the exporter stops".to_owned()))
}

/// Takes what a batch says of one agent.
fn take(
    facts: &mut FactRows<'_>,
    settings: &StoreSettings,
    pruned_until: UnixMillis,
    (user, touched): (&UserId, Touched<'_>),
    report: &mut CommitReport,
) -> rusqlite::Result<()> {
    let (transaction, org) = (facts.events.transaction, facts.events.org);
    let spec = settings.window;
    let reach = touched.reach_to_close(settings);
    let before = facts.load(user, reach, &mut report.quarantined)?;
    let applied = touched.apply(settings, pruned_until, before, report);
    for event in &applied.events {
        facts.events.write(event)?;
    }
    facts.write_changed(user, &applied.before, &applied.after)?;
    for group in applied.groups {
        let Some(span) = needed(settings, &group) else {
            continue;
        };
        let bad = &mut report.quarantined;
        let again;
        // What was loaded with what was written since is what would be loaded again.
        let known = if reach.covers(span) {
            &applied.after
        } else {
            again = facts.load(user, Reach::of(span), bad)?;
            &again
        };
        let kept = window_rows::load(transaction, org, user, spec, &group, bad)?;
        for (start, kept) in recompute(settings, known, &kept, &group, report) {
            match kept {
                Some(kept) => window_rows::write(transaction, org, user, spec, start, &kept)?,
                None => window_rows::delete(transaction, org, user, spec, start)?,
            }
            passing(CrashPoint::Closing);
        }
    }
    Ok(())
}

/// (cursor, pruned_until)
fn progress(connection: &Connection, org: &str) -> rusqlite::Result<(u64, UnixMillis)> {
    let row = connection
        .prepare_cached("SELECT cursor, pruned_until FROM progress WHERE org = ?1")?
        .query_row([org], |row| {
            Ok((row.get::<_, i64>(0)? as u64, UnixMillis(row.get(1)?)))
        })
        .optional()?;
    Ok(row.unwrap_or_default())
}

fn set_progress(
    transaction: &Transaction<'_>,
    org: &str,
    cursor: u64,
    pruned_until: UnixMillis,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO progress VALUES (?1, ?2, ?3)")?
        .execute(params![org, cursor as i64, pruned_until.0])?;
    Ok(())
}

/// Until when windows are closed of every agent on the roster. Of one that joined later than its
/// windows closed, those before it joined are closed, for it has none.
const LEAST_CLOSED: &str = "SELECT min(max(coalesce(agent.closed_until, 0), \
        roster.from_at - roster.from_at % ?2)) \
    FROM roster LEFT JOIN agent ON agent.org = roster.org AND agent.user_id = roster.user_id \
    WHERE roster.org = ?1 AND roster.until_at IS NULL";

fn bury(
    transaction: &Transaction<'_>,
    org: &str,
    seq: u64,
    reason: &str,
    payload: &str,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO dead_letter (org, seq, reason, payload) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![org, seq as i64, reason, payload])?;
    Ok(())
}
