//! One user's routing state, `GET /api/v2/routing/users/{userId}/state`: the current segment and
//! some of its predecessors, in any order on the wire and ascending here.

use std::cmp::Reverse;
use std::sync::Arc;

use serde::de::MapAccess;

use super::document::{Object, Rows, RowsSeed, object, skip};
use super::error::WireError;
use super::scalar::{Scalar, bounded_arc};
use super::statuses::routing_state;
use crate::model::ids::UserId;
use crate::model::state::{RAW_TEXT_MAX, RoutingState};
use crate::upstream::wire::{RefusalReason, RoutingEntry, RoutingStates};

/// Entries in one answer. A change each minute fills it in a day; more is an error.
pub const ROUTING_ENTRIES_MAX: usize = 1_440;

/// Longest wrap-up code kept, in characters; codes are UUIDs or short names.
const WRAPUP_CODE_MAX: usize = 128;

/// Reads the answer about `expected`. An answer without a user id is taken to be about the user
/// in its address; one with another user id is refused. `null` in place of the array is empty.
pub fn routing_states(body: &[u8], expected: &UserId) -> Result<RoutingStates, WireError> {
    let document: Document<'_> = object(body, "an object with routingStates")?;
    match &document.user_id {
        Scalar::Null => {}
        Scalar::Text(text) if text == expected.as_str() => {}
        _ => return Err(WireError::OtherUser),
    }
    let rows = document.entries.ok_or(WireError::Missing {
        field: "routingStates",
    })?;
    if rows.overflow {
        return Err(WireError::TooMany {
            what: "routing states",
            limit: ROUTING_ENTRIES_MAX,
        });
    }
    Ok(RoutingStates {
        entries: ascending(rows.kept),
        refused: rows.refused,
    })
}

#[derive(Default)]
struct Document<'a> {
    user_id: Scalar<'a>,
    entries: Option<Rows<RoutingEntry>>,
}

impl<'de> Object<'de> for Document<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "userId" => self.user_id = fields.next_value()?,
            "routingStates" => {
                let mut accept = |row: EntryRow<'de>| row.accept().map(Some);
                let seed = RowsSeed::<EntryRow<'de>, _>::new(&mut accept, ROUTING_ENTRIES_MAX);
                self.entries = Some(fields.next_value_seed(seed)?.unwrap_or_default());
            }
            _ => skip(fields)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct EntryRow<'a> {
    interaction_state: Scalar<'a>,
    wrap_state: Scalar<'a>,
    entered_at: Scalar<'a>,
}

impl<'de> Object<'de> for EntryRow<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "interactionState" => self.interaction_state = fields.next_value()?,
            "wrapState" => self.wrap_state = fields.next_value()?,
            "stateEnteredTimestamp" => self.entered_at = fields.next_value()?,
            _ => skip(fields)?,
        }
        Ok(())
    }
}

impl EntryRow<'_> {
    /// A wrap-up code of the wrong type is dropped: a side fact must not cost the state.
    fn accept(&self) -> Result<RoutingEntry, RefusalReason> {
        let text = self.interaction_state.text().ok_or(RefusalReason::Shape)?;
        let state = routing_state(text);
        Ok(RoutingEntry {
            state,
            raw_state: (state == RoutingState::Unknown).then(|| bounded_arc(text, RAW_TEXT_MAX)),
            wrapup_code: self
                .wrap_state
                .text()
                .map(|code| bounded_arc(code, WRAPUP_CODE_MAX)),
            entered_at: self.entered_at.instant()?,
            estimated: false,
        })
    }
}

/// Sorts, and keeps one entry an instant.
///
/// Two entries of one instant that differ contradict each other, and order on the wire means
/// nothing. So the choice depends on values alone: a known state before an unknown one, then the
/// one further from availability (wrap-up, on call, not ready), so that doubt is never
/// availability; then the one with a wrap-up code.
fn ascending(mut entries: Vec<RoutingEntry>) -> Vec<RoutingEntry> {
    entries.sort_by(|a, b| {
        (a.entered_at, Reverse(weight(a))).cmp(&(b.entered_at, Reverse(weight(b))))
    });
    entries.dedup_by_key(|entry| entry.entered_at);
    entries
}

type Weight<'a> = (bool, usize, &'a Option<Arc<str>>, &'a Option<Arc<str>>);

fn weight(entry: &RoutingEntry) -> Weight<'_> {
    (
        entry.state != RoutingState::Unknown,
        entry.state.index(),
        &entry.wrapup_code,
        &entry.raw_state,
    )
}
