//! A row of `agent_window` in cells, and back.

use crate::model::ids::UserId;
use crate::model::time::{Millis, UnixMillis};
use crate::model::window::{WindowMetrics, WindowRow, WindowSpec};
use crate::window::{LastEvent, Row};

use super::cells::{Cell, sealed, sound};

/// Cells of a row, its checksum included.
pub(super) const WINDOW_CELLS: usize = 18;

/// The columns in order, the checksum last.
pub(super) const WINDOW_COLUMNS: &str = "org, user_id, window_length, window_start, window_end, \
    available_ms, not_ready_ms, on_call_ms, wrap_up_ms, unknown_ms, state_transitions, \
    covered_ms, estimated_ms, volatile, revision, last_event_at, last_event_ingested_at, checksum";

/// A row with its revision, as it is in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) row: Row,
    pub(super) revision: u32,
}

/// The cells of a row.
pub(super) fn window_cells<'r>(
    org: &'r str,
    user: &'r UserId,
    spec: WindowSpec,
    start: UnixMillis,
    kept: &Kept,
) -> Vec<Cell<'r>> {
    let Kept { row, revision } = kept;
    let [available, not_ready, on_call, wrap_up, unknown] = row.metrics.by_state();
    sealed(vec![
        Cell::text(org),
        Cell::text(user.as_str()),
        Cell::Integer(spec.length.0),
        Cell::Instant(start),
        Cell::Instant(start + spec.length),
        Cell::Integer(available.0),
        Cell::Integer(not_ready.0),
        Cell::Integer(on_call.0),
        Cell::Integer(wrap_up.0),
        Cell::Integer(unknown.0),
        Cell::Integer(row.metrics.state_transitions.into()),
        Cell::Integer(row.covered.0),
        Cell::Integer(row.estimated.0),
        Cell::Integer(row.volatile.into()),
        Cell::Integer((*revision).into()),
        Cell::optional_instant(row.last_event.map(|last| last.at)),
        Cell::optional_instant(row.last_event.map(|last| last.ingested_at)),
    ])
}

/// Start and content of a row; `None` if it is not as it was written.
pub(super) fn window_kept(cells: &[Cell<'_>]) -> Option<(UnixMillis, Kept)> {
    let row = sound(cells).filter(|row| row.len() + 1 == WINDOW_CELLS)?;
    let millis = |index: usize| row[index].as_integer().map(Millis);
    let by_state = [millis(5)?, millis(6)?, millis(7)?, millis(8)?, millis(9)?];
    let last_event = match (row[15].as_instant(), row[16].as_instant()) {
        (Some(at), Some(ingested_at)) => Some(LastEvent { at, ingested_at }),
        _ => None,
    };
    let kept = Kept {
        row: Row {
            metrics: WindowMetrics::from_states(by_state, row[10].as_count()?),
            covered: millis(11)?,
            estimated: millis(12)?,
            volatile: row[13].as_flag()?,
            last_event,
        },
        revision: row[14].as_count()?,
    };
    Some((row[3].as_instant()?, kept))
}

/// A row as it is served; `None` if it is not as it was written.
pub(super) fn window_served(cells: &[Cell<'_>]) -> Option<WindowRow> {
    let (window_start, kept) = window_kept(cells)?;
    let (user, window_end) = (cells[1].as_text()?, cells[4].as_instant()?);
    let quality = kept.row.quality(kept.revision);
    assert_eq!(
        kept.row.metrics.total(),
        quality.covered_seconds,
        "a row that is as written adds up"
    );
    Some(WindowRow {
        user_id: UserId::new(user),
        window_start,
        window_end,
        metrics: kept.row.metrics,
        quality,
    })
}
