//! The SQL of the embedded journal: its schema, and one function a statement.
//!
//! Every function runs inside the caller's transaction and leaves its end to the caller. A row is
//! given out only if its checksum holds.

use rusqlite::{Transaction, params};

use crate::model::event::JournalRecord;
use crate::model::time::UnixMillis;

use super::checksum::{Checksum, crc32};
use super::embedded::{AppendReport, RECORD_BYTES_MAX};

/// `mark` has one row: the last number given, and the last number acknowledged.
pub(super) const SCHEMA_1: &str = "
CREATE TABLE record (
    seq INTEGER PRIMARY KEY,
    appended_at INTEGER NOT NULL,
    payload TEXT NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE checkpoint (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY,
    seq INTEGER,
    key TEXT,
    reason TEXT NOT NULL,
    payload ANY
) STRICT;
CREATE INDEX dead_letter_by_seq ON dead_letter (seq);
CREATE TABLE mark (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    appended INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL
) STRICT;
INSERT INTO mark VALUES (0, 0, 0);
";

/// Why a row became a dead letter; kept beside it.
const REASON_CHECKSUM: &str = "checksum";
const REASON_UNDECODABLE: &str = "undecodable";
const REASON_TOO_LARGE: &str = "too_large";

/// Records are read ahead as long as they are no longer than this together: hundreds of events, or
/// the marks of a few thousand agents.
const READ_BYTES_MAX: usize = 512 * 1024;

/// A row as it was read: the record, or why it is none.
pub(super) struct Fetched {
    pub(super) seq: u64,
    pub(super) content: Result<JournalRecord, &'static str>,
}

/// The rows after `after`, and whether there may be more: `least` of them however large they are, and
/// on to `most` as long as they are small.
pub(super) fn rows_after(
    transaction: &Transaction<'_>,
    after: u64,
    least: usize,
    most: usize,
) -> rusqlite::Result<(Vec<Fetched>, bool)> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut statement = transaction.prepare_cached(
        "SELECT seq, payload, checksum FROM record WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after as i64, most])?;
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>(0)? as u64;
        let payload = row.get_ref(1)?.as_bytes()?;
        if found.len() >= least && bytes + payload.len() > READ_BYTES_MAX {
            return Ok((found, true));
        }
        bytes += payload.len();
        let content = if row.get::<_, i64>(2)? == i64::from(crc32(payload)) {
            serde_json::from_slice(payload).map_err(|_| REASON_UNDECODABLE)
        } else {
            Err(REASON_CHECKSUM)
        };
        found.push(Fetched { seq, content });
    }
    let full = found.len() as i64 >= most;
    Ok((found, full))
}

pub(super) fn append_all(
    transaction: &Transaction<'_>,
    records: &[JournalRecord],
    checkpoint: &[(String, Option<String>)],
    now: UnixMillis,
) -> rusqlite::Result<AppendReport> {
    let mut report = AppendReport::default();
    let mut seq: i64 = transaction
        .prepare_cached("SELECT appended FROM mark")?
        .query_row([], |row| row.get(0))?;
    for record in records {
        let payload = serde_json::to_string(record)
            .expect("records have only string keys and finite numbers");
        if payload.len() > RECORD_BYTES_MAX {
            transaction.execute(
                "INSERT INTO dead_letter (reason, payload) VALUES (?1, ?2)",
                params![REASON_TOO_LARGE, payload],
            )?;
            report.dead += 1;
            continue;
        }
        seq += 1;
        let checksum = crc32(payload.as_bytes());
        transaction
            .prepare_cached(
                "INSERT INTO record (seq, appended_at, payload, checksum) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![seq, now.0, payload, checksum])?;
    }
    transaction
        .prepare_cached("UPDATE mark SET appended = ?1")?
        .execute([seq])?;
    for (key, value) in checkpoint {
        write_checkpoint(transaction, key, value.as_deref())?;
    }
    report.last_seq = seq as u64;
    Ok(report)
}

fn write_checkpoint(
    transaction: &Transaction<'_>,
    key: &str,
    value: Option<&str>,
) -> rusqlite::Result<usize> {
    match value {
        Some(value) => transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO checkpoint (key, value, checksum) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![
                key,
                value,
                Checksum::new().text(key).bytes(value.as_bytes()).finish()
            ]),
        None => transaction
            .prepare_cached("DELETE FROM checkpoint WHERE key = ?1")?
            .execute([key]),
    }
}

/// Every entry by key; without its value if it is not as written.
pub(super) fn all_checkpoints(
    transaction: &Transaction<'_>,
) -> rusqlite::Result<Vec<(String, Option<String>)>> {
    transaction
        .prepare("SELECT key, value, checksum FROM checkpoint ORDER BY key")?
        .query_map([], |row| {
            let key: String = row.get(0)?;
            let value = row.get_ref(1)?.as_bytes()?;
            let expected = Checksum::new().text(&key).bytes(value).finish();
            let sound = row.get::<_, i64>(2)? == i64::from(expected);
            let value = std::str::from_utf8(value).ok().filter(|_| sound);
            let value = value.map(str::to_owned);
            Ok((key, value))
        })?
        .collect()
}

pub(super) fn bury_checkpoint(transaction: &Transaction<'_>, key: &str) -> rusqlite::Result<usize> {
    transaction.execute(
        "INSERT INTO dead_letter (key, reason, payload)
         SELECT key, ?2, value FROM checkpoint WHERE key = ?1",
        params![key, REASON_CHECKSUM],
    )?;
    transaction.execute("DELETE FROM checkpoint WHERE key = ?1", [key])
}

pub(super) fn bury_record(
    transaction: &Transaction<'_>,
    seq: u64,
    reason: &'static str,
) -> rusqlite::Result<usize> {
    transaction.execute(
        "INSERT INTO dead_letter (seq, reason, payload)
         SELECT seq, ?2, payload FROM record WHERE seq = ?1",
        params![seq as i64, reason],
    )?;
    transaction.execute("DELETE FROM record WHERE seq = ?1", [seq as i64])
}

pub(super) fn dead_between(
    transaction: &Transaction<'_>,
    after: u64,
    through: u64,
) -> rusqlite::Result<u64> {
    transaction
        .prepare_cached("SELECT count(*) FROM dead_letter WHERE seq > ?1 AND seq <= ?2")?
        .query_row(params![after as i64, through as i64], |row| {
            row.get::<_, i64>(0).map(|count| count as u64)
        })
}
