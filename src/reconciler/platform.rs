//! The public platform's scan: each record says an agent's state and, mostly, since when, so the
//! scan itself makes events (platform-api.md §10; semantics.md §12.1 is for dialect `status`).
//!
//! The platform moves no start time between a call, its after-call work and a call that follows
//! at once: inside one `INTERACTING` those starts are observed, and marked as estimated
//! (semantics.md §12.11). And it moves the start inside one stay out of work, when somebody who
//! missed an alert goes off queue: what is known to be that stay stays one segment.

use crate::model::ids::UserId;
use crate::model::platform_status::PlatformStatus;
use crate::model::state::{RoutingState, Source};
use crate::model::time::{Millis, UnixMillis};
use crate::upstream::wire::{PlatformFact, RoutingEntry, RoutingStates, StatusRecord};

use super::agent::{Agent, Held};
use super::evidence::{Evidence, Verdict};
use super::joins::JoinClass;
use super::quiet::fact_of;
use super::reconcile::Reconciler;

/// What a record says as segments, to someone who knows the agent's history: those that it tells,
/// and at the end one that began between the answer before and this one, observed at `observed`.
pub fn states_told(
    agent: &Agent,
    state: RoutingState,
    fact: &PlatformFact,
    observed: UnixMillis,
) -> RoutingStates {
    let told = |state, entered_at| RoutingEntry {
        state,
        raw_state: fact.raw_status.clone(),
        wrapup_code: None,
        entered_at,
        estimated: false,
    };
    let seen = |after: Option<UnixMillis>| RoutingEntry {
        estimated: true,
        ..told(
            state,
            after.map_or(observed, |after| observed.max(after + Millis(1))),
        )
    };
    let entries = match (fact.since, agent.current()) {
        (Some(since), Some(current)) if is_within_stay(agent, fact.status, since) => {
            vec![as_held(current)]
        }
        (Some(since), _) if fact.status != PlatformStatus::Interacting => vec![told(state, since)],
        (Some(since), Some(current)) if is_within(agent, since) => {
            if current.state == state {
                vec![as_held(current)]
            } else {
                vec![as_held(current), seen(Some(current.entered_at))]
            }
        }
        // Every interaction begins as one, whatever part of it is seen first; one that is over
        // is told by a late answer, whose observed part must not be believed.
        (Some(since), current)
            if state == RoutingState::WrapUp
                && current.is_none_or(|current| current.entered_at <= since) =>
        {
            vec![told(RoutingState::OnCall, since), seen(Some(since))]
        }
        (Some(since), _) => vec![told(state, since)],
        (None, Some(current)) if current.state == state => vec![as_held(current)],
        (None, current) => vec![seen(current.map(|held| held.entered_at))],
    };
    RoutingStates {
        entries,
        refused: Vec::new(),
    }
}

/// Whether the current segment is part of the interaction that began at `since`.
pub(super) fn is_within(agent: &Agent, since: UnixMillis) -> bool {
    let interacting =
        |held: &Held| matches!(held.state, RoutingState::OnCall | RoutingState::WrapUp);
    let Ok(first) = agent
        .history
        .binary_search_by_key(&since, |held| held.entered_at)
    else {
        return false;
    };
    agent.history[first..].iter().all(interacting)
}

/// Whether a start is known to be none of a segment: the present stay out of work went on with
/// this status.
pub(super) fn is_within_stay(agent: &Agent, status: PlatformStatus, since: UnixMillis) -> bool {
    is_out_of_work(status) && agent.turned_at == Some(since) && is_in_stay_before(agent, since)
}

/// Whether the agent is out of work, and was before an instant.
pub(super) fn is_in_stay_before(agent: &Agent, instant: UnixMillis) -> bool {
    let current = agent.current();
    current.is_some_and(|held| held.state == RoutingState::NotReady && held.entered_at < instant)
}

/// Off queue, asked for or not: one routing state with two statuses.
pub(super) const fn is_out_of_work(status: PlatformStatus) -> bool {
    matches!(
        status,
        PlatformStatus::OffQueue | PlatformStatus::NotResponding
    )
}

pub(super) fn as_held(held: &Held) -> RoutingEntry {
    RoutingEntry {
        state: held.state,
        raw_state: held.raw_state.clone(),
        wrapup_code: None,
        entered_at: held.entered_at,
        estimated: held.estimated,
    }
}

impl Reconciler {
    /// Takes in what the platform's own status is, and what it says as segments; `None` for an
    /// agent that is not registered.
    pub fn note_platform(
        &mut self,
        record: &StatusRecord,
        fact: &PlatformFact,
        at: UnixMillis,
    ) -> Option<RoutingStates> {
        let agent = self.agents.get_mut(&record.user_id)?;
        if agent.platform_status != Some(fact.status) {
            agent.platform_status = Some(fact.status);
            self.changes.agents.insert(record.user_id.clone());
        }
        agent.stuck.unoccupied = fact.unoccupied;
        Some(states_told(agent, record.availability, fact, at))
    }

    /// Takes in one record of a scan, which describes the platform at `at` or later.
    pub(super) fn on_scanned(
        &mut self,
        record: &StatusRecord,
        fact: &PlatformFact,
        at: UnixMillis,
        ingested_at: UnixMillis,
    ) {
        let user = &record.user_id;
        let Some(answer) = self.note_platform(record, fact, at) else {
            return;
        };
        let Some(agent) = self.agents.get_mut(user) else {
            return;
        };
        agent.bulk = Some(fact_of(record));
        agent.bulk_seen_at = Some(at);
        agent.ingested_at = agent.ingested_at.max(ingested_at);
        let verdict = if says_nothing_new(agent, &answer) {
            let instant = Some(at.max(answer.entries[0].entered_at));
            agent.confirmed_until = agent.confirmed_until.max(instant);
            agent.routing_confirmed_at = agent.routing_confirmed_at.max(instant);
            Verdict::Current
        } else {
            let latest = answer.entries.last().map_or(at, |e| e.entered_at.max(at));
            let evidence = Evidence {
                source: Source::Bulk,
                confirms: at,
                latest,
                ingested_at,
                tolerance: self.tolerance(),
            };
            self.take_in(user, &answer, &evidence)
        };
        let Some(agent) = self.agents.get_mut(user) else {
            return;
        };
        let follows = verdict == Verdict::Current;
        if agent.follows_bulk != follows {
            agent.follows_bulk = follows;
            self.changes.agents.insert(user.clone());
        }
        // Push is faster than a scan of many pages: a record that it overtook asks nobody anything.
        let overtaken = verdict == Verdict::Stale
            && agent
                .current()
                .is_some_and(|held| held.source == Source::Notification);
        if !follows && !overtaken {
            // A cache may be behind what is known: only the agent's own answer can tell.
            self.pend(user, JoinClass::Changed);
        }
    }

    /// Agents that a scan listed without what was asked for: each is asked for by itself.
    pub fn on_incomplete(&mut self, users: &[UserId]) {
        for user in users {
            let joined = self.agents.get(user).is_some_and(Agent::joined);
            let class = if joined {
                JoinClass::Changed
            } else {
                JoinClass::NeverJoined
            };
            self.pend(user, class);
        }
    }
}

/// Nearly always: the current segment, as it is held, of an agent that nothing waits on.
fn says_nothing_new(agent: &Agent, answer: &RoutingStates) -> bool {
    let [only] = answer.entries.as_slice() else {
        return false;
    };
    agent.volatile.is_none()
        && agent.current().is_some_and(|held| {
            held.entered_at == only.entered_at
                && held.state == only.state
                && held.raw_state == only.raw_state
                && held.estimated == only.estimated
        })
}

#[cfg(test)]
mod tests;
