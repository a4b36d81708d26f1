//! Opens an SQLite file the one way we use it: WAL, every commit synced, immediate transactions,
//! schema version checked, damage set aside.
//!
//! Journal and store share it. A damaged file is renamed with its companions and a fresh one is
//! begun; nothing is ever deleted. A schema newer than this program is refused.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::crash::{CrashPoint, passing};
use crate::model::time::UnixMillis;

/// How long a writer waits for another's lock: longer than any commit, shorter than a poll.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements kept a connection; the store uses about thirty.
const STATEMENTS_CACHED: usize = 64;

/// The write-ahead log is cut back to this after a burst made it longer.
const LOG_BYTES_KEPT_MAX: i64 = 16 * 1024 * 1024;

/// Companions of a database file: they belong together, so they are set aside together.
const COMPANIONS: [&str; 3] = ["", "-wal", "-shm"];

/// A database's name and the SQL that makes it: `migrations[n]` leads from schema `n` to `n + 1`.
#[derive(Debug, Clone, Copy)]
pub struct Database {
    /// File name within the data directory.
    pub file: &'static str,
    /// One script a schema version, oldest first.
    pub migrations: &'static [&'static str],
}

/// What was found when a database was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenReport {
    /// A damaged file was set aside under this name, and a fresh one begun.
    pub quarantined: Option<PathBuf>,
    /// The schema version found, if an older one was migrated.
    pub migrated_from: Option<u32>,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file cannot be opened.
    #[error(
        "cannot open the database {}; check that the exporter's user may write to it and to its directory, and that the disk is not full", path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The schema is newer than this program.
    #[error(
        "the database {} has schema {found}, and this version knows schemas up to {known}; run the version that wrote it or a later one, or set store.path to a fresh directory", path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The latest that this program knows.
        known: u32,
    },
    /// The schema cannot be brought up to date. The file is as it was.
    #[error("cannot migrate the database {} from schema {from}; it is unchanged", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Its schema.
        from: u32,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// A damaged file cannot be set aside.
    #[error(
        "the database {} is damaged and cannot be renamed; move it and its -wal and -shm files away by hand", path.display()
    )]
    Quarantine {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Database {
    /// Opens for writing, making or migrating the file if need be.
    ///
    /// # Errors
    /// If it cannot be opened, migrated or, being damaged, set aside; or if its schema is newer.
    pub fn open(
        &self,
        dir: &Path,
        now: UnixMillis,
    ) -> Result<(Connection, OpenReport), DatabaseError> {
        let path = dir.join(self.file);
        let mut report = OpenReport::default();
        let mut connection = match connect_sound(&path) {
            Ok(connection) => connection,
            Err(source) if is_damage(&source) => {
                let aside = quarantine(&path, now).map_err(|source| DatabaseError::Quarantine {
                    path: path.clone(),
                    source,
                })?;
                report.quarantined = Some(aside);
                connect_sound(&path).map_err(|source| DatabaseError::Open {
                    path: path.clone(),
                    source,
                })?
            }
            Err(source) => return Err(DatabaseError::Open { path, source }),
        };
        report.migrated_from = self.migrate(&path, &mut connection)?;
        Ok((connection, report))
    }

    /// Opens for reading only, while another connection writes.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open_read_only(&self, dir: &Path) -> Result<Connection, DatabaseError> {
        let path = dir.join(self.file);
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&path, flags)?;
            set_up(&connection)?;
            Ok(connection)
        };
        let connection = open().map_err(|source| DatabaseError::Open {
            path: path.clone(),
            source,
        })?;
        let found = schema_version(&connection).map_err(|source| DatabaseError::Open {
            path: path.clone(),
            source,
        })?;
        let known = self.version();
        if found > known {
            return Err(DatabaseError::NewerSchema { path, found, known });
        }
        Ok(connection)
    }

    /// The latest schema version.
    pub const fn version(&self) -> u32 {
        self.migrations.len() as u32
    }

    /// Brings the schema up to date in one transaction; says from which version.
    fn migrate(
        &self,
        path: &Path,
        connection: &mut Connection,
    ) -> Result<Option<u32>, DatabaseError> {
        let found = schema_version(connection).map_err(|source| DatabaseError::Open {
            path: path.to_owned(),
            source,
        })?;
        let known = self.version();
        if found > known {
            return Err(DatabaseError::NewerSchema {
                path: path.to_owned(),
                found,
                known,
            });
        }
        if found == known {
            return Ok(None);
        }
        let run = |connection: &mut Connection| {
            let transaction = begin(connection)?;
            for script in &self.migrations[found as usize..] {
                transaction.execute_batch(script)?;
                passing(CrashPoint::Migrating);
            }
            transaction.pragma_update(None, "user_version", known)?;
            transaction.commit()
        };
        run(connection).map_err(|source| DatabaseError::Migrate {
            path: path.to_owned(),
            from: found,
            source,
        })?;
        Ok((found > 0).then_some(found))
    }
}

/// Begins a transaction that holds the write lock from its start: a deferred one fails at once,
/// without waiting, when it turns from reading to writing after another's commit.
pub(crate) fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Commits are no longer synced to the disk, which costs milliseconds each.
pub(crate) fn forgo_durability(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "off")
}

/// How a transaction's commit reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Synced {
    /// Before it returns.
    AtOnce,
    /// With the next one that is; it is gone with a loss of power before that. For what may be done
    /// again.
    Later,
}

/// Sets how commits of this connection reach the disk, but where nothing is synced at all.
pub(crate) fn sync(connection: &Connection, synced: Synced) -> rusqlite::Result<()> {
    const OFF: i64 = 0;
    let level: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    let wanted = match synced {
        _ if level == OFF => return Ok(()),
        Synced::AtOnce => "full",
        Synced::Later => "normal",
    };
    connection.pragma_update(None, "synchronous", wanted)
}

/// Bytes of a database and its write-ahead log on disk.
pub(crate) fn size_bytes(dir: &Path, file: &str) -> u64 {
    COMPANIONS
        .iter()
        .filter_map(|suffix| fs::metadata(dir.join(format!("{file}{suffix}"))).ok())
        .map(|metadata| metadata.len())
        .sum()
}

fn schema_version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// First bytes of every SQLite file.
const HEADER: &[u8; 16] = b"SQLite format 3\0";

/// Whether the file is plainly not one of SQLite's, or is empty beside a log. Asked before SQLite
/// is let near: it deletes a log that it cannot attribute, and with it what may be evidence. Only for
/// a file that this process has not open: closing it here would drop SQLite's locks on it.
fn is_foreign(path: &Path) -> bool {
    let mut header = Vec::new();
    let Ok(file) = fs::File::open(path) else {
        return false;
    };
    // What cannot be read SQLite will refuse with a better reason.
    if file
        .take(HEADER.len() as u64)
        .read_to_end(&mut header)
        .is_err()
    {
        return false;
    }
    if header.is_empty() {
        let mut log = OsString::from(path);
        log.push("-wal");
        return fs::metadata(log).is_ok_and(|log| log.len() > 0);
    }
    header != HEADER
}

/// What readers and writers have in common. The bundled SQLite knows histograms of columns
/// (SQLITE_ENABLE_STAT4), and without the stability guarantee it prepares a cached statement anew
/// whenever a parameter of an indexed column is bound, which is always. We never run ANALYZE, so
/// no plan could be better for it.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Connects, sets the pragmas and checks the file's structure.
fn connect_sound(path: &Path) -> rusqlite::Result<Connection> {
    if is_foreign(path) {
        let foreign = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
        return Err(rusqlite::Error::SqliteFailure(foreign, None));
    }
    let connection = Connection::open(path)?;
    set_up(&connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT_MAX)?;
    let verdict: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if verdict == "ok" {
        Ok(connection)
    } else {
        let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        Err(rusqlite::Error::SqliteFailure(corrupt, Some(verdict)))
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
    )
}

/// Renames the file and its companions; the companions first, so that a crash in between leaves
/// the main file to be found damaged again rather than a fresh one beside a foreign log.
fn quarantine(path: &Path, now: UnixMillis) -> io::Result<PathBuf> {
    let named = |suffix: &str, tail: &str| {
        let mut name = OsString::from(path);
        name.push(suffix);
        name.push(tail);
        PathBuf::from(name)
    };
    let mut tail = format!(".corrupt-{}", now.0);
    let mut attempt = 0;
    // A name is never taken twice, not even within a millisecond.
    while named("", &tail).exists() {
        attempt += 1;
        tail = format!(".corrupt-{}-{attempt}", now.0);
    }
    for suffix in COMPANIONS.iter().rev() {
        let from = named(suffix, "");
        if from.exists() {
            fs::rename(&from, named(suffix, &tail))?;
            passing(CrashPoint::SettingAside);
        }
    }
    Ok(named("", &tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Database = Database {
        file: "small.db",
        migrations: &["CREATE TABLE a (x INTEGER)", "ALTER TABLE a ADD y INTEGER"],
    };
    const OLDER: Database = Database {
        file: "small.db",
        migrations: &["CREATE TABLE a (x INTEGER)"],
    };
    const NOW: UnixMillis = UnixMillis(1_715_675_400_000);

    #[test]
    fn settings_are_the_durable_ones() {
        let dir = tempfile::tempdir().unwrap();
        let (connection, report) = SMALL.open(dir.path(), NOW).unwrap();
        assert_eq!(report, OpenReport::default());
        let mode: String = connection
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .unwrap();
        let synchronous: i64 = connection
            .pragma_query_value(None, "synchronous", |row| row.get(0))
            .unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
        assert!(size_bytes(dir.path(), SMALL.file) > 0);
    }

    #[test]
    fn an_older_schema_is_migrated_and_a_newer_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(OLDER.open(dir.path(), NOW).unwrap());
        let (connection, report) = SMALL.open(dir.path(), NOW).unwrap();
        assert_eq!(report.migrated_from, Some(1));
        connection
            .execute("INSERT INTO a (x, y) VALUES (1, 2)", [])
            .unwrap();
        drop(connection);
        let refused = OLDER.open(dir.path(), NOW).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "the database {} has schema 2, and this version knows schemas up to 1; run the \
                 version that wrote it or a later one, or set store.path to a fresh directory",
                dir.path().join("small.db").display()
            )
        );
        assert!(OLDER.open_read_only(dir.path()).is_err());
        assert!(SMALL.open_read_only(dir.path()).is_ok());
    }

    #[test]
    fn a_failed_migration_leaves_the_file_as_it_was() {
        const BROKEN: Database = Database {
            file: "small.db",
            migrations: &["CREATE TABLE a (x INTEGER)", "CREATE TABLE b (x); nonsense"],
        };
        let dir = tempfile::tempdir().unwrap();
        drop(OLDER.open(dir.path(), NOW).unwrap());
        let failed = BROKEN.open(dir.path(), NOW).unwrap_err();
        assert!(matches!(failed, DatabaseError::Migrate { from: 1, .. }));
        let (connection, _) = OLDER.open(dir.path(), NOW).unwrap();
        assert!(connection.prepare("SELECT * FROM b").is_err());
    }

    #[test]
    fn what_is_not_a_database_is_set_aside_whole_and_never_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let garbage = b"this is no database, and it is longer than a header of one ".repeat(40);
        fs::write(dir.path().join("small.db"), &garbage).unwrap();
        fs::write(dir.path().join("small.db-wal"), b"log").unwrap();
        let (connection, report) = SMALL.open(dir.path(), NOW).unwrap();
        connection
            .execute("INSERT INTO a (x) VALUES (1)", [])
            .unwrap();
        let aside = dir.path().join("small.db.corrupt-1715675400000");
        assert_eq!(report.quarantined.as_deref(), Some(aside.as_path()));
        assert_eq!(fs::read(&aside).unwrap(), garbage);
        let log = dir.path().join("small.db-wal.corrupt-1715675400000");
        assert_eq!(fs::read(log).unwrap(), b"log");
    }

    #[test]
    fn a_torn_file_is_set_aside_too() {
        let dir = tempfile::tempdir().unwrap();
        let (connection, _) = SMALL.open(dir.path(), NOW).unwrap();
        for number in 0..2_000 {
            connection
                .execute("INSERT INTO a (x) VALUES (?1)", [number])
                .unwrap();
        }
        drop(connection);
        let path = dir.path().join("small.db");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let (_, report) = SMALL.open(dir.path(), NOW).unwrap();
        assert!(report.quarantined.is_some());
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let failed = SMALL.open(&dir.path().join("missing"), NOW).unwrap_err();
        assert!(failed.to_string().contains("may write to it"), "{failed}");
    }
}
