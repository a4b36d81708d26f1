//! A row of `agent_event`: the whole event in cells, and the part of it that figures need.

use crate::model::event::{Chain, Event};
use crate::model::state::{RoutingState, Source};
use crate::model::time::UnixMillis;
use crate::window::EventFact;

use super::cells::{Cell, sealed, sound};

/// Cells of a row, its checksum included.
pub(super) const EVENT_CELLS: usize = 19;

/// The columns in order, the checksum last.
pub(super) const EVENT_COLUMNS: &str = "org, user_id, state_entered_at, routing_availability, \
    raw_state, wrapup_code, ui_presence, queue_assignments, described_at, state_duration_ms, \
    ingested_at, source, volatile, previous, revision, chain, estimated, withdrawn, checksum";

/// The cells of a row.
pub(super) fn event_cells<'e>(org: &'e str, event: &'e Event) -> Vec<Cell<'e>> {
    let json = "plain data has a JSON form";
    sealed(vec![
        Cell::text(org),
        Cell::text(event.user_id.as_str()),
        Cell::Instant(event.state_entered_timestamp),
        Cell::text(event.routing_availability.wire()),
        Cell::optional_text(event.raw_state.as_deref()),
        Cell::optional_text(event.wrapup_code.as_deref()),
        Cell::text(event.ui_presence.wire()),
        Cell::text(serde_json::to_string(&event.queue_assignments).expect(json)),
        Cell::Instant(event.timestamp),
        Cell::Integer(event.state_duration_seconds.0),
        Cell::Instant(event.ingested_at),
        Cell::text(event.source.label()),
        Cell::Integer(event.volatile.into()),
        Cell::optional_text(event.previous.map(RoutingState::wire)),
        Cell::Integer(event.revision.into()),
        Cell::text(serde_json::to_string(&event.chain).expect(json)),
        Cell::Integer(event.estimated.into()),
        Cell::Integer(event.withdrawn.into()),
    ])
}

/// What figures need of a row; `None` if it is not as it was written.
pub(super) fn event_fact(cells: &[Cell<'_>]) -> Option<(UnixMillis, EventFact)> {
    let row = sound(cells).filter(|row| row.len() + 1 == EVENT_CELLS)?;
    let label = row[11].as_text()?;
    let fact = EventFact {
        state: RoutingState::from_wire(row[3].as_text()?),
        chain: serde_json::from_str::<Chain>(row[15].as_text()?).ok()?,
        estimated: row[16].as_flag()?,
        withdrawn: row[17].as_flag()?,
        revision: row[14].as_count()?,
        source: Source::ALL
            .into_iter()
            .find(|source| source.label() == label)?,
        ingested_at: row[10].as_instant()?,
    };
    Some((row[2].as_instant()?, fact))
}
