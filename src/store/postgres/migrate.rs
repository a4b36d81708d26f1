//! Brings the schema up to date, in one transaction and one at a time.

use tokio_postgres::{Client, Error};

use crate::crash::{CrashPoint, passing};

use super::error::PostgresError;
use super::link::Link;
use super::schema::{MIGRATIONS, VERSION_TABLE};

/// Who migrates, and who makes and drops partitions, holds this; "genesys" as a number.
pub(super) const SCHEMA_LOCK: &str = "SELECT pg_advisory_xact_lock(7306370003465728371)";

/// The version that this program knows.
fn known() -> i64 {
    MIGRATIONS.len() as i64
}

/// Migrates an older schema and refuses a newer one; says from which version, if from an older.
pub(super) async fn migrate(link: &Link, client: &Client) -> Result<Option<i64>, PostgresError> {
    let found = link.ask(version(client)).await?;
    if found == known() {
        return Ok(None);
    }
    if found > known() {
        return Err(newer(found));
    }
    // Another may have migrated while we waited for the lock, so all is asked again behind it.
    let found = link.ask(run(client)).await?;
    if found > known() {
        return Err(newer(found));
    }
    Ok((0 < found && found < known()).then_some(found))
}

/// Refuses a newer schema, and one that is not there yet reads as older.
pub(super) async fn check(link: &Link, client: &Client) -> Result<bool, PostgresError> {
    let found = link.ask(version(client)).await?;
    if found > known() {
        return Err(newer(found));
    }
    Ok(found == known())
}

fn newer(found: i64) -> PostgresError {
    PostgresError::NewerSchema {
        found,
        known: known(),
    }
}

/// 0: there are no tables yet.
async fn version(client: &Client) -> Result<i64, Error> {
    let exists = "SELECT to_regclass('exporter_schema') IS NOT NULL";
    if !client.query_one(exists, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let version = "SELECT coalesce(max(version), 0) FROM exporter_schema";
    client.query_one(version, &[]).await?.try_get(0)
}

async fn run(client: &Client) -> Result<i64, Error> {
    client
        .batch_execute(&format!("BEGIN; {SCHEMA_LOCK}"))
        .await?;
    client.batch_execute(VERSION_TABLE).await?;
    let found = version(client).await?;
    let missing = usize::try_from(found)
        .ok()
        .and_then(|found| MIGRATIONS.get(found..));
    for script in missing.unwrap_or_default() {
        client.batch_execute(script).await?;
        passing(CrashPoint::Migrating);
    }
    if found < known() {
        let note = format!(
            "DELETE FROM exporter_schema; INSERT INTO exporter_schema VALUES ({})",
            known()
        );
        client.batch_execute(&note).await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(found)
}
