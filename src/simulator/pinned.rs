//! Agents whom a fault keeps on call: chosen once, when the fault becomes active, and kept on
//! the segment that they were in then.

use std::collections::BTreeMap;

use super::behaviour::RoutingStart;
use super::chance;
use super::roster::Roster;
use crate::model::state::RoutingState;
use crate::model::time::UnixMillis;

/// The agents whom one fault keeps on call, by position.
#[derive(Debug, Clone, Default)]
pub(super) struct Pinned {
    chosen: Option<(UnixMillis, i64)>,
    segments: BTreeMap<usize, RoutingStart>,
}

impl Pinned {
    /// Makes the choice if the fault has become active since the last look, and drops it if the
    /// fault no longer is (`since` is `None`).
    pub(super) fn refresh(
        &mut self,
        active: Option<(UnixMillis, i64)>,
        roster: &mut Roster,
        salt: u64,
    ) {
        if self.chosen == active {
            return;
        }
        self.chosen = active;
        self.segments = match active {
            Some((since, count)) => choose(roster, since, count, salt),
            None => BTreeMap::new(),
        };
    }

    /// The segment that an agent is kept on.
    pub(super) fn segment(&self, position: usize) -> Option<RoutingStart> {
        self.segments.get(&position).copied()
    }
}

/// Those on call at the instant first, then those whose last call is over; among equals by hash.
/// Fewer than `count` if fewer have ever been on call.
fn choose(
    roster: &mut Roster,
    at: UnixMillis,
    count: i64,
    salt: u64,
) -> BTreeMap<usize, RoutingStart> {
    let seed = roster.spec().seed;
    let mut candidates = Vec::new();
    for position in roster.registered_at(at) {
        let timeline = &mut roster.entry_mut(position).timeline;
        timeline.extend_to(at);
        let until = timeline
            .routing()
            .partition_point(|start| start.entered_at <= at);
        let last_call = timeline.routing()[..until]
            .iter()
            .enumerate()
            .rfind(|(_, start)| start.state == RoutingState::OnCall);
        if let Some((index, &segment)) = last_call {
            let over = index + 1 != until;
            candidates.push((
                over,
                chance::mix(&[seed, salt, position as u64]),
                position,
                segment,
            ));
        }
    }
    candidates.sort_by_key(|&(over, hash, position, _)| (over, hash, position));
    let count = usize::try_from(count).unwrap_or(0);
    candidates
        .into_iter()
        .take(count)
        .map(|(_, _, position, segment)| (position, segment))
        .collect()
}
