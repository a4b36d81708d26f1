//! Rows of `agent_event`: the whole event in columns, and the part of it that figures need.

use rusqlite::types::Value;
use rusqlite::{Row, Transaction, params, params_from_iter};

use crate::model::event::{Chain, Event};
use crate::model::state::{RoutingState, Source};
use crate::model::time::UnixMillis;
use crate::window::EventFact;

use super::columns::{self, Table, checksum, instant, is_sound, quarantine, stamp, text};

/// Columns that the checksum covers.
const COLUMNS: usize = 18;

const WRITE: &str = "INSERT OR REPLACE INTO agent_event VALUES \
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

const READ: &str = "SELECT org, user_id, state_entered_at, routing_availability, raw_state, \
    wrapup_code, ui_presence, queue_assignments, described_at, state_duration_ms, ingested_at, \
    source, volatile, previous, revision, chain, estimated, withdrawn, checksum, rowid \
    FROM agent_event WHERE org = ?1 AND user_id = ?2 AND state_entered_at BETWEEN ?3 AND ?4 \
    ORDER BY state_entered_at";

/// Writes an event in place of whatever had its key.
pub(super) fn write(
    transaction: &Transaction<'_>,
    org: &str,
    event: &Event,
) -> rusqlite::Result<()> {
    let columns = columns_of(org, event);
    transaction
        .prepare_cached(WRITE)?
        .execute(params_from_iter(columns.iter()))?;
    Ok(())
}

/// Writes an event that leads to the same figures as the one held, if it ranks higher in an
/// arbitrary but fixed order: so the table does not depend on which came first.
pub(super) fn write_twin(
    transaction: &Transaction<'_>,
    org: &str,
    event: &Event,
) -> rusqlite::Result<()> {
    let columns = columns_of(org, event);
    let held = transaction
        .prepare_cached(
            "SELECT checksum FROM agent_event \
             WHERE org = ?1 AND user_id = ?2 AND state_entered_at = ?3",
        )?
        .query_row(params_from_iter(columns[..3].iter()), |row| row.get(0))?;
    if checksum(&columns[..COLUMNS]) > held {
        transaction
            .prepare_cached(WRITE)?
            .execute(params_from_iter(columns.iter()))?;
    }
    Ok(())
}

fn columns_of(org: &str, event: &Event) -> Vec<Value> {
    let optional = |text: Option<&str>| text.map_or(Value::Null, |text| text.to_owned().into());
    let json = "plain data has a JSON form";
    let mut columns: Vec<Value> = vec![
        org.to_owned().into(),
        event.user_id.as_str().to_owned().into(),
        stamp(event.state_entered_timestamp),
        event.routing_availability.wire().to_owned().into(),
        optional(event.raw_state.as_deref()),
        optional(event.wrapup_code.as_deref()),
        event.ui_presence.wire().to_owned().into(),
        serde_json::to_string(&event.queue_assignments)
            .expect(json)
            .into(),
        stamp(event.timestamp),
        event.state_duration_seconds.0.into(),
        stamp(event.ingested_at),
        event.source.label().to_owned().into(),
        i64::from(event.volatile).into(),
        optional(event.previous.map(RoutingState::wire)),
        i64::from(event.revision).into(),
        serde_json::to_string(&event.chain).expect(json).into(),
        i64::from(event.estimated).into(),
        i64::from(event.withdrawn).into(),
    ];
    assert_eq!(columns.len(), COLUMNS, "one value a column");
    columns.push(checksum(&columns).into());
    columns
}

/// What figures need of the events in `[from, to]`, by start; bad rows are set aside and counted.
pub(super) fn load(
    transaction: &Transaction<'_>,
    org: &str,
    user: &str,
    from: UnixMillis,
    to: UnixMillis,
    bad: &mut u64,
) -> rusqlite::Result<Vec<(UnixMillis, EventFact)>> {
    let mut facts = Vec::new();
    let mut damaged = Vec::new();
    let mut statement = transaction.prepare_cached(READ)?;
    let mut rows = statement.query(params![org, user, from.to_string(), to.to_string()])?;
    while let Some(row) = rows.next()? {
        let fact = if is_sound(row, COLUMNS)? {
            fact(row)?
        } else {
            None
        };
        match fact {
            Some(fact) => facts.push(fact),
            None => damaged.push((row.get(COLUMNS + 1)?, columns::describe(row, COLUMNS)?)),
        }
    }
    for (rowid, content) in damaged {
        quarantine(transaction, Table::Event, rowid, &content)?;
        *bad += 1;
    }
    Ok(facts)
}

fn fact(row: &Row<'_>) -> rusqlite::Result<Option<(UnixMillis, EventFact)>> {
    let Some(at) = instant(row, 2)? else {
        return Ok(None);
    };
    let (Some(state), Some(ingested_at)) = (text(row, 3)?, instant(row, 10)?) else {
        return Ok(None);
    };
    let label = text(row, 11)?;
    let source = Source::ALL
        .into_iter()
        .find(|source| label == Some(source.label()));
    let chain = text(row, 15)?.and_then(|json| serde_json::from_str::<Chain>(json).ok());
    let (Some(source), Some(chain)) = (source, chain) else {
        return Ok(None);
    };
    let fact = EventFact {
        state: RoutingState::from_wire(state),
        chain,
        estimated: row.get(16)?,
        withdrawn: row.get(17)?,
        revision: row.get(14)?,
        source,
        ingested_at,
    };
    Ok(Some((at, fact)))
}

/// The last start that holds at or before `at`, and the first after `to`.
pub(super) fn neighbours(
    transaction: &Transaction<'_>,
    org: &str,
    user: &str,
    at: UnixMillis,
    to: UnixMillis,
) -> rusqlite::Result<(Option<UnixMillis>, Option<UnixMillis>)> {
    let before = "SELECT max(state_entered_at) FROM agent_event \
        WHERE org = ?1 AND user_id = ?2 AND state_entered_at <= ?3 AND withdrawn = 0";
    let after = "SELECT min(state_entered_at) FROM agent_event \
        WHERE org = ?1 AND user_id = ?2 AND state_entered_at > ?3 AND withdrawn = 0";
    let ask = |sql: &str, at: UnixMillis| {
        transaction
            .prepare_cached(sql)?
            .query_row(params![org, user, at.to_string()], |row| instant(row, 0))
    };
    Ok((ask(before, at)?, ask(after, to)?))
}
