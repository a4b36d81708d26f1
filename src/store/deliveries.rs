//! Which numbers of which producers are committed, in SQLite.
//!
//! Numbers arrive in any order; those up to the floor are not kept one by one.

use std::sync::Arc;

use rusqlite::{Transaction, params};

use super::arrivals::Progress;

/// Notes numbers that were not noted before; says how many.
pub(super) fn take(
    transaction: &Transaction<'_>,
    org: &str,
    taken: &[(Arc<str>, u64)],
) -> rusqlite::Result<u64> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO delivery SELECT ?1, ?2, ?3 WHERE ?3 > coalesce( \
             (SELECT floor FROM producer WHERE org = ?1 AND producer = ?2), 0)",
    )?;
    let mut new = 0;
    for (producer, seq) in taken {
        new += insert.execute(params![org, producer, *seq as i64])? as u64;
    }
    Ok(new)
}

/// Raises floors as far as numbers follow without a hole, and says where they are.
pub(super) fn settle(transaction: &Transaction<'_>, org: &str) -> rusqlite::Result<Vec<Progress>> {
    for sql in [
        "INSERT OR IGNORE INTO producer SELECT DISTINCT org, producer, 0 FROM delivery \
         WHERE org = ?1",
        "UPDATE producer SET floor = reached.floor FROM ( \
             SELECT producer, max(seq) AS floor FROM ( \
                 SELECT d.producer, d.seq, p.floor, d.seq - row_number() OVER \
                     (PARTITION BY d.producer ORDER BY d.seq) AS base \
                 FROM delivery AS d JOIN producer AS p \
                     ON p.org = d.org AND p.producer = d.producer \
                 WHERE d.org = ?1 AND d.seq > p.floor) \
             WHERE base = floor GROUP BY producer) AS reached \
         WHERE producer.org = ?1 AND producer.producer = reached.producer",
        "DELETE FROM delivery WHERE org = ?1 AND seq <= (SELECT floor FROM producer AS p \
             WHERE p.org = delivery.org AND p.producer = delivery.producer)",
    ] {
        transaction.prepare_cached(sql)?.execute([org])?;
    }
    transaction
        .prepare_cached(
            "SELECT p.producer, p.floor, min(d.seq) FROM producer AS p LEFT JOIN delivery AS d \
                 ON d.org = p.org AND d.producer = p.producer \
             WHERE p.org = ?1 GROUP BY p.producer, p.floor ORDER BY p.producer",
        )?
        .query_map([org], |row| {
            Ok(Progress {
                producer: row.get(0)?,
                floor: row.get::<_, i64>(1)? as u64,
                next: row.get::<_, Option<i64>>(2)?.map(|next| next as u64),
            })
        })?
        .collect()
}
