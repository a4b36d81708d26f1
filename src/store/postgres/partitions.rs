//! Partitions by day: made ahead of what will be written, dropped when they are past retention.
//!
//! A day's partition goes as a whole, which costs nothing however many rows it has. What later
//! rows still need of it (the start of a segment that reaches into days that are kept) is moved to
//! the default partition first, where it is deleted row by row once it is needed no more.

use std::collections::BTreeSet;

use tokio_postgres::{Client, Error};

use crate::model::time::{Millis, UnixMillis};

use super::super::prune::PruneReport;
use super::super::report::StoreSettings;
use super::link::Live;
use super::migrate::SCHEMA_LOCK;
use super::statements::{Asked, Change, Query};
use super::transaction::hold;
use super::values::Stamp;

/// A partition's span.
const DAY: Millis = Millis::from_secs(86_400);

/// Days made ahead. They are made every hour, so that one would do; the other is for whoever is away
/// for a day. Were they missing, rows would go to the default partition. Every search for an agent's
/// next event looks into each of them.
const DAYS_AHEAD: i64 = 2;

/// Rows deleted at a time: well under a second.
const STEP_ROWS_MAX: i64 = 20_000;

/// The partitioned tables, and the column that says the day.
const TABLES: [(&str, &str); 2] = [
    ("agent_event", "state_entered_at"),
    ("agent_window", "window_start"),
];

/// Which events no later row needs, `e` being the event, `h` the horizon as an instant and as
/// milliseconds: a later one that holds stands at or before the horizon, or the agent has left the
/// registry for good before it.
const NEEDED_NO_MORE: &str = "e.state_entered_at < h.at AND (
    EXISTS (SELECT 1 FROM agent_event AS later
        WHERE later.org = e.org AND later.user_id = e.user_id
          AND later.state_entered_at > e.state_entered_at
          AND later.state_entered_at <= h.at AND NOT later.withdrawn)
    OR NOT EXISTS (SELECT 1 FROM roster
        WHERE roster.org = e.org AND roster.user_id = e.user_id
          AND (roster.until_at IS NULL OR roster.until_at >= h.millis)))";

/// A partition by its table and day.
fn name(table: &str, day: UnixMillis) -> String {
    let text = day.floor(DAY).to_string();
    let digits: String = text.chars().take(10).filter(char::is_ascii_digit).collect();
    format!("{table}_p{digits}")
}

/// The day of a partition's name.
fn day_of(table: &str, name: &str) -> Option<UnixMillis> {
    let digits = name.strip_prefix(table)?.strip_prefix("_p")?;
    let (year, month, day) = (digits.get(..4)?, digits.get(4..6)?, digits.get(6..8)?);
    UnixMillis::parse(&format!("{year}-{month}-{day}T00:00:00Z"))
        .ok()
        .filter(|_| digits.len() == 8)
}

/// Days that have a partition.
async fn days(client: &Client, table: &str) -> Result<BTreeSet<UnixMillis>, Error> {
    let sql = "SELECT part.relname::text FROM pg_inherits AS link \
        JOIN pg_class AS part ON part.oid = link.inhrelid \
        WHERE link.inhparent = to_regclass($1)";
    let rows = client.query(sql, &[&table]).await?;
    let names = rows.iter().map(|row| row.try_get::<_, &str>(0));
    let names: Result<Vec<&str>, Error> = names.collect();
    Ok(names?
        .iter()
        .filter_map(|name| day_of(table, name))
        .collect())
}

/// Makes the partitions of yesterday and of the days to come.
pub(super) async fn make_ahead(client: &Client, now: UnixMillis) -> Result<(), Error> {
    let today = now.floor(DAY);
    for (table, column) in TABLES {
        let have = days(client, table).await?;
        for ahead in -1..=DAYS_AHEAD {
            let day = today + Millis(DAY.0 * ahead);
            if day >= UnixMillis(0) && !have.contains(&day) {
                client.batch_execute(&make(table, column, day)).await?;
            }
        }
    }
    Ok(())
}

/// Makes one, and moves there whatever of its day lies in the default partition.
fn make(table: &str, column: &str, day: UnixMillis) -> String {
    let (part, end) = (name(table, day), day + DAY);
    format!(
        "BEGIN;
         {SCHEMA_LOCK};
         DO $$ BEGIN
             IF to_regclass('{part}') IS NULL THEN
                 CREATE TABLE {part} (LIKE {table} INCLUDING ALL);
                 LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE;
                 WITH moved AS (DELETE FROM {table}_default
                     WHERE {column} >= '{day}' AND {column} < '{end}' RETURNING *)
                 INSERT INTO {part} SELECT * FROM moved;
                 ALTER TABLE {table} ATTACH PARTITION {part} FOR VALUES FROM ('{day}') TO ('{end}');
             END IF;
         END $$;
         COMMIT"
    )
}

/// Forgets windows that start on days before `before`'s, and events that no later row needs.
pub(super) async fn prune(
    live: &Live,
    settings: &StoreSettings,
    before: UnixMillis,
) -> Result<PruneReport, Error> {
    let horizon = before.floor(DAY).max(UnixMillis(0));
    let client = &live.client;
    let mut report = PruneReport::default();
    client
        .batch_execute(&format!("BEGIN; {SCHEMA_LOCK}"))
        .await?;
    // Alone: a commit that still counts on what is forgotten here would make a wrong row of it.
    live.execute(&hold(&settings.org, true)).await?;
    let progress = Change {
        query: Query::SetProgress,
        params: vec![
            Box::new(settings.org.as_str()),
            Box::new(0_i64),
            Box::new(horizon.0),
        ],
    };
    live.execute(&progress).await?;
    let margin = settings.rules.volatile_within;
    for (table, _) in TABLES {
        for day in days(client, table).await? {
            if day + DAY <= horizon && is_nobodys(client, &name(table, day), day, settings).await? {
                let gone = drop_day(client, table, day, margin).await?;
                match table {
                    "agent_event" => report.events += gone,
                    _ => report.windows += gone,
                }
            }
        }
    }
    delete(client, settings, horizon, &mut report).await?;
    forget_rest(client, settings, horizon - margin).await?;
    client.batch_execute("COMMIT").await?;
    Ok(report)
}

/// Whether no other organisation still keeps rows of that day.
async fn is_nobodys(
    client: &Client,
    part: &str,
    day: UnixMillis,
    settings: &StoreSettings,
) -> Result<bool, Error> {
    let sql = format!(
        "SELECT NOT EXISTS (SELECT 1 FROM progress AS other
            WHERE other.org <> $1 AND other.pruned_until < $2
              AND EXISTS (SELECT 1 FROM {part} AS row WHERE row.org = other.org))"
    );
    let end = (day + DAY).0;
    let row = client.query_one(&sql, &[&settings.org, &end]).await?;
    row.try_get(0)
}

/// Drops a day's partition; how many rows went.
async fn drop_day(
    client: &Client,
    table: &str,
    day: UnixMillis,
    margin: Millis,
) -> Result<u64, Error> {
    let part = name(table, day);
    let count = format!("SELECT count(*) FROM {part}");
    let rows: i64 = client.query_one(&count, &[]).await?.try_get(0)?;
    if table == "agent_window" {
        client.batch_execute(&format!("DROP TABLE {part}")).await?;
        return Ok(rows as u64);
    }
    let keep = format!(
        "CREATE TEMPORARY TABLE kept_event ON COMMIT DROP AS
            SELECT e.* FROM {part} AS e
            JOIN (SELECT org, pruned_until - {margin} AS millis,
                    to_timestamp((pruned_until - {margin}) / 1000) AS at
                FROM progress) AS h ON h.org = e.org
            WHERE NOT ({NEEDED_NO_MORE})",
        margin = margin.0
    );
    client.batch_execute(&keep).await?;
    let moved = format!(
        "ALTER TABLE agent_event DETACH PARTITION {part};
         DROP TABLE {part};
         INSERT INTO agent_event SELECT * FROM kept_event"
    );
    let kept: i64 = client
        .query_one("SELECT count(*) FROM kept_event", &[])
        .await?
        .try_get(0)?;
    client.batch_execute(&moved).await?;
    client.batch_execute("DROP TABLE kept_event").await?;
    Ok((rows - kept) as u64)
}

/// Deletes row by row what lies in no day's partition.
async fn delete(
    client: &Client,
    settings: &StoreSettings,
    horizon: UnixMillis,
    report: &mut PruneReport,
) -> Result<(), Error> {
    let windows = "DELETE FROM agent_window_default WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM agent_window_default WHERE org = $1 AND window_start < $2 LIMIT $3))";
    let params: [Asked<'_>; 3] = [&settings.org, &Stamp(horizon), &STEP_ROWS_MAX];
    let gone_windows = client.execute(windows, &params).await?;
    let facts = (horizon - settings.rules.volatile_within).max(UnixMillis(0));
    let events = format!(
        "DELETE FROM agent_event_default WHERE ctid = ANY (ARRAY(
            SELECT e.ctid FROM agent_event_default AS e,
                (SELECT $2::timestamptz AS at, $4::bigint AS millis) AS h
            WHERE e.org = $1 AND {NEEDED_NO_MORE} LIMIT $3))"
    );
    let gone_events = client
        .execute(
            &events,
            &[&settings.org, &Stamp(facts), &STEP_ROWS_MAX, &facts.0],
        )
        .await?;
    report.windows += gone_windows;
    report.events += gone_events;
    report.more = gone_windows.max(gone_events) >= STEP_ROWS_MAX as u64;
    Ok(())
}

/// Facts beside events that only rows before `facts` needed, by the rules of SQLite's store.
async fn forget_rest(
    client: &Client,
    settings: &StoreSettings,
    facts: UnixMillis,
) -> Result<(), Error> {
    let facts = facts.max(UnixMillis(0));
    let by_instant = "DELETE FROM confirmation AS c WHERE c.org = $1 AND c.entered_at < $2 AND (
        EXISTS (SELECT 1 FROM agent_event AS later
            WHERE later.org = c.org AND later.user_id = c.user_id
              AND later.state_entered_at > c.entered_at
              AND later.state_entered_at <= $2 AND NOT later.withdrawn)
        OR NOT EXISTS (SELECT 1 FROM roster
            WHERE roster.org = c.org AND roster.user_id = c.user_id))";
    let by_millis = [
        "DELETE FROM roster WHERE org = $1 AND until_at < $2",
        "DELETE FROM presence AS p WHERE p.org = $1 AND p.at < $2 AND (
            EXISTS (SELECT 1 FROM presence AS later
                WHERE later.org = p.org AND later.user_id = p.user_id
                  AND later.at > p.at AND later.at <= $2)
            OR NOT EXISTS (SELECT 1 FROM roster
                WHERE roster.org = p.org AND roster.user_id = p.user_id))",
        "DELETE FROM agent AS a WHERE a.org = $1 AND a.closed_until < $2 AND NOT EXISTS (
            SELECT 1 FROM roster
            WHERE roster.org = a.org AND roster.user_id = a.user_id)",
    ];
    for sql in by_millis {
        client.execute(sql, &[&settings.org, &facts.0]).await?;
    }
    client
        .execute(by_instant, &[&settings.org, &Stamp(facts)])
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_by_their_day() {
        let noon = UnixMillis::parse("2024-05-14T12:00:00Z").unwrap();
        assert_eq!(name("agent_event", noon), "agent_event_p20240514");
        let day = day_of("agent_event", "agent_event_p20240514");
        assert_eq!(day, Some(noon.floor(DAY)));
        for other in [
            "agent_event_default",
            "agent_event_p2024051",
            "agent_window_p20240514",
        ] {
            assert_eq!(day_of("agent_event", other), None, "{other}");
        }
    }
}
