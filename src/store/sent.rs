//! How far remote write has come, and what it was refused, in SQLite.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::model::time::UnixMillis;

use super::remote_write::DeadSamples;

/// The end of the last window sent; `None` before the first.
pub(super) fn until(connection: &Connection, org: &str) -> rusqlite::Result<Option<UnixMillis>> {
    connection
        .prepare_cached("SELECT sent_until FROM remote_write WHERE org = ?1")?
        .query_row([org], |row| row.get(0).map(UnixMillis))
        .optional()
}

/// Notes it, with what was refused on the way.
pub(super) fn note(
    transaction: &Transaction<'_>,
    org: &str,
    until: UnixMillis,
    dead: &[DeadSamples],
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO remote_write VALUES (?1, ?2)")?
        .execute(params![org, until.0])?;
    for letter in dead {
        transaction
            .prepare_cached(
                "INSERT INTO remote_write_dead (org, window_end, status, reason, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                org,
                letter.window_end.0,
                letter.status,
                letter.reason,
                letter.body
            ])?;
    }
    Ok(())
}
