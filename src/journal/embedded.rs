//! The embedded journal: records and checkpoint in one SQLite file, all or nothing.
//!
//! An append is durable when it returns. Sequence numbers rise for ever, also over restarts, over
//! deletion of consumed rows and over the loss of this file: the store keeps the last number that
//! it has taken, and would skip one that came twice. A row that is not as it was written becomes
//! a dead letter, counted; nothing is evicted.

use rusqlite::{Connection, OptionalExtension};

use crate::crash::{CrashPoint, passing};
use crate::model::event::JournalRecord;
use crate::model::time::UnixMillis;

use super::data_dir::DataDir;
use super::database::{self, Database, DatabaseError, OpenReport, Synced};
use super::rows::{
    SCHEMA_1, all_checkpoints, append_all, bury_checkpoint, bury_record, dead_between, rows_after,
};

/// Longest payload of a record: some ten times what 500 marks need. A longer one is a defect and
/// would block every consumer, so it becomes a dead letter on entry.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// Records kept at most: about a week of a large organisation while the store is down. At the
/// limit appends are refused, so that polling stops; what is kept is never evicted.
const RECORDS_KEPT_MAX: u64 = 5_000_000;

const DATABASE: Database = Database {
    file: "journal.db",
    migrations: &[SCHEMA_1],
};

/// The journal, owned by one thread.
#[derive(Debug)]
pub struct EmbeddedJournal {
    connection: Connection,
    dir: std::path::PathBuf,
    /// Up to here, missing numbers have been counted.
    checked_until: u64,
    records_max: u64,
}

/// What was found at opening.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JournalOpenReport {
    /// Of the file.
    pub database: OpenReport,
    /// The journal's last number was this, which is before what the store has taken: records of
    /// this journal were lost, and numbering went on after the store's.
    pub behind_store: Option<u64>,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppendReport {
    /// Number of the last record now kept or given before.
    pub last_seq: u64,
    /// Records that became dead letters on entry.
    pub dead: u64,
}

/// What a fetch found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FetchReport {
    /// Records by number, rising.
    pub records: Vec<(u64, JournalRecord)>,
    /// Last number looked at: acknowledge up to here once `records` are stored.
    pub through: u64,
    /// Last number acknowledged before: if `through` is no greater, nothing waits.
    pub acknowledged: u64,
    /// Rows that were not as written and became dead letters.
    pub dead: u64,
    /// Numbers that were given and are gone.
    pub missing: u64,
}

/// The checkpoint as it was last written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckpointReport {
    /// Entries by key.
    pub entries: Vec<(String, String)>,
    /// Entries that were not as written and became dead letters.
    pub dead: u64,
}

/// Why the journal did not do it. Nothing of the call has happened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be used.
    #[error("cannot open the journal")]
    Open(#[source] DatabaseError),
    /// SQLite refused.
    #[error("cannot {operation} the journal")]
    Database {
        /// What we were doing.
        operation: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The limit on kept records is reached.
    #[error(
        "the journal keeps {depth} records that are not stored yet, which is its limit; make the store writable again (see the log for its error), and the journal drains by itself"
    )]
    Full {
        /// Records kept.
        depth: u64,
    },
    /// Somebody acknowledged what was never appended.
    #[error("cannot acknowledge up to {up_to}: the last record appended is {appended}")]
    NeverAppended {
        /// The number asked for.
        up_to: u64,
        /// The last that exists.
        appended: u64,
    },
    /// The thread that owns the journal has ended.
    #[error("the journal cannot be reached")]
    Gone(#[source] super::worker::WorkerGone),
}

/// Puts `operation` on an SQLite error.
fn during(operation: &'static str) -> impl Fn(rusqlite::Error) -> JournalError {
    move |source| JournalError::Database { operation, source }
}

impl EmbeddedJournal {
    /// Name of its file within the data directory.
    pub const FILE: &str = DATABASE.file;

    /// Opens or makes `journal.db`. `stored_until` is the store's cursor: numbers go on after it
    /// even if this file was lost.
    ///
    /// # Errors
    /// As [`Database::open`], and if the file cannot be read.
    pub fn open(
        dir: &DataDir,
        stored_until: u64,
        now: UnixMillis,
    ) -> Result<(Self, JournalOpenReport), JournalError> {
        let (connection, database) = DATABASE.open(dir.path(), now).map_err(JournalError::Open)?;
        let mut journal = Self {
            connection,
            dir: dir.path().to_owned(),
            checked_until: 0,
            records_max: RECORDS_KEPT_MAX,
        };
        let mut report = JournalOpenReport {
            database,
            behind_store: None,
        };
        let (appended, acknowledged) = journal.marks().map_err(during("read"))?;
        journal.checked_until = acknowledged;
        if appended < stored_until {
            report.behind_store = Some(appended);
            journal
                .go_on_after(stored_until)
                .map_err(during("renumber"))?;
        }
        Ok((journal, report))
    }

    /// From now on commits are not synced to the disk: for simulations, whose files end with them.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn forgo_durability(&self) -> Result<(), JournalError> {
        database::forgo_durability(&self.connection).map_err(during("set up"))
    }

    /// Makes records durable, and the checkpoint with them: written (`Some`) or deleted (`None`).
    ///
    /// # Errors
    /// If the journal is full or SQLite refuses; nothing is changed then.
    pub fn append(
        &mut self,
        records: &[JournalRecord],
        checkpoint: &[(String, Option<String>)],
        now: UnixMillis,
    ) -> Result<AppendReport, JournalError> {
        let failed = during("append to");
        let depth = self.depth()?;
        if !records.is_empty() && depth >= self.records_max {
            return Err(JournalError::Full { depth });
        }
        passing(CrashPoint::Fetched);
        database::sync(&self.connection, Synced::AtOnce).map_err(&failed)?;
        let transaction = database::begin(&mut self.connection).map_err(&failed)?;
        let report = append_all(&transaction, records, checkpoint, now).map_err(&failed)?;
        passing(CrashPoint::Appending);
        transaction.commit().map_err(&failed)?;
        passing(CrashPoint::Appended);
        Ok(report)
    }

    /// The checkpoint, ordered by key.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn load_checkpoint(&mut self) -> Result<CheckpointReport, JournalError> {
        let failed = during("read the checkpoint of");
        let mut report = CheckpointReport::default();
        let transaction = database::begin(&mut self.connection).map_err(&failed)?;
        let rows = all_checkpoints(&transaction).map_err(&failed)?;
        for (key, value) in rows {
            match value {
                Some(value) => report.entries.push((key, value)),
                None => {
                    bury_checkpoint(&transaction, &key).map_err(&failed)?;
                    report.dead += 1;
                }
            }
        }
        transaction.commit().map_err(&failed)?;
        Ok(report)
    }

    /// At most `limit` records with numbers after `after_seq`, and what was found wrong.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn fetch(&mut self, after_seq: u64, limit: usize) -> Result<FetchReport, JournalError> {
        self.fetch_ahead(after_seq, limit, limit)
    }

    /// The same, but on to `most` records as long as they take little room.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn fetch_ahead(
        &mut self,
        after_seq: u64,
        limit: usize,
        most: usize,
    ) -> Result<FetchReport, JournalError> {
        let failed = during("read");
        let (appended, acknowledged) = self.marks().map_err(&failed)?;
        let after = after_seq.max(acknowledged);
        let transaction = database::begin(&mut self.connection).map_err(&failed)?;
        let (rows, more) = rows_after(&transaction, after, limit, most).map_err(&failed)?;
        let mut report = FetchReport {
            through: after.max(appended),
            acknowledged,
            ..FetchReport::default()
        };
        if more {
            report.through = rows.last().map_or(after, |row| row.seq);
        }
        let checked = self.checked_until.max(after);
        let present = rows.iter().filter(|row| row.seq > checked).count() as u64;
        let given = report.through.saturating_sub(checked);
        if given > present {
            let buried = dead_between(&transaction, checked, report.through).map_err(&failed)?;
            report.missing = given.saturating_sub(present + buried);
        }
        for row in rows {
            match row.content {
                Ok(record) => report.records.push((row.seq, record)),
                Err(reason) => {
                    bury_record(&transaction, row.seq, reason).map_err(&failed)?;
                    report.dead += 1;
                }
            }
        }
        transaction.commit().map_err(&failed)?;
        self.checked_until = self.checked_until.max(report.through);
        Ok(report)
    }

    /// Forgets records up to and with `up_to`: what they led to is durable elsewhere. Not synced: were
    /// it forgotten with a loss of power, records would be taken again, which changes nothing.
    ///
    /// # Errors
    /// If that number was never given, or SQLite refuses.
    pub fn acknowledge(&mut self, up_to: u64) -> Result<(), JournalError> {
        let failed = during("acknowledge in");
        let (appended, _) = self.marks().map_err(&failed)?;
        if up_to > appended {
            return Err(JournalError::NeverAppended { up_to, appended });
        }
        let run = |connection: &mut Connection| {
            database::sync(connection, Synced::Later)?;
            let transaction = database::begin(connection)?;
            transaction
                .prepare_cached("DELETE FROM record WHERE seq <= ?1")?
                .execute([up_to as i64])?;
            transaction
                .prepare_cached("UPDATE mark SET acknowledged = max(acknowledged, ?1)")?
                .execute([up_to as i64])?;
            transaction.commit()
        };
        run(&mut self.connection).map_err(&failed)
    }

    /// Records not acknowledged yet.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn depth(&self) -> Result<u64, JournalError> {
        let (appended, acknowledged) = self.marks().map_err(during("read"))?;
        Ok(appended.saturating_sub(acknowledged))
    }

    /// When the oldest record that waits was appended, by our clock.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn oldest(&self) -> Result<Option<UnixMillis>, JournalError> {
        let read = || {
            self.connection
                .prepare_cached("SELECT appended_at FROM record ORDER BY seq LIMIT 1")?
                .query_row([], |row| row.get(0).map(UnixMillis))
                .optional()
        };
        read().map_err(during("read"))
    }

    /// Dead letters kept, of this run and of earlier ones.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn dead_letters(&self) -> Result<u64, JournalError> {
        self.connection
            .query_row("SELECT count(*) FROM dead_letter", [], |row| {
                row.get::<_, i64>(0).map(|count| count as u64)
            })
            .map_err(during("read"))
    }

    /// Bytes on disk, the write-ahead log included.
    pub fn size_bytes(&self) -> u64 {
        database::size_bytes(&self.dir, DATABASE.file)
    }

    /// Another limit on kept records, for tests that reach it.
    #[cfg(test)]
    pub(crate) fn with_records_max(mut self, records_max: u64) -> Self {
        self.records_max = records_max;
        self
    }

    /// (appended, acknowledged)
    fn marks(&self) -> rusqlite::Result<(u64, u64)> {
        self.connection
            .prepare_cached("SELECT appended, acknowledged FROM mark")?
            .query_row([], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
            })
    }

    /// Moves every number behind `seq`. What waits is what the store knows already, or it is not;
    /// under a new number it is taken again, and taking a record twice changes nothing.
    fn go_on_after(&mut self, seq: u64) -> rusqlite::Result<()> {
        let transaction = database::begin(&mut self.connection)?;
        // Greater than any number there is, so that no two rows meet while they move.
        transaction.execute("UPDATE record SET seq = seq + ?1", [seq as i64])?;
        transaction.execute(
            "UPDATE mark SET appended = appended + ?1, acknowledged = acknowledged + ?1",
            [seq as i64],
        )?;
        transaction.commit()?;
        self.checked_until += seq;
        Ok(())
    }
}
