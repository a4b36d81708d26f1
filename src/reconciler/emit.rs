//! From what an answer changed to events for the journal, transitions and measurements.

use super::agent::{Agent, Held};
use super::evidence::{Applied, Verdict};
use super::membership::Directory;
use super::reconcile::Reconciler;
use crate::effect::Measurement;
use crate::model::event::{Chain, Event, JournalRecord};
use crate::model::ids::UserId;
use crate::model::state::{Presence, RoutingState};
use crate::upstream::wire::RoutingStates;

impl Reconciler {
    /// Records or entries were refused alone before they reached an agent.
    pub fn count_refused(&mut self, refused: u64) {
        self.counts.invalid += refused;
    }

    pub(super) fn count(&mut self, applied: &Applied, answer: &RoutingStates) {
        match applied.verdict {
            Verdict::Stale => self.counts.stale += 1,
            Verdict::Invalid => self.counts.invalid += answer.refused.len().max(1) as u64,
            Verdict::Current | Verdict::Empty => {}
        }
        self.counts.conflict += u64::from(applied.conflicts);
        self.hidden += u64::from(applied.hidden);
    }

    /// Makes events of what changed, and counts transitions and finished segments.
    pub(super) fn emit(&mut self, user: &UserId, applied: &Applied) {
        let Some(agent) = self.agents.get_mut(user) else {
            return;
        };
        for (index, held) in agent.history.iter().enumerate() {
            let start = held.entered_at;
            if applied.changed.binary_search(&start).is_err() {
                continue;
            }
            let before = index.checked_sub(1).map(|at| &agent.history[at]);
            let previous = before.map(|held| held.state);
            let event = event_of(user, agent, held, previous, &self.directory);
            self.changes.records.push(JournalRecord::from(event));
            // What happened before anybody counted is a fact for the windows, not an increase.
            let counted = agent.counted_from.is_some_and(|from| start >= from);
            if counted
                && applied.added.binary_search(&start).is_ok()
                && let Some(before) = before
            {
                let (from, measured) = followed(before, held);
                for queue in agent.queues().iter() {
                    if let Some(seen) = self.transitions.get_mut(queue) {
                        *seen.entry((from, held.state)).or_default() += 1;
                    }
                }
                self.changes.measurements.extend(measured);
                self.changes.measurements.push(Measurement::IngestionDelay {
                    source: held.source,
                    delay: held.ingested_at - start,
                });
            }
        }
        agent.prune();
    }
}

impl Reconciler {
    /// A start that is held no more never was (semantics.md §12.11).
    pub(super) fn withdraw(&mut self, user: &UserId, gone: &Held, previous: RoutingState) {
        if let Some(agent) = self.agents.get(user) {
            let mut event = event_of(user, agent, gone, Some(previous), &self.directory);
            event.revision += 1;
            event.withdrawn = true;
            self.changes.records.push(JournalRecord::from(event));
        }
    }
}

fn event_of(
    user: &UserId,
    agent: &Agent,
    held: &Held,
    previous: Option<RoutingState>,
    directory: &Directory,
) -> Event {
    let start = held.entered_at;
    let timestamp = agent.confirmed_until.unwrap_or(start).max(start);
    Event {
        user_id: user.clone(),
        state_entered_timestamp: start,
        routing_availability: held.state,
        raw_state: held.raw_state.clone(),
        wrapup_code: held.wrapup_code.clone(),
        ui_presence: agent.presence.clone().unwrap_or_else(unknown_presence),
        queue_assignments: directory.labels(agent.queues()),
        timestamp,
        state_duration_seconds: timestamp - start,
        ingested_at: held.ingested_at,
        source: held.source,
        volatile: agent.volatile.is_some(),
        previous,
        revision: held.revision,
        chain: held.chain,
        estimated: held.estimated,
        withdrawn: false,
    }
}

/// From which state a new segment was entered as far as is known, and the measurement of the one
/// that it ended, if its end is known.
fn followed(before: &Held, held: &Held) -> (RoutingState, Option<Measurement>) {
    let contiguous = match held.chain {
        Chain::Follows { entered_at } => entered_at == before.entered_at,
        Chain::Alone {
            known_until,
            tolerance,
        } => held.state != before.state && held.entered_at - known_until <= tolerance,
        Chain::Gap { .. } => false,
    };
    if contiguous {
        let finished = Measurement::SegmentFinished {
            state: before.state,
            length: held.entered_at - before.entered_at,
        };
        (before.state, Some(finished))
    } else {
        (RoutingState::Unknown, None)
    }
}

/// Said of an agent that no snapshot has named yet.
fn unknown_presence() -> Presence {
    Presence::parse("Unknown")
}
